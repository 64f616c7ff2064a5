# SPDX-License-Identifier: MIT
"""preforkctl changes pools while they work: scale, restart, clear, forget."""
import pytest

import lib
from ctl import Ctl
from lib import pool


@pytest.fixture
def ctl(start):
    # how long an idle replacement is looked at
    quick = {"backoff": "20ms..1s"}
    return Ctl(start(pool("p", workers=2, start=quick), pool("other", start=quick)))


def submit(ctl, *args):
    return ctl.d.cmd("SUBMIT", "p", *args).decode()


def pids(ctl, name):
    return {w["worker"]: w["pid"] for w in ctl.json("workers", name)}


def test_scale(ctl):
    assert ctl.out("scale", "p", "4") == ""
    ctl.d.wait_pool("p", "four", lambda p: p["up"] == 4)
    assert ctl.json("scale", "p", "1") == {"reply": "OK"}
    ctl.d.wait_pool("p", "one", lambda p: p["up"] == 1)
    ctl("scale", "p", "0", status=1)
    ctl("scale", "p", "2")
    ctl.d.wait_pool("p", "as at the start", lambda p: p["up"] == 2)
    ctl("scale", "p", status=64)
    assert b"the pools are" in ctl("scale", "nowhere", "2", status=1).stderr


def test_restart(ctl):
    """It returns when the last worker is replaced."""
    p, other = pids(ctl, "p"), pids(ctl, "other")
    assert ctl.out("restart", "p", "other") == ""
    assert ctl.d.pool("p")["restarting"] == ctl.d.pool("other")["restarting"] == 0
    assert not set(p.values()) & set(pids(ctl, "p").values())
    assert not set(other.values()) & set(pids(ctl, "other").values())
    assert ctl.json("restart", "p") == {"pool": "p", "event": "restarted"}
    t = ctl.on_terminal("restart", "p")
    assert t.end() == 0 and t.text() == "p: restarted\n"
    assert b"the pools are" in ctl("restart", "nowhere", status=1).stderr


def test_restart_of_one_worker(ctl):
    before = pids(ctl, "p")
    ctl("restart", "p/1")
    after = pids(ctl, "p")
    assert before[0] == after[0] and before[1] != after[1]
    ctl("restart", "p/7", status=1)
    ctl("restart", "p/x", status=1)


def test_restart_waits_for_jobs(ctl):
    gate = ctl.d.gate()
    jid = submit(ctl, "gate %s" % gate.path)
    gate.arrived()
    r = ctl.start("restart", "p")
    ctl.d.wait_pool("p", "it has begun", lambda p: p["restarting"] > 0)
    ctl("restart", "--no-wait", "other")
    assert r.proc.poll() is None
    gate.release()
    assert r.end() == 0 and not r.err
    assert ctl("result", jid).stdout == b"gate"


def test_restart_interrupted(ctl):
    gate = ctl.d.gate()
    submit(ctl, "gate %s" % gate.path)
    gate.arrived()
    r = ctl.start("restart", "p")
    ctl.d.wait_pool("p", "it has begun", lambda p: p["restarting"] > 0)
    # the daemon may be faster than preforkctl, which from then on catches Ctrl-C
    lib.poll(lambda: int(lib.proc_status(r.proc.pid)["SigBlk"], 16) & 2, "SIGINT is blocked")
    r.interrupt()
    assert r.end() == 75 and b"the restart of p goes on" in r.err
    gate.release()
    ctl.d.wait_pool("p", "its end", lambda p: p["restarting"] == 0)


def test_restart_that_fails(make, tmp):
    """The reason, and the old workers go on."""
    program = tmp / "worker"
    program.symlink_to(lib.ACT)
    d = make(pool("p", str(program), workers=2, start={"backoff": "10s..1m"}))
    d.check_fds = False
    d.start()
    ctl = Ctl(d)
    before = set(pids(ctl, "p").values())
    program.unlink()
    program.write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
    program.chmod(0o755)
    r = ctl("restart", "p", status=1)
    assert b"the restart of p was given up: " in r.stderr and b"preforkctl logs p" in r.stderr
    assert b"it is broken" in r.stderr
    assert set(pids(ctl, "p").values()) & before
    assert ctl.out("run", "p", "echo x").strip() == "x"


def test_clear(ctl):
    ctl("pause", "p")
    jobs = [submit(ctl, "echo %d" % i) for i in range(3)]
    assert ctl.out("clear", "p", "other") == "p: 3 cancelled\nother: 0 cancelled\n"
    assert {ctl.d.job(j)["state"] for j in jobs} == {"cancelled"}
    submit(ctl, "echo x")
    assert ctl.json("clear", "p") == {"pool": "p", "cancelled": 1}
    r = ctl("clear", "p", "nowhere", "other", status=1)
    assert r.stdout == b"p: 0 cancelled\n" and b"the pools are" in r.stderr


def test_forget(ctl):
    done = [submit(ctl, "echo %d" % i) for i in range(2)]
    ctl("await", *done)
    ctl("pause", "p")
    queued = submit(ctl, "echo x")
    assert ctl.out("forget", done[0]) == "1 of 1 forgotten\n"
    r = ctl("forget", *done, queued, status=1)
    assert r.stdout == b"1 of 3 forgotten\n" and b"2 of these jobs" in r.stderr
    assert ctl.d.job(queued)["state"] == "queued"
    assert b"NOJOB" in ctl("forget", done[0], status=1).stderr
    ctl("resume", "p")
    ctl("await", queued)
    assert ctl.json("forget", queued) == {"forgotten": 1}
