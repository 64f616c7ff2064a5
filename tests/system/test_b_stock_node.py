# SPDX-License-Identifier: MIT
"""Clients that nobody here wrote: node-redis and ioredis, from npm.

Two sets of versions: the current ones, which speak RESP3 by themselves, and those
before them, which speak RESP2 and run on older versions of node.
"""
import shutil

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
@pytest.mark.parametrize("case", ["commands", "bytes", "pipeline", "multi"])
def test_node(d, env, client, case):
    r = run("node", SRC / "tests/clients" / (client + ".js"), case, d.socket, env=env)
    assert r.returncode == 0 and r.stdout == b"ok\n", r.stderr.decode()
