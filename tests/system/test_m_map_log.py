# SPDX-License-Identifier: MIT
"""preforkctl map: the log of lines, going on with it, and what may go wrong there."""
import collections
import os
import resource
import signal
import subprocess
import sys

import pytest

import lib
from lib import ACT, ECHO_C, PREFORKCTL, pool, run, script

HEADING = "Seq\tHash\tStart\tSeconds\tResult\tAttempts\tLine"


@pytest.fixture
def d(start):
    return start(
        pool("p", workers=4),
        pool("one", workers=1),
        pool("frame", script("frame.py"), protocol="frame"),
    )


@pytest.fixture
def log(tmp):
    return tmp / "log"


def map_pool(d, name, data, *args, status=0):
    r = run(PREFORKCTL, "-s", d.socket, "map", *args, name, stdin=data)
    assert r.returncode == status, r.stderr.decode()
    return r


def records(log):
    """(line number, result, attempts, text) of each record."""
    first, *rest = log.read_text().splitlines()
    assert first == HEADING
    rows = [line.split("\t") for line in rest]
    return [(int(r[0]), r[4], r[5], r[6]) for r in rows]


# ---- the log ------------------------------------------------------------------------------


def test_joblog(d, log):
    data = b"echo a\nerr b\nexit 1\nhang\necho a\n"
    map_pool(d, "p", data, "--joblog", log, "--timeout", "100ms", status=1)
    assert records(log) == [
        (1, "ok", "1", "echo a"),
        (2, "failed", "1", "err b"),
        (3, "crashed", "1", "exit 1"),
        (4, "timeout", "1", "hang"),
        (5, "ok", "1", "echo a"),
    ]
    rows = [line.split("\t") for line in log.read_text().splitlines()[1:]]
    assert rows[0][1] == rows[4][1] != rows[1][1]
    assert 0.1 <= float(rows[3][3]) < lib.DEADLINE and float(rows[0][2]) > 1.7e9


def test_joblog_shows_lines_escaped_and_cut(d, log):
    map_pool(d, "frame", b"a\tb\nc\0" + b"x" * 5000, "-0", "--joblog", log)
    (_, _, _, first), (_, _, _, second) = records(log)
    assert first == "a\\x09b\\x0ac"
    assert second.startswith("xxx") and second.endswith("...") and len(second) < 200


def test_joblog_counts_attempts(d, log):
    map_pool(d, "p", b"err x\n", "--joblog", log, "--retries", "3", status=1)
    assert records(log) == [(1, "failed", "4", "err x")]


def test_joblog_says_what_was_refused(d, log):
    map_pool(d, "p", b"a\0b\n", "--joblog", log, status=1)
    assert records(log) == [(1, "badpayload", "1", "a\\x00b")]


def test_joblog_does_not_go_over_another(d, log):
    map_pool(d, "p", b"echo a\n", "--joblog", log)
    before = log.read_bytes()
    r = map_pool(d, "p", b"echo a\n", "--joblog", log, status=64)
    assert b"--resume" in r.stderr and r.stdout == b"" and log.read_bytes() == before


def test_results_are_out_before_they_are_done(d, log):
    """A record for each result that has been read, none for the one that runs."""
    proc = subprocess.Popen(
        [PREFORKCTL, "-s", d.socket, "map", "--joblog", log, "p"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=lib.base_env(),
    )
    proc.stdin.write(b"echo a\necho b\nhang\n")
    proc.stdin.flush()
    assert proc.stdout.readline() + proc.stdout.readline() == b"a\nb\n"
    lib.poll(lambda: log.read_text().count("\n") == 3, "a heading and two records")
    proc.kill()
    proc.wait()
    proc.stdin.close(), proc.stdout.close()


# ---- going on -----------------------------------------------------------------------------


def test_resume(d, log):
    data = b"echo a\nerr b\necho c\n"
    assert map_pool(d, "p", data, "--resume", log, status=1).stdout == b"a\n\nc\n"
    r = map_pool(d, "p", data, "--resume", log, status=1)
    assert r.stdout == b"\n" and b"line 2" in r.stderr and b"2 passed over" in r.stderr
    assert records(log)[3:] == [(2, "failed", "+1", "err b")]


def test_resume_goes_by_content(d, log):
    map_pool(d, "p", b"echo a\necho b\necho c\n", "--joblog", log)
    r = map_pool(d, "p", b"echo new\necho c\necho a\necho more\n", "--resume", log)
    assert r.stdout == b"new\nmore\n"


def test_resume_counts_lines_that_are_the_same(d, log):
    map_pool(d, "p", b"echo a\n", "--joblog", log)
    r = map_pool(d, "p", b"echo a\necho a\necho a\n", "--resume", log)
    assert r.stdout == b"a\na\n"
    assert map_pool(d, "p", b"echo a\necho a\necho a\n", "--resume", log).stdout == b""


def test_resume_of_everything_starts_nothing(log):
    data = b"echo a\n" * 100
    assert run(PREFORKCTL, "map", "--joblog", log, "--", ACT, stdin=data).returncode == 0
    r = run(PREFORKCTL, "map", "--resume", log, "--summary", "--", ACT, stdin=data)
    assert (r.returncode, r.stdout) == (0, b"") and b"100 passed over" in r.stderr


def test_resume_with_null(d, log):
    data = b"a\nb\0a\0b"
    map_pool(d, "frame", data, "-0", "--joblog", log)
    assert map_pool(d, "frame", data, "-0", "--resume", log).stdout == b""
    assert map_pool(d, "frame", data, "--resume", log).stdout == b"b\0a\0b\n"


def test_retry_failed(d, log):
    """Only what failed, by content; what succeeds by now has not failed any more."""
    first = b"echo a\nerr x\nexit 1\nerr x\n"
    map_pool(d, "p", first, "--joblog", log, status=1)
    r = map_pool(d, "p", b"echo new\n" + first, "--retry-failed", log, "--tag", status=1)
    assert r.stdout == b"err x\t\nexit 1\t\nerr x\t\n"
    assert [a for _, _, a, _ in records(log)[4:]] == ["+1"] * 3
    # the same content succeeds elsewhere
    r = map_pool(d, "frame", first, "--retry-failed", log)
    assert r.stdout == b"err x\nexit 1\nerr x\n" and r.stderr == b""
    assert map_pool(d, "p", first, "--retry-failed", log).stdout == b""
    assert map_pool(d, "p", first, "--resume", log).stdout == b""


def test_retry_failed_names_what_is_missing(d, log):
    map_pool(d, "p", b"err a\nerr b\n", "--joblog", log, status=1)
    r = map_pool(d, "p", b"err a\n", "--retry-failed", log, status=1)
    assert b"1 lines that failed" in r.stderr and b"not in the input" in r.stderr


def test_retry_failed_wants_a_log(d, log):
    r = map_pool(d, "p", b"a\n", "--retry-failed", log, status=1)
    assert b"cannot read" in r.stderr and not log.exists()


def logged_by(tmp):
    """A worker that notes each job that it begins, and the counts of these notes."""
    notes = tmp / "notes"
    notes.touch()
    worker = tmp / "worker"
    worker.write_text(
        '#!/bin/sh\nwhile read -r job; do echo "$job" >>%s; echo "OK $job"; done\n' % notes
    )
    worker.chmod(0o755)
    return worker, lambda: collections.Counter(notes.read_text().split())


def test_killed_and_resumed(tmp, log):
    """kill -9 at 30 %: what its log has is not done again, all the rest is."""
    n = 2000
    worker, begun = logged_by(tmp)
    data = b"".join(b"line-%d\n" % i for i in range(n))
    (tmp / "in").write_bytes(data)
    command = [PREFORKCTL, "map", "-j2", "--resume", log, "--", worker]
    with open(tmp / "in", "rb") as source:
        proc = subprocess.Popen(
            command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=lib.base_env(TESTING_PREFORKD=str(tmp)),
        )
    out = [proc.stdout.readline() for _ in range(n * 3 // 10)]
    lib.poll(lambda: len(log.read_bytes().splitlines()) > n * 2 // 10, "its log")
    proc.kill()
    proc.wait()
    out += proc.stdout.read().splitlines(True)
    proc.stdout.close()
    mark = "TESTING_PREFORKD=%s" % tmp
    lib.poll(lambda: not lib.marked(mark), "the end of its daemon and workers")
    whole = log.read_bytes().rpartition(b"\n")[0].splitlines()[1:]
    done = [row.split(b"\t")[6].decode() for row in whole]
    assert n * 2 // 10 <= len(done) < n
    # every result that the log has was printed
    assert set(done) <= {line.decode().strip() for line in out}
    before = begun()
    log.write_bytes(log.read_bytes() + b"77\ttorn")
    r = run(*command, stdin=data)
    assert r.returncode == 0 and r.stdout.split() == [
        b"line-%d" % i for i in range(n) if "line-%d" % i not in set(done)
    ]
    after = begun()
    assert set(after) == {"line-%d" % i for i in range(n)}
    for line in done:
        assert after[line] == 1, "done twice"
    again = sum(after.values()) - sum(before.values())
    assert again == n - len(done)
    assert "torn" not in log.read_text()
    assert run(*command, stdin=data).stdout == b""


def test_resumed_with_an_edited_input(tmp, log):
    worker, begun = logged_by(tmp)
    first = ["a%d" % i for i in range(200)]
    command = [PREFORKCTL, "map", "-j2", "--resume", log, "--", worker]
    run(*command, stdin="\n".join(first).encode())
    edited = ["new"] + first[100:] + ["a5"] + first[:50] + ["a5"]
    r = run(*command, stdin="\n".join(edited).encode())
    assert r.stdout.split() == [b"new", b"a5", b"a5"]
    assert begun()["a5"] == 3 and begun()["a150"] == 1


# ---- what may go wrong ----------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"Seq\tHost\tStarttime\n1\t:\t1.2\n", b"\0\1\2", b"x"])
def test_resume_of_something_else(d, log, content):
    log.write_bytes(content)
    r = map_pool(d, "p", b"echo a\n", "--resume", log, status=64)
    assert b"is not a log" in r.stderr and r.stdout == b""
    assert log.read_bytes() == content


def test_joblog_begins_a_torn_heading_anew(d, log):
    log.write_bytes(b"Seq\tHa")
    map_pool(d, "p", b"echo a\n", "--joblog", log)
    assert records(log) == [(1, "ok", "1", "echo a")]
    assert map_pool(d, "p", b"echo a\n", "--resume", log).stdout == b""


def test_resume_of_a_damaged_log(d, log):
    map_pool(d, "p", b"echo a\n", "--joblog", log)
    content = log.read_bytes() + b"some\nother\n"
    log.write_bytes(content)
    r = map_pool(d, "p", b"echo a\n", "--resume", log, status=64)
    assert b"line 3" in r.stderr and log.read_bytes() == content


def test_log_that_cannot_be_written(d, tmp):
    r = map_pool(d, "p", b"echo a\n", "--joblog", tmp / "none" / "log", status=1)
    assert b"No such file" in r.stderr and r.stdout == b""
    r = map_pool(d, "p", b"echo a\n", "--resume", tmp, status=1)
    assert b"directory" in r.stderr and r.stdout == b""


def test_full_disk(d):
    """It is known before a job has run."""
    r = map_pool(d, "p", b"echo a\n", "--joblog", "/dev/full", status=1)
    assert b"/dev/full: No space left" in r.stderr and r.stdout == b""
    assert d.pool("p")["done"] == 0


def test_disk_that_is_full_later(d, log):
    """It ends there and says so; what had its record is not done again."""
    size = 4096
    r = run(
        PREFORKCTL, "-s", d.socket, "map", "--joblog", log, "one",
        stdin=b"".join(b"echo %d\n" % i for i in range(1000)),
        preexec_fn=lambda: (
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
        ),
    )
    assert r.returncode == 1 and b"cannot write" in r.stderr
    assert log.stat().st_size <= size
    printed = r.stdout.split()
    whole = log.read_bytes().rpartition(b"\n")[0].splitlines()[1:]
    assert 10 < len(whole) <= len(printed) < 1000
    data = b"".join(b"echo %d\n" % i for i in range(1000))
    r = map_pool(d, "one", data, "--resume", log)
    assert r.stdout.split() == [b"%d" % i for i in range(len(whole), 1000)]


def test_two_maps_and_one_log(d, log):
    gate = d.gate()
    proc = subprocess.Popen(
        [PREFORKCTL, "-s", d.socket, "map", "--joblog", log, "p"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=lib.base_env(),
    )
    proc.stdin.write(b"gate %s\n" % gate.path.encode())
    proc.stdin.close()
    gate.arrived()
    r = map_pool(d, "p", b"echo a\n", "--resume", log, status=75)
    assert b"in use" in r.stderr
    gate.release()
    assert proc.wait(lib.DEADLINE) == 0


def test_memory_of_a_large_log(start, tmp, log):
    """A map of 200,000 lines, and its resumption, in a few megabytes."""
    d = start(pool("echo", ECHO_C, workers=2))
    n = 200_000
    data = b"".join(b"line %d\n" % i for i in range(n))
    (tmp / "in").write_bytes(data)
    command = (
        "import os,resource,subprocess,sys\n"
        "p = subprocess.run(sys.argv[1:], stdin=open('%s/in'), stdout=open('%s/out', 'a'))\n"
        "print(p.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    ) % (tmp, tmp)
    peaks = []
    for _ in range(2):
        r = run(sys.executable, "-c", command, PREFORKCTL, "-s", d.socket, "map",
                "--resume", log, "echo", timeout=lib.DEADLINE * 2)
        status, peak = map(int, r.stdout.split())
        assert status == 0, r.stderr
        peaks.append(peak << 10)
    assert (tmp / "out").read_bytes() == data
    assert len(log.read_bytes().splitlines()) == n + 1
    # the second one has 20 bytes a line of the log
    assert lib.SANITIZED or (peaks[0] < 30 << 20 and peaks[1] < 40 << 20), peaks


def test_log_in_unordered(d, log):
    data = b"".join(b"echo %d\n" % i for i in range(500))
    map_pool(d, "p", data, "--unordered", "--joblog", log)
    assert sorted(n for n, *_ in records(log)) == list(range(1, 501))
    assert map_pool(d, "p", data, "--unordered", "--resume", log).stdout == b""


def test_log_leaves_no_file_open(d, log):
    """Workers of a private daemon do not get it."""
    r = run(PREFORKCTL, "map", "-j1", "--joblog", log, "--", ACT, stdin=b"fds\n")
    assert r.returncode == 0 and str(log).encode() not in r.stdout
    assert os.path.exists(log)
