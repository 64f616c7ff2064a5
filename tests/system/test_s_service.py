# SPDX-License-Identifier: MIT
"""Under a real service manager: ready, its status, starts that fail, and all ways to stop."""
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

import booted
import lib
from booted import ACT, SERVICE, SOCKET, run, show, systemctl
from lib import SLOW, Error

pytestmark = booted.needed

GATES = pathlib.Path("/opt/preforkd-tests")
NEVER = {"backoff": "1h..1h"}


def status_text():
    return show(SERVICE, "StatusText")


def wait_status(pattern):
    return lib.poll(lambda: re.fullmatch(pattern, status_text()), "status " + pattern)


def seconds_left():
    """Of a drain, as the status has it."""
    found = re.search(r"(\d+) s left", status_text())
    return int(found.group(1)) if found else 1 << 30


@pytest.fixture
def gate(host):
    path = host.scratch(GATES / "gate")
    g = lib.Gate(path)
    yield g
    g.close()


def client(host):
    c = lib.Client(SOCKET)
    host.at_end.append(c.close)
    return c


def hold(host, gate):
    """A job that runs until its gate opens, and its client."""
    c = client(host)
    c.send("RUN", "p", "gate " + gate.path)
    gate.arrived()
    return c


class Stop(threading.Thread):
    """systemctl stop, which returns when the stop is over."""

    def __init__(self, verb="stop"):
        super().__init__()
        self.verb = verb
        self.begun = time.monotonic()
        self.took = None
        self.start()

    def run(self):
        systemctl(self.verb, SERVICE, check=False, timeout=60 * SLOW)
        self.took = time.monotonic() - self.begun

    def end(self):
        self.join(60 * SLOW)
        assert self.took is not None, "systemctl %s does not return" % self.verb
        return self.took


def stopping():
    lib.poll(lambda: show(SERVICE, "ActiveState") == "deactivating", "the stop has begun")


def stopped_well(host):
    seen = show(SERVICE, "ActiveState", "Result")
    assert seen == {"ActiveState": "inactive", "Result": "success"}
    assert not host.journal("MESSAGE_ID=" + booted.UNIT_FAILED, "UNIT=" + SERVICE)
    assert not booted.pids(SERVICE)


# ---- ready, and what status says


def test_ready_and_how_long_it_takes(host):
    host.conf(p={"workers": 4, "start": {"ready": True}, "command": [ACT, "--ready"]})
    host.start()
    assert show(SERVICE, "ActiveState", "SubState", "Type") == {
        "ActiveState": "active",
        "SubState": "running",
        "Type": "notify",
    }
    assert status_text() == "1 pool, 4/4 workers, 0 busy, 0 queued"
    seen = show(SERVICE, "InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    took = (
        int(seen["ActiveEnterTimestampMonotonic"]) - int(seen["InactiveExitTimestampMonotonic"])
    ) / 1000
    booted.note("start to READY=1 with 4 workers: %.0f ms" % took)
    assert 0 < took < 1000 * lib.DEADLINE
    with lib.Client(SOCKET) as c:
        assert c.cmd("RUN", "p", "echo x") == b"x"


def test_status_changes_with_load(host, gate):
    host.conf(p={}, q={"workers": 2})
    host.start()
    running = hold(host, gate)
    behind = [client(host) for _ in range(3)]
    for c in behind:
        c.send("RUN", "p", "echo x")
    wait_status(r"2 pools, 3/3 workers, 1 busy, 3 queued")
    shown = systemctl("status", SERVICE).stdout
    assert 'Status: "2 pools, 3/3 workers, 1 busy, 3 queued"' in shown
    gate.release()
    assert running.read() == b"gate"
    assert [c.read() for c in behind] == [b"x"] * 3
    wait_status(r"2 pools, 3/3 workers, 0 busy, 0 queued")


def test_degraded_and_well_again(host):
    there = host.scratch(GATES / "there")
    bad = {"command": [ACT, "--exit-unless", str(there)]}
    host.conf(good={}, bad={**bad, "start": {"backoff": "200ms..400ms", "ready": False}})
    host.start()
    assert show(SERVICE, "ActiveState") == "active"
    wait_status(r"2 pools, 1/2 workers, 0 busy, 0 queued; bad degraded: exits at start .*")
    assert "bad degraded: exits at start" in systemctl("status", SERVICE).stdout
    there.touch()
    wait_status(r"2 pools, 2/2 workers, 0 busy, 0 queued")
    assert show(SERVICE, "NRestarts") == "0"


# ---- starts that fail


def failed_start():
    done = systemctl("start", SERVICE, check=False)
    assert done.returncode == 1, done
    return show(
        SERVICE,
        "ActiveState",
        "Result",
        "ExecMainStatus",
        "StatusText",
        "StatusErrno",
        "NRestarts",
    )


def test_a_required_pool(host):
    host.conf(good={}, bad={"command": ["/none/worker"], "start": {"required": True, **NEVER}})
    host.dropin(SERVICE, "Restart=no")
    seen = failed_start()
    assert (seen["ActiveState"], seen["Result"], seen["ExecMainStatus"]) == (
        "failed",
        "exit-code",
        "69",
    )
    assert seen["StatusErrno"] == "2"
    assert seen["StatusText"].startswith("start failed: pool bad is required")
    shown = systemctl("status", SERVICE, check=False).stdout
    assert "/none/worker: No such file or directory" in shown
    assert "Error: 2 (No such file or directory)" in shown
    (told,) = host.wait_journal("PREFORKD_EVENT=required-pool-failed")
    assert told["PREFORKD_POOL"] == "bad" and told["PRIORITY"] == "3"
    assert not booted.pids(SERVICE)


def test_a_required_pool_is_tried_again(host):
    there = host.scratch(GATES / "there")
    how = {"required": True, "backoff": "100ms..1h"}
    host.conf(p={"command": [ACT, "--exit-unless", str(there)], "start": how})
    host.dropin(SERVICE, "RestartSec=300ms\n[Unit]\nStartLimitIntervalSec=0")
    systemctl("start", "--no-block", SERVICE)
    lib.poll(lambda: int(show(SERVICE, "NRestarts")) >= 2, "two restarts")
    there.touch()
    host.wait_state("active/running")
    wait_status(r"1 pool, 1/1 workers, 0 busy, 0 queued")


def test_a_wrong_configuration(host):
    host.conf("drian = 1;\nlog = { level = 7; };", p={"workers": "many"})
    seen = failed_start()
    assert (seen["ActiveState"], seen["Result"], seen["ExecMainStatus"]) == (
        "failed",
        "exit-code",
        "78",
    )
    assert seen["StatusErrno"] == "22"
    first = "/etc/preforkd/preforkd.conf:1: drian: unknown key; did you mean drain?"
    assert seen["StatusText"] == "configuration: 3 mistakes, the first: " + first
    told = [e["MESSAGE"] for e in host.wait_journal("_COMM=preforkd", "PRIORITY=3")]
    assert told[0] == first and len(told) == 3, told
    # and it stays so: a restart would come after RestartSec
    again = host.journal("_PID=1", "UNIT=" + SERVICE, "JOB_TYPE=restart")
    assert seen["NRestarts"] == "0" and not again
    assert show(SERVICE, "SubState") == "failed"


# ---- the stop


@pytest.mark.parametrize("end", ["\\", "\\\\", "\x1b[31m", '"', "'"])
def test_a_status_with_what_has_a_meaning(host, end):
    """It comes whole, and as it is, whatever is in it."""
    host.conf(p={}, q="wrong" + end)
    assert systemctl("start", SERVICE, check=False).returncode != 0
    told = r"configuration: /etc/preforkd/pool\.d/q\.conf:1: syntax: .*"
    assert re.fullmatch(told, status_text()), status_text()
    said = [e["MESSAGE"] for e in host.journal("_COMM=preforkd")]
    assert status_text().partition(": ")[2] in said


def test_drain_with_a_job_in_flight(host, gate):
    host.conf('drain = "1h";', p={})
    host.start()
    running = hold(host, gate)
    jid = client(host).cmd("SUBMIT", "p", "echo queued")
    assert isinstance(jid, bytes)
    stop = Stop()
    stopping()
    wait_status(r"draining: 1 running, 1 queued, \d+ s left")
    with lib.Client(SOCKET) as c:
        assert c.cmd("RUN", "p", "echo new").code == "DRAINING"
    gate.release()
    assert running.read() == b"gate"
    stop.end()
    stopped_well(host)


def test_a_job_that_outlasts_the_drain(host, gate):
    host.conf('drain = "500ms";', p={"job": {"grace": "300ms"}})
    host.start()
    running = hold(host, gate)
    took = Stop().end()
    reply = running.read()
    assert isinstance(reply, Error) and reply.code == "CANCELLED", reply
    assert running.at_end()
    assert took < lib.DEADLINE
    stopped_well(host)
    assert host.wait_journal("PREFORKD_EVENT=drain-over")
    (told,) = host.wait_journal("PREFORKD_EVENT=jobs-cancelled")
    assert "1 running and 0 queued jobs are cancelled" in told["MESSAGE"]


def test_a_second_stop_waits_with_the_first(host, gate):
    host.conf('drain = "1h";', p={})
    host.start()
    running = hold(host, gate)
    first = Stop()
    stopping()
    second = Stop()
    wait_status(r"draining: 1 running, 0 queued, \d+ s left")
    lib.poll(lambda: seconds_left() <= 3598, "a while of both")
    assert first.took is None and second.took is None
    gate.release()
    assert running.read() == b"gate"
    first.end()
    second.end()
    stopped_well(host)


def test_a_second_term_is_fast(host, gate):
    host.conf('drain = "1h";', p={"job": {"grace": "300ms"}})
    host.start()
    running = hold(host, gate)
    stop = Stop()
    stopping()
    wait_status(r"draining: .*")
    host.kill(signal.SIGTERM)
    reply = running.read()
    assert isinstance(reply, Error) and reply.code == "CANCELLED", reply
    assert stop.end() < lib.DEADLINE
    stopped_well(host)


def test_quit_and_int(host, gate):
    host.conf('drain = "0s";', p={"job": {"grace": "300ms"}})
    host.start()
    running = hold(host, gate)
    host.kill(signal.SIGQUIT)
    stopping()  # STOPPING=1 has said so
    wait_status(r"draining: 1 running, 0 queued")
    gate.release()
    assert running.read() == b"gate"
    host.wait_state("inactive")
    stopped_well(host)
    host.start()
    host.kill(signal.SIGINT)
    host.wait_state("inactive")
    stopped_well(host)


# ---- longer than the service manager's limits


def test_a_drain_longer_than_the_stop_may_take(host, gate):
    host.conf('drain = "1h";', p={})
    host.dropin(SERVICE, "TimeoutStopSec=3s")
    host.start()
    running = hold(host, gate)
    stop = Stop()
    stopping()
    lib.poll(lambda: seconds_left() <= 3593, "seven seconds of draining")
    assert stop.took is None
    gate.release()
    assert running.read() == b"gate"
    stop.end()
    stopped_well(host)


def test_a_start_longer_than_it_may_take(host, gate):
    slow = {"command": [ACT, "--gate", gate.path, "--ready"], "start": {"ready": True}}
    host.conf(p=slow)
    host.dropin(SERVICE, "TimeoutStartSec=3s")
    start = Stop("start")
    gate.arrived()
    wait_status(r"starting: 0/1 workers, 1 pool to go: p")
    lib.poll(lambda: time.monotonic() - start.begun > 6, "six seconds of starting")
    assert show(SERVICE, "ActiveState") == "activating"
    gate.release()
    start.end()
    assert show(SERVICE, "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}


def test_a_stuck_stop_is_ended(host, gate):
    """Nobody asks for a daemon that stands still."""
    host.conf('drain = "1h";', p={})
    host.dropin(SERVICE, "TimeoutStopSec=1s\nWatchdogSec=0")
    host.start()
    hold(host, gate)
    stop = Stop()
    stopping()
    wait_status(r"draining: .*")
    host.kill(signal.SIGSTOP)
    assert stop.end() < 2 * lib.DEADLINE
    assert show(SERVICE, "ActiveState", "Result") == {"ActiveState": "failed", "Result": "timeout"}
    assert not booted.pids(SERVICE)


# ---- a restart under load


def mapping(tmp, name, lines, *options):
    """preforkctl map, to files named after it; its input has these lines, and no end yet."""
    with open(tmp / (name + ".out"), "wb") as out, open(tmp / (name + ".err"), "wb") as err:
        command = ["preforkctl", "map", "--tag", *options, "p"]
        proc = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err)
    proc.stdin.write("".join(line + "\n" for line in lines).encode())  # less than a pipe takes
    proc.stdin.flush()
    return proc


def test_restart_under_load(host, tmp):
    """Who is cut off is told where, and what had no result by then has one from the next daemon."""
    host.conf('drain = "10s";', p={"workers": 4})
    host.start()
    lines = ["sleep 2 %d" % i for i in range(2000)]
    first = mapping(tmp, "first", lines, "--joblog", str(tmp / "log"))
    lib.poll(lambda: (tmp / "first.out").stat().st_size, "first results")
    before = host.main_pid()
    systemctl("restart", SERVICE)
    assert host.main_pid() not in (0, before)
    assert first.wait(lib.DEADLINE) not in (0, 1), "it has not gone through"
    first.stdin.close()
    said = (tmp / "first.err").read_text()
    assert re.search(r"^preforkctl: (line \d+: DRAINING|.*closed|.*reset|.*ended)", said), said
    second = mapping(tmp, "second", lines, "--resume", str(tmp / "log"))
    second.stdin.close()
    assert second.wait(lib.DEADLINE) == 0
    results = [(tmp / n).read_text().splitlines() for n in ("first.out", "second.out")]
    assert results[0], "there was load"
    assert set(results[0] + results[1]) == {"%s\t%d" % (line, i) for i, line in enumerate(lines)}
    assert len(results[0]) + len(results[1]) == len(lines), "each once"
