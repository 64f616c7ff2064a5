# SPDX-License-Identifier: MIT
"""What `make install` gives a machine with systemd, before anything is changed on it."""
import booted
import lib

pytestmark = booted.needed


def test_first_start(host):
    """A pool's file, and the service is up and has it."""
    host.conf(echo=lib.pool("echo", booted.ECHO, protocol="line"))
    host.start()
    with lib.Client(booted.SOCKET) as c:
        assert c.cmd("RUN", "echo", "hello") == b"hello"
    assert booted.show(booted.SERVICE, "ActiveState") == "active"
