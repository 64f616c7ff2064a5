# SPDX-License-Identifier: MIT
"""A service manager that is hard to tell anything: away, stalled, full, back again."""
import os
import signal
import socket

import lib
from lib import pool


class Receiver:
    """The far end of NOTIFY_SOCKET: it comes, goes, and reads when it is told to."""

    def __init__(self, address):
        self.address = str(address)
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

    def lines(self):
        return [line for text in self.read() for line in text.splitlines()]

    def wait(self, wanted):
        lib.poll(lambda: wanted in self.lines(), "%s in %s" % (wanted, self.seen))


def answers(d):
    try:
        return d.cmd("PING") == "PONG"
    except OSError:
        return False  # it does not listen yet


def started(make, receiver):
    """A daemon that tells receiver, and that serves, whether it is ready or not."""
    d = make(pool("p"))
    d.notify.close()
    d.notify = receiver
    receiver.path = receiver.address  # as lib.Daemon wants it
    receiver.close = lambda: None
    d.check_fds = False
    d.start(ready=False)
    lib.poll(lambda: answers(d), "an answer")
    assert d.cmd("RUN", "p", "echo served") == b"served"
    return d


def test_full_from_the_start(make, tmp):
    r = Receiver(tmp / "notify").come(full=True)
    d = started(make, r)
    d.wait_log("ready:")
    r.wait("READY=1")
    (ready,) = [text for text in r.seen if "READY=1" in text]
    assert "STATUS=" in ready, "what is owed goes together"
    r.fill()
    d.send_signal(signal.SIGTERM)
    d.wait_log("stopping")
    r.wait("STOPPING=1")
    assert d.wait() == 0
