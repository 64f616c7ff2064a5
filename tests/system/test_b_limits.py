# SPDX-License-Identifier: MIT
"""Limits, at both sides: payloads, results, queue, clients, budgets."""
import socket
import threading

import pytest

import lib
from lib import SLOW, Client, Closed, Error, encode, pool, script


def vm_hwm(pid):
    """The daemon's peak memory, in bytes."""
    return int(lib.proc_status(pid)["VmHWM"].split()[0]) << 10


# ---- payload and result ------------------------------------------------------


def test_payload_at_both_sides(start):
    d = start(pool("p", job={"max_payload": 1000}), pool("q", job={"max_payload": "2M"}))
    c = d.client()
    assert c.cmd("RUN", "p", "length " + "x" * 993) == b"993"
    reply = c.cmd("RUN", "p", "length " + "x" * 994)
    assert reply.code == "TOOBIG" and "1000" in reply.text
    assert c.cmd("SUBMIT", "p", "x" * 5000).code == "TOOBIG"
    assert c.cmd("RUN", "q", "length " + "x" * 1000000) == b"1000000"
    assert c.cmd("RUN", "p", "echo in step") == b"in step"


@pytest.mark.parametrize("size", [1001, 100_000, 3_000_000])
def test_toobig_payload_is_skipped_to_the_byte(start, size):
    d = start(pool("p", script("frame.py"), protocol="frame", job={"max_payload": 1000}))
    c = d.client()
    payload = b"*1\r\n$4\r\nPING\r\n" * (size // 14 + 1)  # must not be taken for commands
    replies = c.pipeline([("RUN", "p", payload[:size]), ("PING",), ("ECHO", "x")])
    assert replies[0].code == "TOOBIG" and replies[1:] == ["PONG", b"x"]


def test_toobig_is_said_before_the_payload_comes(start):
    d = start(pool("p", job={"max_payload": "1K"}))
    c = d.client()
    c.send_raw(b"*3\r\n$3\r\nRUN\r\n$1\r\np\r\n$900000\r\n")
    assert c.read().code == "TOOBIG"
    c.send_raw(b"x" * 900000 + b"\r\nPING\r\n")
    assert c.read() == "PONG"


def test_unknown_pool_is_said_before_the_payload_comes(start):
    d = start(pool("p"))
    c = d.client()
    c.send_raw(b"*3\r\n$3\r\nRUN\r\n$4\r\nnope\r\n$900000\r\n")
    assert c.read().code == "NOPOOL"


def test_announced_and_never_sent(start):
    d = start(pool("p", job={"max_payload": "64M"}), control={"client_memory": "100M"})
    before = vm_hwm(d.pid)
    clients = [d.client() for _ in range(20)]
    for c in clients:
        c.send_raw(b"*3\r\n$3\r\nRUN\r\n$1\r\np\r\n$60000000\r\nonly this")
    assert d.cmd("RUN", "p", "echo x") == b"x"
    assert vm_hwm(d.pid) - before < 200 << 20 or lib.SANITIZED, "reserved for what never came"
    for c in clients:
        c.close()
    assert d.cmd("PING") == "PONG"


def test_badpayload(start):
    d = start(
        pool("line"),
        pool("filter", script("filter.py"), protocol="filter"),
        pool("frame", script("frame.py"), protocol="frame"),
    )
    c = d.client()
    for name in ("line", "filter"):
        for payload in (b"two\nlines", b"nul\0byte", b"end\n"):
            reply = c.cmd("RUN", name, payload)
            assert reply.code == "BADPAYLOAD" and "frame" in reply.text, reply
            assert c.cmd("SUBMIT", name, payload).code == "BADPAYLOAD"
    assert c.cmd("RUN", "line", b"echo \r\t\x01\xff") == b"\r\t\x01\xff"
    assert c.cmd("RUN", "frame", b"two\nlines\0\r\n") == b"two\nlines\0\r\n"


def test_result_at_both_sides(start):
    d = start(pool("p", job={"max_result": 10000}), pool("q", job={"max_result": "4M"}))
    c = d.client()
    assert c.cmd("RUN", "p", "big 10000") == b"x" * 10000
    reply = c.cmd("RUN", "p", "big 10001")
    assert reply.code == "CRASHED" and "10000" in reply.text
    assert c.cmd("RUN", "q", "big 4000000") == b"x" * 4000000
    d.wait_log("max_result|10000")


# ---- queue -----------------------------------------------------------------------


def test_busy_at_both_sides_of_the_limit(start):
    """Idle workers count before BUSY is said: workers + limit jobs are taken."""
    d = start(pool("p", workers=2, queue={"limit": 3}))
    gate = d.gate()
    c = d.client()
    for _ in range(7):
        c.send("RUN", "p", "gate " + gate.path)
    p = d.wait_pool("p", "two run", lambda p: p["running"] == 2)
    assert (p["queued"], p["rejected"]) == (3, 2)
    assert d.cmd("SUBMIT", "p", "echo x").code == "BUSY"
    stop_gate(d, gate)
    replies = [c.read() for _ in range(7)]
    assert replies[:5] == [b"gate"] * 5
    assert [r.code for r in replies[5:]] == ["BUSY", "BUSY"]


def stop_gate(d, gate):
    """Let everybody through, until the pool has nothing to do."""

    def once():
        gate.pulse()
        return d.pool("p")["running"] == 0

    lib.poll(once, "an empty pool")


def test_queue_limit_zero(start):
    """No queue: what is not started at once is refused."""
    d = start(pool("p", queue={"limit": 0}))
    gate = d.gate()
    c = d.client()
    c.send("RUN", "p", "gate " + gate.path)
    gate.arrived()
    assert d.cmd("RUN", "p", "echo x").code == "BUSY"
    gate.release()
    assert c.read() == b"gate"
    assert d.cmd("RUN", "p", "echo x") == b"x"


def test_paused_pool_takes_the_limit_only(start):
    d = start(pool("p", workers=4, queue={"limit": 2}))
    d.cmd("PAUSE", "p")
    c = d.client()
    replies = c.pipeline([("SUBMIT", "p", "echo x") for _ in range(10)])
    taken = [r for r in replies if isinstance(r, bytes)]
    assert len(taken) in (2, 6)  # the limit, and at most the idle workers' share more
    assert all(r.code == "BUSY" for r in replies[len(taken) :])
    d.cmd("RESUME", "p")
    assert [d.cmd("RESULT", r, "WAIT", "1m") for r in taken] == [b"x"] * len(taken)


def test_busy_at_both_sides_of_memory(start):
    d = start(pool("p", queue={"limit": 1000, "memory": 10000}))
    d.cmd("PAUSE", "p")
    c = d.client()
    replies = c.pipeline([("SUBMIT", "p", "y" * 2000) for _ in range(8)])
    taken = [r for r in replies if isinstance(r, bytes)]
    assert 4 <= len(taken) <= 6
    assert all(r.code == "BUSY" for r in replies[len(taken) :])
    assert c.cmd("CANCEL", taken[0]) == 1  # a full queue does not keep its owner from CANCEL
    assert isinstance(c.cmd("SUBMIT", "p", "y" * 2000), bytes)
    assert c.cmd("SUBMIT", "p", "y" * 2000).code == "BUSY"
    d.cmd("RESUME", "p")
    assert d.cmd("RESULT", taken[-1], "WAIT", "1m") == b"y" * 2000


def test_a_million_bytes_for_an_idle_pool_with_little_memory(start):
    """A job that an idle worker takes at once is not kept out by the queue's memory."""
    d = start(pool("p", queue={"memory": "10K"}, job={"max_payload": "2M"}))
    reply = d.cmd("RUN", "p", "length " + "x" * 1000000)
    assert reply == b"1000000"


# ---- clients -------------------------------------------------------------------------


def test_max_clients_at_both_sides(start):
    d = start(pool("p"), control={"max_clients": 10})
    limit = 10 + lib.ROOT  # one place more is root's

    def try_one():
        c = Client(d.socket)
        d.clients.append(c)
        try:
            return c, c.cmd("PING")
        except (Closed, BrokenPipeError, ConnectionResetError):
            return c, None

    clients = []
    for _ in range(limit):
        c, reply = try_one()
        assert reply == "PONG"
        clients.append(c)
    refused, reply = try_one()
    assert reply is None or (isinstance(reply, Error) and "clients" in reply.text), reply
    assert [c.cmd("PING") for c in clients] == ["PONG"] * limit
    clients.pop().close()
    lib.poll(lambda: try_one()[1] == "PONG", "a free place")
    refused.close()


def test_a_thousand_clients_at_once(start):
    d = start(pool("p", workers=4, queue={"limit": 2000}), control={"max_clients": 1100})
    clients = [d.client() for _ in range(1000)]
    for i, c in enumerate(clients):
        c.send("RUN", "p", "echo %d" % i)
    assert [c.read() for c in clients] == [b"%d" % i for i in range(1000)]
    assert d.status()["clients"] >= 1000
    for c in clients[::2]:
        c.close()
    assert [c.cmd("PING") for c in clients[1::2]] == ["PONG"] * 500


# ---- budgets -----------------------------------------------------------------------


def test_client_that_does_not_read(start):
    """Its jobs are no longer begun, memory stays bounded, others are served."""
    d = start(
        pool("p", workers=2, job={"max_result": "2M"}), pool("q"), control={"client_memory": "2M"}
    )
    before = vm_hwm(d.pid)
    greedy, other = d.client(), d.client()
    n = 4000
    sender = threading.Thread(target=lambda: greedy.send_raw(encode("RUN", "p", "big 1000000") * n))
    sender.start()
    d.wait_pool("p", "nothing runs any more", lambda p: p["queued"] > 0 and p["running"] == 0)
    for _ in range(20):
        assert other.cmd("RUN", "q", "echo other pools go on") == b"other pools go on"
        assert other.cmd("RUN", "p", "echo and so does this") == b"and so does this"
    p = d.pool("p")
    assert p["done"] < 40 and p["queued"] > 1000, p
    for _ in range(60):  # it is served as soon as it reads
        assert greedy.read() == b"x" * 1000000
    assert vm_hwm(d.pid) - before < 50 << 20 or lib.SANITIZED
    greedy.close()
    sender.join()
    d.wait_pool("p", "its jobs are dropped", lambda p: p["queued"] == 0)


def test_one_result_asked_for_again_and_again(start):
    """Kept once, and copied for a client as it takes the copies."""
    d = start(pool("p", job={"max_result": "2M"}), control={"client_memory": "2M"})
    gate = d.gate()
    before = vm_hwm(d.pid)
    first = d.cmd("SUBMIT", "p", "gate " + gate.path)
    jid = d.cmd("SUBMIT", "p", "big 1000000")
    c = d.client()
    c.send_raw(encode("RESULT", jid, "WAIT", "1h") * 300 + encode("PING"))
    gate.release()
    assert d.cmd("RESULT", first, "WAIT", "1m") == b"gate"
    d.wait_state(jid, "done")
    for _ in range(30):
        assert c.read() == b"x" * 1000000
    assert vm_hwm(d.pid) - before < 30 << 20 or lib.SANITIZED
    for _ in range(270):
        c.read()
    assert c.read() == "PONG"


def test_client_that_waits_for_a_job_behind_others(start):
    """Over its budget with results that wait for the first one: that one still runs."""
    d = start(
        pool("p", job={"max_result": "2M"}), pool("slow"), control={"client_memory": "2M"}
    )
    gate = d.gate()
    holder, c = d.client(), d.client()
    holder.send("RUN", "slow", "gate " + gate.path)
    gate.arrived()
    c.send("RUN", "slow", "echo first")  # behind the gate
    for _ in range(10):
        c.send("RUN", "p", "big 1000000")
    c.send("RUN", "slow", "echo last")
    d.wait_pool("p", "over the budget", lambda p: p["done"] >= 2 and p["running"] == 0)
    assert d.pool("p")["queued"] > 0
    gate.release()
    assert c.read() == b"first"
    assert [c.read() for _ in range(10)] == [b"x" * 1000000] * 10
    assert c.read() == b"last"


def test_replies_behind_a_slow_job_count(start):
    """Small commands with large replies, none of which can leave yet."""
    d = start(pool("p", job={"max_payload": "100K"}), control={"client_memory": "1M"})
    gate = d.gate()
    before = vm_hwm(d.pid)
    c = d.client()
    c.send("COMMAND", "DOCS")
    c.read()
    one = c.at  # bytes of such a reply
    c.send("RUN", "p", "gate " + gate.path)
    gate.arrived()
    n = 20000
    sender = threading.Thread(target=lambda: c.send_raw(encode("COMMAND", "DOCS") * n))
    sender.start()
    d.wait_pool("p", "still there", lambda p: p["running"] == 1)
    assert d.cmd("PING") == "PONG"
    gate.release()
    assert c.read() == b"gate"
    left = n * one - (len(c.buf) - c.at)
    while left > 0:
        data = c.s.recv(1 << 18)
        assert data, "closed with %d bytes to come" % left
        left -= len(data)
    sender.join()
    assert left == 0 and n * one > 50 << 20
    assert vm_hwm(d.pid) - before < 50 << 20 or lib.SANITIZED


def test_a_command_larger_than_the_budget_is_no_dead_end(start):
    d = start(pool("p", job={"max_payload": 900000}), control={"client_memory": "1M"})
    assert d.cmd("RUN", "p", "length " + "x" * 800000) == b"800000"
    c = d.client()
    try:
        c.send_raw(b"*100\r\n" + (b"$60000\r\n" + b"y" * 60000 + b"\r\n") * 100)
        assert isinstance(c.read(), Error)
        assert c.at_end()
    except (Closed, BrokenPipeError, ConnectionResetError):
        pass
    assert d.cmd("PING") == "PONG"


def test_deep_pipeline_within_the_budget(start):
    d = start(pool("p", workers=2, queue={"limit": 100000}))
    c = d.client()
    n = 20000
    c.s.settimeout(None)
    sender = threading.Thread(
        target=lambda: c.send_raw(b"".join(encode("RUN", "p", "echo %d" % i) for i in range(n)))
    )
    sender.start()
    replies = [c.read() for _ in range(n)]
    sender.join()
    assert replies == [b"%d" % i for i in range(n)]


def test_flooding_client_does_not_starve_others(start):
    d = start(pool("p", workers=2, queue={"limit": 100000}))
    flood = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    flood.connect(d.socket)
    flood.setblocking(False)
    block = encode("PING") * 2000
    other = d.client()
    served = 0
    for _ in range(300):
        try:
            flood.send(block)
            flood.recv(1 << 20)
        except BlockingIOError:
            pass
        assert other.cmd("RUN", "p", "echo x") == b"x"
        served += 1
    flood.close()
    assert served == 300


def test_many_small_replies_to_a_slow_reader(start):
    d = start(pool("p", job={"max_payload": "100K"}), control={"client_memory": "256K"})
    c = Client(d.socket)
    c.s.settimeout(lib.DEADLINE * SLOW)
    n = 50000
    sender = threading.Thread(target=lambda: c.send_raw(encode("ECHO", "y" * 50) * n))
    sender.start()
    assert [c.read() for _ in range(n)] == [b"y" * 50] * n
    sender.join()
    c.close()
