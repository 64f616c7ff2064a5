# SPDX-License-Identifier: MIT
"""The worker protocol's levels, the channels, pipelining; what a worker finds at its start."""
import os
import pwd

import pytest

import lib
from lib import ACT, SLOW, Error, pool, script


def filter_pool(name, *command, **keys):
    return pool(name, *(command or [script("filter.py")]), protocol="filter", **keys)


def frame_pool(name, *args, **keys):
    return pool(name, script("frame.py"), *args, protocol="frame", **keys)


# ---- levels ------------------------------------------------------------------------


def test_filter(start):
    d = start(filter_pool("p"), filter_pool("jq", "jq", "-c", "--unbuffered", ".name"))
    c = d.client()
    assert c.cmd("RUN", "p", "abc") == b"ABC"
    assert c.cmd("RUN", "p", "OK is a word") == b"OK IS A WORD"
    assert c.cmd("RUN", "p", "cr\r") == b"CR\r"  # part of the result here
    assert c.cmd("RUN", "p", "") == b""
    assert c.cmd("RUN", "jq", '{"name":{"first":"Ann"}}') == b'{"first":"Ann"}'
    assert c.pipeline([("RUN", "p", "x%d" % i) for i in range(100)]) == [
        b"X%d" % i for i in range(100)
    ]


def test_sed_is_a_worker(start):
    d = start(filter_pool("p", "/bin/sed", "-u", "s/a/b/g"))
    assert d.cmd("RUN", "p", "banana") == b"bbnbnb"


def test_line_takes_cr(start):
    d = start(pool("p"))
    assert d.cmd("RUN", "p", "raw 4f4b2063720d0a") == b"cr"
    assert d.cmd("RUN", "p", "raw 4f4b0a") == b""
    assert d.cmd("RUN", "p", "raw 4f4b200a") == b""
    assert d.cmd("RUN", "p", "raw 4f4b2020780a") == b" x"


def test_frame_is_binary(start):
    d = start(frame_pool("p"))
    data = bytes(range(256)) * 100
    assert d.cmd("RUN", "p", data) == data
    assert d.cmd("RUN", "p", b"") == b""
    assert d.cmd("RUN", "p", b"attempt") == b"1"


def test_frame_by_act(start):
    d = start(pool("p", ACT, "--frame", protocol="frame"))
    c = d.client()
    assert c.cmd("RUN", "p", "echo x\ny") == b"x\ny"
    assert c.cmd("RUN", "p", "err bad\nthing").code == "FAILED"
    assert c.cmd("RUN", "p", "retry x").code == "FAILED"
    assert c.cmd("RUN", "p", "out x") == b"after out"
    assert c.cmd("RUN", "p", "progress") == b"after progress"
    assert c.cmd("RUN", "p", "log in two\nlines") == b"after log"
    d.wait_log("in two")


def test_results_with_control_bytes_in_errors(start):
    """An ERR's text cannot break the reply's line."""
    d = start(pool("p", ACT, "--frame", protocol="frame"))
    c = d.client()
    reply = c.cmd("RUN", "p", b"err x\r\n+OK forged")
    assert isinstance(reply, Error) and reply.code == "FAILED"
    assert c.cmd("PING") == "PONG"


# ---- pipelining ----------------------------------------------------------------------


def test_frame_out_of_order(start):
    d = start(frame_pool("p", pipeline=8))
    clients = [d.client() for _ in range(5)]
    for i, c in enumerate(clients):
        c.send("RUN", "p", "hold h%d" % i)
    d.wait_pool("p", "five in the worker", lambda p: p["running"] == 5)
    (w,) = d.workers()
    assert w["state"] == "busy"
    assert d.cmd("RUN", "p", "quick") == b"quick"  # overtakes
    assert all(c.quiet() for c in clients)
    assert d.cmd("RUN", "p", "release") == b"released"
    assert [c.read() for c in clients] == [b"h%d" % i for i in range(5)]


def test_frame_order_of_replies_on_one_connection(start):
    d = start(frame_pool("p", pipeline=8))
    c = d.client()
    jobs = ["hold a", "quick", "hold b", "release"]
    assert c.pipeline([("RUN", "p", j) for j in jobs]) == [b"a", b"quick", b"b", b"released"]


def test_pipeline_is_a_limit(start):
    d = start(frame_pool("p", pipeline=3))
    c = d.client()
    for i in range(5):
        c.send("RUN", "p", "hold %d" % i)
    p = d.wait_pool("p", "three and two", lambda p: p["queued"] == 2)
    assert p["running"] == 3


def test_ready_with_capacity_limits_the_pipeline(start):
    d = start(frame_pool("p", "--ready", pipeline=8, start={"ready": True}))
    c = d.client()
    for i in range(6):
        c.send("RUN", "p", "hold %d" % i)
    d.wait_pool("p", "READY 4 is a limit", lambda p: (p["running"], p["queued"]) == (4, 2))


def test_frame_cancel_is_a_request(start):
    d = start(frame_pool("p", pipeline=4, job={"grace": "30s"}))
    a, b = d.cmd("SUBMIT", "p", "hold a"), d.cmd("SUBMIT", "p", "hold b")
    d.wait_pool("p", "both in the worker", lambda p: p["running"] == 2)
    (before,) = d.workers()
    assert d.cmd("CANCEL", a) == 1
    assert d.cmd("RESULT", a).code == "CANCELLED"
    assert d.cmd("RUN", "p", "release") == b"released"
    assert d.cmd("RESULT", b, "WAIT", "1m") == b"b"
    (after,) = d.workers()
    assert before["pid"] == after["pid"], "the worker answers a CANCEL: it lives on"


def test_frame_cancel_unheard_ends_the_worker(start):
    d = start(frame_pool("p", pipeline=4, job={"grace": "200ms"}))
    jid = d.cmd("SUBMIT", "p", "deaf a")
    d.wait_state(jid, "running")
    (before,) = d.workers()
    assert d.cmd("CANCEL", jid) == 1
    assert d.cmd("RESULT", jid).code == "CANCELLED"
    d.wait_pool("p", "a new worker", lambda p: p["spawned"] == 2 and p["idle"] == 1)
    assert d.workers()[0]["pid"] != before["pid"]


def test_frame_timeout_is_a_cancel_first(start):
    d = start(frame_pool("p", pipeline=4, job={"grace": "30s"}))
    c = d.client()
    c.send("RUN", "p", "hold kept")
    reply = d.cmd("RUN", "p", "TIMEOUT", "100ms", "hold late")
    assert reply.code == "TIMEOUT"
    c2 = d.client()
    c2.send("RUN", "p", "release")
    # either the worker lives on (it was asked by CANCEL), or it is ended and says so
    replies = [c.read(), c2.read()]
    assert replies == [b"kept", b"released"] or all(
        isinstance(r, bytes) or r.code == "CRASHED" for r in replies
    )


def test_line_in_order_pipeline(start):
    d = start(pool("p", ACT, "--bytewise", pipeline=8, in_order=True, workers=2))
    c = d.client()
    assert c.pipeline([("RUN", "p", "echo %d" % i) for i in range(500)]) == [
        b"%d" % i for i in range(500)
    ]
    gate = d.gate()
    c.send("RUN", "p", "gate " + gate.path)
    gate.arrived()
    c.send("RUN", "p", "echo other worker")
    d.wait_pool("p", "done by the other", lambda p: p["done"] == 501)
    gate.release()
    assert [c.read(), c.read()] == [b"gate", b"other worker"]


def test_line_clock_starts_when_it_is_the_oldest(start):
    """A job behind another in the same worker does not time out by waiting."""
    d = start(pool("p", pipeline=4, in_order=True))
    c = d.client()
    for i in range(4):
        c.send("RUN", "p", "TIMEOUT", "%dms" % int(1000 * SLOW), "sleep 400 %d" % i)
    assert [c.read() for _ in range(4)] == [b"0", b"1", b"2", b"3"]


def test_filter_one_to_one_pipeline(start):
    d = start(filter_pool("p", pipeline=16, one_to_one=True, workers=2))
    c = d.client()
    assert c.pipeline([("RUN", "p", "x%d" % i) for i in range(1000)]) == [
        b"X%d" % i for i in range(1000)
    ]


def done_by_each(d, do):
    """How many jobs of p each of its workers does meanwhile."""
    before = [w["jobs"] for w in d.workers("p")]
    do()
    return [w["jobs"] - b for w, b in zip(d.workers("p"), before)]


def test_short_jobs_that_come_at_once_go_to_one_worker(start):
    """Once the pool knows that they are short; before, each goes to the one with the fewest."""
    d = start(filter_pool("p", "cat", pipeline=16, one_to_one=True, workers=2))
    c = d.client()

    def at_once(n):
        return lambda: c.pipeline([("RUN", "p", "x%d" % i) for i in range(n)])

    assert done_by_each(d, at_once(2)) == [1, 1]
    lib.poll(
        lambda: any(0 in done_by_each(d, at_once(4)) for _ in range(50)), "one does them all"
    )


def test_jobs_that_are_passed_over_make_no_worker_s_part_larger(start):
    """Nobody takes their results; of four others no worker of four has more than two, however
    short they are known to be (which they are not on a machine with much else to do)."""
    d = start(
        filter_pool("p", "cat", pipeline=8, one_to_one=True, workers=4, job={"max_payload": "64K"}),
        control={"client_memory": "128K"},
    )
    c, full = d.client(), d.client()
    d.cmd("PAUSE", "p")
    full.send_raw(lib.encode("RUN", "p", b"x" * 60000) * 100)
    d.wait_pool("p", "all are queued", lambda p: p["queued"] == 100)
    d.cmd("RESUME", "p")
    d.wait_pool("p", "some are parked", lambda p: p["queued"] > 40 and p["running"] == 0)

    def at_once(n):
        return done_by_each(d, lambda: c.pipeline([("RUN", "p", "x%d" % i) for i in range(n)]))

    any(max(at_once(8)) > 3 for _ in range(1000))
    for _ in range(20):
        assert max(at_once(4)) <= 2


def test_long_jobs_that_come_at_once_go_to_all_workers(start):
    d = start(pool("p", pipeline=16, workers=2))
    c = d.client()
    for _ in range(200):
        c.pipeline([("RUN", "p", "echo %d" % i) for i in range(4)])
    assert c.cmd("RUN", "p", "sleep 50 x") == b"x"
    for _ in range(3):
        two = [("RUN", "p", "sleep 50 x")] * 2
        assert done_by_each(d, lambda: c.pipeline(two)) == [1, 1]


@pytest.mark.parametrize(
    "keys",
    [
        {"protocol": "filter", "pipeline": 2},
        {"protocol": "filter", "start": {"ready": True}},
        {"protocol": "line", "pipeline": 0},
        {"protocol": "smoke"},
        {"channel": "carrier pigeon"},
        {"workers": 0},
        {"workers": "2..4"},
        {"name": "a b"},
        {"command": []},
        {"job": {"timeout": "-1s"}},
        {"start": {"backoff": "10s..1s"}},
    ],
)
def test_what_a_pool_cannot_be(make, keys):
    d = make({**pool("p"), **keys})
    r = lib.run(lib.PREFORKD, "-t", "-c", d.conf)
    assert r.returncode == 78, r.stdout + r.stderr
    assert str(d.conf).encode() + b":" in r.stdout + r.stderr


# ---- channels ------------------------------------------------------------------------


def test_fd3(start):
    d = start(pool("p", ACT, "--fd3", channel="fd3"))
    c = d.client()
    assert c.cmd("RUN", "p", "echo by three") == b"by three"
    assert c.cmd("RUN", "p", "fds") == b"0 1 2 3 "


def test_fd3_standard_output_is_log(start):
    d = start(
        pool(
            "p",
            "/bin/sh",
            "-c",
            'while read -r j <&3; do echo "chatter $j"; echo "OK $j" >&3; done',
            channel="fd3",
        )
    )
    assert d.cmd("RUN", "p", "x") == b"x"
    line = d.wait_log("^.*chatter x").group(0)
    assert "pool=p" in line


def test_fd3_standard_input_is_null(start):
    worker = 'while read -r j <&3; do echo "OK $(cat)end" >&3; done'
    d = start(pool("p", "/bin/sh", "-c", worker, channel="fd3"))
    assert d.cmd("RUN", "p", "x") == b"end"


def test_pipe(start):
    command = ["/bin/sh", "-c", 'while read -r j; do echo "OK $j" >/dev/stdout; done']
    d = start(pool("p", *command, channel="pipe", workers=2), pool("act", channel="pipe"))
    c = d.client()
    assert c.pipeline([("RUN", "p", "x%d" % i) for i in range(50)]) == [
        b"x%d" % i for i in range(50)
    ]
    assert c.cmd("RUN", "act", "fds") == b"0 1 2 "
    assert c.cmd("RUN", "act", "exit 3").code == "CRASHED"
    assert c.cmd("RUN", "act", "big 1000000") == b"x" * 1000000


# ---- what a worker finds --------------------------------------------------------------


def environ(d, name="p"):
    pairs = d.cmd("RUN", name, "environ").decode().split("|")
    return dict(p.split("=", 1) for p in pairs if "=" in p)


def test_environment(make):
    d = make(pool("p", workers=2, run_as={"environment": {"GREETING": "hello you", "LANG": "C"}}))
    d.env.update(SECRET="x", TZ="Europe/Paris", LISTEN_FDS="", WATCHDOG_USEC="60000000")
    d.start()
    env = environ(d)
    assert env["GREETING"] == "hello you" and env["LANG"] == "C" and env["TZ"] == "Europe/Paris"
    assert env["PREFORKD_POOL"] == "p" and env["PREFORKD_WORKER"] in ("0", "1")
    assert env["PREFORKD_PROTOCOL"] == "line" and env["PREFORKD_GENERATION"].isdigit()
    assert env["PREFORKD_CHANNEL"] == "stdio" and env["PREFORKD_MAX_RESULT"] == str(16 << 20)
    assert env["PYTHONUNBUFFERED"] == "1" and env["PATH"]
    for name in "SECRET NOTIFY_SOCKET LISTEN_FDS LISTEN_PID WATCHDOG_USEC WATCHDOG_PID".split():
        assert name not in env
    allowed = "PATH LANG HOME USER LOGNAME SHELL TZ GREETING PYTHONUNBUFFERED TMPDIR".split()
    allowed.append(d.mark.split("=")[0])
    for name in env:
        assert name in allowed or name.startswith("PREFORKD_"), name


def test_a_worker_knows_its_channel_and_bounds(start):
    d = start(
        pool("pipe", channel="pipe", job={"max_result": 12345}),
        pool("fd3", ACT, "--fd3", channel="fd3"),
    )
    assert environ(d, "pipe")["PREFORKD_CHANNEL"] == "pipe"
    assert environ(d, "pipe")["PREFORKD_MAX_RESULT"] == "12345"
    assert environ(d, "fd3")["PREFORKD_CHANNEL"] == "fd3"


def test_slot_number_is_kept_by_the_replacement(start):
    d = start(pool("p", workers=3))
    before = {w["worker"]: w["pid"] for w in d.workers()}
    for pid in list(before.values())[1:]:
        os.kill(pid, 9)
    d.wait_pool("p", "back", lambda p: p["idle"] == 3 and p["spawned"] == 5)
    after = {w["worker"]: w["pid"] for w in d.workers()}
    assert set(after) == {0, 1, 2} and after[0] == before[0] and after[1] != before[1]
    for slot, pid in after.items():
        assert b"PREFORKD_WORKER=%d" % slot in lib.environ(pid)


def test_descriptors_signals_group_session(start):
    d = start(pool("p"), pool("q", workers=2))
    keep = d.client()
    assert keep.cmd("PING") == "PONG"
    # One of them is made while clients are there:
    assert keep.cmd("RUN", "q", "exit 1").code == "CRASHED"
    assert d.cmd("RUN", "q", "fds") == b"0 1 2 "
    d.wait_pool("q", "both up", lambda p: p["idle"] == 2)
    for w in d.workers():
        # (A program that is being loaded has its libraries open for a moment.)
        fds = "/proc/%d/fd" % w["pid"]
        lib.poll(lambda p=fds: set(os.listdir(p)) == {"0", "1", "2"}, "0, 1 and 2 alone")
        s = lib.proc_status(w["pid"])
        assert int(s["SigBlk"], 16) == 0 and int(s["SigIgn"], 16) == 0
        assert os.getpgid(w["pid"]) == w["pid"]
    assert os.path.realpath("/proc/%d/fd/2" % d.workers()[0]["pid"]) != str(d.logfile)


def test_ignored_signals_are_not_handed_on(make):
    """Even where the daemon's own parent ignored some."""
    d = make(pool("p"))
    d.start(command=["/bin/sh", "-c", 'trap "" HUP PIPE USR2 CHLD; exec "$@"', "sh"] + d.command())
    s = lib.proc_status(d.workers()[0]["pid"])
    assert int(s["SigIgn"], 16) == 0 and int(s["SigBlk"], 16) == 0


def test_umask_directory_nice(start, tmp):
    d = start(
        pool("p", run_as={"umask": "0027", "directory": str(tmp), "nice": 3}),
        pool("q"),
    )
    ids = d.cmd("RUN", "p", "ids").decode()
    assert "umask=0027" in ids and "cwd=%s" % tmp in ids and "nice=3" in ids and "nnp=1" in ids
    ids = d.cmd("RUN", "q", "ids").decode()
    assert "umask=0022" in ids and ids.endswith("cwd=/") and "nice=0" in ids


def test_no_new_privs_off(start):
    d = start(pool("p", run_as={"no_new_privs": False}))
    assert b"nnp=0" in d.cmd("RUN", "p", "ids")


def test_rlimits(start):
    limits = {"nofile": 77, "core": 0, "cpu": 3600, "as": "1G", "stack": "4M"}
    d = start(pool("p", run_as={"limits": limits}))
    limits = d.cmd("RUN", "p", "file /proc/self/limits").decode().split("|")

    def limit(name):
        (line,) = [x for x in limits if x.startswith(name)]
        return line[len(name) :].split()[:2]

    assert limit("Max open files") == ["77", "77"]
    assert limit("Max core file size") == ["0", "0"]
    assert limit("Max cpu time")[0] == "3600"
    assert limit("Max address space") == ["1073741824", "1073741824"]
    assert limit("Max stack size")[0] == str(4 << 20)


@pytest.mark.skipif(not lib.ROOT, reason="needs root")
def test_user_and_group(start):
    nobody = pwd.getpwnam("nobody")
    d = start(
        pool("p", run_as={"user": "nobody"}),
        pool("q", run_as={"user": "nobody", "group": "daemon"}),
        pool("r"),
    )
    for name, gid in (("p", nobody.pw_gid), ("q", 1), ("r", 0)):
        pid = int(d.cmd("RUN", name, "pid"))
        s = lib.proc_status(pid)
        uid = 0 if name == "r" else nobody.pw_uid
        assert s["Uid"].split() == [str(uid)] * 4
        assert s["Gid"].split() == [str(gid)] * 4
        if name == "p":
            assert set(map(int, s["Groups"].split())) <= {nobody.pw_gid}
            assert int(s["CapEff"], 16) == 0 and int(s["CapPrm"], 16) == 0
    env = environ(d)
    assert env["USER"] == "nobody" and env["HOME"] == nobody.pw_dir


@pytest.mark.skipif(lib.ROOT, reason="for ordinary users")
def test_ordinary_user_cannot_switch(make):
    d = make(pool("p", run_as={"user": "daemon"}))
    d.check_fds = False
    d.start(ready=False)
    lib.poll(lambda: "daemon" in d.log() or "uid" in d.log() or "group" in d.log(), "a reason")
    if d.proc.poll() is None:
        assert d.pool("p")["state"] == "degraded"
    else:
        assert d.wait() == 78
        d.proc = None


def test_leaking_worker_shows(start):
    d = start(pool("p"))
    (before,) = d.workers()
    assert d.cmd("RUN", "p", "leak 50") == b"leaked"
    (after,) = d.workers()
    assert after["rss_bytes"] - before["rss_bytes"] > 40 << 20


