# SPDX-License-Identifier: MIT
"""The watchdog is fed by a loop that turns, whatever a storm does to it, and by nothing else."""
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import lib
from lib import SLOW, encode, pool

WATCHDOG = 2.0 * SLOW  # s; the units have 30

READER = """
import select, socket, sys, time
s, seen, p = socket.socket(fileno=int(sys.argv[1])), [], select.poll()
p.register(s, select.POLLIN)
p.register(0, select.POLLHUP)
asked = False
while not (asked and seen):
    for fd, _ in p.poll():
        if fd == 0:
            asked = True
            p.unregister(0)
        elif b"WATCHDOG=1" in s.recv(65536):
            seen.append(time.monotonic())
print(*seen)
"""


class Pings:
    """When WATCHDOG=1 comes, seen by a process of its own: a busy test sees nothing."""

    def __init__(self, d):
        fd = d.notify.s.fileno()
        self.begun = time.monotonic()
        self.reader = subprocess.Popen(
            [sys.executable, "-c", READER, str(fd)],
            pass_fds=[fd],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def end(self):
        """The longest silence, in s; one at least comes, were the storm ever so short."""
        out, _ = self.reader.communicate(timeout=lib.DEADLINE)
        at = [self.begun] + [float(x) for x in out.split()] + [time.monotonic()]
        return max(b - a for a, b in zip(at, at[1:]))


@pytest.fixture
def watched(make):
    def start(*pools, **top):
        d = make(*pools, **top)
        d.env["WATCHDOG_USEC"] = str(int(WATCHDOG * 1e6))
        d.check_fds = False
        return d.start()

    return start


def fed(pings, what):
    silence = pings.end()
    print("%s: silent for %.0f ms at most" % (what, silence * 1000))
    assert silence < WATCHDOG


def meanwhile(function, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        function()


def test_idle(watched):
    d = watched(pool("p"))
    pings = Pings(d)
    time.sleep(2 * WATCHDOG)  # the measurement itself
    fed(pings, "idle")


def test_five_hundred_deaths(watched):
    d = watched(pool("p", workers=500))
    pids = [w["pid"] for w in d.workers()]
    pings = Pings(d)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    p = d.wait_pool("p", "all are back", lambda p: p["exited"] == 500 and p["idle"] == 500)
    assert p["spawned"] == 1000
    fed(pings, "500 deaths")


def test_exec_of_very_many(watched):
    d = watched(pool("p", queue={"limit": 100000}))
    assert d.cmd("PAUSE", "p") == "OK"
    c = d.client()
    pings = Pings(d)
    for command in (("SUBMIT", "p", "x"), ("JOBS", "LIMIT", "100"), ("POOLS",)):
        block = encode("MULTI") + encode(*command) * 16384 + encode("EXEC")
        sender = threading.Thread(target=c.send_raw, args=(block,))
        sender.start()
        replies = [c.read() for _ in range(16386)]
        sender.join()
        assert len(replies[-1]) == 16384
    fed(pings, "EXEC of 16384")


def test_hundred_floods(watched):
    d = watched(pool("p"), control={"max_clients": 1000})
    clients = [d.client() for _ in range(100)]
    block = encode("RUN", "p", "x") * 200 + encode("JOBS") * 5 + encode("METRICS") * 5
    at = [0] * len(clients)
    for c in clients:
        c.s.setblocking(False)

    def flood():
        for i, c in enumerate(clients):
            try:
                at[i] = (at[i] + c.s.send(block[at[i] :])) % len(block)
                c.s.recv(1 << 16)
            except BlockingIOError:
                pass

    pings = Pings(d)
    meanwhile(flood, 2 * WATCHDOG)
    fed(pings, "100 floods")


JOBS = int(os.environ.get("PREFORKD_TEST_JOBS") or 200000)


def test_clear_of_very_many(watched):
    d = watched(pool("p", queue={"limit": 2 * JOBS, "memory": "1G"}))
    assert d.cmd("PAUSE", "p") == "OK"
    c = d.client()
    pings = Pings(d)
    block = encode("SUBMIT", "p", "x") * 10000
    for _ in range(JOBS // 10000):
        sender = threading.Thread(target=c.send_raw, args=(block,))
        sender.start()
        for _ in range(10000):
            c.read()
        sender.join()
    assert d.cmd("CLEAR", "p") == "OK"
    d.wait_pool("p", "cleared", lambda p: p["queued"] == 0)
    fed(pings, "CLEAR of %d" % JOBS)


def test_a_loop_that_does_not_turn_is_silent(watched):
    d = watched(pool("p"))
    d.notify.wait("WATCHDOG=1", d.proc)
    d.send_signal(signal.SIGSTOP)
    d.notify.drain()
    d.notify.seen.clear()
    time.sleep(2 * WATCHDOG)  # the measurement itself
    assert "WATCHDOG=1" not in d.notify.drain()
    d.send_signal(signal.SIGCONT)
    d.notify.wait("WATCHDOG=1", d.proc)
