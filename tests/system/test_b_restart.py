# SPDX-License-Identifier: MIT
"""RESTART: a pool's workers, replaced while it works."""
import os
import signal

import pytest

import lib
from control import Load, begun, hold, hold_slots, release, resized, wait_up
from lib import ACT, Client, Error, pool

QUICK = {"backoff": "20ms..1s"}  # also how long an idle replacement is looked at


def restarted(d, name="p"):
    return d.wait_pool(name, "the restart's end", lambda p: p["restarting"] == 0)


def pids(d, name="p"):
    return {w["worker"]: w["pid"] for w in d.workers(name)}


def out_of_service(ws):
    return [w["worker"] for w in ws if w["state"] not in ("idle", "busy")]


def watch_restart(d, name="p"):
    """To a restart's end: how many workers were out of service at most, what was left."""
    most, left = 0, []
    with Client(d.socket) as c:
        while True:
            ws = [lib.mapping(w) for w in c.cmd("WORKERS", name)]
            most = max(most, len(out_of_service(ws)))
            p = lib.mapping(c.cmd("POOL", name))
            left.append(p["restarting"])
            if not p["restarting"]:
                return most, left


def check_all_new(d, before, name="p"):
    after = pids(d, name)
    assert sorted(after) == sorted(before)
    assert not set(after.values()) & set(before.values())


def test_restart_of_an_idle_pool(start):
    d = start(pool("p", workers=4, start=QUICK), pool("q"))
    before, others = pids(d), pids(d, "q")
    generation = d.pool("p")["generation"]
    assert d.cmd("RESTART", "p") == "OK"
    most, left = watch_restart(d)
    assert most <= 1 and left == sorted(left, reverse=True) and left[0] >= 3
    check_all_new(d, before)
    assert pids(d, "q") == others
    p = wait_up(d, 4)
    assert (p["spawned"], p["exited"], p["failed"], p["fails"]) == (8, 4, 0, 0)
    assert all(w["generation"] > generation for w in d.workers("p"))
    d.wait_log("restart of 4 workers begins")
    d.wait_log("restarted")
    assert "warning:" not in d.log()


def test_restart_under_load(start):
    """No job fails, every process is new, and at most one slot is out of service."""
    d = start(pool("p", workers=4))  # they prove themselves by their answers
    before = pids(d)
    load = Load(d, 8)
    load.proceed()
    assert d.cmd("RESTART", "p") == "OK"
    most, _ = watch_restart(d)
    load.proceed()
    load.finish()
    assert most <= 1
    check_all_new(d, before)
    p = wait_up(d, 4)
    assert (p["failed"], p["crashed"], p["spawned"], p["exited"]) == (0, 0, 8, 4)


def test_restart_with_ready(start):
    """READY is proof: nothing is waited for."""
    d = start(pool("p", ACT, "--ready", workers=20, start={"ready": True, "backoff": "1h..1h"}))
    before = pids(d)
    assert d.cmd("RESTART", "p") == "OK"
    restarted(d)
    check_all_new(d, before)


def test_restart_waits_for_a_worker_to_be_ready(start_held):
    d, gate = start_held(workers=2)
    lib.poll(lambda: gate.pulse() or "READY=1" in d.notify.drain(), "both ready")
    d.count_fds()
    before = pids(d)
    assert d.cmd("RESTART", "p") == "OK"
    gate.arrived()
    p = d.wait_pool("p", "the first one", lambda p: p["starting"] == 1)
    assert (p["restarting"], p["up"], p["exited"]) == (2, 1, 1)
    assert d.cmd("RUN", "p", "echo x") == b"x"
    assert pids(d)[1] == before[1]
    gate.release()
    d.wait_pool("p", "the second one", lambda p: p["restarting"] == 1)
    gate.release()
    restarted(d)
    check_all_new(d, before)


def test_restart_waits_for_the_job(start):
    d = start(pool("p", workers=2, start=QUICK))
    before = pids(d)
    held = hold(d, 2)
    assert d.cmd("RESTART", "p") == "OK"
    p = d.wait_pool("p", "the first is told", lambda p: p["stopping"] == 1)
    assert (p["up"], p["busy"], p["restarting"]) == (1, 1, 2)
    assert pids(d) == before
    c = d.client()
    c.send("RUN", "p", "echo late")
    d.wait_pool("p", "it waits", lambda p: p["queued"] == 1)
    release(held)
    assert c.read() == b"late"
    restarted(d)
    check_all_new(d, before)
    assert d.pool("p")["failed"] == 0


def test_restart_of_one(start):
    d = start(pool("p", workers=3, start=QUICK))
    before = pids(d)
    assert d.cmd("RESTART", "p", 1) == "OK"
    restarted(d)
    after = pids(d)
    assert after[1] != before[1]
    assert (after[0], after[2]) == (before[0], before[2])
    d.wait_log("restarted")
    # A second time, to show that the first is over.
    assert d.cmd("RESTART", "p", 1) == "OK"
    restarted(d)
    assert pids(d)[1] not in (before[1], after[1])


def test_restart_of_several(start):
    """They do not wait for each other."""
    d = start(pool("p", workers=3, start=QUICK))
    before = pids(d)
    held = hold(d, 3)
    assert d.client().pipeline([("RESTART", "p", 0), ("RESTART", "p", 2)]) == ["OK", "OK"]
    p = d.wait_pool("p", "both are told", lambda p: p["stopping"] == 2)
    assert (p["restarting"], p["up"]) == (2, 1)
    release(held)
    restarted(d)
    after = pids(d)
    assert [after[i] == before[i] for i in range(3)] == [False, True, False]


def test_restart_takes_a_pool_and_a_worker(start):
    d = start(pool("p", workers=3, start=QUICK))
    c = d.client()
    for word in ("3", "-1", "x", ""):
        assert c.cmd("RESTART", "p", word) == Error(
            "ERR worker: a number from 0 to 2, not '%s'" % word
        )
    assert c.cmd("RESTART", "p", 2) == "OK"
    assert c.cmd("RESTART", "p", 0) == "OK"
    assert c.cmd("RESTART", "p", 0, 1).code == "ERR"
    assert c.cmd("RESTART", "nopool").code == "NOPOOL"
    assert c.cmd("RESTART").code == "ERR"
    restarted(d)
    assert c.cmd("SCALE", "p", 1) == "OK"
    assert "from 0 to 0" in c.cmd("RESTART", "p", 1).text
    assert c.cmd("SCALE", "p", 3) == "OK"
    wait_up(d, 3)


def test_restart_again_while_one_runs(start):
    """It begins anew: what the first one had done already is done again."""
    d = start(pool("p", workers=3, start=QUICK))
    held = hold_slots(d, 3)
    before = pids(d)
    assert d.cmd("RESTART", "p") == "OK"
    d.wait_pool("p", "the first is told", lambda p: p["stopping"] == 1 and p["restarting"] == 3)
    release([held[0]])
    d.wait_pool("p", "the second is told", lambda p: p["stopping"] == 1 and p["restarting"] == 2)
    between = pids(d)
    assert [between[i] == before[i] for i in range(3)] == [False, True, True]
    assert d.cmd("RESTART", "p") == "OK"
    assert d.pool("p")["restarting"] == 3
    release([held[1], held[2]])
    restarted(d)
    check_all_new(d, before)
    check_all_new(d, between)
    assert d.pool("p")["spawned"] == 3 + 4


def test_restart_with_a_pipeline(start):
    """Those that wait in the worker behind another are finished, too."""
    d = start(pool("p", workers=2, pipeline=4, start=QUICK))
    before = pids(d)
    held = hold(d, 2)
    c = d.client()
    for i in range(6):
        c.send("RUN", "p", "echo %d" % i)
    d.wait_pool("p", "all in the workers", lambda p: p["running"] == 8)
    assert d.cmd("RESTART", "p") == "OK"
    release(held)
    assert [c.read() for _ in range(6)] == [b"%d" % i for i in range(6)]
    restarted(d)
    check_all_new(d, before)
    assert d.pool("p")["failed"] == 0


def test_restart_of_frame_workers_under_load(start):
    d = start(pool("p", ACT, "--frame", protocol="frame", workers=3, pipeline=8))
    before = pids(d)
    load = Load(d, 8)
    assert d.cmd("RESTART", "p") == "OK"
    most, _ = watch_restart(d)
    load.finish()
    assert most <= 1
    check_all_new(d, before)
    assert d.pool("p")["failed"] == 0


def test_restart_of_filters_under_load(start):
    d = start(pool("p", "/bin/sed", "-u", "s/^echo //", protocol="filter", workers=3))
    before = pids(d)
    load = Load(d, 4)
    assert d.cmd("RESTART", "p") == "OK"
    restarted(d)
    load.finish()
    check_all_new(d, before)
    p = d.pool("p")
    assert (p["failed"], p["broken"]) == (0, 0)


@pytest.fixture
def program(tmp):
    """A worker's program that can be exchanged while it runs."""

    def put(text):
        staged = tmp / "staged"
        staged.write_text("#!/bin/sh\n" + text)
        staged.chmod(0o755)
        staged.rename(tmp / "worker")
        return str(tmp / "worker")

    return put


GOOD = "exec %s --ready" % ACT
READY = {"ready": True, "backoff": "1h..1h"}  # proof, and no try that was not asked for


def test_restart_with_a_program_that_is_broken_now(make, program):
    """One worker is lost, the others stay and work, and it is said what to do."""
    d = make(pool("p", program(GOOD), workers=4, start=READY))
    d.check_fds = False
    d.start()
    before = pids(d)
    load = Load(d)
    program("exit 3")
    assert d.cmd("RESTART", "p") == "OK"
    p = restarted(d)
    load.proceed()
    load.finish()
    d.wait_log(r"restart abandoned, a new worker exits at start \(status 3\): 4 of 4 are not")
    after = pids(d)
    assert sum(after[i] == before[i] for i in range(4)) == 3
    p = d.pool("p")
    assert (p["state"], p["up"], p["failed"], p["exited"]) == ("degraded", 3, 0, 3)
    # Repaired: it is tried at once, and then the others.
    program(GOOD)
    assert d.cmd("RESTART", "p") == "OK"
    p = restarted(d)
    assert (p["state"], p["up"], p["fails"], p["last_error"]) == ("ok", 4, 0, None)
    check_all_new(d, before)


def test_restart_without_ready_looks_at_an_idle_worker(make, program):
    """It was executed, and is up as far as anybody can tell, and dies a moment later."""
    d = make(pool("p", program(GOOD), workers=3, start={"backoff": "1h..1h"}))
    d.check_fds = False
    d.start()
    begun(d, 3)
    before = pids(d)
    program("exit 3")
    assert d.cmd("RESTART", "p") == "OK"
    restarted(d)
    d.wait_log("restart abandoned, .* 3 of 3 are not")
    assert list(pids(d).values()) == [None, before[1], before[2]]


def test_abandoned_restart_of_one(make, program):
    d = make(pool("p", program(GOOD), workers=2, start=READY))
    d.check_fds = False
    d.start()
    before = pids(d)
    program("exit 3")
    assert d.cmd("RESTART", "p", 1) == "OK"
    restarted(d)
    d.wait_log("restart abandoned, .* 1 of 2 are not")
    assert pids(d) == {0: before[0], 1: None}
    assert d.cmd("RUN", "p", "echo x") == b"x"


def test_abandoned_restart_keeps_those_that_were_not_told(make, program):
    """They only waited for their jobs' end: they take the next."""
    d = make(pool("p", program(GOOD), workers=3, start=READY))
    d.check_fds = False
    d.start()
    before = pids(d)
    held = hold_slots(d, 3)
    assert d.client().pipeline([("RESTART", "p", 1), ("RESTART", "p", 2)]) == ["OK", "OK"]
    program("exit 3")
    release([held[2]])
    d.wait_log("restart abandoned, .* 2 of 3 are not")
    p = d.pool("p")
    assert (p["up"], p["busy"], p["stopping"], p["restarting"]) == (2, 2, 0, 0)
    release([held[0], held[1]])
    assert pids(d) == {0: before[0], 1: before[1], 2: None}
    release(hold(d, 2))


def all_down(d, name="p"):
    d.wait_pool(
        name, "degraded", lambda p: p["state"] == "degraded" and p["up"] == p["starting"] == 0
    )


def test_restart_of_a_degraded_pool_recovers_at_once(make, program):
    d = make(pool("p", program("exit 3"), workers=3, start=READY))
    d.check_fds = False
    d.start()
    all_down(d)
    jid = d.cmd("SUBMIT", "p", "echo patience")
    assert d.cmd("RUN", "p", "x").code == "DOWN"
    assert d.cmd("RESTART", "p") == "OK"  # in vain
    d.wait_log("restart abandoned, .* 3 of 3 are not")
    all_down(d)
    assert d.cmd("RUN", "p", "x").code == "DOWN"
    program(GOOD)
    assert d.cmd("RESTART", "p") == "OK"
    assert d.cmd("RESULT", jid, "WAIT", "1m") == b"patience"
    restarted(d)
    p = wait_up(d, 3)
    assert (p["state"], p["fails"], p["last_error"], p["retry_ms"]) == ("ok", 0, None, None)
    assert d.status()["state"] == "ready"


def test_restart_of_one_worker_of_a_degraded_pool_tries_all(make, program):
    d = make(pool("p", program("exit 3"), workers=2, start=READY))
    d.check_fds = False
    d.start()
    all_down(d)
    program(GOOD)
    assert d.cmd("RESTART", "p", 0) == "OK"
    restarted(d)
    wait_up(d, 2)


def test_a_worker_that_dies_in_a_restart(start):
    """It comes back by itself, once, and the restart goes on."""
    d = start(pool("p", workers=4, start=QUICK))
    held = hold_slots(d, 4)
    before = pids(d)
    assert d.cmd("RESTART", "p") == "OK"
    d.wait_pool("p", "the first is told", lambda p: p["stopping"] == 1)
    os.kill(before[0], signal.SIGKILL)  # the one in hand
    os.kill(before[2], signal.SIGKILL)  # one whose turn has not come
    assert [held[i][0].read().code for i in (0, 2)] == ["CRASHED", "CRASHED"]
    d.wait_pool("p", "the next is told", lambda p: (p["stopping"], p["up"]) == (1, 3))
    assert d.pool("p")["restarting"] == 2  # the third is new already
    release([held[1], held[3]])
    restarted(d)
    check_all_new(d, before)
    p = wait_up(d, 4)
    assert (p["spawned"], p["crashed"]) == (8, 2)


def test_a_worker_that_hangs_in_a_restart_is_timed_out(start):
    d = start(pool("p", workers=2, job={"timeout": "300ms", "grace": "50ms"}, start=QUICK))
    before = pids(d)
    c = d.client()
    c.pipeline([("SUBMIT", "p", "hang-hard"), ("SUBMIT", "p", "hang-hard")])
    d.wait_pool("p", "both hang", lambda p: p["busy"] == 2)
    assert d.cmd("RESTART", "p") == "OK"
    restarted(d)
    check_all_new(d, before)
    assert d.pool("p")["timeout"] == 2


def test_a_worker_that_stays_in_a_restart_is_killed(start):
    d = start(
        pool("p", ACT, "--ignore-eof", "--ignore-term", job={"grace": "50ms"}, start=QUICK)
    )
    begun(d, 1)
    before = pids(d)
    assert d.cmd("RESTART", "p") == "OK"
    restarted(d)
    check_all_new(d, before)
    d.wait_log("SIGKILL")


def test_scale_in_the_middle_of_a_restart(start):
    """Those that go need not be replaced, those that come are new."""
    d = start(pool("p", workers=4, start=QUICK))
    before = pids(d)
    held = hold_slots(d, 4)
    assert d.cmd("RESTART", "p") == "OK"
    d.wait_pool("p", "the first is told", lambda p: p["stopping"] == 1)
    assert d.cmd("SCALE", "p", 2) == "OK"
    assert d.pool("p")["restarting"] == 2
    assert d.cmd("SCALE", "p", 6) == "OK"  # 2 and 3 go on, and are old
    d.wait_pool("p", "two more", lambda p: (p["up"], p["restarting"]) == (5, 4))
    release(held.values())
    restarted(d)
    after = pids(d)
    assert not set(after.values()) & set(before.values())
    assert wait_up(d, 6)["spawned"] == 4 + 2 + 4
    assert d.cmd("SCALE", "p", 4) == "OK"
    wait_up(d, 4)


def test_scale_takes_away_what_a_restart_has_in_hand(start):
    d = start(pool("p", workers=2, start=QUICK))
    held = hold_slots(d, 2)
    assert d.cmd("RESTART", "p", 1) == "OK"
    d.wait_pool("p", "it is told", lambda p: p["stopping"] == 1 and p["restarting"] == 1)
    assert d.cmd("SCALE", "p", 1) == "OK"
    assert restarted(d)["workers"] == 1
    d.wait_log("restarted")
    release(held.values())
    wait_up(d, 1)
    resized(d, -1)


def test_restart_of_a_paused_pool(start):
    d = start(pool("p", workers=2, start=QUICK))
    before = pids(d)
    assert d.cmd("PAUSE", "p") == "OK"
    jid = d.cmd("SUBMIT", "p", "echo x")
    assert d.cmd("RESTART", "p") == "OK"
    assert restarted(d)["queued"] == 1
    check_all_new(d, before)
    assert d.cmd("RESUME", "p") == "OK"
    assert d.cmd("RESULT", jid, "WAIT", "1m") == b"x"


def test_drain_in_the_middle_of_a_restart(start):
    """What is not told yet stays, and finishes what was accepted."""
    d = start(pool("p", workers=2, start=QUICK))
    before = pids(d)
    held = hold_slots(d, 2)
    jid = d.cmd("SUBMIT", "p", "echo accepted")
    assert d.cmd("RESTART", "p") == "OK"
    d.wait_pool("p", "the first is told", lambda p: p["stopping"] == 1)
    assert d.cmd("DRAIN") == "OK"
    p = restarted(d)
    assert (p["busy"], p["stopping"]) == (2, 0)
    d.wait_log("restart abandoned, preforkd is about to end: 2 of 2 are not replaced")
    assert d.cmd("RESTART", "p").code == "DRAINING"
    release(held.values())
    assert d.cmd("RESULT", jid, "WAIT", "1m") == b"accepted"
    assert pids(d) == before


def test_shutdown_in_the_middle_of_a_restart(start):
    d = start(pool("p", workers=2, start=QUICK), drain="1m")
    held = hold_slots(d, 2)
    assert d.cmd("RESTART", "p") == "OK"
    d.wait_pool("p", "the first is told", lambda p: p["stopping"] == 1)
    assert d.cmd("SHUTDOWN") == "OK"
    release(held.values())
    assert d.wait() == 0
    assert "cancelled" not in d.log() and "warning:" not in d.log()


def test_shutdown_now_in_the_middle_of_a_restart(start):
    d = start(pool("p", ACT, "--ignore-eof", workers=3, job={"grace": "1h"}, start=QUICK))
    held = hold(d, 2)
    assert d.cmd("RESTART", "p") == "OK"
    d.wait_pool("p", "the first is told", lambda p: p["stopping"] == 1)
    assert d.cmd("SHUTDOWN", "NOW") == "OK"
    assert [c.read().code for c, _ in held] == ["CANCELLED", "CANCELLED"]
    assert d.wait() == 0


def test_an_abandoned_restart_is_news(make, program):
    d = make(pool("p", program(GOOD), workers=2, start=READY))
    d.check_fds = False
    d.start()
    c = d.client()
    c.cmd("SUBSCRIBE", "pool.p")
    program("exit 3")
    assert d.cmd("RESTART", "p") == "OK"
    line = b""
    while b" event=" not in line:
        line = c.read()[2]
    assert line.endswith(b" event=restart-failed")
    assert line.startswith(b"state=degraded workers=2 up=1 ") and b" restarting=0 " in line


def test_control_in_a_transaction(start):
    """In the order given, and all in one turn: the one who is new need not be replaced."""
    d = start(pool("p", workers=2, start=QUICK))
    before = pids(d)
    c = d.client()
    commands = [("SCALE", "p", 3), ("RESTART", "p"), ("CLEAR", "p"), ("SCALE", "p", 0)]
    replies = c.pipeline([("MULTI",)] + commands + [("EXEC",)])[-1]
    assert replies[:3] == ["OK", "OK", "OK"] and replies[3].code == "ERR"
    restarted(d)
    assert wait_up(d, 3)["spawned"] == 2 + 1 + 2
    assert not set(pids(d).values()) & set(before.values())
    resized(d, 1)
