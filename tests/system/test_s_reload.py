# SPDX-License-Identifier: MIT
"""systemctl reload: it returns when the reload is done, and fails when that has."""
import pathlib
import re
import signal
import subprocess
import time

import pytest

import booted
import lib
from booted import ACT, ETC, SERVICE, SOCKET, run, show, systemctl

pytestmark = booted.needed

SOON = {"backoff": "10ms..1s"}
LINES = 300  # for each of ten reloads


def pool(which="0", **keys):
    """A pool whose command is another one with another word."""
    keys = {"workers": 2, "start": SOON, **keys}
    return {"command": ["/usr/bin/env", "WHICH=" + which, ACT], **keys}


def cmd(*args):
    with lib.Client(SOCKET) as c:
        return c.cmd(*args)


def pids(name="p"):
    return [lib.mapping(w)["pid"] for w in cmd("WORKERS", name)]


def reloads():
    return lib.mapping(cmd("STATUS"))["reloads"]


def status_text():
    return show(SERVICE, "StatusText")


def refused():
    """A reload that fails; the service goes on."""
    main = show(SERVICE, "MainPID")
    r = systemctl("reload", SERVICE, check=False)
    assert r.returncode != 0
    assert show(SERVICE, "ActiveState", "MainPID") == {"ActiveState": "active", "MainPID": main}
    assert cmd("RUN", "p", "echo x") == b"x"


def test_it_returns_when_it_is_done(host):
    host.conf(p=pool(), q=pool())
    host.start()
    main, before, other = host.main_pid(), pids(), pids("q")
    host.conf(p=pool("1", workers=1), q=pool(), new=pool())
    begun = time.monotonic()
    systemctl("reload", SERVICE)
    booted.note("systemctl reload took %d ms" % ((time.monotonic() - begun) * 1000))
    assert reloads() == 1
    assert cmd("RUN", "new", "echo x") == b"x"
    assert not set(pids()[:1]) & set(before)
    assert pids("q") == other
    assert host.main_pid() == main
    assert show(SERVICE, "ActiveState") == "active"
    (done,) = host.wait_journal("PREFORKD_EVENT=reloaded")
    assert "1 new, " in done["MESSAGE"]


def test_a_mistake_fails_it(host):
    """The service goes on; the journal has each mistake, and the status says why."""
    host.conf(p=pool())
    host.start()
    before = pids()
    host.conf("drain = \"soon\";", p=pool("1", workers=0))
    refused()
    assert pids() == before
    lib.poll(lambda: status_text().startswith("reload failed: /etc/preforkd/"), "the status")
    told = "\n".join(e["MESSAGE"] for e in host.wait_journal("PREFORKD_EVENT=reload-failed"))
    for mistake in ("preforkd.conf:1: drain", "p.conf:1: ", "stays so"):
        assert mistake.split(":")[0] in told
    by_ctl = [e["MESSAGE"] for e in host.journal("SYSLOG_IDENTIFIER=preforkctl")]
    assert any("drain" in m for m in by_ctl), by_ctl
    run("systemctl status preforkd | grep 'Status: \"reload failed'")
    host.conf(p=pool())
    systemctl("reload", SERVICE)
    lib.poll(lambda: "reload failed" not in status_text(), "the status is good again")
    assert pids() == before


def test_workers_that_do_not_start_fail_it(host):
    host.conf(p=pool())
    host.start()
    host.conf(p=pool(command=["/bin/false"], start={"backoff": "1s..1m"}), new=pool())
    refused()
    assert cmd("RUN", "new", "echo x") == b"x"
    lib.poll(lambda: "p degraded: exits at start" in status_text(), "the status names the pool")


def test_hup(host):
    """The unit is reloading as long as the daemon is."""
    path = host.scratch("/opt/preforkd-tests/gate-reload")
    gate = lib.Gate(path)
    host.at_end.append(gate.close)
    host.conf(p=pool())
    host.start()
    waits = 'read x < "%s"; echo READY; exec %s' % (path, ACT)
    host.conf(p=pool(command=["/bin/sh", "-c", waits], start={**SOON, "ready": True}, workers=1))
    host.kill(signal.SIGHUP)
    host.wait_state("reloading")
    gate.arrived()
    assert show(SERVICE, "ActiveState") == "reloading"
    gate.release()
    host.wait_state("active")


def test_a_map_goes_on(host):
    """Under a running map nothing is lost, done twice, or out of order."""
    host.conf(p=pool(workers=3))
    host.start()
    out = host.scratch("/run/map-output")
    with open(out, "w") as o:
        mapping = subprocess.Popen(["preforkctl", "map", "p"], stdin=subprocess.PIPE, stdout=o)
    for n in range(10):
        lines = range(n * LINES, (n + 1) * LINES)
        mapping.stdin.write("".join("echo %d\n" % i for i in lines).encode())
        mapping.stdin.flush()
        host.conf(p=pool(str(n + 1), workers=3))
        systemctl("reload", SERVICE)
    mapping.stdin.close()
    assert mapping.wait(lib.DEADLINE) == 0
    assert pathlib.Path(out).read_text() == "".join("%d\n" % i for i in range(10 * LINES))
    assert reloads() == 10


def test_an_instance(host):
    etc = ETC / "mail"
    host.directory(etc)
    host.conf(etc=etc, p=pool())
    host.start("preforkd@mail.service")
    host.conf(etc=etc, p=pool("1"))
    systemctl("reload", "preforkd@mail.service")
    with lib.Client("/run/preforkd-mail/control.sock") as c:
        assert lib.mapping(c.cmd("STATUS"))["reloads"] == 1


def test_with_the_socket_unit(host):
    host.conf(p=pool())
    systemctl("start", "preforkd.socket")
    assert cmd("RUN", "p", "echo x") == b"x"
    systemctl("reload", SERVICE)
    assert reloads() == 1
