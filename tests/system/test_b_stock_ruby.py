# SPDX-License-Identifier: MIT
"""Clients that nobody here wrote: ruby-redis."""
import shutil

import pytest

import lib
from lib import pool, run, script


@pytest.fixture(scope="module")
def ruby():
    program = shutil.which("ruby")
    if program is None or run(program, "-e", "require 'redis'").returncode != 0:
        pytest.skip("no ruby with redis (Debian: apt-get install ruby-redis)")
    return program


@pytest.mark.parametrize("case", ["commands", "pipelined", "multi", "subscribe", "psubscribe"])
def test_ruby(start, ruby, case):
    d = start(pool("p", workers=2), pool("f", script("frame.py"), protocol="frame"))
    r = run(ruby, lib.SRC / "tests/clients/ruby-redis.rb", case, d.socket)
    assert r.returncode == 0 and r.stdout == b"ok\n", r.stderr.decode()


def test_ruby_sends_it_twice(start, ruby):
    """A reply that takes too long: the command is sent again by itself. A KEY makes it one job."""
    d = start(pool("p", workers=2))
    gate = d.gate()
    env = lib.base_env(JOB="gate " + gate.path)
    r = run(ruby, lib.SRC / "tests/clients/ruby-redis.rb", "timeouts", d.socket, env=env)
    assert r.returncode == 0 and r.stdout == b"ok\n", r.stderr.decode()
    assert d.pool("p")["running"] == 1 and len(d.cmd("JOBS")) == 1
    gate.release()
    assert d.cmd("RUN", "p", "KEY", "once", "gate " + gate.path) == b"gate"
    assert d.pool("p")["done"] == 1
