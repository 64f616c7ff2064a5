# SPDX-License-Identifier: MIT
"""preforkd-metrics.socket: what a monitoring system gets from an installed preforkd.

Its clients are curl, and Prometheus itself out of Debian's package
(tests/tools/prometheus).
"""
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import urllib.parse
import urllib.request

import pytest

import booted
import lib
from booted import run, show, systemctl

pytestmark = [
    booted.needed,
    pytest.mark.skipif(not shutil.which("curl"), reason="needs curl (Debian: apt-get install curl)"),
]

METRICS = "preforkd-metrics.socket"
PORT = 10773
URL = "http://127.0.0.1:%d/metrics" % PORT
PROMETHEUS = lib.BUILD / "tests/prometheus"
with_prometheus = pytest.mark.skipif(
    booted.INSIDE and not (PROMETHEUS / "promtool").exists(),
    reason="no Prometheus could be had when this was built (see tests/tools/prometheus)",
)


def manual(part):
    """The example of preforkd(8) that part occurs in."""
    text = (lib.SRC / "man/preforkd.8").read_text()
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, re.M | re.S)
    (block,) = [b.replace("\\(ti", "~").replace("\\e", "\\") for b in blocks if part in b]
    return block


def curl(*args, url=URL):
    """(status, body)"""
    done = run("curl", "-sS", "-w", "\n%{http_code}", *args, url)
    body, status = done.stdout.rsplit("\n", 1)
    return int(status), body


def scrapes():
    """The units of connections that there are."""
    listed = systemctl("list-units", "--all", "--plain", "--no-legend", "preforkd-metrics*@*")
    return [line.split()[0] for line in listed.stdout.splitlines()]


def no_scrapes():
    lib.poll(lambda: scrapes() == [], "all scrapes are gone")


@pytest.fixture
def scraped(host):
    host.conf(p=lib.pool("p", booted.ACT, workers=2))
    host.start()
    host.start(METRICS)
    return host


def test_scrape(scraped):
    """It is what is asked for, and nothing of it is left, in the journal either."""
    status, text = curl()
    assert status == 200 and 'preforkd_workers_wanted{pool="p"} 2\n' in text
    status, text = curl("-H", "Accept: application/openmetrics-text;version=1.0.0")
    assert status == 200 and text.endswith("# EOF\n")
    assert curl("-I")[0] == 200
    assert curl(url=URL + "x")[0] == 404
    assert curl("-d", "x")[0] == 405
    many = run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}\n", URL + "?[1-30]").stdout
    assert many.split() == ["200"] * 30
    no_scrapes()
    assert show(METRICS, "ActiveState", "NConnections", "NRefused") == {
        "ActiveState": "active",
        "NConnections": "0",
        "NRefused": "0",
    }
    units = ("UNIT", "_SYSTEMD_UNIT")
    said = [
        e["MESSAGE"]
        for e in scraped.journal()
        if any(e.get(u, "").startswith("preforkd-metrics@") for u in units)
    ]
    assert said == []


def test_enabled(scraped):
    scraped.stop(METRICS)
    systemctl("enable", METRICS)
    try:
        wanted = systemctl("show", "-P", "Wants", "sockets.target").stdout
        assert METRICS in wanted.split()
    finally:
        systemctl("disable", METRICS)


def test_rights(scraped):
    """Whoever asks for the scraper is nobody, but for the group of the control socket."""
    (asking,) = connect(1)
    with asking:
        (unit,) = lib.poll(scrapes, "what waits for a request")
        lib.poll(lambda: show(unit, "SubState") == "running", "it runs")
        pid = scraped.main_pid(unit)
        path = pathlib.Path("/proc/%d" % pid)
        lib.poll(lambda: (path / "comm").read_text() == "preforkctl\n", "it was executed")
        status = lib.proc_status(pid)
        asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert asking.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    (uid,) = set(status["Uid"].split())
    group = int(run("getent", "group", "preforkd").stdout.split(":")[2])
    assert 61184 <= int(uid) <= 65519, "a dynamic user"
    assert str(group) in status["Groups"].split()
    assert set(status["Groups"].split()) <= {str(group), uid}
    assert {int(status[c], 16) for c in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_units_are_sound():
    files = ["/lib/systemd/system/" + u for u in (METRICS, "preforkd-metrics@.service")]
    checked = run("systemd-analyze", "verify", *files)
    assert checked.stdout + checked.stderr == ""
    run("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager",
        "preforkd-metrics@.service")


def test_daemon_stopped(scraped):
    scraped.stop()
    status, text = curl()
    assert status == 503 and "no daemon" in text and "systemctl start preforkd" in text
    scraped.wait_state("inactive")
    scraped.start()
    assert curl()[0] == 200


def test_scrape_starts_what_its_socket_stands_for(scraped):
    """As any client does; and the socket has the group that the scraper has."""
    scraped.stop()
    scraped.start("preforkd.socket")
    scraped.wait_state("inactive")
    assert curl()[0] == 200
    scraped.wait_state("active")
    scraped.stop("preforkd.socket")
    scraped.stop()
    assert curl()[0] == 503
    scraped.wait_state("inactive")


def test_daemon_hangs_and_is_killed(scraped):
    scraped.kill(signal.SIGSTOP)
    status, text = curl()
    assert status == 503 and "did not answer within" in text
    before = scraped.main_pid()
    scraped.kill(signal.SIGKILL)
    lib.poll(lambda: scraped.main_pid() not in (0, before), "another daemon")
    scraped.wait_state("active")
    assert curl()[0] == 200


def connect(count):
    where = ("127.0.0.1", PORT)
    return [socket.create_connection(where, timeout=lib.DEADLINE) for _ in range(count)]


def turned_away(s):
    try:
        return s.recv(100) == b""
    except ConnectionResetError:
        return True


def test_too_many(scraped):
    """So many at a time from one place, and the socket outlives a flood."""
    limit = int(show(METRICS, "MaxConnectionsPerSource"))
    assert limit == 8 and show(METRICS, "MaxConnections") == "16"
    held = connect(limit)
    lib.poll(lambda: show(METRICS, "NConnections") == str(limit), "all are taken")
    for _ in range(30):  # more than the 200 of the default TriggerLimitBurst=
        over = connect(10)
        assert all(turned_away(s) for s in over)
        for s in over:
            s.close()
    assert show(METRICS, "ActiveState", "SubState") == {
        "ActiveState": "active",
        "SubState": "listening",
    }
    assert int(show(METRICS, "NRefused")) >= 300
    for s in held:
        s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        s.close()
    no_scrapes()
    assert curl()[0] == 200


def test_many_at_once(scraped):
    """As several Prometheus, that begin together, again and again."""
    for _ in range(4):
        asking = [
            subprocess.Popen(["curl", "-sS", URL], stdout=subprocess.PIPE) for _ in range(8)
        ]
        for a in asking:
            assert b'preforkd_jobs_queued{pool="p"} 0\n' in a.communicate()[0]
            assert a.returncode == 0
        no_scrapes()


def test_instance(host):
    """As the manual says that it is done."""
    etc = pathlib.Path("/etc/preforkd/thumbs")
    host.conf(other=lib.pool("other", booted.ECHO))
    host.conf(etc=etc, t=lib.pool("t", booted.ECHO))
    host.start("preforkd@thumbs.service")
    block = manual("preforkd-metrics-thumbs")
    commands = re.sub(r"^# ", "", block, flags=re.M)
    names = ["preforkd-metrics-thumbs.socket", "preforkd-metrics-thumbs@.service"]
    host.made += [booted.UNITS / n for n in names]
    try:
        run("sh", "-ec", commands)
        status, text = curl(url=URL.replace("10773", "10774"))
        assert status == 200 and 'pool="t"' in text and 'pool="other"' not in text
        host.start(METRICS)
        assert curl()[0] == 503  # that of the unit without a name, which is not started
    finally:
        systemctl("disable", "--now", names[0], check=False)
    no_scrapes()


# ---- Prometheus -------------------------------------------------------------


def promtool(*args, **more):
    return run(PROMETHEUS / "promtool", *args, **more)


@with_prometheus
def test_promtool(scraped, tmp_path):
    """The text, the manual's configuration and its alerts, as Prometheus' own checker sees them."""
    (tmp_path / "text").write_text(curl()[1])
    checked = run("%s/promtool check metrics <%s/text" % (PROMETHEUS, tmp_path))
    assert checked.stdout + checked.stderr == ""
    (tmp_path / "prometheus.yml").write_text(manual("scrape_configs"))
    promtool("check", "config", tmp_path / "prometheus.yml")
    (tmp_path / "rules.yml").write_text(manual("PreforkdGone"))
    checked = promtool("check", "rules", "--lint-fatal", tmp_path / "rules.yml")
    assert "SUCCESS: 4 rules found" in checked.stdout


class Prometheus:
    """One with the manual's configuration, which scrapes every second."""

    def __init__(self, path):
        (path / "rules.yml").write_text(manual("PreforkdGone"))
        (path / "prometheus.yml").write_text(
            "global: { scrape_interval: 1s, evaluation_interval: 1s }\n"
            "rule_files: [ rules.yml ]\n" + manual("scrape_configs")
        )
        self.log = open(path / "log", "wb")
        self.proc = subprocess.Popen(
            [
                PROMETHEUS / "prometheus",
                "--config.file=%s/prometheus.yml" % path,
                "--storage.tsdb.path=%s/data" % path,
                "--web.listen-address=127.0.0.1:9090",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def get(self, path, **query):
        url = "http://127.0.0.1:9090/api/v1/%s?%s" % (path, urllib.parse.urlencode(query))
        with urllib.request.urlopen(url, timeout=lib.DEADLINE) as answer:
            return json.load(answer)["data"]

    def value(self, query):
        """Of the one series that there is, or None."""
        try:
            found = self.get("query", query=query)["result"]
        except OSError:  # it has not begun to listen
            return None
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else None

    def wait(self, query, wanted):
        def look():
            assert self.proc.poll() is None, "Prometheus has ended"
            return self.value(query) == wanted

        lib.poll(look, "%s is %s" % (query, wanted))

    def wait_alert(self, name, state):
        def look():
            alerts = self.get("alerts")["alerts"]
            return state in [a["state"] for a in alerts if a["labels"]["alertname"] == name]

        lib.poll(look, "the alert %s is %s" % (name, state))

    def close(self):
        self.proc.kill()
        self.proc.wait()
        self.log.close()
        print(pathlib.Path(self.log.name).read_text())


@pytest.fixture
def prometheus(tmp_path):
    server = Prometheus(tmp_path)
    yield server
    server.close()


@with_prometheus
def test_prometheus(scraped, prometheus):
    """It is up, its counters grow with the jobs, and what is wrong raises an alert."""
    done = 'preforkd_jobs_finished_total{job="preforkd",pool="p",outcome="done"}'
    prometheus.wait('up{job="preforkd"}', 1)
    prometheus.wait(done, 0)
    (target,) = prometheus.get("targets")["activeTargets"]
    assert target["health"] == "up" and target["lastError"] == ""
    with lib.Client(booted.SOCKET) as c:
        for _ in range(5):
            assert c.cmd("RUN", "p", "echo") == b""
        prometheus.wait(done, 5)
        # what it made of the text: the types, a unit, a histogram
        seen = prometheus.get("metadata")
        assert seen["preforkd_jobs_finished"][0]["type"] == "counter"
        assert seen["preforkd_job_run_seconds"][0]["type"] == "histogram"
        assert seen["preforkd_job_run_seconds"][0]["unit"] == "seconds"
        prometheus.wait('preforkd_job_run_seconds_count{pool="p"}', 5)
        for _ in range(3):
            assert c.cmd("RUN", "p", "err no").code == "FAILED"
        prometheus.wait_alert("PreforkdJobsFail", "firing")
    rules = [r for g in prometheus.get("rules")["groups"] for r in g["rules"]]
    assert len(rules) == 4 and {r["health"] for r in rules} == {"ok"}
    scraped.stop()
    prometheus.wait('up{job="preforkd"}', 0)
    prometheus.wait_alert("PreforkdGone", "pending")
    (target,) = prometheus.get("targets")["activeTargets"]
    assert "503" in target["lastError"]
    scraped.conf(
        bad=lib.pool("bad", "/bin/false"), slow=lib.pool("slow", booted.ACT, workers=1)
    )
    scraped.start()
    prometheus.wait('up{job="preforkd"}', 1)
    prometheus.wait_alert("PreforkdDegraded", "pending")
