# SPDX-License-Identifier: MIT
"""The units by themselves, and what a worker can and cannot do under preforkd.service."""
import os
import pathlib
import re
import shutil
import socket

import pytest

import booted
import lib

pytestmark = booted.needed

SYSTEM_UNITS = pathlib.Path("/lib/systemd/system")
USER_UNITS = pathlib.Path("/usr/lib/systemd/user")

# Where man(1) is it is asked for the pages that the units name.
VERIFY = ("systemd-analyze", "verify", "--man=" + ("yes" if shutil.which("man") else "no"))


def unit_files(directory):
    """What is to be verified: files, and an instance of each template."""
    found = sorted(f for f in directory.glob("preforkd*") if f.is_file())
    assert len(found) >= 4, found
    return [str(f).replace("@.", "@some.") for f in found]


# ---- systemd's own opinion


def test_verify_system_units():
    done = booted.run(*VERIFY, *unit_files(SYSTEM_UNITS), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_verify_user_units():
    env = {**os.environ, "XDG_RUNTIME_DIR": "/run"}
    done = booted.run(*VERIFY, "--user", *unit_files(USER_UNITS), check=False, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_verify_would_speak(tmp):
    """Its status is 0 where a setting is unknown, so any word counts."""
    bad = tmp / "preforkd.service"
    good = (SYSTEM_UNITS / "preforkd.service").read_text()
    bad.write_text(good + "\n[Service]\nRestrictWorld=yes\n")
    assert "RestrictWorld" in booted.run(*VERIFY, bad, check=False).stderr


@pytest.mark.parametrize("unit", ["preforkd.service", "preforkd@.service"])
def test_security(unit):
    path = SYSTEM_UNITS / unit.replace("@.", "@some.")
    args = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    booted.run(*args, "--threshold=15", path)
    assert booted.run(*args, "--threshold=5", path, check=False).returncode != 0, "it does look"


# ---- what is closed, and what is open


def test_no_privileges(host):
    host.shell()
    status = host.sh("cat /proc/self/status")
    held = re.findall(r"(Cap\w+): (\w+)", status)
    assert held == [("Cap" + c, "0" * 16) for c in ("Inh", "Prm", "Eff", "Bnd", "Amb")]
    assert "NoNewPrivs: 1 Seccomp: 2 " in status
    user = booted.run("id preforkd").stdout
    assert host.sh("id") == user.strip()


@pytest.mark.parametrize(
    "path", ["/usr/x", "/usr/local/bin/x", "/etc/x", "/etc/preforkd/pool.d/x.conf", "/boot/x"]
)
def test_the_system_is_read_only(host, path):
    """Not by permissions alone: the directories are anybody's here."""
    directory = pathlib.Path(path).parent
    mode = directory.stat().st_mode
    host.shell()
    directory.chmod(0o1777)
    try:
        said = host.sh("touch " + path)
    finally:
        directory.chmod(mode & 0o7777)
    assert isinstance(said, lib.Error) and "Read-only file system" in said.text, said


def test_elsewhere_permissions_decide(host):
    place = host.directory("/srv/preforkd-test")
    host.shell()
    assert "Permission denied" in host.sh("touch %s/x" % place).text
    shutil.chown(place, "preforkd")
    assert host.sh("touch %s/x && echo done" % place) == "done"


def test_directories_of_its_own(host):
    """Workers are told of them, and may write; they are nobody else's."""
    host.shell()
    for name, path in (("STATE", "/var/lib/preforkd"), ("CACHE", "/var/cache/preforkd")):
        job = "echo ${%s_DIRECTORY}; echo kept >${%s_DIRECTORY}/test" % (name, name)
        assert host.sh(job) == path
        assert host.scratch(path + "/test").read_text() == "kept\n"
    assert host.sh("echo $HOME") == "/var/lib/preforkd"
    host.stop()
    host.start()
    assert host.sh("cat $STATE_DIRECTORY/test") == "kept"


def test_umask_is_the_pools(host):
    host.shell()
    assert host.sh("umask") == "0022"


def test_open_files(host):
    """The daemon takes what the unit allows, workers begin with the usual 1024."""

    def limits(pid):
        text = pathlib.Path("/proc/%d/limits" % pid).read_text()
        return [int(n) for n in re.search(r"^Max open files +(\d+) +(\d+)", text, re.M).groups()]

    host.shell()
    most = min(65536, limits(1)[1])  # the machine may have less
    assert most > 1024
    assert host.sh("ulimit -Sn; ulimit -Hn") == "1024 %d" % most
    assert limits(host.main_pid()) == [most, most]


def test_local_sockets(host):
    """Those of a mail server, a database or syslog."""
    path = "/run/preforkd-test.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        host.scratch(path)
        os.chmod(path, 0o666)
        s.listen()
        host.shell()
        job = "import socket as s; s.socket(s.AF_UNIX, s.SOCK_%s).connect('%s'); print('done')"
        for address in (("STREAM", path), ("DGRAM", "/dev/log")):
            assert host.sh('/usr/bin/python3 -c "%s"' % (job % address)) == "done"


def test_loopback(host):
    """A worker and its helpers can talk by the loopback interface, which is theirs alone."""
    host.shell()
    job = (
        "import socket; s = socket.create_server(('127.0.0.1', 0));"
        " socket.create_connection(s.getsockname()); print('done')"
    )
    assert host.sh('/usr/bin/python3 -c "%s"' % job) == "done"


# ---- ordinary workers

# Temporary files, a database, other processes, shared memory, what the machine has.
PYTHON = """
import mmap, multiprocessing, os, platform, sqlite3, subprocess, sys, tempfile, threading
with tempfile.NamedTemporaryFile() as f:
    f.write(b"x")
db = sqlite3.connect(os.environ["STATE_DIRECTORY"] + "/test.db")
db.execute("pragma journal_mode = wal")
db.execute("create table if not exists t (x)")
db.execute("insert into t values (1)")
db.commit()
multiprocessing.Semaphore(1).acquire()
multiprocessing.Array("i", 4)
mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
os.sched_setaffinity(0, os.sched_getaffinity(0))
open("/proc/meminfo").read()
t = threading.Thread(target=platform.uname)
t.start()
t.join()
for line in sys.stdin:
    out = subprocess.run(["tr", "a-z", "A-Z"], input=line.encode(), stdout=subprocess.PIPE)
    print("OK", out.stdout.decode().strip(), flush=True)
"""
ORDINARY = {
    # A compiler that writes what it executes, with all its threads.
    "node": (
        "/usr/bin/node",
        "-e",
        "const f = n => { let s = 0; for (let i = 0; i < n; i++) s = (s * 31 + i) % 9; return s };"
        "require('fs').readFileSync('/proc/cpuinfo'); require('os').networkInterfaces();"
        "require('crypto').pbkdf2Sync('a', 'b', 10, 16, 'sha256');"
        "new Function('return ' + f(3e6))();"
        "const wasm = new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));"
        "require('readline').createInterface({input: process.stdin})"
        ".on('line', l => console.log('OK ' + l.toUpperCase()));",
    ),
    "python": ("/usr/bin/python3", "/opt/preforkd-tests/ordinary.py"),
    "shell": ("/bin/sh", "-c", 'while read -r l; do echo "OK $(echo "$l" | tr a-z A-Z)"; done'),
    "perl": ("/usr/bin/perl", "-ne", "BEGIN { $| = 1 } print 'OK ', uc"),
    "ruby": ("/usr/bin/ruby", "-ne", "$stdout.sync = true; puts 'OK ' + $_.chomp.upcase"),
    "awk": ("/usr/bin/mawk", "-W", "interactive", '{ print "OK " toupper($0); fflush() }'),
    "each": ("/usr/bin/preforkd-each", "/bin/sh", "-c", 'echo "$1" | tr a-z A-Z', "sh", "{}"),
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_worker(host, kind):
    command = ORDINARY[kind]
    if not os.access(command[0], os.X_OK):
        pytest.skip("there is no %s here" % command[0])
    host.conf(p={"command": command, "workers": 2})
    host.write("/opt/preforkd-tests/ordinary.py", PYTHON)
    for made in ("test.db", "test.db-wal", "test.db-shm"):
        host.scratch("/var/lib/preforkd/" + made)
    host.start()
    with lib.Client(booted.SOCKET) as c:
        for n in range(4):
            assert c.cmd("RUN", "p", "word %d" % n).rstrip() == b"WORD %d" % n
        assert lib.mapping(c.cmd("POOL", "p"))["state"] == "ok"


def test_ordinary_worker_in_c(host):
    awk = ["/usr/bin/mawk", "-W", "interactive", "{ print toupper($0) }"]
    host.conf(p={"command": [booted.ECHO]}, f={"command": awk, "protocol": "filter"})
    host.start()
    with lib.Client(booted.SOCKET) as c:
        assert c.cmd("RUN", "p", "word") == b"word"
        assert c.cmd("RUN", "f", "word") == b"WORD"


# ---- what reaches a worker


def test_environment_of_the_unit(host):
    """An allow-list: what is not in it does not reach workers, but by run_as.environment."""
    host.dropin(booted.SERVICE, "Environment=SECRET=mine TZ=Asia/Tokyo")
    host.shell(run_as={"environment": {"MODEL": "small"}})
    assert host.sh("echo ${SECRET-none} $TZ $MODEL") == "none Asia/Tokyo small"


def test_credential(host):
    host.write("/etc/preforkd-token", "sesame", 0o600)
    host.dropin(booted.SERVICE, "LoadCredential=token:/etc/preforkd-token")
    host.shell()
    assert host.sh("cat $CREDENTIALS_DIRECTORY/token") == "sesame"
    assert "Permission denied" in host.sh("cat /etc/preforkd-token").text


def test_run_as_under_the_unprivileged_unit(host):
    """The mistake says what is to be done, and the start is not tried again."""
    host.conf(p={"run_as": {"user": "daemon"}})
    assert booted.systemctl("start", booted.SERVICE, check=False).returncode != 0
    host.wait_state("failed")
    assert booted.show(booted.SERVICE, "ExecMainStatus") == "78"
    assert booted.show(booted.SERVICE, "NRestarts") == "0"
    assert any("run-as.conf" in e["MESSAGE"] for e in host.wait_journal("_COMM=preforkd"))


# ---- checking a configuration before the service has it


def check(*options, **more):
    done = booted.run("preforkd", *options, check=False, **more)
    return done.returncode, done.stdout + done.stderr


def test_check_for_the_service(host):
    """What root may not do the service may, and the other way round; -u says whose it is."""
    host.conf(p={})
    assert check("-t", "-u", "preforkd") == (0, "configuration ok\n")
    status, said = check("-t")
    assert status == 78 and "must name a user" in said and "check with -u USER" in said
    status, said = check("-T", "--user=preforkd")
    assert status == 0 and 'listen = "%s";' % booted.SOCKET in said
    host.start()

    host.conf(p={"run_as": {"user": "daemon"}})
    assert check("-t") == check("-t", "-u", "root") == (0, "configuration ok\n")
    status, said = check("-t", "-u", "preforkd")
    assert status == 78 and "run-as.conf" in said
    (booted.ETC / "pool.d/p.conf").chmod(0o600)
    status, said = check("-t", "-u", "preforkd")
    assert status == 78 and "Permission denied" in said, "it is read as that user would"


def test_check_for_whom():
    assert check("-t", "-u", "nobody-at-all")[0] == 64
    status, said = check("-u", "preforkd")
    assert status == 64 and "-t or -T" in said
    status, said = check("-t", "-u", "preforkd", user="nobody")
    assert status == 71 and "only root" in said


# ---- systemctl reload


@pytest.mark.parametrize("by_socket", [False, True])
def test_reload(host, by_socket):
    """It is over when the new pools are there, and the process is the one from before."""
    host.conf(a={})
    if by_socket:
        host.start("preforkd.socket")
    host.start()
    pid = host.main_pid()
    host.conf(a={}, b={"workers": 2})
    booted.systemctl("reload", booted.SERVICE)
    with lib.Client(booted.SOCKET) as c:
        assert c.cmd("RUN", "b", "echo new") == b"new"
    assert (host.main_pid(), booted.show(booted.SERVICE, "ActiveState")) == (pid, "active")
    assert "2 pools, 3/3 workers" in booted.show(booted.SERVICE, "StatusText")


def test_reload_of_a_mistake(host):
    """It fails, the mistakes are in the journal, and the service goes on as it was."""
    host.conf(a={})
    host.start()
    pid = host.main_pid()
    host.conf(a="workers = many;", b={"run_as": {"user": "daemon"}})
    assert booted.systemctl("reload", booted.SERVICE, check=False).returncode != 0
    host.wait_state("active/running")
    said = "\n".join(e["MESSAGE"] for e in host.journal("_SYSTEMD_UNIT=" + booted.SERVICE))
    assert "a.conf:1" in said and "run-as.conf" in said, said
    with lib.Client(booted.SOCKET) as c:
        assert c.cmd("RUN", "a", "echo old") == b"old"
    assert host.main_pid() == pid


def test_workers_may_not_reload(host):
    """Their uid is the daemon's, and that is no right here."""
    host.shell()
    host.sh("/usr/bin/preforkctl ping")
    assert "NOPERM" in host.sh("/usr/bin/preforkctl reload").text
