# SPDX-License-Identifier: MIT
"""preforkctl as the tests use it: to its end, on a terminal, and while it runs."""
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import lib
from lib import PREFORKCTL


class Ctl:
    """preforkctl against one daemon; text output."""

    def __init__(self, d):
        self.d = d

    def __call__(self, *args, stdin=b"", status=0, **more):
        r = lib.run(PREFORKCTL, "-s", self.d.socket, *args, stdin=stdin, **more)
        said = r.stdout.decode(errors="replace") + r.stderr.decode(errors="replace")
        assert r.returncode == status, "exit status %d: %s" % (r.returncode, said)
        if status:
            assert r.stderr, "a status that is not 0 comes with a message"
        return r

    def out(self, *args, **more):
        return self(*args, **more).stdout.decode()

    def json(self, *args, **more):
        return json.loads(self.out("--json", *args, **more))

    def lines(self, *args, **more):
        return self.out(*args, **more).splitlines()

    def start(self, *args, **more):
        return Running(PREFORKCTL, "-s", self.d.socket, *args, **more)

    def on_terminal(self, *args, **more):
        return Terminal(PREFORKCTL, "-s", self.d.socket, *args, **more)


class Running:
    """A program whose output is waited for while it runs."""

    def __init__(self, *command, stdin=subprocess.DEVNULL, **more):
        self.proc = subprocess.Popen(
            [str(c) for c in command],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=lib.base_env(),
            **more,
        )
        self.out, self.err = bytearray(), bytearray()
        self.open = {self.proc.stdout.fileno(): self.out, self.proc.stderr.fileno(): self.err}

    def _read(self, timeout):
        for fd in select.select(list(self.open), [], [], timeout)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:  # of a terminal: nobody has its other end any more
                data = b""
            self.open[fd].extend(data)
            if not data:
                del self.open[fd]

    def wait_for(self, test, reason):
        """Read until test(self) is true; what it gave."""
        end = time.monotonic() + lib.DEADLINE
        while not (value := test(self)):
            assert time.monotonic() < end, "not within the deadline: %s: %r %r" % (
                reason,
                bytes(self.out),
                bytes(self.err),
            )
            assert self.open, "it ended before %s: %r %r" % (
                reason,
                bytes(self.out),
                bytes(self.err),
            )
            self._read(0.1)
        return value

    def wait_out(self, wanted):
        return self.wait_for(lambda r: wanted in r.out, wanted)

    def wait_err(self, wanted):
        return self.wait_for(lambda r: wanted in r.err, wanted)

    def interrupt(self):
        self.proc.send_signal(signal.SIGINT)

    def end(self):
        """Its exit status, when everything that it wrote has been read."""
        end = time.monotonic() + lib.DEADLINE
        while self.open:
            assert time.monotonic() < end, "it does not end: %r %r" % (
                bytes(self.out),
                bytes(self.err),
            )
            self._read(0.1)
        return self.proc.wait(lib.DEADLINE)

    def kill(self):
        self.proc.kill()
        self.proc.wait()


class Terminal(Running):
    """The same with a terminal for all that it reads and writes; out holds it."""

    def __init__(self, *command, columns=100, rows=40, stdin=None, env=None):
        self.fd, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        env = lib.base_env(**{"TERM": "xterm", "NO_COLOR": "", **(env or {})})
        self.proc = subprocess.Popen(
            [str(c) for c in command],
            stdin=slave if stdin is None else stdin,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
        )
        os.close(slave)
        self.out = self.err = bytearray()
        self.open = {self.fd: self.out}

    def text(self):
        return self.out.decode().replace("\r\n", "\n")

    def end(self):
        status = super().end()
        os.close(self.fd)
        return status
