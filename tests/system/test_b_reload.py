# SPDX-License-Identifier: MIT
"""RELOAD: another configuration while everything goes on."""
import os
import re
import signal
import subprocess

import pytest

import lib
from control import Load, hold, release, resized, wait_up
from ctl import Ctl
from lib import ACT, ROOT, SANITIZED, Client, Error, pool, text

SOON = "10ms..1s"  # start.backoff: when a worker that says nothing counts as good
LATER = {"backoff": "1s..1m"}  # than one that is no good ends by itself


def soon(name, *command, **keys):
    """A pool; after ACT may stand a word that makes the command another one."""
    start = {"backoff": SOON, **keys.pop("start", {})}
    if len(command) == 2 and command[0] == ACT:
        command = ["/usr/bin/env", "WHICH=" + command[1], ACT]
    return pool(name, *command, start=start, **keys)


def frame(name, **keys):
    return soon(name, lib.script("frame.py"), protocol="frame", **keys)


def reload(d, *pools, **top):
    """Another configuration, and the reply to RELOAD."""
    d.rewrite(*pools, **top)
    return d.cmd("RELOAD")


def put_in_force(d, *pools, **top):
    assert reload(d, *pools, **top) == "OK"


def pids(d, name="p"):
    return [w["pid"] for w in d.workers(name)]


def wait_status(d, begin):
    """That is how the last STATUS= begins, now or soon."""

    def last():
        return [s[7:] for s in d.notify.drain() if s.startswith("STATUS=")][-1]

    lib.poll(lambda: last().startswith(begin), "STATUS=%s" % begin)


def wait_replaced(d, before, name="p"):
    """All of these workers are replaced; those there are now."""
    d.wait_pool(name, "a restart that is over", lambda p: p["restarting"] == p["stopping"] == 0)
    after = pids(d, name)
    assert not set(before) & set(after)
    return after


# ---- the table: what a changed key leads to ----

BOTH = {"pipeline": 2, "workers": 2}  # for keys that go with a pipeline alone

IN_PLACE = [
    ("queue.limit", 7),
    ("queue.memory", "1M"),
    ("job.timeout", "7s"),
    ("job.grace", "1s"),
    ("job.keep", "7m"),
    ("job.keep_memory", "1M"),
    ("job.replay", "1K"),
    ("job.max_payload", "2M"),
    ("job.on_disconnect", "finish"),
    ("start.ready", True),
    ("start.timeout", "7s"),
    ("start.backoff", "20ms..2s"),
]

RENEWS = [
    ("command", ["/usr/bin/env", "WHICH=other", ACT]),
    ("channel", "pipe"),
    ("pipeline", 3),
    ("in_order", True),
    ("job.max_result", "1M"),
    ("run_as.group", "daemon"),
    ("run_as.directory", "/tmp"),
    ("run_as.umask", "0077"),
    ("run_as.nice", 1),
    ("run_as.no_new_privs", False),
    ("run_as.limits.nofile", 100),
    ("run_as.limits.as", "100G"),
    ("run_as.limits.core", 0),
    ("run_as.limits.cpu", 1000),
    ("run_as.limits.data", "100G"),
    ("run_as.limits.fsize", "1G"),
    ("run_as.limits.memlock", "1K"),
    ("run_as.limits.nproc", 10000),
    ("run_as.limits.stack", "1M"),
    ("run_as.environment", {"LANG": "C"}),
]

# These have tests of their own: name, workers, one_to_one (of a filter), start.required (of
# the start alone), run_as.user.
ELSEWHERE = {"name", "workers", "protocol", "one_to_one", "start.required", "run_as.user"}


def with_key(keys, path, value):
    """A pool's keys, and one more."""
    keys = dict(keys)
    at = keys
    *groups, last = path.split(".")
    for g in groups:
        at[g] = dict(at.get(g, {}))
        at = at[g]
    if isinstance(value, dict):
        value = {**at.get(last, {}), **value}
    at[last] = value
    return keys


def printed_keys(d):
    """The keys of a pool that preforkd knows, but for limits that are not set."""
    out = lib.run(lib.PREFORKD, "-T", "-c", d.conf).stdout.decode()
    found, path = set(), []
    for line in out[out.index("\npools = (") :].splitlines()[2:]:
        if opened := re.match(r"\s+(\w+) = \{$", line):
            path.append(opened[1])
        elif re.match(r"\s+\};$", line):
            path.pop()
        elif set_ := re.match(r"\s+(\w+) = ", line):
            found.add(".".join([*path, set_[1]]))
    return found


def test_every_key_is_in_a_table(make):
    d = make(pool("p"))
    said = {path for path, _ in IN_PLACE + RENEWS} | ELSEWHERE
    missing = {k for k in printed_keys(d) if not any(k == s or k.startswith(s + ".") for s in said)}
    assert not missing, "decide what a reload does with a changed %s" % missing


@pytest.mark.parametrize("path, value", IN_PLACE)
def test_changed_in_place(start, path, value):
    p = soon("p", workers=2)
    d = start(p)
    before = pids(d)
    put_in_force(d, with_key(p, path, value))
    assert pids(d) == before
    seen = d.pool("p")
    assert (seen["up"], seen["exited"], seen["restarting"]) == (2, 0, 0)
    assert d.cmd("RUN", "p", "echo x") == b"x"


@pytest.mark.parametrize("path, value", RENEWS)
@pytest.mark.skipif(not ROOT, reason="some need root")
def test_needs_new_workers(start, path, value):
    p = soon("p", **BOTH)
    d = start(p)
    d.check_fds = path != "channel"  # pipes are more of them
    before = pids(d)
    put_in_force(d, with_key(p, path, value))
    assert d.cmd("RUN", "p", "echo x") == b"x"
    after = wait_replaced(d, before)
    seen = wait_up(d, 2)
    assert (seen["spawned"], seen["exited"]) == (4, 2)
    put_in_force(d, with_key(p, path, value))  # as it is: nothing is touched
    assert pids(d) == after


@pytest.mark.skipif(not ROOT, reason="switches users")
def test_another_user(start):
    p = soon("p", lib.script("echo.py"))
    d = start(p)
    before = pids(d)
    put_in_force(d, with_key(p, "run_as.user", "nobody"))
    (after,) = wait_replaced(d, before)
    assert lib.proc_status(after)["Uid"].split()[0] != "0"


def test_one_to_one(start):
    p = soon("p", "/bin/cat", protocol="filter")
    d = start(p)
    before = pids(d)
    put_in_force(d, {**p, "one_to_one": True})
    wait_replaced(d, before)


def test_the_new_limits_hold(start):
    d = start(soon("p"))
    ((c, gate),) = hold(d, 1)
    put_in_force(d, soon("p", queue={"limit": 1}, job={"max_payload": 10}))
    assert d.cmd("SUBMIT", "p", "echo 1").isdigit()
    assert d.cmd("SUBMIT", "p", "echo 2").code == "BUSY"
    assert d.cmd("SUBMIT", "p", "echo 34567890").code == "TOOBIG"
    assert d.pool("p")["queue_limit"] == 1
    release([(c, gate)])


# ---- the number of workers ----


def test_workers_number(start):
    d = start(soon("p", workers=2))
    before = pids(d)
    put_in_force(d, soon("p", workers=4))
    wait_up(d, 4)
    assert pids(d)[:2] == before
    put_in_force(d, soon("p", workers=1))
    wait_up(d, 1)
    assert pids(d) == before[:1]
    resized(d, -1)


def test_scale_stays_until_the_files_number_changes(start):
    d = start(soon("p", workers=1))
    assert d.cmd("SCALE", "p", 3) == "OK"
    put_in_force(d, soon("p", workers=1, job={"timeout": "7s"}))
    assert d.pool("p")["workers"] == 3
    assert d.pool("p")["workers_configured"] == 1
    put_in_force(d, soon("p", workers=2))
    wait_up(d, 2)
    resized(d, 1)


def test_pause_stays(start):
    d = start(soon("p"))
    assert d.cmd("PAUSE", "p") == "OK"
    jid = text(d.cmd("SUBMIT", "p", "echo x"))
    put_in_force(d, soon("p", ACT, "other"))
    assert d.pool("p")["state"] == "paused"
    assert d.cmd("RESUME", "p") == "OK"
    assert d.cmd("RESULT", jid, "WAIT", "1m") == b"x"


# ---- nothing is lost ----


def test_jobs_and_clients_over_it(start):
    """Workers are replaced under a load: no reply is missed, no connection closed."""
    d = start(soon("p", workers=3), soon("other", workers=1))
    other = pids(d, "other")
    idle = d.client()
    assert idle.cmd("PING") == "PONG"
    load = Load(d)
    load.proceed()
    for i in range(5):
        before = pids(d)
        put_in_force(d, soon("p", ACT, "%d" % i, workers=3), soon("other", workers=1))
        wait_replaced(d, before)
        load.proceed()
    load.finish()
    assert idle.cmd("PING") == "PONG"
    assert pids(d, "other") == other
    assert d.status()["reloads"] == 5
    assert d.pool("p")["failed"] == d.pool("p")["cancelled"] == 0


def test_queued_jobs_stay(start):
    d = start(soon("p"))
    ((c, gate),) = hold(d, 1)
    jobs = [text(d.cmd("SUBMIT", "p", "echo %d" % i)) for i in range(5)]
    waiting = d.client()
    waiting.send("RUN", "p", "echo waited")
    d.wait_pool("p", "all queued", lambda p: p["queued"] == 6)
    asked = d.client()
    d.rewrite(soon("p", ACT, "other"), drain="1h")
    asked.send("RELOAD")
    d.wait_pool("p", "it is in force", lambda p: "=other" in p["command"])
    assert asked.quiet()  # what is new is not yet proven
    release([(c, gate)])
    assert asked.read() == "OK"
    assert [d.cmd("RESULT", j, "WAIT", "1m") for j in jobs] == [b"%d" % i for i in range(5)]
    assert waiting.read() == b"waited"


def test_one_long_job_holds_nothing_up(start):
    """Idle workers are replaced before busy ones."""
    d = start(soon("p", workers=2), drain="1h")
    before = pids(d)
    ((c, gate),) = hold(d, 1)
    put_in_force(d, soon("p", ACT, "other", workers=2), drain="1h")
    d.wait_pool("p", "the busy one is told", lambda p: (p["restarting"], p["stopping"]) == (1, 1))
    assert len(set(before) & set(pids(d))) == 1
    release([(c, gate)])
    wait_replaced(d, before)


def test_a_long_job_does_not_hold_it_up(start):
    """It is waited for as long as a stop would; then the restart goes on by itself."""
    d = start(soon("p"), drain="100ms")
    before = pids(d)
    ((c, gate),) = hold(d, 1)
    put_in_force(d, soon("p", ACT, "other"), drain="100ms")
    d.wait_log(r"reloaded: .*still at their jobs are the old workers of p")
    assert pids(d) == before
    release([(c, gate)])
    wait_replaced(d, before)


def test_an_old_worker_that_ends_is_waited_for(start, tmp):
    """It has no job any more, and only after it is known what its successor is like."""
    gate = lib.Gate(tmp / "gate")
    job = {"grace": "1h"}
    lingers = '"%s"; read x < "%s"' % (ACT, gate.path)
    d = start(soon("p", "/bin/sh", "-c", lingers, job=job))
    d.rewrite(soon("p", "/bin/false", job=job, start=LATER), drain="1ms")
    c = d.client()
    c.send("RELOAD")
    gate.arrived()
    assert c.quiet()
    gate.release()
    assert c.read().code == "DOWN"
    d.check_fds = False  # there is none of its workers at the end


def test_others_do_not_hold_it_up(start):
    """Who reloads again and again does not make those wait longer who came before."""
    d = start(soon("p"), drain="500ms")
    ((c, gate),) = hold(d, 1)
    d.rewrite(soon("p", ACT, "other"), drain="500ms")
    asked = d.client()
    asked.send("RELOAD")
    lib.poll(lambda: d.send_signal(signal.SIGHUP) or not asked.quiet(), "the reply, for all HUPs")
    assert asked.read() == "OK"
    release([(c, gate)])


def test_key_survives(start):
    d = start(soon("p"))
    assert d.cmd("RUN", "p", "KEY", "k", "echo 1") == b"1"
    put_in_force(d, soon("p", ACT, "other"), soon("q"))
    assert d.cmd("RUN", "p", "KEY", "k", "echo 1") == b"1"
    assert d.pool("p")["done"] == 1
    resized(d, 1)


def test_subscriptions_survive(start):
    d = start(soon("p"))
    c = d.client(3)
    c.cmd("SUBSCRIBE", "jobs.p")
    c.cmd("PSUBSCRIBE", "jobs.*")
    put_in_force(d, soon("p", ACT, "other"), soon("new"))
    assert d.cmd("RUN", "p", "echo 1") == b"1"
    assert d.cmd("RUN", "new", "echo 1") == b"1"
    heard = [text(c.read()) for _ in range(9)]
    assert [h[1] for h in heard if h[0] == "message"] == ["jobs.p"] * 3
    assert [h[2] for h in heard if h[0] == "pmessage"] == ["jobs.p"] * 3 + ["jobs.new"] * 3
    resized(d, 1)


def test_changed_back_costs_nothing(start):
    """What has been changed and changed back before it took effect is as it was."""
    p, q = soon("p"), soon("p", ACT, "other")
    d = start(p, drain="1h")
    before = pids(d)
    ((c, gate),) = hold(d, 1)
    d.rewrite(q, drain="1h")
    asked = d.client()
    asked.send("RELOAD")
    d.wait_pool("p", "it is in force", lambda s: s["restarting"] == 1)
    d.rewrite(p, drain="1h")
    asked.send("RELOAD")
    d.wait_pool("p", "that too", lambda s: "=other" not in s["command"])
    release([(c, gate)])
    assert [asked.read(), asked.read()] == ["OK", "OK"]
    assert d.cmd("RUN", "p", "echo x") == b"x"
    assert len(pids(d)) == len(before)


def test_a_longer_pipeline_under_load(start):
    d = start(soon("p", workers=3))
    load = Load(d, 8)
    for n in (4, 2, 16, 1):
        put_in_force(d, soon("p", workers=3, pipeline=n))
        load.proceed()
    d.wait_pool("p", "a restart that is over", lambda p: p["restarting"] == 0)
    load.proceed()
    load.finish()
    wait_up(d, 3)


def test_another_protocol_under_load(start):
    d = start(soon("p", workers=3))
    load = Load(d)
    for p in (frame("p", workers=3), soon("p", workers=3), frame("p", workers=3)):
        put_in_force(d, p)
        load.proceed()
    load.finish()


def test_jobs_that_the_new_protocol_cannot_carry(start):
    """Old workers do them while they are there; when only new ones are left they are told."""
    d = start(frame("p"))
    assert d.cmd("PAUSE", "p") == "OK"
    jobs = [text(d.cmd("SUBMIT", "p", b"echo two\nlines")) for _ in range(3)]
    good = text(d.cmd("SUBMIT", "p", "echo good"))
    before = pids(d)
    put_in_force(d, soon("p", protocol="line"))
    wait_replaced(d, before)
    assert d.cmd("RESUME", "p") == "OK"
    assert d.cmd("RESULT", good, "WAIT", "1m") == b"good"
    for j in jobs:
        reply = d.cmd("RESULT", j, "WAIT", "1m")
        assert reply.code == "CANCELLED" and "a reload has changed the pool's protocol" in reply.text
        assert d.job(j)["reason"] == "reload"
    assert d.cmd("SUBMIT", "p", b"echo two\nlines").code == "BADPAYLOAD"


def test_new_jobs_that_an_old_worker_cannot_carry(start):
    d = start(soon("p", protocol="line", workers=2))
    ((c, gate),) = hold(d, 1)
    put_in_force(d, frame("p", workers=2), drain="100ms")
    many = [d.client() for _ in range(4)]
    for m in many:
        m.send("RUN", "p", b"echo two\nlines")
    assert [m.read() for m in many] == [b"two\nlines"] * 4
    release([(c, gate)])


# ---- pools that come and go ----


def test_a_new_pool(start):
    d = start(soon("p"))
    before = pids(d)
    c = d.client()
    assert c.cmd("RUN", "new", "echo x").code == "NOPOOL"
    put_in_force(d, soon("new", workers=2), soon("p"))
    assert c.cmd("RUN", "new", "echo x") == b"x"
    assert [text(lib.mapping(p)["name"]) for p in c.cmd("POOLS")] == ["new", "p"]
    assert pids(d) == before
    resized(d, 2)


def test_a_pool_is_taken_out(start):
    """It finishes what runs and was submitted, answers who waits, and keeps its results."""
    d = start(soon("p"), soon("q"), drain="1h")
    kept = text(d.cmd("SUBMIT", "p", "echo kept"))
    assert d.cmd("RESULT", kept, "WAIT", "1m") == b"kept"
    ((c, gate),) = hold(d, 1)
    waiting = d.client()
    waiting.send("RUN", "p", "echo waited")
    queued = text(d.cmd("SUBMIT", "p", "echo queued"))
    d.wait_pool("p", "both queued", lambda p: p["queued"] == 2)
    (pid,) = pids(d)
    put_in_force(d, soon("q"), drain="1h")
    refused = waiting.read()
    assert refused.code == "CANCELLED" and "taken out of the configuration" in refused.text
    assert d.cmd("RUN", "p", "echo x").code == "NOPOOL"
    assert d.cmd("SUBMIT", "p", "echo x").code == "NOPOOL"
    assert d.cmd("RUN", "p", "x" * 200000).code == "NOPOOL"
    assert d.cmd("SCALE", "p", 2).code == "DRAINING"
    assert d.cmd("RESTART", "p").code == "DRAINING"
    assert d.pool("p")["state"] == "draining"
    release([(c, gate)])
    assert d.cmd("RESULT", queued, "WAIT", "1m") == b"queued"
    d.wait_pool("p", "no worker left", lambda p: (p["up"], p["stopping"]) == (0, 0))
    lib.poll(lambda: not lib.alive(pid), "its worker has ended")
    assert d.cmd("RESULT", kept) == b"kept"
    assert d.pool("p")["kept"] == 2
    assert d.workers("p") == []
    assert d.cmd("FORGET", kept, queued) == 2
    lib.poll(lambda: isinstance(d.cmd("POOL", "p"), Error), "it is gone")
    assert [text(lib.mapping(p)["name"]) for p in d.cmd("POOLS")] == ["q"]
    assert d.cmd("RUN", "q", "echo x") == b"x"
    resized(d, -1)


def test_what_it_does_not_finish_within_drain(start):
    d = start(soon("p"), soon("q"), drain="50ms")
    ((c, gate),) = hold(d, 1)
    queued = text(d.cmd("SUBMIT", "p", "KEEP", "1ms", "echo queued"))
    put_in_force(d, soon("q"), drain="50ms")
    refused = c.read()
    assert refused.code == "CANCELLED" and "taken out of the configuration" in refused.text
    lib.poll(lambda: isinstance(d.cmd("JOB", queued), Error), "it was cancelled, and forgotten")
    lib.poll(lambda: isinstance(d.cmd("POOL", "p"), Error), "it is gone")
    d.wait_log(r"p: taken out: 1 running and 1 queued jobs are cancelled")
    resized(d, -1)


@pytest.mark.parametrize("when", ["busy", "kept"])
def test_it_comes_back_before_it_is_gone(start, when):
    d = start(soon("p", workers=2), soon("q"), drain="1h")
    kept = text(d.cmd("SUBMIT", "p", "echo kept"))
    assert d.cmd("RESULT", kept, "WAIT", "1m") == b"kept"
    held = hold(d, 1) if when == "busy" else []
    put_in_force(d, soon("q"), drain="1h")
    if not held:
        d.wait_pool("p", "no worker left", lambda p: (p["up"], p["stopping"]) == (0, 0))
    put_in_force(d, soon("p", ACT, "other", workers=2), soon("q"), drain="1h")
    release(held)
    d.wait_pool("p", "a restart that is over", lambda p: p["restarting"] == 0)
    wait_up(d, 2)
    assert d.cmd("RUN", "p", "echo x") == b"x"
    assert d.cmd("RESULT", kept) == b"kept"


def test_a_pool_gets_another_name(start):
    d = start(soon("p"))
    put_in_force(d, soon("renamed"))
    assert d.cmd("RUN", "renamed", "echo x") == b"x"
    lib.poll(lambda: isinstance(d.cmd("POOL", "p"), Error), "the old one is gone")
    assert d.cmd("RUN", "p", "echo x").code == "NOPOOL"


def test_a_degraded_pool_is_repaired(start):
    bad = soon("p", "/bin/false", workers=2)
    d = start(bad)
    d.wait_pool("p", "degraded", lambda p: p["state"] == "degraded")
    put_in_force(d, soon("p", workers=2))
    wait_up(d, 2)
    assert d.cmd("RUN", "p", "echo x") == b"x"
    d.check_fds = False  # there was none of its workers at the start


def test_a_degraded_pool_that_is_taken_out_is_no_trouble(start):
    """It may be there for long, for its results; nobody needs its workers."""
    d = start(soon("p"), soon("bad", "/bin/false", workers=3))
    d.wait_pool("bad", "degraded", lambda p: p["state"] == "degraded")
    jid = text(d.cmd("SUBMIT", "bad", "x"))
    put_in_force(d, soon("p"))
    d.wait_state(jid, "cancelled")
    lib.poll(lambda: d.status()["state"] == "ready", "ready, not degraded")
    assert d.pool("bad")["kept"] == 1
    assert Ctl(d).out("check").startswith("PREFORKD OK: ")
    lib.poll(
        lambda: "degraded" not in [f for f in d.notify.drain() if f.startswith("STATUS=")][-1],
        "another STATUS=",
    )
    d.wait_log(r"reloaded: 1 pool \(0 new, 0 with new workers\), 1 taken out")
    d.check_fds = False


# ---- what cannot be ----


@pytest.fixture
def steady(start):
    """A daemon with a load, and a check that nothing of it has been touched."""
    d = start(soon("p", workers=2), soon("q"))
    before = pids(d), pids(d, "q"), d.pool("p")["command"]

    def check():
        assert (pids(d), pids(d, "q"), d.pool("p")["command"]) == before
        assert d.cmd("RUN", "p", "echo x") == b"x"
        assert [text(lib.mapping(p)["name"]) for p in d.cmd("POOLS")] == ["p", "q"]
        assert d.status()["reloads"] == 0

    d.check = check
    return d


def other(**keys):
    return soon("p", ACT, "other", **keys)


BAD = {
    "syntax": lambda d: d.conf.write_text("pools = ( { name = \n"),
    "unknown key": lambda d: d.rewrite(other(wrokers=3), soon("q")),
    "value": lambda d: d.rewrite(other(workers=0), soon("q")),
    "user": lambda d: d.rewrite(other(run_as={"user": "no-such-user"}), soon("q")),
    "twice": lambda d: d.rewrite(other(), soon("p")),
    "no pool": lambda d: d.rewrite(),
    "group": lambda d: d.rewrite(other(), soon("q"), control={"group": "no-such-group"}),
    "gone": lambda d: d.conf.unlink(),
    "pipe": lambda d: (d.conf.unlink(), os.mkfifo(d.conf)),
    "access": lambda d: d.rewrite(other(), access=[{"users": ["no-such-user"], "allow": []}]),
}


def test_a_pools_file_that_nobody_writes(steady):
    """It is a mistake, and nothing to wait for: at a start neither."""
    d = steady
    (d.dir / "pool.d").mkdir()
    path = d.dir / "pool.d" / "more.conf"
    os.mkfifo(path)
    wrong = "%s: cannot read it: it is not a regular file" % path
    assert wrong in d.cmd("RELOAD").text
    d.check()
    r = lib.run(lib.PREFORKD, "-T", "-c", d.conf)
    assert (r.returncode, r.stderr.decode().splitlines()) == (78, [wrong])


def test_a_pipe_is_read_once(make):
    """A start waits for its writer; a reload has nothing to read again."""
    d = make(soon("p"))
    good = d.conf.read_text()
    d.conf.unlink()
    os.mkfifo(d.conf)
    d.start(ready=False)
    d.conf.write_text(good)
    d.notify.wait("READY=1", d.proc)
    assert "it is not a regular file" in d.cmd("RELOAD").text
    assert d.cmd("RUN", "p", "echo x") == b"x"


@pytest.mark.parametrize("what", BAD)
def test_bad_configurations_change_nothing(steady, what):
    d = steady
    good = d.conf.read_text()
    BAD[what](d)
    reply = d.cmd("RELOAD")
    assert isinstance(reply, Error) and reply.code == "BADCONFIG", reply
    assert str(d.conf) in reply.text
    d.check()
    assert str(d.conf) in d.status()["reload_error"]
    d.notify.wait("STATUS=reload failed: " + str(d.conf))
    d.wait_log(r"reload failed: the configuration that was in force stays so")
    d.conf.unlink(missing_ok=True)
    d.conf.write_text(good)
    assert d.cmd("RELOAD") == "OK"
    assert d.status()["reload_error"] is None


def test_all_mistakes_are_told(steady):
    d = steady
    d.rewrite(other(workers=0), soon("q", pipeline=0), drain="never")
    assert d.cmd("RELOAD").code == "BADCONFIG"
    lines = d.status()["reload_error"].splitlines()
    assert len(lines) == 3
    for line in lines:
        d.wait_log(re.escape(line))
    d.check()


def test_workers_that_do_not_start(start):
    """The rest of it is in force; the old workers go on."""
    p = soon("p", workers=2)
    d = start(p, soon("q"))
    before = pids(d)
    false = soon("p", "/bin/false", workers=2, start=LATER)
    reply = reload(d, false, soon("q", ACT, "new"), soon("new"))
    assert reply.code == "DOWN" and "pool p: exits at start (status 1)" in reply.text
    assert d.pool("q")["command"].count("WHICH=new")
    assert d.cmd("RUN", "new", "echo x") == b"x"
    assert len(set(pids(d)) & set(before)) == 1  # one was given up to try
    assert d.cmd("RUN", "p", "echo x") == b"x"
    assert d.notify.drain().count("READY=1") == 2
    assert reload(d, p, soon("q")) == "OK"
    wait_up(d, 2)


def test_a_worker_that_is_not_ready_in_time(start):
    d = start(soon("p"))
    reply = reload(
        d, soon("p", ACT, "other", start={"ready": True, "timeout": "50ms"}, job={"grace": "50ms"})
    )
    assert reply.code == "DOWN", reply


def test_ready_is_waited_for(start, tmp):
    gate = lib.Gate(tmp / "gate")
    ready = soon(
        "p", "/bin/sh", "-c", 'read x < "%s"; echo READY; exec "%s"' % (gate.path, ACT), start={"ready": True}
    )
    d = start(soon("p"))
    d.rewrite(ready)
    c = d.client()
    c.send("RELOAD")
    gate.arrived()
    assert c.quiet()
    assert "READY=1" not in d.notify.drain()[d.notify.drain().index("RELOADING=1") :]
    gate.release()
    assert c.read() == "OK"
    d.notify.wait("READY=1")


def test_what_was_said_of_the_last_one_meanwhile(start, tmp):
    """An error and a warning of before are gone when the next one is in force."""
    gate = lib.Gate(tmp / "gate")
    waits = 'read x < "%s"; echo READY; exec "%s"' % (gate.path, ACT)
    d = start(soon("p"))
    put_in_force(d, soon("p"), control={"listen": str(d.dir / "other.sock")})
    assert reload(d, soon("p", workers=0)).code == "BADCONFIG"
    before = d.status()
    assert before["reload_error"] and before["reload_warning"]
    d.rewrite(soon("p", "/bin/sh", "-c", waits, start={"ready": True}))
    c = d.client()
    c.send("RELOAD")
    gate.arrived()
    seen = d.status()
    assert (seen["reload_error"], seen["reload_warning"]) == (None, None)
    gate.release()
    assert c.read() == "OK"


def test_one_that_is_refused_while_another_is_under_way(start, tmp):
    """Its mistakes stay the last word; who looks at the status of before sees none."""
    gate = lib.Gate(tmp / "gate")
    d = start(soon("p"))

    def refused():
        d.conf.write_text("drain = 3 s;\n")
        assert d.cmd("RELOAD").code == "BADCONFIG"
        assert str(d.conf) in d.status()["reload_error"]
        wait_status(d, "reload failed: ")

    refused()
    d.rewrite(soon("p", ACT, "--gate", gate.path, "--ready", start={"ready": True}))
    c = d.client()
    c.send("RELOAD")
    gate.arrived()
    assert d.status()["reload_error"] is None
    wait_status(d, "1 pool, ")
    refused()
    gate.release()
    assert c.read() == "OK"
    assert str(d.conf) in d.status()["reload_error"]
    d.notify.wait("READY=1")
    wait_status(d, "reload failed: ")


def test_listen_waits_for_a_restart(start):
    d = start(soon("p"))
    put_in_force(d, soon("p"), control={"listen": str(d.dir / "other.sock")})
    assert "takes effect at the next start" in d.status()["reload_warning"]
    d.wait_log("control.listen: .*takes effect at the next start")
    assert not os.path.exists(d.dir / "other.sock")
    put_in_force(d, soon("p"))
    assert d.status()["reload_warning"] is None


# ---- the rest of the main file ----


def test_mode_of_the_socket(start):
    d = start(soon("p"), control={"mode": "0600"})
    put_in_force(d, soon("p"), control={"mode": "0666"})
    assert os.stat(d.socket).st_mode & 0o777 == 0o666
    put_in_force(d, soon("p"), control={"mode": "0600"})
    assert os.stat(d.socket).st_mode & 0o777 == 0o600


@pytest.mark.skipif(not ROOT, reason="gives a file away")
def test_group_of_the_socket(start):
    d = start(soon("p"))
    put_in_force(d, soon("p"), control={"group": "daemon"})
    assert os.stat(d.socket).st_gid == 1
    put_in_force(d, soon("p"))
    assert os.stat(d.socket).st_gid == os.getegid()


def test_log_level(start):
    d = start(soon("p"), log={"level": "warning"})
    put_in_force(d, soon("p"), log={"level": "debug", "format": "json"})
    assert d.cmd("PAUSE", "p") == "OK"
    d.wait_log(r'^\{.*PAUSE p by uid')


def test_drain(start):
    d = start(soon("p"), drain="1h")
    put_in_force(d, soon("p"), drain="10ms")
    ((c, _),) = hold(d, 1)
    d.send_signal(signal.SIGTERM)
    assert c.read().code == "CANCELLED"
    assert d.wait() == 0


def test_client_memory(start):
    small = soon("p", job={"max_payload": "40K"})
    d = start(small)
    c = d.client()
    c.cmd("MULTI")
    put_in_force(d, small, control={"client_memory": "64K"})
    assert c.cmd("SUBMIT", "p", "x" * 40000) == "QUEUED"
    assert isinstance(c.cmd("SUBMIT", "p", "x" * 40000), Error)


def test_max_clients(start):
    d = start(soon("p"))
    put_in_force(d, soon("p"), control={"max_clients": 3})
    assert "maxclients:3" in text(d.cmd("INFO", "clients"))


@pytest.mark.skipif(not ROOT, reason="connects as other users")
def test_rights_bite_at_once(start):
    d = start(soon("p"), soon("q"), control={"mode": "0666"})
    c = d.client_as(12345)
    assert c.cmd("RUN", "p", "echo x") == b"x"
    assert c.cmd("RELOAD").code == "NOPERM"
    none = [{"users": ["12345"], "allow": [], "pools": ["p"]}]
    put_in_force(d, soon("p"), soon("q"), soon("new"), control={"mode": "0666"}, access=none)
    assert c.cmd("RUN", "p", "echo x").code == "NOPERM"
    assert c.cmd("RUN", "q", "echo x") == b"x"
    assert c.cmd("RUN", "new", "echo x") == b"x"
    admin = [{"users": ["12345"], "allow": ["read", "submit", "admin"]}]
    put_in_force(d, soon("p"), soon("q"), control={"mode": "0666"}, access=admin)
    assert c.cmd("PAUSE", "p") == "OK"
    assert c.cmd("RELOAD") == "OK"
    put_in_force(d, soon("p"), soon("q"), control={"mode": "0666"})
    assert c.cmd("RELOAD").code == "NOPERM"
    assert c.cmd("RUN", "q", "echo x") == b"x"


@pytest.mark.skipif(not ROOT, reason="connects as other users")
def test_groups_count_as_they_did_when_it_connected(start):
    d = start(soon("p"), control={"mode": "0666"})
    c = d.client_as(12345, groups=(23456,))
    put_in_force(
        d, soon("p"), control={"mode": "0666"}, access=[{"groups": ["23456"], "allow": ["admin"]}]
    )
    assert c.cmd("PAUSE", "p") == "OK"


# ---- how it is asked for ----


def test_hup(start):
    d = start(soon("p"))
    before = pids(d)
    d.rewrite(soon("p", ACT, "other"))
    d.notify.drain()
    d.send_signal(signal.SIGHUP)
    d.notify.wait("RELOADING=1")
    d.notify.wait("MONOTONIC_USEC=")
    d.wait_log("reloaded: ")
    fields = lib.poll(
        lambda: (lambda f: f if "READY=1" in f[f.index("RELOADING=1") :] else None)(d.notify.drain()),
        "READY=1 behind RELOADING=1",
    )
    assert fields.count("RELOADING=1") == 1
    wait_replaced(d, before)


def test_a_bad_one_by_hup(start):
    d = start(soon("p"))
    d.conf.write_text("drain = 3 s;\n")
    d.send_signal(signal.SIGHUP)
    d.notify.wait("STATUS=reload failed: ")
    lib.poll(lambda: d.notify.drain().count("READY=1") == 2, "READY=1, though it failed")
    assert d.cmd("RUN", "p", "echo x") == b"x"


def test_a_storm_of_hups(start):
    d = start(soon("p", workers=3))
    load = Load(d)
    for i in range(200):
        d.rewrite(soon("p", ACT, "%d" % (i % 3), workers=3))
        d.send_signal(signal.SIGHUP)
    put_in_force(d, soon("p", ACT, "last", workers=3))
    load.proceed()
    load.finish()
    d.wait_pool("p", "a restart that is over", lambda p: p["restarting"] == 0)
    wait_up(d, 3)
    for pid in pids(d):  # which may be env still, on its way to execute act
        lib.poll(lambda p=pid: b"WHICH=last" in lib.environ(p), "the last configuration's command")


def test_several_ask_at_once(start):
    d = start(soon("p"))
    many = [d.client() for _ in range(20)]
    for i, c in enumerate(many):
        d.rewrite(soon("p", ACT, "%d" % i))
        c.send("RELOAD")
    assert [c.read() for c in many] == ["OK"] * 20


def test_who_asked_may_go(start):
    d = start(soon("p"), drain="1h")
    ((held, gate),) = hold(d, 1)
    d.rewrite(soon("p", ACT, "other"), drain="1h")
    with Client(d.socket) as c:
        c.send("RELOAD")
        d.wait_pool("p", "it is in force", lambda p: "=other" in p["command"])
    release([(held, gate)])
    d.wait_log("reloaded: ")


def test_replies_keep_their_order(start):
    d = start(soon("p"))
    c = d.client()
    c.send_raw(b"".join(lib.encode(*w) for w in (["ECHO", "1"], ["RELOAD"], ["RUN", "p", "echo 2"], ["ECHO", "3"])))
    assert [c.read() for _ in range(4)] == [b"1", "OK", b"2", b"3"]
    c.send("CLIENT", "REPLY", "OFF")
    c.send("RELOAD")
    lib.poll(lambda: d.status()["reloads"] == 2, "it was carried out")
    c.cmd("CLIENT", "REPLY", "ON")
    assert c.cmd("RELOAD", "x").code == "ERR"


def test_while_it_drains(start):
    d = start(soon("p"), drain="1h")
    held = hold(d, 1)
    assert d.cmd("DRAIN") == "OK"
    assert reload(d, soon("p", ACT, "other")).code == "DRAINING"
    d.send_signal(signal.SIGHUP)
    d.wait_log("SIGHUP: ")
    release(held)


def test_a_stop_while_it_is_under_way(start):
    d = start(soon("p"), drain="1h")
    held = hold(d, 1)
    d.rewrite(soon("p", ACT, "other"), drain="1h")
    c = d.client()
    c.send("RELOAD")
    d.wait_pool("p", "it is in force", lambda p: "=other" in p["command"])
    d.send_signal(signal.SIGTERM)
    assert c.read() == "OK"
    release(held)
    assert d.wait() == 0
    d.gone()
    said = d.notify.drain()
    assert "READY=1" not in said[said.index("STOPPING=1") :]


def test_without_a_file(start, tmp):
    proc = subprocess.Popen(
        [lib.PREFORKD, "-s", str(tmp / "s"), "--pool", "p", "--", ACT], env=lib.base_env()
    )
    try:
        lib.poll(lambda: lib.answers(tmp / "s"), "it listens")
        with Client(tmp / "s") as c:
            reply = c.cmd("RELOAD")
        assert "without a configuration file" in reply.text
    finally:
        proc.terminate()
        assert proc.wait() == 0


# ---- preforkctl reload ----


def test_ctl(start):
    d = start(soon("p"))
    ctl = Ctl(d)
    d.rewrite(soon("p", ACT, "other"))
    assert ctl("reload").stdout == b""
    assert ctl.json("reload") == {"reply": "OK"}


def test_ctl_lists_the_mistakes(steady):
    d = steady
    d.rewrite(other(workers=0), soon("q", pipeline=0))
    r = Ctl(d)("reload", status=78)
    told = [line for line in r.stderr.decode().splitlines() if str(d.conf) in line]
    assert len(told) == 2 and "workers" in told[0] and "pipeline" in told[1]
    d.check()


def test_ctl_says_what_waits(start):
    d = start(soon("p"))
    d.rewrite(soon("p"), control={"listen": str(d.dir / "other.sock")})
    assert b"takes effect at the next start" in Ctl(d)("reload").stderr


def test_ctl_names_the_pool_that_is_down(start):
    d = start(soon("p"))
    d.rewrite(soon("p"), soon("bad", "/bin/false", start=LATER))
    r = Ctl(d)("reload", status=69)
    assert b"pool bad: exits at start" in r.stderr


def test_ctl_status_tells_of_a_failure(steady):
    d = steady
    d.rewrite(other(workers=0))
    assert d.cmd("RELOAD").code == "BADCONFIG"
    assert re.search(r"^  the last reload failed: /.*workers", Ctl(d).out("status"), re.M)
    assert "preforkd_reload_failed 1" in text(d.cmd("METRICS"))
    d.rewrite(soon("p", workers=2), soon("q"))
    assert d.cmd("RELOAD") == "OK"
    assert "reload" not in Ctl(d).out("status")
    assert "preforkd_reload_failed 0" in text(d.cmd("METRICS"))


def test_ctl_without_the_right(start):
    if not ROOT:
        pytest.skip("connects as another user")
    d = start(soon("p"), control={"mode": "0666"})
    Ctl(d)("reload", status=77, user=12345, group=12345, extra_groups=[])


def test_ctl_shows_pools_that_go(start):
    d = start(soon("p"), soon("q"), drain="1h")
    held = hold(d, 1)
    put_in_force(d, soon("q"), drain="1h")
    assert re.search(r"^p\s+draining", Ctl(d).out("pools"), re.M)
    assert "p: draining, 1 running, 0 queued, 0 results kept" in Ctl(d).out("status")
    release(held)
    resized(d, -1)


# ---- many of them ----


def test_two_hundred_pools(start):
    names = ["p%03d" % i for i in range(200)]
    pools = [soon(n, lib.ECHO_C, workers=1) for n in names]
    d = start(*pools)
    before = {n: pids(d, n) for n in names}
    pools[7] = soon("p007", ACT)
    put_in_force(d, *pools[:150], soon("new"))
    after = {n: pids(d, n) for n in names[:150]}
    assert [n for n in names[:150] if after[n] != before[n]] == ["p007"]
    lib.poll(lambda: d.status()["pools"] == 151, "50 are gone")
    d.check_fds = False


@pytest.mark.skipif(SANITIZED, reason="memory is not as it is")
def test_fifty_in_a_row_leave_nothing(start):
    def different(i):
        odd = [soon("odd%d" % i), soon("same%d" % (i % 2))]
        return [soon("p", ACT, "%d" % (i % 2), workers=2), soon("q"), *odd]

    def resident():
        return int(lib.proc_status(d.pid)["VmRSS"].split()[0])

    d = start(*different(0))
    c = d.client()
    for i in range(1, 21):
        put_in_force(d, *different(i))
        assert c.cmd("RUN", "p", "echo x") == b"x"
    kib = resident()
    for i in range(21, 71):
        put_in_force(d, *different(i))
        assert c.cmd("RUN", "odd%d" % i, "echo x") == b"x"
    d.wait_pool("p", "a restart that is over", lambda p: p["restarting"] == p["stopping"] == 0)
    lib.poll(lambda: d.status()["pools"] == 4, "the others are gone")
    assert resident() < kib + 512, "%d KiB, and %d now" % (kib, resident())
