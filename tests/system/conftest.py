# SPDX-License-Identifier: MIT
"""Fixtures of the system tests, and a deadline for each of them."""
import faulthandler
import pathlib
import shutil
import signal
import sys
import tempfile

import pytest

import booted
import lib

sys.dont_write_bytecode = True
TEST_DEADLINE = 60 * lib.SLOW


def pytest_configure(config):
    """Whoever ends us leaves nothing behind: the fixtures have their turn."""

    def on_term(signum, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, on_term)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.failed = outcome.get_result().failed


@pytest.fixture(autouse=True)
def deadline():
    """A test that hangs fails, and says where."""

    def on_alarm(signum, frame):
        raise TimeoutError("the test took more than %d s" % TEST_DEADLINE)

    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(int(TEST_DEADLINE))
    faulthandler.dump_traceback_later(TEST_DEADLINE * 2, exit=True)
    yield
    signal.alarm(0)
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def make(request):
    """Makes daemons, stopped at the end of the test with all that must hold then.

    of: a class made of lib.Daemon.
    """
    made = []

    def make_daemon(*pools, of=lib.Daemon, **options):
        daemon = of(*pools, **options)
        made.append(daemon)
        return daemon

    yield make_daemon
    failed = getattr(request.node, "failed", True)
    try:
        for daemon in made:
            if not failed and daemon.proc is not None:
                daemon.stop(fds=getattr(daemon, "check_fds", True))
                assert "Sanitizer" not in daemon.log(), "a sanitizer's report is in the log"
    finally:
        for daemon in made:
            daemon.kill()
            if daemon.logfile.exists():
                print("---- log of %s" % daemon.dir)
                print("\n".join(daemon.log().splitlines()[-200:]))
            daemon.clean()


@pytest.fixture
def start(make):
    """Makes and starts a daemon: start(pool("p"), …)."""

    def start_daemon(*pools, **options):
        return make(*pools, **options).start()

    return start_daemon


@pytest.fixture
def start_held(make):
    """Starts a daemon whose workers, of the pool p, are not ready before the gate lets them."""

    def held(**keys):
        d = make()
        gate = d.gate()
        act = [lib.ACT, "--gate", gate.path, "--ready"]
        keys = lib.pool("p", *act, start={"ready": True}, **keys)
        d.conf.write_text(d.configuration([keys], None, {}))
        return d.start(ready=False), gate

    return held


@pytest.fixture
def host(request):
    """The booted machine (booted.py), put back at the end of the test."""
    machine = booted.Host()
    yield machine
    if getattr(request.node, "failed", True):
        print("---- the journal")
        print(booted.run("journalctl --sync; journalctl -n 200 -o short-monotonic").stdout)
    machine.clean()


def pytest_terminal_summary(terminalreporter):
    if booted.INSIDE:
        terminalreporter.write_line(booted.totals())


@pytest.fixture
def tmp():
    """A directory with a short name, readable by every user."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="pft-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Bystander:
    """Another client, of a second pool and of the same one, before and after."""

    def __init__(self, d):
        self.c = d.client()

    def check(self):
        assert self.c.cmd("RUN", "other", "echo other") == b"other"
        assert self.c.cmd("RUN", "p", "echo same") == b"same"
        assert self.c.quiet()


@pytest.fixture
def bystander():
    return Bystander


@pytest.fixture
def crash(start):
    """crash(payload, …): run a job that ends its worker, and see what must hold each time.

    The job's client gets exactly one error (d.reply), nobody else notices, and
    the pool has its worker back.
    """

    def run_crash(payload, *command, proto="line", **keys):
        d = start(lib.pool("p", *command, protocol=proto, **keys), lib.pool("other"))
        by = Bystander(d)
        by.check()
        (before,) = d.workers("p")
        c = d.client()
        d.reply = c.cmd("RUN", "p", payload)
        assert isinstance(d.reply, lib.Error), d.reply
        by.check()
        (after,) = d.workers("p")
        assert after["pid"] != before["pid"] and after["worker"] == before["worker"]
        assert c.quiet(), "one error, not two"
        p = d.wait_pool("p", "settled", lambda p: p["idle"] == 1 and p["exited"] == 1)
        assert (p["spawned"], p["running"], p["queued"]) == (2, 0, 0)
        return d

    return run_crash
