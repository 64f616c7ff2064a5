# SPDX-License-Identifier: MIT
"""Workers that die or hang, in every phase of a job, and storms of deaths."""
import os
import re
import signal
import time

import pytest

import lib
from lib import ACT, SLOW, mapping, pool, script


# ---- death -----------------------------------------------------------------------------


def test_death_after_reading_exit_status(crash):
    d = crash("exit 41")
    assert d.reply.code == "CRASHED" and "41" in d.reply.text
    assert d.pool("p")["crashed"] == 1
    line = d.wait_log("^.*status 41.*").group(0)
    assert "pool=p" in line


@pytest.mark.parametrize(
    "sig, words", [(11, "SEGV|segmentation"), (9, "KILL|kill"), (6, "ABRT|abort")]
)
def test_death_by_signal(crash, sig, words):
    d = crash("kill %d" % sig)
    assert d.reply.code == "CRASHED" and re.search(words, d.reply.text, re.I)


def test_death_with_last_words(crash):
    d = crash("stderr-exit ImportError: no such thing")
    assert d.reply.code == "CRASHED" and "ImportError: no such thing" in d.reply.text
    assert "status 5" in d.reply.text
    line = d.wait_log("^.*ImportError: no such thing").group(0)
    assert "pool=p" in line and "worker=0" in line and "pid=" in line and "job=" in line


def test_death_half_way_through_the_answer(crash):
    d = crash("half")
    assert d.reply.code == "CRASHED" and "half an ans" in d.reply.text + d.log()


def test_death_half_way_through_a_frame(crash):
    d = crash("half", ACT, "--frame", proto="frame")
    assert d.reply.code == "CRASHED"


EARLY = (
    "import os, select, time; select.select([0], [], []); "
    "os.write(1, b'OK early' + bytes([10]) + b'LOG not the whole'); time.sleep(3600)"
)


def test_death_that_is_seen_when_a_job_is_given(start):
    """It has left unread what it answered, and half a line; of its end the loop has not heard,
    for more clients than it looks at in a turn had something to say before."""
    early = pool("p", "/usr/bin/python3", "-c", EARLY, job={"grace": "100ms"})
    d = start(early, control={"max_clients": 1000})
    assert d.cmd("RUN", "p", "x") == b"early"
    (w,) = d.workers("p")
    clients = [d.client() for _ in range(600)]
    assert {c.cmd("PING") for c in clients} == {"PONG"}
    os.kill(d.pid, signal.SIGSTOP)
    lib.poll(lambda: lib.proc_status(d.pid)["State"].startswith("T"), "it is stopped")
    clients[0].send("RUN", "p", "y")
    for c in clients[1:]:
        c.send("PING")
    os.kill(w["pid"], signal.SIGKILL)
    lib.poll(lambda: lib.proc_status(w["pid"])["State"].startswith("Z"), "it is dead")
    os.kill(d.pid, signal.SIGCONT)
    assert {c.read() for c in clients[1:]} == {"PONG"}
    assert clients[0].read() == b"early"
    assert d.pool("p")["crashed"] == 0


def test_frame_worker_dies(start):
    d = start(pool("p", script("frame.py"), protocol="frame", pipeline=4))
    clients = [d.client() for _ in range(3)]
    for c in clients:
        c.send("RUN", "p", "hold x")
    d.wait_pool("p", "three", lambda p: p["running"] == 3)
    assert d.cmd("RUN", "p", "die").code == "CRASHED"
    assert [c.read().code for c in clients] == ["CRASHED"] * 3
    assert d.cmd("RUN", "p", "alive") == b"alive"
    assert d.pool("p")["crashed"] == 4


def test_job_that_leaves_a_byte_unread_does_not_go_round(start):
    d = start(pool("p", script("frame.py"), "--exact", protocol="frame"))
    assert d.cmd("RUN", "p", "alive") == b"alive"
    job = d.cmd("SUBMIT", "p", "die")
    assert d.cmd("RESULT", job, "WAIT", "%ds" % (20 * SLOW)).code == "CRASHED"
    assert d.cmd("RUN", "p", "alive") == b"alive"
    p = d.pool("p")
    assert p["crashed"] == 1 and p["exited"] == 2 and p["state"] == "ok"


def test_death_after_the_answer_counts_as_answered(start):
    d = start(pool("p"), pool("other"))
    c = d.client()
    for i in range(20):
        assert c.cmd("RUN", "p", "answer-exit %d" % i) == b"%d" % i
    p = d.wait_pool("p", "back", lambda p: p["idle"] == 1 and p["exited"] == 20)
    assert p["done"] == 20 and p["crashed"] == 0


def test_answers_with_a_death_behind_each_are_all_delivered(start):
    d = start(pool("p", workers=3, queue={"limit": 1000}))
    c = d.client()
    jobs = [("RUN", "p", "answer-exit %d" % i) for i in range(100)]
    assert c.pipeline(jobs) == [b"%d" % i for i in range(100)]


@pytest.mark.parametrize("channel", ["stdio", "fd3"])
def test_job_never_read_moves_on_uncharged(start, channel):
    args = ["--fd3"] if channel == "fd3" else []
    d = start(pool("p", ACT, *args, channel=channel))
    gate = d.gate()
    assert d.cmd("RUN", "p", "answer-gate-exit " + gate.path) == b"answered"
    gate.arrived()
    jid = d.cmd("SUBMIT", "p", "pid")  # goes to the worker that will never read it
    d.wait_state(jid, "running")
    (old,) = d.workers()
    gate.release()
    pid = int(d.cmd("RESULT", jid, "WAIT", "1m"))
    assert pid != old["pid"]
    assert d.job(jid)["attempt"] == 1
    p = d.pool("p")
    assert p["crashed"] == 0 and p["done"] == 2


def test_job_never_read_goes_to_the_queues_head(start):
    d = start(pool("p"))
    gate = d.gate()
    assert d.cmd("RUN", "p", "answer-gate-exit " + gate.path) == b"answered"
    gate.arrived()
    ids = [d.cmd("SUBMIT", "p", "echo %d" % i) for i in range(3)]
    d.wait_state(ids[0], "running")
    gate.release()
    assert [d.cmd("RESULT", i, "WAIT", "1m") for i in ids] == [b"0", b"1", b"2"]
    queue_ms = [d.job(i)["queue_ms"] + d.job(i)["run_ms"] for i in ids]
    assert queue_ms[0] <= queue_ms[2] + 50 * SLOW


def test_in_order_only_the_oldest_is_charged(start):
    d = start(pool("p", ACT, "--bytewise", pipeline=4, in_order=True))
    gate = d.gate()
    c = d.client()
    c.send("RUN", "p", "gate " + gate.path)
    gate.arrived()
    c.send("RUN", "p", "exit 2")
    for i in range(2):
        c.send("RUN", "p", "echo %d" % i)
    d.wait_pool("p", "four in the worker", lambda p: p["running"] == 4)
    gate.release()
    assert c.read() == b"gate"
    assert c.read().code == "CRASHED"
    assert [c.read(), c.read()] == [b"0", b"1"]
    assert d.pool("p")["crashed"] == 1


def test_pipeline_without_in_order_charges_all(start):
    d = start(pool("p", pipeline=4))
    gate = d.gate()
    c = d.client()
    c.send("RUN", "p", "gate " + gate.path)
    gate.arrived()
    c.send("RUN", "p", "exit 2")
    c.send("RUN", "p", "echo 0")
    d.wait_pool("p", "three in the worker", lambda p: p["running"] == 3)
    gate.release()
    assert c.read() == b"gate"
    assert [c.read().code, c.read().code] == ["CRASHED"] * 2


def test_idle_worker_dies(start):
    d = start(pool("p", workers=2))
    victim = d.workers()[0]["pid"]
    os.kill(victim, signal.SIGKILL)
    p = d.wait_pool("p", "back", lambda p: p["idle"] == 2 and p["spawned"] == 3)
    assert p["exited"] == 1 and p["crashed"] == 0 and p["state"] == "ok"
    assert d.cmd("RUN", "p", "echo x") == b"x"


def test_back_within_100_ms(start):
    """Measured by a client, from the error to the next answer of the only worker."""
    d = start(pool("p"))
    c = d.client()
    c.cmd("RUN", "p", "echo warm")
    took = []
    for _ in range(8):
        assert c.cmd("RUN", "p", "exit 1").code == "CRASHED"
        begun = time.monotonic()
        assert c.cmd("RUN", "p", "echo back") == b"back"
        took.append(time.monotonic() - begun)
    assert min(took) < 0.1 * SLOW, took


def test_back_at_once_however_often_it_dies_after_answers(start):
    """A worker that answered something is replaced without back-off."""
    d = start(pool("p", start={"backoff": "1h..1h"}))
    c = d.client()
    for i in range(30):
        assert c.cmd("RUN", "p", "echo %d" % i) == b"%d" % i
        assert c.cmd("RUN", "p", "exit 1").code == "CRASHED"
    assert d.pool("p")["state"] == "ok"


def test_grandchild_that_holds_the_channel(start):
    d = start(pool("p"))
    assert d.cmd("RUN", "p", "grandchild").code == "CRASHED"
    assert d.cmd("RUN", "p", "echo next") == b"next"
    lib.poll(lambda: len(lib.marked(d.mark)) == 1, "the grandchild's end")


def test_worker_that_closes_its_output(start):
    d = start(pool("p", job={"timeout": "300ms", "grace": "200ms"}), pool("pipe", channel="pipe"))
    reply = d.cmd("RUN", "p", "close-out")
    assert reply.code in ("TIMEOUT", "CRASHED")
    assert d.cmd("RUN", "p", "echo next") == b"next"
    assert d.cmd("RUN", "pipe", "close-out").code == "CRASHED"
    assert d.cmd("RUN", "pipe", "echo next") == b"next"


def test_worker_that_closes_its_input_is_given_no_more(start):
    d = start(
        pool(
            "p",
            "/bin/sh",
            "-c",
            "read -r gate; exec <&-; read -r x <$gate; echo OK $$",
            channel="pipe",
            pipeline=4,
        )
    )
    gate, next_gate = d.gate(), d.gate("next")
    first = d.cmd("SUBMIT", "p", gate.path)
    gate.arrived()
    second = d.cmd("SUBMIT", "p", next_gate.path)
    assert (d.job(first)["state"], d.job(second)["state"]) == ("running", "queued")
    gate.release()
    next_gate.release()
    assert d.cmd("RESULT", first) != d.cmd("RESULT", second, "WAIT", "10s")
    assert d.pool("p")["done"] == 2


# ---- hang --------------------------------------------------------------------------------


def test_timeout(crash):
    d = crash("hang", job={"timeout": "%dms" % (500 * SLOW), "grace": "30s"})
    assert d.reply.code == "TIMEOUT"
    p = d.pool("p")
    assert (p["timeout"], p["crashed"]) == (1, 0)


def test_worker_that_ignores_term_is_killed(crash):
    begun = time.monotonic()
    d = crash("hang-hard", job={"timeout": "%dms" % (500 * SLOW), "grace": "300ms"})
    assert d.reply.code == "TIMEOUT"
    assert time.monotonic() - begun >= 0.3
    d.wait_log("(?i)kill")


def test_timeout_is_told_before_grace_is_over(start):
    d = start(pool("p", job={"timeout": "100ms", "grace": "2s"}))
    begun = time.monotonic()
    assert d.cmd("RUN", "p", "hang-hard").code == "TIMEOUT"
    assert time.monotonic() - begun < 2 or SLOW > 1


def test_late_answer_is_discarded(start):
    d = start(pool("p", job={"timeout": "100ms", "grace": "30s"}))
    c = d.client()
    assert c.cmd("RUN", "p", "late too late").code == "TIMEOUT"
    replies = [c.cmd("RUN", "p", "echo %d" % i) for i in range(5)]
    assert replies == [b"%d" % i for i in range(5)]
    assert d.pool("p")["done"] == 5


def test_term_goes_to_the_process_group(start):
    d = start(
        pool(
            "p",
            "/bin/sh",
            "-c",
            "while read -r j; do sleep 1000; echo OK; done",
            job={"timeout": "100ms", "grace": "30s"},
        )
    )
    assert d.cmd("RUN", "p", "x").code == "TIMEOUT"
    lib.poll(lambda: len(lib.marked(d.mark)) == 1, "the end of the worker's child")


def test_hung_worker_does_not_hold_up_others(start):
    d = start(pool("p", workers=2, job={"timeout": "1h"}))
    stuck = d.client()
    stuck.send("RUN", "p", "hang")
    d.wait_pool("p", "stuck", lambda p: p["running"] == 1)
    c = d.client()
    assert c.pipeline([("RUN", "p", "echo %d" % i) for i in range(100)]) == [
        b"%d" % i for i in range(100)
    ]


def test_worker_that_does_not_read(start):
    d = start(
        pool(
            "p",
            "/bin/sh",
            "-c",
            "exec sleep 1000",
            job={"timeout": "300ms", "grace": "1s", "max_payload": "8M"},
            queue={"memory": "100M"},
        ),
        pool("other"),
    )
    d.check_fds = False
    c = d.client()
    c.send("RUN", "p", "x" * 6_000_000)
    assert d.cmd("RUN", "other", "echo x") == b"x"
    assert c.read().code == "TIMEOUT"


def test_hint_about_buffering(start):
    d = start(
        pool("p", "/bin/sh", "-c", "while read -r j; do :; done", job={"timeout": "200ms"}),
    )
    d.check_fds = False
    assert d.cmd("RUN", "p", "x").code == "TIMEOUT"
    d.wait_log("(?i)buffer")


# ---- post-mortem ---------------------------------------------------------------------------


def test_job_remembers_how_it_failed(start):
    d = start(pool("p", job={"timeout": "%dms" % (500 * SLOW)}))
    a = d.cmd("SUBMIT", "p", "stderr-exit last words")
    b = d.cmd("SUBMIT", "p", "hang")
    j = d.wait_state(a, "failed")
    assert (j["reason"], j["last_stderr"]) == ("crashed", "last words")
    assert "status 5" in j["error"]
    assert d.wait_state(b, "failed")["reason"] == "timeout"
    assert d.cmd("RESULT", a).code == "CRASHED" and d.cmd("RESULT", b).code == "TIMEOUT"
    assert [mapping(x)["id"] for x in d.cmd("JOBS", "REASON", "crashed")] == [a.decode()]


# ---- storms --------------------------------------------------------------------------------


def test_storm_of_64_deaths(start):
    d = start(pool("p", workers=64, start={"backoff": "50ms..1s"}), pool("other"))
    c = d.client()
    assert c.pipeline([("RUN", "p", "sleep 20 %d" % i) for i in range(64)]) == [
        b"%d" % i for i in range(64)
    ]
    for w in d.workers("p"):
        os.kill(w["pid"], signal.SIGKILL)
    assert d.cmd("RUN", "other", "echo x") == b"x"
    p = d.wait_pool("p", "64 back", lambda p: p["idle"] == 64 and p["exited"] >= 64)
    assert p["spawned"] >= 128
    assert c.cmd("RUN", "p", "echo after") == b"after"


def test_storm_of_jobs_that_kill(start):
    d = start(pool("p", workers=16, queue={"limit": 1000}))
    c = d.client()
    replies = c.pipeline(
        [("RUN", "p", "exit 1" if i % 2 else "echo %d" % i) for i in range(160)]
    )
    for i, reply in enumerate(replies):
        if i % 2:
            assert reply.code == "CRASHED"
        else:
            assert reply == b"%d" % i
    d.wait_pool("p", "whole again", lambda p: p["idle"] == 16)


def test_an_ignored_sigchld_is_inherited(make):
    """The kernel would reap workers by itself, and their ends would never be told."""
    d = make(pool("p"))
    d.start(preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    for _ in range(3):
        assert d.cmd("RUN", "p", "exit 4").text.startswith("CRASHED worker exited with status 4")
    d.wait_pool("p", "back", lambda p: p["idle"] == 1 and p["exited"] == 3)
