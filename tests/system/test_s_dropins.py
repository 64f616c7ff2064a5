# SPDX-License-Identifier: MIT
"""What preforkd.service closes is closed, and the drop-in that is said to open it does."""
import os
import pathlib
import re
import shutil
import socket
import threading

import pytest

import booted
import lib

pytestmark = booted.needed

INSTALLED = pathlib.Path("/usr/share/preforkd/drop-ins")
MANUAL = lib.SRC / "man/preforkd.8"


def put(host, name, unit=booted.SERVICE):
    """As an administrator does it: a copy of the file, and daemon-reload."""
    host.dropin(unit, (INSTALLED / (name + ".conf")).read_text(), name + ".conf")


# ---- what a worker misses, and how it is had: host → (command, what it says without)


def needs_shared_tmp(host):
    host.write("/tmp/preforkd-test/file", "from outside")
    host.scratch("/tmp/preforkd-test")
    return "cat /tmp/preforkd-test/file", "No such file"


def needs_home(host):
    host.write("/home/preforkd-test/file", "from outside")
    host.scratch("/home/preforkd-test")
    return "cat /home/preforkd-test/file", "Permission denied|No such file"


def needs_network(host):
    """A server of the machine, on an address that is not the loopback interface's own network."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                peer = server.accept()[0]
            except OSError:
                return
            peer.sendall(b"from outside")
            peer.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def close():
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()

    host.at_end.append(close)
    job = "import socket; print(socket.create_connection(('127.0.0.1', %d)).recv(99).decode())"
    return '/usr/bin/python3 -c "%s"' % (job % server.getsockname()[1]), "Connection refused"


def needs_gpu(host):
    """A device in the place and with the owner of one of a GPU."""
    if booted.run("getent group render", check=False).returncode:
        booted.run("groupadd --system render")
    device = host.scratch("/dev/kfd")
    os.mknod(device, 0o660 | 0o020000, os.makedev(1, 5))
    shutil.chown(device, "root", "render")
    device.chmod(0o660)
    return "head -c 4 /dev/kfd >/dev/null && echo from outside", "No such file"


def needs_namespaces(host):
    as_user = "setpriv --reuid=preforkd --clear-groups "
    if booted.run(as_user + "unshare -Urm true", check=False).returncode:
        pytest.skip("this machine does not let users make namespaces")
    inside = "mount -t tmpfs none /mnt && echo from outside > /mnt/x && cat /mnt/x"
    return "unshare -Urmn sh -c '%s'" % inside, "Operation not permitted"


NEEDS = {
    "gpu": needs_gpu,
    "home": needs_home,
    "namespaces": needs_namespaces,
    "network": needs_network,
    "shared-tmp": needs_shared_tmp,
}


@pytest.mark.parametrize("name", NEEDS)
def test_dropin(host, name):
    command, refusal = NEEDS[name](host)
    host.shell()
    said = host.sh(command)
    assert isinstance(said, lib.Error) and re.search(refusal, said.text), said
    host.stop()

    put(host, name)
    host.start()
    said = host.sh(command)
    assert str(said).endswith("from outside"), said


@pytest.mark.skipif(os.environ.get("WITH_SYSTEMD") != "hybrid", reason="no device controller")
def test_gpu_opens_no_other_device(host):
    needs_gpu(host)
    device = host.scratch("/dev/preforkd-test")
    os.mknod(device, 0o666 | 0o020000, os.makedev(10, 229))
    device.chmod(0o666)
    put(host, "gpu")
    host.shell()
    assert "Operation not permitted" in host.sh("head -c 1 /dev/preforkd-test").text


OTHERS = {  # what the manual has besides: a drop-in, keys of the pool, a command
    "debuggers": (
        "SystemCallFilter=@debug",
        {},
        "/usr/bin/python3 -c 'import ctypes; exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0) != 0)'",
    ),
    "real time": ("RestrictRealtime=no\nLimitRTPRIO=10", {}, "chrt -r 5 true"),
    "nice": (
        "AmbientCapabilities=CAP_SYS_NICE\nCapabilityBoundingSet=CAP_SYS_NICE",
        {"run_as": {"nice": -5}},
        "[ $(nice) = -5 ]",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_setting(host, what):
    text, keys, command = OTHERS[what]
    if what == "real time":
        unconfined = "systemd-run --wait -q -p User=preforkd -p LimitRTPRIO=10 "
        if booted.run(unconfined + command, check=False).returncode:
            pytest.skip("no service has real time here")
    host.shell(**keys)
    with lib.Client(booted.SOCKET) as c:
        assert c.cmd("RUN", "sh", command).code in ("FAILED", "DOWN")
    host.stop()
    host.dropin(booted.SERVICE, text)
    host.start()
    assert host.sh(command + " && echo done") == "done"


# ---- other users


def test_run_as(host):
    """Workers of two users, whom nothing is left of the daemon's privileges; all can be ended."""
    users = {u: {"command": booted.SHELL, "run_as": {"user": u}} for u in ("daemon", "bin")}
    put(host, "run-as")
    host.conf(**users)
    host.start()
    for name in users:
        assert host.sh("id", pool=name) == booted.run("id", name).stdout.strip()
        status = host.sh("cat /proc/self/status", pool=name)
        assert re.search("CapEff: 0{16} CapBnd:", status) and "NoNewPrivs: 1" in status
        assert "Read-only" in host.sh("touch /usr/x", pool=name).text
    with lib.Client(booted.SOCKET) as c:
        workers = [lib.mapping(w) for w in c.cmd("WORKERS")]
    owners = [pathlib.Path("/proc/%d" % w["pid"]).owner() for w in workers]
    assert sorted(owners) == sorted(users)
    assert all(w["rss_bytes"] > 0 for w in workers), "the daemon sees what they use"
    with lib.Client(booted.SOCKET) as c:
        assert c.cmd("RUN", "daemon", "TIMEOUT", "50ms", "exec sleep 99").code == "TIMEOUT"
        assert c.cmd("RUN", "daemon", "echo again") == b"again"
    held = booted.run("grep CapBnd /proc/%d/status" % host.main_pid()).stdout.split()[1]
    assert int(held, 16) == 1 << 5 | 1 << 6 | 1 << 7, "CAP_KILL, CAP_SETGID, CAP_SETUID"
    assert booted.run("stat -c %G " + booted.SOCKET).stdout == "preforkd\n"


def test_run_as_and_back(host):
    """What root's daemon leaves in the directories is no hindrance to the unprivileged one."""
    for turn in range(2):
        put(host, "run-as")
        host.shell(run_as={"user": "daemon"})
        assert host.sh("id -un") == "daemon"
        host.stop()
        host.dropin(booted.SERVICE, "", "run-as.conf")
        host.shell()
        assert host.sh("id -un; touch $STATE_DIRECTORY && echo done") == "preforkd done", turn
        host.stop()


def test_run_as_root_must_be_said(host):
    put(host, "run-as")
    host.conf(sh={"command": booted.SHELL})
    assert booted.systemctl("start", booted.SERVICE, check=False).returncode != 0
    assert any("must name a user" in e["MESSAGE"] for e in host.wait_journal("_COMM=preforkd"))


def test_credential_is_the_services(host):
    """It is for the unit's user: workers of others cannot read it."""
    host.write("/etc/preforkd-token", "sesame", 0o600)
    put(host, "run-as")
    host.dropin(booted.SERVICE, "LoadCredential=token:/etc/preforkd-token")
    host.shell(run_as={"user": "daemon"})
    assert "Permission denied" in host.sh("cat $CREDENTIALS_DIRECTORY/token").text


def test_dynamic_user(host):
    """Of an instance: a user that nobody has made, its directories, and a socket for clients."""
    unit = "preforkd@dyn.service"
    etc = host.directory("/etc/preforkd/dyn")
    put(host, "dynamic-user", "preforkd@.service")
    host.conf('control = { mode = "0666"; };', etc=etc, sh={"command": booted.SHELL})
    host.start(unit)
    where = "/run/preforkd-dyn/control.sock"
    uid, state = host.sh("id -u; touch $STATE_DIRECTORY/x && echo $STATE_DIRECTORY", where).split()
    assert 61184 <= int(uid) <= 65519 and state == "/var/lib/preforkd-dyn"
    assert "Read-only" in host.sh("touch /var/x", where).text
    s = lib.connect_as(where, 65534)[0]
    with lib.Client(None, connected=s) as c:
        assert c.cmd("RUN", "sh", "echo served") == b"served"
    host.stop(unit)
    assert booted.run("getent passwd preforkd-dyn", check=False).returncode != 0


# ---- what is said of them


def rows():
    """Drop-ins and their figures as the manual has them."""
    row = r"^\.It Pa (\S+)\.conf No \(exposure ([0-9.]+)\)$"
    return dict(re.findall(row, MANUAL.read_text(), re.M))


def figure(host, *names):
    for name in names:
        put(host, name)
    done = booted.run("systemd-analyze", "security", "--no-pager", booted.SERVICE)
    return re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout).group(1)


def test_the_manual_has_all():
    assert set(rows()) == {f.stem for f in INSTALLED.iterdir()}


@pytest.mark.parametrize("name", ["", *NEEDS, "run-as", "dynamic-user"])
def test_stated_figure(host, name):
    """With this version of systemd, whose ratings they are."""
    version = booted.run("systemctl --version").stdout.split()[1]
    if version != "252":
        pytest.skip("the figures are those of systemd 252, and this is " + version)
    default = re.search(r"exposure of ([0-9.]+)", MANUAL.read_text()).group(1)
    assert figure(host, *[name] if name else []) == {"": default, **rows()}[name]
