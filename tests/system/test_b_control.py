# SPDX-License-Identifier: MIT
"""Which workers a pool has, changed while it works: SCALE, RESTART."""
import os
import resource
import signal
import threading

import pytest

import lib
from lib import ACT, Client, Error, pool, script

SLOW_BACKOFF = {"backoff": "1h..1h"}


class Stream(threading.Thread):
    """A client that has one job after the other done, until it is told to stop."""

    def __init__(self, d, name="p"):
        super().__init__()
        self.d = d
        self.name_ = name
        self.over = False
        self.done = 0
        self.bad = []
        self.start()

    def run(self):
        with Client(self.d.socket) as c:
            while not self.over and not self.bad:
                text = "echo %d" % self.done
                reply = c.cmd("RUN", self.name_, text)
                if reply != text[5:].encode():
                    self.bad.append(reply)
                self.done += 1

    def finish(self):
        self.over = True
        self.join()
        assert not self.bad, self.bad
        return self.done


class Load:
    """A few streams at once, and a look at their progress."""

    def __init__(self, d, n=4):
        self.streams = [Stream(d) for _ in range(n)]

    @property
    def done(self):
        return sum(s.done for s in self.streams)

    def proceed(self, n=100):
        """Let so many jobs more be done."""
        goal = self.done + n
        lib.poll(
            lambda: self.done >= goal or any(s.bad for s in self.streams),
            "%d jobs more" % n,
        )

    def finish(self):
        return sum(s.finish() for s in self.streams)


def slots(d, name="p"):
    """The pool's workers by their slots."""
    return {w["worker"]: w for w in d.workers(name)}


def wait_up(d, n, name="p"):
    """So many workers, all of them up, and no others; the pool then."""
    return d.wait_pool(
        name, "%d workers" % n, lambda p: (p["workers"], p["up"], p["stopping"]) == (n, n, 0)
    )


def resized(d, by):
    """The daemon's end finds so many workers more than its start: three descriptors each."""
    d.fds += 3 * by


def hold(d, n, name="p"):
    """Jobs that are held up, one at a time, each by a gate: [(client, gate)]."""
    held = []
    for i in range(n):
        gate = d.gate("gate%d" % len(d.gates))
        c = d.client()
        c.send("RUN", name, "gate " + gate.path)
        gate.arrived()
        held.append((c, gate))
    return held


def begun(d, n, name="p"):
    """All workers are past their first lines: each has had a job."""
    release(hold(d, n, name))


def hold_slots(d, n, name="p"):
    """The same, by the slot whose worker is held up: {slot: (client, gate)}."""
    held = hold(d, n, name)
    jobs = {d.job(w["job"])["payload_head"]: w["worker"] for w in d.workers(name) if w["job"]}
    return {jobs["gate " + gate.path]: (c, gate) for c, gate in held}


def release(held):
    for c, gate in held:
        gate.release()
        assert c.read() == b"gate"


# ---- SCALE ---------------------------------------------------------------------------


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
    assert "WARNING" not in d.log()


def test_a_slot_keeps_its_number(start):
    d = start(pool("p", workers=3))
    for n in (1, 3):
        assert d.cmd("SCALE", "p", n) == "OK"
        wait_up(d, n)
    held = hold(d, 3)
    assert sorted(w["worker"] for w in d.workers() if w["job"]) == [0, 1, 2]
    release(held)
    environs = set()
    for w in d.workers():
        with open("/proc/%d/environ" % w["pid"], "rb") as f:
            environs.add((w["worker"], b"PREFORKD_WORKER=%d" % w["worker"] in f.read().split(b"\0")))
    assert environs == {(0, True), (1, True), (2, True)}


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


def test_scale_down_of_workers_that_start(make):
    """Not waited for, and not held against the pool when they end."""
    d = make()
    gate = d.gate()
    keys = pool("p", ACT, "--gate", gate.path, "--ready", start={"ready": True})
    d.conf.write_text(d.configuration([keys], None, {}))
    d.start(ready=False)
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
    assert "cancelled" not in d.log() and "WARNING" not in d.log()


def test_shutdown_now_in_the_middle_of_a_scale_down(start):
    d = start(pool("p", ACT, "--ignore-eof", workers=3, job={"grace": "1h"}))
    (held,) = hold(d, 1)
    assert d.cmd("SCALE", "p", 1) == "OK"
    assert d.cmd("SHUTDOWN", "NOW") == "OK"
    assert held[0].read().code == "CANCELLED"
    assert d.wait() == 0


# ---- RESTART -------------------------------------------------------------------------

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
    assert "WARNING" not in d.log()


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


def test_restart_waits_for_a_worker_to_be_ready(make):
    d = make()
    gate = d.gate()
    keys = pool("p", ACT, "--gate", gate.path, "--ready", workers=2, start={"ready": True})
    d.conf.write_text(d.configuration([keys], None, {}))
    d.start(ready=False)
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


GOOD = "exec %s" % ACT


def test_restart_with_a_program_that_is_broken_now(make, program):
    """One worker is lost, the others stay and work, and it is said what to do."""
    d = make(pool("p", program(GOOD), workers=4, start=SLOW_BACKOFF))
    d.check_fds = False
    d.start()
    begun(d, 4)
    before = pids(d)
    load = Load(d)
    program("exit 3")
    assert d.cmd("RESTART", "p") == "OK"
    p = restarted(d)
    load.proceed()
    load.finish()
    d.wait_log(r"restart abandoned, a new worker exits at start \(status 3\): 4 of 4 are not")
    after = pids(d)
    assert [after[i] == before[i] for i in range(4)] == [False, True, True, True]
    p = d.pool("p")
    assert (p["state"], p["up"], p["failed"], p["exited"]) == ("degraded", 3, 0, 3)
    # Repaired: it is tried at once, and then the others.
    program(GOOD)
    assert d.cmd("RESTART", "p") == "OK"
    p = restarted(d)
    assert (p["state"], p["up"], p["fails"], p["last_error"]) == ("ok", 4, 0, None)
    check_all_new(d, before)


def test_abandoned_restart_of_one(make, program):
    d = make(pool("p", program(GOOD), workers=2, start=SLOW_BACKOFF))
    d.check_fds = False
    d.start()
    begun(d, 2)
    before = pids(d)
    program("exit 3")
    assert d.cmd("RESTART", "p", 1) == "OK"
    restarted(d)
    d.wait_log("restart abandoned, .* 1 of 2 are not")
    assert pids(d) == {0: before[0], 1: None}
    assert d.cmd("RUN", "p", "echo x") == b"x"


def test_abandoned_restart_keeps_those_that_were_not_told(make, program):
    """They only waited for their jobs' end: they take the next."""
    d = make(pool("p", program(GOOD), workers=3, start=SLOW_BACKOFF))
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
    d = make(pool("p", program("exit 3"), workers=3, start=SLOW_BACKOFF))
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
    d = make(pool("p", program("exit 3"), workers=2, start=SLOW_BACKOFF))
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
    assert "cancelled" not in d.log() and "WARNING" not in d.log()


def test_shutdown_now_in_the_middle_of_a_restart(start):
    d = start(pool("p", ACT, "--ignore-eof", workers=3, job={"grace": "1h"}, start=QUICK))
    held = hold(d, 2)
    assert d.cmd("RESTART", "p") == "OK"
    d.wait_pool("p", "the first is told", lambda p: p["stopping"] == 1)
    assert d.cmd("SHUTDOWN", "NOW") == "OK"
    assert [c.read().code for c, _ in held] == ["CANCELLED", "CANCELLED"]
    assert d.wait() == 0


def test_an_abandoned_restart_is_news(make, program):
    d = make(pool("p", program(GOOD), workers=2, start=SLOW_BACKOFF))
    d.check_fds = False
    d.start()
    begun(d, 2)
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
