# SPDX-License-Identifier: MIT
"""preforkctl map: order, failures, odd input, memory, and its own daemon."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading

import pytest

import lib
from lib import ACT, ECHO_C, PREFORKCTL, pool, run, script


@pytest.fixture
def d(start):
    return start(
        pool("p", workers=4),
        pool("slow", workers=1, queue={"limit": 2}),
        pool("frame", script("frame.py"), protocol="frame"),
    )


def map_pool(d, name, data, *args, status=0):
    r = run(PREFORKCTL, "-s", d.socket, "map", *args, name, stdin=data)
    assert r.returncode == status, r.stderr.decode()
    return r


@pytest.fixture
def private():
    """Runs a map with its own daemon; afterwards nothing of it is left."""
    mark = "TESTING_PREFORKD=map-%d-%s" % (os.getpid(), os.urandom(8).hex())
    name, value = mark.split("=")

    def run_map(*args, stdin=b"", status=0, env=None, **more):
        env = lib.base_env(**{name: value}, **(env or {}))
        r = run(PREFORKCTL, "map", *args, stdin=stdin, env=env, **more)
        if status is not None:
            assert r.returncode == status, r.stderr.decode()
        return r

    run_map.env = lib.base_env(**{name: value})
    run_map.mark = mark
    yield run_map
    lib.poll(lambda: not lib.marked(mark), "the end of map's daemon and workers")


# ---- over a running daemon ------------------------------------------------------------


def test_order(d):
    lines = ["sleep %d r%d" % ((i * 7) % 4, i) for i in range(300)]
    r = map_pool(d, "p", "".join(x + "\n" for x in lines).encode())
    assert r.stdout == b"".join(b"r%d\n" % i for i in range(300))
    assert r.stderr == b""


def test_failed_lines_are_named(d):
    r = map_pool(d, "p", b"echo a\nerr broken\necho b\nexit 3\necho c\n", status=1)
    assert r.stdout == b"a\n\nb\n\nc\n"
    said = r.stderr.decode()
    assert "line 2" in said and "broken" in said and "line 4" in said and "status 3" in said


def test_empty_input(d):
    assert map_pool(d, "p", b"").stdout == b""


def test_empty_lines(d):
    assert map_pool(d, "p", b"\n\necho x\n\n").stdout == b"\n\nx\n\n"


def test_no_newline_at_the_end(d):
    assert map_pool(d, "p", b"echo a\necho b").stdout == b"a\nb\n"


def test_big_lines(start):
    d = start(pool("p", workers=2, job={"max_payload": "3M"}))
    lines = [b"echo " + bytes([97 + i]) * (300_000 * i) for i in range(1, 6)]
    r = map_pool(d, "p", b"\n".join(lines))
    assert r.stdout == b"".join(line[5:] + b"\n" for line in lines)


def test_line_too_big_fails_alone(start):
    d = start(pool("p", job={"max_payload": "1K"}))
    r = map_pool(d, "p", b"echo a\necho " + b"x" * 5000 + b"\necho b\n", status=1)
    assert r.stdout == b"a\n\nb\n"
    assert b"line 2" in r.stderr and b"TOOBIG" in r.stderr or b"big" in r.stderr


def test_nul_in_a_line(d):
    r = map_pool(d, "p", b"echo a\n\0\necho b\n", status=1)
    assert r.stdout == b"a\n\nb\n" and b"line 2" in r.stderr
    assert map_pool(d, "frame", b"\0\xff\n").stdout == b"\0\xff\n"


def test_more_lines_than_the_queue_takes(d):
    data = b"".join(b"echo %d\n" % i for i in range(500))
    assert map_pool(d, "slow", data).stdout == b"".join(b"%d\n" % i for i in range(500))


def test_shares_a_small_queue_with_others(d):
    """BUSY is not a failure: the line is tried again."""
    outs = {}

    def one(n):
        data = b"".join(b"echo %d-%d\n" % (n, i) for i in range(200))
        outs[n] = map_pool(d, "slow", data).stdout

    threads = [threading.Thread(target=one, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for n in range(3):
        assert outs[n] == b"".join(b"%d-%d\n" % (n, i) for i in range(200))


def test_no_such_pool(d):
    r = map_pool(d, "nowhere", b"x\n", status=1)
    assert b"nowhere" in r.stderr and r.stdout == b""


def test_no_daemon(tmp):
    r = run(PREFORKCTL, "-s", tmp / "none.sock", "map", "p", stdin=b"x\n")
    assert r.returncode == 69


def test_usage():
    for args in (["map"], ["map", "a", "b"], ["map", "-j", "0", "--", "cat"], ["map", "--"]):
        assert run(PREFORKCTL, *args).returncode == 64, args


def test_timeout_of_a_line(d):
    r = map_pool(d, "p", b"echo a\nhang\necho b\n", "--timeout", "200ms", status=1)
    assert r.stdout == b"a\n\nb\n" and b"line 2" in r.stderr


def test_daemon_goes_away(start):
    d = start(pool("p"))
    gate = d.gate()
    proc = subprocess.Popen(
        [PREFORKCTL, "-s", d.socket, "map", "p"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=lib.base_env(),
    )
    proc.stdin.write(b"echo a\ngate %s\necho b\n" % gate.path.encode())
    proc.stdin.close()
    gate.arrived()
    d.proc.kill()
    d.wait()
    assert proc.wait(lib.DEADLINE) in (69, 70)
    assert proc.stdout.read() == b"a\n"
    assert b"line 2" in proc.stderr.read()
    proc.stdout.close(), proc.stderr.close()
    d.proc = None


def test_results_come_before_the_input_ends(d):
    """map is a filter: a line's result does not wait for the next line."""
    proc = subprocess.Popen(
        [PREFORKCTL, "-s", d.socket, "map", "p"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=lib.base_env(),
    )
    for i in range(20):
        proc.stdin.write(b"echo %d\n" % i)
        proc.stdin.flush()
        assert proc.stdout.readline() == b"%d\n" % i
    proc.stdin.close()
    assert proc.stdout.read() == b"" and proc.wait(lib.DEADLINE) == 0
    proc.stdout.close()


def test_reader_that_goes_away(d):
    r = run(
        "/bin/sh",
        "-c",
        "yes 'echo x' | \"$0\" -s \"$1\" map p | head -n 3",
        PREFORKCTL,
        d.socket,
    )
    assert r.stdout == b"x\nx\nx\n" and r.returncode == 0
    d.wait_pool("p", "nothing left", lambda p: p["queued"] == 0 and p["running"] == 0)


def test_private_reader_goes_quietly(private):
    r = run("/bin/sh", "-c", 'yes | "$0" map --filter -- sed -u s/y/n/ | head -n 1', PREFORKCTL,
            env=private.env)
    assert r.stdout == b"n\n" and r.returncode == 0 and r.stderr == b""


def cpu_ticks(pid):
    fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("how", [[], ["--unordered"]])
def test_reader_that_stalls_costs_nothing(d, how):
    """Results that nobody takes are waited for, not looked at again and again."""
    proc = subprocess.Popen(
        [PREFORKCTL, "-s", d.socket, "map", *how, "p"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=lib.base_env(),
    )
    n = 40
    proc.stdin.write(b"big 4000\n" * n)
    proc.stdin.flush()
    d.wait_pool("p", "all are done", lambda p: p["done"] == n)
    d.cmd("RUN", "p", "sleep 100 a")  # the results have arrived by then
    before = cpu_ticks(proc.pid)
    d.cmd("RUN", "p", "sleep 1000 b")
    assert cpu_ticks(proc.pid) - before <= 2
    proc.stdin.close()
    assert len(proc.stdout.read()) == n * 4001 and proc.wait(lib.DEADLINE) == 0
    proc.stdout.close()


def peak_of_map(d, data, out):
    """Map all lines; preforkctl's peak memory, taken when all results are out."""
    with open(out, "wb") as sink:
        proc = subprocess.Popen(
            [PREFORKCTL, "-s", d.socket, "map", "p"],
            stdin=subprocess.PIPE,
            stdout=sink,
            env=lib.base_env(),
        )
    proc.stdin.write(data)
    proc.stdin.flush()
    lib.poll(lambda: os.path.getsize(out) >= len(data), "all results", lib.DEADLINE * 2)
    peak = int(lib.proc_status(proc.pid)["VmHWM"].split()[0]) << 10
    proc.stdin.close()
    assert proc.wait(lib.DEADLINE) == 0
    return peak


def test_memory_is_bounded(start, tmp):
    """100,000 lines, and 40 MB of lines of 4 kB, in a few megabytes."""
    d = start(pool("p", ECHO_C, workers=2, queue={"limit": 5000}))
    many = b"".join(b"line %d\n" % i for i in range(100_000))
    long = (b"y" * 4000 + b"\n") * 10_000
    for data in (many, long):
        peak = peak_of_map(d, data, tmp / "out")
        assert (tmp / "out").read_bytes() == data
        assert peak < 50 << 20 or lib.SANITIZED, peak
    hwm = int(lib.proc_status(d.pid)["VmHWM"].split()[0]) << 10
    assert hwm < 100 << 20 or lib.SANITIZED, hwm


# ---- with a daemon of its own -------------------------------------------------------------


def test_private(private):
    r = private("-j", "2", "--", ACT, stdin=b"echo a\nerr no\necho b\n", status=1)
    assert r.stdout == b"a\n\nb\n" and b"line 2" in r.stderr and b"no" in r.stderr


def test_private_filter(private):
    data = b"".join(b"x%d\n" % i for i in range(1000))
    r = private("-j", "3", "--filter", "--", script("filter.py"), stdin=data)
    assert r.stdout == data.upper()


def test_private_frame(private):
    r = private("--frame", "--", script("frame.py"), stdin=b"a\n\xff\n")
    assert r.stdout == b"a\n\xff\n"


def test_private_empty_input(private):
    assert private("--", ACT).stdout == b""


def test_private_has_callers_environment_and_directory(private, tmp):
    r = private("-j", "1", "--", ACT, stdin=b"environ\nids\n", env={"MY_SECRET": "42"}, cwd=tmp)
    environ, ids = r.stdout.decode().splitlines()
    assert "|MY_SECRET=42|" in "|" + environ
    assert "PREFORKD_POOL=" in environ and "PREFORKD_WORKER=0" in environ
    assert ids.endswith("cwd=%s" % tmp)


def test_private_has_callers_umask(private, tmp):
    worker = tmp / "mask"
    worker.write_text("#!/bin/sh\nwhile read -r job; do echo OK $(umask); done\n")
    worker.chmod(0o755)
    old = os.umask(0o037)
    try:
        r = private("-j", "1", "--", str(worker), stdin=b"a\n")
    finally:
        os.umask(old)
    assert r.stdout == b"0037\n"


@pytest.mark.parametrize("lines", [1, 3])
def test_filter_with_surplus_lines_is_told(private, lines):
    twice = ["sed", "-u", "p"]
    r = private("-j", "1", "--filter", "--", *twice, stdin=b"a\n" * lines, status=1)
    assert b"not one answer for each line" in r.stderr
    assert r.stdout == b"a\n" * lines


def test_private_command_by_path(private, tmp):
    (tmp / "here").write_text("#!/bin/sh\nexec cat\n")
    (tmp / "here").chmod(0o755)
    assert private("--filter", "--", "sed", "-u", "s/a/b/", stdin=b"a\n").stdout == b"b\n"
    assert private("--filter", "--", "./here", stdin=b"x\n", cwd=tmp).stdout == b"x\n"


def test_private_command_that_cannot_start(private):
    r = private("--", "/nonexistent/worker", stdin=b"a\nb\n", status=None)
    assert r.returncode not in (0,) and b"/nonexistent/worker" in r.stderr


def test_private_wrong_level_gets_a_hint(private):
    r = private("--", script("filter.py"), stdin=b"a\nb\n", status=None)
    assert r.returncode != 0 and b"filter" in r.stderr


def test_private_crashes_cost_one_line(private):
    data = b"".join(b"exit 1\n" if i % 10 == 5 else b"echo %d\n" % i for i in range(100))
    r = private("-j", "2", "--", ACT, stdin=data, status=1)
    want = [b"" if i % 10 == 5 else b"%d" % i for i in range(100)]
    assert r.stdout.split(b"\n")[:-1] == want
    for i in range(5, 100, 10):
        assert b"line %d:" % (i + 1) in r.stderr


def test_private_filter_that_prints_too_little(private):
    """head prints nothing for the lines behind its first: it is not silent about it."""
    r = private("-j", "1", "--filter", "--", "head", "-n", "1", stdin=b"a\nb\nc\n", status=None)
    lines = r.stdout.split(b"\n")
    assert len(lines) == 4 and lines[0] == b"a"


def test_private_ends_with_its_parent(private):
    """kill -9 of preforkctl leaves no daemon and no worker."""
    proc = subprocess.Popen(
        [PREFORKCTL, "map", "-j", "3", "--", ACT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=private.env,
    )
    proc.stdin.write(b"echo up\nhang\nhang-hard\n")
    proc.stdin.flush()
    assert proc.stdout.readline() == b"up\n"
    lib.poll(lambda: len(lib.marked(private.mark)) == 5, "a daemon and three workers")
    proc.kill()
    proc.wait()
    proc.stdin.close(), proc.stdout.close()


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_private_ends_by_signal(private, sig):
    proc = subprocess.Popen(
        [PREFORKCTL, "map", "-j", "2", "--", ACT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=private.env,
        start_new_session=True,
    )
    proc.stdin.write(b"echo up\nhang\n")
    proc.stdin.flush()
    assert proc.stdout.readline() == b"up\n"
    os.killpg(proc.pid, sig)  # as a terminal does it
    proc.wait(lib.DEADLINE)
    proc.stdin.close(), proc.stdout.close()


def test_private_leaves_no_socket(private, tmp):
    r = private("--", ACT, stdin=b"echo x\n", env={"XDG_RUNTIME_DIR": str(tmp)})
    assert r.stdout == b"x\n" and os.listdir(tmp) == []


def test_private_gets_no_notify_socket(private, tmp):
    notify = lib.Notify(tmp / "notify")
    r = private("--", ACT, stdin=b"environ\n", env={"NOTIFY_SOCKET": notify.path})
    assert b"NOTIFY_SOCKET" not in r.stdout
    assert notify.drain() == []
    notify.close()


def test_jq_like_xargs(private, tmp):
    """The same output as one jq for each line, from two that stay."""
    if shutil.which("jq") is None:
        pytest.skip("no jq")
    rows = [{"name": "n%d" % i, "v": [i, "x'\"\\ y"], "u": "grün"} for i in range(2000)]
    data = "".join(json.dumps(row, ensure_ascii=i % 2 == 0) + "\n" for i, row in enumerate(rows))
    jq = ["jq", "-c", "--unbuffered", ".name"]
    r = private("-j", "2", "--filter", "--", *jq, stdin=data.encode())
    assert r.stdout == b"".join(b'"n%d"\n' % i for i in range(2000))
    source = pathlib.Path(tmp, "some")
    source.write_text("".join(data.splitlines(True)[:20]))
    each = 'xargs -d "\\n" -n1 sh -c \'printf %s "$1" | jq -c .name\' sh <"$0"'
    by_xargs = run("/bin/sh", "-c", each, source)
    assert by_xargs.stdout == b"".join(r.stdout.splitlines(True)[:20])
