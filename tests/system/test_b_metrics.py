# SPDX-License-Identifier: MIT
"""METRICS, read by Prometheus' own parsers."""
import time

import pytest

from lib import ROOT, SLOW, fd_count, mapping, pool, proc_status, script

try:
    from prometheus_client import parser as old_format
    from prometheus_client.openmetrics import parser as openmetrics
except ImportError:
    openmetrics = None

pytestmark = pytest.mark.skipif(
    openmetrics is None,
    reason="no prometheus_client here (Debian: apt-get install python3-prometheus-client)",
)


class Metrics:
    """The families by name, and samples by name and labels."""

    def __init__(self, text):
        self.text = text
        self.families = {f.name: f for f in openmetrics.text_string_to_metric_families(text)}

    def values(self, name, **labels):
        return {
            tuple(sorted(s.labels.items())): s.value
            for f in self.families.values()
            for s in f.samples
            if s.name == name and labels.items() <= s.labels.items()
        }

    def value(self, name, **labels):
        (value,) = self.values(name, **labels).values()
        return value


def metrics(c):
    return Metrics(c.cmd("METRICS").decode())


@pytest.mark.parametrize("proto", [2, 3])
def test_form(start, proto):
    d = start(pool("p", workers=2), pool("q", script("echo.sh"), protocol="filter"))
    text = d.client(proto).cmd("METRICS").decode()
    assert text.endswith("\n# EOF\n") and text.count("# EOF") == 1
    m = Metrics(text)
    assert len(m.families) > 20
    for f in m.families.values():
        assert f.documentation.endswith("."), f.name
        assert f.samples, f.name
        pools = {s.labels["pool"] for s in f.samples if "pool" in s.labels}
        assert pools in (set(), {"p", "q"}), f.name
        if f.name.endswith("_seconds"):
            assert f.unit == "seconds"
    # the older format, which has no unit of a family and no counter's suffix
    assert len(list(old_format.text_string_to_metric_families(text))) >= len(m.families)


def run_the_mix(d, c):
    """Jobs that end in every way; returns how many of each."""
    gate = d.gate()
    assert [c.cmd("RUN", "p", "echo %d" % i) for i in range(5)] == [b"%d" % i for i in range(5)]
    assert [c.cmd("RUN", "p", "err no").code for _ in range(3)] == ["FAILED"] * 3
    assert c.cmd("RUN", "p", "exit 3").code == "CRASHED"
    assert c.cmd("RUN", "p", "TIMEOUT", "20ms", "sleep 60000").code == "TIMEOUT"
    assert c.cmd("RUN", "p", "TIMEOUT", "20ms", "sleep 60000").code == "TIMEOUT"
    held = c.cmd("SUBMIT", "p", "gate %s" % gate.path)
    gate.arrived()
    queued = [c.cmd("SUBMIT", "p", "echo") for _ in range(2)]
    assert c.cmd("SUBMIT", "p", "echo").code == "BUSY"
    assert c.cmd("CANCEL", queued[1]) == 1
    return gate, held, queued[0]


def test_counters_are_those_of_pool(start):
    d = start(pool("p", queue={"limit": 2}), pool("idle"))
    c = d.client()
    gate, held, queued = run_the_mix(d, c)
    m = metrics(c)
    p = mapping(c.cmd("POOL", "p"))
    outcome = {s: m.value("preforkd_jobs_finished_total", pool="p", outcome=s)
               for s in ("done", "error", "crashed", "timeout", "cancelled")}
    assert outcome == {"done": 5, "error": 3, "crashed": 1, "timeout": 2, "cancelled": 1}
    assert (p["done"], p["failed"], p["crashed"], p["timeout"], p["cancelled"]) == (5, 6, 1, 2, 1)
    for name, field in {
        "preforkd_jobs_rejected_total": "rejected",
        "preforkd_jobs_queued": "queued",
        "preforkd_jobs_running": "running",
        "preforkd_jobs_kept": "kept",
        "preforkd_job_memory_bytes": "memory_bytes",
        "preforkd_workers_spawned_total": "spawned",
        "preforkd_workers_exited_total": "exited",
        "preforkd_workers_broken_total": "broken",
        "preforkd_workers_wanted": "workers",
        "preforkd_workers_restarting": "restarting",
    }.items():
        assert m.value(name, pool="p") == p[field], name
    assert (p["rejected"], p["queued"], p["running"]) == (1, 1, 1)
    assert p["spawned"] == 4 and p["exited"] == 3
    for state in ("idle", "busy", "starting", "stopping"):
        assert m.value("preforkd_workers", pool="p", state=state) == p[state], state
    states = m.values("preforkd_pool_state", pool="p")
    assert len(states) == 6 and sum(states.values()) == 1
    assert m.value("preforkd_pool_state", pool="p", state=p["state"]) == 1
    assert 0 < m.value("preforkd_oldest_queued_seconds", pool="p") < 60 * SLOW
    assert m.value("preforkd_oldest_queued_seconds", pool="idle") == 0
    assert m.value("preforkd_jobs_finished_total", pool="idle", outcome="done") == 0
    gate.release()
    assert [entry[1] for entry in c.cmd("AWAIT", "ALL", "1m", held, queued)] == [b"done"] * 2
    assert metrics(c).value("preforkd_jobs_finished_total", pool="p", outcome="done") == 7


def test_histograms(start):
    d = start(pool("p"))
    c = d.client()
    for _ in range(4):
        c.cmd("RUN", "p", "echo")
    before = time.monotonic()
    assert c.cmd("RUN", "p", "sleep 40") == b""
    took = time.monotonic() - before
    m = metrics(c)
    for what in ("wait", "run"):
        name = "preforkd_job_%s_seconds" % what
        assert m.value(name + "_count", pool="p") == 5
        buckets = m.values(name + "_bucket", pool="p")
        assert len(buckets) == 17
        assert m.value(name + "_bucket", pool="p", le="+Inf") == 5
    run = "preforkd_job_run_seconds"
    assert m.value(run + "_bucket", pool="p", le="0.03") <= 4
    assert 0.04 <= m.value(run + "_sum", pool="p") < took + 30 * SLOW
    c.cmd("RUN", "p", "echo")
    assert metrics(c).value(run + "_count", pool="p") == 6  # it only grows


def test_of_the_daemon(start):
    d = start(pool("p"))
    c, other = d.client(), d.client()
    other.cmd("PING")
    m = metrics(c)
    status = mapping(c.cmd("STATUS"))
    assert m.value("preforkd_build_info") == 1
    assert m.value("preforkd_build_info", version=status["version"]) == 1
    assert m.value("preforkd_clients") == status["clients"] == 2
    assert m.value("preforkd_connections_total") >= 2
    commands = m.value("preforkd_commands_total")
    other.pipeline([("PING",)] * 10)
    later = metrics(c)
    assert later.value("preforkd_commands_total") == commands + 12  # STATUS and METRICS too
    assert m.value("preforkd_state", state="ready") == 1
    assert sum(m.values("preforkd_state").values()) == 1
    started = m.value("process_start_time_seconds")
    assert later.value("process_start_time_seconds") == started
    assert 0 < time.time() - started < 120 * SLOW
    assert 0 < m.value("preforkd_uptime_seconds") < 120 * SLOW
    assert later.value("process_cpu_seconds_total") >= m.value("process_cpu_seconds_total") > 0
    resident = int(proc_status(d.pid)["VmRSS"].split()[0]) * 1024
    assert abs(m.value("process_resident_memory_bytes") - resident) < resident / 2
    assert m.value("process_open_fds") == fd_count(d.pid)
    assert m.value("process_max_fds") >= m.value("process_open_fds")


def test_restarting(start):
    d = start(pool("p"))
    c = d.client()
    gate = d.gate()
    held = c.cmd("SUBMIT", "p", "gate %s" % gate.path)
    gate.arrived()
    c.cmd("RESTART", "p")  # the worker finishes its job first
    assert metrics(c).value("preforkd_workers_restarting", pool="p") == 1
    gate.release()
    c.cmd("RESULT", held, "WAIT", "1m")
    d.wait_pool("p", "it is new", lambda p: p["restarting"] == 0)
    m = metrics(c)
    assert m.value("preforkd_workers_restarting", pool="p") == 0
    assert m.value("preforkd_workers_spawned_total", pool="p") == 2


def test_degraded(start):
    d = start(pool("p", "/bin/false"), pool("good"))
    d.check_fds = False  # a worker is tried now and then
    d.wait_pool("p", "degraded", lambda p: p["state"] == "degraded")
    m = metrics(d.client())
    assert m.value("preforkd_pool_degraded", pool="p") == 1
    assert m.value("preforkd_pool_degraded", pool="good") == 0
    assert m.value("preforkd_pool_state", pool="p", state="degraded") == 1
    assert m.value("preforkd_state", state="degraded") == 1


@pytest.mark.skipif(not ROOT, reason="needs root: acts as another user")
def test_of_pools_that_one_may_see(start):
    rules = [
        {"users": ["4001"], "allow": ["read"], "pools": ["a"]},
        {"users": ["4001"], "allow": []},
    ]
    d = start(pool("a"), pool("b"), control={"mode": "0666"}, access=rules)
    everything, some = metrics(d.client()), metrics(d.client_as(4001))
    assert set(everything.families) == set(some.families)
    assert len(everything.values("preforkd_jobs_queued")) == 2
    assert list(some.values("preforkd_jobs_queued")) == [(("pool", "a"),)]
    assert 'pool="b"' not in some.text and "preforkd_uptime_seconds " in some.text
