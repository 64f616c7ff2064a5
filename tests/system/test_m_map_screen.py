# SPDX-License-Identifier: MIT
"""preforkctl map before a person: how far it is, and how it is ended."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import lib
from lib import ACT, PREFORKCTL, pool, run

CLEAR = "\r\x1b[K"


@pytest.fixture
def d(start):
    return start(pool("one", workers=1), pool("two", workers=2))


class Terminal:
    """A program whose standard error, and controlling terminal, is a terminal."""

    def __init__(self, *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, mark="x"):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        self.seen = ""
        self.mark = "TESTING_PREFORKD=" + mark
        self.proc = subprocess.Popen(
            [str(c) for c in command],
            stdin=stdin,
            stdout=slave if stdout == "terminal" else stdout,
            stderr=slave,
            env=lib.base_env(TESTING_PREFORKD=mark),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def look(self, timeout):
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # nobody has the other end
            return False
        self.seen += data.decode()
        return bool(data)

    def wait_for(self, pattern):
        end = time.monotonic() + lib.DEADLINE
        while not (found := re.search(pattern, self.seen)):
            assert time.monotonic() < end, "no %r: %r" % (pattern, self.seen)
            self.look(0.05)
        return found

    def type(self, text):
        os.write(self.master, text)

    def end(self):
        """The exit status, and what was on the screen."""
        end = time.monotonic() + lib.DEADLINE
        while self.proc.poll() is None:
            assert time.monotonic() < end, "it does not end: %r" % self.seen
            self.look(0.05)
        while self.look(0):
            pass
        os.close(self.master)
        if self.proc.stdin:
            self.proc.stdin.close()
        if self.proc.stdout:
            self.out = self.proc.stdout.read()
            self.proc.stdout.close()
        return self.proc.returncode

    def gone(self):
        lib.poll(lambda: not lib.marked(self.mark), "the end of the daemon and its workers")


def source(tmp, *lines):
    path = tmp / "in"
    path.write_text("".join(line + "\n" for line in lines))
    return open(path, "rb")


# ---- how far it is ------------------------------------------------------------------------


def test_progress(d, tmp):
    """Lines of how many, who works, what failed; and then it has never been there."""
    gate = d.gate()
    lines = ["echo a", "err b", "gate %s" % gate.path] + ["echo c"] * 7
    with source(tmp, *lines) as f:
        t = Terminal(PREFORKCTL, "-s", d.socket, "map", "one", stdin=f)
    gate.arrived()
    t.wait_for(r"\r\x1b\[K2 of 10 lines, [0-9.]+/s, .* left, 1/1 workers busy, 1 failed")
    gate.release()
    assert t.end() == 1
    assert t.out == b"a\n\ngate\n" + b"c\n" * 7
    rest = t.seen.rpartition(CLEAR)[2]
    assert re.fullmatch(r"preforkctl: 1 of 10 lines failed, [0-9.]+m?s \([0-9.]+/s\)\r\n", rest)
    assert "preforkctl: line 2: FAILED b\r\n" in t.seen


def test_progress_without_a_total(d):
    t = Terminal(PREFORKCTL, "-s", d.socket, "map", "one", stdin=subprocess.PIPE)
    t.proc.stdin.write(b"echo a\n")
    t.proc.stdin.flush()
    t.wait_for(r"1 line, [0-9.]+/s")
    t.wait_for(r"0/1 workers busy")
    t.proc.stdin.write(b"echo b\n")
    t.proc.stdin.close()
    assert t.end() == 0
    assert re.search(r"\r\x1b\[Kpreforkctl: 2 lines, [^\n]*\n$", t.seen)


def test_messages_are_on_lines_of_their_own(tmp):
    """Those of the private daemon too, which come by way of the map."""
    with source(tmp, "exit 3", "echo a") as f:
        t = Terminal(PREFORKCTL, "map", "-j1", "--", ACT, stdin=f)
    assert t.end() == 1
    assert t.out == b"\na\n"
    lines = t.seen.replace(CLEAR, "\n").replace("\r", "").split("\n")
    assert any(re.match(r"preforkd\[\d+\]: .*status 3", line) for line in lines), t.seen
    assert any(line.startswith("preforkctl: line 1: CRASHED") for line in lines)


def test_progress_and_results_on_one_terminal(d, tmp):
    gate = d.gate()
    with source(tmp, "echo first", "gate %s" % gate.path, "echo last") as f:
        t = Terminal(PREFORKCTL, "-s", d.socket, "map", "one", stdin=f, stdout="terminal")
    t.wait_for(r"1 of 3 lines")
    gate.release()
    assert t.end() == 0
    assert re.search(r"\r\x1b\[Kgate\r\n", t.seen)
    lines = t.seen.replace(CLEAR, "").replace("\r", "").split("\n")
    assert "first" in lines and "last" in lines


def test_no_progress(d, tmp):
    gate = d.gate()
    with source(tmp, "echo a", "gate %s" % gate.path) as f:
        t = Terminal(PREFORKCTL, "-s", d.socket, "map", "--no-progress", "one", stdin=f)
    gate.arrived()
    gate.release()
    assert t.end() == 0
    assert "\x1b" not in t.seen and t.seen.startswith("preforkctl: 2 lines, ")


# ---- ending it ----------------------------------------------------------------------------


def test_interrupt(tmp):
    """Ctrl-C: all ends at once, and what it says goes on from there."""
    log, out = tmp / "the log", tmp / "out"
    with source(tmp, "echo a", "echo b", "hang-hard", "echo c") as f, open(out, "wb") as o:
        t = Terminal(PREFORKCTL, "map", "--joblog", log, "-j1", "--", ACT, stdin=f, stdout=o,
                     mark=str(tmp))
    lib.poll(lambda: log.exists() and log.read_text().count("\n") == 3, "two records")
    began = time.monotonic()
    t.type(b"\x03")
    assert t.end() == -signal.SIGINT
    assert time.monotonic() - began < 5 * lib.SLOW  # less than a grace
    assert not lib.marked(t.mark), "the daemon and its workers"
    assert out.read_bytes() == b"a\nb\n"
    assert "ended by SIGINT" in t.seen and "2 lines, " in t.seen
    assert "CANCELLED" not in t.seen
    (command,) = re.findall(r"it goes on with: (.*)\r\n", t.seen)
    assert "--resume '%s'" % log in command and "<%s" % (tmp / "in") in command
    # the same command with an input that does not hang
    (tmp / "in").write_text("echo a\necho b\necho c\n")
    r = run("/bin/sh", "-c", command)
    assert (r.returncode, r.stderr) == (0, b"")
    assert out.read_bytes() == b"a\nb\nc\n"


def test_interrupt_without_a_log(d):
    gate = d.gate()
    t = Terminal(PREFORKCTL, "-s", d.socket, "map", "one", stdin=subprocess.PIPE)
    t.proc.stdin.write(b"gate %s\n" % gate.path.encode() + b"echo a\n" * 5)
    t.proc.stdin.flush()
    gate.arrived()
    t.type(b"\x03")
    assert t.end() == -signal.SIGINT
    assert "--resume FILE" in t.seen and t.out == b""
    d.wait_pool("one", "its queued jobs are dropped", lambda p: p["queued"] == 0)
    gate.release()
    d.wait_pool("one", "the one that ran is done", lambda p: p["done"] == 1)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals(tmp, sig):
    t = Terminal(PREFORKCTL, "map", "-j2", "--", ACT, stdin=subprocess.PIPE, mark=str(tmp))
    t.proc.stdin.write(b"echo up\nhang\n")
    t.proc.stdin.flush()
    assert t.proc.stdout.readline() == b"up\n"
    t.proc.send_signal(sig)
    assert t.end() == -sig
    assert not lib.marked(t.mark), "the daemon and its workers"
    assert "ended by %s" % sig.name in t.seen


def test_interrupt_when_nobody_reads(d):
    """Results that nobody takes do not keep it."""
    t = Terminal(PREFORKCTL, "-s", d.socket, "map", "two", stdin=subprocess.PIPE)
    gate = d.gate()
    t.proc.stdin.write(b"big 1000000\n" * 3 + b"gate %s\n" % gate.path.encode())
    t.proc.stdin.flush()
    gate.release()  # all are done, and the pipe is full
    d.wait_pool("two", "all are done", lambda p: p["done"] == 4)
    t.type(b"\x03")
    assert t.end() == -signal.SIGINT


def test_ignored_signals_stay_ignored(d):
    gate = d.gate()
    proc = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" INT; exec "$0" "$@"', PREFORKCTL, "-s", d.socket, "map", "one"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=lib.base_env(),
    )
    proc.stdin.write(b"gate %s\n" % gate.path.encode())
    proc.stdin.close()
    gate.arrived()
    proc.send_signal(signal.SIGINT)
    gate.release()
    assert proc.stdout.read() == b"gate\n" and proc.wait(lib.DEADLINE) == 0
    proc.stdout.close()


def test_stop_and_go_on(tmp):
    """kill -9 of the map: the next one starts with a new daemon, and nothing is left."""
    with source(tmp, "echo a", "hang-hard") as f:
        t = Terminal(PREFORKCTL, "map", "-j2", "--unordered", "--progress", "--", ACT, stdin=f,
                     mark=str(tmp))
    assert t.proc.stdout.readline() == b"a\n"
    assert len(lib.marked(t.mark)) >= 3
    t.proc.kill()
    t.end()
    t.gone()
