# SPDX-License-Identifier: MIT
"""What `make install` gives a machine with systemd, before anything is changed on it."""
import pathlib
import re

import pytest

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


UNITS = ("preforkd.service", "preforkd.socket", "preforkd@.service", "preforkd@.socket")


def test_what_is_installed():
    """Units, the user and the directory are there after a boot with what was installed."""
    for unit in UNITS:
        text = booted.run("systemctl", "cat", unit).stdout
        assert re.match("# (/usr)?/lib/systemd/system/" + unit, text)
    user = booted.run("getent passwd preforkd").stdout
    assert re.fullmatch(r"preforkd:\S:\d+:\d+:.*:/var/lib/preforkd:/usr/sbin/nologin\n", user)
    assert booted.run("getent group preforkd").stdout.split(":")[2] == user.split(":")[3]
    assert booted.run("stat -c '%A %U %G' /run/preforkd").stdout == "drwxr-xr-x preforkd preforkd\n"


def test_nothing_is_enabled():
    lines = booted.run("systemctl list-unit-files --no-legend 'preforkd*'").stdout.splitlines()
    states = dict(line.split()[:2] for line in lines)
    assert {states[u] for u in UNITS} == {"disabled"}
    assert set(states.values()) <= {"disabled", "static", "indirect"}, states


EXAMPLES = pathlib.Path("/usr/share/preforkd/examples")
JOBS = {  # of pools whose programs are there
    "each": ("/etc/hostname.missing", b"gzip"),
    "hash": ("/etc/passwd", None),
    "frame": ("some text", None),
}


@pytest.mark.parametrize("name", JOBS)
def test_example(host, name):
    """A pool file from the examples, but for their prefix, serves under the unit as it is."""
    text = (EXAMPLES / (name + ".conf")).read_text().replace("/usr/local/", "/usr/")
    host.conf(**{name: text})
    host.start()
    payload, failure = JOBS[name]
    with lib.Client(booted.SOCKET) as c:
        said = c.cmd("RUN", name, payload)
        if failure:
            assert isinstance(said, lib.Error) and said.code == "FAILED", said
        else:
            assert isinstance(said, bytes) and said, said
