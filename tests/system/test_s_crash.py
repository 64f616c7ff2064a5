# SPDX-License-Identifier: MIT
"""Crashes under the service manager: the daemon's, its workers', and those that limits cause."""
import os
import pathlib
import signal
import time

import pytest

import booted
import lib
from booted import ACT, SERVICE, SOCKET, show, systemctl

pytestmark = booted.needed

# A worker with a child in its process group, and one in a session of its own.
FAMILY = ["/bin/sh", "-c", "sleep 1000 & setsid sleep 1000 & exec " + ACT]


def cmd(*args):
    with lib.Client(SOCKET) as c:
        return c.cmd(*args)


def pool(name="p"):
    return lib.mapping(cmd("POOL", name))


def workers():
    return [lib.mapping(w) for w in cmd("WORKERS")]


def wait_pool(reason, test):
    return lib.poll(lambda: (p := pool()) and test(p) and p, reason)


def families(count):
    """The daemon's processes, as soon as so many workers have their children."""
    lib.poll(lambda: len(booted.pids(SERVICE)) == 1 + 3 * count, "%d families" % count)
    return booted.pids(SERVICE)


def told(capsys, line):
    with capsys.disabled():
        print("\n" + line)


RUN = pathlib.Path(SOCKET).parent


def listing(where):
    """The names in a directory; those of private /tmp are new with each start but for this."""
    names = os.listdir(where) if os.path.exists(where) else []
    return sorted(n.rpartition("-")[0] if n.startswith("systemd-private-") else n for n in names)


def places():
    """What is where something could be left over."""
    return {str(where): listing(where) for where in ("/tmp", "/var/tmp", "/dev/shm", RUN)}


@pytest.fixture
def gate(host):
    g = lib.Gate("/opt/preforkd-tests/gate-crash")
    host.scratch(g.path)
    yield g
    g.close()


def fast(host, text=""):
    """Restarts that are not waited for, nor counted."""
    host.dropin(SERVICE, "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=100ms\n" + text)


def all_gone(pids):
    return not any(lib.alive(pid) for pid in pids)


# ---- the daemon's end -----------------------------------------------------------


def test_kill_9(host, gate, capsys):
    """The next daemon is there, with the socket; no process of before is, and no job."""
    host.conf(p={"command": FAMILY, "workers": 3})
    host.start()
    inode = os.stat(SOCKET).st_ino
    with lib.Client(SOCKET) as running:
        for _ in range(3):
            running.send("RUN", "p", "gate " + gate.path)
        gate.arrived()
        wait_pool("three at work", lambda p: p["running"] == 3)
        queued = [lib.text(cmd("SUBMIT", "p", "echo %d" % n)) for n in range(5)]
        before = families(3)
        begun = time.monotonic()
        host.crash()
        took = time.monotonic() - begun
        told(capsys, "kill -9: ready again after %.2f s, with RestartSec=1s" % took)
        assert running.at_end(), "and no reply"
    assert all_gone(before)
    families(3)
    assert os.stat(SOCKET).st_ino == inode
    p = pool()
    assert (p["queued"], p["running"], p["done"]) == (0, 0, 0)
    assert [cmd("JOB", jid).code for jid in queued] == ["NOJOB"] * 5
    assert cmd("RUN", "p", "echo next") == b"next"
    assert show(SERVICE, "NRestarts", "Result") == {"NRestarts": "1", "Result": "success"}


def test_the_watchdog(host, capsys):
    """A daemon that does not turn any more is killed, with its workers, and started again."""
    host.conf(p={"command": FAMILY, "workers": 2})
    fast(host, "WatchdogSec=2")
    host.start()
    before, inode = families(2), os.stat(SOCKET).st_ino
    begun = time.monotonic()
    assert host.crash(signal.SIGSTOP)[0] in before
    took = time.monotonic() - begun
    told(capsys, "watchdog: ready again %.2f s after SIGSTOP, with WatchdogSec=2" % took)
    assert 0.9 < took < lib.DEADLINE
    assert all_gone(before) and os.stat(SOCKET).st_ino == inode
    assert cmd("RUN", "p", "echo next") == b"next"
    assert host.wait_journal("_PID=1", "UNIT=" + SERVICE, "MESSAGE_ID=" + booted.UNIT_FAILED)
    assert any("atchdog" in e["MESSAGE"] for e in host.journal("_PID=1", "UNIT=" + SERVICE))


@pytest.mark.parametrize("sig", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_other_ends(host, sig):
    host.conf(p={"command": FAMILY})
    fast(host)
    host.start()
    before, inode = families(1), os.stat(SOCKET).st_ino
    host.crash(sig)
    assert all_gone(before) and os.stat(SOCKET).st_ino == inode
    assert cmd("RUN", "p", "echo next") == b"next"


def test_ten_crashes_in_a_row(host, capsys):
    """Nothing piles up: no descriptor here or in the store, no file, no process."""
    clean = places()
    host.conf(p={"command": FAMILY, "workers": 2})
    fast(host)
    host.start()
    seen, files = {*families(2)}, places()
    descriptors = lib.fd_count(host.main_pid())
    begun = time.monotonic()
    for _ in range(10):
        _, pid = host.crash()
        assert cmd("RUN", "p", "echo next") == b"next"
        assert show(SERVICE, "NFileDescriptorStore") == "1"
        lib.poll(lambda: lib.fd_count(pid) == descriptors, "the descriptors of the start")
        seen |= {*families(2)}
        assert places() == files
    told(capsys, "ten crashes in %.1f s" % (time.monotonic() - begun))
    assert show(SERVICE, "NRestarts") == "10"
    host.stop()
    assert all_gone(seen) and booted.pids(SERVICE) == []
    assert show(SERVICE, "NFileDescriptorStore") == "0"
    assert places() == {**clean, str(RUN): []}


def test_start_limit(host):
    """What crashes again and again is left alone, and nobody waits at its socket."""
    host.conf(p={})
    host.dropin(
        SERVICE,
        "[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=10min\n[Service]\nRestartSec=50ms",
    )
    host.start()
    for _ in range(2):
        host.crash()
    host.kill(signal.SIGKILL)
    host.wait_state("failed")
    assert show(SERVICE, "NRestarts", "NFileDescriptorStore")["NFileDescriptorStore"] == "0"
    with pytest.raises(ConnectionRefusedError):
        lib.Client(SOCKET)
    assert systemctl("start", SERVICE, check=False).returncode != 0
    systemctl("reset-failed", SERVICE)
    host.start()
    assert cmd("RUN", "p", "echo next") == b"next"


# ---- workers' ends --------------------------------------------------------------


def test_all_workers_are_killed(host, gate):
    """Each takes its job with it, and the service stays."""
    host.conf(p={"workers": 4})
    host.start()
    main = host.main_pid()
    with lib.Client(SOCKET) as c:
        for _ in range(4):
            c.send("RUN", "p", "gate " + gate.path)
        gate.arrived()
        wait_pool("four at work", lambda p: p["running"] == 4)
        for pid in booted.pids(SERVICE):
            if pid != main:
                os.kill(pid, signal.SIGKILL)
        assert [c.read().code for _ in range(4)] == ["CRASHED"] * 4
    wait_pool("four others", lambda p: p["idle"] == 4)
    assert cmd("RUN", "p", "echo next") == b"next"
    assert host.main_pid() == main and show(SERVICE, "NRestarts") == "0"


# ---- limits ---------------------------------------------------------------------


def needs_controller(hierarchy, name):
    """Skip where limits of this controller do not act in this hierarchy."""
    if hierarchy == "v1":
        has = pathlib.Path("/sys/fs/cgroup", name).is_dir()
        why = "this system has no control groups v1 with %s" % name
    else:
        top = pathlib.Path("/sys/fs/cgroup")
        top = top if (top / "cgroup.controllers").exists() else top / "unified"
        listed = (top / "cgroup.controllers").read_text().split()
        has = name in listed
        why = "cgroup2 has no controller %s here (it has: %s)" % (name, " ".join(listed) or "none")
    if not has:
        pytest.skip(why)


@pytest.mark.parametrize("hierarchy", ["v1", "v2"])
def test_memory_max(host, hierarchy):
    """A worker that is killed for want of memory costs one job, and not the service."""
    needs_controller(hierarchy, "memory")
    host.conf(p={"workers": 2})
    limit, small, large = (600, 20, 2000) if lib.SANITIZED else (64, 20, 400)
    host.dropin(SERVICE, "MemoryMax=%dM\nMemorySwapMax=0" % limit)
    host.start()
    main = host.main_pid()
    assert cmd("RUN", "p", "leak %d" % small) == b"leaked"
    with lib.Client(SOCKET) as c:
        c.send("RUN", "p", "leak %d" % large)
        reply = c.read()
    assert reply.code == "CRASHED" and "SIGKILL" in reply.text
    assert [cmd("RUN", "p", "echo %d" % n) for n in range(4)] == [b"%d" % n for n in range(4)]
    p = wait_pool("both workers", lambda p: p["idle"] == 2)
    assert p["failed"] == 1
    assert host.main_pid() == main
    assert show(SERVICE, "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}


@pytest.mark.parametrize("hierarchy", ["v1", "v2"])
def test_tasks_max(host, hierarchy):
    """Workers for which there is no room: the pool is degraded, and goes on with those it has;
    when there is room they come."""
    needs_controller(hierarchy, "pids")
    host.conf(p={"workers": 6, "start": {"backoff": "100ms..500ms"}})
    host.dropin(SERVICE, "TasksMax=4")
    host.start()
    p = wait_pool("degraded", lambda p: p["state"] == "degraded")
    assert "cannot be spawned: Resource temporarily unavailable" in p["last_error"]
    assert show(SERVICE, "TasksCurrent") == "4"
    assert cmd("RUN", "p", "echo few") == b"few"
    lib.poll(lambda: "p degraded" in show(SERVICE, "StatusText"), "the status says it")
    host.at_end.append(lambda: systemctl("revert", SERVICE))
    systemctl("set-property", "--runtime", SERVICE, "TasksMax=50")
    wait_pool("all workers", lambda p: p["state"] == "ok" and p["idle"] == 6)
    lib.poll(lambda: "6/6 workers" in show(SERVICE, "StatusText"), "the status says it")
    assert show(SERVICE, "NRestarts") == "0"
