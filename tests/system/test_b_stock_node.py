# SPDX-License-Identifier: MIT
"""Clients that nobody here wrote: node-redis and ioredis, from npm.

Two sets of versions: the current ones, which speak RESP3 by themselves, and those
before them, which speak RESP2 and run on older versions of node.
"""
import os
import shutil
import signal
import subprocess

import pytest

import lib
from lib import BUILD, SRC, base_env, pool, run, script

SETS = {  # what it is: the oldest node, the protocol, packages
    "current": (20, "3", ("redis@6.3.1", "ioredis@6.0.0")),
    "older": (18, "2", ("redis@5.9.0", "ioredis@5.9.2")),
}


@pytest.fixture(scope="module", params=SETS)
def env(request):
    """The environment of a program that uses a set of packages."""
    oldest, proto, packages = SETS[request.param]
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node (Debian: apt-get install nodejs npm)")
    version = run(node, "--version").stdout.decode().strip()
    if int(version.lstrip("v").split(".")[0]) < oldest:
        pytest.skip("%s need node %d, and this is %s" % (packages, oldest, version))
    path = BUILD / "tests" / ("node-clients-" + request.param)
    r = run(SRC / "tests/tools/node-clients", path, *packages, timeout=240)
    if r.returncode == 77:
        pytest.skip(r.stderr.decode().strip())
    assert r.returncode == 0, r.stderr.decode()
    return base_env(NODE_PATH=path / "node_modules", RESP=proto)


@pytest.fixture
def d(start):
    return start(pool("p", workers=2), pool("f", script("frame.py"), protocol="frame"))


@pytest.mark.parametrize("client", ["node-redis", "ioredis"])
@pytest.mark.parametrize("case", ["commands", "bytes", "pipeline", "multi", "pubsub"])
def test_node(d, env, client, case):
    r = run("node", SRC / "tests/clients" / (client + ".js"), case, d.socket, env=env)
    assert r.returncode == 0 and r.stdout == b"ok\n", r.stderr.decode()


class Session:
    """A case that asks for something to be done in between."""

    def __init__(self, d, env, client, case):
        command = ["node", SRC / "tests/clients" / (client + ".js"), case, d.socket]
        self.proc = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
        )

    def asked(self, what):
        assert self.proc.stdout.readline() == what.encode() + b"\n", self.proc.stderr.read()

    def answer(self, text=""):
        self.proc.stdin.write(text.encode() + b"\n")
        self.proc.stdin.flush()

    def end(self):
        out, err = self.proc.communicate(timeout=lib.DEADLINE)
        assert self.proc.returncode == 0 and out == b"ok\n", err.decode()

    def close(self):
        self.proc.kill()
        self.proc.communicate()


@pytest.fixture
def session(d, env):
    made = []

    def make_session(client, case):
        made.append(Session(d, env, client, case))
        return made[-1]

    yield make_session
    for s in made:
        s.close()


def restart(d, gate=None):
    """As after a crash: nobody is told, and the workers go with it."""
    workers = [w["pid"] for w in d.workers()]
    d.proc.kill()
    d.wait()
    for pid in workers:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    lib.poll(lambda: not any(map(lib.alive, workers)), "its workers are gone")
    if gate:
        gate.close()
    d.start()
    d.check_fds = False  # counted while clients were there


def test_node_redis_after_a_restart(d, session):
    """It does not send again what was under way, but subscribes again."""
    s = session("node-redis", "restart")
    s.asked("running")
    d.wait_pool("p", "it runs", lambda p: p["running"] == 1)
    restart(d)
    s.answer()
    s.end()


def test_ioredis_after_a_restart(d, session):
    """It does send it again, by itself, and subscribes again."""
    gate = d.gate()
    s = session("ioredis", "restart")
    s.asked("gate")
    s.answer(gate.path)
    s.asked("running")
    gate.arrived()
    restart(d, gate)
    s.answer()
    gate.release()  # for the second time
    s.end()
