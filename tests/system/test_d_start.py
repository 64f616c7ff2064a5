# SPDX-License-Identifier: MIT
"""Workers that cannot start: degraded with its reason, -DOWN, back-off, recovery."""
import datetime
import json
import os
import pathlib
import re
import resource
import signal

import pytest

import lib
from control import begun, wait_up
from lib import ACT, Error, pool


@pytest.fixture
def bad(make):
    """bad(command …): a daemon with a pool that cannot start beside one that can."""

    def make_bad(*command, **keys):
        keys.setdefault("start", {"backoff": "100ms..400ms"})
        d = make(pool("p", *command, **keys), pool("good"))
        d.check_fds = False
        d.start()  # READY comes all the same
        return d

    return make_bad


def degraded(d):
    return d.wait_pool("p", "degraded", lambda p: p["state"] == "degraded")


@pytest.mark.parametrize(
    "command, words",
    [
        (["/nonexistent/worker"], "/nonexistent/worker.*No such file"),
        (["/tmp"], "/tmp.*(Permission denied|directory)"),
        (["/etc/passwd"], "/etc/passwd.*(Permission denied|not executable)"),
        ([ACT, "--exit", "9"], "exits at start.*9"),
        (["/bin/false"], "exits at start.*1"),
        (["/bin/sh", "-c", "kill -SEGV $$"], "(?i)start.*(segv|segmentation)"),
        (["no-such-program-on-the-path"], "no-such-program-on-the-path.*(No such file|Permission)"),
    ],
)
def test_reason_of_a_failed_start(bad, command, words):
    d = bad(*command)
    p = degraded(d)
    assert re.search(words, p["last_error"]), p
    assert p["fails"] >= 2 and p["idle"] == 0
    reply = d.cmd("RUN", "p", "echo x")
    assert isinstance(reply, Error) and reply.code == "DOWN"
    assert re.search(words, reply.text), reply
    assert d.cmd("RUN", "good", "echo x") == b"x"
    assert d.status()["state"] == "degraded"
    d.wait_log(words)


def test_last_line_of_standard_error(bad):
    words = "ModuleNotFoundError: No module named 'PIL'"
    d = bad(ACT, "--stderr", "first", "--stderr", words, "--exit", "1")
    p = degraded(d)
    lib.poll(lambda: d.pool("p")["last_stderr"], "the last line")
    assert d.pool("p")["last_stderr"] == words
    assert p["last_error"] == "exits at start (status 1)"
    assert "PIL" in d.cmd("RUN", "p", "x").text


def test_bad_directory(bad):
    d = bad(run_as={"directory": "/nonexistent/dir"})
    assert "/nonexistent/dir" in degraded(d)["last_error"]


def test_submit_waits_while_it_is_down(make, tmp):
    there = tmp / "there"
    d = make(pool("p", ACT, "--exit-unless", str(there), start={"backoff": "50ms..200ms"}))
    d.check_fds = False
    d.start()
    degraded(d)
    jid = d.cmd("SUBMIT", "p", "echo patience")
    assert isinstance(jid, bytes)
    assert d.cmd("RESULT", jid) is None
    assert d.cmd("RUN", "p", "x").code == "DOWN"
    there.touch()
    assert d.cmd("RESULT", jid, "WAIT", "1m") == b"patience"
    p = d.wait_pool("p", "recovery", lambda p: p["state"] == "ok")
    assert p["fails"] == 0 and p["retry_ms"] is None
    assert d.status()["state"] == "ready"


def test_recovery_when_the_command_appears(make, tmp):
    worker = tmp / "worker"
    d = make(pool("p", str(worker), start={"backoff": "50ms..200ms"}))
    d.check_fds = False
    d.start()
    degraded(d)
    staged = tmp / "staged"
    staged.write_text(pathlib.Path(lib.script("echo.sh")).read_text())
    staged.chmod(0o755)
    staged.rename(worker)
    d.wait_pool("p", "recovery", lambda p: p["state"] == "ok" and p["idle"] == 1)
    assert d.cmd("RUN", "p", "hello") == b"hello"
    # reset: the next failure is tried again at once, and from the beginning
    p = d.pool("p")
    assert p["fails"] == 0


def test_queued_runs_are_answered_down(make):
    """Accepted while the pool was starting, refused when it is found degraded."""
    d = make()
    gate = d.gate()
    how = {"backoff": "1h..1h", "ready": True}
    keys = pool("p", ACT, "--gate", gate.path, "--exit", "1", start=how)
    d.conf.write_text(d.configuration([keys], None, {}))
    d.check_fds = False
    d.start(ready=False)
    gate.arrived()
    lib.poll(lambda: lib.answers(d.socket), "it listens")
    c = d.client()
    c.send("RUN", "p", "echo x")
    d.wait_pool("p", "queued", lambda p: p["queued"] == 1)
    gate.release()
    d.wait_pool("p", "the first's end", lambda p: p["exited"] == 1)
    gate.release()  # the second, which was tried at once
    assert c.read().code == "DOWN"
    d.notify.wait("READY=1", d.proc)
    degraded(d)


def test_back_off_doubles(make, tmp):
    """After a failure the next try is at once, then 1, 2 … times the minimum later, up to max."""
    stamps = tmp / "stamps"
    command = "date +%s%N >>{}; exit 1".format(stamps)
    how = {"backoff": "1s..3s"}
    d = make(pool("p", "/bin/sh", "-c", command, start=how), log={"format": "json"})
    d.check_fds = False
    d.start()
    lib.poll(lambda: stamps.exists() and len(stamps.read_text().split()) >= 5, "five starts")
    starts = [int(x) / 1e6 for x in stamps.read_text().split()]
    ends = [unix_ms(x["time"]) for x in map(json.loads, d.log().splitlines()) if "worker" in x]
    for i, delay in enumerate((0, 1000, 2000, 3000)):
        assert starts[i + 1] - ends[i] >= delay * 0.8, (starts, ends)


def unix_ms(stamp):
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp() * 1000


def test_slow_failures_are_failures_too(make):
    """A worker that takes longer to fail than the back-off has not recovered meanwhile.

    (Twice as long as the others would be too long: so long may no start be held up here.)
    """
    how = {"backoff": "50ms..8s"}
    d = make(pool("p", ACT, "--nap-ms", "1000", "--exit", "1", start=how))
    d.check_fds = False
    d.start()
    d.wait_pool("p", "four failures in a row", lambda p: p["fails"] == 4)
    assert "start again" not in d.log()


def test_retry_ms_counts_down(bad):
    d = bad("/nonexistent/worker", start={"backoff": "1h..2h"})
    p = degraded(d)
    lib.poll(lambda: d.pool("p")["retry_ms"], "retry_ms")
    assert 3_000_000 < d.pool("p")["retry_ms"] <= 3_600_000
    assert p["fails"] == 2


def test_many_workers_that_fail_do_not_storm(make, tmp):
    """The back-off is the pool's, not each worker's own."""
    stamps = tmp / "stamps"
    d = make(
        pool(
            "p",
            "/bin/sh",
            "-c",
            "echo x >>%s; exit 1" % stamps,
            workers=32,
            start={"backoff": "1h..1h"},
        ),
        pool("good"),
    )
    d.check_fds = False
    d.start()
    degraded(d)
    assert d.cmd("RUN", "good", "sleep 300 x") == b"x"
    assert len(stamps.read_text().split()) <= 64


def test_no_ready_within_start_timeout(bad):
    d = bad(ACT, start={"ready": True, "timeout": "200ms", "backoff": "100ms..200ms"})
    p = degraded(d)
    assert re.search("(?i)ready|timeout|start", p["last_error"])
    assert d.cmd("RUN", "p", "x").code == "DOWN"
    d.wait_log("(?i)ready")


def test_slow_start_without_ready_still_works(start):
    d = start(pool("p", ACT, "--nap-ms", "300"))
    assert d.cmd("RUN", "p", "echo x") == b"x"


def test_ready_unasked_changes_nothing(start):
    d = start(pool("p", ACT, "--ready"))
    assert d.cmd("RUN", "p", "echo x") == b"x"
    assert d.cmd("RUN", "p", "echo y") == b"y"


def test_no_job_before_ready(start_held):
    d, gate = start_held()
    gate.arrived()
    c = d.client()
    jid = c.cmd("SUBMIT", "p", "echo x")
    assert d.job(jid)["state"] == "queued"
    gate.release()
    assert c.cmd("RESULT", jid, "WAIT", "1m") == b"x"
    d.notify.wait("READY=1", d.proc)
    d.check_fds = False


def test_dies_with_its_first_job_each_time(make):
    """That is the jobs' affair: each gets its error, and the pool has a worker for the next."""
    d = make(pool("p", "/bin/sh", "-c", "read -r j; exit 3", start={"backoff": "1h..1h"}))
    d.check_fds = False
    d.start()
    c = d.client()
    codes = [c.cmd("RUN", "p", "x").code for _ in range(6)]
    assert codes == ["CRASHED"] * 6


def test_stop_while_degraded(bad):
    d = bad("/nonexistent/worker", start={"backoff": "1h..1h"})
    degraded(d)
    c = d.client()
    jid = c.cmd("SUBMIT", "p", "echo never")
    assert isinstance(jid, bytes)
    d.cmd("SHUTDOWN", "NOW")
    assert d.wait() == 0


def test_all_pools_degraded_is_ready_all_the_same(make):
    d = make(pool("p", "/nonexistent/a", start={"backoff": "1h..1h"}))
    d.check_fds = False
    d.start()
    assert d.status()["state"] == "degraded"
    assert d.cmd("RUN", "p", "x").code == "DOWN"


@pytest.mark.parametrize("workers", [1, 12])
def test_no_descriptors_for_workers(start, workers):
    """A spawn that fails is tried again without anybody's doing; a burst is one failure."""
    d = start(pool("p", workers=workers, start={"backoff": "100ms..1h"}))
    begun(d, workers)
    limits = resource.prlimit(d.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(d.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    d.send_signal(signal.SIGSTOP)  # so that it hears of all deaths at once
    for pid in lib.children(d.pid):
        os.kill(pid, signal.SIGKILL)
    lib.poll(lambda: len(lib.children(d.pid, "Z")) == workers, "all dead")
    d.send_signal(signal.SIGCONT)
    d.wait_log("degraded: cannot be spawned: Too many open files")
    resource.prlimit(d.pid, resource.RLIMIT_NOFILE, limits)
    p = wait_up(d, workers)
    assert (p["spawned"], p["failed"]) == (2 * workers, 0)
