# SPDX-License-Identifier: MIT
"""A service manager that is hard to tell anything: away, stalled, full, back again."""
import os
import re
import shutil
import signal
import socket
import time

import pytest

import lib
from lib import SLOW, pool


class Receiver:
    """The far end of NOTIFY_SOCKET: it comes, goes, and reads when it is told to."""

    def __init__(self, address):
        self.address = self.path = str(address)
        self.s = None
        self.seen = []  # datagrams, as str

    def come(self, full=False):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(self.address.replace("@", "\0", 1))
        if full:
            self.fill()
        return self

    def fill(self):
        """Others' messages, until there is no room for more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.connect(self.address.replace("@", "\0", 1))
            other.setblocking(False)
            while True:
                try:
                    other.send(b"FILL=1")
                except BlockingIOError:
                    return

    def go(self):
        self.s.close()
        if not self.address.startswith("@"):
            os.unlink(self.address)

    def read(self):
        """All datagrams so far, fillings left out."""
        while True:
            try:
                text = self.s.recv(65536, socket.MSG_DONTWAIT).decode()
            except BlockingIOError:
                return self.seen
            if text != "FILL=1":
                self.seen.append(text)

    def close(self):
        if self.s is not None:
            self.s.close()

    def lines(self):
        return [line for text in self.read() for line in text.splitlines()]

    def wait(self, wanted):
        lib.poll(lambda: wanted in self.lines(), "%s in %s" % (wanted, self.seen))


def telling(make, receiver, **env):
    """A daemon that tells receiver, and that serves, whether anybody listens or not."""
    d = make(pool("p", workers=2))
    d.notify.close()
    d.notify = receiver
    d.env.update(env)
    d.check_fds = False
    d.start(ready=False)
    lib.poll(lambda: lib.answers(d.socket), "an answer")
    return d


def run_times(d, count=100):
    """How long RUNs take, in ms, the shortest first; over more than a second, so that
    there is something to tell meanwhile."""
    took = []
    with d.client() as c:
        for i in range(count):
            begun = time.monotonic()
            assert c.cmd("RUN", "p", "sleep 12 %d" % i) == b"%d" % i
            took.append((time.monotonic() - begun) * 1000 - 12)
    return sorted(took)


def served(d, what):
    took = run_times(d)
    print("%s: a RUN takes %.1f ms more than its job, %.1f at most" % (what, took[50], took[-1]))
    assert took[-1] < 1000 * SLOW, took
    d.wait_log("ready:")
    assert b"NOTIFY_SOCKET" not in d.cmd("RUN", "p", "environ")


def stops(d):
    d.send_signal(signal.SIGTERM)
    assert d.wait() == 0
    d.gone()


# ---- nobody is there


def absent(tmp):
    return tmp / "none"


def refused(tmp):
    r = Receiver(tmp / "refused").come()
    r.s.close()
    return r.address


def no_socket(tmp):
    (tmp / "file").touch()
    return tmp / "file"


def too_long(tmp):
    return tmp / ("x" * 108)


@pytest.mark.parametrize(
    "where, why",
    [
        (absent, "No such file or directory"),
        (refused, "Connection refused"),
        (no_socket, "Connection refused"),
        (too_long, "File name too long"),
        (lambda tmp: "@" + "x" * 108, "File name too long"),
        (lambda tmp: "@", "Invalid argument"),
        (lambda tmp: "notify", "Address family not supported by protocol"),
        (lambda tmp: "@nobody-%s" % tmp.name, "Connection refused"),
    ],
    ids=["absent", "refused", "file", "long", "long-abstract", "at", "relative", "abstract"],
)
def test_nobody_is_told(make, tmp, where, why):
    d = telling(make, Receiver(where(tmp)), WATCHDOG_USEC="400000")
    served(d, why)
    told = [line for line in d.log().splitlines() if "the service manager cannot be told" in line]
    assert len(told) == 1 and told[0].endswith(why), told
    stops(d)


def test_empty_is_none(make):
    d = telling(make, Receiver(""))
    served(d, "none")
    assert "service manager" not in d.log()
    stops(d)


# ---- somebody is there, and has no time


def test_stalled(make, tmp):
    """Full from the start and never read: neither states nor the watchdog hold it up."""
    r = Receiver(tmp / "notify").come(full=True)
    d = telling(make, r, WATCHDOG_USEC="400000")
    served(d, "stalled")
    begun = time.monotonic()
    stops(d)
    assert time.monotonic() - begun < 10 * SLOW, "the last words have a second"
    assert not [line for line in r.lines() if not line.startswith("WATCHDOG")]


def test_stalled_and_read_again(make, tmp):
    r = Receiver(tmp / "notify").come(full=True)
    d = telling(make, r)
    served(d, "full")
    r.wait("READY=1")
    (ready,) = [text for text in r.seen if "READY=1" in text]
    assert "STATUS=" in ready, "what is owed goes together"
    r.fill()
    d.send_signal(signal.SIGTERM)
    d.wait_log("stopping")
    r.wait("STOPPING=1")
    assert d.wait() == 0
    assert r.lines()[-1] == "STATUS=stopped"


def test_last_words_wait_for_room(make, tmp):
    """The end gives what is owed a moment: here somebody reads again in it."""
    for attempt in range(10):
        r = Receiver(tmp / ("notify%d" % attempt)).come(full=True)
        d = telling(make, r)
        d.wait_log("ready:")
        d.send_signal(signal.SIGTERM)
        d.wait_log("stopped")
        r.read()
        assert d.wait() == 0
        states = [line for line in r.lines() if line in ("READY=1", "STOPPING=1")]
        if states:
            break  # else that moment has passed before we came to read
    assert states == ["READY=1", "STOPPING=1"], "in the order in which they came to be"


def test_gone_in_between(make, tmp):
    r = Receiver(tmp / "notify").come()
    d = telling(make, r)
    r.wait("READY=1")
    r.go()
    served(d, "gone")
    r.come()
    r.seen.clear()
    d.cmd("RUN", "p", "echo x")
    lib.poll(lambda: any(line.startswith("STATUS=") for line in r.lines()), "it tells again")
    r.go()
    d.send_signal(signal.SIGTERM)
    d.wait_log("stopping")
    assert d.wait() == 0


def test_abstract(make, tmp):
    r = Receiver("@preforkd-test-" + tmp.name).come()
    d = telling(make, r)
    r.wait("READY=1")
    d.send_signal(signal.SIGTERM)
    r.wait("STOPPING=1")
    assert d.wait() == 0


def test_of_the_status_only_the_last_is_owed(make, tmp):
    r = Receiver(tmp / "notify").come(full=True)
    d = telling(make, r)
    d.wait_log("ready:")
    run_times(d, 200)  # two seconds and more: some statuses
    assert d.cmd("DRAIN") == "OK"
    r.wait("READY=1")
    lib.poll(lambda: any("DRAIN" in line for line in r.lines()), "the last status")
    assert len([line for line in r.lines() if line.startswith("STATUS=")]) <= 3


# ---- the proof


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
@pytest.mark.skipif(lib.SANITIZED, reason="LeakSanitizer is no friend of ptrace")
def test_no_call_waits(make, tmp):
    """Of all calls but epoll_wait() none takes long while the receiver is full."""
    r = Receiver(tmp / "notify").come(full=True)
    d = make(pool("p", workers=2))
    d.notify.close()
    d.notify = r
    d.env["WATCHDOG_USEC"] = "400000"
    d.check_fds = False
    trace = tmp / "trace"
    strace = ["strace", "-D", "-T", "-qq", "-o", str(trace), "-e", "trace=all"]
    d.start(ready=False, command=strace + d.command())
    lib.poll(lambda: lib.answers(d.socket), "an answer")
    served(d, "traced")
    os.kill(d.pid, signal.SIGSTOP)  # what is traced so far
    lines = trace.read_text().splitlines()
    os.kill(d.pid, signal.SIGCONT)
    calls = [re.fullmatch(r"(\w+)\((.*)\) += (.*) <([0-9.]+)>", line) for line in lines]
    calls = [c.groups() for c in calls if c]
    sent = [c for c in calls if c[0] == "sendmsg" and r.address in c[1]]
    assert len(sent) >= 4 and all("MSG_DONTWAIT" in c[1] and "EAGAIN" in c[2] for c in sent), sent
    slow = [c for c in calls if c[0] != "epoll_wait" and float(c[3]) > 0.5 * SLOW]
    assert not slow, slow
    stops(d)
