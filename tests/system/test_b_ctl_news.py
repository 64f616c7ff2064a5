# SPDX-License-Identifier: MIT
"""preforkctl and what happens meanwhile: monitor and follow."""
import json
import os
import re
import subprocess

import pytest

import lib
from ctl import Ctl
from lib import PREFORKCTL, pool

BACKOFF = {"backoff": "10ms..20ms", "timeout": "5s"}


@pytest.fixture
def ctl(start):
    return Ctl(start(pool("p", start=BACKOFF), pool("other")))


def submit(ctl, *args):
    return ctl.d.cmd("SUBMIT", "p", *args).decode()


def subscribed(ctl, n):
    """Wait until so many channels and patterns are subscribed to."""

    def total():
        lines = ctl.d.cmd("CLIENT", "LIST").decode()
        return sum(int(x) for x in re.findall(r"\bp?sub=(\d+)", lines))

    lib.poll(lambda: total() == n, "%d subscriptions" % n)


def listening(ctl, n, *args):
    """A monitor that has subscribed to all that it wants."""
    r = ctl.start(*args)
    subscribed(ctl, n)
    return r


# ---- monitor -------------------------------------------------------------


def test_monitor(ctl):
    """A line each, with the time, until Ctrl-C, which is no mistake."""
    m = listening(ctl, 4, "monitor")
    jid = submit(ctl, "err bro\tken")
    m.wait_out(b"failed error")
    ctl("run", "other", "echo x")
    m.wait_out(b"other done")
    ctl.d.cmd("RUN", "p", "exit 3")
    m.wait_out(b"state=up")
    m.interrupt()
    assert m.end() == 0 and not m.err
    lines = m.out.decode().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} (job|pool|worker) +\S", line) for line in lines)
    mine = [line.split(None, 2)[2] for line in lines if jid in line]
    assert mine[:2] == ["%s p queued" % jid, "%s p running" % jid]
    assert mine[2].startswith("%s p failed error bro" % jid) and len(mine) == 3
    assert any("worker=0" in line and "text=exited with status 3" in line for line in lines)
    assert any(line.split()[1:3] == ["pool", "p"] and "state=" in line for line in lines)


def test_monitor_json(ctl):
    m = listening(ctl, 6, "--json", "monitor", "job", "out", "progress", "worker", "pool")
    jid = submit(ctl, "say \xff|progress 1 2 half")
    m.wait_out(b'"state":"done"')
    ctl.d.cmd("RUN", "p", "exit 3")
    m.wait_out(b'"state":"up"')
    m.interrupt()
    assert m.end() == 0
    rows = [json.loads(line) for line in m.out.splitlines()]
    assert all(row["unix_ms"] > 1e12 for row in rows)
    mine = [row for row in rows if row.get("id") == jid]
    assert [row["kind"] for row in mine] == ["job", "job", "out", "progress", "job"]
    assert mine[0]["state"] == "queued" and mine[0]["pool"] == "p"
    assert mine[2]["out"] == "\xff"
    assert (mine[3]["done"], mine[3]["total"], mine[3]["text"]) == (1, 2, "half")
    down = next(row for row in rows if row["kind"] == "worker" and row["state"] == "down")
    assert down["worker"] == 0 and down["text"] == "exited with status 3"
    of_pool = next(row for row in rows if row["kind"] == "pool")
    assert of_pool["workers"] == 1 and of_pool["state"] == "ok"


def test_monitor_filters(ctl):
    """By kind, by pool, by id; and both."""
    gate = ctl.d.gate()
    jid = submit(ctl, "say one|gate %s" % gate.path)
    gate.arrived()
    by_kind = ctl.start("monitor", "job")
    by_pool = ctl.start("monitor", "other")
    by_both = ctl.start("monitor", "job", "other")
    by_id = ctl.start("monitor", jid)
    subscribed(ctl, 2 + 4 + 2 + 4)
    ctl("run", "other", "echo x")
    gate.release()
    for m, last in ((by_kind, jid), (by_pool, "done"), (by_both, "done"), (by_id, "done")):
        m.wait_for(lambda m, n=last: re.search(n.encode() + rb".*\n", m.out), last)
    by_kind.wait_out(b"%s p done" % jid.encode())
    for m in (by_kind, by_pool, by_both, by_id):
        m.interrupt()
        assert m.end() == 0
    kinds = {line.split()[1] for line in by_kind.out.decode().splitlines()}
    assert kinds == {"job"} and b"other" in by_kind.out
    assert b" p " not in by_pool.out and b"pool" in by_pool.out and b"job " in by_pool.out
    assert all(line.split()[1::2][:2] == [b"job", b"other"] for line in by_both.out.splitlines())
    assert {line.split()[2] for line in by_id.out.decode().splitlines()} == {jid}
    assert {line.split()[1] for line in by_id.out.decode().splitlines()} == {"job", "out"}


@pytest.mark.parametrize("env, coloured", [({}, True), ({"NO_COLOR": "1"}, False)])
def test_monitor_in_colours(ctl, env, coloured):
    """On a terminal, unless somebody does not want them."""
    m = ctl.on_terminal("monitor", "job", env=env)
    subscribed(ctl, 2)
    ctl("run", "p", "err broken", status=1)
    m.wait_out(b"broken")
    m.interrupt()
    assert m.end() == 0 and (b"\x1b[31m" in m.out) == coloured
    assert coloured or b"\x1b" not in m.out


def test_monitor_of_nothing(ctl):
    assert b"the pools are: p other" in ctl("monitor", "nowhere", status=1).stderr
    assert b"id" in ctl("monitor", "out", "p", status=64).stderr
    assert b"pool" in ctl("monitor", "worker", "12345", status=64).stderr
    assert b"NOJOB" in ctl("monitor", "12345", status=1).stderr


def test_monitor_ends_with_its_reader(ctl):
    """As head does: not at the next event, but when its reader goes."""
    read, write = os.pipe()
    m = subprocess.Popen(
        [PREFORKCTL, "-s", ctl.d.socket, "monitor"],
        stdout=write,
        stderr=subprocess.PIPE,
        env=lib.base_env(),
    )
    os.close(write)
    subscribed(ctl, 4)
    os.close(read)
    assert m.wait(lib.DEADLINE) == 0 and m.stderr.read() == b""
    m.stderr.close()


def test_monitor_whose_daemon_goes(ctl):
    m = listening(ctl, 4, "monitor")
    ctl("stop")
    assert ctl.d.wait() == 0
    assert m.end() == 69 and b"closed the connection" in m.err


def test_monitor_says_what_was_lost(start):
    """A reader that is too slow gets a count, and then what comes."""
    ctl = Ctl(
        start(
            pool("p", job={"max_payload": "8K", "max_result": "8K"}),
            control={"client_memory": "64K"},
        )
    )
    read, write = os.pipe()
    with subprocess.Popen(
        [PREFORKCTL, "-s", ctl.d.socket, "--json", "monitor", "out"],
        stdout=write,
        env=lib.base_env(),
    ) as m:
        os.close(write)
        subscribed(ctl, 2)
        jid = submit(ctl, "out-flood 20000")
        ctl.d.wait_state(jid, "done")
        heard = lost = 0
        with os.fdopen(read) as lines:
            while heard + lost < 20000:
                row = json.loads(lines.readline())
                if row["kind"] == "lost":
                    lost += row["count"]
                else:
                    heard += 1
            assert heard and lost
            m.send_signal(lib.signal.SIGINT)
            assert lines.read() == ""
        assert m.wait(lib.DEADLINE) == 0


# ---- follow --------------------------------------------------------------


def test_follow(ctl):
    """What comes while it runs, as it comes, then the result and its exit status."""
    gate = ctl.d.gate()
    jid = submit(ctl, "say one|progress 1 2 half|gate %s|two" % gate.path)
    f = ctl.start("follow", jid)
    f.wait_out(b"one\n")
    f.wait_err(b"1/2 50% half\n")
    gate.release()
    assert f.end() == 0
    assert f.out == b"one\ntwo\nsaid" and f.err == b"1/2 50% half\n"
    again = ctl("follow", jid)
    assert again.stdout == b"one\ntwo\nsaid", "of one that is finished what is kept"
    rows = [json.loads(line) for line in ctl.lines("--json", "follow", jid)]
    assert [row.get("kind") for row in rows] == ["out", "out", "progress", "job", None]
    assert rows[-1] == {"result": "said"}


def test_follow_one_that_waits(ctl):
    ctl("pause", "p")
    jid = submit(ctl, "say one")
    f = ctl.start("follow", jid)
    subscribed(ctl, 4)
    ctl("resume", "p")
    assert f.end() == 0 and f.out == b"one\nsaid"


@pytest.mark.parametrize(
    "payload, options, status, words",
    [
        ("err it broke", (), 1, "FAILED it broke"),
        ("exit 3", (), 70, "CRASHED worker exited with status 3"),
        ("hang", ("TIMEOUT", "100ms"), 124, "TIMEOUT took longer than 100ms"),
    ],
)
def test_follow_exits_as_result_does(ctl, payload, options, status, words):
    jid = submit(ctl, *options, payload)
    live = ctl("follow", jid, status=status)
    late = ctl("follow", jid, status=status)
    assert live.stderr == late.stderr == ctl("result", jid, status=status).stderr
    assert words in live.stderr.decode()


def test_follow_cancelled(ctl):
    ctl("pause", "p")
    jid = submit(ctl, "echo x")
    f = ctl.start("follow", jid)
    subscribed(ctl, 4)
    ctl("cancel", jid)
    assert f.end() == 1 and b"CANCELLED" in f.err


def test_follow_without_a_gap(ctl):
    """However its end falls together with the look at it."""
    for _ in range(30):
        jid = submit(ctl, "say one|two")
        assert ctl("follow", jid).stdout == b"one\ntwo\nsaid"


def test_follow_a_run(ctl):
    """Its result goes to its caller; that it is done can be told."""
    gate = ctl.d.gate()
    c = ctl.d.client()
    c.send("RUN", "p", "say one|gate %s" % gate.path)
    gate.arrived()
    (job,) = ctl.json("jobs")
    f = ctl.start("follow", job["id"])
    f.wait_out(b"one\n")
    gate.release()
    assert c.read() == b"said"
    assert f.end() == 0 and f.out == b"one\n" and b"not kept" in f.err


def test_follow_interrupted(ctl):
    """Ctrl-C leaves the job alone, and says how to look again."""
    gate = ctl.d.gate()
    jid = submit(ctl, "say one|gate %s" % gate.path)
    f = ctl.start("follow", jid)
    f.wait_out(b"one\n")
    f.interrupt()
    assert f.end() == 75 and b"preforkctl follow %s" % jid.encode() in f.err
    assert ctl.d.job(jid)["state"] == "running"
    gate.release()
    assert ctl("result", jid, "-w", "1m").stdout == b"said"


def test_follow_on_a_terminal(ctl):
    """Progress is one line, written over, and gone at the end."""
    gate = ctl.d.gate()
    more = ctl.d.gate("more")
    jid = submit(
        ctl, "say progress 1 4|gate %s|progress 2 4 %s|gate %s" % (gate.path, "x" * 300, more.path)
    )
    f = ctl.on_terminal("follow", jid, columns=60)
    f.wait_out(b"1/4 25%")
    gate.release()
    f.wait_out(b"2/4 50% xxx")
    more.release()
    assert f.end() == 0
    parts = f.out.decode().split("\r\x1b[K")
    shown = [part for part in parts if "/4" in part]
    assert shown[0] == "1/4 25%" and shown[1].startswith("2/4 50% x") and len(shown[1]) == 59
    assert parts[-1] == "said\r\n", "nothing of it is left"


def test_follow_nothing(ctl):
    assert b"NOJOB" in ctl("follow", "123", status=1).stderr
    ctl("follow", "1" * 30, status=64)
    ctl("follow", status=64)


def test_follow_whose_daemon_goes(ctl):
    gate = ctl.d.gate()
    jid = submit(ctl, "say one|gate %s" % gate.path)
    f = ctl.start("follow", jid)
    f.wait_out(b"one\n")
    ctl("stop", "--now")
    assert ctl.d.wait() == 0
    assert f.end() in (1, 69) and f.err
