# SPDX-License-Identifier: MIT
"""preforkctl map: its options, and what they make of results, failures and the end."""
import os
import subprocess

import pytest

import lib
from lib import ACT, PREFORKCTL, pool, run, script


@pytest.fixture
def d(start):
    return start(
        pool("p", workers=4),
        pool("one", workers=1),
        pool("two", workers=2),
        pool("frame", script("frame.py"), protocol="frame"),
    )


def map_pool(d, name, data, *args, status=0):
    r = run(PREFORKCTL, "-s", d.socket, "map", *args, name, stdin=data)
    assert r.returncode == status, r.stderr.decode()
    return r


def map_own(*args, stdin=b"", status=0):
    r = run(PREFORKCTL, "map", *args, stdin=stdin)
    assert r.returncode == status, r.stderr.decode()
    return r


class Map:
    """A map that is fed and read by hand."""

    def __init__(self, d, name, *args):
        self.proc = subprocess.Popen(
            [PREFORKCTL, "-s", d.socket, "map", *args, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=lib.base_env(),
        )

    def put(self, *lines):
        self.proc.stdin.write(b"".join(line + b"\n" for line in lines))
        self.proc.stdin.flush()

    def get(self):
        return self.proc.stdout.readline()

    def end(self, status=0):
        self.proc.stdin.close()
        rest = self.proc.stdout.read()
        self.said = self.proc.stderr.read()
        assert self.proc.wait(lib.DEADLINE) == status, self.said
        self.proc.stdout.close(), self.proc.stderr.close()
        return rest


# ---- input ------------------------------------------------------------------------------


def test_null(d):
    data = b"a\nb\0\0c"
    assert map_pool(d, "frame", data, "-0").stdout == b"a\nb\n\nc\n"
    r = map_pool(d, "p", data, "--null", status=1)
    assert r.stdout == b"\n\nc\n"
    assert b"line 1: BADPAYLOAD" in r.stderr and b"frame" in r.stderr


def test_a_carriage_return_belongs_to_the_line(d):
    assert map_pool(d, "frame", b"a\r\n\r\n").stdout == b"a\r\n\r\n"


def test_nul_for_a_line_worker_is_named(d):
    r = map_pool(d, "p", b"echo a\nb\0c\n", status=1)
    assert r.stdout == b"a\n\n" and b"line 2: BADPAYLOAD" in r.stderr


# ---- output -----------------------------------------------------------------------------


def test_unordered(d):
    """A result does not wait for that of a line before it."""
    gate = d.gate()
    m = Map(d, "two", "--unordered")
    m.put(b"gate " + gate.path.encode(), b"echo 1", b"echo 2")
    gate.arrived()
    assert {m.get(), m.get()} == {b"1\n", b"2\n"}
    m.put(*(b"echo %d" % i for i in range(3000)))  # more than any window
    assert {m.get() for i in range(3000)} == {b"%d\n" % i for i in range(3000)}
    gate.release()
    assert m.end() == b"gate\n" and m.said == b""


def test_unordered_has_no_place_for_failures(d):
    r = map_pool(d, "p", b"err x\necho a\n", "--unordered", status=1)
    assert r.stdout == b"a\n" and b"line 1: FAILED x" in r.stderr


def test_unordered_private():
    data = b"".join(b"echo %d\n" % i for i in range(2000))
    r = map_own("-j3", "--unordered", "--", ACT, stdin=data)
    assert sorted(r.stdout.split()) == sorted(b"%d" % i for i in range(2000))


def test_unordered_over_a_small_queue(start):
    d = start(pool("small", workers=1, queue={"limit": 1}))
    data = b"".join(b"echo %d\n" % i for i in range(300))
    r = map_pool(d, "small", data, "--unordered")
    assert sorted(r.stdout.split()) == sorted(b"%d" % i for i in range(300))


def test_tag(d):
    r = map_pool(d, "p", b"echo a\nerr b\necho\n", "--tag", status=1)
    assert r.stdout == b"echo a\ta\nerr b\t\necho\t\n"
    assert map_pool(d, "frame", b"a\nb\0", "-0", "--tag").stdout == b"a\nb\ta\na\nb\tb\n"
    assert map_pool(d, "frame", b"a\n\0", "-0", "--tag").stdout == b"a\n\ta\na\n\t\n"


# ---- failures ---------------------------------------------------------------------------


def test_failures_are_counted(d):
    r = map_pool(d, "p", b"echo a\nerr b\necho c\n", status=1)
    assert r.stderr.decode().splitlines()[1].startswith("preforkctl: 1 of 3 lines failed, ")


def test_summary(d):
    r = map_pool(d, "p", b"echo a\necho b\n", "--summary")
    assert r.stderr.startswith(b"preforkctl: 2 lines, ") and r.stderr.count(b"\n") == 1
    r = map_pool(d, "p", b"echo a\n", "--summary")
    assert r.stderr.startswith(b"preforkctl: 1 line, ")


def test_retries(d, tmp):
    """Each try is told to a file, by a worker that fails until the third."""
    worker = tmp / "worker"
    worker.write_text(
        "#!/bin/sh\n"
        "while read -r job; do\n"
        "  echo x >>$job\n"
        "  case $(wc -l <$job) in 1) echo ERR no;; 2) exit 1;; *) echo OK good;; esac\n"
        "done\n"
    )
    worker.chmod(0o755)
    lines = [b"%s/%d" % (str(tmp).encode(), i) for i in range(5)]
    r = map_own("-j2", "--retries", "2", "--", str(worker), stdin=b"\n".join(lines))
    assert r.stdout == b"good\n" * 5 and b"line" not in r.stderr
    again = [b"%s/again" % str(tmp).encode()]
    r = map_own("-j1", "--retries", "1", "--", str(worker), stdin=again[0], status=1)
    assert b"line 1: CRASHED" in r.stderr and b"(2 attempts)" in r.stderr


def test_retries_after_a_timeout(d):
    r = map_pool(d, "one", b"hang\necho a\n", "--timeout", "50ms", "--retries", "2", status=1)
    assert b"(3 attempts)" in r.stderr and r.stdout == b"\na\n"
    assert d.pool("one")["timeout"] == 3


def test_retries_are_not_for_bad_payloads(d):
    r = map_pool(d, "p", b"a\0b\n", "--retries", "5", status=1)
    assert b"BADPAYLOAD" in r.stderr and b"attempts" not in r.stderr


# ---- a command for each line ----------------------------------------------------------------


def each(*args, stdin=b"", status=0):
    r = map_own("-j2", "--each", *args, stdin=stdin, status=status)
    return r.stdout if status == 0 else r


def test_each():
    data = b"a b\n$x;\"'\n\n"
    assert each("--", "echo", "<{}>", stdin=data) == b"<a b>\n<$x;\"'>\n<>\n"
    many = b"".join(b"%d\n" % i for i in range(200))
    assert each("--", "echo", "{}", stdin=many) == many


def test_each_line_on_standard_input():
    assert each("--", "tr", "a-z", "A-Z", stdin=b"a\nb\n") == b"A\nB\n"


def test_each_writes_output_as_it_is(tmp):
    """Nothing where there is none; any bytes; an end of line only where there is none."""
    assert each("--", "true", stdin=b"a\nb\n") == b""
    assert each("--", "printf", "a\\nb\\n\\n", stdin=b"x") == b"a\nb\n\n"
    assert each("--", "printf", "a\\nb", stdin=b"x") == b"a\nb\n"
    (tmp / "bytes").write_bytes(bytes(range(256)))
    assert each("--", "cat", "{}", stdin=b"%s/bytes" % str(tmp).encode()) == (
        bytes(range(256)) + b"\n"
    )


def test_each_with_null_and_tag(tmp):
    data = b"a\nb\0c"
    assert each("-0", "--", "printf", "<%s>", "{}", stdin=data) == b"<a\nb>\n<c>\n"
    assert each("--tag", "--", "printf", "1\\n2", stdin=b"a\n") == b"a\t1\na\t2\n"


def test_each_that_fails():
    script = 'echo out; [ "$0" != b ] || exit 3'
    r = each("--", "sh", "-c", script, "{}", stdin=b"a\nb\nc\n", status=1)
    assert r.stdout == b"out\nout\n"
    assert b"line 2: FAILED exit status 3" in r.stderr


def test_each_tries_again(tmp):
    mark = tmp / "mark"
    script = "[ -e %s ] && echo fine || { touch %s; exit 75; }" % (mark, mark)
    assert each("--retries", "1", "--", "sh", "-c", script, stdin=b"a\n") == b"fine\n"


def test_each_without_the_program():
    """The line is lost with workers that end at once, or hears that none comes up first."""
    r = run(PREFORKCTL, "map", "-j2", "--each", "--", "no-such-program", stdin=b"a\n")
    assert (r.returncode, b"CRASHED" in r.stderr, b"DOWN" in r.stderr) in (
        (1, True, False),
        (69, False, True),
    ), r.stderr.decode()
    assert b"no-such-program" in r.stderr


# ---- halting ----------------------------------------------------------------------------


def test_halt_soon(d):
    """What runs is finished, and its results come; nothing new is begun."""
    gate = d.gate()
    m = Map(d, "two", "--halt", "soon,fail=2")
    m.put(b"gate " + gate.path.encode(), b"err x", b"err y", *[b"echo"] * 10)
    gate.arrived()
    assert b"line 2" in m.proc.stderr.readline()
    assert b"line 3" in m.proc.stderr.readline()
    gate.release()
    assert m.end(status=1) == b"gate\n\n\n"
    assert b"halted: 2 of the lines failed" in m.said
    assert d.pool("two")["done"] == 1


def test_halt_now(d):
    gate = d.gate()
    m = Map(d, "two", "--halt", "now")
    m.put(b"gate " + gate.path.encode())
    gate.arrived()
    m.put(b"err x", *[b"echo"] * 10)
    assert m.end(status=1) == b""
    assert b"line 2: FAILED x" in m.said and b"halted" in m.said
    gate.release()


def test_halt_now_ends_a_private_daemons_jobs(tmp):
    os.mkfifo(tmp / "gate")
    data = b"hang\nerr x\n" + b"echo\n" * 10
    r = map_own("-j2", "--halt", "now,fail=1", "--", ACT, stdin=data, status=1)
    assert r.stdout == b"" and b"halted" in r.stderr


def test_halt_at_success(d):
    r = map_pool(d, "one", b"err x\necho found\nerr y\n", "--halt", "now,success=1")
    assert r.stdout == b"\nfound\n" and b"line 3" not in r.stderr


def test_halt_at_a_share(d):
    data = b"err x\n" * 3 + b"echo a\n" * 97
    r = map_pool(d, "one", data, "--halt", "soon,fail=10%", status=1)
    assert r.stdout == b"\n\n\n" and b"halted: 10% of the lines failed" in r.stderr


def test_halt_never_does(d):
    data = b"err x\n" * 20 + b"echo a\n"
    assert map_pool(d, "p", data, "--halt", "never", status=1).stdout == b"\n" * 20 + b"a\n"


# ---- usage ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args,said",
    [
        (["--halt", "later", "p"], "never, now or soon"),
        (["--each", "p"], "behind --"),
        (["p", "--", "cat", "-u"], "map -- cat ..."),
        (["cat", "-"], "map -- cat ..."),
        (["--", ""], "the command must not be empty"),
        ([""], "the pool's name must not be empty"),
        (["-j", "4097", "--", "cat"], "from 1 to 4096"),
        (["--each", "--filter", "--", "cat"], "not several"),
        (["--joblog", "/x", "--resume", "/x", "p"], "same"),
        (["--retries", "x", "p"], "number"),
    ],
)
def test_usage(args, said):
    r = run(PREFORKCTL, "map", *args)
    assert r.returncode == 64 and said in r.stderr.decode()


# ---- long lines -------------------------------------------------------------------------


def test_private_lines_as_large_as_a_line_may_be():
    """No limit of a pool stands between a map and its own workers."""
    data = (b"y" * (64 << 20)) + b"\n" + b"x" * ((64 << 20) + 1) + b"\nz\n"
    r = map_own("-j1", "--frame", "--", script("frame.py"), stdin=data, status=1)
    assert r.stdout == data[: (64 << 20) + 1] + b"\nz\n"
    assert b"line 2: TOOBIG" in r.stderr


def test_line_that_is_refused_while_it_is_sent(start):
    """The rest of it is sent all the same: what follows is not taken for a part of it."""
    d = start(pool("small", job={"max_payload": "1K"}))
    data = b"echo a\n" + b"x" * (20 << 20) + b"\necho b\n"
    r = map_pool(d, "small", data, status=1)
    assert r.stdout == b"a\n\nb\n" and b"line 2: TOOBIG" in r.stderr
