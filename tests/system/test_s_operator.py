# SPDX-License-Identifier: MIT
"""An administrator who does anything to the units, in any order, under clients; and a worker
that does what it can.

Whatever is done, no client hangs: it has its result, is told that the daemon drains, or sees
the connection end. The seed is in the test's name; PREFORKD_TEST_SEED and
PREFORKD_TEST_SECONDS set it.
"""
import os
import random
import threading
import time

import pytest

import booted
import lib
from booted import SERVICE, SOCKET, run, show, systemctl

pytestmark = booted.needed

SECONDS = float(os.environ.get("PREFORKD_TEST_SECONDS") or 8)
SEED = int(os.environ.get("PREFORKD_TEST_SEED") or random.randrange(1 << 16))
UNIT = "preforkd.socket"
TOP = 'drain = "500ms";'
POOL = {"workers": 2, "start": {"backoff": "10ms..1s"}, "job": {"grace": "200ms"}}
SOON = """[Unit]
StartLimitIntervalSec=0
[Service]
RestartSec=50ms
WatchdogSec=3s
TimeoutStartSec=4s
TimeoutStopSec=4s
"""


class Caller(threading.Thread):
    def __init__(self, n):
        super().__init__(daemon=True)
        self.n, self.over, self.done, self.bad = n, False, 0, []

    def run(self):
        while not self.over and not self.bad:
            try:
                self.ask(b"%d-%d" % (self.n, self.done))
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                time.sleep(0.01)  # it is stopped
            except (lib.Closed, BrokenPipeError, ConnectionResetError):
                pass
            except OSError as why:  # a timeout, too: nobody may hang
                self.bad.append(repr(why))

    def ask(self, what):
        with lib.Client(SOCKET) as c:
            reply = c.cmd("RUN", "p", b"echo " + what)
        if reply == what:
            self.done += 1
        elif not isinstance(reply, lib.Error) or reply.code not in ("DRAINING", "CRASHED"):
            self.bad.append((what, reply))


def signalled(sig):
    return ["kill", "--kill-who=main", "--signal=" + sig, SERVICE]


STEPS = [
    *[[verb, SERVICE] for verb in ("start", "stop", "restart", "reload")],
    *[["--no-block", verb, SERVICE] for verb in ("start", "stop", "restart", "reload")],
    *[signalled(sig) for sig in ("KILL", "ABRT", "TERM", "HUP", "HUP", "STOP", "CONT")],
    ["kill", "--signal=KILL", SERVICE],
    ["start", UNIT],
    ["stop", UNIT],
    ["restart", UNIT],
    ["daemon-reload"],
    ["daemon-reexec"],
]


@pytest.mark.parametrize("seed", [SEED])
def test_anything_in_any_order(host, capsys, seed):
    dice = random.Random(seed)
    host.conf(TOP, p=POOL)
    host.dropin(SERVICE, SOON)
    host.start(dice.choice([SERVICE, UNIT]))
    callers = [Caller(n) for n in range(4)]
    for caller in callers:
        caller.start()
    end, steps = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        systemctl(*dice.choice(STEPS), check=False)
        time.sleep(dice.random() ** 3 / 2)  # his pace, not a wait for anything
        steps += 1
    systemctl("restart", UNIT, SERVICE)
    with lib.Client(SOCKET) as c:
        assert c.cmd("RUN", "p", "echo well") == b"well"
    lib.poll(lambda: "2/2 workers" in show(SERVICE, "StatusText"), "its status")
    for caller in callers:
        caller.over = True
    for caller in callers:
        caller.join(lib.DEADLINE * 2)
        assert not caller.is_alive() and not caller.bad, caller.bad
    with capsys.disabled():
        print("\n%d steps, %d jobs" % (steps, sum(caller.done for caller in callers)))
    systemctl("stop", UNIT, SERVICE)
    assert booted.pids(SERVICE) == []
    assert not os.path.exists(SOCKET)


# ---- a worker with bad intentions

TELLS = """import socket, os
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for m in "STATUS=taken", "MAINPID=%d" % os.getpid(), "STOPPING=1", "ERRNO=5", "WATCHDOG=trigger":
    s.sendto(m.encode(), "/run/systemd/notify")
print("told")
"""


def test_a_worker_that_speaks_for_the_daemon(host):
    """The service manager hears nobody but the daemon; who has ended by then it does not know."""

    def refused():
        told = [e["MESSAGE"] for e in host.journal("_PID=1", "PRIORITY=4")]
        return [m for m in told if "notify message" in m or "otification message" in m]

    script = host.write("/opt/preforkd-tests/tells.py", TELLS)
    host.shell()
    before = show(SERVICE, "MainPID", "ActiveState", "StatusErrno", "NRestarts")
    assert host.sh("/usr/bin/python3 %s" % script) == "told"
    lib.poll(lambda: len(refused()) >= 5, "all refused")
    assert show(SERVICE, "MainPID", "ActiveState", "StatusErrno", "NRestarts") == before
    assert "taken" not in show(SERVICE, "StatusText")
    assert host.sh("echo on") == "on"


def test_no_room_for_files(host):
    """Where workers have filled its directory the daemon reloads, and comes back after a kill."""
    runtime = os.path.dirname(SOCKET)
    os.makedirs(runtime, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=8", "tmpfs", runtime)
    host.at_end.append(lambda: run("umount", runtime))
    host.shell()
    full = host.sh("for i in 1 2 3 4 5 6 7 8; do : >%s/$i || exit 1; done" % runtime)
    assert isinstance(full, lib.Error), full
    with pytest.raises(OSError, match="No space left"):
        open(runtime + "/more", "w").close()
    systemctl("reload", SERVICE)
    host.crash()
    assert host.sh("echo on") == "on"
