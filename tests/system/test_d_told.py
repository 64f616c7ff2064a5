# SPDX-License-Identifier: MIT
"""What the log tells of workers and jobs that came to a bad end: a line each, but no flood."""
import json
import os
import re
import resource
import time

import pytest

import lib
from lib import pool

JSON = {"format": "json"}


def events(d, *words):
    found = [json.loads(line) for line in d.log().splitlines()]
    return [e for e in found if e.get("event") in words]


def wait_events(d, word, count=1):
    lib.poll(lambda: len(events(d, word)) >= count, "%d times %s" % (count, word))
    return events(d, word)


def submit(d, payload, *options):
    jid = d.cmd("SUBMIT", "p", payload, *options).decode()
    d.wait_state(jid, "done", "failed", "cancelled")
    return jid


def test_crash(start):
    d = start(pool("p", workers=2), log=JSON)
    assert d.cmd("RUN", "p", "echo x") == b"x"
    jid = submit(d, "stderr-exit last words")
    (job,) = wait_events(d, "job-crashed")
    (worker,) = wait_events(d, "worker-died")
    pid = int(d.job(jid)["pid"])
    assert (job["level"], job["pool"], job["job"], job["worker_pid"]) == ("warning", "p", jid, pid)
    assert (worker["level"], worker["pool"], worker["worker_pid"]) == ("warning", "p", pid)
    assert job["worker"] == worker["worker"] == int(d.job(jid)["worker"])
    assert re.fullmatch("job failed: worker exited with status .*: last words", job["message"])
    assert "job" not in worker, "what it had is settled"


def test_timeout(start):
    d = start(pool("p", job={"timeout": "30ms"}), log=JSON)
    first = submit(d, "hang")
    assert d.cmd("RUN", "p", "echo x") == b"x"
    second = submit(d, "hang")
    told = wait_events(d, "job-timeout", 2)
    assert [e["job"] for e in told] == [first, second]
    assert {e["level"] for e in told} == {"warning"} and {e["pool"] for e in told} == {"p"}
    assert "job failed: took longer than 30ms, and was its worker's first" in told[0]["message"]
    assert told[1]["message"] == "job failed: took longer than 30ms"
    assert all(e["worker"] == 0 and e["worker_pid"] for e in told)
    assert not events(d, "job-crashed", "worker-died"), "it was ended for the timeout"


def test_broken_protocol(start):
    d = start(pool("p", "/bin/sh", "-c", "while read -r j; do echo nonsense; done"), log=JSON)
    jid = submit(d, "x")
    (killed,) = wait_events(d, "worker-killed")
    (job,) = wait_events(d, "job-crashed")
    assert killed["level"] == "error" and killed["job"] == job["job"] == jid


def test_last_words_that_break_the_protocol(start):
    """The worker is gone when they are read: that it was no good is told all the same."""
    d = start(pool("p"), log=JSON)
    assert d.cmd("RUN", "p", "echo x") == b"x"
    submit(d, "half")
    (worker,) = wait_events(d, "worker-died")
    assert worker["level"] == "warning"


def test_a_stop_is_no_mishap(make):
    d = make(pool("p", workers=3), log=JSON).start()
    assert d.cmd("RUN", "p", "echo x") == b"x"
    d.stop()
    seen = [json.loads(line).get("event") for line in d.log().splitlines()]
    assert [e for e in seen if e] == ["ready", "stopping", "stopped"]


def test_no_flood(start):
    """Each job, or what was not said of it in time, and that without another line."""
    keys = {"protocol": "frame", "pipeline": 64, "workers": 12}
    d = start(pool("p", lib.script("frame.py"), **keys), log=JSON)
    c = d.client()
    for _ in range(63 * 12):
        c.send("RUN", "p", "hold x")
    d.wait_pool("p", "all of them", lambda p: p["running"] == 63 * 12)
    replies = d.client().pipeline([("RUN", "p", "die")] * 12)
    assert {r.code for r in replies} == {c.read().code for _ in range(63 * 12)} == {"CRASHED"}
    d.wait_pool("p", "the deaths", lambda p: p["exited"] == 12)
    total = d.pool("p")["crashed"] + 12

    def told():
        lines = len(events(d, "job-crashed", "worker-died"))
        dropped = events(d, "log-lines-dropped")
        assert all(e["pool"] == "p" and "worker" not in e for e in dropped)
        return lines, sum(int(e["message"].split()[0]) for e in dropped)

    lib.poll(lambda: sum(told()) == total, "all of %d: %s" % (total, told()))
    lines, dropped = told()
    assert lines >= 500 and dropped > 0


def test_standard_error_of_a_slot(start):
    """The bound is the slot's, not the process's; what was dropped is told while it lives."""
    d = start(pool("p"), log=JSON)
    begun = time.monotonic()
    for count in (1, 2):
        assert d.cmd("RUN", "p", "stderr-flood 2000") == b"after flood"
        told = wait_events(d, "log-lines-dropped", count)[-1]
        assert told["pool"] == "p" and told["worker"] == 0 and "job" not in told
        d.cmd("RUN", "p", "exit 1")
    lines = len(re.findall("of a flood of lines", d.log()))
    assert 500 <= lines <= 510 + 100 * (time.monotonic() - begun)


def test_each_end_at_debug(start):
    d = start(pool("p"), log={**JSON, "level": "debug"})
    jid = submit(d, "echo x")
    bad = submit(d, "err no")
    d.cmd("PAUSE", "p")
    queued = d.cmd("SUBMIT", "p", "echo y").decode()
    assert d.cmd("CANCEL", queued) == 1
    d.wait_state(queued, "cancelled")
    seen = [json.loads(line) for line in d.log().splitlines()]
    ends = {e["job"]: e for e in seen if e["message"].startswith("job ")}
    assert re.fullmatch(r"job done, took \d+\.\d{3} ms", ends[jid]["message"])
    assert ends[jid]["worker"] == 0 and ends[jid]["worker_pid"] and ends[jid]["level"] == "debug"
    assert ends[bad]["message"].startswith("job failed: error, took ")
    assert ends[queued]["message"] == "job cancelled: request" and "worker" not in ends[queued]


def test_each_line_has_its_job(start):
    """What a worker writes before its answer is about that job, however fast it answers. No
    more lines than one worker may write in a row: it could be the one that does all the jobs."""
    d = start(pool("p", workers=8, queue={"limit": 500}), log=JSON)
    ids = [d.cmd("SUBMIT", "p", "stderr hello").decode() for _ in range(100)]
    c = d.client()
    assert c.pipeline([("RUN", "p", "stderr hello")] * 390) == [b"after stderr"] * 390
    lines = [json.loads(line) for line in d.log().splitlines()]
    jobs = [e.get("job") for e in lines if e["message"] == "hello"]
    assert len(jobs) == 490 and None not in jobs and len({*jobs}) == 490 and {*ids} <= {*jobs}


# ---- the other events ------------------------------------------------------------------


def test_degraded_and_recovered(make, tmp):
    good = tmp / "good"
    command = "[ -e %s ] || exit 3; echo READY; exec %s" % (good, lib.ACT)
    how = {"ready": True, "backoff": "100ms..100ms"}
    d = make(pool("p", "/bin/sh", "-c", command, start=how), log=JSON)
    d.check_fds = False
    d.start()
    (line,) = wait_events(d, "pool-degraded")
    assert line["level"] == "error" and line["pool"] == "p" and "worker" not in line
    good.touch()
    (line,) = wait_events(d, "pool-recovered")
    assert line["pool"] == "p"
    good.unlink()
    d.cmd("RESTART", "p")
    (line,) = wait_events(d, "pool-restart-failed")
    assert line["pool"] == "p" and line["level"] == "error"
    good.touch()
    wait_events(d, "pool-recovered", 2)
    d.cmd("RESTART", "p")
    assert wait_events(d, "pool-restarted")[0]["pool"] == "p"


def test_end_of_the_drain(make):
    d = make(pool("p", job={"timeout": "infinity"}), log=JSON, drain="50ms").start()
    d.wait_state(d.cmd("SUBMIT", "p", "hang").decode(), "running")
    d.cmd("SUBMIT", "p", "echo x")
    d.stop()
    seen = [json.loads(line) for line in d.log().splitlines()]
    order = [e["event"] for e in seen if "event" in e]
    assert order == ["ready", "stopping", "drain-over", "jobs-cancelled", "stopped"]
    (cancelled,) = events(d, "jobs-cancelled")
    assert cancelled["message"] == "1 running and 1 queued jobs are cancelled"


@pytest.mark.skipif(not lib.ROOT, reason="needs root, for clients of two users")
def test_administration(start):
    d = start(pool("p"), log=JSON, control={"mode": "0666"})
    assert d.cmd("PAUSE", "p") == "OK"
    assert d.client_as(4001).cmd("RESUME", "p").code == "NOPERM"
    assert d.client_as(4001).cmd("SHUTDOWN").code == "NOPERM"
    (done,) = wait_events(d, "administration")
    pools = [e.get("pool") for e in wait_events(d, "administration-refused", 2)]
    assert done["pool"] == "p" and pools == ["p", None]


def test_client_closed(start):
    d = start(pool("p"), log=JSON)
    c = d.client()
    c.send_raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert c.at_end()
    (line,) = wait_events(d, "client-closed")
    assert "HTTP" in line["message"] and line["level"] == "warning"


def test_connection_refused(start):
    """Somebody has lowered the limit behind its back: nothing else could bring it there."""
    d = start(pool("p"), log=JSON)
    c = d.client()
    assert c.cmd("PING") == "PONG"
    highest = max(int(fd) for fd in os.listdir("/proc/%d/fd" % d.pid))
    was = resource.prlimit(d.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(d.pid, resource.RLIMIT_NOFILE, (highest + 1, was[1]))
    refused = [d.client() for _ in range(highest + 2)]
    (line,) = wait_events(d, "connection-refused")[:1]
    assert line["level"] == "error" and c.cmd("RUN", "p", "echo x") == b"x"
    resource.prlimit(d.pid, resource.RLIMIT_NOFILE, was)
    closed = lib.poll(lambda: [r for r in refused if not r.quiet()], "one that was closed")
    assert closed[0].at_end()
