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
