# SPDX-License-Identifier: MIT
"""preforkctl metrics --http: one HTTP request, on a connection that somebody else accepted."""
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import lib
from lib import PREFORKCTL, ROOT, children, pool, poll

try:
    from prometheus_client import parser as old_format
    from prometheus_client.openmetrics import parser as openmetrics
except ImportError:
    openmetrics = None

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
OPENMETRICS = b"Accept: application/openmetrics-text; version=1.0.0\r\n"


def serve(path, connection, **more):
    """preforkctl on a connection."""
    return subprocess.Popen(
        [PREFORKCTL, "-s", str(path), "metrics", "--http"],
        stdin=connection,
        stdout=connection,
        stderr=subprocess.PIPE,
        env=lib.base_env(),
        **more,
    )


def pair(tcp=False):
    """(ours, preforkctl's)"""
    if not tcp:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as s:
        ours = socket.create_connection(s.getsockname())
        return ours, s.accept()[0]


def read_all(s, late=False):
    """Up to the end; late: what was sent last it may not have read, and its end is a reset."""
    data = b""
    s.settimeout(lib.DEADLINE)
    try:
        while more := s.recv(65536):
            data += more
    except ConnectionResetError:
        assert late
    return data


def ended(proc):
    """It ended quietly."""
    _, said = proc.communicate(timeout=lib.DEADLINE)
    assert (proc.returncode, said) == (0, b"")


class Answer:
    def __init__(self, raw):
        head, self.body = raw.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        self.version, status, self.words = first.split(" ", 2)
        self.status = int(status)
        self.fields = dict(line.split(": ", 1) for line in lines)
        assert len(self.fields) == len(lines), "a field occurs twice"

    def text(self):
        return self.body.decode()


def ask(path, request, tcp=False, half_close=False, **more):
    ours, theirs = pair(tcp)
    with ours, theirs:
        proc = serve(path, theirs, **more)
        theirs.close()
        ours.sendall(request)
        if half_close:
            ours.shutdown(socket.SHUT_WR)
        raw = read_all(ours)
        ours.close()
        ended(proc)
    return Answer(raw)


CASES = [
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200, "# TYPE preforkd_build_info gauge\n"),
    (b"GET /metrics HTTP/1.0\r\n\r\n", 200, "# TYPE preforkd_build_info gauge\n"),
    (b"GET /metrics?a=b&c HTTP/1.1\nHost: x\n\n", 200, "preforkd_jobs_queued{pool="),
    (b"GET http://x:1/metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200, "preforkd_jobs_queued{pool="),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200, '<a href="/metrics">'),
    (b"GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, "/metrics"),
    (b"GET /metric HTTP/1.1\r\nHost: x\r\n\r\n", 404, "/metrics"),
    (b"GET //metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404, "/metrics"),
    (b"GET /../metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404, "/metrics"),
    (b"GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n", 404, "/metrics"),
    (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nx=1", 405, "GET or HEAD"),
    (b"OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET or HEAD"),
    (b"get /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET or HEAD"),
    (b"GET /metrics HTTP/1.1\r\n\r\n", 400, "Host"),
    (b"GET /metrics\r\n\r\n", 400, "HTTP/1.1"),
    (b"hello\r\n", 400, "GET /metrics HTTP/1.1"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "control character"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nbad line\r\n\r\n", 400, "Name: value"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1"),
    (b"GET /" + b"a" * 9000, 414, "8 KiB"),
    (GET + b"A: b\r\n" * 2000, 431, "8 KiB"),
    (GET + b"A: " + b"b" * 100000, 431, "8 KiB"),
]


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_answers(start, tcp):
    d = start(pool("p"))
    for request, status, part in CASES:
        a = ask(d.socket, request, tcp)
        assert (a.version, a.status) == ("HTTP/1.1", status), request[:80]
        assert part in a.text(), request[:80]
        assert a.fields["Content-Length"] == str(len(a.body))
        assert a.fields["Connection"] == "close"
        assert a.fields["Cache-Control"] == "no-store"
        assert a.fields.get("Allow") == ("GET, HEAD" if status == 405 else None)
        time.strptime(a.fields["Date"], "%a, %d %b %Y %H:%M:%S GMT")
        if status != 200:
            assert a.text().startswith("%d %s\n" % (status, a.words))
            assert a.fields["Content-Type"] == "text/plain; charset=utf-8"


def test_head(start):
    """The same head as for GET, and no more."""
    d = start(pool("p"))
    for path in (b"/", b"/metrics", b"/nothing"):
        get, head = (
            ask(d.socket, method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            for method in (b"GET", b"HEAD")
        )
        assert get.body
        assert head.status == get.status
        assert head.fields["Content-Type"] == get.fields["Content-Type"]
        if path != b"/metrics":  # the figures have changed in between
            assert head.fields["Content-Length"] == get.fields["Content-Length"]
        assert int(head.fields["Content-Length"]) > 0
        assert head.body == b""


def test_what_is_behind_the_request_is_left(start):
    """No second answer, and the first is not lost by a reset."""
    d = start(pool("p"))
    for behind in (GET + b"\r\n", b"x" * 300000):
        a = ask(d.socket, GET + b"\r\n" + behind, tcp=True)
        assert a.status == 200 and a.text().count("# TYPE preforkd_build_info") == 1
        a = ask(d.socket, b"PUT /metrics HTTP/1.0\r\n\r\n" + behind, tcp=True)
        assert a.status == 405


def test_half_closed(start):
    """As `nc -N` does it: the request, and no more of it."""
    d = start(pool("p"))
    assert ask(d.socket, GET + b"\r\n", half_close=True).status == 200
    a = ask(d.socket, GET, half_close=True)
    assert a.status == 400 and "before its empty line" in a.text()


def test_pipes(start):
    """Neither side is a socket: as typed in a shell, and with more than a pipe holds."""
    d = start(*[pool("p%d" % i, lib.ECHO_C) for i in range(40)])
    d.check_fds = False
    r = lib.run(PREFORKCTL, "-s", d.socket, "metrics", "--http", stdin=GET + b"\r\n")
    assert (r.returncode, r.stderr) == (0, b"")
    a = Answer(r.stdout)
    assert a.fields["Content-Length"] == str(len(a.body)) and len(a.body) > 100000


def values(families):
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for f in families
        for s in f.samples
        if not s.name.startswith(("process_", "preforkd_uptime", "preforkd_co"))
    }


@pytest.mark.skipif(
    openmetrics is None,
    reason="no prometheus_client here (Debian: apt-get install python3-prometheus-client)",
)
def test_formats(start):
    """Each is what it says it is, and they say the same."""
    d = start(pool("p"), pool("q"))
    c = d.client()
    assert c.cmd("RUN", "p", "echo") == b""
    new = ask(d.socket, GET + OPENMETRICS + b"\r\n")
    old = ask(d.socket, GET + b"\r\n")
    assert new.fields["Content-Type"] == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )
    assert old.fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert new.text().endswith("\n# EOF\n")
    assert "# EOF" not in old.text() and "# UNIT" not in old.text()
    news = list(openmetrics.text_string_to_metric_families(new.text()))
    olds = list(old_format.text_string_to_metric_families(old.text()))
    assert values(news) == values(olds)
    assert values(news)["preforkd_jobs_finished_total", (("outcome", "done"), ("pool", "p"))] == 1
    # name, type and text of each family: of a counter's the parser takes _total away itself
    assert {f.name: (f.type, f.documentation) for f in news} == {
        f.name: (f.type, f.documentation) for f in olds
    }
    for f in olds:
        if f.type == "counter":
            assert "# TYPE %s_total counter\n" % f.name in old.text()
            assert "# HELP %s_total " % f.name in old.text()


# ---- the daemon is not there ----------------------------------------------


def test_no_daemon(tmp):
    a = ask(tmp / "none", GET + b"\r\n")
    assert a.status == 503
    assert "there is no socket %s/none" % tmp in a.text() and "systemctl start" in a.text()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp / "old"))
        a = ask(tmp / "old", GET + b"\r\n")
        assert a.status == 503 and "nobody listens" in a.text()
    assert ask(tmp / "none", b"GET / HTTP/1.0\r\n\r\n").status == 200
    assert ask(tmp / "none", b"HEAD /metrics HTTP/1.0\r\n\r\n").body == b""


def test_daemon_ends_and_comes_back(make):
    d = make(pool("p")).start()
    assert ask(d.socket, GET + b"\r\n").status == 200
    d.stop()
    assert ask(d.socket, GET + b"\r\n").status == 503
    d.start()
    assert ask(d.socket, GET + b"\r\n").status == 200


def test_daemon_hangs(start):
    """It is not waited for longer than who scrapes waits here."""
    d = start(pool("p"))
    d.send_signal(signal.SIGSTOP)
    before = time.monotonic()
    a = ask(d.socket, GET + b"\r\n")
    took = time.monotonic() - before
    d.send_signal(signal.SIGCONT)
    assert a.status == 503 and "did not answer within" in a.text()
    assert 4 < took < lib.DEADLINE


def test_not_a_daemon(tmp):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp / "s"))
        s.listen()

        def other():
            for said in (b"hello\n", b":1\r\n", b""):
                with s.accept()[0] as c:
                    c.recv(100)
                    c.sendall(said)

        thread = threading.Thread(target=other)
        thread.start()
        for why in ("is not preforkd", "is not preforkd", "closed the connection"):
            a = ask(tmp / "s", GET + b"\r\n")
            assert a.status == 503 and why in a.text()
        thread.join(lib.DEADLINE)


@pytest.mark.skipif(not ROOT, reason="needs root: acts as another user")
def test_not_let_in(start):
    rules = [{"users": ["4001"], "allow": []}]
    d = start(pool("p"), control={"mode": "0660"})
    a = ask(d.socket, GET + b"\r\n", user=4001, group=4001, extra_groups=[])
    assert a.status == 500 and "no permission" in a.text()
    d = start(pool("p"), control={"mode": "0666"}, access=rules)
    a = ask(d.socket, GET + b"\r\n", user=4001, group=4001, extra_groups=[])
    assert a.status == 500 and "NOPERM" in a.text()


# ---- the client is slow, or gone -------------------------------------------


def test_client_goes(start):
    """Nothing is said, whenever it goes."""
    d = start(*[pool("p%d" % i, lib.ECHO_C) for i in range(20)])
    for request in (b"", b"GET", GET, GET + b"\r\n"):
        for reset in (False, True):
            ours, theirs = pair(tcp=True)
            with theirs:
                if reset:
                    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                proc = serve(d.socket, theirs)
            ours.sendall(request)
            ours.close()
            ended(proc)


def test_slow_clients(start):
    """Each ends within its time, whether it says nothing, too little, or takes nothing."""
    d = start(*[pool("p%d" % i, lib.ECHO_C) for i in range(40)])
    cases = {}
    begun = time.monotonic()
    for name in ("silent", "half", "drops", "deaf"):
        ours, theirs = pair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with theirs:
            cases[name] = (ours, serve(d.socket, theirs))
    cases["half"][0].sendall(GET)
    cases["deaf"][0].sendall(GET + b"\r\n")
    left = set(cases)
    drops = iter(GET + b"A: " + b"b" * 1000)
    drip = cases["drops"][0]
    drip.settimeout(0)
    while left:
        now = time.monotonic() - begun
        assert now < 10 + lib.DEADLINE, left
        for name in set(left):
            if cases[name][1].poll() is not None:
                assert now > 9, name
                left.discard(name)
        if "drops" in left:
            try:
                drip.send(bytes([next(drops)]))
            except OSError:  # it has closed its side
                pass
        select.select([], [], [], 0.1)  # the pace of the drops
    said = {name: read_all(ours, name == "drops") for name, (ours, _) in cases.items()}
    for ours, proc in cases.values():
        ours.close()
        ended(proc)
    assert said["silent"] == b""
    assert Answer(said["half"]).status == Answer(said["drops"]).status == 408
    assert said["deaf"].startswith(b"HTTP/1.1 200") and not said["deaf"].endswith(b"# EOF\n")


# ---- curl, and somebody else who accepts ------------------------------------


class Inetd:
    """systemd-socket-activate in the place of preforkd-metrics.socket."""

    def __init__(self, d, path):
        self.path = path
        self.log = open(str(path) + ".log", "wb+")
        self.proc = subprocess.Popen(
            ["systemd-socket-activate", "--accept", "--inetd", "-l", str(path)]
            + [PREFORKCTL, "-s", d.socket, "metrics", "--http"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=lib.base_env(),
        )
        poll(lambda: os.path.exists(path) and b"Listening" in self.said(), "it listens")

    def said(self):
        with open(self.log.name, "rb") as f:
            return f.read()

    def curl(self, *args):
        r = lib.run("curl", "-sS", "--unix-socket", self.path, *args)
        assert r.returncode == 0, r.stderr
        return r.stdout.decode()

    def close(self):
        self.proc.kill()
        self.proc.wait()
        self.log.close()


@pytest.fixture
def inetd(start, tmp):
    for program in ("curl", "systemd-socket-activate"):
        if not shutil.which(program):
            pytest.skip("no %s here" % program)
    made = Inetd(start(pool("p")), tmp / "http")
    yield made
    made.close()


def test_curl(inetd):
    assert "preforkd_jobs_queued{pool=\"p\"} 0\n" in inetd.curl("http://x/metrics")
    new = inetd.curl("-H", "Accept: application/openmetrics-text", "http://x/metrics?a=b")
    assert new.endswith("# EOF\n")
    assert "HTTP/1.1 200 OK\r\n" in inetd.curl("-I", "http://x/metrics")
    assert "HTTP/1.1 200 OK\r\n" in inetd.curl("-0", "-i", "http://x/")
    # a browser's word for "compressed, if you like"
    assert "# TYPE" in inetd.curl("--compressed", "http://x/metrics")
    code = "\n%{http_code}"
    assert inetd.curl("-w", code, "http://x/other").endswith("\n404")
    assert inetd.curl("-w", code, "-d", "x" * 100000, "http://x/metrics").endswith("\n405")
    assert inetd.curl("-w", code, "-H", "A: " + "b" * 9000, "http://x/metrics").endswith("\n431")


def test_many_scrapes_leave_nothing(inetd):
    codes = inetd.curl("-o", "/dev/null", "-w", "%{http_code}\n", "http://x/metrics?[1-200]")
    assert codes.split() == ["200"] * 200
    poll(lambda: not children(inetd.proc.pid), "its processes have ended")
    assert b"preforkctl:" not in inetd.said()
