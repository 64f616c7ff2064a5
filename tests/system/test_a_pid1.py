# SPDX-License-Identifier: MIT
"""As the first process of a container, and as a subreaper: orphans, signals, bare surroundings."""
import ctypes
import os
import random
import re
import shlex
import signal
import subprocess
import time

import pytest

import lib
from lib import ACT, PREFORKD, ROOT, SLOW, Error, pool

PR_SET_CHILD_SUBREAPER = 36
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def can_unshare():
    try:
        return subprocess.run(UNSHARE + ["true"], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


needs_container = pytest.mark.skipif(
    not (ROOT and can_unshare()), reason="needs root and the right to make PID namespaces"
)


class Container(lib.Daemon):
    """A daemon that is the first process of a PID namespace."""

    prepare = ":"  # a line for the shell, which becomes the daemon

    def start(self, ready=True, command=None, **popen):
        line = "%s; exec %s" % (self.prepare, shlex.join(command or self.command()))
        return super().start(ready, UNSHARE + ["/bin/sh", "-c", line], **popen)

    @property
    def pid(self):
        """The daemon's, as it is seen from here; unshare is its parent."""
        return lib.poll(lambda: lib.children(self.proc.pid), "unshare's child")[0]


class Subreaper(lib.Daemon):
    """A daemon that adopts what its workers leave, but that is not the first process."""

    def start(self, ready=True, command=None, **popen):
        libc = ctypes.CDLL(None, use_errno=True)
        popen["preexec_fn"] = lambda: libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        return super().start(ready, command, **popen)


KINDS = [pytest.param(Container, id="pid1", marks=needs_container), pytest.param(Subreaper, id="sub")]


@pytest.fixture(name="box")
def fixture_box(make):
    """Makes and starts a daemon that is PID 1."""
    return lambda *pools, **options: make(*pools, of=Container, **options).start()


@pytest.fixture(name="adopter", params=KINDS)
def fixture_adopter(request, make):
    """Makes and starts a daemon that adopts, once as PID 1 and once as a subreaper."""
    return lambda *pools, **options: make(*pools, of=request.param, **options).start()


def no_zombies(d):
    lib.poll(lambda: not lib.children(d.pid, "Z"), "no zombies", lib.DEADLINE * 2)


# ---- orphans -------------------------------------------------------------


def test_orphans_by_the_ten_thousand(adopter):
    d = adopter(pool("p", workers=2), pool("other"))
    storm, other = d.client(), d.client()
    storm.send("RUN", "p", "orphans 10000")
    storm.send("RUN", "p", "orphans 10000")
    worst = 0
    while storm.quiet() or lib.children(d.pid, "Z"):
        begun = time.monotonic()
        assert other.cmd("RUN", "other", "echo same") == b"same"
        worst = max(worst, time.monotonic() - begun)
    assert [storm.read(), storm.read()] == [b"orphans", b"orphans"]
    assert worst < 1 * SLOW, "the loop stood still for %.3f s" % worst
    no_zombies(d)
    assert d.pool("p")["exited"] == 0, "they were no workers"


def test_workers_ends_are_told_while_orphans_end(adopter):
    d = adopter(pool("p", workers=2), pool("crash", workers=3))
    storm, c = d.client(), d.client()
    ends = [("exit %d" % n, "exited with status %d" % n) for n in (1, 7, 99)]
    ends += [("kill %d" % s, "killed by signal %d (%s)" % (s, s.name)) for s in (signal.SIGKILL, signal.SIGUSR1)]
    for payload, words in ends * 4:
        storm.send("RUN", "p", "orphans 500")
        reply = c.cmd("RUN", "crash", payload)
        assert isinstance(reply, Error) and reply.code == "CRASHED", reply
        assert words in reply.text
        assert storm.read() == b"orphans"
    d.wait_pool("crash", "settled", lambda p: p["exited"] == 20 and p["idle"] == 3)
    no_zombies(d)


def test_what_a_dying_worker_leaves_is_reaped(adopter):
    """Its process group is killed, and comes to us."""
    d = adopter(pool("p"))
    before = set(lib.marked(d.mark))
    assert d.cmd("RUN", "p", "grandchild").code == "CRASHED"
    d.wait_pool("p", "back", lambda p: p["idle"] == 1 and p["exited"] == 1)
    lib.poll(lambda: len(lib.marked(d.mark)) == len(before), "as many as before")
    no_zombies(d)


def test_orphans_behind_a_worker_that_is_a_zombie(adopter):
    """The first child that has ended may be a worker: those behind it are not hidden."""
    d = adopter(pool("p", workers=1), pool("crash", workers=20))
    c = d.client()
    os.kill(d.pid, signal.SIGSTOP)
    try:
        for w in lib.children(d.pid)[:]:
            os.kill(w, signal.SIGKILL)
        lib.poll(lambda: len(lib.children(d.pid, "Z")) == 21, "all workers are zombies")
    finally:
        os.kill(d.pid, signal.SIGCONT)
    assert c.cmd("RUN", "p", "orphans 100") == b"orphans"
    no_zombies(d)
    d.wait_pool("crash", "back", lambda p: p["idle"] == 20 and p["exited"] == 20)


def test_a_process_that_has_left_its_worker(adopter):
    """It is adopted, may stay as long as it likes, and is reaped when it ends."""
    d = adopter(pool("p"))
    gate = d.gate()
    assert d.cmd("RUN", "p", "daemonize " + gate.path) == b"daemonized"
    (worker,) = [w for w in lib.children(d.pid) if lib.alive(w)][:1]
    gate.arrived()
    assert len(lib.children(d.pid)) == 2, "the worker, and the adopted one"
    assert d.cmd("RUN", "p", "exit 3").code == "CRASHED"
    assert len(lib.children(d.pid, "SR")) >= 1
    gate.release()
    d.wait_pool("p", "back", lambda p: p["idle"] == 1)
    lib.poll(lambda: len(lib.children(d.pid)) == 1, "the new worker alone")
    assert worker not in lib.children(d.pid)


def test_adopted_processes_at_the_stop(adopter):
    """The kernel ends them with PID 1; a subreaper leaves them alone, and says so."""
    d = adopter(pool("p"))
    gate = d.gate()
    assert d.cmd("RUN", "p", "daemonize " + gate.path) == b"daemonized"
    gate.arrived()
    inside = isinstance(d, Container)
    d.send_signal(signal.SIGTERM)
    assert d.wait() == 0
    d.wait_log("left their worker still run: " + ("they end" if inside else "they are left alone"))
    if inside:
        d.gone()
    else:
        assert len(lib.marked(d.mark)) == 1
    gate.close()
    d.gone()


def test_nothing_is_said_where_nothing_is_left(adopter):
    d = adopter(pool("p"))
    assert d.cmd("RUN", "p", "orphans 10") == b"orphans"
    lib.poll(lambda: len(lib.children(d.pid)) == 1, "the worker alone")
    d.stop()
    assert "still run" not in d.log()


def test_children_from_before_the_exec(make):
    """A script that starts something and then becomes the daemon: not a subreaper, and yet."""
    d = make(pool("p"))
    gate = d.gate()
    line = "true & cat %s & exec %s" % (shlex.quote(gate.path), shlex.join(d.command()))
    d.start(command=["/bin/sh", "-c", line])
    no_zombies(d)
    gate.release()
    lib.poll(lambda: len(lib.children(d.pid)) == 1, "the worker alone")
    no_zombies(d)
    assert d.cmd("RUN", "p", "exit 4").text.startswith("CRASHED worker exited with status 4")


@pytest.mark.parametrize("seed", range(3))
def test_a_mix(adopter, seed):
    """Jobs, crashes, daemons and orphans in any order: each answer is right, nothing is left."""
    rng = random.Random(seed)
    d = adopter(pool("p", workers=4, queue={"limit": 10000}))
    gate = d.gate()

    def crash():
        n = rng.randrange(1, 125)
        return "exit %d" % n, lambda r: r.code == "CRASHED" and "status %d" % n in r.text

    def killed():
        s = rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD])
        if s == signal.SIGCHLD:  # ignored by default: it only wakes
            return "echo chld", lambda r: r == b"chld"
        return "kill %d" % s, lambda r: r.code == "CRASHED" and "signal %d" % s in r.text

    def echo():
        word = "w%d" % rng.randrange(10**9)
        return "echo " + word, lambda r: r == word.encode()

    def orphans():
        return "orphans %d" % rng.randrange(400), lambda r: r == b"orphans"

    def daemonize():
        return "daemonize " + gate.path, lambda r: r == b"daemonized"

    kinds = [crash, killed, grandchild, echo, echo, echo, orphans, orphans, daemonize]
    for _ in range(6):
        clients = [d.client() for _ in range(5)]
        asked = []
        for c in clients:
            for _ in range(rng.randrange(1, 5)):
                payload, right = rng.choice(kinds)()
                c.send("RUN", "p", payload)
                asked.append((c, payload, right))
        for c, payload, right in asked:
            reply = c.read()
            assert right(reply), (payload, reply)
        gate.pulse()
    lib.poll(lambda: gate.pulse() or len(lib.children(d.pid)) == 4, "the workers alone")
    d.wait_pool("p", "settled", lambda p: p["idle"] == 4)
    no_zombies(d)


def grandchild():
    return "grandchild", lambda r: r.code == "CRASHED" and "status 6" in r.text


# ---- signals -------------------------------------------------------------

SHELL = ["/bin/sh", "-c", 'while read -r line; do eval "$line" >&2; echo "OK $?"; done']


@needs_container
@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
def test_pid_1_ends_at(box, name):
    """Asked from inside, as `docker exec … kill 1` does: without a handler PID 1 would not."""
    d = box(pool("p", *SHELL))
    assert lib.proc_status(d.pid)["NSpid"].split()[-1] == "1"
    d.settle()
    d.client().send("RUN", "p", "kill -%s 1" % name)
    assert d.wait() == 0
    d.wait_log("stopped")
    d.gone()


@needs_container
def test_pid_1_ends_at_a_signal_from_outside(box):
    d = box(pool("p", workers=3))
    d.stop()


@needs_container
@pytest.mark.parametrize("name, said", [("HUP", "HUP|reload"), ("USR1", "pool=p"), ("USR2", "USR2")])
def test_pid_1_stays_at(box, name, said):
    d = box(pool("p", *SHELL))
    before = len(d.log())
    assert d.cmd("RUN", "p", "kill -%s 1" % name) == b"0"
    lib.poll(lambda: re.search(said, d.log()[before:]), said)
    assert d.cmd("RUN", "p", "true") == b"0"


@needs_container
def test_a_signal_before_the_loop_is_not_lost(make):
    """Whoever stops a container that is just starting need not wait for the KILL."""
    d = make(pool("p"), of=Container)
    text = d.conf.read_text()
    d.conf.unlink()
    slow = d.gate(d.conf.name)  # the configuration, from something that takes its time
    d.start(ready=False)
    slow.arrived()
    d.send_signal(signal.SIGTERM)
    os.write(slow.fd, text.encode())
    slow.release()
    assert d.wait() == 0
    d.wait_log("stopping")


@needs_container
@pytest.mark.parametrize(
    "options, status",
    [({"conf_text": "nonsense = 1;"}, 78), ({"control": {"listen": "/proc/none/s"}}, 69)],
    ids=["config", "socket"],
)
def test_the_exit_status_is_the_containers(make, options, status):
    d = make(pool("p"), of=Container, **options)
    d.start(ready=False)
    assert d.wait() == status
    d.proc = None


# ---- bare surroundings ---------------------------------------------------


@needs_container
@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(
            "umount /proc && ! test -e /proc/self",
            id="no-proc",
            marks=pytest.mark.skipif(lib.SANITIZED, reason="the sanitizers need /proc"),
        ),
        pytest.param("mount -o remount,ro /proc", id="proc-ro"),
        pytest.param("exec <&- >&- 2>&-", id="closed"),
        pytest.param("unset NOTIFY_SOCKET", id="no-manager"),
        pytest.param("mount -t tmpfs none /run && mount -t tmpfs none /var", id="empty-run"),
    ],
)
def test_bare(make, prepare):
    d = make(pool("p", workers=2), of=Container)
    d.prepare = prepare
    d.start(ready=False)
    lib.poll(lambda: lib.answers(d.socket), "the daemon listens")
    d.wait_pool("p", "up", lambda p: p["idle"] == 2)
    assert d.cmd("RUN", "p", "exit 3").code == "CRASHED"
    assert d.cmd("RUN", "p", "orphans 100") == b"orphans"
    d.wait_pool("p", "back", lambda p: p["idle"] == 2)
    d.stop()


@needs_container
def test_log_on_a_pipe(make):
    """As under `docker run`: JSON on a pipe that somebody reads."""
    d = make(pool("p"), of=Container, log={"format": "json"})
    reader, writer = os.pipe()
    d.prepare = "exec >/proc/self/fd/%d 2>&1" % writer
    d.start(pass_fds=[writer])
    os.close(writer)
    assert d.cmd("RUN", "p", "stderr hello") == b"after stderr"
    d.stop()
    with open(reader, encoding="utf-8") as lines:
        text = lines.read()
    assert '"message":"hello"' in text and text.count('"pid":1,') == len(text.splitlines())
