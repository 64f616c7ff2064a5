# SPDX-License-Identifier: MIT
"""The ways to end: signals, DRAIN, SHUTDOWN, jobs within and beyond `drain`."""
import os
import pathlib
import signal
import time

import pytest

import lib
from lib import SLOW, Error, pool


def test_usr1_writes_state_to_the_log(start):
    d = start(pool("thumbs", workers=2))
    before = len(d.log())
    d.send_signal(signal.SIGUSR1)
    lib.poll(lambda: "thumbs" in d.log()[before:], "the pool in the log")
    assert d.cmd("PING") == "PONG"


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_idle_daemon_ends_at(start, sig):
    d = start(pool("p", workers=3))
    idle = d.client()
    assert idle.cmd("PING") == "PONG"
    d.send_signal(sig)
    assert idle.at_end()
    assert d.wait() == 0
    d.gone()
    assert not os.path.exists(d.socket)


def busy(d, clients=1, queued=0):
    """Jobs at a gate on the one worker of pool p, and more behind them."""
    gate = d.gate()
    running = d.client()
    running.send("RUN", "p", "gate " + gate.path)
    gate.arrived()
    behind = []
    for i in range(queued):
        c = d.client()
        c.send("RUN", "p", "echo queued %d" % i)
        behind.append(c)
    if queued:
        d.wait_pool("p", "%d queued" % queued, lambda p: p["queued"] == queued)
    return gate, running, behind


@pytest.mark.parametrize("how", ["TERM", "QUIT", "SHUTDOWN"])
def test_drain_lets_running_jobs_finish(start, how):
    d = start(pool("p"), drain="1h")
    gate, running, (queued,) = busy(d, queued=1)
    other = d.client()
    assert other.cmd("PING") == "PONG"
    if how == "SHUTDOWN":
        assert other.cmd("SHUTDOWN") == "OK"
    else:
        d.send_signal(getattr(signal, "SIG" + how))
    d.notify.wait("STOPPING=1")
    refused = queued.read()
    assert isinstance(refused, Error) and refused.code == "DRAINING"
    assert other.cmd("RUN", "p", "echo new").code == "DRAINING"
    assert other.cmd("SUBMIT", "p", "echo new").code == "DRAINING"
    assert lib.mapping(other.cmd("STATUS"))["state"] == "draining"
    gate.release()
    assert running.read() == b"gate"
    assert d.wait() == 0
    d.gone()


def test_drain_finishes_submitted_jobs(start, tmp):
    d = start(pool("p", "/bin/sh", "-c", 'while read -r f; do : >"$f"; echo OK; done'), drain="1h")
    c = d.client()
    jobs = [("SUBMIT", "p", "%s/%d" % (tmp, i)) for i in range(20)]
    assert all(isinstance(jid, bytes) for jid in c.pipeline(jobs))
    d.send_signal(signal.SIGTERM)
    assert d.wait() == 0
    assert len(os.listdir(tmp)) == 20
    d.gone()


def test_jobs_that_cannot_be_finished_do_not_go_in_silence(start):
    d = start(pool("p"), drain="1h")
    assert d.cmd("PAUSE", "p") == "OK"
    assert isinstance(d.cmd("SUBMIT", "p", "echo x"), bytes)
    d.send_signal(signal.SIGTERM)
    assert d.wait() == 0
    d.wait_log("0 running and 1 queued jobs are cancelled")
    d.gone()


def test_beyond_drain_jobs_are_cut(start):
    d = start(pool("p", job={"grace": "200ms"}), drain="300ms")
    _, running, _ = busy(d)
    begun = time.monotonic()
    d.send_signal(signal.SIGTERM)
    reply = running.read()
    assert isinstance(reply, Error) and reply.code in ("CANCELLED", "DRAINING")
    assert d.wait() == 0
    assert 0.25 <= time.monotonic() - begun < 10 * SLOW
    d.gone()


@pytest.mark.parametrize("how", ["INT", "second TERM", "SHUTDOWN NOW"])
def test_fast_end(start, how):
    d = start(pool("p", job={"grace": "300ms"}), drain="1h")
    _, running, (queued,) = busy(d, queued=1)
    if how == "INT":
        d.send_signal(signal.SIGINT)
    elif how == "SHUTDOWN NOW":
        assert d.cmd("SHUTDOWN", "NOW") == "OK"
    else:
        d.send_signal(signal.SIGTERM)
        d.notify.wait("STOPPING=1")
        d.send_signal(signal.SIGTERM)
    assert running.read().code == "CANCELLED"
    assert queued.read().code in ("CANCELLED", "DRAINING")
    assert running.at_end()
    assert d.wait() == 0
    d.gone()


def test_worker_that_ignores_term_is_killed_at_the_end(start):
    d = start(pool("p", lib.ACT, "--ignore-term", "--ignore-eof", job={"grace": "200ms"}))
    assert d.cmd("RUN", "p", "echo x") == b"x"
    d.send_signal(signal.SIGTERM)
    assert d.wait() == 0
    d.gone()


def test_drain_command_stays(start):
    d = start(pool("p", workers=1))
    gate, running, (queued,) = busy(d, queued=1)
    jid = d.cmd("SUBMIT", "p", "echo kept")
    admin = d.client()
    assert admin.cmd("DRAIN") == "OK"
    assert queued.read().code == "DRAINING"
    assert admin.cmd("RUN", "p", "echo x").code == "DRAINING"
    assert lib.mapping(admin.cmd("POOL", "p"))["state"] == "draining"
    gate.release()
    assert running.read() == b"gate"
    # What was submitted is finished; its result can still be fetched, if the daemon stays.
    try:
        lib.poll(lambda: d.proc.poll() is not None or d.cmd("RESULT", jid) == b"kept", "the end")
    except (OSError, lib.Closed):
        assert d.wait() == 0
    if d.proc.poll() is not None:
        d.gone()


def test_eof_first_then_term(start, tmp):
    """A worker is told by end of file, and has its grace, before TERM comes."""
    worker = (
        'trap "echo term >%s/term" TERM; while read -r j; do echo "OK $j"; done; echo eof >%s/eof'
    )
    d = start(pool("p", "/bin/sh", "-c", worker % (tmp, tmp)))
    assert d.cmd("RUN", "p", "x") == b"x"
    d.stop()
    assert pathlib.Path(tmp, "eof").exists() and not pathlib.Path(tmp, "term").exists()


def test_clients_get_their_replies_at_the_end(start):
    """Replies that are due are flushed before the daemon ends."""
    d = start(pool("p", workers=4, queue={"limit": 1000}), drain="1h")
    c = d.client()
    for i in range(200):
        c.send("SUBMIT", "p", "echo %d" % i)
    c.send("SHUTDOWN")
    replies = [c.read() for _ in range(201)]
    assert all(isinstance(r, bytes) for r in replies[:200]) and replies[200] == "OK"
    assert d.wait() == 0
    d.gone()


def test_who_has_just_connected_is_heard(start):
    """And does not hold up the end for long if it says nothing."""
    d = start(pool("p"))
    idle, new, silent = d.client(), d.client(), d.client()
    assert idle.cmd("PING") == "PONG"
    d.send_signal(signal.SIGTERM)
    d.wait_log("worker exited")
    replies = new.pipeline([("PING",), ("RUN", "p", "echo late")])
    assert replies[0] == "PONG" and replies[1].code == "DRAINING"
    assert idle.at_end() and new.at_end() and silent.at_end()
    assert d.wait() == 0
    d.gone()


def test_a_client_that_reads_nothing_does_not_hold_up_the_end(start):
    d = start(pool("p", job={"max_result": "8M"}), control={"client_memory": "64M"})
    c = d.client()
    for _ in range(4):
        c.send("RUN", "p", "big 4000000")
    d.wait_pool("p", "all done", lambda p: p["done"] == 4)
    d.send_signal(signal.SIGTERM)
    assert d.wait(60 * SLOW) == 0
    d.gone()
