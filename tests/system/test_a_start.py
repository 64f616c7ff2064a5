# SPDX-License-Identifier: MIT
"""Start and end: ready, the socket, two daemons, activation, notify, idleness."""
import grp
import os
import pathlib
import pwd
import signal
import stat
import time

import pytest

import lib
from lib import PREFORKD, ROOT, SLOW, pool, run


def test_ready_means_workers_are_up(start):
    d = start(pool("a", workers=2), pool("b"))
    assert [(w["pool"], w["worker"], w["state"]) for w in d.workers()] == [
        ("a", 0, "idle"),
        ("a", 1, "idle"),
        ("b", 0, "idle"),
    ]
    d.notify.wait("STATUS=", d.proc)
    s = d.status()
    assert s["state"] == "ready" and s["pid"] == d.pid and s["pools"] == 2
    assert (s["workers"], s["workers_wanted"], s["busy"], s["queued"]) == (3, 3, 0, 0)
    assert s["generation"] >= 1 and s["uptime_ms"] >= 0 and s["config"] == str(d.conf)
    assert s["version"].startswith("0.1")
    assert s["log"] == str(d.logfile) and {"unit", "user_unit"} <= set(s)


def test_ready_waits_for_ready(start_held):
    d, gate = start_held()
    gate.arrived()
    lib.poll(lambda: lib.answers(d.socket), "it listens")
    p = d.pool("p")
    assert (p["state"], p["starting"], p["idle"]) == ("starting", 1, 0)
    assert d.status()["state"] == "starting"
    c = d.client()
    c.send("RUN", "p", "echo early")
    assert "READY=1" not in d.notify.drain()
    gate.release()
    d.notify.wait("READY=1", d.proc)
    assert c.read() == b"early"
    assert d.pool("p")["state"] == "ok"


def test_socket_goes_and_comes(start):
    d = start(pool("p"))
    d.stop()
    assert not os.path.exists(d.socket)
    d.start()
    assert d.cmd("RUN", "p", "echo again") == b"again"


def test_socket_mode(start):
    d = start(pool("p"), control={"mode": "0600"})
    assert stat.S_IMODE(os.stat(d.socket).st_mode) == 0o600
    e = start(pool("p"))
    assert stat.S_IMODE(os.stat(e.socket).st_mode) == 0o660


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_socket_group(start):
    d = start(pool("p"), control={"group": "daemon"})
    st = os.stat(d.socket)
    assert st.st_gid == grp.getgrnam("daemon").gr_gid
    assert stat.S_IMODE(st.st_mode) == 0o660


def test_second_daemon_is_refused(start, make):
    d = start(pool("p"))
    e = make(pool("p"), control={"listen": d.socket})
    e.start(ready=False)
    assert e.wait() in (69, 71)
    assert d.socket in e.log()
    assert str(d.pid) in e.log() or "another" in e.log() or "in use" in e.log()
    told = [f for f in e.notify.drain() if f.startswith("STATUS=")]
    assert told == ["STATUS=%s: another preforkd serves this socket" % d.socket]
    e.proc = None
    assert d.cmd("RUN", "p", "echo still") == b"still"


def test_stale_socket_is_replaced(start):
    d = start(pool("p"))
    d.proc.kill()
    d.wait()
    assert os.path.exists(d.socket)
    d.gone()  # the workers end by themselves, at the end of file
    d.start()
    assert d.cmd("PING") == "PONG"


def test_something_else_at_the_socket_path(make):
    d = make(pool("p"))
    pathlib.Path(d.socket).write_text("precious")
    d.start(ready=False)
    assert d.wait() != 0
    assert pathlib.Path(d.socket).read_text() == "precious"
    assert d.socket in d.log()
    d.proc = None


def test_command_line_socket_wins(make):
    d = make(pool("p"))
    unused, d.socket = d.socket, str(d.dir / "other.sock")
    d.args = ["-s", d.socket]
    d.start()
    assert not os.path.exists(unused)
    assert d.cmd("RUN", "p", "echo x") == b"x"


def test_listens_in_the_units_runtime_dir(make):
    d = make(pool("p"))
    d.conf.write_text(d.conf.read_text().replace('listen = "%s";' % d.socket, ""))
    d.env["RUNTIME_DIRECTORY"] = "%s:/run/another" % d.dir
    d.start()
    assert d.cmd("PING") == "PONG"


@pytest.mark.skipif(ROOT, reason="for ordinary users")
def test_ordinary_user_listens_in_runtime_dir(make):
    d = make(pool("p"))
    d.conf.write_text(d.conf.read_text().replace('listen = "%s";' % d.socket, ""))
    d.env["XDG_RUNTIME_DIR"] = str(d.dir)
    d.socket = str(d.dir / "preforkd" / "control.sock")
    d.start()
    assert d.cmd("PING") == "PONG"


def test_pool_on_the_command_line(make):
    d = make()
    name, value = d.mark.split("=")
    d.env[name] = value
    d.start(
        command=[PREFORKD, "-s", d.socket, "--pool", "up", "--workers", "2"]
        + ["--protocol", "filter", "--", lib.script("filter.py")]
    )
    p = d.pool("up")
    assert p["workers"] == 2 and p["protocol"] == "filter"
    assert d.cmd("RUN", "up", "hello") == b"HELLO"
    assert d.status()["pools"] == 1


@pytest.mark.parametrize(
    "args, status, words",
    [
        (["-v"], 0, ["preforkd", "0.1"]),
        (["--version"], 0, ["preforkd"]),
        (["-h"], 0, ["-c", "--pool"]),
        (["--help"], 0, ["-t"]),
        (["--nonsense"], 64, ["nonsense"]),
        (["--pool", "p", "--protocol", "smoke", "--", "/bin/cat"], 64, ["smoke"]),
        (["--pool", "p", "--workers", "0", "--", "/bin/cat"], 64, ["workers"]),
        (["--pool", "p"], 64, ["command"]),
        (["-c", "/nonexistent/preforkd.conf"], 78, ["/nonexistent/preforkd.conf"]),
        (["-t", "-c", "/nonexistent/preforkd.conf"], 78, ["/nonexistent/preforkd.conf"]),
    ],
)
def test_usage(args, status, words):
    r = run(PREFORKD, *args)
    said = (r.stdout + r.stderr).decode()
    assert r.returncode == status, said
    for word in words:
        assert word.lower() in said.lower()


def test_check_says_ok(make):
    d = make(pool("p"))
    r = run(PREFORKD, "-t", "-c", d.conf)
    assert r.returncode == 0 and b"configuration ok" in r.stdout + r.stderr


def test_check_lists_all_mistakes(make):
    d = make(conf_text='drian = "30s";\npools = ( { name = "p"; workers = "2..4"; } );\n')
    r = run(PREFORKD, "-t", "-c", d.conf)
    said = (r.stdout + r.stderr).decode()
    assert r.returncode == 78
    assert "drian" in said and "drain" in said  # the hint
    assert "%s:1" % d.conf in said and "%s:2" % d.conf in said
    assert "workers" in said and "command" in said
    d.start(ready=False)
    assert d.wait() == 78
    d.proc = None


def test_effective_configuration_reads_back_the_same(make):
    d = make(
        pool("p", queue={"limit": 7, "memory": "3M"}, start={"backoff": "2s..1m"}),
        pool("q", "/bin/sh", "-c", 'echo "a b"', job={"timeout": "1500ms"}),
        drain="infinity",
    )
    first = run(PREFORKD, "-T", "-c", d.conf)
    assert first.returncode == 0, first.stderr
    again = d.dir / "again.conf"
    again.write_bytes(first.stdout)
    second = run(PREFORKD, "-T", "-c", again)
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
    for word in (b"limit = 7", b'"3M"', b'"1500ms"', b'"infinity"', b"max_payload"):
        assert word in first.stdout


def test_pool_dir(make):
    d = make()
    pools = d.dir / "pool.d"
    pools.mkdir()
    for name in ("zeta", "alpha"):
        keys = d.complete(pool(name))
        del keys["name"]
        (pools / (name + ".conf")).write_text(lib.conf_group(keys))
    (pools / "ignored.conf~").write_text("nonsense")
    d.conf.write_text('control = { listen = "%s"; };\n' % d.socket)
    d.start()
    assert [lib.mapping(p)["name"] for p in d.cmd("POOLS")] == ["alpha", "zeta"]
    assert d.cmd("RUN", "zeta", "echo z") == b"z"


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_root_must_be_asked_for(make):
    d = make(conf_text='pools = ( { name = "p"; command = [ "/bin/cat" ]; } );\n')
    r = run(PREFORKD, "-t", "-c", d.conf)
    assert r.returncode == 78 and b"run_as.user" in r.stdout + r.stderr


# ---- sd_notify -------------------------------------------------------------


def test_notify_states(start):
    d = start(pool("p"))
    fields = d.notify.drain()
    assert fields.count("READY=1") == 1
    assert d.notify.wait("STATUS=", d.proc)
    d.settle()
    d.send_signal(signal.SIGTERM)
    d.notify.wait("STOPPING=1")
    assert d.wait() == 0


def test_notify_says_what_is_degraded(make):
    d = make(pool("good"), pool("bad", "/nonexistent/worker", start={"backoff": "50ms..100ms"}))
    d.check_fds = False
    d.start()
    lib.poll(
        lambda: [f for f in d.notify.drain() if f.startswith("STATUS=") and "bad" in f],
        "STATUS names the degraded pool",
    )


def test_watchdog_is_fed(make):
    d = make(pool("p"))
    d.env["WATCHDOG_USEC"] = str(int(1_000_000 * SLOW))
    d.start()
    for _ in range(3):
        d.notify.seen.clear()
        d.notify.wait("WATCHDOG=1", d.proc)
    assert b"WATCHDOG_" not in d.cmd("RUN", "p", "environ")


def test_no_watchdog_unasked(start):
    d = start(pool("p"))
    d.cmd("RUN", "p", "sleep 100")
    assert "WATCHDOG=1" not in d.notify.drain()


def test_idle_means_no_wakeups(start):
    d = start(pool("p", workers=4), pool("q"))
    quiet = d.client()
    assert quiet.cmd("RUN", "p", "echo warm") == b"warm"

    def switches():
        return int(lib.proc_status(d.pid)["voluntary_ctxt_switches"])

    def quiet_for_two_seconds():
        # What came before (STATUS=, rates) may have a last word to say.
        before = switches()
        time.sleep(2)  # the measurement itself
        return switches() - before <= 1

    assert any(quiet_for_two_seconds() for _ in range(4)), "the idle daemon wakes up"


def test_daemon_as_child_of_dying_parent_keeps_nothing_open(start):
    """Standard input is not needed, standard output not written to."""
    d = start(pool("p"))
    links = d.list_fds()
    assert links["0"] == "/dev/null"


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_as_an_ordinary_user(make):
    """The whole of it, without root."""
    nobody = pwd.getpwnam("nobody")
    d = make()
    keys = d.complete(pool("p"))
    del keys["run_as"]["user"]
    d.conf.write_text(
        lib.conf_group({"control": {"listen": d.socket}})
        + "\npools = ( { %s } );" % lib.conf_group(keys)
    )
    os.chown(d.dir, nobody.pw_uid, nobody.pw_gid)
    d.start(user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
    assert b"uid=%d" % nobody.pw_uid in d.cmd("RUN", "p", "ids")
    assert d.cmd("SHUTDOWN") in ("OK",)
    assert d.wait() == 0
