# SPDX-License-Identifier: MIT
"""A pool at work while its workers change: clients in a row, jobs that are held up."""
import threading

import lib
from lib import Client


class Stream(threading.Thread):
    """A client that has one job after the other done, until it is told to stop."""

    def __init__(self, d, name="p"):
        super().__init__()
        self.d = d
        self.name_ = name
        self.over = False
        self.done = 0
        self.bad = []
        self.start()

    def run(self):
        with Client(self.d.socket) as c:
            while not self.over and not self.bad:
                text = "echo %d" % self.done
                reply = c.cmd("RUN", self.name_, text)
                if reply != text[5:].encode():
                    self.bad.append(reply)
                self.done += 1

    def finish(self):
        self.over = True
        self.join()
        assert not self.bad, self.bad
        return self.done


class Load:
    """A few streams at once, and a look at their progress."""

    def __init__(self, d, n=4):
        self.streams = [Stream(d) for _ in range(n)]

    @property
    def done(self):
        return sum(s.done for s in self.streams)

    def proceed(self, n=100):
        """Let so many jobs more be done."""
        goal = self.done + n
        lib.poll(
            lambda: self.done >= goal or any(s.bad for s in self.streams),
            "%d jobs more" % n,
        )

    def finish(self):
        return sum(s.finish() for s in self.streams)


def slots(d, name="p"):
    """The pool's workers by their slots."""
    return {w["worker"]: w for w in d.workers(name)}


def wait_up(d, n, name="p"):
    """So many workers, all of them up, and no others; the pool then."""
    return d.wait_pool(
        name, "%d workers" % n, lambda p: (p["workers"], p["up"], p["stopping"]) == (n, n, 0)
    )


def resized(d, by):
    """The daemon's end finds so many workers more than its start: three descriptors each."""
    d.fds += 3 * by


def hold(d, n, name="p"):
    """Jobs that are held up, one at a time, each by a gate: [(client, gate)]."""
    held = []
    for i in range(n):
        gate = d.gate("gate%d" % len(d.gates))
        c = d.client()
        c.send("RUN", name, "gate " + gate.path)
        gate.arrived()
        held.append((c, gate))
    return held


def begun(d, n, name="p"):
    """All workers are past their first lines: each has had a job."""
    release(hold(d, n, name))


def hold_slots(d, n, name="p"):
    """The same, by the slot whose worker is held up: {slot: (client, gate)}."""
    held = hold(d, n, name)
    jobs = {d.job(w["job"])["payload_head"]: w["worker"] for w in d.workers(name) if w["job"]}
    return {jobs["gate " + gate.path]: (c, gate) for c, gate in held}


def release(held):
    for c, gate in held:
        gate.release()
        assert c.read() == b"gate"
