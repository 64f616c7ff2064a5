# SPDX-License-Identifier: MIT
"""The manual of the control socket: its list is made from the tables, its prose is complete."""
import re
import shutil
import subprocess

import pytest

from lib import BUILD, SRC, pool

SOURCE = (SRC / "man/preforkd-control.7.in").read_text()
PAGE = BUILD / "man/preforkd-control.7"
LIST = (BUILD / "man/command-list.mdoc").read_text()


NAME = r"[A-Z]{2,}(?: [A-Z-]{2,}\b)?"  # CLIENT NO-EVICT
COMMANDS = SOURCE.split("\n.Sh COMMANDS\n")[1].split("\n.Sh ")[0]
STOCK = COMMANDS.split("\n.Ss For stock clients\n")[1].split("\n.Ss ")[0]


def listed():
    return re.findall(r"^\.It Ic (%s)" % NAME, LIST, re.M)


def items():
    """What COMMANDS' outer lists are about."""
    names, depth = [], 0
    for line in COMMANDS.splitlines():
        depth += line.startswith(".Bl ") - line.startswith(".El")
        item = re.match(r"\.It Ic (%s)" % NAME, line)
        if item and depth == 1:
            names.append(item[1])
    return names


def stock():
    """The words that are there for stock clients."""
    return set(re.findall(r"[A-Z-]{3,}", " ".join(re.findall(r"^\.(?:Ic|Cm) (.*)", STOCK, re.M))))


def test_list_is_in_the_page():
    assert len(listed()) > 20
    assert LIST in PAGE.read_text()
    assert "COMMAND LIST" in SOURCE


def test_every_command_is_described():
    """By an item, by its name in an item of its family, or among those for stock clients."""
    missing = [
        name
        for name in listed()
        if name not in items()
        and not set(name.split()) <= stock()
        and not (" " in name and re.search(r"^\.Ic %s$" % name, COMMANDS, re.M))
    ]
    assert missing == []


def test_nothing_is_described_that_is_no_command():
    assert sorted(set(items()) - set(listed())) == []
    assert sorted(stock() - {word for name in listed() for word in name.split()}) == []


METRICS = (BUILD / "man/metric-list.mdoc").read_text()


def test_list_of_metrics_is_in_the_page():
    assert METRICS in PAGE.read_text()
    assert "METRIC LIST" in SOURCE


def test_list_of_metrics_is_what_a_scrape_has(start):
    """Names, types and labels, both ways; and the words that a label may be."""
    text = start(pool("p")).cmd("METRICS").decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    scraped = {}
    for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? ", text, re.M):
        family = name if name in types else re.sub(r"_(total|bucket|sum|count)$", "", name)
        if types[family] == "counter":
            assert name == family + "_total"
        shown = name if types[family] == "counter" else family
        found = scraped.setdefault((shown, types[family]), {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            if label != "le":
                found.setdefault(label, []).append(value)
    described = {}
    item = r"^\.It Sy (\S+)(?: Ns Brq (.*))?\n.*\n\.Pq (\w+)\n(?:\.Sy (\w+) :\n\.Cm (.*) \.\n)?"
    for name, labels, kind, label, words in re.findall(item, METRICS, re.M):
        labels = {one: None for one in labels.split(" , ") if one}
        if label:
            labels[label] = words.split(" , ")
        described[name, kind] = labels
    assert sorted(scraped) == sorted(described) and len(scraped) > 25
    for metric, labels in described.items():
        assert set(scraped[metric]) == set(labels), metric
        for label, words in labels.items():
            assert words is None or scraped[metric][label] == words, metric


def test_form():
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc here (Debian: apt-get install mandoc)")
    subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(PAGE)], check=True)
