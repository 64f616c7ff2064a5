# SPDX-License-Identifier: MIT
"""News: who subscribes hears what happens, in order, and slows nobody down."""
import os
import re
import socket

import pytest

import lib
from lib import Error, Push, pool, poll, proc_status, text

needs_root = pytest.mark.skipif(not lib.ROOT, reason="needs root: acts as other users")
both = pytest.mark.parametrize("proto", (2, 3))
LEVELS = ("line", "frame")
SMALL = {"max_result": "8K", "max_payload": "8K"}
BACKOFF = {"backoff": "10ms..20ms", "timeout": "5s"}


class Listener:
    """A client that subscribes."""

    def __init__(self, client, proto):
        self.c = client
        self.proto = proto
        self.count = 0
        self.early = []  # messages that came before something else that was waited for

    def read(self):
        """The next push frame, as a list of strings."""
        frame = self.c.read()
        assert isinstance(frame, Push if self.proto == 3 else list), frame
        assert isinstance(frame, Push) == (self.proto == 3)
        return [text(x) if isinstance(x, bytes) else x for x in frame]

    def sub(self, *channels, command="SUBSCRIBE"):
        """Subscribe; messages that come with it are left to be heard."""
        for channel in channels:
            self.c.send(command, channel)
            self.count += 1
            while (frame := self.read())[0].endswith("message"):
                self.early.append(frame)
            assert frame == [command.lower(), channel, self.count]
        return self

    def psub(self, *patterns):
        return self.sub(*patterns, command="PSUBSCRIBE")

    def hear(self):
        """The next message: (channel, text)."""
        frame = self.early.pop(0) if self.early else self.read()
        assert frame[0] in ("message", "pmessage"), frame
        return tuple(frame[-2:])

    def hear_all(self, last):
        """Texts up to the one that starts with last, which is the end of them."""
        heard = []
        while not heard or not heard[-1].startswith(last):
            heard.append(self.hear()[1])
        return heard

    def silent(self):
        """Has nothing come by the time that the daemon answers?"""
        pong = "PONG" if self.proto == 3 else [b"pong", b""]
        self.c.send("PING")
        while (frame := self.c.read()) != pong:
            self.early.append([text(x) for x in frame])
        return not self.early


@pytest.fixture
def listen():
    def make(d, proto=3, client=None):
        return Listener(client or d.client(proto), proto)

    return make


def submit(d, *args):
    return text(d.cmd("SUBMIT", "p", *args))


# ---- jobs ----------------------------------------------------------------------------


@both
def test_states(start, listen, proto):
    d = start(pool("p", start=BACKOFF))
    a = listen(d, proto).psub("job.*")
    jid = submit(d, "echo x")
    channel = "job." + jid
    assert [a.hear() for _ in range(3)] == [
        (channel, state) for state in ("queued", "running", "done")
    ]
    submit(d, "err it\tdid not")
    assert a.hear_all("failed") == ["queued", "running", "failed error it\\x09did not"]
    submit(d, "exit 3")
    assert a.hear_all("failed")[-1] == "failed crashed worker exited with status 3"
    submit(d, "TIMEOUT", "10ms", "hang")
    assert a.hear_all("failed")[-1] == "failed timeout took longer than 10ms"
    d.cmd("PAUSE", "p")
    d.cmd("CANCEL", submit(d, "echo never"))
    assert a.hear_all("cancelled") == ["queued", "cancelled request"]
    assert a.silent()


@both
def test_runs_too(start, listen, proto):
    d = start(pool("p", workers=2))
    a = listen(d, proto).psub("job.*")
    c = d.client()
    c.pipeline([("RUN", "p", "echo x")] * 20)
    seen = [a.hear() for _ in range(60)]
    assert len({channel for channel, _ in seen}) == 20
    for jid in {channel for channel, _ in seen}:
        assert [s for channel, s in seen if channel == jid] == ["queued", "running", "done"]


@both
def test_all_jobs_of_a_pool(start, listen, proto):
    d = start(pool("p"), pool("other"))
    a = listen(d, proto).sub("jobs.p")
    d.cmd("RUN", "other", "echo x")
    jid = submit(d, "err broken")
    assert [a.hear() for _ in range(3)] == [
        ("jobs.p", jid + state) for state in (" queued", " running", " failed error broken")
    ]
    assert a.silent()
    b = listen(d, proto).psub("jobs.*")
    d.cmd("RUN", "other", "echo x")
    assert [b.hear()[0] for _ in range(3)] == ["jobs.other"] * 3


@both
@pytest.mark.parametrize("level", LEVELS)
def test_out_and_progress(start, listen, level, proto):
    """Each channel has its own, and the key's has all three in their order."""
    command = (lib.ACT, "--frame") if level == "frame" else ()
    d = start(pool("p", *command, protocol=level))
    words = "" if level == "frame" else " half way"
    gate = d.gate()
    d.cmd("PAUSE", "p")
    jid = submit(
        d, "KEY", "k", "say one||gate %s|progress 1 2%s|two|progress 2 2" % (gate.path, words)
    )
    ears = {
        f: listen(d, proto).sub("%s.%s" % (f, jid)) for f in ("job", "out", "progress")
    }
    ears["key"] = listen(d, proto).sub("key.p.k")
    d.cmd("RESUME", "p")
    gate.release()
    job = ["queued", "running"]
    assert ears["job"].hear_all("done") == job + ["done"]
    assert ears["out"].hear_all("two") == ["one", "", "two"]
    assert ears["progress"].hear_all("2 2") == ["1 2" + words, "2 2"]
    assert ears["key"].hear_all("job done") == ["job " + s for s in job] + [
        "out one",
        "out",
        "progress 1 2" + words,
        "out two",
        "progress 2 2",
        "job done",
    ]
    assert all(e.silent() for e in ears.values())


@both
def test_late(start, listen, proto):
    """Who subscribes while it goes on hears what there was and then the rest."""
    d = start(pool("p"))
    early = listen(d, proto)
    first, second = d.gate("one"), d.gate("two")
    early.sub("key.p.k")
    jid = submit(
        d,
        "KEY",
        "k",
        "say a|progress 1 9|b|progress 2 9|gate %s|c|gate %s|d" % (first.path, second.path),
    )
    assert early.hear_all("progress 2")[-1] == "progress 2 9"
    late = listen(d, proto).sub("job." + jid)
    assert late.hear() == ("job." + jid, "running")
    late.sub("out." + jid)
    assert [late.hear()[1] for _ in range(2)] == ["a", "b"]
    late.sub("progress." + jid)
    assert late.hear()[1] == "2 9"
    first.release()
    assert late.hear() == ("out." + jid, "c")
    last = listen(d, proto).sub("key.p.k")
    assert last.hear_all("progress") == ["job running", "out a", "out b", "out c", "progress 2 9"]
    second.release()
    assert late.hear_all("done") == ["d", "done"]
    assert last.hear_all("job done") == ["out d", "job done"]
    # and when it is over as long as it is kept
    after = listen(d, proto).sub("job." + jid)
    assert after.hear()[1] == "done"
    after.sub("out." + jid)
    assert after.hear_all("d") == ["a", "b", "c", "d"]
    # once: a second SUBSCRIBE is confirmed and tells nothing
    after.c.send("SUBSCRIBE", "out." + jid)
    assert after.read() == ["subscribe", "out." + jid, 2]
    assert after.silent()


def test_replay_without_gap_or_double(start, listen):
    """Subscribers come while a worker writes as fast as it can: each hears an end of it."""
    count = 3000
    d = start(pool("p", job={"replay": "1M"}))
    jid = submit(d, "out-flood %d" % count)
    ears = [listen(d).sub("out." + jid) for _ in range(10)]
    for ear in ears:
        heard = [int(x) for x in ear.hear_all("%0100d" % (count - 1))]
        assert heard == list(range(heard[0], count))


def test_replay_is_bounded(start, listen):
    d = start(pool("p", job={"replay": "10K"}), pool("none", job={"replay": 0}))
    jid = submit(d, "out-flood 1000")
    d.wait_state(jid, "done")
    a = listen(d).sub("out." + jid)
    heard = [int(x) for x in a.hear_all("%0100d" % 999)]
    assert heard == list(range(1000 - len(heard), 1000)) and 50 < len(heard) <= 100
    assert d.pool("p")["memory_bytes"] <= 10240 + 1000
    other = text(d.cmd("SUBMIT", "none", "say x|progress 1 2"))
    d.wait_state(other, "done")
    a.sub("out." + other)
    assert a.silent()
    a.sub("progress." + other)
    assert a.hear()[1] == "1 2"


def test_oldest_in_flight(start, listen):
    """What a line worker says is of the oldest job that it has."""
    d = start(pool("p", pipeline=2))
    gate = d.gate()
    a = listen(d).sub("key.p.one", "key.p.two")
    submit(d, "KEY", "one", "say first|gate %s|more" % gate.path)
    submit(d, "KEY", "two", "say second")
    gate.release()
    heard = [a.hear() for _ in range(9)]
    assert [t for c, t in heard if c == "key.p.one" and t.startswith("out")] == [
        "out first",
        "out more",
    ]
    assert [t for c, t in heard if c == "key.p.two" and t.startswith("out")] == ["out second"]


def test_decided_otherwise(start, listen):
    """A cancelled job has no more news; its worker goes on with the next one's."""
    d = start(pool("p", pipeline=2, job={"timeout": "1m"}))
    gate = d.gate()
    a = listen(d).sub("key.p.one", "key.p.two")
    one = submit(d, "KEY", "one", "say before|gate %s|after" % gate.path)
    submit(d, "KEY", "two", "say mine")
    heard = []
    while ("key.p.one", "out before") not in heard:
        heard.append(a.hear())
    d.cmd("CANCEL", one)
    while ("key.p.one", "job cancelled request") not in heard:
        heard.append(a.hear())
    gate.release()
    while ("key.p.two", "job done") not in heard:
        heard.append(a.hear())
    assert [t for c, t in heard if t.startswith("out")] == ["out before", "out mine"]


def test_key_before_the_job(start, listen):
    d = start(pool("p"))
    a = listen(d).sub("key.p.a.b c")
    assert d.cmd("RUN", "p", "KEY", "a.b c", "say x") == b"said"
    assert a.hear_all("job done") == ["job queued", "job running", "out x", "job done"]
    b = listen(d).sub("key.p.a.b c")
    assert [b.hear()[1] for _ in range(2)] == ["job done", "out x"]
    assert d.cmd("RUN", "p", "KEY", "other", "say x") == b"said"
    assert a.silent() and b.silent()


# ---- whose they are ------------------------------------------------------------------


@needs_root
def test_others_hear_nothing(start, listen):
    d = start(pool("p"), control={"mode": "0666"})
    gate = d.gate()
    mine, other = d.client_as(4001), d.client_as(4002)
    mine.send("SUBMIT", "p", "KEY", "k", "say x|gate %s|progress 1 2" % gate.path)
    jid = text(mine.read())
    gate.arrived()
    ear = listen(d, 2, other)
    for family in ("job", "out", "progress"):
        reply = other.cmd("SUBSCRIBE", "free", "%s.%s" % (family, jid))
        assert isinstance(reply, Error) and reply.code == "NOPERM", reply
    # all or none: "free" was not subscribed to
    ear.sub("key.p.k").psub("*", "job.*", "key.p.*", "out.?*")
    mine_ear, root = listen(d, 2, mine), listen(d, 2).psub("job.*", "key.p.*")
    mine_ear.sub("key.p.k")
    assert mine_ear.hear()[1] == "job running"
    # ids are counted: who subscribes to the next one before it is there hears nothing of it
    ear.sub("job.%d" % (int(jid) + 1))
    gate.release()
    assert mine_ear.hear_all("job done")[-1] == "job done"
    with d.client_as(4001) as again:
        assert text(again.cmd("SUBMIT", "p", "echo x")) == str(int(jid) + 1)
    assert {root.hear()[1] for _ in range(6)} >= {"done", "job done", "queued"}
    # the pool's and the workers' are anybody's, and say nothing of what is in them
    seen = []
    while not any("state=paused" in t for _, t in seen):
        if not seen:
            d.cmd("PAUSE", "p")
        seen.append(ear.hear())
    assert {c.split(".")[0] for c, _ in seen} <= {"pool", "worker"}


@needs_root
def test_rules_of_access(start, listen):
    """News of a pool are for those who may read it."""
    rules = [{"users": ["4001"], "pools": ["p"], "allow": []}]
    d = start(pool("p"), pool("q"), control={"mode": "0666"}, access=rules)
    ear = listen(d, 2, d.client_as(4001))
    for channel in ("pool.p", "worker.p"):
        reply = ear.c.cmd("SUBSCRIBE", channel)
        assert isinstance(reply, Error) and reply.code == "NOPERM", reply
    ear.sub("pool.q", "worker.q").psub("*")
    assert ear.hear()[0] == "pool.q"
    for name in ("p", "q"):
        d.cmd("PAUSE", name)
    while (message := ear.hear())[1].split(" ")[0] != "state=paused":
        assert message[0] == "pool.q"
    assert message[0] == "pool.q"


# ---- order with replies ---------------------------------------------------------------


def test_behind_a_pending_run(start, listen):
    """A confirmation is in its reply's place, and no message before it."""
    d = start(pool("p"))
    gate = d.gate()
    c = d.client(3)
    c.send("RUN", "p", "say a|gate %s|b" % gate.path)
    c.send("PSUBSCRIBE", "job.*", "out.*")
    c.send("RUN", "p", "say c")
    c.send("PING")
    gate.arrived()
    d.cmd("SUBMIT", "p", "say d")
    assert c.quiet()
    gate.release()
    assert c.read() == b"said" and isinstance(c.read(), Push) and isinstance(c.read(), Push)
    frames = [c.read() for _ in range(2)]
    while frames[-1] != "PONG" or sum(f == b"said" for f in frames) < 1:
        frames.append(c.read())
    news = [text(f[3]) for f in frames if isinstance(f, Push)]
    assert news.index("done") < news.index("c"), "the first one's end came behind the confirmation"
    assert frames.index(b"said") < frames.index("PONG")


def test_replies_between_news(start, listen):
    """RESP3 goes on with commands; each push is whole, and stands between replies."""
    d = start(pool("p", workers=4))
    c = d.client(3)
    c.send("PSUBSCRIBE", "*")
    assert c.read() == [b"psubscribe", b"*", 1]
    for i in range(200):
        c.send("RUN", "p", "say %d|progress 1 2" % i)
        c.send("ECHO", str(i))
    replies = []
    pushes = 0
    while len(replies) < 400:
        frame = c.read()
        if isinstance(frame, Push):
            pushes += 1
            assert frame[0] == b"pmessage"
        else:
            replies.append(frame)
    assert replies == [r for i in range(200) for r in (b"said", b"%d" % i)]
    assert pushes >= 200 * 5  # queued, running, out, progress, done


def test_exec_is_one_reply(start, listen):
    """No news between the elements of EXEC's array, however late they come."""
    d = start(pool("p", workers=2))
    gate = d.gate()
    c = d.client(3)
    c.send("PSUBSCRIBE", "*")
    assert c.read()[0] == b"psubscribe"
    c.send("MULTI")
    c.send("SUBMIT", "p", "say a")
    c.send("RUN", "p", "say b|gate %s|c" % gate.path)
    c.send("PING")
    c.send("SUBMIT", "p", "say d")
    c.send("EXEC")
    c.send("ECHO", "after")
    gate.release()
    heard = []
    while heard[-1:] != [b"after"]:
        heard.append(c.read())
    replies = [x for x in heard if not isinstance(x, Push)]
    assert replies[:5] == ["OK"] + ["QUEUED"] * 4
    first, said, pong, second = replies[5]
    assert said == b"said" and pong == "PONG" and int(second) == int(first) + 1
    assert replies[6:] == [b"after"]
    news = [text(x[3]) for x in heard if isinstance(x, Push)]
    while sum(x == "done" for x in news) < 3:
        news.append(text(c.read()[3]))
    assert {"a", "b", "c", "d"} <= set(news)


def test_muted(start, listen):
    """CLIENT REPLY OFF leaves out confirmations, and no news."""
    d = start(pool("p"))
    c = d.client(3)
    c.send("CLIENT", "REPLY", "OFF")
    c.send("RUN", "p", "say x")
    c.send("SUBSCRIBE", "key.p.k")
    d.wait_pool("p", "the RUN is over", lambda p: p["done"] == 1)
    assert d.cmd("RUN", "p", "KEY", "k", "say x") == b"said"
    ear = listen(d, 3, c)
    assert ear.hear_all("job done") == ["job queued", "job running", "out x", "job done"]
    c.send("CLIENT", "REPLY", "ON")
    assert c.read() == "OK"


def test_hello_and_reset(start, listen):
    d = start(pool("p"))
    c = d.client(3)
    ear = listen(d, 3, c).sub("pool.p")
    ear.hear()
    c.send("RESET")
    assert c.read() == "RESET"
    d.cmd("PAUSE", "p")
    assert c.cmd("ECHO", "x") == b"x"
    assert c.quiet()
    c.send("SUBSCRIBE", "x")
    assert c.read() == [b"subscribe", b"x", 1]


# ---- RESP2's subscribed state --------------------------------------------------------


def test_only_listens(start):
    d = start(pool("p"))
    c = d.client()
    assert c.cmd("SUBSCRIBE", "a", "b") == [b"subscribe", b"a", 1]
    assert c.read() == [b"subscribe", b"b", 2]
    for command in (("RUN", "p", "echo x"), ("STATUS",), ("HELLO", "3"), ("client", "id")):
        name = "|".join(command[: 1 + (command[0] == "client")])
        reply = c.cmd(*command)
        assert reply.code == "ERR" and reply.rest.startswith(
            "Can't execute '%s': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT / RESET "
            "are allowed in this context" % name.lower()
        ), reply
    assert c.cmd("PING") == [b"pong", b""]
    assert c.cmd("PING", "msg") == [b"pong", b"msg"]
    assert c.cmd("PSUBSCRIBE", "a*") == [b"psubscribe", b"a*", 3]
    assert c.cmd("UNSUBSCRIBE", "nothing") == [b"unsubscribe", b"nothing", 3]
    assert c.cmd("UNSUBSCRIBE") == [b"unsubscribe", b"a", 2]
    assert c.read() == [b"unsubscribe", b"b", 1]
    assert c.cmd("UNSUBSCRIBE") == [b"unsubscribe", None, 1]
    assert c.cmd("PING") == [b"pong", b""]
    assert c.cmd("PUNSUBSCRIBE") == [b"punsubscribe", b"a*", 0]
    assert c.cmd("PUNSUBSCRIBE") == [b"punsubscribe", None, 0]
    assert c.cmd("PING") == "PONG"
    assert c.cmd("SUBSCRIBE", "a") == [b"subscribe", b"a", 1]
    assert c.cmd("QUIT") == "OK" and c.at_end()


def test_everything_in_resp3(start):
    d = start(pool("p"))
    c = d.client(3)
    assert c.cmd("SUBSCRIBE", "a") == [b"subscribe", b"a", 1]
    assert c.cmd("PING") == "PONG" and c.cmd("RUN", "p", "echo x") == b"x"
    assert c.cmd("UNSUBSCRIBE") == [b"unsubscribe", b"a", 0]
    assert c.cmd("UNSUBSCRIBE") == [b"unsubscribe", None, 0]


def test_redis_py(start):
    """The pub/sub of a stock client, which knows nothing of us."""
    redis = pytest.importorskip("redis")
    d = start(pool("p"))
    r = redis.Redis(unix_socket_path=d.socket)
    ears = r.pubsub(ignore_subscribe_messages=True)
    ears.subscribe("key.p.k")
    ears.psubscribe("job.*")
    assert r.execute_command("RUN", "p", "KEY", "k", "say x") == b"said"
    heard = []
    while (b"key.p.k", b"job done") not in heard:
        message = ears.get_message(timeout=lib.DEADLINE)
        if message is not None:
            heard.append((message["channel"], message["data"]))
    assert [text for channel, text in heard if channel == b"key.p.k"] == [
        b"job queued",
        b"job running",
        b"out x",
        b"job done",
    ]
    assert [text for channel, text in heard if channel != b"key.p.k"] >= [b"queued", b"running"]
    ears.ping()
    ears.unsubscribe()
    ears.punsubscribe()
    poll(lambda: ears.get_message(timeout=0.1) is None and not ears.subscribed, "all are ended")
    ears.close()
    r.close()


# ---- pools and workers ---------------------------------------------------------------


def fields(line):
    return dict(word.split("=", 1) for word in line.split(" "))


def test_pool(start, listen):
    d = start(pool("p", workers=2))
    a = listen(d).sub("pool.p", "pool.nothing")
    name, line = a.hear()
    first = fields(line)
    assert name == "pool.p" and first["workers"] == first["up"] == "2"
    assert (first["state"], first["queued"], first["running"]) == ("ok", "0", "0")
    gates = [d.gate(str(i)) for i in range(3)]
    for gate in gates:
        submit(d, "gate %s" % gate.path)
    heard = []
    while not heard or (heard[-1]["queued"], heard[-1]["running"]) != ("1", "2"):
        heard.append(fields(a.hear()[1]))
    assert heard[-1]["busy"] == "2" and heard[-1]["state"] == "saturated"
    for gate in gates:
        gate.release()
    while (heard[-1]["queued"], heard[-1]["running"]) != ("0", "0"):
        heard.append(fields(a.hear()[1]))
    assert heard[-1]["state"] == "ok" and heard[-1]["idle"] == "2"
    d.cmd("PAUSE", "p")
    assert fields(a.hear()[1])["state"] == "paused"
    d.cmd("RESUME", "p")
    assert fields(a.hear()[1])["state"] == "ok"
    assert a.silent()


def test_pool_counts_are_told_together(start, listen):
    """However many jobs go through, some fifty lines a second come, and the last is true."""
    d = start(pool("p", workers=2))
    a = listen(d).sub("pool.p")
    c = d.client()
    c.pipeline([("RUN", "p", "echo x")] * 3000)
    began = lib.time.monotonic()
    lines = []
    while not lines or (lines[-1]["idle"], lines[-1]["running"]) != ("2", "0") or not a.silent():
        lines.append(fields(a.hear()[1]))
    counts_only = sum(x["state"] == y["state"] for x, y in zip(lines, lines[1:]))
    assert counts_only < 3000 / 4, (len(lines), lib.time.monotonic() - began)


def test_end_of_a_restart(start, listen):
    d = start(pool("p", workers=2))
    a = listen(d).sub("pool.p")
    a.hear()
    before = {w["pid"] for w in d.workers("p")}
    d.cmd("RESTART", "p")
    heard = [fields(a.hear()[1])]
    while "event" not in heard[-1]:
        heard.append(fields(a.hear()[1]))
    assert heard[-1]["event"] == "restarted"
    assert (heard[-1]["up"], heard[-1]["restarting"]) == ("2", "0")
    assert not before & {w["pid"] for w in d.workers("p")}
    assert a.silent()


def test_workers(start, listen):
    d = start(pool("p", start=BACKOFF))
    a = listen(d).sub("worker.p")
    (w,) = d.workers("p")
    d.cmd("RUN", "p", "exit 3")
    who = "worker=0 pid=%d generation=1 " % w["pid"]
    assert a.hear() == ("worker.p", who + "state=down text=exited with status 3")
    up = [a.hear()[1] for _ in range(2)]
    assert [re.sub(r"pid=\d+", "pid=N", line) for line in up] == [
        "worker=0 pid=N generation=2 state=starting",
        "worker=0 pid=N generation=2 state=up",
    ]
    d.cmd("RUN", "p", "stderr-exit secret")
    assert "secret" not in a.hear()[1]


def test_stopping_workers(start, listen):
    d = start(pool("p"))
    a = listen(d).sub("worker.p")
    submit(d, "TIMEOUT", "10ms", "hang")
    states = [fields(a.hear()[1].split(" text=")[0])["state"] for _ in range(4)]
    assert states == ["stopping", "down", "starting", "up"]


# ---- bounds --------------------------------------------------------------------------


def rss_kib(d):
    return int(proc_status(d.pid)["VmRSS"].split()[0])


def test_who_does_not_read_slows_nobody(start, listen):
    """A worker writes at full speed and a subscriber does not read: the daemon's memory
    is bounded, others are served, and it is told how much it missed."""
    total = 400000  # of 100 bytes: 40 MB and their frames
    d = start(
        pool("p", job={"max_payload": "1M", "max_result": "1M"}),
        pool("q", job={"max_payload": "1M", "max_result": "1M"}),
        control={"client_memory": "4M"},
    )
    deaf = listen(d).sub("lost").psub("out.*")
    before = rss_kib(d)
    jid = submit(d, "out-flood %d" % total)
    with d.client() as c:
        asked = 0
        while d.job(jid)["state"] != "done":
            assert c.cmd("RUN", "q", "echo x") == b"x"
            asked += 1
        assert asked > 10
    if not lib.SANITIZED:
        assert rss_kib(d) - before < 8 << 10
    heard, lost = [], 0
    while lost + len(heard) < total:
        channel, message = deaf.hear()
        if channel == "lost":
            lost += int(message)
        else:
            assert channel == "out." + jid
            heard.append(int(message))
    assert lost > 0 and len(heard) > 1000
    assert heard == sorted(set(heard))
    # and it hears again all that comes
    submit(d, "say again")
    assert deaf.hear()[1] == "again" and deaf.silent()


def test_lost_only_for_those_who_ask(start, listen):
    d = start(pool("p", job=SMALL), control={"client_memory": "64K"})
    deaf = listen(d).psub("*")
    d.wait_state(submit(d, "out-flood 20000"), "done")
    heard = 0
    while deaf.early or not deaf.silent():
        heard += deaf.hear()[0].startswith("out.")
    assert 100 < heard < 20000
    line = next(x for x in text(d.cmd("CLIENT", "LIST")).splitlines() if " psub=1 " in x)
    assert " sub=0 " in line and int(line.split(" lost=")[1].split()[0]) >= 20000 - heard
    d.cmd("SUBMIT", "p", "say again")
    while (message := deaf.hear())[1] != "again":
        assert message[0] != "lost"
    late = listen(d).sub("lost")
    assert late.silent()
    deaf.sub("lost")  # what it missed so far
    while (message := deaf.hear())[0] != "lost":
        pass
    assert int(message[1]) >= 20000 - heard


def test_many_channels(start, listen):
    d = start(pool("p"))
    c = d.client(3)
    names = ["job.%d" % i for i in range(1, 10001)]
    c.send("SUBSCRIBE", *names)
    for i, name in enumerate(names):
        assert c.read() == [b"subscribe", name.encode(), i + 1]
    jid = submit(d, "echo x")
    c.send("SUBSCRIBE", "job." + jid)
    assert c.read()[2] == 10001
    while c.read()[2] != b"done":  # queued and running come before it
        pass
    c.send("UNSUBSCRIBE", *names)
    for i, name in enumerate(names):
        assert c.read() == [b"unsubscribe", name.encode(), 10000 - i]
    # up to the limit, which a name that is there already does not count for
    more = ["x%d" % i for i in range(16383)]
    c.send("SUBSCRIBE", *more[:16000])
    c.send("SUBSCRIBE", *more[16000:])
    for i in range(16383):
        assert c.read()[2] == i + 2
    c.send("SUBSCRIBE", "job." + jid)
    assert c.read()[2] == 16384
    reply = c.cmd("SUBSCRIBE", "one more")
    assert reply == Error("ERR at most 16384 channels for one connection")


def test_bounds_of_names(start):
    d = start(pool("p", job=SMALL), control={"client_memory": "64K"})
    c = d.client(3)
    assert c.cmd("SUBSCRIBE", "x" * 512)[2] == 1
    reply = c.cmd("SUBSCRIBE", "y", "x" * 513)
    assert reply == Error("ERR at most 512 bytes in the name of a channel")
    assert c.cmd("PSUBSCRIBE", "x" * 513).code == "ERR"
    replies = [c.cmd("SUBSCRIBE", "%0512d" % i) for i in range(100)]
    assert [isinstance(r, Error) for r in replies].index(True) > 10
    assert "a quarter of control.client_memory" in replies[-1].rest
    assert c.cmd("UNSUBSCRIBE", "x" * 512)[2] > 10
    assert c.cmd("SUBSCRIBE", "x" * 512)[0] == b"subscribe"


def test_patterns_are_bounded(start):
    d = start(pool("p"), control={"max_clients": 50})
    c = d.client(3)
    for i in range(128):
        assert c.cmd("PSUBSCRIBE", "job.%d*" % i)[2] == i + 1
    assert c.cmd("PSUBSCRIBE", "one*") == Error("ERR at most 128 patterns for one connection")
    # the same ones are no new ones
    other = d.client(3)
    assert other.cmd("PSUBSCRIBE", "job.1*")[2] == 1
    long = d.client(3)
    replies = [long.cmd("PSUBSCRIBE", "%0400d" % i + "*a" * 50) for i in range(128)]
    assert all(r[0] == b"psubscribe" for r in replies)
    hungry = d.client(3)
    replies = [hungry.cmd("PSUBSCRIBE", "*" + "%0500d" % i) for i in range(30)]
    assert any(r == Error(r.text) and r.code == "BUSY" for r in replies if isinstance(r, Error))
    many = [d.client(3) for _ in range(8)]
    codes = set()
    for n, m in enumerate(many):
        for i in range(128):
            reply = m.cmd("PSUBSCRIBE", "%d.%d?" % (n, i))
            codes.add(reply.code if isinstance(reply, Error) else "ok")
    assert codes == {"ok", "BUSY"}
    for m in many + [hungry, long]:
        m.close()
    poll(lambda: not isinstance(other.cmd("PSUBSCRIBE", "again?"), Error), "room again")


def test_many_clients(start, listen):
    count = 1000
    d = start(pool("p"), control={"max_clients": 1100})
    ears = [listen(d) for _ in range(count)]
    for i, ear in enumerate(ears):
        ear.sub("key.p.%d" % (i % 2))
    assert d.cmd("RUN", "p", "KEY", "1", "say x") == b"said"
    want = ["job queued", "job running", "out x", "job done"]
    assert all(ear.hear_all("job done") == want for ear in ears[1::2])
    assert all(ear.silent() for ear in ears[::2])
    for ear in ears:
        ear.c.close()


def test_gone_with_news_queued(start, listen):
    d = start(pool("p"), pool("q"))
    jid = submit(d, "out-flood 100000")
    for _ in range(30):
        ear = listen(d).sub("out." + jid).psub("*")
        ear.c.s.shutdown(socket.SHUT_RDWR)
        ear.c.close()
    assert d.cmd("RUN", "q", "echo x") == b"x"
    d.wait_state(jid, "done")
    assert d.status()["clients"] == 1  # the one that asks
    assert os.path.exists("/proc/%d" % d.pid)
