# SPDX-License-Identifier: MIT
"""preforkctl and many jobs: lists in any order and of any length."""
import json

import pytest

from ctl import Ctl
from lib import pool


@pytest.fixture
def ctl(start):
    return Ctl(start(pool("p"), pool("other")))


def submit(ctl, name, *payloads):
    c = ctl.d.client()
    replies = c.pipeline([("SUBMIT", name, p) for p in payloads])
    return [r.decode() for r in replies]


def ids(jobs):
    return [j["id"] for j in jobs]


# ---- jobs ----------------------------------------------------------------


def test_sorted(ctl):
    """By any field, either way; a job without the field comes last."""
    gate = ctl.d.gate()
    (held,) = submit(ctl, "p", "gate " + gate.path)
    gate.arrived()
    (queued,) = submit(ctl, "p", "echo 2")
    (done,) = submit(ctl, "other", "echo 3")
    ctl("result", done, "--wait", "1m")
    listed = {
        order: ids(ctl.json("jobs", "--sort", order))
        for order in ("id", "-id", "pool", "-pool", "state", "worker", "age", "-age", "-run")
    }
    gate.release()
    assert listed["id"] == listed["-age"] == [held, queued, done]
    assert listed["-id"] == listed["age"] == [done, queued, held]
    assert listed["pool"] == [done, held, queued]
    assert listed["-pool"] == [held, queued, done]
    assert listed["state"] == [done, queued, held]
    assert listed["worker"] == [held, done, queued], "what has no worker comes last"
    assert listed["-run"][2] == queued, "either way"
    table = ctl.lines("jobs", "--sort", "-id")
    assert [line.split()[0] for line in table] == ["ID", done, queued, held]
    assert ids(ctl.json("jobs", "--sort", "-id", "-n", "1")) == [done]
    assert ids(ctl.json("jobs", "--sort=id", "--pool", "p")) == [held, queued]
    r = ctl("jobs", "--sort", "colour", status=64)
    assert b"colour" in r.stderr and b"queue" in r.stderr
    ctl("jobs", "--all", "-n", "5", status=64)


def test_pages(start):
    """More jobs than one answer of the daemon holds; the table keeps its columns."""
    ctl = Ctl(start(pool("p", queue={"limit": 5000})))
    ctl("pause", "p")
    all_ids = submit(ctl, "p", *("echo %d" % i for i in range(2500)))
    assert ids(ctl.json("jobs")) == all_ids[:100]
    assert ids(ctl.json("jobs", "--all")) == all_ids
    assert ids(ctl.json("jobs", "-n", "1000")) == all_ids[:1000]
    assert ids(ctl.json("jobs", "-n", "2345")) == all_ids[:2345]
    assert ids(ctl.json("jobs", "-n", "3", "--after", all_ids[4])) == all_ids[5:8]
    assert ids(ctl.json("jobs", "--sort", "-id", "-n", "1200")) == all_ids[:-1201:-1]
    assert ids(ctl.json("jobs", "--sort", "-id", "--all")) == all_ids[::-1]
    assert ctl.json("jobs", "--state", "failed", "--all") == []
    table = ctl.lines("jobs", "--all")
    assert len(table) == 2501 and sum("STATE" in line for line in table) == 1
    assert [line.split()[0] for line in table[1:]] == all_ids
    ctl("--json", "jobs", "--all", "--pool", "nowhere", status=1)


def test_the_next_page_is_named(ctl):
    """On a terminal, as a command that can be typed; and only where there is one."""
    ctl("pause", "p")
    jobs = submit(ctl, "p", *("echo %d" % i for i in range(5)))
    t = ctl.on_terminal("jobs", "--pool", "p", "-n", "3")
    assert t.end() == 0
    last = t.text().splitlines()[-1]
    assert "--pool p --count 3 --after %s" % jobs[2] in last
    words = last[last.index("preforkctl") : last.index(" (")].split()[1:]
    assert words[1:3] == ["--socket", ctl.d.socket]
    assert ids(json.loads(ctl.out("--json", *words))) == jobs[3:]
    t = ctl.on_terminal("jobs", "--pool", "p", "-n", "5")
    assert t.end() == 0 and "more" not in t.text()
    assert b"more" not in ctl("jobs", "-n", "3").stderr, "nothing for a program"
