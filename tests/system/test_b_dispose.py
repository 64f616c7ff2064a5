# SPDX-License-Identifier: MIT
"""Jobs that nobody wants any more: CLEAR a queue, FORGET what is over."""
import pytest

import lib
from control import hold
from lib import Error, pool

needs_root = pytest.mark.skipif(not lib.ROOT, reason="needs root: acts as other users")


# ---- CLEAR -----------------------------------------------------------------------------


def test_clear(start):
    """Queued jobs of all kinds are cancelled; those that run, and other pools', are not."""
    d = start(pool("p"), pool("other"))
    ((c, gate), (c2, gate2)) = hold(d, 1) + hold(d, 1, "other")
    waits = d.client()
    waits.send("RUN", "p", "echo run")
    keyed = d.client()
    keyed.send("RUN", "p", "KEY", "k", "echo keyed")
    d.wait_pool("p", "both are queued", lambda p: p["queued"] == 2)
    ids = [d.cmd("SUBMIT", "p", "echo %d" % i) for i in range(3)]
    spared = d.cmd("SUBMIT", "other", "echo spared")
    assert d.pool("p")["queued"] == 5
    assert d.cmd("CLEAR", "p") == "OK"
    cancelled = Error("CANCELLED cancelled on request")
    assert waits.read() == keyed.read() == cancelled
    for jid in ids:
        job = d.job(jid)
        assert (job["state"], job["reason"]) == ("cancelled", "request")
        assert d.cmd("RESULT", jid) == cancelled
    p = d.pool("p")
    assert (p["queued"], p["running"], p["cancelled"], p["failed"]) == (0, 1, 5, 0)
    assert keyed.cmd("SUBMIT", "p", "KEY", "k", "another") != ids[0]  # the key is free
    gate.release()
    assert c.read() == b"gate"
    assert d.job(spared)["state"] == "queued"
    gate2.release()
    assert c2.read() == b"gate"
    assert d.cmd("RESULT", spared, "WAIT", "1m") == b"spared"
    assert waits.cmd("RUN", "p", "echo again") == b"again"


def test_clear_of_an_empty_queue(start):
    d = start(pool("p"))
    assert d.cmd("CLEAR", "p") == "OK"
    assert d.cmd("CLEAR", "nopool").code == "NOPOOL"
    assert d.cmd("CLEAR").code == "ERR"
    assert d.pool("p")["cancelled"] == 0


def test_clear_in_the_turn_of_the_submit(start):
    """What is queued is queued, though an idle worker would have taken it in a moment."""
    d = start(pool("p"))
    c = d.client()
    jid, ok = c.pipeline([("SUBMIT", "p", "echo x"), ("CLEAR", "p")])
    assert ok == "OK"
    assert d.wait_state(jid, "cancelled")["reason"] == "request"
    replies = c.pipeline([("RUN", "p", "echo a"), ("CLEAR", "p"), ("RUN", "p", "echo b")])
    assert [replies[0].code, replies[1], replies[2]] == ["CANCELLED", "OK", b"b"]


def test_clear_of_parked_jobs(start):
    """Jobs of a client that does not take its results are passed over, not forgotten."""
    d = start(
        pool("p", job={"max_result": "2M"}, queue={"limit": 1000}), control={"client_memory": "2M"}
    )
    c = d.client()
    c.send_raw(lib.encode("RUN", "p", "big 1000000") * 100)
    d.wait_pool("p", "nothing runs any more", lambda p: p["queued"] > 50 and p["running"] == 0)
    assert d.cmd("CLEAR", "p") == "OK"
    d.wait_pool("p", "none is left", lambda p: p["queued"] == 0)
    replies = [c.read() for _ in range(100)]
    done = replies.index(Error("CANCELLED cancelled on request"))
    assert 0 < done < 50
    assert replies[:done] == [b"x" * 1000000] * done
    assert all(isinstance(r, Error) and r.code == "CANCELLED" for r in replies[done:])


def test_clear_of_a_pool_that_is_down(make):
    d = make(pool("p", "/bin/false", start={"backoff": "1h..1h"}))
    d.check_fds = False
    d.start()
    d.wait_pool("p", "degraded", lambda p: p["state"] == "degraded")
    ids = [d.cmd("SUBMIT", "p", "x") for _ in range(3)]
    assert d.cmd("CLEAR", "p") == "OK"
    assert [d.job(i)["state"] for i in ids] == ["cancelled"] * 3


def test_clear_lets_a_drain_end(start):
    d = start(pool("p"), drain="1m")
    ((c, gate),) = hold(d, 1)
    jid = d.cmd("SUBMIT", "p", "hang")
    assert d.cmd("DRAIN") == "OK"
    assert d.job(jid)["state"] == "queued"
    assert d.cmd("CLEAR", "p") == "OK"
    d.wait_state(jid, "cancelled")
    assert d.cmd("SHUTDOWN") == "OK"
    gate.release()
    assert c.read() == b"gate"
    assert d.wait() == 0


def test_clear_of_many(start):
    n = 50000
    d = start(
        pool("p", queue={"limit": n}, job={"keep_memory": "1M"}), control={"client_memory": "64M"}
    )
    ((c, gate),) = hold(d, 1)
    s = d.client()
    for _ in range(n // 5000):
        s.pipeline([("SUBMIT", "p", "echo x")] * 5000)
    assert d.pool("p")["queued"] == n
    assert s.cmd("CLEAR", "p") == "OK"
    p = d.pool("p")
    assert (p["queued"], p["cancelled"], p["running"]) == (0, n, 1)
    gate.release()
    assert c.read() == b"gate"


# ---- FORGET ----------------------------------------------------------------------------


def finished(d, *texts):
    ids = [lib.text(d.cmd("SUBMIT", "p", t)) for t in texts]
    for i in ids:
        d.wait_state(i, "done", "failed")
    return ids


def test_forget(start):
    d = start(pool("p"))
    done, failed, stays = finished(d, "echo x", "err y", "echo z")
    before = d.pool("p")
    assert before["kept"] == 3
    assert d.cmd("FORGET", done, failed) == 2
    for jid in (done, failed):
        assert d.cmd("JOB", jid).code == "NOJOB"
        assert d.cmd("RESULT", jid).code == "NOJOB"
    assert [lib.text(lib.mapping(j)["id"]) for j in d.cmd("JOBS")] == [stays]
    assert d.cmd("RESULT", stays) == b"z"
    p = d.pool("p")
    assert (p["kept"], p["done"], p["failed"]) == (1, 2, 1)  # what happened has happened
    assert p["memory_bytes"] == len("echo z") + len("z")
    assert d.cmd("FORGET", stays) == 1
    assert d.pool("p")["memory_bytes"] == 0


def test_forget_counts_those_that_were_over(start):
    d = start(pool("p"))
    (done,) = finished(d, "echo x")
    ((c, gate),) = hold(d, 1)
    (running,) = [lib.mapping(j)["id"] for j in d.cmd("JOBS", "STATE", "running")]
    queued = d.cmd("SUBMIT", "p", "echo queued")
    assert d.cmd("FORGET", running) == 0
    assert d.cmd("FORGET", queued) == 0
    assert d.cmd("FORGET", "7").code == "NOJOB"
    assert d.cmd("FORGET", "x").code == "NOJOB"
    assert d.cmd("FORGET", "").code == "NOJOB"
    assert d.cmd("FORGET", "7", "8") == 0
    assert d.cmd("FORGET", done, running, "7", queued, done, "x") == 1  # each once
    assert d.cmd("FORGET").code == "ERR"
    gate.release()
    assert c.read() == b"gate"
    assert d.cmd("RESULT", queued, "WAIT", "1m") == b"queued"


def test_forget_frees_the_key(start):
    d = start(pool("p"))
    first = d.cmd("SUBMIT", "p", "KEY", "k", "echo x")
    d.wait_state(first, "done")
    assert d.cmd("SUBMIT", "p", "KEY", "k", "echo x") == first
    assert d.cmd("SUBMIT", "p", "KEY", "k", "echo y").code == "KEYMISMATCH"
    assert d.cmd("FORGET", first) == 1
    second = d.cmd("SUBMIT", "p", "KEY", "k", "echo y")
    assert d.cmd("RESULT", second, "WAIT", "1m") == b"y"


def test_forget_in_one_go_with_the_result(start):
    """The reply is made before the job goes, in one transaction and without."""
    d = start(pool("p"))
    a, b = finished(d, "echo a", "echo b")
    c = d.client()
    assert c.pipeline([("RESULT", a), ("FORGET", a), ("RESULT", a)])[:2] == [b"a", 1]
    assert c.pipeline([("MULTI",), ("RESULT", b), ("FORGET", b), ("EXEC",)])[-1] == [b"b", 1]


def test_forget_of_a_job_whose_keeping_is_over_at_that_moment(start):
    d = start(pool("p"))
    for _ in range(50):
        jid = d.cmd("SUBMIT", "p", "KEEP", "1ms", "echo x")
        reply = d.cmd("FORGET", jid)
        assert reply in (0, 1) or reply.code == "NOJOB"
    d.wait_pool("p", "all forgotten", lambda p: p["kept"] == 0 and p["done"] == 50)
    assert d.pool("p")["memory_bytes"] == 0


@needs_root
def test_forget_is_for_the_owner_and_all_or_none(start):
    d = start(pool("p"), control={"mode": "0666"})
    (mine,) = finished(d, "echo mine")
    (c,) = d.clients_as(1, 4321, 4321, [])
    theirs = lib.text(c.cmd("SUBMIT", "p", "echo theirs"))
    d.wait_state(theirs, "done")
    assert c.cmd("FORGET", mine).code == "NOPERM"
    assert c.cmd("FORGET", theirs, mine).code == "NOPERM"
    assert c.cmd("RESULT", theirs) == b"theirs"
    assert c.cmd("FORGET", theirs) == 1
    assert c.cmd("FORGET", theirs).code == "NOJOB"
    assert d.cmd("RESULT", mine) == b"mine"


# ---- a submit that is taken back -------------------------------------------------------


def test_a_withdrawn_submit_leaves_nothing(start):
    """A MULTI of which one SUBMIT is refused: those before it are as if never sent, but for
    one that a KEY led to, which was there before."""
    d = start(pool("p", queue={"limit": 2}))
    ((c, gate),) = hold(d, 1)
    kept = d.cmd("SUBMIT", "p", "KEY", "old", "echo old")
    m = d.client()
    submits = [
        ("SUBMIT", "p", "KEY", "old", "echo old"),
        ("SUBMIT", "p", "KEY", "new", "echo 1"),
        ("SUBMIT", "p", "echo 2"),
    ]
    assert m.pipeline([("MULTI",)] + submits + [("EXEC",)])[-1].code == "EXECABORT"
    p = d.pool("p")
    assert (p["queued"], p["memory_bytes"]) == (1, len("gate " + gate.path) + len("echo old"))
    ids = [lib.text(lib.mapping(j)["id"]) for j in d.cmd("JOBS", "STATE", "queued")]
    assert ids == [lib.text(kept)]
    assert d.cmd("SUBMIT", "p", "KEY", "new", "echo other").isdigit()  # not the other payload's
    gate.release()
    assert c.read() == b"gate"
    assert d.cmd("RESULT", kept, "WAIT", "1m") == b"old"
