# SPDX-License-Identifier: MIT
"""Who may do what."""
import re

import pytest

import lib
from lib import encode, pool

needs_root = pytest.mark.skipif(not lib.ROOT, reason="needs root: acts as other users")


# ---- what is logged of it ------------------------------------------------------------


def test_admin_commands_are_logged(start):
    d = start(pool("p"))
    c = d.client()
    who = r"by uid %d, pid %d" % (lib.os.getuid(), lib.os.getpid())
    assert c.cmd("PAUSE", "p") == "OK"
    d.wait_log(r"\bPAUSE p %s$" % who)
    assert c.cmd("resume", "p") == "OK"
    d.wait_log(r"\bresume p %s$" % who)
    assert c.cmd("PAUSE", "no\npool by uid 0").code == "NOPOOL"
    d.wait_log(r'\bPAUSE "no\\x0apool by uid 0" %s: NOPOOL no pool' % who)
    assert c.cmd("PAUSE", "x" * 5000).code == "NOPOOL"
    d.wait_log(r"\bPAUSE x{100,160}\.\.\. %s: NOPOOL" % who)
    assert c.cmd("SHUTDOWN", "later").code == "ERR"
    d.wait_log(r"\bSHUTDOWN later %s: ERR SHUTDOWN takes NOW" % who)
    assert c.cmd("POOL", "p") and c.cmd("RUN", "p", "echo x") == b"x"
    assert len(re.findall("by uid .*, pid", d.log())) == 5  # and no others


@needs_root
def test_refusals_are_logged_and_counted(start):
    d = start(pool("p"), control={"mode": "0666"})
    c = d.client_as(4001)
    replies = c.pipeline([("SHUTDOWN",)] * 50)
    assert {r.code for r in replies} == {"NOPERM"}
    c.send_raw(b"*2\r\n$5\r\nPAUSE\r\n$900000\r\n")  # refused before it comes
    assert c.read().code == "NOPERM"
    lines = re.findall(r"refused to uid 4001, pid \d+: SHUTDOWN$", d.log(), re.M)
    assert len(lines) == 10  # anybody can cause them
    assert c.quiet() and d.cmd("PING") == "PONG"
    assert c.s.send(encode("PING")) and "by uid 4001" not in d.log()
