# SPDX-License-Identifier: MIT
"""Clients that nobody here wrote: redis-cli, redis-benchmark."""
import fcntl
import os
import re
import select
import shutil
import struct
import subprocess
import termios
import time

import pytest

import lib
from lib import ECHO_C, pool, run, script


@pytest.fixture
def d(start):
    return start(
        pool("p", workers=2),
        pool("f", script("frame.py"), protocol="frame"),
        pool("hello", ECHO_C, workers=2, queue={"limit": 100000}),
    )


def need(program):
    if shutil.which(program) is None:
        pytest.skip("no %s (Debian: redis-tools)" % program)


# ---- redis-cli ------------------------------------------------------------------


def cli(d, *args, stdin=b""):
    need("redis-cli")
    return run("redis-cli", "-s", d.socket, *args, stdin=stdin)


def test_cli(d):
    assert cli(d, "PING").stdout == b"PONG\n"
    assert cli(d, "RUN", "p", "echo two words").stdout == b"two words\n"
    assert cli(d, "RUN", "p", "err broken").stdout.strip() == b"FAILED broken"
    assert cli(d, "-e", "RUN", "p", "err broken").returncode == 1
    assert b"queued" in cli(d, "POOL", "p").stdout
    assert b"name" in cli(d, "-3", "POOL", "p").stdout
    assert cli(d, "-3", "RUN", "p", "echo three").stdout == b"three\n"
    assert b"redis_version" in cli(d, "INFO").stdout
    r = cli(d, "--json", "-3", "POOL", "p")
    assert b'"state":"ok"' in r.stdout.replace(b" ", b"") or r.returncode != 0


def test_cli_payload_from_standard_input(d):
    data = b"line one\nline two\x00\xff"
    assert cli(d, "-x", "RUN", "f", stdin=data).stdout == data + b"\n"


def test_cli_session(d):
    """Commands on standard input, as a person types them."""
    typed = b"PING\nRUN p 'echo a b'\nHELLO 3\nPOOLS\nNONSENSE\nSUBMIT p \"echo x\"\nQUIT\n"
    r = cli(d, stdin=typed)
    assert b"PONG\na b\n" in r.stdout and b"unknown command" in r.stdout
    assert re.search(rb"^[0-9]{10,16}$", r.stdout, re.M)


def test_cli_repeats(d):
    r = cli(d, "-r", "20", "RUN", "p", "echo again")
    assert r.stdout == b"again\n" * 20


@pytest.mark.parametrize("args", [[], ["-3"]])
def test_cli_multi(d, args):
    """With -3 it has the connection speak RESP3."""
    typed = b"MULTI\nRUN p 'echo a'\nPING\nEXEC\nMULTI\nNONSENSE\nEXEC\n"
    r = cli(d, *args, stdin=typed)
    out = r.stdout + r.stderr
    assert b"OK\nQUEUED\nQUEUED\na\nPONG\nOK\n" in r.stdout, out
    assert b"EXECABORT Transaction discarded because of previous errors." in out


def test_cli_mass_insertion(d):
    """RESP from a file: it counts replies and errors until that of its own last ECHO."""
    jobs = b"".join(lib.encode("RUN", "p", "echo %d" % i) for i in range(1000))
    r = cli(d, "--pipe", stdin=jobs)
    assert r.returncode == 0 and b"errors: 0, replies: 1000\n" in r.stdout, r
    assert d.pool("p")["done"] == 1000
    r = cli(d, "--pipe", stdin=lib.encode("RUN", "p", "err one") + lib.encode("PING"))
    assert r.returncode == 1 and b"errors: 1, replies: 2\n" in r.stdout
    assert r.stderr == b"FAILED one\n"


# ---- redis-cli on a terminal -----------------------------------------------------------


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *command, env):
        self.fd, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        self.proc = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
        )
        os.close(theirs)
        self.seen = b""

    def expect(self, pattern):
        """Read until it is there; what comes behind it is for the next time."""
        end = time.monotonic() + lib.DEADLINE
        while not (m := re.search(pattern, self.seen)):
            assert time.monotonic() < end, "no %r: %r" % (pattern, self.seen[-2000:])
            if not select.select([self.fd], [], [], 0.1)[0]:
                continue
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:  # EIO: its other end is closed
                assert re.search(pattern, self.seen), "ended: %r" % self.seen[-2000:]
        self.seen = self.seen[m.end() :]
        return m

    def type(self, text):
        os.write(self.fd, text)

    def close(self):
        os.close(self.fd)
        self.proc.kill()
        self.proc.wait()


@pytest.fixture(params=[[], ["-3"]], ids=["resp2", "resp3"])
def terminal(d, request):
    """redis-cli at its prompt; it has read COMMAND DOCS, and not aborted on it."""
    need("redis-cli")
    env = lib.base_env(TERM="xterm", HOME=str(d.dir))
    t = Terminal("redis-cli", "-s", d.socket, *request.param, env=env)
    t.expect(rb"control\.sock> ")
    yield t
    t.close()


def plain(text):
    """Without colours."""
    return re.sub(rb"\x1b\[[0-9;]*m", b"", text)


def test_terminal_help(terminal):
    t = terminal
    for what, shown in (
        (b"run", rb"RUN pool .* payload\r.*summary: Give a job to a pool.*group: submit"),
        (b"client kill", rb"CLIENT KILL ID id \[SKIPME YES\|NO\]\r.*summary: Close"),
        (b"@admin", rb"DRAIN.*PAUSE pool|PAUSE pool.*DRAIN"),
    ):
        t.type(b"help " + what + b"\r")
        m = t.expect(rb"(?s)\n(.*)control\.sock> $")
        assert re.search(rb"(?s)" + shown, plain(m[1])), m[1]
    t.type(b"quit\r")
    assert t.proc.wait(lib.DEADLINE) == 0


def test_terminal_hints(terminal):
    """What is still to be typed is shown behind the cursor, and TAB completes."""
    t = terminal
    t.type(b"run ")
    t.expect(rb"run \x1b\[[0-9;]*mpool \[KEY key\].* payload\x1b")
    t.type(b"\x15client k\t")
    t.expect(rb"CLIENT KILL\x1b\[[0-9;]*m ID id \[SKIPME YES\|NO\]\x1b")


def test_terminal_messages(d, terminal):
    t = terminal
    t.type(b"subscribe pool.p\r")
    t.expect(rb'1\) "message"\r\n2\) "pool\.p"\r\n3\) "state=ok workers=2 ')
    t.type(b"\x03")  # what ends it, and redis-cli


def test_terminal_transaction(terminal):
    t = terminal
    t.type(b"multi\r")
    t.expect(rb"\r\nOK\r\n.*sock\(TX\)> ")
    t.type(b"run p 'echo a b'\r")
    t.expect(rb"\r\nQUEUED\r\n.*sock\(TX\)> ")
    t.type(b"exec\r")
    t.expect(rb'\r\n1\) "a b"\r\n.*sock> ')


# ---- redis-benchmark --------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["-P", "16"], ["-3"]])
def test_benchmark(d, more):
    need("redis-benchmark")
    options = ["-s", d.socket, "-c", "20", "-n", "2000", "-q", *more]
    r = run("redis-benchmark", *options, "RUN", "hello", "hi")
    out = (r.stdout + r.stderr).decode()
    assert r.returncode == 0, out
    assert "requests per second" in out and "rror" not in out, out
    assert d.pool("hello")["done"] == 2000


def test_benchmark_of_ping(d):
    need("redis-benchmark")
    r = run("redis-benchmark", "-s", d.socket, "-c", "10", "-n", "2000", "-q", "PING")
    assert r.returncode == 0 and b"requests per second" in r.stdout, r.stdout + r.stderr
