# SPDX-License-Identifier: MIT
"""AWAIT: one reply about some jobs."""
import signal

import pytest

from lib import ROOT, Error, encode, pool, text


def submit(c, *payloads, **options):
    words = [w for k, v in options.items() for w in (k, v)]
    return [c.cmd("SUBMIT", "p", *words, payload) for payload in payloads]


@pytest.mark.parametrize("proto", [2, 3])
def test_all_and_any(start, proto):
    d = start(pool("p", workers=3))
    c = d.client(proto)
    first, second = d.gate("first"), d.gate("second")
    a, b, e = submit(c, "gate %s" % first.path, "gate %s" % second.path, "err no")
    assert c.cmd("AWAIT", "ANY", "infinity", a, b, e) == [[e, b"failed", b"no"]]
    c.send("AWAIT", "ALL", "1h", a, e, b)
    c.send("AWAIT", "ANY", "1h", b, a)
    c.send("PING")
    second.release()
    d.wait_state(b, "done")
    assert c.quiet()
    first.release()
    assert c.read() == [[e, b"failed", b"no"], [b, b"done", b"gate"], [a, b"done", b"gate"]]
    assert c.read() == [[b, b"done", b"gate"]]
    assert c.read() == "PONG"


def test_at_once_and_in_time(start):
    d = start(pool("p"))
    c = d.client()
    gate = d.gate()
    held, queued = submit(c, "gate %s" % gate.path, "echo x")
    gate.arrived()
    assert c.cmd("AWAIT", "ALL", "0", held, queued) == []
    assert c.cmd("AWAIT", "ANY", "5ms", queued, held) == []
    c.cmd("CANCEL", queued)
    assert c.cmd("AWAIT", "ALL", "5ms", held, queued) == [
        [queued, b"cancelled", b"cancelled on request"]
    ]
    gate.release()
    assert c.cmd("AWAIT", "ALL", "infinity", held, held) == [[held, b"done", b"gate"]]


def test_inline(start):
    d = start(pool("p"))
    c = d.client()
    (jid,) = submit(c, "echo x")
    c.send_raw(b"await all 10s %s\r\n" % jid)
    assert c.read() == [[jid, b"done", b"x"]]


def test_as_many_as_there_may_be(start):
    d = start(pool("p", workers=2))
    c = d.client()
    ids = c.pipeline([("SUBMIT", "p", "echo %d" % i) for i in range(1001)])
    assert c.cmd("AWAIT", "ALL", "1m", *ids) == Error("ERR AWAIT takes at most 1000 ids")
    assert c.cmd("AWAIT", "ALL", "1m").code == "ERR"
    got = c.cmd("AWAIT", "ALL", "1m", *ids[:1000])
    assert sorted(got) == [[ids[i], b"done", b"%d" % i] for i in range(1000)]
    # one that is unknown, wherever it is, and nobody waits
    assert c.cmd("AWAIT", "ANY", "1m", *ids[:999], "77").code == "NOJOB"


def test_not_kept(start):
    """A job that is forgotten before the others have ended is not lost."""
    d = start(pool("p", workers=2))
    c = d.client()
    slow, fast = d.gate("slow"), d.gate("fast")
    a, b = submit(c, "gate %s" % slow.path, "gate %s" % fast.path, KEEP="0")
    c.send("AWAIT", "ALL", "1m", a, b)
    fast.release()
    d.wait_pool("p", "one is done and gone", lambda p: p["done"] == 1 and p["kept"] == 0)
    assert d.cmd("JOB", b).code == "NOJOB"
    slow.release()
    assert c.read() == [[b, b"done", b"gate"], [a, b"done", b"gate"]]


@pytest.mark.skipif(not ROOT, reason="only root can be two users")
def test_of_another_user(start):
    d = start(pool("p"), control={"mode": "0666"})
    mine = d.cmd("SUBMIT", "p", "echo x")
    other = d.client_as(65534)
    theirs = other.cmd("SUBMIT", "p", "echo y")
    reply = other.cmd("AWAIT", "ALL", "1m", theirs, mine)
    assert reply == Error("NOPERM job %s belongs to uid 0" % text(mine))
    assert other.cmd("AWAIT", "ALL", "1m", theirs) == [[theirs, b"done", b"y"]]
    assert d.cmd("AWAIT", "ALL", "1m", theirs) == [[theirs, b"done", b"y"]]


def test_gone_meanwhile(start):
    """The connection goes, the jobs do not."""
    d = start(pool("p"))
    gate = d.gate()
    c = d.client()
    a, b = submit(c, "gate %s" % gate.path, "echo x")
    gate.arrived()
    c.send_raw(encode("AWAIT", "ALL", "infinity", a, b) + encode("AWAIT", "ANY", "infinity", b, a))
    c.close()
    gate.release()
    assert d.cmd("AWAIT", "ALL", "infinity", a, b) == [[a, b"done", b"gate"], [b, b"done", b"x"]]


def test_stop(start):
    """A daemon that ends owes no reply."""
    d = start(pool("p"))
    gate = d.gate()
    c = d.client()
    a, b = submit(c, "gate %s" % gate.path, "echo x")
    gate.arrived()
    c.send_raw(encode("PING") + encode("AWAIT", "ALL", "infinity", a, b))
    assert c.read() == "PONG"
    d.check_fds = False
    d.send_signal(signal.SIGINT)
    reply = c.read()
    assert [entry[1] for entry in reply] == [b"cancelled", b"cancelled"]
    assert sorted(entry[0] for entry in reply) == sorted([a, b])
    assert d.wait() == 0
