# SPDX-License-Identifier: MIT
"""The events of the log, and what is said about them elsewhere, are the same."""
import re

import lib

TABLE = lib.SRC / "src/base/log-events.h"
CATALOG = lib.SRC / "systemd/preforkd.catalog"
MANUAL = lib.SRC / "man/preforkd.8"


def table():
    rows = re.findall(r'^\tX\((\w+), "([a-z-]+)", "([0-9a-f]{32})"\)', TABLE.read_text(), re.M)
    assert len(rows) > 12
    return {ident: (name, word) for name, word, ident in rows}


def catalog():
    """id -> (headers, text)."""
    parts = re.split(r"^-- ([0-9a-f]{32})\n", CATALOG.read_text(), flags=re.M)[1:]
    entries = {}
    for ident, body in zip(parts[::2], parts[1::2]):
        head, _, text = body.partition("\n\n")
        assert ident not in entries, ident
        entries[ident] = (dict(line.split(": ", 1) for line in head.splitlines()), text.strip())
    return entries


def test_each_event_has_its_entry():
    assert set(table()) == set(catalog())


def test_entries_are_whole():
    for ident, (head, text) in catalog().items():
        assert list(head) == ["Subject", "Defined-By", "Documentation"], ident
        assert head["Defined-By"] == "preforkd" and text
        for page in head["Documentation"].split():
            name, section = re.fullmatch(r"man:(.+)\((\d)\)", page).groups()
            mine = [*lib.SRC.glob("man/%s.%s*" % (name, section))]
            assert mine or name.startswith("systemd"), page


def test_entries_name_fields_that_are_there():
    """journalctl shows the name of a field that a message does not have."""
    pool, worker, pid, job = ("PREFORKD_" + f for f in ("POOL", "WORKER", "WORKER_PID", "JOB"))
    has = {"POOL": {pool}, "RESTARTED": {pool}, "RESTART": {pool}}
    has["WORKER"] = {pool, worker, pid}
    has["JOB"] = {pool, worker, pid, job}
    for ident, (head, text) in catalog().items():
        name = table()[ident][0]
        used = set(re.findall(r"@(\w+)@", head["Subject"] + text))
        assert used <= has.get(name.split("_")[0], set()), name


def test_the_manual_lists_them():
    page = MANUAL.read_text()
    listed = re.findall(r"^\.It Cm ([a-z-]+)$", page[page.index(".Ss The log") :], re.M)
    assert sorted(listed) == sorted(word for _, word in table().values())
