# SPDX-License-Identifier: MIT
"""The helpers for workers: the same jobs by each, at all levels and channels."""
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
import zlib

import pytest

import lib
from lib import BUILD, Error, pool, run, script

LEVELS = ("line", "filter", "frame")
CHANNELS = ("stdio", "fd3", "pipe")
WORKERS = {
    "py": [script("helper.py")],
    "js": [script("helper.js")],
    "sh": [script("helper.sh")],
    "c": [str(BUILD / "tests/workers/helper")],
}
FRAME = 'protocol = "frame"'


@pytest.fixture(params=sorted(WORKERS))
def helper(request):
    if request.param == "js" and not shutil.which("node"):
        pytest.skip("no node here (Debian: apt-get install nodejs)")
    return request.param


def pool_of(helper, name="p", *args, **keys):
    return pool(name, *WORKERS[helper], *args, **keys)


def only_worker(d, name="p"):
    (w,) = d.workers(name)
    return w["pid"]


# ---- answers -----------------------------------------------------------------------------

# A job; what comes at line, and at frame where that is something else. An error is what its
# message has in it. A filter gives the results of line and dies of the errors.
JOBS = [
    ("a b  c", b"a b  c", None),
    ("back\\slash\tand 'quotes' \"$x\" *", b"back\\slash\tand 'quotes' \"$x\" *", None),
    ("", b"", None),
    (" ", b" ", None),
    ("-n", b"-n", None),
    ("caf\u00e9 \u2603", "caf\u00e9 \u2603".encode(), None),
    (b"not \xff utf-8", b"not \xff utf-8", None),
    ("print ERR stray", b"printed", None),
    ("read", b"<none>", None),
    ("fail no such thing", ["no such thing"], None),
    ("throw oh dear", ["oh dear"], None),
    ("retry busy now", ["busy now"], None),
    ("lines", [FRAME], b"two\nlines"),
    ("big 1000", b"x" * 1000, None),
    ("big 1001", ["max_result"], None),
    ("progress", b"after progress", None),
    ("out some of it", b"after out", None),
    ("log 4 careful", b"after log", None),
    ("after all that", b"after all that", None),
]


def check_job(d, name, level, job, at_line, at_frame):
    expected = at_frame if level == "frame" and at_frame is not None else at_line
    reply = d.cmd("RUN", name, job)
    if isinstance(expected, bytes):
        assert reply == expected, (name, job)
        return 0
    assert isinstance(reply, Error), (name, job, reply)
    assert reply.code == ("CRASHED" if level == "filter" else "FAILED"), (name, job, reply)
    assert expected[0] in reply.text, (name, job, reply)
    return level == "filter"


@pytest.mark.parametrize("level", LEVELS)
def test_answers(start, helper, level):
    keys = {"protocol": level, "job": {"max_result": 1000}}
    d = start(*[pool_of(helper, c, channel=c, **keys) for c in CHANNELS])
    for channel in CHANNELS:
        died = sum(check_job(d, channel, level, *job) for job in JOBS)
        p = d.wait_pool(channel, "settled", lambda p: p["idle"] == 1)
        assert p["spawned"] == 1 + died, (channel, p)
    log = d.log()
    assert log.count("ERR stray") >= 6, "what is printed is in the log, by programs too"
    assert log.count("by echo: ERR stray") == 3
    assert len(re.findall(": warning: .*careful$", log, re.M)) == 3, log
    assert log.count("starting") >= 3


@pytest.mark.parametrize("level", ["line", "filter"])
def test_a_result_that_ends_in_cr(start, helper, level):
    """At line it would lose it; of a filter it is a part of the result."""
    d = start(pool_of(helper, protocol=level))
    reply = d.cmd("RUN", "p", "cr")
    if level == "filter":
        assert reply == b"x\r"
    else:
        assert reply.code == "FAILED" and FRAME in reply.text


@pytest.mark.parametrize("channel", CHANNELS)
def test_any_bytes(start, helper, channel):
    job = {"max_payload": "4M"}
    d = start(pool_of(helper, protocol="frame", channel=channel, job=job))
    c = d.client()
    data = bytes(range(256)) * 4096
    if helper == "sh":
        # A shell's variables have no NULs; its files do.
        assert c.cmd("RUN", "p", b"a\n\nb\xff\n\n") == b"a\n\nb\xff\n\n"
        data = b"file " + data
    assert c.cmd("RUN", "p", data) == data
    assert c.cmd("RUN", "p", b"\n") == b"\n"


@pytest.mark.parametrize("level", ["line", "filter"])
def test_long_lines(start, helper, level):
    d = start(pool_of(helper, protocol=level, job={"max_payload": "1M"}))
    data = b"0123456789abcdef" * (2000 if helper == "sh" else 20000)  # a shell reads byte by byte
    assert d.cmd("RUN", "p", data) == data


def test_frame_says_which_job(start, helper):
    d = start(pool_of(helper, protocol="frame"))
    jid = d.cmd("SUBMIT", "p", "who")
    jid = jid.decode() if isinstance(jid, bytes) else str(jid)
    assert d.cmd("RESULT", jid, "WAIT", "1m") == ("%s 1" % jid).encode()


@pytest.mark.parametrize("level", LEVELS)
def test_a_pipeline_is_answered_in_order(start, helper, level):
    keys = {"one_to_one": True} if level == "filter" else {}
    d = start(pool_of(helper, protocol=level, pipeline=8, **keys))
    c = d.client()
    jobs = [("RUN", "p", "job %d" % i) for i in range(30)]
    assert c.pipeline(jobs) == [b"job %d" % i for i in range(30)]
    assert d.pool("p")["spawned"] == 1


@pytest.mark.parametrize("level", LEVELS)
def test_from_start_to_end(start, helper, level):
    """READY is said, and the end of the channel is an ordinary end."""
    ready = {"ready": level != "filter", "timeout": "30s"}
    keys = {"protocol": level, "start": ready, "job": {"grace": "30s"}}
    d = start(*[pool_of(helper, c, channel=c, **keys) for c in CHANNELS])
    for channel in CHANNELS:
        d.wait_pool(channel, "up", lambda p: p["idle"] == 1)
        assert d.cmd("RUN", channel, "x") == b"x"
    d.stop()
    assert d.log().count("worker exited with status 0 after 1 job") == 3, d.log()


def test_a_worker_that_ends_itself(start, helper):
    d = start(pool_of(helper))
    reply = d.cmd("RUN", "p", "exit")
    assert reply.code == "CRASHED" and "status 3" in reply.text
    assert d.cmd("RUN", "p", "x") == b"x"


def heard(d, channel, pool_, job):
    """What is told of a job on a channel, by one who asks when it is over."""
    jid = d.cmd("SUBMIT", pool_, job)
    jid = jid.decode() if isinstance(jid, bytes) else str(jid)
    assert isinstance(d.cmd("RESULT", jid, "WAIT", "1m"), bytes)
    c = d.client()
    assert c.cmd("SUBSCRIBE", "%s.%s" % (channel, jid))[0] == b"subscribe"
    return c.read()[2]


def test_who_follows_a_job(start, helper):
    """Partial output and progress, as they were meant."""
    d = start(pool_of(helper, "line"), pool_of(helper, "frame", protocol="frame"))
    assert heard(d, "progress", "line", "progress") == b"1 3 one third"
    assert heard(d, "progress", "frame", "progress") == b"1 3"
    assert heard(d, "out", "line", "out some  of it") == b"some  of it"
    assert heard(d, "out", "frame", b"out two\nlines\n\xc3\xa9") == b"two\nlines\n\xc3\xa9"


# ---- cancelled, and several at once ------------------------------------------------------


def test_cancel(start, helper):
    if helper == "sh":
        pytest.skip("a shell does not look at its channel while it has a job")
    d = start(pool_of(helper, protocol="frame", job={"grace": "30s"}))
    for _ in range(2):
        gate = d.gate("gate-%d" % _)
        jid = d.cmd("SUBMIT", "p", "cancel " + gate.path)
        gate.arrived()
        assert d.cmd("CANCEL", jid) == 1
        gate.release()
        assert d.cmd("RUN", "p", "next") == b"next"
    assert d.pool("p")["spawned"] == 1


def test_a_cancel_that_comes_late(helper):
    """It is for a job that has its answer."""
    env = lib.base_env(PREFORKD_PROTOCOL="frame")
    jobs = b"JOB 7 1 1\nx\nCANCEL 7\nCANCEL 9\nJOB 8 2 1\ny\n"
    r = run(*WORKERS[helper], stdin=jobs, env=env)
    assert (r.returncode, r.stdout) == (0, b"READY 1\nOK 7 1\nx\nOK 8 1\ny\n"), r.stderr
    assert b"starting" in r.stderr


@pytest.mark.parametrize("half", [b"JOB 8 1 9\n", b"JOB 8 1 9\nhalf", b"JOB 8 1 4\nhalf"])
def test_half_a_job_is_none(helper, half):
    """The channel ends in the middle of one, as it does when the daemon is killed."""
    env = lib.base_env(PREFORKD_PROTOCOL="frame")
    r = run(*WORKERS[helper], stdin=b"JOB 7 1 1\nx\n" + half, env=env)
    assert (r.returncode, r.stdout) == (0, b"READY 1\nOK 7 1\nx\n"), r.stderr


@pytest.mark.parametrize("helper", ["py", "js"])
def test_several_at_once(start, helper):
    if helper == "js" and not shutil.which("node"):
        pytest.skip("no node here (Debian: apt-get install nodejs)")
    d = start(
        pool_of(helper, "p", "--four", protocol="frame", pipeline=8, start={"ready": True}),
        pool_of(helper, "line", "--four", pipeline=8, in_order=True),
    )
    gates = [d.gate("gate%d" % i) for i in range(4)]
    clients = [d.client() for _ in range(6)]
    for c, gate in zip(clients, gates):
        c.send("RUN", "p", "gate " + gate.path)
    for gate in gates:
        gate.arrived()
    p = d.pool("p")
    assert (p["running"], p["workers"]) == (4, 1)
    for c in clients[4:]:
        c.send("RUN", "p", "late")
    d.wait_pool("p", "READY 4 is all it takes", lambda p: (p["running"], p["queued"]) == (4, 2))
    for i in (2, 0, 3, 1):
        os.write(gates[i].fd, b"%d" % i)
        gates[i].release()
        assert clients[i].read() == b"%d" % i
    assert [c.read() for c in clients[4:]] == [b"late", b"late"]
    jobs = [("RUN", "line", "job %d" % i) for i in range(50)]
    assert d.client().pipeline(jobs) == [b"job %d" % i for i in range(50)]


# ---- what is particular to one -----------------------------------------------------------


@pytest.mark.parametrize("helper", ["py", "js"])
def test_what_a_handler_returns(start, helper):
    if helper == "js" and not shutil.which("node"):
        pytest.skip("no node here (Debian: apt-get install nodejs)")
    d = start(pool_of(helper))
    c = d.client()
    assert c.cmd("RUN", "p", "nothing") == b""
    assert "a result is" in c.cmd("RUN", "p", "number").text
    assert c.cmd("RUN", "p", "twice") == b"once"
    d.wait_log("answered already")
    d.wait_log("throw|Traceback|at ")
    assert c.cmd("RUN", "p", "x") == b"x"


def test_python_loop(start):
    d = start(pool_of("py", "p", "--loop"), pool_of("py", "frame", "--loop", protocol="frame"))
    assert d.cmd("RUN", "p", "abc") == b"ABC"
    assert d.cmd("RUN", "frame", "abc\n") == b"ABC\n"


def test_python_threads_do_not_lose_a_job_by_an_exit(start):
    d = start(pool_of("py", "p", "--four", protocol="frame", pipeline=4))
    assert d.cmd("RUN", "p", "exit").code == "CRASHED"
    assert d.cmd("RUN", "p", "x") == b"x"


def python_worker(work, level="frame", jobs=1):
    """What a handler that is an expression makes of one job, by hand."""
    env = lib.base_env(PREFORKD_PROTOCOL=level, PYTHONPATH=str(lib.SRC / "helpers"))
    script_ = "import os, preforkd; preforkd.serve(lambda job: %s, jobs=%d)" % (work, jobs)
    return run("/usr/bin/python3", "-B", "-c", script_, stdin=b"JOB 7 1 1\nx\n", env=env)


def test_python_threads_end_where_the_reason_cannot_be_printed():
    """An ended thread alone would leave the job, and its client, waiting."""
    assert python_worker("os.close(2) or 5", jobs=2).returncode == 1


def test_numbers_that_the_daemon_would_not_take():
    """They are their job's failure and not the worker's end."""
    r = python_worker("job.progress(1 << 64, 1)")
    assert r.stdout.startswith(b"READY 1\nERR 7 ") and b"progress is" in r.stdout
    if shutil.which("node"):
        js = "const p = require('./preforkd.js'); p.serve(() => p.log('x', 1.5));"
        env = lib.base_env(PREFORKD_PROTOCOL="line")
        r = run("node", "-e", js, stdin=b"x\n", env=env, cwd=lib.SRC / "helpers")
        assert r.stdout == b"READY\nERR RangeError: no such level: 1.5\n"


def test_without_a_daemon(helper):
    """By hand it is at level line, on standard input and output."""
    r = run(*WORKERS[helper], stdin=b"one\nfail two\nthree\n")
    assert r.returncode == 0
    answers = [a for a in r.stdout.splitlines() if a != b"starting"]
    assert answers == [b"READY", b"OK one", b"ERR two", b"OK three"]


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_shells(shell):
    if not shutil.which(shell):
        pytest.skip("no %s here" % shell)
    command = [shell, "sh"] if shell == "busybox" else [shell]
    env = lib.base_env(PREFORKD_PROTOCOL="frame")
    jobs = "JOB 7 3 4\n\u2603\n\nJOB 8 1 3\nwho\n".encode()
    r = run(*command, *WORKERS["sh"], stdin=jobs, env=env)
    assert r.stdout == "READY 1\nOK 7 4\n\u2603\n\nOK 8 3\n8 1\n".encode(), r.stderr


# ---- the examples -------------------------------------------------------------------------


def example(name, *args, lines):
    """What an example answers, without its READY."""
    stdin = "".join("%s\n" % line for line in lines).encode()
    r = run(lib.SRC / "examples" / name if "/" not in str(name) else name, *args, stdin=stdin)
    assert r.returncode == 0, r.stderr
    ready, *answers = r.stdout.decode().splitlines()
    assert ready == "READY"
    return answers


def test_example_archive(tmp):
    with zipfile.ZipFile(tmp / "a.zip", "w") as archive:
        archive.writestr("one", "x" * 1000)
        archive.writestr("two", "y" * 2000)
    data = (tmp / "a.zip").read_bytes()
    (tmp / "bad.zip").write_bytes(data.replace(b"xxxx", b"zzzz", 1))
    assert example("helper-archive.py", lines=[tmp / "a.zip", tmp / "bad.zip"]) == [
        "PROGRESS 0 2 one",
        "PROGRESS 1 2 two",
        "OK 2 members, 3000 bytes",
        "PROGRESS 0 2 one",
        "ERR BadZipFile: Bad CRC-32 for file 'one'",
    ]


def test_example_resolve():
    if not shutil.which("node"):
        pytest.skip("no node here (Debian: apt-get install nodejs)")
    answers = example("helper-resolve.js", lines=["127.0.0.1", "::1"])
    assert answers == ["OK 127.0.0.1", "OK ::1"]


def test_example_backup(tmp):
    (tmp / "to").mkdir()
    (tmp / "from").mkdir()
    (tmp / "from/file").write_text("x")
    done, failed = example("helper-backup.sh", tmp / "to", lines=[tmp / "from", tmp / "no"])
    archive = tmp / "to/from.tar.gz"
    assert done == "OK %s %d bytes" % (archive, archive.stat().st_size)
    assert tarfile.open(archive).extractfile("./file").read() == b"x"
    assert failed == "ERR %s/no is no directory" % tmp


def test_example_crc(tmp):
    cc = shutil.which("cc") or shutil.which("gcc")
    if not cc:
        pytest.skip("no C compiler here")
    subprocess.run(
        [cc, "-Wall", "-Werror", "-I", lib.SRC / "helpers", "-o", tmp / "crc"]
        + [lib.SRC / "examples/helper-crc.c"],
        check=True,
        timeout=lib.DEADLINE * 2,
    )
    lines = ["123456789", "", "x" * 100000]
    expected = ["OK %08x" % zlib.crc32(line.encode()) for line in lines]
    assert example(tmp / "crc", lines=lines) == expected


@pytest.mark.parametrize("compiler", [["g++", "-std=c++11"], ["clang", "-std=c11"]])
def test_header_with_other_compilers(tmp, compiler):
    if not shutil.which(compiler[0]):
        pytest.skip("no %s here" % compiler[0])
    source = tmp / ("w.cc" if "++" in compiler[0] else "w.c")
    source.write_text(
        """#include <preforkd.h>
int main() {
	struct preforkd p;
	struct preforkd_job job;
	preforkd_open(&p);
	while (preforkd_next(&p, &job))
		preforkd_ok(&p, &job, job.payload, job.len);
	return 0;
}
"""
    )
    warnings = "-Wall -Wextra -Wshadow -Wconversion -Wformat=2 -pedantic -Werror".split()
    include = ["-D_GNU_SOURCE", "-I", str(lib.SRC / "helpers")]
    subprocess.run(
        [*compiler, *warnings, *include, str(source), "-o", str(tmp / "w")],
        check=True,
        timeout=lib.DEADLINE * 2,
    )
    assert run(tmp / "w", stdin=b"x\n").stdout == b"READY\nOK x\n"
