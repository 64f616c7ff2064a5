# SPDX-License-Identifier: MIT
"""preforkctl logs: how it calls journalctl, and what it makes of what that prints.

Against a journalctl of the test's own; with the real one it is test_s_ctl.py.
"""
import json
import os
import struct

import pytest

import lib
from ctl import Ctl, Running, Terminal
from lib import PREFORKCTL, pool

FAKE = r"""#!/usr/bin/env python3
import json, os, sys
with open(os.environ["FAKE_ARGS"], "w") as f:
    json.dump(sys.argv[1:], f)
with open(os.environ["FAKE_OUTPUT"], "rb") as f:
    sys.stdout.buffer.write(f.read())
sys.stdout.flush()
sys.exit(int(os.environ.get("FAKE_STATUS", 0)))
"""


class Journal:
    """What is asked of it, and what it answers."""

    def __init__(self, directory):
        program = directory / "journalctl"
        program.write_text(FAKE)
        program.chmod(0o755)
        self.args, self.output = directory / "args", directory / "output"
        self.output.write_bytes(b"")
        self.env = lib.base_env(
            PATH="%s:%s" % (directory, os.environ["PATH"]),
            FAKE_ARGS=str(self.args),
            FAKE_OUTPUT=str(self.output),
            PREFORKD_SOCKET=str(directory / "nobody.sock"),
            TZ="UTC",
        )

    def logs(self, *args, status=0, env=None, **more):
        """Its output, and what was said on standard error."""
        self.args.unlink(missing_ok=True)
        env = {**self.env, **(env or {})}
        r = lib.run(PREFORKCTL, "logs", *args, env=env, **more)
        assert r.returncode == status, r
        return r.stdout.decode(), r.stderr.decode()

    def asked(self, *args, **more):
        """The words that it was called with, less those that are always there."""
        self.logs(*args, **more)
        words = json.loads(self.args.read_text())
        assert words[0] == "--no-pager"
        return [w for w in words[1:] if not w.startswith("--output-fields=")]

    def refused(self, *args):
        """A mistake: it was not called."""
        said = self.logs(*args, status=64)[1]
        assert not self.args.exists()
        return said

    def entry(self, *, raw=b"", **fields):
        fields = {"__REALTIME_TIMESTAMP": 1700000000123456, "PRIORITY": 6, **fields}
        text = "".join("%s=%s\n" % f for f in fields.items())
        with open(self.output, "ab") as f:
            f.write(b"__CURSOR=s=1;i=2\n" + text.encode() + raw + b"\n")


def binary(name, value):
    return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"


@pytest.fixture
def journal(tmp):
    return Journal(tmp)


AT = "2023-11-14 22:13:20 "


# ---- the command -------------------------------------------------------------------

POOL = "PREFORKD_POOL=thumbs"


@pytest.mark.parametrize(
    "args, words",
    [
        ([], ["--output=export", "--lines=100", "SYSLOG_IDENTIFIER=preforkd"]),
        (["thumbs"], ["--output=export", "--lines=100", POOL]),
        (["thumbs", "-f"], ["--output=export", "--follow", POOL]),
        (["-n", "5", "-f", "thumbs"], ["--output=export", "--follow", "--lines=5", POOL]),
        (["thumbs", "-a"], ["--output=export", "--lines=all", POOL]),
        (
            ["thumbs/3", "--job", "77"],
            ["--output=export", "--lines=100", POOL, "PREFORKD_WORKER=3", "PREFORKD_JOB=77"],
        ),
        (["--worker", "0"], ["--output=export", "--lines=100", "PREFORKD_WORKER=0"]),
        (["--since", "10m", "--job=1"], ["--output=export", "--since=-600000000us", "PREFORKD_JOB=1"]),
        (["thumbs", "--since", "today"], ["--output=export", "--since=today", POOL]),
        (["thumbs", "--since", "-1h"], ["--output=export", "--since=-1h", POOL]),
        (
            ["thumbs", "--since", "today", "-n", "2"],
            ["--output=export", "--lines=all", "--since=today", POOL],
        ),
        (["thumbs", "--level", "error"], ["--output=export", "--lines=100", "--priority=err", POOL]),
        (["thumbs", "--level=info"], ["--output=export", "--lines=100", "--priority=info", POOL]),
        (["thumbs", "--json"], ["--output=json", "--lines=100", POOL]),
        (["thumbs", "-o", "verbose", "-f"], ["--output=verbose", "--follow", POOL]),
        # no shell, and no word of its own
        (["--since", "$(id); x", "-o", "-f x"], ["--output=-f x", "--since=$(id); x"]),
    ],
)
def test_command(journal, args, words):
    assert [w for w in journal.asked(*args) if w in words or not w.startswith("SYSLOG")] == words


@pytest.mark.parametrize(
    "args, said",
    [
        (["--all", "--", "-f"], "not a pool's name"),
        (["--", "--file=/etc/shadow"], "not a pool's name"),
        (["_UID=0"], "not a pool's name"),
        (["+"], "not a pool's name"),
        (["a b"], "not a pool's name"),
        (["p\n"], "not a pool's name"),
        ([""], "not a pool's name"),
        (["/etc/passwd"], "not a pool's name"),
        (["p/"], "not a worker's number"),
        (["p/x"], "not a worker's number"),
        (["p/1/2"], "not a worker's number"),
        (["p/1", "--worker", "1"], "named twice"),
        (["--worker", "-1"], "not a worker's number"),
        (["--worker", "1 + _UID=0"], "not a worker's number"),
        (["--job", "x"], "not a job's id"),
        (["--job", "99999999999999999999"], "not a job's id"),
        (["--level", "loud"], "one of error warning notice info debug"),
        (["--level", "err"], "one of error"),
        (["--level", "error warning"], "one of error"),
        (["-n", "0"], "not a number"),
        (["a", "b"], "does not take"),
        (["--nonsense"], "does not take"),
        (["--folow"], "did you mean --follow"),
    ],
)
def test_mistakes(journal, args, said):
    assert said in journal.refused(*args)


# ---- the lines ---------------------------------------------------------------------


def test_lines(journal):
    about = {"PREFORKD_POOL": "thumbs", "PREFORKD_WORKER": 3, "PREFORKD_JOB": 77}
    journal.entry(MESSAGE="hello = world", SYSLOG_IDENTIFIER="preforkd", **about)
    journal.entry(MESSAGE="degraded", PRIORITY=3, PREFORKD_POOL="thumbs")
    journal.entry(MESSAGE="it exited", PRIORITY=4, PREFORKD_POOL="thumbs", PREFORKD_WORKER=0)
    journal.entry(MESSAGE="thumbs/3 job 77: job failed", **about)
    journal.entry(MESSAGE="thumbs/2: not its own", **about)
    journal.entry(MESSAGE="thumbs: ", PREFORKD_POOL="thumbs")
    journal.entry(MESSAGE="Started it.", SYSLOG_IDENTIFIER="systemd")
    journal.entry(MESSAGE="", SYSLOG_IDENTIFIER="preforkd")
    journal.entry(SYSLOG_IDENTIFIER="no message")
    journal.entry(PREFORKD_POOL="p", raw=binary("MESSAGE", b"two\nlines\x1b[31m\xff\n\nPRIORITY=0"))
    journal.entry(MESSAGE="é", PRIORITY="x", raw=binary("UNKNOWN", b"MESSAGE=not this"))
    journal.entry(MESSAGE="x" * 100000, PREFORKD_POOL="p")
    out, said = journal.logs()
    assert out.splitlines() == [
        AT + "thumbs/3 job 77: hello = world",
        AT + "thumbs: error: degraded",
        AT + "thumbs/0: warning: it exited",
        AT + "thumbs/3 job 77: job failed",
        AT + "thumbs/3 job 77: thumbs/2: not its own",
        AT + "thumbs: ",
        AT + "systemd: Started it.",
        AT + "preforkd: ",
        AT + "p: two\\x0alines\\x1b[31m\\xff\\x0a\\x0aPRIORITY=0",
        AT + ": é",
        AT + "p: " + "x" * 100000,
    ]
    assert "no daemon: there is no socket" in said and said.count("\n") == 1


def test_colours(journal):
    """On a terminal, of what is wrong."""
    journal.entry(MESSAGE="bad", PRIORITY=3, PREFORKD_POOL="p")
    journal.entry(MESSAGE="fine", PRIORITY=6, PREFORKD_POOL="p")
    t = Terminal(PREFORKCTL, "logs", "p", env={**journal.env, "TERM": "xterm"})
    assert t.end() == 0
    assert AT + "p: \033[31merror: bad\033[0m\n" + AT + "p: fine\n" in t.text()


def test_the_newest_of_those_since(journal):
    for i in range(10):
        journal.entry(MESSAGE="line %d" % i, PREFORKD_POOL="p")
    assert journal.logs("--since", "1h", "-n", "3")[0].splitlines() == [
        AT + "p: line %d" % i for i in (7, 8, 9)
    ]
    assert len(journal.logs("--since", "1h", "-n", "30")[0].splitlines()) == 10
    assert len(journal.logs("--since", "1h")[0].splitlines()) == 10


def test_its_own_format_is_passed_on(journal):
    journal.output.write_bytes(b"{\x00anything}\n")
    assert journal.logs("--json")[0] == "{\x00anything}\n"
    assert journal.logs("-o", "cat", status=3, env={"FAKE_STATUS": "3"})[0]


def test_no_lines(journal):
    assert "has no such lines" in journal.logs("p")[1]
    assert "has no such lines" not in journal.logs("p", status=1, env={"FAKE_STATUS": "1"})[1]


@pytest.mark.parametrize("garbage", [b"no equals sign\n\n\n\n\n\n\n\n\n\n\n\n", b"A\n" + b"\xff" * 30])
def test_garbage(journal, garbage):
    journal.entry(MESSAGE="before", PREFORKD_POOL="p")
    with open(journal.output, "ab") as f:
        f.write(garbage)
    out, said = journal.logs("p")
    assert out == AT + "p: before\n" and "not to be read" in said


def test_no_journalctl(tmp):
    env = lib.base_env(PATH=str(tmp), PREFORKD_SOCKET=str(tmp / "nobody.sock"))
    for args in ([], ["--json"], ["-f"]):
        r = lib.run(PREFORKCTL, "logs", *args, env=env)
        assert r.returncode == 71 and b"cannot run journalctl" in r.stderr and r.stdout == b""


# ---- a daemon ----------------------------------------------------------------------


def test_log_that_is_elsewhere(start, journal):
    """Not under systemd its lines are not in the journal: it says where they are."""
    d = start(pool("p"))
    said = Ctl(d)("logs", "p", status=1, env=journal.env).stderr.decode()
    assert "standard error, %s\n" % d.logfile in said and "tail -f %s\n" % d.logfile in said
    assert not journal.args.exists()


def test_daemon_that_hangs(start, journal):
    d = start(pool("p"))
    journal.entry(MESSAGE="hello", PREFORKD_POOL="p")
    d.send_signal(lib.signal.SIGSTOP)
    try:
        r = Ctl(d)("logs", "p", env=journal.env)
    finally:
        d.send_signal(lib.signal.SIGCONT)
    assert r.stdout.decode() == AT + "p: hello\n" and b"several daemons" in r.stderr


@pytest.mark.skipif(not lib.ROOT, reason="needs root: acts as another user")
def test_no_permission_is_no_hindrance(start, journal, tmp):
    d = start(pool("p"))
    journal.entry(MESSAGE="hello", PREFORKD_POOL="p")
    tmp.chmod(0o777)
    other = {"user": 4001, "group": 4001, "extra_groups": []}
    out, said = journal.logs("p", env={"PREFORKD_SOCKET": d.socket}, **other)
    assert out == AT + "p: hello\n" and "no permission" in said


def test_nobody_reads(journal):
    """A reader that goes ends it, though no line comes."""
    program = journal.args.parent / "journalctl"
    program.write_text("#!/bin/sh\nprintf '__CURSOR=x\\nMESSAGE=one\\n\\n'\nexec sleep 1000\n")
    r = Running("env", *["%s=%s" % kv for kv in journal.env.items()], PREFORKCTL, "logs", "-f")
    r.wait_out(b": one\n")
    r.proc.stdout.close()
    assert r.proc.wait(lib.DEADLINE) == 0
    r.proc.stderr.close()
