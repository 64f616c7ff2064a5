# SPDX-License-Identifier: MIT
"""preforkctl check: one line and a status, whatever the daemon does."""
import os
import re
import socket
import threading
import time

import pytest

import lib
from lib import PREFORKCTL, pool

OK, WARNING, CRITICAL, UNKNOWN = range(4)
NAMES = ["OK", "WARNING", "CRITICAL", "UNKNOWN"]


class Seen(str):
    """The line without its figures, which are .figures: by name (value, rest)."""


def check(path, *args, status, **more):
    r = lib.run(PREFORKCTL, "-s", path, "check", *args, **more)
    line = r.stdout.decode()
    assert r.returncode == status, "%d: %s %s" % (r.returncode, line, r.stderr)
    assert r.stderr == b"" and line.count("\n") == 1 and line.endswith("\n"), "one line"
    assert line[:-1].isprintable() and len(line) < 4096
    text, _, figures = line[:-1].partition(" | ")
    assert text.startswith("PREFORKD %s: " % NAMES[status]) and "|" not in text
    seen = Seen(text)
    seen.figures = {}
    for figure in figures.split():
        name, value, rest = re.fullmatch(r"(\w+)=([\d.]+(?:s|%|c)?)(.*)", figure).groups()
        seen.figures[name] = (value, rest)
    return seen


@pytest.fixture
def held(start):
    """One of two workers of p at a gate, which no job of q's reaches."""
    d = start(pool("p", workers=2, queue={"limit": 10}), pool("q"))
    gate = d.gate()
    d.cmd("SUBMIT", "p", "gate %s" % gate.path)
    gate.arrived()
    return d


def fill(d):
    """Both workers of p at gates, three jobs queued."""
    gate = d.gate("second")
    d.cmd("SUBMIT", "p", "gate %s" % gate.path)
    gate.arrived()
    for _ in range(3):
        d.cmd("SUBMIT", "p", "echo x")


# ---- how it is ---------------------------------------------------------------------


def test_ok(start):
    d = start(pool("p", workers=2), pool("q"))
    d.cmd("RUN", "p", "echo x")
    d.cmd("RUN", "q", "err x")
    seen = check(d.socket, status=OK)
    assert seen == "PREFORKD OK: 2 pools, 3/3 workers, 0 busy, 0 queued"
    assert seen.figures == {
        "workers": ("3", ";;;0;3"),
        "busy": ("0", ";;;0;3"),
        "queued": ("0", ";;;0"),
        "running": ("0", ";;;0"),
        "done": ("1c", ""),
        "failed": ("1c", ""),
        "worst_oldest": ("0s", ";;;0"),
        "worst_queued": ("0", ";;;0"),
        "worst_failures": ("100%", ";;;0;100"),
        "worst_busy": ("0%", ";;;0;100"),
    }
    seen = check(d.socket, "p", status=OK)
    assert seen == "PREFORKD OK: 1 pool, 2/2 workers, 0 busy, 0 queued"
    assert seen.figures["failed"] == ("0c", "")
    assert "2 pools" in check(d.socket, "q", "p", status=OK)


@pytest.mark.parametrize(
    "limit, status, said",
    [
        ("--queued=3", OK, ""),
        ("--queued=2", WARNING, "p: 3 of 10 queued (over 2)"),
        ("--queued=2,3", WARNING, "(over 2)"),
        ("--queued=1,2", CRITICAL, "p: 3 of 10 queued (over 2)"),
        ("--queued=30%", OK, ""),
        ("--queued=29.9%", WARNING, "p: 3 of 10 queued (over 29.9%)"),
        ("--queued=10%,20%", CRITICAL, "(over 20%)"),
        ("--busy=2", OK, ""),
        ("--busy=1", WARNING, "p: 2 of 2 workers busy (over 1)"),
        ("--busy=100%", OK, ""),
        ("--busy=50%,99%", CRITICAL, "p: 2 of 2 workers busy (over 99%)"),
        ("--oldest=1h", OK, ""),
        ("--oldest=1ms", WARNING, "p: a job has been queued for "),
        ("--oldest=1ms,1h", WARNING, "(over 1ms)"),
        ("--oldest=1ms,2ms", CRITICAL, "(over 2ms)"),
    ],
)
def test_limits_of_what_is(held, limit, status, said):
    fill(held)
    held.wait_pool("p", "some age", lambda p: p["oldest_queued_ms"] > 2)
    seen = check(held.socket, limit, status=status)
    assert said in seen and "q:" not in seen
    assert "p is saturated, 2 of 2 workers up, 3 queued" in seen, "a note"
    check(held.socket, limit, "q", status=OK)


def test_figures_have_the_limits(held):
    fill(held)
    figures = check(
        held.socket,
        *("--queued", "50%,80%", "--oldest", "1h", "--busy", "9,9", "--failures", "1%"),
        status=OK,
    ).figures
    assert figures["worst_queued"] == ("30%", ";50;80;0;100")
    assert figures["worst_oldest"][1] == ";3600;;0"
    assert figures["worst_busy"] == ("2", ";9;9;0")
    assert figures["worst_failures"] == ("0%", ";1;;0;100")
    assert (figures["queued"][0], figures["busy"][0]) == ("3", "2")


@pytest.mark.parametrize(
    "limit, status",
    [
        ("50%", OK),
        ("49.9%", WARNING),
        ("10%,50%", WARNING),
        ("10%,49%", CRITICAL),
        ("2", OK),
        ("1", WARNING),
        ("0,1", CRITICAL),
    ],
)
def test_failures(start, limit, status):
    d = start(pool("p"), pool("q"))
    for text in ("echo x", "err no", "echo y", "exit 3"):
        d.cmd("RUN", "p", text)
    d.wait_pool("p", "its worker is back", lambda p: p["up"] == 1)
    seen = check(d.socket, "--failures", limit, status=status)
    if status:
        assert "p: 2 of 4 jobs failed in 5 minutes (over " in seen
    check(d.socket, "q", "--failures", limit, status=OK)


# ---- states ------------------------------------------------------------------------

BROKEN = (lib.ACT, "--stderr", "no|such\x1b[31m module", "--exit", "1")
SLOWLY = {"backoff": "1h..1h"}


def test_down(make):
    d = make(pool("good"), pool("thumbs", *BROKEN, start=SLOWLY))
    d.check_fds = False
    d.start()
    d.wait_pool("thumbs", "it is down", lambda p: p["state"] == "degraded")
    seen = check(d.socket, status=CRITICAL)
    assert "thumbs is down, 0 of 1 workers up: " in seen
    assert "no/such" in seen and "x1b" in seen, "what it said, without what would cut the line"
    assert "thumbs" in check(d.socket, "good", "thumbs", status=CRITICAL)
    check(d.socket, "good", status=OK)


def test_degraded(make, tmp):
    """Some workers are up, the others do not start any more."""
    program = tmp / "worker"
    program.symlink_to(lib.ACT)
    d = make(pool("p", str(program), workers=2, start=SLOWLY))
    d.check_fds = False
    d.start()
    program.unlink()
    os.kill(d.workers("p")[0]["pid"], lib.signal.SIGKILL)
    d.wait_pool("p", "it is degraded", lambda p: p["state"] == "degraded")
    assert "p is degraded, 1 of 2 workers up: " in check(d.socket, status=WARNING)


def test_paused(held):
    fill(held)
    held.cmd("PAUSE", "p")
    assert "p is paused, 2 of 2 workers up, 3 queued" in check(held.socket, status=WARNING)
    held.cmd("RESUME", "p")
    check(held.socket, status=OK)


def test_draining(held):
    held.cmd("DRAIN")
    seen = check(held.socket, status=WARNING)
    assert seen == "PREFORKD WARNING: the daemon drains and takes no more jobs"


def test_starting(start_held):
    d, gate = start_held()
    gate.arrived()
    lib.poll(lambda: lib.answers(d.socket), "it listens")
    assert "p is starting, 0 of 1 workers up" in check(d.socket, status=WARNING)
    gate.release()
    d.notify.wait("READY=1", d.proc)
    check(d.socket, status=OK)


def test_worst_first_and_all_of_them(make):
    d = make(pool("a"), pool("b"), pool("down", *BROKEN, start=SLOWLY), pool("busy"))
    d.check_fds = False
    d.start()
    gate = d.gate()
    d.cmd("SUBMIT", "busy", "gate %s" % gate.path)
    gate.arrived()
    d.cmd("SUBMIT", "busy", "echo x")
    d.cmd("PAUSE", "a")
    d.wait_pool("down", "it is", lambda p: p["state"] == "degraded")
    seen = check(d.socket, "--queued", "0", status=CRITICAL)
    order = [seen.index(what) for what in ("down is down", "a is paused", "busy: 1 of", "busy is")]
    assert order == sorted(order)
    seen = check(d.socket, "a", "nowhere", "down", status=CRITICAL)
    assert seen.index("there is no pool nowhere") < seen.index("a is paused")


def test_many_pools(make):
    """The line has an end, and says how much is not in it."""
    names = ["a-rather-long-name.of_a_pool-%03d" % i for i in range(80)]
    d = make(*[pool(n) for n in names]).start()
    for name in names[:-1]:
        d.cmd("PAUSE", name)
    d.cmd("SUBMIT", names[-1], "hang")
    d.cmd("SUBMIT", names[-1], "echo x")
    seen = check(d.socket, "--queued", "0,0", status=CRITICAL)
    assert seen.startswith("PREFORKD CRITICAL: %s: 1 of " % names[-1])
    more = int(re.search(r"; and (\d+) more$", seen)[1])
    assert seen.count(" is paused") + seen.count(" is saturated") + more == 80
    assert len(seen) <= 1024 and seen.figures["workers"] == ("80", ";;;0;80")
    assert "79 more" not in check(d.socket, *names[:3], status=WARNING)


def test_odd_names(start):
    d = start(pool("0"), pool("a.b-c_d"))
    check(d.socket, "0", "a.b-c_d", status=OK)
    check(d.socket, "--", "0", status=OK)
    for name in ("x|y=1;2", "two\nlines", "\x1b[31mred", "", " ", "é", "x" * 5000, "--"):
        seen = check(d.socket, "--", name, status=CRITICAL)
        assert "there is no pool" in seen and len(seen) < 400


# ---- no answer ---------------------------------------------------------------------


def test_no_daemon(tmp):
    assert "there is no socket" in check(tmp / "nobody.sock", status=CRITICAL)
    (tmp / "file").touch()
    assert "nobody listens" in check(tmp / "file", status=CRITICAL)
    check("x" * 200, status=UNKNOWN)
    check("|\x1b", status=CRITICAL)


@pytest.mark.skipif(not lib.ROOT, reason="needs root: acts as another user")
def test_no_permission(start):
    d = start(pool("p"))
    other = {"user": 4001, "group": 4001, "extra_groups": []}
    assert "no permission" in check(d.socket, status=UNKNOWN, **other)
    os.chmod(d.socket, 0o666)
    check(d.socket, status=OK, **other)


@pytest.mark.skipif(not lib.ROOT, reason="needs root: acts as another user")
def test_no_right(start):
    """Pools that this user may not read are not its business; named, they are unknown."""
    rules = [{"users": ["4001"], "pools": ["secret"], "allow": []}]
    d = start(pool("p"), pool("secret"), control={"mode": "0666"}, access=rules)
    other = {"user": 4001, "group": 4001, "extra_groups": []}
    d.cmd("PAUSE", "secret")
    check(d.socket, status=WARNING)
    assert "1 pool" in check(d.socket, status=OK, **other)
    assert "NOPERM" in check(d.socket, "secret", status=UNKNOWN, **other)


class Fake:
    """Something that listens, and does with each connection what serve() says."""

    def __init__(self, path, serve=None, backlog=10):
        self.path = str(path)
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(self.path)
        self.s.listen(backlog)
        self.held = []
        if serve:
            threading.Thread(target=self.run, args=[serve], daemon=True).start()

    def run(self, serve):
        while True:
            try:
                c = self.s.accept()[0]
            except OSError:
                return
            self.held.append(c)
            serve(c)

    def close(self):
        self.s.shutdown(socket.SHUT_RDWR)
        self.s.close()
        for c in self.held:
            c.close()


@pytest.fixture
def fake(tmp):
    made = []

    def make_fake(*args, **more):
        made.append(Fake(tmp / "fake.sock", *args, **more))
        return made[-1]

    yield make_fake
    for f in made:
        f.close()


def late(path):
    begun = time.monotonic()
    seen = check(path, "--timeout", "300ms", status=CRITICAL)
    assert time.monotonic() - begun > 0.25
    assert seen == "PREFORKD CRITICAL: no answer from the daemon at %s within 300ms" % path


def test_stopped_daemon(start):
    d = start(pool("p"))
    d.send_signal(lib.signal.SIGSTOP)
    try:
        late(d.socket)
    finally:
        d.send_signal(lib.signal.SIGCONT)
    check(d.socket, status=OK)


def test_accepts_and_does_not_answer(fake):
    late(fake(lambda c: None).path)


def test_does_not_accept(fake):
    """The queue of its socket is full, so that connecting waits."""
    f = fake(backlog=0)
    for _ in range(3):
        c = socket.socket(socket.AF_UNIX)
        c.setblocking(False)
        try:
            c.connect(f.path)
        except BlockingIOError:
            break
        finally:
            f.held.append(c)
    late(f.path)


def test_answers_by_drops(fake):
    """Each of which would begin the wait anew."""
    stop = threading.Event()

    def serve(c):
        try:
            c.sendall(b"*1000000\r\n")
            while not stop.wait(0.02):
                c.sendall(b":1\r\n")
        except OSError:
            pass

    f = fake(serve)
    try:
        late(f.path)
    finally:
        stop.set()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n", b"", b"$-1\r\n", b"*1\r\n"]
)
def test_is_not_preforkd(fake, answer):
    def serve(c):
        c.recv(100)
        c.sendall(answer)
        c.shutdown(socket.SHUT_RDWR)

    check(fake(serve).path, status=CRITICAL)


# ---- mistakes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, said",
    [
        (["--oldest", "5"], None),
        (["--oldest", "5x"], 'oldest "5x": a duration'),
        (["--oldest", "10m,1m"], "the first is"),
        (["--oldest", "1m,"], "a duration"),
        (["--oldest", ",1m"], "a duration"),
        (["--oldest", "1m,2m,3m"], "a duration"),
        (["--oldest", "10%"], "a duration"),
        (["--oldest", "infinity"], "a duration"),
        (["--queued", "x"], "a number or a percentage"),
        (["--queued", "-1"], "a number or a percentage"),
        (["--queued", "1.5"], "a number or a percentage"),
        (["--queued", "5,10%"], "of the same kind"),
        (["--queued", "101%"], "a number or a percentage"),
        (["--queued", "1" * 400], "a number or a percentage"),
        (["--failures", "5%5"], "a number or a percentage"),
        (["--failures", ".5%"], "a number or a percentage"),
        (["--busy", "%"], "a number or a percentage"),
        (["--busy", "1|2\n"], "a number or a percentage"),
        (["--busy"], "wants a value"),
        (["--busy", ""], "must not be empty"),
        (["--timeout", "x"], "not a duration"),
        (["--timeout", "0"], "timeout"),
        (["--timeout", "infinity"], "timeout"),
        (["--nonsense"], "does not take --nonsense"),
        (["--failure", "5"], "did you mean --failures"),
        (["--json"], "does not take --json"),
    ],
)
def test_mistakes(start, args, said):
    """They are unknown, in the one line: whoever wrote the command sees it there."""
    d = start(pool("p"))
    if said is None:
        check(d.socket, *args, status=OK)
    else:
        assert said in check(d.socket, *args, status=UNKNOWN)
