# SPDX-License-Identifier: MIT
"""A private daemon: serves the connections that it was started with, and ends with them."""
import os
import socket
import subprocess

import pytest

import lib
from lib import ACT, PREFORKD, run


def test_private_daemon_with_two_connections():
    """The second may go; with the first the daemon goes."""
    pairs = [socket.socketpair() for _ in range(2)]
    fds = [theirs.fileno() for _, theirs in pairs]
    assert fds[1] > fds[0]
    spare = [os.dup2(fd, 100 + i, inheritable=True) for i, fd in enumerate(fds)]
    proc = subprocess.Popen(
        [PREFORKD, "--pool", "x", "--workers", "1", "--connected", "100-101", "--", ACT],
        pass_fds=spare,
        stderr=subprocess.DEVNULL,
        env=lib.base_env(),
    )
    for fd in spare:
        os.close(fd)
    try:
        for ours, theirs in pairs:
            theirs.close()
            ours.settimeout(lib.DEADLINE)
            ours.sendall(b"RUN x hello\r\n")
            assert ours.recv(100) == b"$5\r\nhello\r\n"
        pairs[1][0].close()
        pairs[0][0].sendall(b"RUN x again\r\n")
        assert pairs[0][0].recv(100) == b"$5\r\nagain\r\n"
        pairs[0][0].close()
        assert proc.wait(lib.DEADLINE) == 0
    finally:
        proc.kill()
        proc.wait()


@pytest.mark.parametrize("fds", ["x", "3-", "-3", "900", "3-x"])
def test_private_daemon_wants_descriptors(fds):
    r = run(PREFORKD, "--pool", "x", "--connected", fds, "--", "true")
    assert r.returncode == 64 and b"--connected" in r.stderr
