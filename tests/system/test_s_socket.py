# SPDX-License-Identifier: MIT
"""The control socket under the service manager: the first connection, restarts, crashes, modes."""
import grp
import multiprocessing
import os
import pathlib
import pwd
import signal
import stat

import pytest

import booted
import lib
from booted import SERVICE, SOCKET, show, systemctl

pytestmark = booted.needed

UNIT = "preforkd.socket"
LOCK = SOCKET + ".lock"
RUNTIME = pathlib.Path(SOCKET).parent


def cmd(*args):
    with lib.Client(SOCKET) as c:
        return c.cmd(*args)


def nothing_left():
    assert booted.pids(SERVICE) == []
    assert not RUNTIME.exists() or list(RUNTIME.iterdir()) == []


# ---- with the socket unit -----------------------------------------------------


def test_first_connection_starts_the_service(host):
    host.conf(p={})
    systemctl("enable", "-q", "--now", UNIT)
    assert show(SERVICE, "ActiveState", "UnitFileState") == {
        "ActiveState": "inactive",
        "UnitFileState": "disabled",
    }
    with lib.Client(SOCKET) as c:  # before there is a daemon
        assert c.cmd("RUN", "p", "echo first") == b"first"
    assert show(SERVICE, "ActiveState") == "active"
    assert not os.path.exists(LOCK), "the socket is not the daemon's"
    assert show(SERVICE, "NFileDescriptorStore") == "0"


def test_stop_of_the_service_keeps_the_socket(host):
    host.conf(p={})
    host.start(UNIT)
    for n in range(3):
        assert cmd("RUN", "p", "echo %d" % n) == b"%d" % n
        host.stop()
        assert show(SERVICE, "ActiveState") == "inactive"
        assert show(UNIT, "ActiveState") == "active" and os.path.exists(SOCKET)
    systemctl("stop", UNIT, SERVICE)
    nothing_left()
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        lib.Client(SOCKET)


@pytest.mark.parametrize("verb", ["restart", "stop"])
@pytest.mark.parametrize("name", ["preforkd", "preforkd@mail"])
def test_no_daemon_without_its_socket(host, name, verb):
    """What is done to the socket unit is done to a daemon that it has started: one that
    went on could not be reached."""
    where = "/run/%s/control.sock" % name.replace("@", "-")
    if "@" in name:
        host.directory(booted.ETC / "mail")
        host.conf(etc=booted.ETC / "mail", p={})
    else:
        host.conf(p={})
    host.start(name + ".socket")
    host.at_end.append(lambda: systemctl("stop", name + ".socket"))
    with lib.Client(where) as c:
        assert c.cmd("RUN", "p", "echo before") == b"before"
    before = host.main_pid(name + ".service")
    systemctl(verb, name + ".socket")
    if verb == "stop":
        assert show(name + ".service", "ActiveState") == "inactive"
        assert not os.path.exists(where)
        return
    with lib.Client(where) as c:
        assert c.cmd("RUN", "p", "echo after") == b"after"
    assert host.main_pid(name + ".service") != before


class Stream:
    """Clients that connect, ask and hang up, one after the other, in processes of their own.

    crash: the daemon may be killed: then those who are connected have no reply.
    """

    def __init__(self, count, crash=False):
        self.crash = crash
        self.end = multiprocessing.Event()
        self.said = multiprocessing.SimpleQueue()
        self.all = [
            multiprocessing.Process(target=self.work, args=(n,), daemon=True) for n in range(count)
        ]
        for p in self.all:
            p.start()

    def work(self, n):
        signal.alarm(0)
        seen = {"done": 0, "draining": 0, "ended": 0, "errors": []}
        while not self.end.is_set() and not seen["errors"]:
            try:
                seen[self.ask(b"%d-%d" % (n, seen["done"]))] += 1
            except Exception as e:  # anything at all is what this looks for
                seen["errors"].append(repr(e))
        self.said.put(seen)

    def ask(self, text):
        with lib.Client(SOCKET) as c:  # refused: an exception, that no daemon's end excuses
            try:
                pong, answer = c.pipeline([("PING",), ("RUN", "p", b"echo " + text)])
            except (lib.Closed, BrokenPipeError, ConnectionResetError):
                if self.crash:
                    return "ended"
                raise
        if pong == "PONG" and answer == text:
            return "done"
        assert pong == "PONG" and answer.code == "DRAINING", (pong, answer)
        return "draining"

    def finish(self, capsys, what):
        self.end.set()
        seen = [self.said.get() for _ in self.all]
        for p in self.all:
            p.join()
        words = {k: sum(s[k] for s in seen) for k in ("done", "draining", "ended")}
        with capsys.disabled():
            print("\n%s: %s" % (what, ", ".join("%d %s" % (v, k) for k, v in words.items())))
        errors = [e for s in seen for e in s["errors"]]
        assert not errors, errors
        assert all(s["done"] for s in seen)


def test_restarts_under_a_stream_of_clients(host, capsys):
    """None is refused, each gets its replies."""
    host.conf(p={"workers": 2})
    host.dropin(SERVICE, "[Unit]\nStartLimitIntervalSec=0")
    host.start(UNIT)
    assert cmd("PING") == "PONG"
    stream = Stream(4)
    for _ in range(8):
        before = host.main_pid()
        systemctl("restart", SERVICE)
        assert host.main_pid() != before
        assert cmd("RUN", "p", "echo between") == b"between"
    stream.finish(capsys, "8 restarts under 4 clients")


def test_an_open_connection_over_a_restart(host):
    """It gets its replies, and then a clean end."""
    host.conf(p={})
    host.start(UNIT)
    gate = lib.Gate("/opt/preforkd-tests/gate-socket")
    host.made.append(pathlib.Path(gate.path))
    with lib.Client(SOCKET) as c:
        c.send("RUN", "p", "gate " + gate.path)
        gate.arrived()
        systemctl("restart", "--no-block", SERVICE)
        lib.poll(lambda: lib.mapping(cmd("STATUS"))["state"] == "draining", "the drain")
        gate.release()
        assert c.read() == b"gate"
        assert c.at_end()
    assert cmd("RUN", "p", "echo next") == b"next"


@pytest.mark.parametrize("unit", [UNIT, SERVICE])
def test_crashes_under_a_stream_of_clients(host, capsys, unit):
    """With the socket unit, and with the service manager's store: nobody is refused."""
    host.conf(p={"workers": 2})
    host.dropin(SERVICE, "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=100ms")
    host.start(unit)
    assert cmd("PING") == "PONG"
    kept = "0" if unit == UNIT else "1"
    inode = os.stat(SOCKET).st_ino
    stream = Stream(4, crash=True)
    for _ in range(5):
        assert show(SERVICE, "NFileDescriptorStore") == kept
        host.crash()
        assert cmd("RUN", "p", "echo between") == b"between"
        assert os.stat(SOCKET).st_ino == inode
    stream.finish(capsys, "5 times kill -9 under 4 clients, " + unit)
    systemctl("stop", UNIT, SERVICE)
    assert show(SERVICE, "NFileDescriptorStore") == "0"
    nothing_left()


def test_without_a_store(host):
    """As before there was one: the socket is made anew, and nobody is told of it."""
    host.conf(p={})
    host.dropin(SERVICE, "FileDescriptorStoreMax=0\nRestartSec=100ms")
    host.start()
    assert show(SERVICE, "NFileDescriptorStore") == "0"
    host.crash()
    assert not host.journal("MESSAGE=the control socket from before is served again")
    assert cmd("RUN", "p", "echo x") == b"x"
    host.stop()
    nothing_left()


def test_another_mode_after_a_crash(host):
    host.conf(p={})
    host.dropin(SERVICE, "RestartSec=100ms")
    host.start()
    host.conf('control = { mode = "0600"; };\n', p={})
    host.crash()
    assert stat.S_IMODE(os.stat(SOCKET).st_mode) == 0o600
    assert cmd("PING") == "PONG"
    lib.poll(lambda: show(SERVICE, "NFileDescriptorStore") == "1", "one socket is kept")


# ---- whose it is --------------------------------------------------------------


@pytest.mark.parametrize("unit", [UNIT, SERVICE])
def test_mode_and_group(host, unit):
    """The same with and without the socket unit: the group preforkd is let in, others are not."""
    host.conf(p={})
    host.start(unit)
    lib.poll(lambda: os.path.exists(SOCKET), "the socket")
    st = os.stat(SOCKET)
    group = grp.getgrnam("preforkd").gr_gid
    assert (stat.S_IMODE(st.st_mode), st.st_gid) == (0o660, group)
    nobody = pwd.getpwnam("nobody").pw_uid
    with lib.Client(None, connected=lib.connect_as(SOCKET, nobody, groups=[group])[0]) as c:
        assert c.cmd("PING") == "PONG"
    with pytest.raises(AssertionError, match="cannot connect"):
        lib.connect_as(SOCKET, nobody)


def test_another_group_by_drop_in(host):
    host.conf(p={})
    host.dropin(UNIT, "[Socket]\nSocketGroup=daemon\nSocketMode=0620")
    host.start(UNIT)
    st = os.stat(SOCKET)
    assert (stat.S_IMODE(st.st_mode), st.st_gid) == (0o620, grp.getgrnam("daemon").gr_gid)
    assert cmd("RUN", "p", "echo x") == b"x"


# ---- mistakes -----------------------------------------------------------------


def test_a_mistake_while_the_socket_is_there(host):
    """One connection is enough for the service manager to give up both; as the manual has it
    they come back."""
    host.conf(p={}, wrong="nonsense\n")
    host.dropin(SERVICE, "[Unit]\nStartLimitIntervalSec=1h")  # however slow the machine is
    host.start(UNIT)
    with lib.Client(SOCKET) as c:
        assert c.at_end(), "nobody answers"
    host.wait_state("failed", UNIT)
    assert show(UNIT, "Result") == "service-start-limit-hit"
    assert "wrong.conf:1: syntax" in show(SERVICE, "StatusText")
    (booted.ETC / "pool.d" / "wrong.conf").unlink()
    systemctl("reset-failed", SERVICE)
    systemctl("start", UNIT)
    assert cmd("RUN", "p", "echo mended") == b"mended"


def test_two_sockets_in_the_unit(host):
    """Fails at once, with the reason, and is not tried again and again."""
    host.conf(p={})
    host.dropin(UNIT, "[Socket]\nListenStream=/run/preforkd/second.sock")
    host.start(UNIT)
    with lib.Client(SOCKET) as c:
        host.wait_journal("_COMM=preforkd", "PRIORITY=3")
        (line,) = {e["MESSAGE"] for e in host.wait_journal("_COMM=preforkd", "PRIORITY=3")}
        assert "second one" in line and "ListenStream=" in line
        host.wait_state("failed", UNIT)
        assert c.at_end(), "nobody waits for ever"
    seen = show(SERVICE, "ExecMainStatus", "NRestarts", "StatusErrno")
    assert seen == {"ExecMainStatus": "78", "NRestarts": "0", "StatusErrno": "22"}
    assert line in show(SERVICE, "StatusText")


def test_a_daemon_by_hand_beside_the_units(host):
    """Whoever has the socket keeps it: the service, or the socket unit for it."""
    host.conf(p={})
    by_hand = ["preforkd", "-s", SOCKET, "--pool", "q", "--", booted.ACT]
    host.start(UNIT)
    r = booted.run(*by_hand, check=False)
    assert r.returncode == 69 and "somebody listens there" in r.stderr
    assert cmd("RUN", "p", "echo x") == b"x"
    systemctl("stop", UNIT, SERVICE)
    host.start()
    r = booted.run(*by_hand, check=False)
    assert r.returncode == 69 and "another preforkd serves this socket" in r.stderr
    assert cmd("RUN", "p", "echo x") == b"x"
