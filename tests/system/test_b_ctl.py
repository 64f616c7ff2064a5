# SPDX-License-Identifier: MIT
"""preforkctl: every verb, its exit status, its JSON."""
import json
import os

import pytest

import lib
from ctl import Ctl
from lib import PREFORKCTL, pool, run, script


@pytest.fixture
def ctl(start):
    d = start(
        pool("p", job={"grace": "1s", "max_payload": "10K"}),
        pool("frame", script("frame.py"), protocol="frame"),
        pool("small", queue={"limit": 0}),
    )
    return Ctl(d)


def test_run(ctl):
    assert ctl("run", "p", "echo hello").stdout.rstrip(b"\n") == b"hello"
    assert ctl("run", "p", "echo", "two", "words").stdout.rstrip(b"\n") == b"two words"
    assert ctl("run", "p", stdin=b"echo from stdin\n").stdout.rstrip(b"\n") == b"from stdin"
    assert ctl("run", "p", "-", stdin=b"echo from -").stdout.rstrip(b"\n") == b"from -"
    assert ctl("run", "frame", stdin=b"a\nb\0c\n").stdout == b"a\nb\0c"
    assert ctl("run", "--raw", "frame", stdin=b"a\n").stdout == b"a\n"
    assert ctl.json("run", "p", "echo x")["result"] == "x"


def test_exit_statuses(ctl):
    assert b"broken" in ctl("run", "p", "err broken", status=1).stderr
    assert ctl("run", "p", "-t", "100ms", "hang", status=124).stderr
    crashed = ctl("run", "p", "stderr-exit oops", status=70).stderr
    assert b"oops" in crashed and b"preforkctl logs p" in crashed
    jid = ctl.out("submit", "p", "exit 3").strip()
    crashed = ctl("result", jid, "-w", "1m", status=70).stderr.decode()
    assert "preforkctl job %s" % jid in crashed and "preforkctl logs" not in crashed
    pending = ctl("run", "p", "--wait", "50ms", "hang", status=75).stderr.decode()
    jid = ctl.json("jobs", "--state", "running")[0]["id"]
    assert jid in pending
    ctl("result", jid, status=75)
    ctl("cancel", jid)
    ctl("run", "p", "x" * 20000, status=65)
    ctl("run", "p", "--", "two\nlines", status=65)
    assert b"nowhere" in ctl("run", "nowhere", "x", status=1).stderr
    ctl("result", "99999999999", status=1)
    for args in (["nonsense"], ["run"], ["run", "p", "--nonsense", "x"], ["job"], []):
        ctl(*args, status=64)


def test_busy(ctl):
    gate = ctl.d.gate()
    c = ctl.d.client()
    c.send("RUN", "small", "gate " + gate.path)
    gate.arrived()
    ctl("run", "small", "echo x", status=75)
    gate.release()
    assert c.read() == b"gate"


def test_no_daemon(tmp):
    r = run(PREFORKCTL, "-s", tmp / "nobody.sock", "status")
    assert r.returncode == 69 and b"nobody.sock" in r.stderr
    (tmp / "file").touch()
    r = run(PREFORKCTL, "-s", tmp / "file", "ping")
    assert r.returncode == 69 and b"/file" in r.stderr
    env = lib.base_env(PREFORKD_SOCKET=str(tmp / "by-env.sock"))
    r = run(PREFORKCTL, "ping", env=env)
    assert r.returncode == 69 and b"by-env.sock" in r.stderr


@pytest.mark.skipif(not lib.ROOT, reason="needs root: acts as another user")
def test_no_permission(ctl):
    r = run(PREFORKCTL, "-s", ctl.d.socket, "ping", user=4001, group=4001, extra_groups=[])
    assert r.returncode == 77, r
    os.chmod(ctl.d.socket, 0o666)
    r = run(PREFORKCTL, "-s", ctl.d.socket, "pause", "p", user=4001, group=4001, extra_groups=[])
    assert r.returncode == 77, r


def test_socket_from_the_environment(ctl):
    r = run(PREFORKCTL, "ping", env=lib.base_env(PREFORKD_SOCKET=ctl.d.socket))
    assert r.returncode == 0
    runtime = ctl.d.dir / "preforkd"
    runtime.mkdir()
    os.symlink(ctl.d.socket, runtime / "control.sock")
    r = run(PREFORKCTL, "ping", env=lib.base_env(XDG_RUNTIME_DIR=str(ctl.d.dir)))
    assert r.returncode == 0, r.stderr


def test_instance(ctl, tmp):
    """-i NAME is the socket of preforkd@NAME, whatever the environment says."""
    env = lib.base_env(XDG_RUNTIME_DIR=str(tmp), PREFORKD_SOCKET="/nonexistent")
    (tmp / "preforkd-mail").mkdir()
    (tmp / "preforkd-mail/control.sock").symlink_to(ctl.d.socket)
    for args in (["-i", "mail"], ["-imail"], ["--instance=mail"]):
        assert run(PREFORKCTL, *args, "ping", env=env).returncode == 0
    r = run(PREFORKCTL, "-i", "none-such", "ping", env=env)
    assert r.returncode == 69 and b"/run/preforkd-none-such/control.sock" in r.stderr
    assert b"systemctl start preforkd@none-such;" in r.stderr
    r = run(PREFORKCTL, "-i", "n" * 100, "ping", env=env)
    assert r.returncode == 64 and b"too long" in r.stderr
    for wrong in (["-i", ""], ["-i", "a/b"], ["-i", "mail", "-s", ctl.d.socket]):
        r = run(PREFORKCTL, *wrong, "ping", env=env)
        assert r.returncode == 64 and b"-i" in r.stderr, r


def test_submit_result_job_jobs_cancel(ctl):
    jid = ctl.out("submit", "p", "echo kept").strip()
    assert jid.isdigit()
    assert ctl("result", jid, "--wait", "1m").stdout.rstrip(b"\n") == b"kept"
    assert ctl.json("result", jid)["result"] == "kept"
    assert "kept" in ctl.out("job", jid) and "done" in ctl.out("job", jid)
    job = ctl.json("job", jid)
    assert job["id"] == jid and job["state"] == "done" and job["error"] is None
    keyed = ctl.out("submit", "p", "-k", "key", "echo k")
    assert ctl.out("submit", "p", "-k", "key", "echo k") == keyed
    hung = ctl.json("submit", "p", "hang")["id"]
    queued = ctl.json("submit", "p", stdin=b"echo q\n")["id"]
    ctl.d.wait_state(hung, "running")
    listed = ctl.json("jobs", "--state", "queued")
    assert [j["id"] for j in listed] == [queued]
    table = ctl.out("jobs")
    assert "STATE" in table and queued in table and "running" in table
    assert ctl.json("cancel", hung, queued)["cancelled"] == 2
    ctl("cancel", hung, status=1)
    failed = ctl.out("submit", "p", "err broken").strip()
    ctl("result", failed, "--wait", "1m", status=1)
    assert len(ctl.json("jobs", "--count", "1")) == 1


def test_pools_pool_workers(ctl):
    table = ctl.out("pools").splitlines()
    assert table[0].split()[:3] == ["POOL", "STATE", "WORKERS"]
    assert [line.split()[0] for line in table[1:]] == ["p", "frame", "small"]
    assert table[1].split()[1:3] == ["ok", "1/1"]
    assert [p["name"] for p in ctl.json("pools")] == ["p", "frame", "small"]
    assert "queue_limit" in ctl.out("pool", "p") or "limit" in ctl.out("pool", "p")
    one = ctl.json("pool", "p")
    assert one["name"] == "p" and isinstance(one["done"], int) and one["retry_ms"] is None
    ctl("pool", "nowhere", status=1)
    assert len(ctl.json("workers")) == 3 and len(ctl.json("workers", "p")) == 1
    assert "idle" in ctl.out("workers")


def test_status(ctl):
    text = ctl.out("status")
    assert text.startswith("● preforkd 0.1") and "pid %d" % ctl.d.pid in text
    assert "workers 3/3" in text and "queued 0" in text
    s = ctl.json("status")
    assert json.dumps(s).count(str(ctl.d.pid))


def test_status_says_what_is_wrong_first(make):
    d = make(
        pool("good"),
        pool(
            "thumbs",
            lib.ACT,
            "--stderr",
            "ModuleNotFoundError: No module named 'PIL'",
            "--exit",
            "1",
            start={"backoff": "1h..1h"},
        ),
    )
    d.check_fds = False
    d.start()
    d.wait_pool("thumbs", "degraded", lambda p: p["state"] == "degraded" and p["last_stderr"])
    lines = Ctl(d).out("status").splitlines()
    assert "DEGRADED (1 of 2 pools)" in lines[0]
    rest = "\n".join(lines[1:])
    assert "thumbs: exits at start" in rest and "2 times" in rest and "next try in" in rest
    assert "ModuleNotFoundError: No module named 'PIL'" in rest
    assert "preforkctl logs thumbs" in rest
    assert "degraded" in Ctl(d).out("pools")
    Ctl(d)("run", "thumbs", "x", status=69)


def test_pause_resume(ctl):
    ctl("pause", "p", "small")
    assert ctl.json("pool", "p")["state"] == "paused"
    assert "paused" in ctl.out("pools")
    ctl("resume", "p", "small")
    assert ctl.json("pool", "small")["state"] == "ok"
    ctl("pause", "nowhere", status=1)


def test_ping_version_help(ctl):
    ctl("ping")
    assert ctl.json("ping") is not None
    assert "0.1" in ctl.out("version")
    ctl.json("version")
    assert "map" in ctl.out("help") and "POOL" in ctl.out("help", "run")
    assert "0.1" in ctl.out("--version")
    assert run(PREFORKCTL, "--help").returncode == 0


def test_metrics(ctl):
    """As the daemon gives them, to the byte."""
    ctl("run", "p", "echo x")
    text = ctl.out("metrics")
    assert text.endswith("# EOF\n") and 'pool="p"' in text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) > 10 and "preforkd_clients" in names
    assert b"--json" in ctl("--json", "metrics", status=64).stderr


def test_help_on_commands(ctl):
    """The daemon's own words: whatever commands it has are in it."""
    names = [name.upper() for name in lib.mapping(ctl.d.cmd("COMMAND", "DOCS"))]
    listed = ctl.out("help", "commands")
    assert "RUN" in names and all("\n  %s " % name in listed for name in names)
    rows = [x for x in listed.splitlines() if x.startswith("  ")]
    assert len({x.index(x.split(None, 1)[1], len(x.split()[0]) + 2) for x in rows}) == 1
    one = ctl.out("help", "RUN")
    assert one.startswith("command: RUN pool [KEY key] [TIMEOUT timeout]") and "payload\n" in one
    assert 'the right "submit"' in one
    assert "CLIENT SETNAME" in ctl.out("help", "Client")
    r = ctl("help", "NOTHING", status=64)
    assert b"help commands" in r.stderr
    assert b"did you mean status?" in ctl("help", "stats", status=64).stderr
    ctl.d.stop()
    ctl("help", "RUN", status=69)
    ctl("help", "run")


def test_call(ctl):
    """For who wants just this: plain for a program, as redis-cli for a person."""
    assert ctl.out("call", "PING") == "PONG\n"
    assert ctl.out("call", "RUN", "p", "echo --json") == "--json\n"
    assert ctl.json("call", "COMMAND", "COUNT") > 10
    pools = ctl.lines("call", "POOLS")
    assert pools[:2] == ["name", "p"]
    t = ctl.on_terminal("call", "POOL", "p")
    assert t.end() == 0
    lines = t.text().splitlines()
    assert lines[0] == ' 1) "name"' and lines[1] == ' 2) "p"'
    assert "(integer) 1" in t.text() and "(nil)" in t.text()
    assert b"NOPOOL" in ctl("call", "RUN", "nowhere", "x", status=1).stderr
    assert b"COMMAND DOCS" in ctl("call", "NONSENSE", status=1).stderr
    ctl("call", status=64)


@pytest.mark.parametrize("how", [["stop"], ["stop", "--now"]])
def test_stop(ctl, how):
    ctl(*how)
    assert ctl.d.wait() == 0, "stop returns when the daemon is gone"
    assert not os.path.exists(ctl.d.socket)
    ctl("ping", status=69)


def test_drain(ctl):
    ctl("drain")
    ctl_status = run(PREFORKCTL, "-s", ctl.d.socket, "run", "p", "echo x").returncode
    assert ctl_status in (75, 69)


def test_json_of_odd_bytes(ctl):
    for payload in (b'quote " and \\ back', b"\xff\xfe not utf-8", "grün".encode(), b"tab\there"):
        r = ctl("--json", "run", "p", stdin=b"echo " + payload)
        json.loads(r.stdout)
    jid = ctl.json("submit", "p", stdin=b'echo \x01 "\xff"')["id"]
    assert ctl.json("job", jid)["id"] == jid
    assert isinstance(ctl.json("jobs"), list)


def test_tables_are_safe_for_terminals(ctl):
    ctl("submit", "p", stdin=b"echo \x1b[31mred\x1b[0m")
    assert "\x1b" not in ctl.out("jobs")
    r = ctl("run", "p", stdin=b"err \x1b[31mred", status=1)
    assert b"\x1b" not in r.stderr
