# SPDX-License-Identifier: MIT
"""The manual of the control socket: its list is made from the tables, its prose is complete."""
import re
import shutil
import subprocess

import pytest

from lib import BUILD, SRC

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


def test_form():
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc here (Debian: apt-get install mandoc)")
    subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(PAGE)], check=True)
