# SPDX-License-Identifier: MIT
"""preforkctl and many jobs: lists in any order and of any length."""
import json

import subprocess

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


# ---- submit --lines ------------------------------------------------------


def test_submit_lines(start):
    """Ids in the order of the lines, more of them than the queue has room for."""
    ctl = Ctl(start(pool("p", workers=2, queue={"limit": 10})))
    text = b"".join(b"echo %d\n" % i for i in range(3000))
    found = ctl.lines("submit", "p", "--lines", stdin=text)
    assert len(set(found)) == len(found) == 3000
    for i in (0, 1, 1234, 2999):
        assert ctl("result", found[i], "--wait", "1m").stdout == b"%d" % i
    r = ctl("--json", "submit", "p", "-l", stdin=b"echo a\n\necho c")
    rows = [json.loads(line) for line in r.stdout.splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3], "an empty one is one, the last needs no end"
    assert ctl("result", rows[2]["id"], "--wait", "1m").stdout == b"c"
    assert ctl.out("submit", "p", "--lines") == "", "no lines, no jobs"


def test_submit_lines_ended_by_nul(ctl):
    found = ctl.lines("submit", "p", "--lines", "-0", stdin=b"echo a b\0echo \xffc\0")
    assert len(found) == 2
    assert ctl("result", found[1], "--wait", "1m").stdout == b"\xffc"


def test_submit_lines_as_they_come(ctl):
    """An id comes before there is another line; a full queue holds only the rest up."""
    r = ctl.start("submit", "p", "--lines", stdin=subprocess.PIPE)
    for i in range(3):
        r.proc.stdin.write(b"echo %d\n" % i)
        r.proc.stdin.flush()
        r.wait_for(lambda r, n=i: r.out.count(b"\n") == n + 1, "an id")
    r.proc.stdin.close()
    assert r.end() == 0


def test_submit_lines_to_a_full_queue(start):
    ctl = Ctl(start(pool("p", queue={"limit": 2})))
    ctl("pause", "p")
    text = b"echo 1\necho 2\necho 3\necho 4\n"
    r = ctl.start("submit", "p", "--lines", stdin=subprocess.PIPE)
    r.proc.stdin.write(text)
    r.proc.stdin.close()
    r.wait_for(lambda r: r.out.count(b"\n") == 2, "what there is room for")
    refused = ctl("submit", "p", "--lines", "--no-retry", stdin=text, status=75)
    assert refused.stdout == b"" and refused.stderr.count(b"BUSY") == 4
    assert b"line 4: BUSY" in refused.stderr
    ctl("resume", "p")
    assert r.end() == 0 and r.out.count(b"\n") == 4 and not r.err


def test_submit_lines_that_are_refused(start):
    """Each is named; the others are jobs. What all would get ends it."""
    ctl = Ctl(start(pool("p", job={"max_payload": "1K"})))
    text = b"echo 1\n" + b"x" * 2000 + b"\necho 3\n"
    r = ctl("submit", "p", "--lines", stdin=text, status=65)
    assert len(r.stdout.splitlines()) == 2
    assert b"line 2: TOOBIG" in r.stderr and r.stderr.count(b"\n") == 1
    ctl("drain")
    r = ctl("submit", "p", "--lines", stdin=b"echo\n" * 5, status=75)
    assert b"line 1: DRAINING" in r.stderr and r.stderr.count(b"DRAINING") == 1
    r = ctl("submit", "nowhere", "--lines", stdin=b"", status=1)
    assert b"the pools are: p" in r.stderr
    ctl("submit", "p", "--lines", "word", status=64)
    ctl("submit", "p", "--lines", "--key", "k", status=64)
    ctl("submit", "p", "-0", "word", status=64)


def test_submit_lines_whose_daemon_goes(ctl):
    r = ctl.start("submit", "p", "--lines", stdin=subprocess.PIPE)
    r.proc.stdin.write(b"echo 1\n")
    r.proc.stdin.flush()
    r.wait_out(b"\n")
    ctl("stop")
    r.proc.stdin.write(b"echo 2\n")
    r.proc.stdin.close()
    assert r.end() == 69 and b"closed the connection" in r.err


# ---- await ---------------------------------------------------------------


def test_await(ctl):
    """A line a job as they end; the exit status says whether all went well."""
    good = submit(ctl, "p", "echo a b", "echo two\tparts")
    got = [line.split("\t") for line in ctl.lines("await", *good, good[0])]
    assert got == [[good[0], "done", "a b"], [good[1], "done", "two\\x09parts"]]
    (bad,) = submit(ctl, "other", "err broken")
    r = ctl("await", bad, *good, status=1)
    assert {line.split(b"\t")[1] for line in r.stdout.splitlines()} == {b"done", b"failed"}
    assert b"broken" in r.stdout and b"1 of 3" in r.stderr
    rows = [json.loads(line) for line in ctl("--json", "await", bad, status=1).stdout.splitlines()]
    assert [(row["id"], row["state"]) for row in rows] == [(bad, "failed")]
    assert "broken" in rows[0]["error"]
    assert json.loads(ctl.out("--json", "await", good[0]))["result"] == "a b"
    assert b"NOJOB" in ctl("await", "1", status=1).stderr


def test_await_in_time(ctl):
    """Not all are finished within --wait; with --any one is enough."""
    gate = ctl.d.gate()
    (held,) = submit(ctl, "p", "gate " + gate.path)
    gate.arrived()
    (done,) = submit(ctl, "other", "echo x")
    assert ctl.lines("await", "--any", held, done) == ["%s\tdone\tx" % done]
    r = ctl("await", "--wait", "50ms", held, done, status=75)
    assert r.stdout.decode().split() == [done, "done", "x"] and b"1 of 2" in r.stderr
    assert ctl("await", "--any", "-w", "0", held, status=75).stdout == b""
    waiting = ctl.start("await", held)
    gate.release()
    assert waiting.end() == 0 and b"done" in waiting.out


def test_await_more_than_one_command_takes(start):
    ctl = Ctl(start(pool("p", queue={"limit": 3000})))
    all_ids = submit(ctl, "p", *("echo %d" % i for i in range(2100)))
    lines = ctl.lines("await", *all_ids)
    assert [line.split("\t") for line in lines] == [
        [jid, "done", str(i)] for i, jid in enumerate(all_ids)
    ]
    assert b"1000" in ctl("await", "--any", *all_ids, status=64).stderr
