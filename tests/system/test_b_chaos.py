# SPDX-License-Identifier: MIT
"""Clients that do anything, on many connections at once: commands of all kinds in any
order, whole, in parts and spoilt, replies that are taken late or never, hang-ups and
half-closes at any moment. A bystander is served all the time, and when they are gone
nothing of them is left. The seed is printed; by hand, for longer:
CHAOS_SEED=7 CHAOS_SECONDS=300."""
import os
import random
import socket
import time

import pytest

import lib
from lib import Error, encode, pool

SECONDS = float(os.environ.get("CHAOS_SECONDS") or 4)
SEED = int(os.environ.get("CHAOS_SEED") or 1)
CONNECTIONS = 12
NEVER = {"SHUTDOWN", "DRAIN"}  # they would end it before its time


class Chaos:
    def __init__(self, d, seed):
        self.d = d
        self.rng = random.Random(seed)
        self.ids = ["1"]
        self.by = d.client(timeout=lib.DEADLINE)
        self.by_id = self.by.cmd("CLIENT", "ID")
        names = [lib.text(row[0]).upper() for row in self.by.cmd("COMMAND")]
        self.names = [name for name in names if name not in NEVER]
        self.peers = [self.peer() for _ in range(CONNECTIONS)]

    # -- what they say

    def id(self):
        return self.rng.choice(self.ids)

    def some(self, n):
        return [self.id() for _ in range(self.rng.randint(1, n))]

    def payload(self):
        return self.rng.choice(
            ["echo x", "err no", "out a", "progress 1 2 x", "big 20000", "sleep 5 x", "exit 1"]
            + ["out-flood 20", "echo " + "y" * self.rng.randint(0, 9000), "hang", "\0\n"]
        )

    def options(self):
        key = "k%d" % self.rng.randint(1, 5)
        return self.rng.choice([(), (), ("TIMEOUT", "50ms"), ("KEEP", "1s"), ("KEY", key)])

    def channel(self):
        family = self.rng.choice(["job", "out", "progress"])
        some = [family + "." + self.id(), "jobs.p", "pool.p", "worker.p", "key.p.k1", "lost"]
        return self.rng.choice(some)

    def job_command(self):
        choose = self.rng.choice
        return choose(
            [
                ("RUN", "p", *self.options(), "WAIT", choose(["0", "5ms", "1s"]), self.payload()),
                ("RUN", "p", *self.options(), self.payload()),
                ("SUBMIT", "p", *self.options(), self.payload()),
                ("RESULT", self.id()),
                ("RESULT", self.id(), "WAIT", choose(["10ms", "1s"])),
                ("AWAIT", choose(["ANY", "ALL"]), choose(["0", "20ms", "1s"]), *self.some(40)),
                ("CANCEL", *self.some(5)),
                ("FORGET", *self.some(5)),
                ("JOB", self.id()),
                ("JOBS", "COUNT", str(self.rng.randint(1, 100))),
            ]
        )

    def pool_command(self):
        choose = self.rng.choice
        return choose(
            [
                ("SCALE", "p", str(self.rng.randint(1, 4))),
                ("RESTART", "p"),
                ("PAUSE", "p"),
                ("RESUME", "p"),
                ("RESUME", "p"),
                ("CLEAR", "p"),
                ("POOLS",),
                ("WORKERS",),
                ("STATUS",),
                ("INFO",),
                ("METRICS",),
                ("COMMAND", "DOCS"),
            ]
        )

    def connection_command(self):
        choose = self.rng.choice
        victim = self.rng.randint(1, self.by_id + 60)
        return choose(
            [
                ("MULTI",),
                ("MULTI",),
                ("EXEC",),
                ("EXEC",),
                ("DISCARD",),
                ("RESET",),
                ("HELLO", choose(["2", "3"])),
                ("CLIENT", "REPLY", choose(["ON", "ON", "OFF", "SKIP"])),
                ("CLIENT", "KILL", "ID", str(victim + (victim == self.by_id)), "SKIPME", "no"),
                ("CLIENT", "LIST"),
                ("SUBSCRIBE", *[self.channel() for _ in range(self.rng.randint(1, 9))]),
                ("PSUBSCRIBE", choose(["*", "job.*", "*.p", "o?t.*[13579]"])),
                ("UNSUBSCRIBE",),
                ("PUNSUBSCRIBE",),
                ("UNSUBSCRIBE", self.channel()),
                ("ECHO", "z" * self.rng.randint(0, 3000)),
                ("PING",),
                ("QUIT",),
            ]
        )

    def any_words(self):
        words = ["p", "0", "-1", "ID", "ANY", "1s", "WAIT", "", "\xff", "9" * 30, self.id()]
        n = self.rng.randint(0, 5)
        return (self.rng.choice(self.names), *[self.rng.choice(words) for _ in range(n)])

    def command(self):
        kinds = [self.job_command, self.pool_command, self.connection_command, self.any_words]
        words = self.rng.choices(kinds, [10, 2, 6, 1])[0]()
        if words[0] == "CLIENT" and words[1:2] != ("KILL",) and self.rng.random() < 0.1:
            words = words[:2]
        return encode(*words)

    def spoil(self, data):
        data, at = bytearray(data), self.rng.randrange(len(data))
        data[at : at + self.rng.randint(0, 3)] = self.rng.randbytes(self.rng.randint(0, 3))
        return bytes(data)

    def say(self):
        data = b"".join(self.command() for _ in range(self.rng.choice([1, 1, 3, 20])))
        if self.rng.random() < 0.02:
            data = self.spoil(data)
        return b"" if b"SHUTDOWN" in data.upper() or b"DRAIN" in data.upper() else data

    # -- and do

    def peer(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.connect(self.d.socket)
        s.setblocking(False)
        return {"s": s, "out": b"", "reads": self.rng.random() < 0.8, "half": False}

    def send(self, peer, upto):
        if not peer["half"]:
            n = peer["s"].send(peer["out"][:upto])
            peer["out"] = peer["out"][n:]

    def step(self):
        i = self.rng.randrange(CONNECTIONS)
        peer, dice = self.peers[i], self.rng.random()
        try:
            if dice < 0.5:
                if len(peer["out"]) < 1 << 16:
                    peer["out"] += self.say()
                self.send(peer, 1 << 20)
            elif dice < 0.65:
                self.send(peer, self.rng.randint(1, 200))
            elif dice < 0.97:
                if peer["reads"] and not peer["s"].recv(self.rng.choice([10, 4096, 1 << 18])):
                    raise ConnectionResetError
            elif dice < 0.98:
                peer["half"] = True
                peer["s"].shutdown(socket.SHUT_WR)
            else:
                raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError:
            peer["s"].close()
            self.peers[i] = self.peer()

    def check(self):
        assert self.by.cmd("RUN", "other", "echo served") == b"served"
        self.ids = [lib.text(lib.mapping(j)["id"]) for j in self.by.cmd("JOBS", "COUNT", "60")]
        self.ids.append("1")

    def end(self):
        """Nobody is there any more but the bystander: no job, no byte."""
        for peer in self.peers:
            peer["s"].close()
        lib.poll(lambda: lib.mapping(self.by.cmd("STATUS"))["clients"] == 1, "all are gone")
        for words in [("RESUME", "p"), ("CLEAR", "p")]:
            assert self.by.cmd(*words) == "OK"
        lib.poll(self.is_at_rest, "it is at rest")

    def is_at_rest(self):
        jobs = [lib.mapping(j)["id"] for j in self.by.cmd("JOBS", "COUNT", "1000")]
        if jobs:
            assert not isinstance(self.by.cmd("CANCEL", *jobs), Error) or len(jobs) == 1
            self.by.cmd("FORGET", *jobs)
        status = lib.mapping(self.by.cmd("STATUS"))
        return not jobs and [status[k] for k in ("queued", "running", "memory_bytes")] == [0] * 3


@pytest.mark.parametrize("seed", [SEED])
def test_anything_in_any_order(start, seed):
    job = {"max_payload": "16K", "keep": "2s", "timeout": "300ms"}
    d = start(
        pool("p", workers=3, protocol="frame", job=job, queue={"limit": 300}),
        pool("other", job=job),
        control={"client_memory": "256K", "user_memory": "512K", "client_timeout": "2s"},
    )
    chaos = Chaos(d, seed)
    end, steps = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        for _ in range(100):
            chaos.step()
        steps += 100
        chaos.check()
    print("seed %d, %d steps" % (seed, steps))
    chaos.end()
    chaos.by.close()
    assert d.cmd("PING") == "PONG", "the last of a user has left, whose account was empty"
    assert d.cmd("SHUTDOWN") == "OK"
    assert d.wait() == 0
