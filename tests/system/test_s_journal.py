# SPDX-License-Identifier: MIT
"""The journal: its fields, its catalog, and what becomes of lines that it does not take."""
import json
import re
import signal
import time

import pytest

import booted
import lib
from booted import run, systemctl

pytestmark = booted.needed

JOURNALD = "systemd-journald.service"
EVENTS = dict(
    (word, ident)
    for _, word, ident in re.findall(
        r'^\tX\((\w+), "([a-z-]+)", "([0-9a-f]{32})"\)',
        (lib.SRC / "src/base/log-events.h").read_text(),
        re.M,
    )
)
# Writes its job, with printf's escapes, to standard error and answers.
TELL = 'while read -r j; do printf %b "$j" >&2; echo OK; done'


@pytest.fixture
def client(host):
    """client(pool…) starts the service with these pools, and is a client of it."""
    made = []

    def start(top="", **pools):
        host.conf(top, **pools)
        host.start()
        made.append(lib.Client(booted.SOCKET))
        return made[-1]

    yield start
    for c in made:
        c.close()


@pytest.fixture
def gate():
    path = lib.pathlib.Path("/opt/preforkd-tests/gate")
    path.unlink(missing_ok=True)
    made = lib.Gate(path)
    yield made
    made.close()
    path.unlink()


def messages(entries):
    return [e["MESSAGE"] for e in entries]


# ---- fields --------------------------------------------------------------------------


def test_fields_of_a_job(host, client, gate):
    """A worker's line has the job while it has one; each field finds it, and no other does."""
    keep = "while read -r j; do echo begun $j >&2; read -r _ <%s; echo OK; done" % gate.path
    keys = {"command": ["/bin/sh", "-c", keep]}
    c = client(thumbs=keys, other={"command": [booted.ECHO]})
    job = c.cmd("SUBMIT", "thumbs", "x").decode()
    gate.arrived()
    (line,) = host.wait_journal("PREFORKD_JOB=" + job)
    worker = lib.mapping(c.cmd("WORKERS", "thumbs")[0])
    assert line["MESSAGE"] == "begun x" and line["PRIORITY"] == "5"
    assert line["PREFORKD_POOL"] == "thumbs" and line["PREFORKD_WORKER"] == "0"
    assert line["PREFORKD_WORKER_PID"] == str(worker["pid"])
    assert line["_SYSTEMD_UNIT"] == booted.SERVICE and line["SYSLOG_IDENTIFIER"] == "preforkd"
    assert line["_PID"] == str(host.main_pid()) and line["_TRANSPORT"] == "journal"
    assert "PREFORKD_EVENT" not in line and "MESSAGE_ID" not in line
    gate.release()
    assert c.cmd("RESULT", job, "WAIT", "20s") is not None
    other = c.cmd("SUBMIT", "thumbs", "y").decode()
    gate.arrived()
    gate.release()
    assert messages(host.wait_journal("PREFORKD_JOB=" + other)) == ["begun y"]
    assert messages(host.journal("PREFORKD_JOB=" + job)) == ["begun x"]
    told = host.journal("PREFORKD_WORKER_PID=%s" % worker["pid"])
    assert messages(told) == ["begun x", "begun y"]
    assert not host.journal("PREFORKD_POOL=other")


def test_events(host, client):
    """By its word and by its id: the same lines."""
    c = client(p={"job": {"timeout": "100ms"}})
    assert c.cmd("RUN", "p", "echo x") == b"x"
    crashed = c.cmd("SUBMIT", "p", "stderr-exit no such thing").decode()
    c.cmd("RESULT", crashed, "WAIT", "20s")
    late = c.cmd("SUBMIT", "p", "hang").decode()
    c.cmd("RESULT", late, "WAIT", "20s")
    for word, job in (("job-crashed", crashed), ("job-timeout", late)):
        (line,) = host.wait_journal("PREFORKD_EVENT=" + word)
        assert line["PREFORKD_JOB"] == job and line["PREFORKD_POOL"] == "p"
        assert line["PREFORKD_WORKER"] == "0" and line["PRIORITY"] == "4"
        assert line["MESSAGE"].startswith("p/0 job %s: job failed: " % job)
    died = host.wait_journal("PREFORKD_EVENT=worker-died")
    assert "no such thing" in messages(host.journal("PREFORKD_JOB=" + crashed))
    assert len(died) == 1, "the other one was ended for its job"
    host.stop()
    host.wait_journal("PREFORKD_EVENT=stopped")
    seen = host.journal("PREFORKD_POOL=p") + host.journal("_SYSTEMD_UNIT=" + booted.SERVICE)
    words = {e["PREFORKD_EVENT"]: e["MESSAGE_ID"] for e in seen if "PREFORKD_EVENT" in e}
    assert {"ready", "job-crashed", "job-timeout", "worker-died", "stopping", "stopped"} <= {*words}
    for word, ident in words.items():
        assert ident == EVENTS[word]
        assert host.journal("PREFORKD_EVENT=" + word) == host.journal("MESSAGE_ID=" + ident)


def test_degraded_and_recovered(host, client):
    marker = host.write("/opt/preforkd-tests/broken", "")
    command = "[ ! -e %s ] || exit 3; echo READY; exec %s" % (marker, booted.ACT)
    start = {"ready": True, "backoff": "100ms..100ms"}
    c = client(p={"command": ["/bin/sh", "-c", command], "start": start})
    (line,) = host.wait_journal("PREFORKD_EVENT=pool-degraded")
    assert line["PREFORKD_POOL"] == "p" and line["PRIORITY"] == "3"
    assert line["MESSAGE"] == "p: degraded: exits at start (status 3)"
    assert "PREFORKD_WORKER" not in line
    marker.unlink()
    (line,) = host.wait_journal("PREFORKD_EVENT=pool-recovered")
    assert line["PREFORKD_POOL"] == "p"
    assert c.cmd("RUN", "p", "echo x") == b"x"
    c.cmd("RESTART", "p")
    assert host.wait_journal("PREFORKD_EVENT=pool-restarted")[0]["PREFORKD_POOL"] == "p"


def test_administration(host, client):
    c = client(thumbs={}, other={})
    assert c.cmd("PAUSE", "thumbs") == "OK" and c.cmd("SCALE", "other", "2") == "OK"
    (line,) = host.wait_journal("PREFORKD_EVENT=administration", "PREFORKD_POOL=thumbs")
    assert line["MESSAGE"].startswith("thumbs: PAUSE thumbs by uid 0, pid ")
    (line,) = host.journal("PREFORKD_EVENT=administration", "PREFORKD_POOL=other")
    assert line["MESSAGE"].startswith("other: SCALE other 2 by uid 0")
    assert c.cmd("DRAIN") == "OK"
    lib.poll(
        lambda: [
            e
            for e in host.journal("PREFORKD_EVENT=administration")
            if e["MESSAGE"].startswith("DRAIN by") and "PREFORKD_POOL" not in e
        ],
        "a line about the daemon as a whole",
    )


# ---- what workers write ----------------------------------------------------------------


def test_levels(host, client):
    c = client("log = { level = \"debug\"; };", p={"command": ["/bin/sh", "-c", TELL]})
    for level in range(8):
        assert c.cmd("RUN", "p", "<%d>level %d\\n" % (level, level)) == b""
    assert c.cmd("RUN", "p", "none\\n<8>not one\\n<3 nor this\\n") == b""
    host.wait_journal("-g", "nor this")
    for level in range(8):
        (line,) = host.journal("-g", "^level %d$" % level)
        assert line["PRIORITY"] == str(level) and line["PREFORKD_JOB"]
    plain = host.journal("PREFORKD_POOL=p", "PRIORITY=5", "-g", "none|not one|nor this")
    assert messages(plain) == ["none", "<8>not one", "<3 nor this"]


def test_nothing_can_be_forged(host, client):
    """Line ends make lines, and whatever else is no text is shown as it is."""
    c = client(p={"command": ["/bin/sh", "-c", TELL]})
    evil = "one\\nPRIORITY=0\\nMESSAGE=two\\r\\n\\033[31mred\\a\\000end \\377\\0302\\0233 \\0303\\0274\\n"
    assert c.cmd("RUN", "p", evil) == b""
    host.wait_journal("-g", "red")
    lines = host.journal("PREFORKD_POOL=p", "PREFORKD_WORKER=0", "PRIORITY=5")
    assert messages(lines) == [
        "one",
        "PRIORITY=0",
        "MESSAGE=two",
        "\\x1b[31mred\\x07\\x00end \\xff\\xc2\\x9b \u00fc",
    ]
    assert len({e["PREFORKD_JOB"] for e in lines}) == 1


def test_long_lines(host, client):
    """Several kilobytes are several lines, cut between characters, of the level of the first."""
    loop = "while read -r n; do python3 -c 'print(\"<4>\" + \"a\" + \"\u20ac\" * '$n')' >&2; echo OK; done"
    c = client(p={"command": ["/bin/sh", "-c", loop.replace("\u20ac", "\\u20ac")]})
    assert c.cmd("RUN", "p", "5000") == b""
    whole = "a" + "\u20ac" * 5000
    lines = lib.poll(
        lambda: [
            e for e in [host.journal("PREFORKD_POOL=p", "PRIORITY=4")] if "".join(messages(e)) == whole
        ],
        "all of 15 kilobytes",
    )[0]
    assert 8 <= len(lines) <= 10 and all(len(e["MESSAGE"].encode()) <= 2048 for e in lines)


# ---- a journal that does not take lines --------------------------------------------------


@pytest.fixture
def journald():
    """Its process, which may be stopped: it goes on at the end."""

    class Journald:
        def send(self, sig):
            systemctl("kill", "--kill-who=main", "--signal=%d" % sig, JOURNALD)

    yield Journald()
    systemctl("kill", "--kill-who=main", "--signal=SIGCONT", JOURNALD)
    run("journalctl", "--sync")


def test_stalled(host, client, journald):
    """Nobody waits for a journal that stands still, and it gets the count by itself."""
    c = client(p={})
    host.wait_journal("PREFORKD_EVENT=ready")
    journald.send(signal.SIGSTOP)
    begun = time.monotonic()
    for _ in range(1000):  # more than any queue takes, and bounded by nothing else
        assert c.cmd("PAUSE", "p") == "OK" and c.cmd("RESUME", "p") == "OK"
    replies = c.pipeline([("RUN", "p", "echo y")] * 500)
    took = time.monotonic() - begun
    assert replies == [b"y"] * 500
    assert took < lib.DEADLINE, "%.1f s: somebody has waited" % took
    assert booted.show(booted.SERVICE, "ActiveState") == "active"
    journald.send(signal.SIGCONT)
    told = host.wait_journal("PREFORKD_EVENT=log-lines-dropped")
    assert all(e["PRIORITY"] == "4" and "PREFORKD_POOL" not in e for e in told)
    there = len(host.journal("PREFORKD_EVENT=administration"))
    lost = sum(int(e["MESSAGE"].split()[0]) for e in told)
    assert lost > 100 and there + lost == 2000, (there, lost)


def test_stalled_under_a_flood(host, client, journald):
    """Nor does a worker that writes to standard error."""
    c = client(p={"workers": 4})
    host.wait_journal("PREFORKD_EVENT=ready")
    journald.send(signal.SIGSTOP)
    assert c.pipeline([("RUN", "p", "stderr-flood 5000")] * 8) == [b"after flood"] * 8
    journald.send(signal.SIGCONT)
    host.wait_journal("PREFORKD_EVENT=log-lines-dropped")
    lib.poll(lambda: heard(host, c), "a line")


def heard(host, c):
    """Is a line there now? The slot may have written all that it may a while ago."""
    assert c.cmd("RUN", "p", "stderr heard") == b"after stderr"
    return host.journal("PREFORKD_POOL=p", "-g", "^heard$")


def test_restarted(host, client):
    """A new journal, by a restart or after a crash, gets the lines as the old one did."""
    c = client(p={})
    for how in ("restart", "kill --signal=KILL"):
        pid = booted.show(JOURNALD, "MainPID")
        systemctl(*how.split(), JOURNALD)
        lib.poll(
            lambda: booted.show(JOURNALD, "MainPID") not in ("0", pid)
            and booted.show(JOURNALD, "ActiveState") == "active",
            "another journald",
        )
        word = "after-" + how.split()[0]
        assert c.cmd("RUN", "p", "stderr " + word) == b"after stderr"
        (line,) = host.wait_journal("PREFORKD_POOL=p", "-g", "^%s$" % word)
        assert line["PREFORKD_JOB"] and line["_SYSTEMD_UNIT"] == booted.SERVICE


# ---- starts that fail ---------------------------------------------------------------------


def refused(host):
    """What a refused start has told of itself."""
    status = systemctl("start", booted.SERVICE, check=False)
    assert status.returncode != 0
    seen = booted.show(booted.SERVICE, "ActiveState", "Result", "ExecMainStatus", "NRestarts")
    assert seen == {
        "ActiveState": "failed",
        "Result": "exit-code",
        "ExecMainStatus": "78",
        "NRestarts": "0",
    }
    lines = host.wait_journal("-u", booted.SERVICE, "PREFORKD_EVENT=configuration-refused")
    assert {e["PRIORITY"] for e in lines} == {"3"}
    assert {e["_SYSTEMD_UNIT"] for e in lines} == {booted.SERVICE}
    assert {e["MESSAGE_ID"] for e in lines} == {EVENTS["configuration-refused"]}
    return messages(lines)


def test_one_mistake(host):
    host.conf(p=lib.pool("p", booted.ACT, wrokers=3))
    (line,) = refused(host)
    assert re.match(r"/etc/preforkd/pool.d/p.conf:\d+: .*wrokers.*workers", line)
    assert "wrokers" in run("systemctl", "status", booted.SERVICE, check=False).stdout


def test_many_mistakes(host):
    """As many as no queue takes at once, in their order and whole, with the line and the caret."""
    host.conf(**{"p%03d" % i: "command = [ 'x' ];\n" for i in range(150)})
    lines = refused(host)
    assert len(lines) == 450
    for i in range(150):
        assert lines[3 * i].startswith("/etc/preforkd/pool.d/p%03d.conf:1: syntax: " % i)
        assert lines[3 * i + 1].strip() == "command = [ 'x' ];" and lines[3 * i + 2].strip() == "^"


def test_a_start_that_is_refused_while_the_journal_stands_still(host, journald):
    host.conf(**{"p%03d" % i: "command = [ 'x' ];\n" for i in range(150)})
    journald.send(signal.SIGSTOP)
    begun = time.monotonic()
    assert systemctl("start", booted.SERVICE, check=False).returncode != 0
    assert time.monotonic() - begun < lib.DEADLINE


# ---- other places ---------------------------------------------------------------------------


def test_catalog(host, client):
    c = client(thumbs={})
    job = c.cmd("SUBMIT", "thumbs", "exit 3").decode()
    c.cmd("RESULT", job, "WAIT", "20s")
    host.wait_journal("PREFORKD_EVENT=job-crashed")
    told = run("journalctl", "--no-pager", "-x", "PREFORKD_EVENT=job-crashed", "PREFORKD_JOB=" + job)
    assert "Subject: Job %s of the pool thumbs failed: its worker died" % job in told.stdout
    assert "Defined-By: preforkd" in told.stdout and "preforkctl job %s" % job in told.stdout
    listed = run("journalctl", "--no-pager", "--list-catalog", *EVENTS.values()).stdout
    assert [line.split()[0] for line in listed.splitlines()] == [*EVENTS.values()]


@pytest.mark.parametrize("form", ["text", "json"])
def test_standard_error_elsewhere(host, client, form):
    """A unit may send it into a file; the journal has none of it then."""
    log = lib.pathlib.Path("/var/tmp/preforkd-test.log")
    log.unlink(missing_ok=True)
    host.made.append(log)
    host.dropin(booted.SERVICE, "StandardError=append:%s\n" % log)
    c = client('log = { format = "%s"; };' % form, p={})
    job = c.cmd("SUBMIT", "p", "stderr-exit last words").decode()
    c.cmd("RESULT", job, "WAIT", "20s")
    lib.poll(lambda: "job failed" in log.read_text(), "the job's end in the file")
    lines = log.read_text().splitlines()
    if form == "json":
        seen = [json.loads(line) for line in lines]
        (crash,) = [e for e in seen if e.get("event") == "job-crashed"]
        assert (crash["pool"], crash["worker"], crash["job"]) == ("p", 0, job)
        assert seen[0].keys() >= {"time", "level", "program", "pid", "message"}
        assert "ready" in {e.get("event") for e in seen}
    else:
        assert any(
            re.match(r"preforkd\[\d+\]: warning: pool=p worker=0 pid=\d+ job=%s: job" % job, line)
            for line in lines
        )
    assert not host.journal("PREFORKD_POOL=p")
    assert not host.journal("PREFORKD_EVENT=ready")
