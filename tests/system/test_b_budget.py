# SPDX-License-Identifier: MIT
"""What all connections of a user may have in memory, who is closed for it, and fairness."""
import os
import re
import threading
import time

import pytest

import lib
from lib import Client, Closed, encode, mapping, pool

needs_root = pytest.mark.skipif(not lib.ROOT, reason="needs root: acts as other users")
MIB = 1 << 20


def rss(d):
    return int(lib.proc_status(d.pid)["VmRSS"].split()[0]) << 10


def senders(d, n, data):
    """n connections, each with something to send."""
    clients = [d.client() for _ in range(n)]
    for c in clients:
        c.s.setblocking(False)
        c.data, c.sent = data, 0
    return clients


def feed(clients, upto=None):
    """Send what the sockets take, of each so much; how much that was."""
    before = sum(c.sent for c in clients)
    for c in clients:
        end = len(c.data) if upto is None else upto
        try:
            while c.sent < end:
                c.sent += c.s.send(c.data[c.sent : min(c.sent + 65536, end)])
        except BlockingIOError:
            pass
    return sum(c.sent for c in clients) - before


def feed_until_held(d, clients, upto):
    """So much of each, or as much as is read: then it is answered, and takes no more."""
    still = 0
    while still < 5:
        still = 0 if feed(clients, upto) else still + 1
        assert d.cmd("PING") == "PONG"


def finish(clients, *replies):
    """Send the rest side by side; everybody is answered."""

    def all_sent():
        feed(clients)
        return all(c.sent == len(c.data) for c in clients)

    lib.poll(all_sent, "all was read")
    for c in clients:
        c.s.setblocking(True)
        c.s.settimeout(lib.DEADLINE)
        assert [c.read() for _ in replies] == list(replies)


SIZE = MIB
RUN = encode("RUN", "p", b"length " + b"x" * (SIZE - 7))
LENGTH = b"%d" % (SIZE - 7)


# ---- the budget of a user ------------------------------------------------------------


@pytest.mark.parametrize("user_memory", ["3M", "256M"])
def test_twenty_half_sent_payloads(start, user_memory):
    """More than fits: one at a time gets to its end, so all do."""
    d = start(
        pool("p", workers=2, job={"max_payload": "2M"}, queue={"memory": "100M"}),
        control={"client_memory": "4M", "user_memory": user_memory},
    )
    before = rss(d)
    clients = senders(d, 20, RUN)
    feed_until_held(d, clients, SIZE * 3 // 4)
    held = rss(d) - before
    finish(clients, LENGTH)
    if not lib.SANITIZED:  # twenty times 3/4 MiB, or the budget and what one may have over it
        assert held < 8 * MIB if user_memory == "3M" else held > 14 * MIB, held
    assert d.cmd("RUN", "p", "echo all is as before") == b"all is as before"


def test_one_that_stalls_in_its_command_is_closed(start):
    """It holds up the others of its user, so not for ever; those are all answered."""
    d = start(
        pool("p", workers=2, job={"max_payload": "2M"}),
        control={"client_memory": "4M", "user_memory": "1M", "client_timeout": "2s"},
    )
    stalled = senders(d, 4, RUN)
    feed_until_held(d, stalled, SIZE // 2)
    finish(senders(d, 4, RUN), LENGTH)
    d.wait_log(
        r"client \d+ \(uid %d, pid %d\) is closed: .*sent no more" % (os.getuid(), os.getpid())
    )


def test_full_of_replies_and_others_of_that_user(start):
    """One that takes nothing fills the budget; the others go on, one after the other."""
    d = start(
        pool("p", workers=2, job={"max_result": "2M"}),
        control={"client_memory": "16M", "user_memory": "2M"},
    )
    greedy = d.client()
    sender = threading.Thread(target=lambda: greedy.send_raw(encode("RUN", "p", "big 1000000") * 50))
    sender.start()
    d.wait_pool("p", "its jobs are not begun", lambda p: p["queued"] > 30 and p["running"] == 0)
    done = d.pool("p")["done"]
    assert done < 12
    others = [d.client() for _ in range(20)]
    for i, c in enumerate(others):
        c.send("ECHO", "other %d" % i)
        c.send("RUN", "p", "echo %d" % i)
    for i, c in enumerate(others):
        assert c.read() == b"other %d" % i
        assert c.read() == b"%d" % i
    for _ in range(50):  # and it, as soon as it takes them
        assert greedy.read() == b"x" * 1000000
    sender.join()


@needs_root
def test_another_user_has_another_budget(start):
    d = start(
        pool("p", job={"max_payload": "2M"}),
        control={"client_memory": "4M", "user_memory": "1M", "mode": "0666"},
    )
    feed_until_held(d, senders(d, 5, RUN), SIZE * 3 // 4)  # and no more
    c = d.client_as(4001)
    assert c.cmd("RUN", "p", "length " + "x" * 1000000) == b"1000000"


def test_multi_is_within_the_budget(start):
    """What MULTIs hold counts, and each gets to its EXEC."""
    d = start(
        pool("p", workers=2, job={"max_payload": "1M"}),
        control={"client_memory": "4M", "user_memory": "1M"},
    )
    data = encode("MULTI") + encode("RUN", "p", b"length " + b"x" * 300000) * 4 + encode("EXEC")
    clients = senders(d, 8, data)
    feed_until_held(d, clients, len(data) * 3 // 4)
    finish(clients, "OK", *["QUEUED"] * 4, [b"300000"] * 4)


# ---- client_timeout --------------------------------------------------------------------


def stop_reading(d, c, n=40):
    """Ask for more than the budget has room for, and take none of it."""
    jid = d.cmd("SUBMIT", "p", "big 1000000")
    d.wait_state(jid, "done")
    c.send_raw(encode("RESULT", jid) * n)
    return n


def is_over(d):
    """Is there a client that is over its budget?"""
    lines = lib.text(d.cmd("CLIENT", "LIST")).splitlines()
    return any(int(re.search(r"obuf=(\d+)", line)[1]) > 2 * MIB for line in lines)


def test_who_takes_nothing_is_closed(start):
    d = start(
        pool("p", job={"max_result": "2M"}),
        control={"client_memory": "2M", "client_timeout": "2s"},
    )
    c, idle = d.client(), d.client()
    begun = time.monotonic()
    stop_reading(d, c)
    lib.poll(lambda: is_over(d), "it is over its budget")
    assert idle.cmd("PING") == "PONG"
    d.wait_log(
        r"warning: client \d+ \(uid %d, pid %d\) is closed: over its budget, with \d+ bytes, "
        r"it has taken nothing of its replies for 2s" % (os.getuid(), os.getpid())
    )
    assert time.monotonic() - begun >= 2
    with pytest.raises(Closed):
        while c.read():
            pass
    assert idle.cmd("PING") == "PONG"  # who is idle, or only slow, is not
    assert len(re.findall("is closed", d.log())) == 1


def test_who_takes_some_now_and_then_is_not(start):
    """Three times as long as the timeout, in pieces that are far from all."""
    d = start(
        pool("p", job={"max_result": "2M"}),
        control={"client_memory": "2M", "client_timeout": "2s"},
    )
    c, nothing = d.client(), d.client()
    n = stop_reading(d, c)
    stop_reading(d, nothing)
    lib.poll(lambda: is_over(d), "it is over its budget")
    end = time.monotonic() + 6
    while time.monotonic() < end or "is closed" not in d.log():
        c._fill()  # up to 256 KiB
        select_nothing(0.2)
    assert len(re.findall("is closed", d.log())) == 1, "the other one"
    assert len(c.buf) < n * 1000000 // 2
    for _ in range(n):
        assert c.read() == b"x" * 1000000
    assert c.cmd("PING") == "PONG"


def select_nothing(seconds):
    """The pace of a slow reader, which is what is tested: nothing is waited for."""
    time.sleep(seconds)


def test_timeout_infinity(start):
    d = start(
        pool("p", job={"max_result": "2M"}),
        control={"client_memory": "2M", "client_timeout": "infinity"},
    )
    c = d.client()
    n = stop_reading(d, c)
    lib.poll(lambda: is_over(d), "it is over its budget")
    assert mapping(d.cmd("CONFIG", "GET", "timeout")) == {"timeout": "0"}
    for _ in range(n):
        assert c.read() == b"x" * 1000000


def test_who_waits_for_a_slow_job_is_not_closed(start):
    """Over the budget with replies behind one that is not there: it has nothing to take."""
    d = start(
        pool("p", job={"max_result": "2M"}),
        pool("slow"),
        control={"client_memory": "2M", "client_timeout": "2s"},
    )
    gate = d.gate()
    c, stuck = d.client(), d.client()
    c.send("RUN", "slow", "gate " + gate.path)
    gate.arrived()
    for _ in range(6):
        c.send("RUN", "p", "big 1000000")
    d.wait_pool("p", "over the budget", lambda p: p["done"] >= 2 and p["running"] == 0)
    stop_reading(d, stuck)
    d.wait_log("is closed")  # it is later than the timeout now
    gate.release()
    assert c.read() == b"gate"
    assert [c.read() for _ in range(6)] == [b"x" * 1000000] * 6
    assert len(re.findall("is closed", d.log())) == 1


def test_config_get_says_what_is_in_force(start):
    d = start(pool("p"), control={"client_timeout": "1500ms", "max_clients": 77})
    got = mapping(d.cmd("CONFIG", "GET", "timeout", "maxclients"))
    assert got == {"timeout": "2", "maxclients": "77"}


# ---- fairness ---------------------------------------------------------------------------


class Flood:
    """Connections that send commands as fast as they are taken, and drop the replies."""

    def __init__(self, d, n, *command):
        self.block = encode(*command) * 500
        self.clients = [Client(d.socket) for _ in range(n)]
        for c in self.clients:
            c.s.setblocking(False)
        self.at = [0] * n
        self.taken = 0

    def go_on(self):
        for i, c in enumerate(self.clients):
            try:
                self.at[i] = (self.at[i] + c.s.send(self.block[self.at[i] :])) % len(self.block)
            except BlockingIOError:
                pass
            try:
                self.taken += len(c.s.recv(1 << 16))
            except BlockingIOError:
                pass

    def close(self):
        for c in self.clients:
            c.close()


@pytest.mark.parametrize("command", [("PING",), ("RUN", "full", "x")])
def test_bystander_beside_thirty_flooders(start, command):
    d = start(pool("p"), pool("full", queue={"limit": 0}))
    d.cmd("PAUSE", "full")
    flood = Flood(d, 30, *command)
    other = d.client()
    for i in range(100):
        flood.go_on()
        assert other.cmd("RUN", "p", "echo %d" % i) == b"%d" % i
    assert flood.taken > 0
    flood.close()


def test_all_of_a_long_pipeline_is_carried_out(start):
    """In many turns; its end, a half-close, does not come before its commands."""
    d = start(pool("p"))
    c = d.client()
    n = 50000
    sender = threading.Thread(target=lambda: (c.send_raw(encode("PING") * n), c.half_close()))
    sender.start()
    assert [c.read() for _ in range(n)] == ["PONG"] * n
    assert c.at_end()
    sender.join()


# ---- what is not input and no reply --------------------------------------------------


@pytest.mark.skipif(lib.SANITIZED, reason="memory is not as it is")
@pytest.mark.parametrize(
    "command", [["ECHO"] + ["x" * 60000] * 400, ["ECHO"] * 16384], ids=["bytes", "words"]
)
def test_what_a_large_command_took_is_given_back(start, command):
    """Though there is a part of the next one, which would keep its buffer."""
    d = start(pool("p"), control={"client_memory": "32M", "user_memory": "64M"})
    before = rss(d)
    for _ in range(5):
        c = d.client()
        c.send_raw(encode(*command) + b"*1\r\n$4\r\nPI")
        assert "wrong number of arguments" in str(c.read())
        c.send_raw(b"NG\r\n*1")
        assert c.read() == "PONG"
    lib.poll(lambda: rss(d) - before < 4 * MIB, "it is given back")


@pytest.mark.skipif(lib.SANITIZED, reason="memory is not as it is")
def test_what_jobs_took_is_given_back_at_rest(start):
    """Up to 16 MiB are kept for the next jobs, but not for long when there are none."""
    d = start(pool("p"), control={"client_memory": "32M"})
    d.cmd("RUN", "p", "echo warm")
    before = rss(d)
    c = d.client()
    d.cmd("PAUSE", "p")
    c.send_raw(encode("RUN", "p", b"length " + b"x" * 16377) * 700)
    d.wait_pool("p", "all are queued", lambda p: p["queued"] == 700)
    assert rss(d) - before > 10 * MIB
    d.cmd("RESUME", "p")
    assert {c.read() for _ in range(700)} == {b"16377"}
    lib.poll(lambda: rss(d) - before < 2 * MIB, "it is given back")


@pytest.mark.skipif(lib.SANITIZED, reason="memory is not as it is")
def test_what_was_kept_is_given_back_when_it_is_forgotten(start):
    """Though nothing has come since."""
    d = start(pool("p", job={"keep": "4s"}))
    d.cmd("RUN", "p", "echo warm")
    before = rss(d)
    c = d.client()
    ids = c.pipeline([("SUBMIT", "p", b"echo " + b"x" * 16379)] * 700)
    d.wait_pool("p", "all are done", lambda p: p["done"] == 701)
    assert rss(d) - before > 10 * MIB
    lib.poll(lambda: rss(d) - before < 2 * MIB, "it is given back")
    assert c.cmd("RESULT", ids[0]).code == "NOJOB"


def test_subscriptions_of_all_connections_of_a_user(start):
    """A quarter of the user's budget; what one gives back another can have."""
    p = pool("p", job={"max_payload": "16K"})
    d = start(p, control={"client_memory": "1M", "user_memory": "1M"})
    first, second = d.client(), d.client()

    def subscribe(c, i, n):
        return c.cmd("SUBSCRIBE", ("%d.%d." % (i, n)).ljust(490, "x"))

    for n in range(250):
        assert isinstance(subscribe(first, 1, n), list)
    replies = [subscribe(second, 2, n) for n in range(250)]
    refused = [r for r in replies if isinstance(r, lib.Error)]
    assert 0 < len(refused) < 250, "the two have a quarter together"
    assert "of a user a quarter of control.user_memory" in str(refused[0])
    first.close()
    lib.poll(lambda: d.status()["clients"] == 2, "it is gone")
    assert isinstance(subscribe(second, 2, 249), list)


# ---- commands that take long ---------------------------------------------------------


def test_long_commands_do_not_hold_up_others(start):
    """Each looks at all jobs; a bystander waits for one or two, not for all."""
    d = start(pool("p", workers=2, job={"keep_memory": "1G"}, queue={"limit": 100000}))
    c, by = d.client(), d.client()
    for _ in range(20):
        c.pipeline([("SUBMIT", "p", "x")] * 1000)
    d.wait_pool("p", "all are done", lambda p: p["done"] == 20000)
    begun = time.monotonic()
    assert c.cmd("JOBS", "STATE", "failed") == []
    one = time.monotonic() - begun
    c.send_raw(encode("JOBS", "STATE", "failed") * 1000)
    begun = time.monotonic()
    assert by.cmd("PING") == "PONG"
    assert time.monotonic() - begun < 50 * one + 0.1
    c.close()
