# SPDX-License-Identifier: MIT
"""Clients that are slow, silent, half-closed or gone, and jobs of theirs."""
import socket
import struct

import pytest

import lib
from lib import Client, encode, mapping, pool, script, text


@pytest.fixture
def held(start):
    """A daemon whose only worker is at a gate for client `running`."""

    def make_held(**job):
        d = start(pool("p", job=job))
        d.the_gate = d.gate()
        d.running = d.client()
        d.running.send("RUN", "p", "gate " + d.the_gate.path)
        d.the_gate.arrived()
        return d

    return make_held


def hang_up(d, *clients):
    """Close connections, and wait until the daemon knows."""
    left = d.status()["clients"] - len(clients)
    for c in clients:
        c.close()
    lib.poll(lambda: d.status()["clients"] <= left, "the clients are gone")


def test_half_close_keeps_its_jobs_and_replies(start):
    d = start(pool("p", workers=2))
    gate = d.gate()
    c = d.client()
    c.send("RUN", "p", "gate " + gate.path)
    c.send("RUN", "p", "echo behind")
    c.half_close()
    gate.arrived()
    d.wait_pool("p", "the second is done", lambda p: p["done"] == 1)
    gate.release()
    assert c.read() == b"gate" and c.read() == b"behind"
    assert c.at_end()


def test_half_close_uses_no_cpu(held):
    d = held()
    d.running.half_close()
    d.cmd("PING")
    before = lib.proc_status(d.pid)["voluntary_ctxt_switches"]
    d.cmd("RUN", "p", "WAIT", "300ms", "echo queued")  # the daemon waits, meanwhile
    after = lib.proc_status(d.pid)["voluntary_ctxt_switches"]
    assert int(after) - int(before) < 50
    with open("/proc/%d/stat" % d.pid) as f:
        ticks = int(f.read().rpartition(")")[2].split()[11])
    assert ticks < 200
    d.the_gate.release()
    assert d.running.read() == b"gate" and d.running.at_end()


def test_half_close_with_half_a_command(start):
    d = start(pool("p"))
    c = d.client()
    c.send_raw(encode("PING") + encode("RUN", "p", "echo x")[:-4])
    c.half_close()
    assert c.read() == "PONG" and c.at_end()
    assert d.pool("p")["done"] == 0


def test_vanished_client_queued_run_is_dropped(held, tmp):
    d = held()
    c = d.client()
    c.send("RUN", "p", "file /dev/null")
    d.wait_pool("p", "queued", lambda p: p["queued"] == 1)
    hang_up(d, c)
    p = d.wait_pool("p", "dropped", lambda p: p["cancelled"] == 1)
    assert p["queued"] == 0
    d.the_gate.release()
    assert d.running.read() == b"gate"
    assert d.pool("p")["done"] == 1


def test_vanished_client_running_run_finishes_and_is_kept(held):
    d = held()
    (job,) = [mapping(j) for j in d.cmd("JOBS")]
    hang_up(d, d.running)
    assert d.cmd("RESULT", job["id"], "WAIT", "20ms") is None
    d.the_gate.release()
    assert d.cmd("RESULT", job["id"], "WAIT", "1m") == b"gate"
    assert d.job(job["id"])["state"] == "done"


def test_vanished_client_on_disconnect_cancel(held):
    d = held(on_disconnect="cancel", grace="5s")
    c = d.client()
    c.send("RUN", "p", "echo queued")
    d.wait_pool("p", "queued", lambda p: p["queued"] == 1)
    hang_up(d, c, d.running)
    p = d.wait_pool("p", "both cancelled", lambda p: p["cancelled"] == 2)
    assert p["done"] == 0
    d.wait_pool("p", "a new worker", lambda p: p["idle"] == 1)
    assert d.cmd("RUN", "p", "echo next") == b"next"


def test_vanished_client_on_disconnect_finish(held):
    d = held(on_disconnect="finish")
    c = d.client()
    c.send("RUN", "p", "echo queued")
    d.wait_pool("p", "queued", lambda p: p["queued"] == 1)
    ids = [mapping(j)["id"] for j in d.cmd("JOBS")]
    hang_up(d, c, d.running)
    d.the_gate.release()
    assert d.cmd("RESULT", ids[1], "WAIT", "1m") == b"queued"
    assert d.cmd("RESULT", ids[0]) == b"gate"


def test_vanished_client_with_unread_replies(start):
    """A reset with replies in flight is a disconnect like any other."""
    d = start(pool("p", workers=2))
    for _ in range(20):
        c = Client(d.socket)
        c.send_raw(encode("ECHO", "x" * 10000) * 50 + encode("RUN", "p", "echo y") * 10)
        c.read()
        c.close()
    assert d.cmd("RUN", "p", "echo z") == b"z"
    d.wait_pool("p", "all over", lambda p: p["queued"] == 0 and p["running"] == 0)


def test_vanished_waiters(start):
    d = start(pool("p"))
    gate = d.gate()
    jid = d.cmd("SUBMIT", "p", "gate " + gate.path)
    gate.arrived()
    waiters = [d.client() for _ in range(20)]
    for w in waiters:
        w.send("RESULT", jid, "WAIT", "1h")
        w.send("RESULT", jid, "WAIT", "1h")
    for w in waiters[::2]:
        w.close()
    d.cmd("PING")
    gate.release()
    for w in waiters[1::2]:
        assert [w.read(), w.read()] == [b"gate"] * 2


def test_submitted_jobs_do_not_belong_to_the_connection(held):
    d = held()
    c = d.client()
    jid = c.cmd("SUBMIT", "p", "echo mine")
    c.close()
    d.the_gate.release()
    assert d.cmd("RESULT", jid, "WAIT", "1m") == b"mine"


def test_quit_with_jobs_in_flight(start):
    """Replies that are due before QUIT's come first."""
    d = start(pool("p"))
    c = d.client()
    c.send("RUN", "p", "sleep 50 x")
    c.send("QUIT")
    assert c.read() == b"x" and c.read() == "OK" and c.at_end()


def test_silent_client_is_no_bother(start):
    d = start(pool("p"))
    silent = [d.client() for _ in range(50)]
    half = d.client()
    half.send_raw(b"*3\r\n$3\r\nRUN\r\n$1\r")
    assert d.cmd("RUN", "p", "echo x") == b"x"
    assert d.status()["clients"] >= 51
    half.send_raw(b"\np\r\n$6\r\necho y\r\n")
    assert half.read() == b"y"
    assert [s.cmd("PING") for s in silent] == ["PONG"] * 50


def test_slow_writer(start):
    d = start(pool("p", script("frame.py"), protocol="frame"))
    slow, other = d.client(), d.client()
    data = encode("RUN", "p", b"z" * 3000)
    for at in range(0, len(data), 100):
        slow.send_raw(data[at : at + 100])
        assert other.cmd("RUN", "p", b"x") == b"x"
    assert slow.read() == b"z" * 3000


def test_passed_descriptors_are_not_kept(start):
    """SCM_RIGHTS is not asked for, and nothing sticks."""
    d = start(pool("p"))
    c = d.client()
    with open("/dev/null") as null:
        fds = struct.pack("i", null.fileno()) * 50
        c.s.sendmsg([encode("PING")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds[: 4 * 50])])
    assert c.read() == "PONG"
    d.settle()  # the descriptors of the start


# ---- whose job it is -----------------------------------------------------------------


@pytest.fixture
def users(start):
    if not lib.ROOT:
        pytest.skip("needs root: acts as other users")
    d = start(pool("p"), control={"mode": "0666"})
    return d, d.client_as(4001), d.client_as(4002)


def test_jobs_have_an_owner(users):
    d, a, b = users
    jid = a.cmd("SUBMIT", "p", "echo secret")
    assert a.cmd("RESULT", jid, "WAIT", "1m") == b"secret"
    assert b.cmd("RESULT", jid).code == "NOPERM"
    assert b.cmd("CANCEL", jid).code == "NOPERM" or b.cmd("CANCEL", jid) == 0
    seen = mapping(b.cmd("JOB", jid))
    assert seen["uid"] == 4001 and seen["payload_head"] is None
    (listed,) = [mapping(j) for j in b.cmd("JOBS")]
    assert listed["id"] == text(jid) and listed["payload_head"] is None
    assert mapping(a.cmd("JOB", jid))["payload_head"] == "echo secret"
    assert d.cmd("RESULT", jid) == b"secret"  # root may


def test_nobody_elses_running_job_is_cancelled(users):
    d, a, b = users
    jid = a.cmd("SUBMIT", "p", "hang")
    d.wait_state(jid, "running")
    reply = b.cmd("CANCEL", jid)
    assert reply == 0 or reply.code == "NOPERM"
    assert d.job(jid)["state"] == "running"
    assert a.cmd("CANCEL", jid) == 1


def test_keys_are_per_uid(users):
    d, a, b = users
    x = a.cmd("SUBMIT", "p", "KEY", "k", "echo a")
    y = b.cmd("SUBMIT", "p", "KEY", "k", "echo b")
    assert x != y
    assert b.cmd("RESULT", y, "WAIT", "1m") == b"b"
    assert a.cmd("SUBMIT", "p", "KEY", "k", "echo a") == x


def test_admin_commands_are_not_for_everybody(users):
    d, a, _ = users
    for command in ("PAUSE p", "RESUME p", "DRAIN", "SHUTDOWN", "SHUTDOWN NOW"):
        assert a.cmd(*command.split()).code == "NOPERM", command
    assert a.cmd("PING") == "PONG"
    assert mapping(a.cmd("POOL", "p"))["state"] == "ok"
