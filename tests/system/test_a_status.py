# SPDX-License-Identifier: MIT
"""What the service manager is told: STATUS= in all phases, more time, and why a start failed."""
import errno
import os
import pathlib
import re
import signal
import time

import pytest

import lib
from lib import ACT, SLOW, pool

NEVER = {"backoff": "1h..1h"}  # what cannot start is tried twice


def statuses(d):
    return [f[len("STATUS=") :] for f in d.notify.drain() if f.startswith("STATUS=")]


def wait_status(d, pattern):
    """The first status that matches a pattern, as a match."""

    def look():
        return next(filter(None, (re.fullmatch(pattern, s) for s in statuses(d))), None)

    try:
        return lib.poll(look, pattern)
    except AssertionError:
        raise AssertionError("no %r in %r" % (pattern, statuses(d))) from None


def configured(make, pools, **top):
    """A daemon, not started, whose pools may need its gates."""
    d = make()
    d.conf.write_text(d.configuration(pools(d), None, top))
    d.check_fds = False
    return d


def test_serving(start):
    d = start(pool("p", workers=2), pool("q"))
    wait_status(d, r"2 pools, 3/3 workers, 0 busy, 0 queued")
    gate = d.gate()
    c = [d.client() for _ in range(4)]
    for client in c:
        client.send("RUN", "q", "gate " + gate.path)
    gate.arrived()
    wait_status(d, r"2 pools, 3/3 workers, 1 busy, 3 queued")
    assert d.cmd("DRAIN") == "OK"
    wait_status(d, r"no new jobs \(DRAIN\): 2 pools, 3/3 workers, 1 busy, 0 queued")


def test_once_a_second_at_most(start):
    """However often there is another one to tell."""
    d = start(pool("p", queue={"limit": 1000000}))
    c = d.client()
    assert c.cmd("PAUSE", "p") == "OK"
    d.notify.drain()
    before = len(statuses(d))
    begun = time.monotonic()
    while time.monotonic() - begun < 2.5:
        c.cmd("SUBMIT", "p", "echo x")
        d.notify.drain()
    count = len(statuses(d)) - before
    assert 2 <= count <= time.monotonic() - begun + 1


def test_starting(make):
    def pools(d):
        gate = ["--gate", d.gate().path, "--ready"]
        return [pool("fine"), pool("slow", ACT, *gate, start={"ready": True}, workers=2)]

    d = configured(make, pools)
    d.start(ready=False)
    wait_status(d, r"starting: 1/3 workers, 1 pool to go: slow")
    assert "READY=1" not in d.notify.drain()
    lib.poll(lambda: d.gates[0].pulse() or "READY=1" in d.notify.drain(), "ready")
    lines = [f for _, f in d.notify.seen]
    assert "STATUS=2 pools, 3/3 workers, 0 busy, 0 queued" in lines[: lines.index("READY=1")]


def test_many_pools_to_go(make):
    def pools(d):
        gate = ["--gate", d.gate().path]
        return [pool("p%d" % i, ACT, *gate, start={"ready": True}) for i in range(9)]

    d = configured(make, pools)
    d.start(ready=False)
    wait_status(d, r"starting: 0/9 workers, 9 pools to go: p0, p1, p2, p3, p4, \.\.\.")
    d.send_signal(signal.SIGINT)
    assert d.wait() == 0


def test_hundred_degraded_pools(make):
    names = ["nothing-can-start-here-%03d" % i for i in range(100)]
    d = make(*[pool(name, "/none/" + name, start=NEVER) for name in names])
    d.check_fds = False
    d.start()
    said = r"100 pools, .* nothing-can-start-here-000 degraded: .*; (\d+) more degraded"
    (more,) = wait_status(d, said).groups()
    for text in statuses(d):
        assert len(text) < 1024
    text = statuses(d)[-1]
    assert len(re.findall("can-start-here-[0-9]+ degraded", text)) == 100 - int(more)


def test_long_and_strange_reasons(make):
    words = r"printf '\033[31m\302\205%0999d\n' 7"
    d = make(
        pool("p", "/bin/sh", "-c", words, start={"ready": True, **NEVER}),
        pool("q", "/none/" + "ä" * 500, start=NEVER),
    )
    d.check_fds = False
    d.start()
    text = wait_status(d, r"2 pools, 0/2 workers.*p degraded: (.*); q degraded: .*\.\.\.")
    assert all(len(why.encode()) <= 220 for why in text.group(0).split("; "))
    assert r"\x1b[31m\x" in text.group(1)
    assert all(s.isprintable() for s in statuses(d))


def test_draining_and_ending(make):
    d = make(pool("p", job={"grace": "1500ms"}), drain="1h")
    d.start()
    gate = d.gate()
    running, c = d.client(), d.client()
    running.send("RUN", "p", "gate " + gate.path)
    gate.arrived()
    ids = [c.cmd("SUBMIT", "p", "echo %d" % i) for i in range(2)]
    assert all(isinstance(i, bytes) for i in ids)
    d.send_signal(signal.SIGTERM)
    first = int(wait_status(d, r"draining: 1 running, 2 queued, (\d+) s left").group(1))
    assert 3500 < first <= 3600
    lib.poll(lambda: len([s for s in statuses(d) if "s left" in s]) >= 3, "it counts down")
    left = [int(re.search(r"(\d+) s left", s).group(1)) for s in statuses(d) if "s left" in s]
    assert left == sorted(left, reverse=True) and len(set(left)) == len(left)
    d.send_signal(signal.SIGTERM)
    assert d.wait() == 0


def test_quit_has_no_limit_to_tell(make):
    d = make(pool("p"), drain="1s")
    d.start()
    gate = d.gate()
    running = d.client()
    running.send("RUN", "p", "gate " + gate.path)
    gate.arrived()
    d.send_signal(signal.SIGQUIT)
    wait_status(d, r"draining: 1 running, 0 queued")
    gate.release()
    assert running.read() == b"gate"
    assert d.wait() == 0


def test_ending_says_how_many(make):
    d = make(pool("p", ACT, "--ignore-term", "--ignore-eof", workers=2, job={"grace": "1500ms"}))
    d.start()
    for _ in range(2):
        assert d.cmd("RUN", "p", "echo x") == b"x"
    d.send_signal(signal.SIGTERM)
    wait_status(d, r"ending: 2 workers to go")
    assert d.wait() == 0


# ---- more time


def extensions(d):
    d.notify.drain()
    return [(t, f) for t, f in d.notify.seen if f.startswith("EXTEND_TIMEOUT_USEC=")]


def test_time_for_a_slow_start_and_a_long_drain(make):
    def pools(d):
        return [pool("p", ACT, "--gate", d.gate().path, "--ready", start={"ready": True})]

    d = configured(make, pools, drain="1h")
    d.start(ready=False)
    d.gates[0].arrived()
    d.notify.wait("EXTEND_TIMEOUT_USEC=15000000", d.proc)
    lib.poll(lambda: len(extensions(d)) >= 2, "it asks again")
    (first, _), (second, _) = extensions(d)[:2]
    assert second - first < 10 * SLOW
    d.gates[0].release()
    d.notify.wait("READY=1", d.proc)
    running = d.client()
    hold = d.gate("hold")
    running.send("RUN", "p", "gate " + hold.path)
    hold.arrived()
    before = len(extensions(d))
    d.send_signal(signal.SIGTERM)
    lib.poll(lambda: len(extensions(d)) >= before + 2, "it asks while it drains")
    lines = d.notify.drain()
    assert "EXTEND_TIMEOUT_USEC=15000000" in lines[lines.index("STOPPING=1") :]
    hold.release()
    assert running.read() == b"gate"
    assert d.wait() == 0


def test_no_time_unasked(start):
    d = start(pool("p"))
    before = len(extensions(d))
    assert d.cmd("RUN", "p", "sleep 6000 x") == b"x"
    assert len(extensions(d)) == before


# ---- a start that fails


@pytest.mark.parametrize(
    "command, how, error, words",
    [
        (["/none/worker"], {}, errno.ENOENT, "/none/worker: No such file or directory"),
        (["/etc/passwd"], {}, errno.EACCES, "/etc/passwd: Permission denied"),
        (["/bin/false"], {}, errno.ECHILD, "exits at start (status 1)"),
        ([ACT], {"ready": True, "timeout": "200ms"}, errno.ETIMEDOUT, "is not ready within 200ms"),
        (["/bin/echo", "nonsense"], {"ready": True}, errno.EPROTO, "breaks the protocol"),
    ],
)
def test_required(make, command, how, error, words):
    d = make(pool("good"), pool("bad", *command, start={"required": True, **how, **NEVER}))
    d.start(ready=False)
    assert d.wait() == 69
    lines = d.notify.drain()
    assert "ERRNO=%d" % error in lines
    assert "READY=1" not in lines
    last = statuses(d)[-1]
    assert last.startswith("start failed: pool bad is required, and its workers cannot start: ")
    assert words in last
    assert re.search("bad.*start failed, this pool is required: .*" + re.escape(words), d.log())
    d.gone()
    d.proc = None


def test_required_workers_have_to_stay(make):
    """The program can be executed, which is all that is known of it, and fails a bit later."""
    how = {"required": True, "backoff": "5s..1h"}
    d = make(pool("p", ACT, "--nap-ms", "2000", "--exit", "3", start=how))
    d.start(ready=False)
    wait_status(d, r"starting: 1/1 workers, those of required pools on probation")
    assert d.wait() == 69
    assert "exits at start (status 3)" in statuses(d)[-1] and "READY=1" not in d.notify.drain()
    d.proc = None


def test_required_workers_that_do(start):
    d = start(pool("p", start={"required": True, "backoff": "700ms..1h"}))
    at = next(t for t, f in d.notify.seen if f == "READY=1")
    assert at - next(t for t, f in d.notify.seen if f.startswith("EXTEND")) >= 0.5


def test_required_is_about_the_start_alone(make, tmp):
    there = tmp / "there"
    there.touch()
    how = {"required": True, "backoff": "500ms..1h"}
    d = make(pool("p", ACT, "--exit-unless", str(there), start=how), pool("other"))
    d.check_fds = False
    d.start()
    assert d.cmd("RUN", "p", "echo x") == b"x"
    there.unlink()
    for pid in lib.children(d.pid):
        os.kill(pid, signal.SIGKILL)
    wait_status(d, r"2 pools.*; p degraded: exits at start.*")
    assert d.cmd("RUN", "other", "echo x") == b"x"


def test_the_others_need_not_start(make):
    d = make(pool("needed", start={"required": True}), pool("extra", "/none", start=NEVER))
    d.check_fds = False
    d.start()
    wait_status(d, r"2 pools, 1/2 workers.*extra degraded.*")


def test_mistakes_in_the_configuration(make):
    d = make(conf_text='drian = "30s";\npools = ( { name = "p"; workers = "2..4"; } );\n')
    d.start(ready=False)
    assert d.wait() == 78
    (text,) = statuses(d)
    assert "ERRNO=%d" % errno.EINVAL in d.notify.drain()
    listed = [line for line in d.log().splitlines() if line.startswith(str(d.conf))]
    assert len(listed) >= 3
    assert text == "configuration: %d mistakes, the first: %s" % (len(listed), listed[0])
    d.proc = None


def test_one_mistake(make):
    d = make(conf_text="drain = 30s;\n")
    d.conf.unlink()
    d.start(ready=False)
    assert d.wait() == 78
    assert statuses(d) == ["configuration: %s: cannot read it: No such file or directory" % d.conf]
    d.proc = None


def test_a_test_of_the_configuration_tells_nobody(make):
    d = make(conf_text="drian = 1;\n")
    d.args = ["-t"]
    d.start(ready=False)
    assert d.wait() == 78
    assert d.notify.drain() == []
    d.proc = None


def test_the_socket_is_taken(start, make):
    d = start(pool("p"))
    e = make(pool("p"), control={"listen": d.socket})
    e.start(ready=False)
    assert e.wait() == 69
    assert d.socket in statuses(e)[-1]
    e.proc = None
    assert pathlib.Path(d.socket).exists()
