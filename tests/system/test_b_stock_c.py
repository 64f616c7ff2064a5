# SPDX-License-Identifier: MIT
"""Clients that nobody here wrote: the C library hiredis, by calls and by callbacks."""
import pytest

import lib
from lib import pool, run, script


@pytest.mark.parametrize("case", ["commands", "pipeline", "multi", "timeouts", "pubsub"])
def test_sync(start, case):
    check(start, "hiredis-sync", case)


@pytest.mark.parametrize("case", ["commands", "multi", "pubsub"])
def test_async(start, case):
    check(start, "hiredis-async", case)


def check(start, program, case):
    d = start(
        pool("p", workers=2, queue={"limit": 10000}),
        pool("f", script("frame.py"), protocol="frame"),
    )
    r = run(lib.BUILD / "tests/clients" / program, case, d.socket)
    assert r.returncode == 0 and r.stdout == b"ok\n", r.stderr.decode()
