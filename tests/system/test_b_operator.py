# SPDX-License-Identifier: MIT
"""An operator who does all there is, in any order, to pools that are at work.

Whatever he does, and the configuration is another one all the time, no RUN fails but by
his CLEAR, every job that was accepted ends once, and what is left when all is quiet is what
there was before. The seed is in the test's name; PREFORKD_TEST_SEED sets it.
"""
import os
import random
import time

import pytest

import lib
from lib import ACT, Error, mapping, pool

SECONDS = 3
KEYS = {
    "start": {"backoff": "20ms..200ms"},
    "job": {"grace": "200ms", "keep": "200ms", "keep_memory": "64K", "replay": "2K"},
}
POOLS = {
    "line": pool("line", workers=2, pipeline=4, **KEYS),
    "frame": pool("frame", ACT, "--frame", protocol="frame", workers=2, pipeline=8, **KEYS),
    "filter": pool("filter", ACT, "--filter", protocol="filter", workers=2, **KEYS),
    "pipe": pool("pipe", workers=2, pipeline=3, channel="pipe", in_order=True, **KEYS),
}
JOBS = ["sleep 3 x", "out-flood 40", "say a|progress 1 2 half|b", "big 20000", "log x"]


class Actor(lib.Actor):
    def __init__(self, d, seed):
        super().__init__(d, random.Random(seed))
        self.accepted = set()

    def job(self, name):
        mark = "echo %d" % self.dice.randrange(1 << 30)
        return mark if name == "filter" or self.dice.random() < 0.7 else self.dice.choice(JOBS)


class Runner(Actor):
    def step(self):
        name = self.dice.choice(list(POOLS))
        job = self.job(name)
        reply = self.c.cmd("RUN", name, job)
        self.accepted.add(len(self.accepted))
        if isinstance(reply, Error):
            if reply.code != "CANCELLED":
                self.bad.append((name, job, reply))
        elif job.startswith("echo") and reply != job[5:].encode():
            self.bad.append((name, job, reply))


class Submitter(Actor):
    """Submits, cancels some, and forgets others."""

    def step(self):
        name = self.dice.choice(list(POOLS))
        key = ["KEY", self.dice.randrange(8)] if self.dice.random() < 0.2 else []
        jid = self.c.cmd("SUBMIT", name, *key, "echo same" if key else self.job(name))
        if isinstance(jid, Error):
            self.bad.append(jid)
        self.accepted.add(jid)
        if self.dice.random() < 0.4:
            self.c.cmd(self.dice.choice(["CANCEL", "FORGET"]), jid)


class Operator(Actor):
    ROWS = [
        lambda dice: ["SCALE", dice.choice([1, 2, 3, 5])],
        lambda dice: ["RESTART"],
        lambda dice: ["RESTART", dice.randrange(4)],
        lambda dice: ["PAUSE"],
        lambda dice: ["CLEAR"],
    ]

    def step(self):
        name = self.dice.choice(list(POOLS))
        verb, *rest = self.dice.choice(self.ROWS)(self.dice)
        self.c.cmd(verb, name, *rest)
        if verb == "PAUSE":
            self.c.cmd("RESUME", name)
        for value in mapping(self.c.cmd("POOL", name)).values():
            if isinstance(value, int) and not 0 <= value < 1 << 40:
                self.bad.append((verb, name, value))
        time.sleep(self.dice.random() / 50)  # the pace of his work, not a wait for anything


class Reloader(Actor):
    """Changes the configuration, in what can be changed at once and what cannot."""

    def vary(self, keys):
        dice = self.dice
        job = {**KEYS["job"], "grace": dice.choice(["100ms", "200ms"])}
        keys = {**keys, "workers": dice.choice([1, 2, 4]), "job": job}
        if dice.random() < 0.5:
            keys["run_as"] = {"environment": {"WHICH": str(dice.randrange(2))}}
        if "pipeline" in keys:
            keys["pipeline"] = dice.choice([2, 3, 6])
        return keys

    def step(self):
        more = [pool("more%d" % i, **KEYS) for i in range(self.dice.randrange(3))]
        self.d.rewrite(*[self.vary(p) for p in POOLS.values()], *more)
        reply = self.c.cmd("RELOAD")
        if reply != "OK":
            self.bad.append(reply)
        time.sleep(self.dice.random() / 20)  # his pace, too


class Listener(Actor):
    """Follows everything, and goes away in the middle of it."""

    def step(self):
        self.c.cmd("PSUBSCRIBE", "job.*", "out.*", "progress.*", "pool.*", "worker.*")
        for _ in range(self.dice.randrange(200)):
            if self.over:
                return
            self.c.read()
        self.c.cmd("RESET")
        self.c.cmd("HELLO", 3)


def is_at_rest(p):
    moving = ("running", "queued", "restarting", "starting", "stopping", "busy", "memory_bytes")
    return p["up"] == p["idle"] == p["workers"] and not any(p[key] for key in moving)


SEED = int(os.environ.get("PREFORKD_TEST_SEED") or random.randrange(1 << 16))


@pytest.mark.parametrize("seed", [SEED])
def test_operator(start, seed):
    d = start(*POOLS.values(), drain="500ms")
    d.check_fds = False  # it has other workers than at its start
    actors = [Runner(d, seed + i) for i in range(4)]
    actors += [Submitter(d, seed), Operator(d, seed), Reloader(d, seed), Listener(d, seed)]
    for actor in actors:
        actor.start()
    time.sleep(SECONDS)  # that is how long it goes on
    for actor in actors:
        actor.over = True
    d.cmd("RUN", "line", "echo one more")  # is news, for who waits for them
    for actor in actors:
        actor.join()
        assert not actor.bad, actor.bad
    d.rewrite(*POOLS.values())
    assert d.cmd("RELOAD") == "OK"
    lib.poll(lambda: d.status()["pools"] == len(POOLS), "the others are gone")
    pools = [d.wait_pool(name, "all quiet", is_at_rest) for name in POOLS]
    ended = sum(p[key] for p in pools for key in ("done", "failed", "cancelled"))
    assert ended == 1 + sum(len(actor.accepted) for actor in actors)
    assert sum(p["failed"] + p["broken"] + p["kept"] for p in pools) == 0
    workers = sum(p["workers"] for p in pools)
    lib.poll(lambda: len(lib.children(d.pid)) == workers, "no process more than workers")
