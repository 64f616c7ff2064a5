# SPDX-License-Identifier: MIT
"""What the system tests are made of: a daemon, clients that speak RESP, gates.

Nothing here sleeps to let something happen: what can be waited for (a message
on the notify socket, a reply, a FIFO's other end, a process' end) is waited
for, and the rest (a counter, a log line) is looked at until a deadline.

Environment: PREFORKD_BUILDDIR, PREFORKD_SRCDIR (set by make check), and
PREFORKD_TEST_SLOW, a factor for all deadlines (sanitizers, slow machines).
"""
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
SRC = pathlib.Path(os.environ.get("PREFORKD_SRCDIR") or HERE.parent.parent).resolve()
BUILD = pathlib.Path(os.environ.get("PREFORKD_BUILDDIR") or os.getcwd()).resolve()
SLOW = float(os.environ.get("PREFORKD_TEST_SLOW") or 1)
DEADLINE = 20 * SLOW
SANITIZED = os.environ.get("PREFORKD_SANITIZERS") == "yes"  # memory is not as it is
ROOT = os.getuid() == 0

PREFORKD = str(BUILD / "preforkd")
PREFORKCTL = str(BUILD / "preforkctl")
EACH = str(BUILD / "preforkd-each")
ACT = str(BUILD / "tests/workers/act")
ECHO_C = str(BUILD / "tests/workers/echo")


def script(name):
    """The path of a worker that is a script."""
    return str(SRC / "tests/workers" / name)


# ---- waiting -------------------------------------------------------------


def poll(what, reason, timeout=None):
    """Call what() until it returns something true, which is returned."""
    end = time.monotonic() + (DEADLINE if timeout is None else timeout)
    pause = 0.001
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within the deadline: %s" % reason)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


class Gate:
    """A FIFO that holds a worker up: `gate PATH` and the like.

    arrived() returns when a worker is at the gate, release() lets it go on.
    """

    def __init__(self, path):
        self.path = str(path)
        self.fd = -1
        os.mkfifo(self.path)
        os.chmod(self.path, 0o666)

    def try_open(self):
        try:
            self.fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False  # ENXIO: nobody there yet
        return True

    def arrived(self):
        poll(self.try_open, "a worker at the gate %s" % self.path)
        return self

    def pulse(self):
        """Let those go on who are there, if anybody is."""
        if self.try_open():
            self.close()

    def release(self):
        if self.fd < 0:
            self.arrived()
        self.close()

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


# ---- processes -----------------------------------------------------------


def proc_status(pid):
    """/proc/PID/status as a dict, or None where there is no such process."""
    try:
        text = pathlib.Path("/proc/%d/status" % pid).read_text()
    except OSError:
        return None
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def alive(pid):
    status = proc_status(pid)
    return status is not None and not status["State"].startswith(("Z", "X"))


def children(pid, states=None):
    """pids of a process' children, those in one of the states only."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = pathlib.Path("/proc/%s/stat" % entry).read_text()
        except OSError:
            continue
        state, ppid = stat.rpartition(")")[2].split()[:2]
        if int(ppid) == pid and (states is None or state in states):
            found.append(int(entry))
    return found


def environ(pid):
    """What a process was started with; there is none for a moment while a program is loaded."""
    path = pathlib.Path("/proc/%d/environ" % pid)
    return poll(path.read_bytes, "the environment of %d" % pid).split(b"\0")


def marked(mark):
    """pids of living processes whose environment holds the mark."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open("/proc/%s/environ" % entry, "rb") as f:
                if mark.encode() in f.read() and alive(int(entry)):
                    found.append(int(entry))
        except OSError:
            continue
    return found


def fd_count(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


# ---- configuration -------------------------------------------------------


def conf_value(value):
    """A Python value in libconfig's words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return "{ %s }" % conf_group(value, " ")
    if isinstance(value, (list, tuple)):
        if any(isinstance(v, dict) for v in value):
            return "( %s )" % ", ".join(conf_value(v) for v in value)
        return "[ %s ]" % ", ".join(conf_value(v) for v in value)
    return '"%s"' % str(value).replace("\\", "\\\\").replace('"', '\\"')


def conf_group(group, sep="\n"):
    return sep.join("%s = %s;" % (k, conf_value(v)) for k, v in group.items())


def pool(name, *command, **keys):
    """A pool's keys as a dict; without a command it is the worker act."""
    keys.setdefault("workers", 1)
    return {"name": name, "command": list(command) or [ACT], **keys}


# ---- RESP ----------------------------------------------------------------


class Error(Exception):
    """An error reply. It is returned, not raised."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text
        self.code = text.split(" ", 1)[0]
        self.rest = text[len(self.code) + 1 :]

    def __eq__(self, other):
        return isinstance(other, Error) and self.text == other.text

    __hash__ = Exception.__hash__


class Simple(str):
    """A simple string (+…)."""


class Push(list):
    """A push frame (>…)."""


class Closed(Exception):
    """The daemon has closed the connection."""


def encode(*args):
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        if not isinstance(arg, (bytes, bytearray)):
            arg = str(arg).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(out)


def text(value):
    """Bulk strings as str, at any depth."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode(errors="replace")
    if isinstance(value, dict):
        return {text(k): text(v) for k, v in value.items()}
    if isinstance(value, list):
        return [text(v) for v in value]
    return value


def mapping(value):
    """A map reply (RESP3's, or RESP2's flat array) as a dict of str."""
    assert not isinstance(value, Error), value
    if isinstance(value, dict):
        return text(value)
    assert isinstance(value, list) and len(value) % 2 == 0, value
    return {text(value[i]): text(value[i + 1]) for i in range(0, len(value), 2)}


class Client:
    """A raw connection to a control socket."""

    def __init__(self, path, proto=2, timeout=None, connected=None):
        self.s = connected or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.s.settimeout(timeout or DEADLINE)
        if connected is None:
            self.s.connect(str(path))
        self.buf = bytearray()
        self.at = 0
        if proto != 2:
            assert mapping(self.cmd("HELLO", proto))["proto"] == proto

    def close(self):
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def send_raw(self, data):
        self.s.sendall(data)

    def send(self, *args):
        self.s.sendall(encode(*args))

    def cmd(self, *args):
        self.send(*args)
        return self.read()

    def pipeline(self, commands):
        self.s.sendall(b"".join(encode(*c) for c in commands))
        return [self.read() for _ in commands]

    def half_close(self):
        self.s.shutdown(socket.SHUT_WR)

    def _fill(self):
        if self.at > 1 << 20:
            del self.buf[: self.at]
            self.at = 0
        try:
            data = self.s.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed("with %r unread" % bytes(self.buf[self.at : self.at + 80]))
        self.buf += data

    def _line(self):
        while (end := self.buf.find(b"\r\n", self.at)) < 0:
            self._fill()
        line = bytes(self.buf[self.at : end])
        self.at = end + 2
        return line

    def _exact(self, n):
        while len(self.buf) - self.at < n + 2:
            self._fill()
        data = bytes(self.buf[self.at : self.at + n])
        assert self.buf[self.at + n : self.at + n + 2] == b"\r\n", "no CRLF after a bulk"
        self.at += n + 2
        return data

    def read(self):
        """One reply: str for +, Error for -, int, bytes, None, list, dict, float, bool."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return Simple(rest.decode())
        if kind == b"-":
            return Error(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._exact(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b"%":
            return {self._key(): self.read() for _ in range(int(rest))}
        if kind == b"~":
            return [self.read() for _ in range(int(rest))]
        if kind == b">":
            return Push(self.read() for _ in range(int(rest)))
        if kind == b"_":
            return None
        if kind == b",":
            return float(rest)
        if kind == b"#":
            return rest == b"t"
        if kind == b"=":
            return self._exact(int(rest))[4:]
        raise AssertionError("not RESP: %r" % line)

    def _key(self):
        key = self.read()
        return text(key) if isinstance(key, (bytes, str)) else key

    def at_end(self):
        """Is the connection closed by the daemon, with nothing more to read? Waits."""
        try:
            self._fill()
        except Closed:
            return self.at == len(self.buf)
        return False

    def quiet(self):
        """Has the daemon sent nothing (so far)?"""
        return self.at == len(self.buf) and not select.select([self.s], [], [], 0)[0]


def answers(path):
    """Does a daemon serve this socket? (Its path is there a moment before.)"""
    try:
        with Client(path) as c:
            return c.cmd("PING") == "PONG"
    except OSError:
        return False


def connect_as(path, uid, gid=None, groups=(), count=1):
    """Sockets that another user has connected: whose they are the kernel notes then."""
    mine, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            gid = uid if gid is None else gid
            os.setgroups(list(groups))
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            made = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(count)]
            for s in made:
                s.connect(str(path))
            socket.send_fds(theirs, [b"x"], [s.fileno() for s in made])
            status = 0
        finally:
            os._exit(status)
    with mine:
        theirs.close()
        fds = socket.recv_fds(mine, 1, count)[1]
    os.waitpid(pid, 0)
    assert len(fds) == count, "uid %d cannot connect" % uid
    return [socket.socket(fileno=fd) for fd in fds]


# ---- the daemon ----------------------------------------------------------


class Notify:
    """A service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.path = str(path)
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(self.path)
        os.chmod(self.path, 0o666)
        self.seen = []  # (monotonic time, field)
        self.keeps = False
        self.kept = {}  # descriptors by name, where it keeps them

    def take(self, timeout):
        if select.select([self.s], [], [], timeout)[0]:
            now = time.monotonic()
            data, fds = socket.recv_fds(self.s, 65536, 16)[:2]
            fields = self.words(data.decode())
            for field in fields:
                self.seen.append((now, field))
            self.keep(dict(f.split("=", 1) for f in fields), fds)
            return True
        return False

    @staticmethod
    def words(message):
        """As systemd reads them: a backslash is dropped, what comes after it is taken as it is."""
        assert not re.search(r"(?<!\\)(\\\\)*\\$", message, re.M), "a half escape: " + message
        return re.sub(r"\\(.)", r"\1", message).splitlines()

    def keep(self, fields, fds):
        """FDSTORE=1 and FDSTOREREMOVE=1, as the service manager has them."""
        if "FDSTOREREMOVE" in fields and fields["FDNAME"] in self.kept:
            os.close(self.kept.pop(fields["FDNAME"]))
        for fd in fds:
            os.set_inheritable(fd, False)
            if self.keeps and "FDSTORE" in fields:
                self.kept[fields["FDNAME"]] = fd
            else:
                os.close(fd)

    def drain(self):
        while self.take(0):
            pass
        return [field for _, field in self.seen]

    def wait(self, wanted, proc=None, timeout=None):
        """The first field that starts with wanted; proc's end is an error."""
        end = time.monotonic() + (timeout or DEADLINE)
        at = 0
        while True:
            while at < len(self.seen):
                if self.seen[at][1].startswith(wanted):
                    return self.seen[at][1]
                at += 1
            if self.take(0.05):
                continue
            assert proc is None or proc.poll() is None, (
                "the daemon ended with status %d before %s" % (proc.returncode, wanted)
            )
            assert time.monotonic() < end, "no %s: %s" % (wanted, self.seen)

    def close(self):
        self.s.close()
        while self.kept:
            os.close(self.kept.popitem()[1])


def base_env(**more):
    """The tests' environment without what a service manager may have put in."""
    drop = (
        "NOTIFY_SOCKET",
        "JOURNAL_STREAM",
        "RUNTIME_DIRECTORY",
        "XDG_RUNTIME_DIR",
        "PREFORKD_SOCKET",
    )
    env = {
        k: v
        for k, v in os.environ.items()
        if k not in drop and not k.startswith(("LISTEN_", "WATCHDOG_"))
    }
    env.update(more)
    return env


class Daemon:
    """A preforkd of its own, in a directory of its own."""

    def __init__(self, *pools, control=None, args=(), env=None, conf_text=None, **top):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pfd-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.socket = str(self.dir / "control.sock")
        self.conf = self.dir / "preforkd.conf"
        self.logfile = self.dir / "log"
        self.mark = "TESTING_PREFORKD=" + uuid.uuid4().hex
        self.env = dict(env or {})
        self.args = list(args)
        self.notify = Notify(self.dir / "notify")
        self.proc = None
        self.clients = []
        self.gates = []
        self.fds = None
        if conf_text is None:
            conf_text = self.configuration(pools, control, top)
        self.conf.write_text(conf_text)
        self.conf.chmod(0o644)

    def configuration(self, pools, control, top):
        control = {"listen": self.socket, **(control or {})}
        top = {"drain": "1s", **top}  # tests leave jobs behind that hang
        return (
            conf_group({"control": control, **top})
            + "\npools = (\n"
            + ",\n".join("{ %s }" % conf_group(self.complete(p), "\n  ") for p in pools)
            + "\n);\n"
        )

    def rewrite(self, *pools, control=None, **top):
        """Another configuration, for a reload to find: whole, at any time."""
        new = self.conf.with_suffix(".new")
        new.write_text(self.configuration(pools, control, top))
        new.rename(self.conf)

    def complete(self, keys):
        """A pool with what every test needs in it: the mark, and root's consent."""
        run_as = dict(keys.get("run_as", {}))
        if ROOT:
            run_as.setdefault("user", "root")
        name, value = self.mark.split("=")
        run_as["environment"] = {name: value, **run_as.get("environment", {})}
        return {**keys, "run_as": run_as}

    # -- life

    def command(self):
        return [PREFORKD, "-c", str(self.conf)] + self.args

    def start(self, ready=True, command=None, **popen):
        env = base_env(NOTIFY_SOCKET=self.notify.path, **self.env)
        self.notify.seen.clear()
        with open(self.logfile, "ab") as log:
            self.proc = subprocess.Popen(
                command or self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.dir,
                env=env,
                **popen,
            )
        if ready:
            self.notify.wait("READY=1", self.proc)
            self.count_fds()
        return self

    def count_fds(self):
        """Remember how many descriptors it has, without the one of the client that asks."""
        with Client(self.socket) as c:
            assert c.cmd("PING") == "PONG"
            self.fds = fd_count(self.pid) - 1

    @property
    def pid(self):
        return self.proc.pid

    def send_signal(self, sig):
        os.kill(self.pid, sig)

    def wait(self, timeout=None):
        try:
            return self.proc.wait(timeout or DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError("the daemon has not ended") from None

    def gone(self):
        """No process of this daemon's is left."""
        poll(lambda: not marked(self.mark), "no orphans: %s" % marked(self.mark))

    def settle(self, fds=True):
        """All clients hung up: no zombie, and the descriptors of the start; or it ends just now."""
        self.hang_up()
        poll(lambda: not children(self.pid, "Z"), "no zombies")
        if fds and self.fds is not None:
            poll(
                lambda: self.proc.poll() is not None or fd_count(self.pid) == self.fds,
                "the descriptors of the start (%d): %s" % (self.fds, self.list_fds()),
            )

    def list_fds(self):
        d = "/proc/%d/fd" % self.pid
        found = {}
        for fd in os.listdir(d):
            try:
                found[fd] = os.readlink(d + "/" + fd)
            except OSError:
                pass
        return found

    def stop(self, sig=signal.SIGTERM, fds=True):
        """The ordinary end, with what must be true at every end."""
        if self.proc.poll() is None:
            self.settle(fds)
        if self.proc.poll() is None:
            self.send_signal(sig)
        assert self.wait() == 0, "exit status %d" % self.proc.returncode
        self.gone()

    def hang_up(self):
        for client in self.clients:
            client.close()
        self.clients.clear()
        for gate in self.gates:
            gate.close()

    def kill(self):
        """The end of a test that failed: leave nothing behind."""
        self.hang_up()
        if self.proc is not None and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        for pid in marked(self.mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def clean(self):
        self.notify.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- log

    def log(self):
        return self.logfile.read_text(errors="replace")

    def wait_log(self, pattern, timeout=None):
        """The first match of a pattern in the log."""
        try:
            return poll(lambda: re.search(pattern, self.log(), re.M), pattern, timeout)
        except AssertionError:
            raise AssertionError("not in the log: %s" % pattern) from None

    # -- clients

    def client(self, proto=2, timeout=None):
        client = Client(self.socket, proto, timeout)
        self.clients.append(client)
        return client

    def clients_as(self, count, uid, gid=None, groups=()):
        """Clients of another user, for tests that run as root."""
        made = connect_as(self.socket, uid, gid, groups, count)
        clients = [Client(None, connected=s) for s in made]
        self.clients += clients
        return clients

    def client_as(self, uid, gid=None, groups=()):
        return self.clients_as(1, uid, gid, groups)[0]

    def cmd(self, *args):
        """One command on a connection of its own."""
        with Client(self.socket) as client:
            return client.cmd(*args)

    def gate(self, name="gate"):
        gate = Gate(self.dir / name)
        self.gates.append(gate)
        return gate

    def status(self):
        return mapping(self.cmd("STATUS"))

    def pool(self, name):
        return mapping(self.cmd("POOL", name))

    def workers(self, *name):
        return [mapping(w) for w in self.cmd("WORKERS", *name)]

    def job(self, jid):
        return mapping(self.cmd("JOB", jid))

    def wait_pool(self, name, reason, test):
        """The first state of a pool that passes the test."""
        seen = {}

        def look():
            seen.update(self.pool(name))
            return test(seen)

        try:
            poll(look, reason)
        except AssertionError:
            raise AssertionError("not within the deadline: %s: %s" % (reason, seen)) from None
        return seen

    def wait_state(self, jid, *states):
        poll(lambda: self.job(jid)["state"] in states, "job %s %s" % (jid, states))
        return self.job(jid)


class Actor(threading.Thread):
    """Does one step() after the other, by its own dice, until it is told to stop."""

    def __init__(self, d, dice, c=None):
        super().__init__()
        self.d, self.dice = d, dice
        self.c = c or d.client(proto=3)
        self.over = False
        self.bad = []

    def run(self):
        try:
            while not self.over and not self.bad:
                self.step()
        except Exception as why:
            self.bad.append((type(self).__name__, repr(why)))


def run(*command, stdin=b"", env=None, timeout=None, **more):
    """A program to its end; its output is bytes."""
    return subprocess.run(
        [str(c) for c in command],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env or base_env(),
        timeout=timeout or DEADLINE * 2,
        check=False,
        **more,
    )
