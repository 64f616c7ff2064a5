# SPDX-License-Identifier: MIT
"""The control socket that comes from a service manager: passed at the start, kept over a crash."""
import os
import re
import shutil
import socket
import stat

import pytest

import lib
from lib import pool

EX_CONFIG = 78


def listening(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.bind(str(path))
    s.listen(64)
    return s


def listening_tcp():
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.bind(("127.0.0.1", 0))
    s.listen(64)
    return s


def start_with(d, *passed, names=None, ready=True):
    """Start it as a service manager does: with these sockets as descriptors 3, 4 …"""
    env = "LISTEN_PID=$$ LISTEN_FDS=%d" % len(passed)
    if names is not None:
        env += " LISTEN_FDNAMES='%s'" % ":".join(names)
    high = [os.dup2(s.fileno(), 100 + i) for i, s in enumerate(passed)]

    def child():
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i, inheritable=True)
            os.close(fd)

    try:
        return d.start(
            ready=ready,
            command=["/bin/sh", "-c", env + ' exec "$0" "$@"'] + d.command(),
            preexec_fn=child,
            close_fds=False,
        )
    finally:
        for fd in high:
            os.close(fd)


def refused(d, *words):
    """It has ended, for a reason that no restart mends, and has said these words."""
    assert d.wait() == EX_CONFIG, d.log()
    assert "ERRNO=22" in d.notify.drain()
    d.notify.wait("STATUS=socket activation: ")
    d.proc = None
    for word in words:
        assert word in d.log()


# ---- passed at the start ------------------------------------------------------


@pytest.mark.parametrize("names", [None, ["control"], [""], ["mine.socket"]])
def test_by_hand(make, names):
    d = make(pool("p"))
    with listening(d.socket) as s:
        client = d.client()  # before there is a daemon: waits in the backlog
        client.send("RUN", "p", "environ")
        start_with(d, s, names=names)
    env = client.read()
    assert b"PREFORKD_POOL=p" in env and b"LISTEN_" not in env
    d.stop(fds=False)
    assert os.path.exists(d.socket), "the socket is the service manager's: it stays"
    assert not os.path.exists(d.socket + ".lock")


def activate(d, *options):
    """Start it by systemd-socket-activate, once something comes in."""
    if not shutil.which("systemd-socket-activate"):
        pytest.skip("no systemd-socket-activate here (Debian: apt-get install systemd)")
    d.start(
        ready=False,
        command=["systemd-socket-activate", *options]
        + ["-E", "NOTIFY_SOCKET=" + d.notify.path]
        + d.command(),
    )
    d.wait_log("Listening on")
    return d


@pytest.mark.parametrize("options", [[], ["--fdname=control"]])
def test_by_systemd(make, options):
    d = make(pool("p"))
    activate(d, "-l", d.socket, *options)
    client = d.client()
    client.send("PING")
    d.notify.wait("READY=1", d.proc)
    assert client.read() == "PONG"
    assert d.cmd("RUN", "p", "echo activated") == b"activated"
    assert d.status()["pid"] == d.pid


def test_what_is_not_for_it_is_closed(make):
    d = make(pool("p"))
    others = ["-l", "127.0.0.1:%d" % free_port(), "-l", d.socket + "2"]
    activate(d, "-l", d.socket, *others, "--fdname=control:http:extra")
    client = d.client()
    client.send("PING")
    d.notify.wait("READY=1", d.proc)
    assert client.read() == "PONG"
    d.wait_log(r'descriptor 4 \("http"\): a listening IPv[46] stream socket: not for this daemon')
    d.wait_log(r'descriptor 5 \("extra"\): a listening AF_UNIX stream socket: not for this daemon')
    with pytest.raises(ConnectionRefusedError):
        lib.Client(d.socket + "2")


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_two_control_sockets(make):
    """One would be listened at by nobody, and whoever connects there would wait."""
    d = make(pool("p"))
    activate(d, "-l", d.socket, "-l", d.socket + "2", "--fdname=control:control")
    d.client()
    refused(d, 'descriptor 4 ("control")', "one is served", "ListenStream=")


def test_tcp(make):
    d = make(pool("p"))
    port = free_port()
    activate(d, "-l", "127.0.0.1:%d" % port, "--fdname=control")
    socket.create_connection(("127.0.0.1", port)).close()
    refused(d, "IPv4 stream socket", "has to be a listening AF_UNIX stream socket")


def test_datagrams(make):
    d = make(pool("p"))
    activate(d, "-d", "-l", d.socket)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", d.socket)
    refused(d, "AF_UNIX datagram socket", "listening AF_UNIX stream socket")


def test_one_connection_at_a_time(make):
    """What Accept=yes does: a daemon for each connection, and no listening socket."""
    d = make(pool("p"))
    ours, theirs = socket.socketpair()
    start_with(d, theirs, names=["connection"], ready=False)
    theirs.close()
    refused(d, "a connected AF_UNIX stream socket", "Accept=no")
    ours.close()


def test_one_connection_at_a_time_by_systemd(make):
    d = make(pool("p"))
    activate(d, "--accept", "-l", d.socket)
    with d.client() as c:
        c.send("PING")
        d.wait_log("a connected AF_UNIX stream socket: .*Accept=no")
        assert c.at_end()
    d.proc.terminate()
    d.proc.wait()
    d.proc = None


def test_only_what_is_not_for_it(make):
    d = make(pool("p"))
    with listening_tcp() as s:
        start_with(d, s, names=["http"], ready=False)
    refused(d, '"http"', "no control socket was passed", "FileDescriptorName=control")
    assert not os.path.exists(d.socket)


def test_no_socket_at_all(make):
    d = make(pool("p"))
    with open("/dev/zero", "rb") as f:
        start_with(d, f, names=["control"], ready=False)
    refused(d, "/dev/zero", "listening AF_UNIX stream socket")


def test_wrong_number(make):
    d = make(pool("p"))
    with listening(d.socket) as s:
        start_with(d, s, names=["control", "control"], ready=False)
    refused(d, "LISTEN_FDNAMES")


# ---- kept over a crash --------------------------------------------------------


def crash(d):
    """The end of a daemon that had no time to see to anything."""
    d.notify.drain()
    d.proc.kill()
    d.wait()
    d.gone()


def restart(d, **more):
    """Start it again with what was kept."""
    kept = [socket.socket(fileno=os.dup(fd)) for fd in d.notify.kept.values()]
    try:
        return start_with(d, *kept, names=d.notify.kept, **more)
    finally:
        for s in kept:
            s.close()


@pytest.fixture
def keeping(make):
    """A daemon whose service manager keeps what it is given."""

    def start_daemon(**control):
        d = make(pool("p"), control=control)
        d.check_fds = False
        d.notify.keeps = True
        return d.start()

    return start_daemon


def reconfigure(d, **control):
    d.conf.write_text(d.configuration([pool("p")], control, {}))


def test_own_socket_is_kept(keeping):
    d = keeping()
    (field,) = [f for f in d.notify.drain() if f.startswith("FDNAME=")]
    assert field.startswith("FDNAME=control-listener-")
    assert "FDPOLL=0" in d.notify.drain(), "or a hang-up would end it"
    inode = os.stat(d.socket).st_ino
    for n in range(3):
        crash(d)
        with d.client() as waiting:  # refused by nobody
            waiting.send("RUN", "p", "echo %d" % n)
            restart(d)
            assert waiting.read() == b"%d" % n
        assert os.stat(d.socket).st_ino == inode
        assert list(d.notify.kept) == [field[len("FDNAME=") :]]
        assert "FDSTORE=1" not in d.notify.drain(), "it is kept already"
    assert d.log().count("the control socket from before is served again") == 3


def test_whose_it_is_after_a_crash(keeping):
    """A client sees the daemon that serves it (SO_PEERCRED), not the one that made the socket."""
    d = keeping()
    crash(d)
    restart(d)
    c = d.client()
    pid = int.from_bytes(c.s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), "little")
    assert pid == d.pid


def test_nothing_is_kept_after_a_stop(keeping):
    d = keeping()
    assert len(d.notify.kept) == 1
    d.stop()
    assert "FDSTOREREMOVE=1" in d.notify.drain() and not d.notify.kept
    assert not os.path.exists(d.socket) and not os.path.exists(d.socket + ".lock")


def test_a_kept_duplicate_hides_no_end(keeping):
    """Were it not told to let go, those who are in the backlog would wait for ever, and go on
    coming: so the socket itself is shut."""
    d = keeping()
    d.notify.drain()
    (kept,) = d.notify.kept.values()
    with socket.socket(fileno=os.dup(kept)) as duplicate:
        os.link(d.socket, d.socket + ".link")
        d.stop()
        with pytest.raises(ConnectionRefusedError):
            lib.Client(d.socket + ".link")
        assert duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    os.unlink(d.socket + ".link")


def test_another_mode_is_configured(keeping):
    d = keeping()
    crash(d)
    before = dict(d.notify.kept)
    reconfigure(d, mode="0600")
    restart(d)
    d.wait_log("another path, mode or group is configured now")
    assert stat.S_IMODE(os.stat(d.socket).st_mode) == 0o600
    assert d.cmd("PING") == "PONG"
    d.notify.drain()
    assert len(d.notify.kept) == 1 and d.notify.kept.keys() != before.keys()


@pytest.mark.skipif(not lib.ROOT, reason="needs root")
def test_another_group_is_configured(keeping):
    d = keeping(group="daemon")
    crash(d)
    restart(d)
    d.wait_log("served again")
    crash(d)
    reconfigure(d)
    restart(d)
    d.wait_log("another path, mode or group is configured now")
    assert os.stat(d.socket).st_gid == os.getegid()


def test_another_path_is_configured(keeping):
    """Nothing is left over at the old one."""
    d = keeping()
    crash(d)
    old, d.socket = d.socket, str(d.dir / "other.sock")
    reconfigure(d, listen=d.socket)
    restart(d)
    assert d.cmd("PING") == "PONG"
    assert not os.path.exists(old) and not os.path.exists(old + ".lock")
    assert len(d.notify.kept) == 1


def test_somebody_has_removed_it(keeping):
    d = keeping()
    crash(d)
    os.unlink(d.socket)
    restart(d)
    d.wait_log("is not used: .*No such file")
    assert d.cmd("PING") == "PONG"


def test_somebody_has_taken_its_place(keeping):
    d = keeping()
    crash(d)
    os.unlink(d.socket)
    with listening(d.socket):
        pass  # and has gone
    restart(d)
    d.wait_log("leads to it no more")
    assert d.cmd("PING") == "PONG"


def test_a_daemon_by_hand_has_taken_its_place(keeping, make):
    d = keeping()
    crash(d)
    os.unlink(d.socket)
    e = make(pool("p"), control={"listen": d.socket})
    e.socket = d.socket
    e.start()
    restart(d, ready=False)
    assert d.wait() == 69
    assert "another preforkd serves this socket" in d.log()
    d.proc = None
    assert e.cmd("PING") == "PONG" and e.status()["pid"] == e.pid


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_somebody_listens_there(make, kind):
    """A socket unit's, for instance, which has no lock file: it would go on, out of reach."""
    d = make(pool("p"))
    with socket.socket(socket.AF_UNIX, kind) as s:
        s.bind(d.socket)
        if kind == socket.SOCK_STREAM:
            s.listen(0)
        d.start(ready=False)
        assert d.wait() == 69
        assert "somebody listens there" in d.log()
        d.proc = None
    d.start()  # now that it has gone
    assert d.cmd("PING") == "PONG"


def test_a_daemon_by_hand_does_not_take_a_kept_socket(keeping, make):
    d = keeping()
    crash(d)
    e = make(pool("p"), control={"listen": d.socket})
    e.start(ready=False)
    assert e.wait() == 69
    assert "somebody listens there" in e.log()
    e.proc = None
    restart(d)
    d.wait_log("served again")


def test_a_socket_unit_came_since(keeping):
    """Its socket is served, and what was kept is let go of."""
    d = keeping()
    crash(d)
    os.unlink(d.socket)  # as the service manager does, before it binds
    (name, kept), = d.notify.kept.items()
    with listening(d.socket) as s, socket.socket(fileno=os.dup(kept)) as k:
        start_with(d, k, s, names=[name, "control"])
    assert d.cmd("PING") == "PONG"
    d.notify.wait("FDSTOREREMOVE=1")
    assert not d.notify.kept
    d.stop(fds=False)
    assert os.path.exists(d.socket)


def test_nobody_keeps_anything(make):
    """A manager without a store says nothing about it, and there may be none at all."""
    d = make(pool("p")).start()
    assert "FDSTORE=1" in d.notify.drain() and not d.notify.kept
    d.stop()
    d.notify.path = ""
    d.start(ready=False)
    lib.poll(lambda: lib.answers(d.socket), "it listens")
    assert d.cmd("PING") == "PONG"
    assert not re.search("kept|FDSTORE", d.log())
