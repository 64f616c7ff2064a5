# SPDX-License-Identifier: MIT
"""Workers that flood, or talk nonsense, or more or less than they were asked."""
import re

import pytest

from lib import ACT, pool, script

# ---- floods ------------------------------------------------------------------------------


def test_flood_on_standard_output(crash):
    d = crash("flood", job={"max_result": "100K"})
    assert d.reply.code == "CRASHED"


def test_flood_of_lines(start, bystander):
    d = start(pool("p"), pool("other"))
    by = bystander(d)
    reply = d.cmd("RUN", "p", "extra 100000")
    assert reply == b"one of many" or reply.code == "CRASHED"
    by.check()


def test_flood_on_standard_error(start):
    d = start(pool("p"), pool("other"))
    c = d.client()
    c.send("RUN", "p", "stderr-flood 200000")
    by = d.client()
    for i in range(50):
        assert by.cmd("RUN", "other", "echo %d" % i) == b"%d" % i
    assert c.read() == b"after flood"
    d.wait_log("(?i)drop|suppress")
    lines = len(re.findall("of a flood of lines", d.log()))
    assert 0 < lines < 100000, "%d of 200000 lines in the log" % lines
    assert d.cmd("RUN", "p", "echo x") == b"x"


def test_standard_error_is_escaped(start):
    d = start(pool("p"))
    d.cmd("RUN", "p", "stderr \x1b[31mred\x07")
    d.wait_log("red")
    assert "\x1b" not in d.log() and "\x07" not in d.log()


def test_standard_error_without_a_line_end(start):
    d = start(pool("p", "/bin/sh", "-c", "read -r j; printf 'no end' >&2; exit 1"))
    d.check_fds = False
    reply = d.cmd("RUN", "p", "x")
    assert reply.code == "CRASHED" and "no end" in reply.text


def test_endless_line_on_standard_error(start):
    worker = "read -r j; head -c 3000000 /dev/zero | tr '\\0' e >&2; echo OK; cat"
    d = start(pool("p", "/bin/sh", "-c", worker))
    assert d.cmd("RUN", "p", "x") == b""
    assert max(len(line) for line in d.log().splitlines()) < 70000


# ---- nonsense ------------------------------------------------------------------------------


def hexed(data):
    return "raw " + data.encode().hex()


@pytest.mark.parametrize(
    "answer",
    ["nonsense\n", "OKAY x\n", "ok x\n", "\n", " OK x\n", "PROGRESS x\n", "\x01\x02\x03\n", "\0\n"],
)
def test_nonsense_line(crash, answer):
    d = crash(hexed(answer))
    assert d.reply.code == "CRASHED"


def test_first_answer_that_fits_another_level(start):
    """The report says what came, what was expected, and what may be meant."""
    d = start(pool("p", script("filter.py")))
    d.check_fds = False
    reply = d.cmd("RUN", "p", '"n1"')
    assert reply.code == "CRASHED" and "filter" in reply.text and "N1" in reply.text, reply


@pytest.mark.parametrize(
    "answer",
    [
        "OK\n",
        "OK x 3\nabc\n",
        "OK 99999 3\nabc\n",
        "HELLO 1 2\n",
        "OK 1 99999999999999999999\n",
        "OK 1 900000000\n",
        "X" * 200 + "\n",
        "X" * 200,
        "\n",
    ],
)
def test_nonsense_frame(crash, answer):
    d = crash(hexed(answer), ACT, "--frame", proto="frame")
    assert d.reply.code == "CRASHED"


def test_extra_line_is_nobodys_answer(start):
    """A second answer ends the worker; the next job never gets it."""
    d = start(pool("p"))
    c = d.client()
    for i in range(20):
        reply = c.cmd("RUN", "p", "extra 1")
        assert reply == b"one of many" or reply.code == "CRASHED"
        assert c.cmd("RUN", "p", "echo mine %d" % i) == b"mine %d" % i
    d.wait_log("(?i)no job|unexpected|waits for")


def test_unasked_answer_of_an_idle_worker(start):
    worker = 'while read -r j; do echo "OK $j"; read -r x <"$j"; echo OK unasked; done'
    d = start(pool("p", "/bin/sh", "-c", worker))
    gates = [d.gate("gate%d" % i) for i in range(2)]
    for i, gate in enumerate(gates):
        assert d.cmd("RUN", "p", gate.path) == gate.path.encode()
        gate.release()
        d.wait_pool("p", "the worker's end", lambda p, n=i + 1: p["exited"] == n)


def test_answer_before_any_job(make):
    d = make(
        pool("p", ACT, "--raw", b"OK surprise\n".hex(), start={"backoff": "50ms..100ms"}), pool("q")
    )
    d.check_fds = False
    d.start()
    p = d.wait_pool("p", "degraded", lambda p: p["state"] == "degraded")
    assert p["last_error"]
    assert d.cmd("RUN", "q", "echo x") == b"x"


def test_filter_that_prints_two_lines(start):
    d = start(pool("p", script("filter.py"), protocol="filter"))
    c = d.client()
    assert c.cmd("RUN", "p", "fine") == b"FINE"
    for i in range(10):
        reply = c.cmd("RUN", "p", "two")
        assert reply == b"TWO" or reply.code == "CRASHED"
        assert c.cmd("RUN", "p", "next %d" % i) == b"NEXT %d" % i  # never TWO


def test_filter_that_prints_one_more_line_later(start):
    d = start(pool("p", script("filter.py"), protocol="filter"))
    gate = d.gate()
    assert d.cmd("RUN", "p", "late " + gate.path) == b"LATE " + gate.path.upper().encode()
    (before,) = d.workers()
    gate.release()
    d.wait_pool("p", "the worker's end", lambda p: p["exited"] == 1)
    assert d.cmd("RUN", "p", "x") == b"X"
    assert d.workers()[0]["pid"] != before["pid"]


def test_filter_that_prints_nothing(start):
    d = start(pool("p", script("filter.py"), protocol="filter"))
    assert d.cmd("RUN", "p", "fine") == b"FINE"
    assert d.cmd("RUN", "p", "TIMEOUT", "100ms", "none").code == "TIMEOUT"
    assert d.cmd("RUN", "p", "next") == b"NEXT"


def test_half_line_at_end_of_file_is_no_answer(start):
    d = start(pool("p", "/bin/sh", "-c", "read -r j; printf 'OK half'"))
    d.check_fds = False
    reply = d.cmd("RUN", "p", "x")
    assert reply.code == "CRASHED"
