# SPDX-License-Identifier: MIT
"""Configurations in any order, right and wrong, while clients and an operator go on.

Pools come, go and come back as something else, rights and limits change, HUPs come in
bursts, and RELOAD meets RESTART, SCALE, PAUSE and CLEAR. Through all of it: a job that was
accepted ends once and with its own result, no connection is closed, who is not concerned
keeps its workers, and when it is quiet there is as much of everything as before. The seed is
in the test's name; PREFORKD_TEST_SEED and PREFORKD_TEST_SECONDS set it.
"""
import os
import random
import signal
import time

import pytest

import lib
from lib import ACT, ROOT, Error, mapping, pool, text

SECONDS = float(os.environ.get("PREFORKD_TEST_SECONDS") or 4)
SEED = int(os.environ.get("PREFORKD_TEST_SEED") or random.randrange(1 << 16))
NOBODY = 65534

JOB = {"grace": "200ms", "keep": "2s", "keep_memory": "64K", "replay": "2K"}
KEYS = {"start": {"backoff": "20ms..200ms"}, "job": JOB}
STAYS = pool("stays", workers=2, **KEYS)
NAMES = ["a", "b", "c", "d"]  # of those that come and go
PROTOCOLS = {"line": [ACT], "frame": [ACT, "--frame"], "filter": [ACT, "--filter"]}
CONTROL = {"mode": "0666", "max_clients": 1000, "client_memory": "4M", "user_memory": "16M"}

# What a client may be told instead of a result, as configurations come and go.
TURNED_AWAY = {"NOPOOL", "NOPERM", "BUSY", "TOOBIG", "BADPAYLOAD"}
ENDED = {"CANCELLED"}

WRONG = [
    b'pools = ( { name = "stays"; ',
    b'drain = "soon";',
    b'pools = ( { name = "a/b"; command = [ "/bin/cat" ]; } );',
    b'pools = ( { name = "a"; command = [ "/bin/cat" ]; workers = 0; } );',
    b'control = { mode = "0999"; };',
    b'access = ( { users = [ "no such user" ]; allow = [ ]; } );',
    b'@include "nothing-like-it.conf"',
    b"\0\xff\x1b[31m = ;",
    b"",
]


def a_job(dice):
    job = dict(JOB)
    if dice.random() < 0.3:
        job["max_payload"] = dice.choice([12, 100, "64K"])
    if dice.random() < 0.2:
        job["on_disconnect"] = dice.choice(["drop", "cancel", "finish"])
    return job


def a_pool(dice, name):
    """One that preforkd takes, of any kind."""
    protocol = dice.choice(list(PROTOCOLS))
    command = PROTOCOLS[protocol]
    keys = {**KEYS, "protocol": protocol, "workers": dice.choice([1, 1, 2, 3]), "job": a_job(dice)}
    if protocol != "filter" and dice.random() < 0.5:
        keys["pipeline"] = dice.choice([2, 3, 8])
        keys["in_order"] = dice.random() < 0.3
    if protocol != "filter" and dice.random() < 0.2:
        keys["channel"] = dice.choice(["pipe", "stdio"])
    if protocol == "line" and dice.random() < 0.2:
        keys["start"] = {**KEYS["start"], "ready": True}
        command = [ACT, "--ready"]
    if dice.random() < 0.3:
        keys["queue"] = {"limit": dice.choice([1, 5, 100]), "memory": dice.choice(["1K", "1M"])}
    if dice.random() < 0.3:
        keys["run_as"] = {"environment": {"WHICH": str(dice.randrange(2))}}
    return pool(name, *command, **keys)


def some_access(dice):
    def rule():
        r = {"allow": dice.sample(["read", "submit", "admin"], dice.randrange(4))}
        if dice.random() < 0.7:
            r["pools"] = dice.choice([["a"], ["[bc]"], ["*"], ["stays", "d"]])
        return {"users": ["nobody"], **r}

    return [rule() for _ in range(dice.randrange(1, 4))]


def a_configuration(dice):
    names = dice.sample(NAMES, dice.randrange(len(NAMES) + 1))
    control = {**CONTROL, "max_clients": dice.choice([100, 1000])}
    control["client_memory"] = dice.choice(["2M", "4M"])
    top = {"control": control, "drain": dice.choice(["20ms", "200ms", "1s"])}
    if ROOT and dice.random() < 0.7:
        top["access"] = some_access(dice)
    pools = [STAYS] + [a_pool(dice, name) for name in names]
    dice.shuffle(pools)
    return pools, top


class Actor(lib.Actor):
    def __init__(self, d, dice, c=None):
        super().__init__(d, random.Random(dice.random()), c)

    def name(self):
        return self.dice.choice(NAMES + ["stays"])

    def job(self):
        return "echo %d" % self.dice.randrange(1 << 40)

    def judge(self, name, job, reply, ended=ENDED):
        """A result is the job's own; an error one that can be."""
        allowed = ended | (TURNED_AWAY if name != "stays" else {"NOPERM"})
        if isinstance(reply, Error):
            good = reply.code in allowed
        else:
            good = reply == job[5:].encode()
        if not good:
            self.bad.append((type(self).__name__, name, job, reply))


class Runner(Actor):
    def step(self):
        name, job = self.name(), self.job()
        self.judge(name, job, self.c.cmd("RUN", name, job))


class Piper(Actor):
    """Many at a time on one connection, in their order."""

    def step(self):
        jobs = [(self.name(), self.job()) for _ in range(self.dice.randrange(1, 20))]
        for job, reply in zip(jobs, self.c.pipeline([("RUN", *j) for j in jobs])):
            self.judge(*job, reply)


class Submitter(Actor):
    def step(self):
        jobs = [(self.name(), self.job()) for _ in range(self.dice.randrange(1, 10))]
        ids = self.submit(jobs)
        for job, jid in zip(jobs, ids):
            if isinstance(jid, Error):
                self.judge(*job, jid, ended=set())
        took = [(job, jid) for job, jid in zip(jobs, ids) if not isinstance(jid, Error)]
        if took and self.dice.random() < 0.5:
            reply = self.c.cmd("AWAIT", "ALL", "30s", *[jid for _, jid in took])
            if isinstance(reply, Error) and reply.code not in ("NOJOB", "NOPERM"):
                self.bad.append(("AWAIT", reply))
        for job, jid in took:
            # The memory for results may be short, and its pool gone.
            self.judge(*job, self.c.cmd("RESULT", jid, "WAIT", "30s"), ended=ENDED | {"NOJOB"})

    def submit(self, jobs):
        return [self.c.cmd("SUBMIT", *job) for job in jobs]


class Multi(Submitter):
    def submit(self, jobs):
        replies = self.c.pipeline([("MULTI",), *[("SUBMIT", *job) for job in jobs], ("EXEC",)])
        ids = replies[-1]
        if not isinstance(ids, Error):
            return ids
        self.judge("", "", ids, TURNED_AWAY | {"EXECABORT"})
        return [ids] * len(jobs) if ids.code != "EXECABORT" else []


class Guest(Piper):
    """What he may do changes all the time."""

    def __init__(self, d, dice):
        super().__init__(d, dice, d.client_as(NOBODY) if ROOT else None)


class Operator(Actor):
    ROWS = [
        lambda dice: ["SCALE", dice.choice([1, 2, 3, 5])],
        lambda dice: ["RESTART"],
        lambda dice: ["RESTART", dice.randrange(4)],
        lambda dice: ["PAUSE"],
        lambda dice: ["CLEAR"],
        lambda dice: ["POOL"],
        lambda dice: ["WORKERS"],
    ]

    def step(self):
        name = self.dice.choice(NAMES)
        verb, *rest = self.dice.choice(self.ROWS)(self.dice)
        self.c.cmd(verb, name, *rest)
        if verb == "PAUSE":
            self.c.cmd("RESUME", name)
        for look in ("STATUS", "INFO", "METRICS", "POOLS", "WORKERS", "JOBS"):
            if isinstance(reply := self.c.cmd(look), Error):
                self.bad.append((look, reply))
        time.sleep(self.dice.random() / 50)  # the pace of his work, not a wait for anything


class Reloader(Actor):
    def step(self):
        what = self.dice.random()
        pools, top = a_configuration(self.dice)
        self.d.rewrite(*pools, **top)
        if what > 0.8:
            for _ in range(self.dice.randrange(20)):
                self.d.send_signal(signal.SIGHUP)
        if what < 0.9:
            self.reload()
        if what < 0.25:
            self.mistake()
        time.sleep(self.dice.random() / 20)  # his pace, too

    def reload(self):
        reply = self.c.cmd("RELOAD")
        if reply != "OK":
            self.bad.append(("RELOAD", reply))

    def look(self):
        keys = ("name", "command", "protocol", "workers_configured")
        return [[mapping(p)[k] for k in keys] for p in self.c.cmd("POOLS")]

    def mistake(self):
        """Nothing changes by it but that pools which go are gone."""
        before = self.look()
        self.d.conf.write_bytes(self.dice.choice(WRONG))
        reply = self.c.cmd("RELOAD")
        if not isinstance(reply, Error) or reply.code != "BADCONFIG":
            self.bad.append(("RELOAD of a mistake", reply))
        if not mapping(self.c.cmd("STATUS"))["reload_error"]:
            self.bad.append("no reload_error")
        after = self.look()
        if [p for p in before if p in after] != after:
            self.bad.append(("a mistake has changed", before, after))


class Listener(Actor):
    """Hears of every end, on a connection that stays; each id has one."""

    def __init__(self, d, dice):
        super().__init__(d, dice)
        self.ends = set()
        self.c.cmd("PSUBSCRIBE", "jobs.*", "pool.*", "worker.*", "out.*", "lost")

    def step(self):
        push = text(self.c.read())
        if push[0] != "pmessage" or not push[2].startswith("jobs."):
            return
        jid, state = push[3].split()[:2]
        if state in ("done", "failed", "cancelled"):
            if jid in self.ends:
                self.bad.append(("a second end", push))
            self.ends.add(jid)


def is_at_rest(p):
    moving = ("running", "queued", "restarting", "starting", "stopping", "busy", "memory_bytes")
    return p["up"] == p["idle"] == p["workers"] and not any(p[key] for key in moving)


def has_ended(actors):
    return not any(actor.is_alive() for actor in actors)


@pytest.mark.parametrize("seed", [SEED])
def test_reload_storm(start, seed):
    dice = random.Random(seed)
    d = start(STAYS, control=CONTROL, drain="500ms")
    stays = [w["pid"] for w in d.workers("stays")]
    kinds = [Runner, Runner, Piper, Submitter, Multi, Guest, Operator, Reloader, Listener]
    actors = [kind(d, dice) for kind in kinds]
    idle = d.client()
    assert idle.cmd("PING") == "PONG"
    for actor in actors:
        actor.start()
    end = time.monotonic() + SECONDS
    lib.poll(lambda: time.monotonic() > end or any(a.bad for a in actors), "time", SECONDS * 2)
    for actor in actors:
        actor.over = True
    news = d.client()  # for who waits for them
    lib.poll(lambda: news.cmd("RUN", "stays", "echo x") and has_ended(actors), "their end")
    assert [bad for actor in actors for bad in actor.bad] == []
    assert idle.cmd("PING") == "PONG"
    d.rewrite(STAYS, control=CONTROL, drain="500ms")
    assert d.cmd("RELOAD") == "OK"
    lib.poll(lambda: d.status()["pools"] == 1, "the others are gone")
    p = d.wait_pool("stays", "all quiet", is_at_rest)
    assert (p["failed"], p["broken"], p["exited"]) == (0, 0, 0)
    assert [w["pid"] for w in d.workers("stays")] == stays == sorted(lib.children(d.pid))
