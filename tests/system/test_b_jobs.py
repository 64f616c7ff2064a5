# SPDX-License-Identifier: MIT
"""Jobs: RUN, SUBMIT, RESULT, CANCEL, JOB, JOBS, and their options; POOL and the like."""
import re
import threading
import time

import pytest

import lib
from lib import ECHO_C, SLOW, Error, mapping, pool, script, text


def is_id(value):
    return isinstance(value, bytes) and re.fullmatch(rb"[0-9]{10,16}", value) is not None


# ---- RUN and SUBMIT ---------------------------------------------------------


@pytest.mark.parametrize(
    "command", [[ECHO_C], [script("echo.sh")], [script("echo.py")], [script("buffered.py")]]
)
def test_workers_of_all_tongues(start, command):
    d = start(pool("p", *command, workers=2))
    c = d.client()
    replies = c.pipeline([("RUN", "p", "job %d" % i) for i in range(50)])
    assert replies == [b"job %d" % i for i in range(50)]


def test_run(start):
    d = start(pool("p"))
    c = d.client()
    assert c.cmd("RUN", "p", "echo hello") == b"hello"
    assert c.cmd("run", "p", "echo") == b""
    assert c.cmd("RUN", "p", "") == b""
    assert c.cmd("RUN", "p", "grüße ✓") == "grüße ✓".encode()
    assert c.cmd("RUN", "nowhere", "x").code == "NOPOOL"
    assert "nowhere" in c.cmd("RUN", "nowhere", "x").text
    assert c.cmd("JOBS") == []  # a RUN is gone when it is answered


def test_run_fails(start):
    d = start(pool("p"))
    c = d.client()
    assert c.cmd("RUN", "p", "err no such picture") == Error("FAILED no such picture")
    assert c.cmd("RUN", "p", "retry later") == Error("FAILED later")
    assert c.cmd("RUN", "p", "err").code == "FAILED"
    assert c.cmd("RUN", "p", "echo fine") == b"fine"
    p = d.pool("p")
    assert (p["done"], p["failed"], p["crashed"]) == (1, 3, 0)


def test_out_progress_and_log_are_no_answers(start):
    d = start(pool("p"))
    c = d.client()
    assert c.cmd("RUN", "p", "out partial") == b"after out"
    assert c.cmd("RUN", "p", "progress") == b"after progress"
    assert c.cmd("RUN", "p", "log <4>something to know") == b"after log"
    line = d.wait_log("^.*something to know").group(0)
    assert "pool=p" in line and "worker=0" in line and "warning" in line and "job=" in line


def test_order_of_replies_is_the_order_of_commands(start):
    d = start(pool("p", workers=4))
    c = d.client()
    gates = [d.gate("gate%d" % i) for i in range(4)]
    for gate in gates:
        c.send("RUN", "p", "gate " + gate.path)
    c.send("PING")
    for gate in gates:
        gate.arrived()  # all four run at once
    for i in (3, 1, 2):
        gates[i].release()
    d.wait_pool("p", "three done", lambda p: p["done"] == 3)
    assert c.quiet()
    gates[0].release()
    assert [c.read() for _ in range(5)] == [b"gate"] * 4 + ["PONG"]


def test_pipelined_results_match_their_jobs(start):
    d = start(pool("p", workers=4))
    c = d.client()
    jobs = [("RUN", "p", "sleep %d r%d" % ((i * 7) % 5, i)) for i in range(300)]
    assert c.pipeline(jobs) == [b"r%d" % i for i in range(300)]


def test_submit_and_result(start):
    d = start(pool("p"))
    c = d.client()
    jid = c.cmd("SUBMIT", "p", "echo kept")
    assert is_id(jid)
    assert c.cmd("RESULT", jid, "WAIT", "30s") == b"kept"
    assert c.cmd("RESULT", jid) == b"kept"  # again and again
    bad = c.cmd("SUBMIT", "p", "err broken")
    assert c.cmd("RESULT", bad, "WAIT", "infinity") == Error("FAILED broken")
    assert c.cmd("RESULT", "99999999999").code == "NOJOB"
    assert c.cmd("RESULT", "nonsense").code in ("NOJOB", "ERR")
    assert c.cmd("JOB", "99999999999").code == "NOJOB"


def test_ids_rise_and_are_not_used_again(start):
    d = start(pool("p"))
    ids = [int(d.cmd("SUBMIT", "p", "echo %d" % i)) for i in range(20)]
    assert ids == sorted(set(ids)) and ids[-1] < 2**53
    d.stop()
    d.start()
    assert int(d.cmd("SUBMIT", "p", "echo")) > ids[-1]


def test_result_waits(start):
    d = start(pool("p"))
    gate = d.gate()
    jid = d.cmd("SUBMIT", "p", "gate " + gate.path)
    gate.arrived()
    c = d.client()
    assert c.cmd("RESULT", jid) is None
    begun = time.monotonic()
    assert c.cmd("RESULT", jid, "WAIT", "50ms") is None
    assert time.monotonic() - begun >= 0.045
    waiters = [d.client() for _ in range(3)]
    for w in waiters:
        w.send("RESULT", jid, "WAIT", "1h")
    gate.release()
    assert [w.read() for w in waiters] == [b"gate"] * 3


def test_run_wait_pending(start):
    d = start(pool("p"))
    gate = d.gate()
    c = d.client()
    c.send("RUN", "p", "WAIT", "50ms", "gate " + gate.path)
    gate.arrived()
    pending = c.read()
    assert pending.code == "PENDING" and is_id(pending.rest.split()[0].encode())
    jid = pending.rest.split()[0]
    assert d.job(jid)["state"] == "running"
    c.close()  # it goes on by itself now
    gate.release()
    assert d.cmd("RESULT", jid, "WAIT", "1m") == b"gate"
    assert d.cmd("RUN", "p", "WAIT", "1m", "echo quick") == b"quick"


def test_run_wait_pending_in_the_queue(start):
    d = start(pool("p"))
    gate = d.gate()
    first = d.client()
    first.send("RUN", "p", "gate " + gate.path)
    gate.arrived()
    pending = d.cmd("RUN", "p", "WAIT", "20ms", "echo later")
    assert pending.code == "PENDING"
    gate.release()
    assert d.cmd("RESULT", pending.rest.split()[0], "WAIT", "1m") == b"later"


# ---- options ----------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        "PRIORITY 5",
        "DELAY 1s",
        "ATTEMPTS 2",
        "MAXWAIT 1s",
        "BACKOFF 1s..2s",
        "DURABLE yes",
        "NONSENSE 1",
        "TIMEOUT soon",
        "TIMEOUT -1s",
        "KEEP forever",
        "WAIT",
        "TIMEOUT 1s TIMEOUT",
        "TIMEOUT 1s TIMEOUT 2s",
    ],
)
def test_bad_options(start, options):
    d = start(pool("p"))
    c = d.client()
    reply = c.cmd("RUN", "p", *options.split(), "echo x")
    assert isinstance(reply, Error) and reply.code == "BADOPTION", reply
    assert options.split()[0] in reply.text.upper()
    assert c.cmd("SUBMIT", "p", *options.split(), "echo x").code == "BADOPTION"
    assert c.cmd("RUN", "p", "echo y") == b"y"
    assert d.pool("p")["done"] == 1


def test_bad_options_elsewhere(start):
    d = start(pool("p"))
    jid = d.cmd("SUBMIT", "p", "echo x")
    assert d.cmd("SUBMIT", "p", "WAIT", "1s", "echo x").code == "BADOPTION"
    assert d.cmd("RESULT", jid, "KEEP", "1s").code in ("BADOPTION", "ERR")
    assert d.cmd("RESULT", jid, "WAIT", "soon").code == "BADOPTION"
    assert d.cmd("JOBS", "NONSENSE", "x").code in ("BADOPTION", "ERR")
    assert d.cmd("JOBS", "STATE", "merry").code in ("BADOPTION", "ERR")


def test_options_in_any_case_and_order(start):
    d = start(pool("p"))
    reply = d.cmd("run", "p", "keep", "1s", "Timeout", "5s", "wait", "1m", "KEY", "k", "echo x")
    assert reply == b"x"


def test_option_names_as_payload(start):
    d = start(pool("p"))
    assert d.cmd("RUN", "p", "TIMEOUT") == b"TIMEOUT"
    assert d.cmd("RUN", "p", "KEY", "KEY", "KEY") == b"KEY"


def test_key_names_one_job(start):
    d = start(pool("p", workers=2))
    gate = d.gate()
    job = "gate " + gate.path
    jid = d.cmd("SUBMIT", "p", "KEY", "k1", job)
    gate.arrived()
    assert d.cmd("SUBMIT", "p", "KEY", "k1", job) == jid
    c = d.client()
    c.send("RUN", "p", "KEY", "k1", job)
    c.send("RUN", "p", "KEY", "k2", "pid")
    assert d.cmd("RUN", "p", "KEY", "k1", "echo other").code == "KEYMISMATCH"
    assert d.cmd("SUBMIT", "p", "KEY", "k1", "echo other").code == "KEYMISMATCH"
    gate.release()
    assert c.read() == b"gate"
    c.read()
    assert d.cmd("RUN", "p", "KEY", "k1", job) == b"gate"  # remembered, not run again
    assert d.pool("p")["done"] == 2
    assert d.job(jid)["key"] == "k1"


def test_key_is_per_pool(start):
    d = start(pool("p"), pool("q"))
    a = d.cmd("SUBMIT", "p", "KEY", "k", "echo p")
    assert d.cmd("SUBMIT", "q", "KEY", "k", "echo q") != a


def test_key_of_a_failed_job_remembers_the_failure(start):
    d = start(pool("p"))
    assert d.cmd("RUN", "p", "KEY", "k", "err broken").code == "FAILED"
    assert d.cmd("RUN", "p", "KEY", "k", "err broken").code == "FAILED"
    assert d.pool("p")["failed"] == 1


def test_key_of_a_cancelled_job_is_free(start):
    d = start(pool("p"))
    jid = d.cmd("SUBMIT", "p", "KEY", "k", "hang")
    d.wait_state(jid, "running")
    assert d.cmd("CANCEL", jid) == 1
    assert d.cmd("RUN", "p", "KEY", "k", "echo anew") == b"anew"


def test_keyed_run_survives_its_client(start):
    d = start(pool("p", job={"on_disconnect": "cancel"}))
    gate = d.gate()
    c = d.client()
    c.send("RUN", "p", "KEY", "k", "gate " + gate.path)
    gate.arrived()
    c.close()
    lib.poll(lambda: d.status()["clients"] == 1, "the client is gone")
    gate.release()
    assert d.cmd("RUN", "p", "KEY", "k", "gate " + gate.path) == b"gate"
    assert d.pool("p")["done"] == 1


def test_keep_expires(start):
    d = start(pool("p"))
    short = d.cmd("SUBMIT", "p", "KEEP", "100ms", "echo short")
    long = d.cmd("SUBMIT", "p", "KEEP", "1h", "echo long")
    assert d.cmd("RESULT", long, "WAIT", "1m") == b"long"
    lib.poll(lambda: isinstance(d.cmd("RESULT", short), Error), "expiry")
    assert d.cmd("RESULT", short).code == "NOJOB"
    assert d.cmd("RESULT", long) == b"long"


def test_keep_of_the_pool(start):
    d = start(pool("p", job={"keep": "100ms"}))
    jid = d.cmd("SUBMIT", "p", "KEY", "k", "echo x")
    lib.poll(lambda: isinstance(d.cmd("JOB", jid), Error), "expiry")
    assert d.cmd("SUBMIT", "p", "KEY", "k", "echo other") != jid  # and its key is free


def test_keep_zero(start):
    d = start(pool("p"))
    jid = d.cmd("SUBMIT", "p", "KEEP", "0", "echo x")
    assert is_id(jid)
    lib.poll(lambda: isinstance(d.cmd("JOB", jid), Error), "it is not kept")


def test_keep_memory_drops_the_oldest(start):
    d = start(pool("p", job={"keep_memory": "100K"}))
    ids = [d.cmd("SUBMIT", "p", "big 30000") for _ in range(6)]
    assert d.cmd("RESULT", ids[-1], "WAIT", "1m") == b"x" * 30000
    left = [isinstance(d.cmd("RESULT", i), bytes) for i in ids]
    assert left == [False, False, False, True, True, True]
    assert d.pool("p")["memory_bytes"] <= 100 << 10


def test_timeout_option(start):
    d = start(pool("p", job={"timeout": "1h", "grace": "5s"}))
    reply = d.cmd("RUN", "p", "TIMEOUT", "100ms", "hang")
    assert reply.code == "TIMEOUT"
    assert d.cmd("RUN", "p", "TIMEOUT", "infinity", "echo x") == b"x"
    assert d.pool("p")["timeout"] == 1


# ---- CANCEL -------------------------------------------------------------------


def test_cancel_queued_and_running(start):
    d = start(pool("p"))
    gate = d.gate()
    running = d.cmd("SUBMIT", "p", "gate " + gate.path)
    gate.arrived()
    queued = [d.cmd("SUBMIT", "p", "echo %d" % i) for i in range(3)]
    assert d.cmd("CANCEL", queued[1], "99999999999") == 1
    assert d.cmd("CANCEL", queued[1]) == 0
    assert d.cmd("RESULT", queued[1]).code == "CANCELLED"
    job = d.job(queued[1])
    assert job["state"] == "cancelled"
    waiting = d.client()
    waiting.send("RESULT", running, "WAIT", "1h")
    assert d.cmd("CANCEL", running, queued[0]) == 2
    assert waiting.read().code == "CANCELLED"
    assert d.cmd("RESULT", queued[2], "WAIT", "1m") == b"2"
    assert d.pool("p")["cancelled"] == 3
    assert d.cmd("CANCEL", queued[2]) == 0  # done


def test_cancel_never_hits_the_next_job(start):
    d = start(pool("p", workers=2, queue={"limit": 10000}))
    ids = [d.cmd("SUBMIT", "p", "echo %d" % i) for i in range(400)]
    cancelled = set()
    for jid in ids[::2]:
        if d.cmd("CANCEL", jid) == 1:
            cancelled.add(jid)
    for i, jid in enumerate(ids):
        reply = d.cmd("RESULT", jid, "WAIT", "1m")
        if jid in cancelled:
            assert reply.code == "CANCELLED"
        else:
            assert reply == b"%d" % i


def test_cancel_in_a_race_with_the_answer(start):
    """A cancelled job's worker is not the one that has the next job."""
    d = start(pool("p", workers=1))
    c = d.client()
    for i in range(30):
        victim = c.cmd("SUBMIT", "p", "sleep 1 v")
        nxt = c.cmd("SUBMIT", "p", "echo n%d" % i)
        n = c.cmd("CANCEL", victim)
        assert c.cmd("RESULT", nxt, "WAIT", "1m") == b"n%d" % i
        outcome = c.cmd("RESULT", victim, "WAIT", "1m")
        assert outcome == b"v" if n == 0 else outcome.code == "CANCELLED"


def test_cancelled_run(start):
    d = start(pool("p"))
    c = d.client()
    c.send("RUN", "p", "hang")
    d.wait_pool("p", "running", lambda p: p["running"] == 1)
    (job,) = [mapping(j) for j in d.cmd("JOBS")]
    assert d.cmd("CANCEL", job["id"]) == 1
    assert c.read().code == "CANCELLED"


# ---- JOB and JOBS -------------------------------------------------------------

JOB_FIELDS = (
    "id pool state reason uid key attempt attempts submitted_unix_ms queue_ms run_ms "
    "worker pid result_bytes payload_head last_stderr error"
).split()


def test_job_fields(start):
    d = start(pool("p"))
    gate = d.gate()
    jid = d.cmd("SUBMIT", "p", "gate " + gate.path)
    gate.arrived()
    queued = d.cmd("SUBMIT", "p", "KEY", "k", "err broken")
    j = d.job(jid)
    assert set(JOB_FIELDS) <= set(j)
    assert (j["id"], j["pool"], j["state"], j["worker"]) == (text(jid), "p", "running", 0)
    assert j["pid"] == d.workers()[0]["pid"] and j["attempt"] == 1 and j["attempts"] == 1
    assert abs(j["submitted_unix_ms"] - time.time() * 1000) < 60000 * SLOW
    assert j["payload_head"].startswith("gate ") and j["result_bytes"] is None
    q = d.job(queued)
    assert (q["state"], q["worker"], q["pid"], q["key"]) == ("queued", None, None, "k")
    assert q["reason"] is None and q["error"] is None and q["run_ms"] is None
    w = d.workers()[0]
    assert w["state"] == "busy" and text(w["job"]) == text(jid) and w["job_ms"] >= 0
    gate.release()
    done = d.wait_state(jid, "done")
    assert done["result_bytes"] == 4 and done["run_ms"] >= 0
    failed = d.wait_state(queued, "failed")
    assert failed["reason"] == "error" and failed["error"] == "broken"


def test_jobs_lists_and_pages(start):
    d = start(pool("p"), pool("q"))
    ids = [text(d.cmd("SUBMIT", "p", "echo %d" % i)) for i in range(5)]
    ids += [text(d.cmd("SUBMIT", "q", "err %d" % i)) for i in range(3)]
    for jid in ids:
        d.cmd("RESULT", jid, "WAIT", "1m")

    def jobs(*args):
        return [mapping(j)["id"] for j in d.cmd("JOBS", *args)]

    assert jobs() == ids
    assert jobs("POOL", "q") == ids[5:]
    assert jobs("STATE", "failed") == ids[5:]
    assert jobs("STATE", "failed", "REASON", "error", "COUNT", "1") == ids[5:6]
    assert jobs("REASON", "crashed") == []
    page = jobs("COUNT", "3")
    assert page == ids[:3]
    assert jobs("COUNT", "3", "AFTER", page[-1]) == ids[3:6]
    assert jobs("AFTER", ids[-1]) == []
    assert d.cmd("JOBS", "POOL", "nowhere").code == "NOPOOL"


# ---- POOL, POOLS, WORKERS, STATUS, PAUSE, RESUME ----------------------------------

POOL_FIELDS = (
    "name state protocol command generation workers up idle busy starting stopping queued running "
    "oldest_queued_ms done failed crashed timeout cancelled rejected spawned exited queue_limit "
    "pipeline wait_p50_us wait_p99_us run_p50_us run_p99_us done_per_s memory_bytes fails retry_ms "
    "last_error last_stderr done_5m failed_5m"
).split()


def test_pool_fields(start):
    d = start(pool("p", workers=2, queue={"limit": 123}), pool("q"))
    d.cmd("RUN", "p", "sleep 5 x")
    p = d.pool("p")
    assert set(POOL_FIELDS) <= set(p), set(POOL_FIELDS) - set(p)
    assert (p["name"], p["state"], p["protocol"], p["pipeline"]) == ("p", "ok", "line", 1)
    assert (p["workers"], p["up"], p["idle"], p["busy"], p["spawned"]) == (2, 2, 2, 0, 2)
    assert p["queue_limit"] == 123 and p["done"] == 1 and p["exited"] == 0
    assert p["run_p50_us"] >= 4000 and p["oldest_queued_ms"] is None
    assert lib.ACT in str(p["command"])
    assert [mapping(x)["name"] for x in d.cmd("POOLS")] == ["p", "q"]
    assert d.cmd("POOL", "nowhere").code == "NOPOOL"
    assert d.cmd("WORKERS", "nowhere").code == "NOPOOL"


def test_done_and_failed_lately(start):
    """Those of the last minutes, which here are all; what was cancelled is neither."""
    d = start(pool("p"))
    for text in ("echo x", "echo y", "err no", "exit 3"):
        d.cmd("RUN", "p", text)
    hung = d.cmd("SUBMIT", "p", "hang").decode()
    assert d.cmd("CANCEL", hung) == 1
    d.wait_state(hung, "cancelled")
    p = d.pool("p")
    assert (p["done_5m"], p["failed_5m"], p["cancelled"]) == (2, 2, 1)
    assert (p["done"], p["failed"]) == (2, 2)


def test_saturated(start):
    d = start(pool("p"))
    gate = d.gate()
    c = d.client()
    c.send("RUN", "p", "gate " + gate.path)
    gate.arrived()
    assert d.pool("p")["state"] == "ok"
    c.send("RUN", "p", "echo x")
    p = d.wait_pool("p", "saturated", lambda p: p["state"] == "saturated")
    assert (p["queued"], p["running"], p["busy"]) == (1, 1, 1) and p["oldest_queued_ms"] >= 0
    s = d.status()
    assert (s["busy"], s["queued"], s["running"]) == (1, 1, 1)
    gate.release()
    c.read(), c.read()
    assert d.pool("p")["state"] == "ok"


def test_workers_fields(start):
    d = start(pool("p", workers=2))
    d.cmd("RUN", "p", "echo x")
    ws = d.workers("p")
    for w in ws:
        assert {"pool", "worker", "pid", "state", "generation", "job", "job_ms", "jobs"} <= set(w)
        assert lib.alive(w["pid"]) and w["job"] is None and w["age_ms"] >= 0
        assert w["rss_bytes"] > 0 and w["cpu_ms"] >= 0
    assert sorted(w["jobs"] for w in ws) == [0, 1]


def test_most_recently_used_worker_first(start):
    d = start(pool("p", workers=4))
    c = d.client()
    assert len({c.cmd("RUN", "p", "pid") for _ in range(20)}) == 1


def test_pause_and_resume(start):
    d = start(pool("p"), pool("q"))
    c = d.client()
    assert c.cmd("PAUSE", "p") == "OK" and c.cmd("PAUSE", "p") == "OK"
    c.send("RUN", "p", "echo later")
    p = d.wait_pool("p", "queued", lambda p: p["queued"] == 1)
    assert p["state"] == "paused" and p["idle"] == 1
    assert d.cmd("RUN", "q", "echo other pools go on") == b"other pools go on"
    assert d.cmd("RESUME", "p") == "OK"
    assert c.read() == b"later"
    assert d.pool("p")["state"] == "ok"
    assert c.cmd("PAUSE", "nowhere").code == "NOPOOL"
    assert c.cmd("RESUME", "nowhere").code == "NOPOOL"


def test_fifo(start):
    d = start(pool("p"))
    d.cmd("PAUSE", "p")
    clients = []
    for i in range(10):
        c = d.client()
        c.send("RUN", "p", "echo %d" % i)
        d.wait_pool("p", "queued", lambda p, n=i: p["queued"] == n + 1)
        clients.append(c)
    ids = [mapping(j)["id"] for j in d.cmd("JOBS", "STATE", "queued")]
    d.cmd("RESUME", "p")
    assert [c.read() for c in clients] == [b"%d" % i for i in range(10)]
    assert ids == sorted(ids, key=int)


def test_many_clients_many_threads(start):
    d = start(pool("p", workers=3))
    failures = []

    def talk(n):
        with lib.Client(d.socket) as c:
            for i in range(100):
                want = b"%d-%d" % (n, i)
                if c.cmd("RUN", "p", b"echo " + want) != want:
                    failures.append(want)

    threads = [threading.Thread(target=talk, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert d.pool("p")["done"] == 800
