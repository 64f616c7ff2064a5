# SPDX-License-Identifier: MIT
"""preforkctl logs and check, against services and a journal that are real."""
import os
import re
import signal

import pytest

import booted
import lib
from booted import SOCKET
from ctl import Running

pytestmark = booted.needed

CTL = "/usr/bin/preforkctl"
TWO = "/run/preforkd-two/control.sock"


def ctl(*args, where=SOCKET, status=0):
    r = booted.run(CTL, "-s", where, *args, check=False)
    assert r.returncode == status, "%d: %s%s" % (r.returncode, r.stdout, r.stderr)
    return r


def logs(*args, **more):
    """What is printed, as (place, text), and what is said beside."""
    booted.run("journalctl", "--sync")
    r = ctl("logs", *args, **more)
    lines = [re.fullmatch(r"[\d-]{10} [\d:]{8} ([^:]*): (.*)", l) for l in r.stdout.splitlines()]
    assert all(lines), r.stdout
    return [line.groups() for line in lines], r.stderr


def texts(*args, **more):
    return [text for _, text in logs(*args, **more)[0]]


def job(pool, line, where=SOCKET):
    """Run a job; its id."""
    with lib.Client(where) as c:
        jid = lib.text(c.cmd("SUBMIT", pool, line))
        c.cmd("AWAIT", "ALL", "20s", jid)
        return jid


def no_journalctl():
    lib.poll(
        lambda: not booted.run("pgrep", "-x", "journalctl", check=False).stdout,
        "no journalctl is left",
    )


@pytest.fixture
def two_pools(host):
    """Where a's worker and b's have said something, each about a job."""
    host.conf(a={"workers": 1}, b={"workers": 1})
    host.start()
    host.jobs = [job("a", "stderr said by a"), job("b", "stderr said by b")]
    host.jobs.append(job("a", "stderr again by a"))
    host.mark = ["--since", "@%f" % host.begun]
    return host


def test_logs_of_a_pool(two_pools):
    host = two_pools
    assert logs("a", *host.mark)[0] == [
        ("a/0 job " + host.jobs[0], "said by a"),
        ("a/0 job " + host.jobs[2], "again by a"),
    ]
    assert texts("b", *host.mark) == ["said by b"]
    assert texts("a", "-n", "1") == ["again by a"]
    assert texts("a", "-n", "1", *host.mark) == ["again by a"], "the newest, also with --since"
    assert texts("a", "--worker", "0", *host.mark) == texts("a/0", *host.mark) == texts(
        "a", *host.mark
    )
    assert texts("a", "--worker", "7") == []
    assert texts("--job", host.jobs[1]) == ["said by b"]
    assert texts("a", "--job", host.jobs[1]) == []


def test_logs_of_the_daemon(two_pools):
    """With what the service manager says of its unit."""
    lines, said = logs(*two_pools.mark)
    places = [place for place, _ in lines]
    assert said == "" and places[0] == "systemd" and "Starting" in lines[0][1]
    assert any(place == "preforkd" and text.startswith("ready: ") for place, text in lines)
    assert [text for place, text in lines if place.startswith(("a/", "b/"))] == [
        "said by a",
        "said by b",
        "again by a",
    ]


def test_levels(host):
    host.conf(p={"workers": 1})
    host.start()
    job("p", "stderr-exit oops")
    mark = ["--since", "@%f" % host.begun]
    assert "oops" in texts("p", *mark)
    worse = texts("p", "--level", "warning", *mark)
    assert worse and all(text.startswith(("warning: ", "error: ")) for text in worse)
    assert texts("p", "--level", "error", *mark) == []


def test_json_and_other_formats(two_pools):
    booted.run("journalctl", "--sync")
    out = ctl("logs", "a", "-n", "1", "--json").stdout
    assert '"PREFORKD_JOB":"%s"' % two_pools.jobs[2] in out and '"_PID"' in out
    assert ctl("logs", "b", "-n", "1", "-o", "cat").stdout == "said by b\n"
    assert "nonsense" in ctl("logs", "a", "--since", "nonsense", status=1).stderr
    ctl("logs", "a", "-o", "nonsense", status=1)


@pytest.mark.parametrize("form", [[], ["-o", "cat"]])
def test_follow(two_pools, form):
    """A line that is written later comes, Ctrl-C ends it, and nothing is left."""
    r = Running(CTL, "-s", SOCKET, "logs", "a", "-f", *form, start_new_session=True)
    r.wait_out(b"again by a\n")
    job("a", "stderr said later")
    r.wait_out(b"said later\n")
    assert b"by b" not in r.out
    os.killpg(r.proc.pid, signal.SIGINT)
    assert r.end() in (0, 130, -signal.SIGINT)
    no_journalctl()


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_follow_is_killed_alone(two_pools, sig):
    r = Running(CTL, "-s", SOCKET, "logs", "a", "-f")
    r.wait_out(b"again by a\n")
    r.proc.send_signal(sig)
    assert r.end() in (0, 128 + sig, -sig)
    no_journalctl()


def test_follow_outlasts_the_daemon(two_pools):
    """Who watches a pool goes on seeing it over a restart of the service."""
    r = Running(CTL, "-s", SOCKET, "logs", "a", "-f")
    r.wait_out(b"again by a\n")
    booted.systemctl("restart", booted.SERVICE)
    job("a", "stderr after the restart")
    r.wait_out(b"after the restart\n")
    r.kill()


def test_instances_do_not_mix(host):
    """Two daemons with pools of the same name."""
    host.conf(p={"workers": 1})
    host.conf(etc=booted.ETC / "two", p={"workers": 1})
    host.start().start("preforkd@two.service")
    host.at_end.append(lambda: booted.systemctl("stop", "preforkd@two.service", check=False))
    job("p", "stderr said by one")
    job("p", "stderr said by two", where=TWO)
    mark = ["--since", "@%f" % host.begun]
    assert texts("p", *mark) == ["said by one"]
    assert texts("p", *mark, where=TWO) == ["said by two"]
    daemons = texts(*mark, where=TWO)
    assert "said by two" in daemons and "said by one" not in daemons
    assert any("preforkd@two.service" in text for text in daemons), "systemd's own words, of it alone"
    assert not any("preforkd.service" in text for text in daemons)
    host.stop()
    lines, said = logs("p", *mark)
    assert [t for _, t in lines if t.startswith("said")] == ["said by one", "said by two"]
    assert "several daemons" in said, "without the daemon they cannot be told apart"


def test_unit_in_status(host):
    host.conf(p={"workers": 1})
    host.start()
    with lib.Client(SOCKET) as c:
        seen = lib.mapping(c.cmd("STATUS"))
    assert (seen["unit"], seen["user_unit"], seen["log"]) == (booted.SERVICE, "", "journal")
    assert ", preforkd.service: ready (1 pool)" in ctl("status").stdout


def test_daemon_down(two_pools):
    two_pools.stop()
    lines, said = logs("b", *two_pools.mark)
    assert "said by b" in [text for _, text in lines] and "no daemon" in said
    assert "stopped" in texts(*two_pools.mark)
    lines, said = logs("nowhere")
    assert lines == [] and "has no such lines" in said


def test_why_it_is_down(host):
    """The service manager says how it ended, also when the daemon can say nothing."""
    host.conf(p={"workers": 1})
    host.dropin(booted.SERVICE, "Restart=no")
    host.start()
    host.kill(signal.SIGKILL)
    host.wait_state("failed")
    booted.run("journalctl", "--sync")
    r = booted.run(CTL, "logs", "--since", "@%f" % host.begun)
    assert "systemd: warning: preforkd.service: Main process exited, code=killed" in r.stdout
    assert "preforkd: ready: 1 pool" in r.stdout


def test_instance_that_is_down(host):
    """Its name is that of its unit, so that the other is left out."""
    host.conf(p={"workers": 1})
    host.conf(etc=booted.ETC / "two", p={"workers": 1})
    host.start().start("preforkd@two.service")
    job("p", "stderr said by one")
    job("p", "stderr said by two", where=TWO)
    host.stop("preforkd@two.service")
    booted.run("journalctl", "--sync")
    mark = ["--since", "@%f" % host.begun]
    r = booted.run(CTL, "-i", "two", "logs", "p", *mark)
    assert ": said by two" in r.stdout and "said by one" not in r.stdout
    assert "no daemon" in r.stderr and "several" not in r.stderr
    r = booted.run(CTL, "-i", "two", "logs", *mark)
    assert ": said by two" in r.stdout and "systemd: Stopped preforkd@two.service" in r.stdout
    assert "said by one" not in r.stdout and "preforkd.service" not in r.stdout


def test_no_such_pool(two_pools):
    said = ctl("logs", "nowhere", status=1).stderr
    assert "no pool 'nowhere'" in said and "the pools are: a b" in said


# ---- check ---------------------------------------------------------------------------


def test_check_of_services(host):
    host.conf(p={"workers": 1})
    assert ctl("check", status=2).stdout.startswith("PREFORKD CRITICAL: no daemon: ")
    host.start()
    assert ctl("check").stdout.startswith("PREFORKD OK: 1 pool, 1/1 workers")
    host.stop()
    assert ctl("check", status=2).stdout.startswith("PREFORKD CRITICAL: no daemon: ")


def test_check_of_a_degraded_service(host):
    broken = [booted.ACT, "--stderr", "no such module", "--exit", "1"]
    host.conf(good={"workers": 1}, bad={"command": broken, "start": {"backoff": "1h..1h"}})
    host.start()

    def is_down():
        r = booted.run(CTL, "check", check=False)
        return r.returncode == 2 and "bad is down, 0 of 1 workers up" in r.stdout

    lib.poll(is_down, "the check sees it")
    ctl("check", "good")


def test_check_by_who_may_not_and_by_who_may(host):
    host.conf(p={"workers": 1})
    host.start()
    command = [CTL, "check"]
    r = booted.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command, check=False)
    assert r.returncode == 3 and r.stdout.startswith("PREFORKD UNKNOWN: no permission"), r
    group = "--groups=%d" % os.stat(SOCKET).st_gid
    r = booted.run("setpriv", "--reuid=65534", "--regid=65534", group, *command)
    assert r.stdout.startswith("PREFORKD OK: ")
