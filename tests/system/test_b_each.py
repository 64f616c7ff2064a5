# SPDX-License-Identifier: MIT
"""preforkd-each: a program started for every job."""
import os
import signal

import pytest

import lib
from lib import EACH, PREFORKCTL, Error, pool, run

MAX_ARGUMENT = 32 * os.sysconf("SC_PAGESIZE")  # with its NUL


def each(name, *command, **keys):
    return pool(name, EACH, *command, **keys)


def shell(name="p", **keys):
    """A pool whose jobs are shell commands."""
    return each(name, "sh", "-c", "{}", **keys)


def only_worker(d, name="p"):
    """The pool's one worker, when no other process of the daemon's is there."""

    def look():
        (w,) = d.workers(name)
        return w["state"] == "idle" and lib.marked(d.mark) == [w["pid"]] and w["pid"]

    return lib.poll(look, "the worker alone: %s" % lib.marked(d.mark))


# ---- jobs in, results out ----------------------------------------------------------------


@pytest.mark.parametrize("level", ["line", "frame"])
def test_where_the_payload_goes(start, level):
    d = start(
        each("stdin", "tr", "a-z", "A-Z", protocol=level),
        each("alone", "printf", "%s", "{}", protocol=level),
        each("inside", "printf", "%s|%s", "<{}>{}", "-{}-", protocol=level),
        each("null", "sh", "-c", "printf %s \"$1\"; wc -c", "sh", "{}", protocol=level),
        each("dash", "--", "printf", "%s", "x", protocol=level),
        each("place", "printf", "{}", "a{", "}b", protocol=level),
    )
    c = d.client()
    assert c.cmd("RUN", "stdin", "abc d") == b"ABC D"
    assert c.cmd("RUN", "stdin", "") == b""
    assert c.cmd("RUN", "alone", "a 'b' $c *") == b"a 'b' $c *"
    assert c.cmd("RUN", "alone", "") == b""
    assert c.cmd("RUN", "alone", "{}") == b"{}", "what is put in is not looked at again"
    assert c.cmd("RUN", "inside", "x") == b"<x>x|-x-"
    assert c.cmd("RUN", "null", "x").split() == [b"x0"], "standard input is empty"
    assert c.cmd("RUN", "dash", "unused") == b"x"
    assert c.cmd("RUN", "place", "%s:%s") == b"a{:}b"


ENDS = [
    # what a job does, the error's code, what it says
    ("exit 3", "FAILED", "exit status 3"),
    ("echo 1st >&2; echo 'last  one' >&2; echo >&2; exit 4", "FAILED", "exit status 4: last  one"),
    ("printf 'no end' >&2; exit 255", "FAILED", "exit status 255: no end"),
    ("echo busy >&2; exit 75", "FAILED", "exit status 75: busy"),
    ("kill -9 $$", "FAILED", "killed by signal 9 (SIGKILL)"),
    ("echo oh >&2; kill -SEGV $$", "FAILED", "killed by signal 11 (SIGSEGV): oh"),
    ("echo partial; exit 1", "FAILED", "exit status 1"),
    ("printf '\\033[31mred\\n' >&2; exit 1", "FAILED", "exit status 1: \\x1b[31mred"),
]


@pytest.mark.parametrize("level", ["line", "frame"])
def test_ends(start, level):
    d = start(shell(protocol=level))
    c = d.client()
    for job, code, text in ENDS:
        reply = c.cmd("RUN", "p", job)
        assert isinstance(reply, Error) and reply.code == code, (job, reply)
        assert reply.rest.endswith(text), (job, reply)
    assert c.cmd("RUN", "p", "echo oops >&2; echo fine") == (b"fine" + b"\n" * (level == "frame"))
    assert "pool=p" in d.wait_log("^.*oops").group(0), "standard error is in the log"
    assert d.pool("p")["spawned"] == 1


def test_a_line_pool_takes_one_line(start):
    d = start(shell())
    c = d.client()
    for job, result in (("echo x", b"x"), ("printf x", b"x"), ("echo", b""), ("true", b"")):
        assert c.cmd("RUN", "p", job) == result
    for job in ("seq 2", "echo; echo", "printf 'a\\nb'"):
        reply = c.cmd("RUN", "p", job)
        assert isinstance(reply, Error) and 'protocol = "frame"' in reply.text, job
    assert c.cmd("RUN", "p", "echo x") == b"x"
    assert d.pool("p")["spawned"] == 1


def test_frame_takes_any_bytes(start):
    d = start(
        each("cat", "cat", protocol="frame", job={"max_payload": "8M"}),
        each("true", "true", protocol="frame", job={"max_payload": "8M"}),
        each("both", "sh", "-c", "cat; cat $0 >&2; cat $0", lib.EACH, protocol="frame"),
    )
    c = d.client()
    data = bytes(range(256)) * (4 << 12)
    assert c.cmd("RUN", "cat", data) == data
    assert c.cmd("RUN", "cat", b"two\nlines\n") == b"two\nlines\n"
    assert c.cmd("RUN", "true", data) == b"", "that it does not read all is no failure"
    with open(EACH, "rb") as f:
        assert c.cmd("RUN", "both", b"\0head") == b"\0head" + f.read()


def test_line_takes_megabytes_too(start):
    d = start(each("cat", "cat", job={"max_payload": "8M"}))
    data = b"x" * 5000000
    assert d.cmd("RUN", "cat", data) == data


def test_what_cannot_be_an_argument(start):
    d = start(
        each("echo", "echo", "{}", protocol="frame"),
        each("around", "echo", "<{}>", "{}{}", protocol="frame"),
        each("many", "echo", *["{}"] * 40, protocol="frame"),
    )
    c = d.client()
    reply = c.cmd("RUN", "echo", b"a\0b")
    assert reply.code == "FAILED" and "NUL" in reply.text
    assert c.cmd("RUN", "echo", b"x" * (MAX_ARGUMENT - 1)) == b"x" * (MAX_ARGUMENT - 1) + b"\n"
    for name, size in (("echo", MAX_ARGUMENT), ("around", MAX_ARGUMENT // 2), ("echo", 1000000)):
        reply = c.cmd("RUN", name, b"x" * size)
        assert reply.code == "FAILED" and "too long for an argument" in reply.text
    reply = c.cmd("RUN", "many", b"x" * (MAX_ARGUMENT - 1))  # all of them are too many bytes
    assert reply.code == "FAILED" and "too long for an argument" in reply.text
    assert [d.pool(name)["spawned"] for name in ("echo", "around", "many")] == [1, 1, 1]


@pytest.mark.parametrize("level", ["line", "frame"])
def test_the_longest_result(start, level):
    d = start(shell(protocol=level, job={"max_result": 1000}))
    c = d.client()
    assert c.cmd("RUN", "p", "printf %01000d 0") == b"0" * 1000
    for job in ("printf %01001d 0", "yes", "yes | cat", "trap '' PIPE; yes 2>/dev/null"):
        reply = c.cmd("RUN", "p", job)
        assert reply.code == "FAILED" and "max_result" in reply.text, (job, reply)
    if level == "line":
        assert c.cmd("RUN", "p", "printf '%01000d\\n' 0") == b"0" * 1000
    assert d.pool("p")["spawned"] == 1
    only_worker(d)


@pytest.mark.parametrize("channel", ["stdio", "fd3", "pipe"])
@pytest.mark.parametrize("level", ["line", "frame"])
def test_channels(start, channel, level):
    """Nothing of the channel is left to the program, whatever the channel is."""
    d = start(shell(protocol=level, channel=channel))
    # Of a program that the shell starts: its own pipes would be in the shell's.
    fds = d.cmd("RUN", "p", "ls /proc/self/fd | tr '\\n' ' '").split()
    assert set(fds) <= {b"0", b"1", b"2", b"3"}
    assert d.cmd("RUN", "p", "ls -l /proc/$$/fd | grep -c socket: || :").strip() == b"0"
    assert d.cmd("RUN", "p", "echo to the log >&2") == b""
    d.wait_log("to the log")
    only_worker(d)


@pytest.mark.parametrize("level", ["line", "frame"])
def test_environment(start, level):
    d = start(each("p", "env", "-0", protocol=level))
    jid = d.cmd("SUBMIT", "p", "x")
    reply = d.cmd("RESULT", jid, "WAIT", "1m")
    env = dict(v.split(b"=", 1) for v in reply.split(b"\0") if v)
    assert env[b"PREFORKD_POOL"] == b"p" and env[b"PREFORKD_WORKER"] == b"0"
    assert b"PREFORKD_PROTOCOL" not in env and b"PREFORKD_CHANNEL" not in env
    known = {k: env[k] for k in (b"PREFORKD_JOB", b"PREFORKD_ATTEMPT") if k in env}
    jid = str(jid, "ascii") if isinstance(jid, bytes) else str(jid)
    expected = {b"PREFORKD_JOB": jid.encode(), b"PREFORKD_ATTEMPT": b"1"}
    assert known == (expected if level == "frame" else {})


def test_signals_are_as_they_should_be(start):
    d = start(each("p", "grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status", protocol="frame"))
    lines = dict(x.split() for x in d.cmd("RUN", "p", "").decode().splitlines())
    ours = ~(3 << 31)  # posix_spawn() leaves the two that are the C library's own ignored
    assert int(lines["SigBlk:"], 16) == 0 and int(lines["SigIgn:"], 16) & ours == 0


def test_a_pipeline_is_kept_in_order(start):
    d = start(each("line", "cat", pipeline=8), each("frame", "cat", protocol="frame", pipeline=8))
    c = d.client()
    for name in ("line", "frame"):
        jobs = [("RUN", name, "job %d" % i) for i in range(50)]
        assert c.pipeline(jobs) == [b"job %d" % i for i in range(50)]


# ---- what is not there --------------------------------------------------------------------


@pytest.mark.parametrize(
    "command, level, status, text",
    [
        (["no-such-program"], "line", 127, "no-such-program"),
        (["/no/such/program", "{}"], "line", 127, "/no/such/program"),
        (["/etc/passwd"], "frame", 126, "Permission denied"),
        (["/usr"], "line", 126, "directory"),
        (["cat"], "filter", 78, 'protocol = "line" or "frame"'),
        ([], "line", 64, "no command"),
        (["--no-such-option", "cat"], "line", 64, "no-such-option"),
    ],
)
def test_a_pool_that_cannot_work_says_why(make, command, level, status, text):
    d = make(each("p", *command, protocol=level))
    d.check_fds = False
    d.start()
    p = d.wait_pool("p", "degraded", lambda p: p["state"] == "degraded")
    assert "status %d" % status in p["last_error"], p
    d.wait_log("preforkd-each: .*" + text)


def test_a_program_that_goes_away(start, tmp):
    program = tmp / "program"
    program.write_text("#!/bin/sh\necho here\n")
    program.chmod(0o755)
    d = start(each("p", str(program)))
    assert d.cmd("RUN", "p", "x") == b"here"
    program.write_text("echo there\n")
    reply = d.cmd("RUN", "p", "x")
    assert reply.code == "FAILED" and "no #! line" in reply.text
    program.unlink()
    reply = d.cmd("RUN", "p", "x")
    assert reply.code == "FAILED" and "No such file" in reply.text
    program.write_text("#!/bin/sh\necho back\n")
    program.chmod(0o755)
    assert d.cmd("RUN", "p", "x") == b"back"
    assert d.pool("p")["spawned"] == 1


def test_by_hand():
    assert run(EACH, "-h").stdout.startswith(b"usage: preforkd-each")
    assert run(EACH, "--version").stdout.startswith(b"preforkd-each ")
    assert run(EACH).returncode == 64
    assert run(EACH, "-x").returncode == 64
    r = run(EACH, "tr", "a-z", "A-Z", stdin=b"one\ntwo\n")
    assert (r.returncode, r.stdout, r.stderr) == (0, b"READY\nOK ONE\nOK TWO\n", b"")
    r = run(EACH, "cat", stdin=b"JIB 1 1 1\nx\n", env=lib.base_env(PREFORKD_PROTOCOL="frame"))
    assert r.returncode == 76 and b"JOB" in r.stderr
    r = run(EACH, "true", stdin=b"half a line")
    assert (r.returncode, r.stdout) == (0, b"READY\n"), "a job that did not come whole is none"


# ---- ends ---------------------------------------------------------------------------------


def start_tree(d, gate, name="p"):
    """A job of several processes, all of which are there."""
    jid = d.cmd("SUBMIT", name, "sleep 1000 | sleep 1000 & cat %s | sleep 1000" % gate.path)
    gate.arrived()
    return jid


def test_cancel_ends_the_whole_tree_and_not_the_worker(start):
    d = start(shell(protocol="frame", job={"grace": "30s"}))
    before = only_worker(d)
    jid = start_tree(d, d.gate())
    assert d.cmd("CANCEL", jid) == 1
    assert only_worker(d) == before
    assert d.cmd("RUN", "p", "echo next") == b"next\n"
    assert d.pool("p")["spawned"] == 1


def test_cancel_of_a_job_that_waits_in_the_worker(start):
    """Two jobs may be there before READY has said that one is enough."""
    env = lib.base_env(PREFORKD_PROTOCOL="frame")
    jobs = b"".join(b"JOB %d 1 1\n%d\n" % (i, i) for i in range(1, 4))
    r = run(EACH, "cat", stdin=jobs + b"CANCEL 2\nCANCEL 7\n", env=env)
    assert r.stdout == b"READY 1\nERR 2 9\ncancelled\nOK 1 1\n1\nOK 3 1\n3\n"


def test_a_job_that_does_not_heed_its_cancel(start):
    d = start(shell(protocol="frame", job={"grace": "200ms"}))
    gate = d.gate()
    jid = d.cmd("SUBMIT", "p", "trap '' TERM; cat %s; sleep 1000" % gate.path)
    gate.arrived()
    assert d.cmd("CANCEL", jid) == 1
    d.wait_pool("p", "a new worker", lambda p: p["spawned"] == 2)
    only_worker(d)


@pytest.mark.parametrize("level", ["line", "frame"])
def test_a_worker_that_is_killed_leaves_nothing_behind(start, level):
    d = start(shell(protocol=level))
    before = only_worker(d)
    jid = start_tree(d, d.gate())
    os.kill(before, signal.SIGKILL)
    assert d.cmd("RESULT", jid, "WAIT", "1m").code == "CRASHED"
    assert only_worker(d) != before


@pytest.mark.parametrize("level", ["line", "frame"])
def test_timeout(start, level):
    d = start(shell(protocol=level, job={"grace": "200ms"}))
    reply = d.cmd("RUN", "p", "TIMEOUT", "200ms", "sleep 1000 | sleep 1000")
    assert reply.code == "TIMEOUT"
    only_worker(d)


@pytest.mark.parametrize("level", ["line", "frame"])
def test_term_to_the_worker_is_passed_on(start, level):
    d = start(shell(protocol=level))
    before = only_worker(d)
    gate = d.gate()
    jid = d.cmd(
        "SUBMIT", "p", "trap 'echo got it; exit 0' TERM; cat %s & sleep 1000 & wait" % gate.path
    )
    gate.arrived()
    os.kill(before, signal.SIGTERM)
    assert d.cmd("RESULT", jid, "WAIT", "1m").strip() == b"got it"
    d.wait_pool("p", "replaced", lambda p: p["spawned"] == 2 and p["idle"] == 1)
    assert only_worker(d) != before


def test_term_without_a_job_is_an_ordinary_end(start):
    d = start(shell())
    assert d.cmd("RUN", "p", "true") == b""
    os.kill(only_worker(d), signal.SIGTERM)
    d.wait_log("worker exited with status 0 after 1 job")


def test_what_it_has_is_finished_at_the_end(start):
    d = start(each("p", "cat", "{}", workers=1), drain="30s")
    gate = d.gate()
    c = d.client()
    c.send("RUN", "p", gate.path)
    gate.arrived()
    d.send_signal(signal.SIGTERM)
    d.wait_log("(?i)drain|stopping|finish")
    os.write(gate.fd, b"after the end\n")
    gate.release()
    assert c.read() == b"after the end"
    assert d.wait() == 0
    d.gone()


def test_what_a_job_leaves_running_does_not_hold_it_up(start):
    d = start(shell(protocol="frame"))
    assert d.cmd("RUN", "p", "sleep 1000 & echo done") == b"done\n"
    assert d.cmd("RUN", "p", "yes >&2 & echo done") == b"done\n"
    os.kill(d.workers("p")[0]["pid"], signal.SIGKILL)  # and it goes with the worker
    d.wait_pool("p", "replaced", lambda p: p["spawned"] == 2 and p["idle"] == 1)
    only_worker(d)


def test_the_example_is_a_pool(make, tmp):
    text = (lib.SRC / "examples/each.conf").read_text()
    assert "/usr/local/bin/preforkd-each" in text
    text = text.replace("/usr/local/bin/preforkd-each", EACH)
    user = 'user = "root"; ' if lib.ROOT else ""
    env = "environment = { %s = \"%s\"; }; "
    d = make()
    text = text.replace("run_as  = { ", "run_as = { " + user + env % tuple(d.mark.split("=")))
    (d.dir / "pool.d").mkdir()
    (d.dir / "pool.d/each.conf").write_text(text)
    d.conf.write_text('control = { listen = "%s"; };\n' % d.socket)
    d.start()
    (tmp / "file").write_text("x" * 1000)
    assert d.cmd("RUN", "each", tmp / "file") == b""
    assert (tmp / "file.gz").exists()
    reply = d.cmd("RUN", "each", tmp / "nothing")
    assert reply.code == "FAILED" and "exit status 1: gzip: " in reply.text


# ---- map ----------------------------------------------------------------------------------


def test_map_over_a_cold_program():
    r = run(PREFORKCTL, "map", "-j", "2", "--", EACH, "tr", "a-z", "A-Z", stdin=b"one\ntwo\n")
    assert (r.returncode, r.stdout) == (0, b"ONE\nTWO\n"), r.stderr
    r = run(PREFORKCTL, "map", "-j", "2", "--", EACH, "sh", "-c", "{}", stdin=b"echo a\nexit 9\n")
    assert r.returncode == 1 and b"exit status 9" in r.stderr and r.stdout.startswith(b"a\n")
