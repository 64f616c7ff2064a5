# SPDX-License-Identifier: MIT
"""SCALE: the number of a pool's workers, changed while it works."""
import os
import resource
import signal

import lib
from control import Load, begun, hold, release, resized, slots, wait_up
from lib import ACT, Error, pool, script

SLOW_BACKOFF = {"backoff": "1h..1h"}


def test_scale_up_and_down(start):
    d = start(pool("p", workers=2), pool("other"))
    before = slots(d)
    assert d.cmd("SCALE", "p", 5) == "OK"
    p = wait_up(d, 5)
    assert (p["workers_configured"], p["idle"], p["spawned"], p["state"]) == (2, 5, 5, "ok")
    now = slots(d)
    assert sorted(now) == [0, 1, 2, 3, 4]
    assert [now[i]["pid"] for i in (0, 1)] == [before[i]["pid"] for i in (0, 1)]
    assert d.status()["workers_wanted"] == 6
    assert d.cmd("SCALE", "p", 2) == "OK"
    p = wait_up(d, 2)
    assert (p["exited"], p["failed"], p["idle"]) == (3, 0, 2)
    now = slots(d)  # the highest went
    assert {i: now[i]["pid"] for i in now} == {i: before[i]["pid"] for i in before}
    assert (d.status()["workers_wanted"], d.status()["workers"]) == (3, 3)
    assert "warning:" not in d.log()


def test_a_slot_keeps_its_number(start):
    d = start(pool("p", workers=3))
    for n in (1, 3):
        assert d.cmd("SCALE", "p", n) == "OK"
        wait_up(d, n)
    held = hold(d, 3)
    assert sorted(w["worker"] for w in d.workers() if w["job"]) == [0, 1, 2]
    release(held)
    for w in d.workers():
        assert b"PREFORKD_WORKER=%d" % w["worker"] in lib.environ(w["pid"])


def test_scale_to_the_same_number_does_nothing(start):
    d = start(pool("p", workers=2))
    before = slots(d)
    assert d.cmd("SCALE", "p", 2) == "OK"
    assert d.cmd("RUN", "p", "echo x") == b"x"
    assert {w["pid"] for w in d.workers()} == {w["pid"] for w in before.values()}
    assert d.pool("p")["spawned"] == 2


def test_scale_takes_a_number_and_a_pool(start):
    d = start(pool("p"))
    c = d.client()
    for word in ("0", "4097", "-1", "x", "", "1.5", "99999999999999999999", " 1"):
        reply = c.cmd("SCALE", "p", word)
        assert reply == Error("ERR workers: a number from 1 to 4096, not '%s'" % word)
    assert c.cmd("SCALE", "nopool", 1).code == "NOPOOL"
    assert c.cmd("SCALE", "p").code == "ERR"
    assert c.cmd("SCALE", "p", 1, 2).code == "ERR"
    # Both in one turn: nothing is started between them. Where the limit of open files
    # is too low for so many, that is what is said, not that the number is none.
    most, one = c.pipeline([("SCALE", "p", 4096), ("SCALE", "p", 1)])
    assert most == "OK" or "open files" in most.text
    assert one == "OK"
    assert wait_up(d, 1)["spawned"] <= 1 + 8
    assert c.cmd("RUN", "p", "echo x") == b"x"


def test_scale_under_load_loses_no_job(start):
    d = start(pool("p", workers=2))
    load = Load(d)
    for n in (8, 1, 5, 2, 8, 1, 2):
        assert d.cmd("SCALE", "p", n) == "OK"
        load.proceed()
    wait_up(d, 2)
    done = load.finish()
    p = d.pool("p")
    assert (p["done"], p["failed"], p["crashed"], p["queued"]) == (done, 0, 0, 0)
    assert p["spawned"] - p["exited"] == 2


def test_scale_to_two_hundred_and_back(start):
    d = start(pool("p"))
    load = Load(d, 2)
    assert d.cmd("SCALE", "p", 200) == "OK"
    lib.poll(lambda: d.pool("p")["up"] == 200, "200 workers", 50 * lib.SLOW)
    assert sorted(slots(d)) == list(range(200))
    load.proceed()
    assert d.cmd("SCALE", "p", 1) == "OK"
    assert d.pool("p")["workers"] == 1
    load.proceed()
    lib.poll(lambda: d.pool("p")["exited"] == 199, "one worker", 50 * lib.SLOW)
    wait_up(d, 1)
    load.finish()
    p = d.pool("p")
    assert (p["failed"], p["spawned"], p["exited"]) == (0, 200, 199)


def test_scale_down_waits_for_the_jobs(start):
    d = start(pool("p", workers=3))
    held = hold(d, 3)
    assert d.cmd("SCALE", "p", 1) == "OK"
    p = d.pool("p")
    assert (p["workers"], p["up"], p["busy"], p["stopping"]) == (1, 1, 1, 2)
    assert [w["state"] for w in d.workers()] == ["busy", "stopping", "stopping"]
    assert all(w["job"] for w in d.workers())
    c = d.client()
    c.send("RUN", "p", "echo late")
    d.wait_pool("p", "it waits", lambda p: (p["queued"], p["running"]) == (1, 3))
    release(held)
    assert c.read() == b"late"
    p = wait_up(d, 1)
    assert (p["failed"], p["exited"], len(d.workers())) == (0, 2, 1)
    resized(d, -2)


def test_scaled_down_worker_is_still_timed_out(start):
    d = start(pool("p", workers=2, job={"timeout": "300ms", "grace": "100ms"}))
    c = d.client()
    c.send("RUN", "p", "hang")
    c.send("RUN", "p", "hang")
    d.wait_pool("p", "both busy", lambda p: p["busy"] == 2)
    assert d.cmd("SCALE", "p", 1) == "OK"
    assert [c.read().code, c.read().code] == ["TIMEOUT", "TIMEOUT"]
    assert wait_up(d, 1)["timeout"] == 2
    resized(d, -1)


def test_scale_up_again_while_one_is_busy(start):
    """It was told nothing yet: it simply goes on."""
    d = start(pool("p", workers=2))
    before = slots(d)
    held = hold(d, 2)
    assert d.cmd("SCALE", "p", 1) == "OK"
    assert slots(d)[1]["state"] == "stopping"
    assert d.cmd("SCALE", "p", 2) == "OK"
    assert slots(d)[1]["state"] == "busy"
    release(held)
    release(hold(d, 2))
    p = wait_up(d, 2)
    assert {w["pid"] for w in d.workers()} == {w["pid"] for w in before.values()}
    assert p["exited"] == 0


def test_scale_up_again_while_one_ends(start):
    """It has been told to end: the slot is filled again when it has."""
    d = start(pool("p", ACT, "--ignore-eof", workers=2, job={"grace": "1h"}))
    before = slots(d)
    assert d.cmd("SCALE", "p", 1) == "OK"
    d.wait_pool("p", "it is told", lambda p: p["stopping"] == 1)
    assert d.cmd("SCALE", "p", 2) == "OK"
    now = slots(d)
    assert (now[1]["state"], now[1]["pid"]) == ("stopping", before[1]["pid"])
    os.kill(before[1]["pid"], signal.SIGKILL)
    wait_up(d, 2)
    assert slots(d)[1]["pid"] != before[1]["pid"]
    assert d.cmd("SHUTDOWN", "NOW") == "OK"
    assert d.wait() == 0


def test_scaled_down_worker_that_stays_is_killed(start):
    d = start(pool("p", ACT, "--ignore-eof", "--ignore-term", workers=2, job={"grace": "50ms"}))
    begun(d, 2)
    assert d.cmd("SCALE", "p", 1) == "OK"
    wait_up(d, 1)
    d.wait_log("SIGKILL")
    resized(d, -1)


def test_scale_down_with_a_pipeline(start):
    """In order: all that wait in the worker behind the one that is held up."""
    d = start(pool("p", workers=2, pipeline=4))
    held = hold(d, 2)
    c = d.client()
    for i in range(6):
        c.send("RUN", "p", "echo %d" % i)
    d.wait_pool("p", "all in the workers", lambda p: p["running"] == 8)
    assert d.cmd("SCALE", "p", 1) == "OK"
    assert slots(d)[1]["state"] == "stopping"
    release(held)
    assert [c.read() for _ in range(6)] == [b"%d" % i for i in range(6)]
    assert wait_up(d, 1)["failed"] == 0
    resized(d, -1)


def test_scale_down_of_a_frame_worker(start):
    """Out of order, and a CANCEL of one that retires is still asked of it."""
    d = start(pool("p", script("frame.py"), protocol="frame", workers=2, pipeline=4))
    ids = [d.cmd("SUBMIT", "p", "hold %d" % i) for i in range(4)]
    d.wait_pool("p", "all in the workers", lambda p: p["running"] == 4)
    assert d.cmd("SCALE", "p", 1) == "OK"
    assert slots(d)[1]["state"] == "stopping"
    mine = [i for i in ids if d.job(i)["worker"] == 1]
    assert len(mine) == 2
    assert d.cmd("CANCEL", mine[0]) == 1
    d.wait_state(mine[0], "cancelled")
    assert slots(d)[1]["state"] == "stopping"  # the other one is still there
    assert d.cmd("CANCEL", mine[1]) == 1
    wait_up(d, 1)
    assert d.cmd("RUN", "p", "release") == b"released"
    states = [d.wait_state(i, "cancelled", "done")["state"] for i in ids]
    assert sorted(states) == ["cancelled", "cancelled", "done", "done"]
    resized(d, -1)


def test_scale_down_of_workers_that_start(start_held):
    """Not waited for, and not held against the pool when they end."""
    d, gate = start_held()
    gate.release()
    d.notify.wait("READY=1", d.proc)
    d.count_fds()
    assert d.cmd("SCALE", "p", 3) == "OK"
    d.wait_pool("p", "two start", lambda p: p["starting"] == 2)
    gate.arrived()
    assert d.cmd("SCALE", "p", 1) == "OK"
    d.wait_pool("p", "they are told", lambda p: (p["starting"], p["stopping"]) == (0, 2))

    def ended():
        gate.pulse()
        return d.pool("p")["exited"] == 2

    gate.close()
    lib.poll(ended, "their end")
    p = wait_up(d, 1)
    assert (p["fails"], p["state"], p["last_error"]) == (0, "ok", None)


def test_scale_of_a_paused_pool(start):
    d = start(pool("p"))
    assert d.cmd("PAUSE", "p") == "OK"
    jid = d.cmd("SUBMIT", "p", "echo x")
    assert d.cmd("SCALE", "p", 3) == "OK"
    assert wait_up(d, 3)["queued"] == 1
    assert d.cmd("SCALE", "p", 1) == "OK"
    wait_up(d, 1)
    assert d.cmd("RESUME", "p") == "OK"
    assert d.cmd("RESULT", jid, "WAIT", "1m") == b"x"


def test_scale_up_of_a_degraded_pool_is_throttled(make):
    d = make(pool("p", "/bin/false", start=SLOW_BACKOFF), pool("q"))
    d.check_fds = False
    d.start()
    p = d.wait_pool("p", "degraded", lambda p: p["state"] == "degraded" and p["exited"] == 2)
    assert d.cmd("SCALE", "p", 100) == "OK"
    assert d.cmd("RUN", "q", "echo x") == b"x"
    p = d.pool("p")
    assert (p["workers"], p["spawned"], p["state"]) == (100, 2, "degraded")
    assert d.cmd("SCALE", "p", 1) == "OK"
    assert d.pool("p")["state"] == "degraded"


def test_scale_down_to_those_that_start(make, tmp):
    """The slot that cannot start is not wanted any more: the pool is well again."""
    worker = tmp / "worker"
    worker.write_text('#!/bin/sh\n[ $PREFORKD_WORKER != 1 ] || exit 3\nexec %s "$@"\n' % ACT)
    worker.chmod(0o755)
    d = make(pool("p", str(worker), workers=2, start=SLOW_BACKOFF))
    d.check_fds = False
    d.start()
    p = d.wait_pool("p", "degraded", lambda p: p["state"] == "degraded" and p["up"] == 1)
    assert d.cmd("SCALE", "p", 1) == "OK"
    p = d.pool("p")
    assert (p["state"], p["fails"], p["last_error"], p["up"]) == ("ok", 0, None, 1)
    assert d.cmd("RUN", "p", "echo x") == b"x"
    assert d.status()["state"] == "ready"
    assert d.cmd("SCALE", "p", 2) == "OK"
    d.wait_pool("p", "degraded again", lambda p: p["state"] == "degraded" and p["exited"] >= 4)


def with_limit(make, files, *pools, **options):
    """A daemon that may have so many open files."""
    d = make(*pools, **options)
    return d.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))


def test_scale_is_held_to_the_limit_of_open_files(make):
    """Five for a worker, 32 for the daemon, one for each client that is there."""
    d = with_limit(make, 32 + 5 * 10 + 2, pool("p"), pool("q", workers=3))
    c = d.client()
    other = d.client()
    assert other.cmd("PING") == "PONG"
    assert c.cmd("CONFIG", "GET", "maxclients")[1] == b"32"  # beside 4 workers
    reply = c.cmd("SCALE", "p", 8)
    assert reply.code == "ERR" and "84 open files" in reply.text and "7 workers" in reply.text
    assert c.cmd("SCALE", "p", 7) == "OK"
    wait_up_by(c, "p", 7)
    assert c.cmd("CONFIG", "GET", "maxclients")[1] == b"2"
    assert c.cmd("SCALE", "q", 4).code == "ERR"
    assert c.cmd("SCALE", "q", 2) == "OK"  # fewer is always possible
    wait_up_by(c, "q", 2)
    assert c.cmd("CONFIG", "GET", "maxclients")[1] == b"7"
    assert c.cmd("SCALE", "q", 3) == "OK"
    wait_up_by(c, "q", 3)
    assert c.cmd("SCALE", "p", 1) == "OK"
    wait_up_by(c, "p", 1)
    assert c.cmd("CONFIG", "GET", "maxclients")[1] == b"32"


def wait_up_by(c, name, n):
    """As wait_up(), by a connection that is there: no place is free for another."""
    lib.poll(
        lambda: (lambda p: (p["up"], p["stopping"]) == (n, 0))(lib.mapping(c.cmd("POOL", name))),
        "%d workers" % n,
    )


def test_those_that_leave_still_have_their_descriptors(make):
    d = with_limit(make, 32 + 5 * 4 + 3, pool("p", workers=2), pool("q", workers=2))
    held = hold(d, 2)
    spare = d.client()
    assert spare.cmd("SCALE", "p", 1) == "OK"
    assert spare.cmd("SCALE", "q", 3).code == "ERR"
    release(held)
    wait_up_by(spare, "p", 1)
    assert spare.cmd("SCALE", "q", 3) == "OK"
    wait_up_by(spare, "q", 3)
    assert spare.cmd("SCALE", "q", 2) == "OK"
    wait_up_by(spare, "q", 2)
    assert spare.cmd("SCALE", "p", 2) == "OK"
    wait_up_by(spare, "p", 2)


def test_no_scale_in_a_drain(start):
    d = start(pool("p", workers=2))
    held = hold(d, 2)
    assert d.cmd("SCALE", "p", 1) == "OK"
    assert d.cmd("DRAIN") == "OK"
    assert d.cmd("SCALE", "p", 2).code == "DRAINING"
    release(held)
    wait_up(d, 1)
    resized(d, -1)


def test_shutdown_in_the_middle_of_a_scale_down(start):
    """The drain waits for the job of one that retires as for any other."""
    d = start(pool("p", workers=2), drain="1m")
    held = hold(d, 2)
    assert d.cmd("SCALE", "p", 1) == "OK"
    assert d.cmd("SHUTDOWN") == "OK"
    release(held)
    assert d.wait() == 0
    assert "cancelled" not in d.log() and "warning:" not in d.log()


def test_shutdown_now_in_the_middle_of_a_scale_down(start):
    d = start(pool("p", ACT, "--ignore-eof", workers=3, job={"grace": "1h"}))
    (held,) = hold(d, 1)
    assert d.cmd("SCALE", "p", 1) == "OK"
    assert d.cmd("SHUTDOWN", "NOW") == "OK"
    assert held[0].read().code == "CANCELLED"
    assert d.wait() == 0
