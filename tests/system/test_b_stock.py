# SPDX-License-Identifier: MIT
"""Clients that nobody here wrote: redis-cli, redis-benchmark, redis-py."""
import re
import shutil
import threading

import pytest

import lib
from lib import ECHO_C, pool, run, script

redis = pytest.importorskip("redis")


@pytest.fixture
def d(start):
    return start(
        pool("p", workers=2),
        pool("f", script("frame.py"), protocol="frame"),
        pool("hello", ECHO_C, workers=2, queue={"limit": 100000}),
    )


def need(program):
    if shutil.which(program) is None:
        pytest.skip("no %s (Debian: redis-tools)" % program)


# ---- redis-cli ------------------------------------------------------------------


def cli(d, *args, stdin=b""):
    need("redis-cli")
    return run("redis-cli", "-s", d.socket, *args, stdin=stdin)


def test_cli(d):
    assert cli(d, "PING").stdout == b"PONG\n"
    assert cli(d, "RUN", "p", "echo two words").stdout == b"two words\n"
    assert cli(d, "RUN", "p", "err broken").stdout.strip() == b"FAILED broken"
    assert cli(d, "-e", "RUN", "p", "err broken").returncode == 1
    assert b"queued" in cli(d, "POOL", "p").stdout
    assert b"name" in cli(d, "-3", "POOL", "p").stdout
    assert cli(d, "-3", "RUN", "p", "echo three").stdout == b"three\n"
    assert b"redis_version" in cli(d, "INFO").stdout
    r = cli(d, "--json", "-3", "POOL", "p")
    assert b'"state":"ok"' in r.stdout.replace(b" ", b"") or r.returncode != 0


def test_cli_payload_from_standard_input(d):
    data = b"line one\nline two\x00\xff"
    assert cli(d, "-x", "RUN", "f", stdin=data).stdout == data + b"\n"


def test_cli_session(d):
    """Commands on standard input, as a person types them."""
    typed = b"PING\nRUN p 'echo a b'\nHELLO 3\nPOOLS\nNONSENSE\nSUBMIT p \"echo x\"\nQUIT\n"
    r = cli(d, stdin=typed)
    assert b"PONG\na b\n" in r.stdout and b"unknown command" in r.stdout
    assert re.search(rb"^[0-9]{10,16}$", r.stdout, re.M)


def test_cli_on_a_terminal_reads_command_docs(d):
    """With a terminal redis-cli asks for COMMAND DOCS, and aborts on what it does not like."""
    need("redis-cli")
    need("script")
    r = run(
        "script",
        "-qec",
        "redis-cli -s %s" % d.socket,
        "/dev/null",
        stdin=b"help run\nRUN p 'echo on a tty'\nquit\n",
        env=lib.base_env(TERM="dumb", HOME=str(d.dir)),
    )
    assert b"on a tty" in r.stdout, r.stdout
    assert r.returncode == 0
    assert d.cmd("PING") == "PONG"


def test_cli_pipe_and_repeat(d):
    r = cli(d, "-r", "20", "RUN", "p", "echo again")
    assert r.stdout == b"again\n" * 20


# ---- redis-benchmark --------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["-P", "16"], ["-3"]])
def test_benchmark(d, more):
    need("redis-benchmark")
    options = ["-s", d.socket, "-c", "20", "-n", "2000", "-q", *more]
    r = run("redis-benchmark", *options, "RUN", "hello", "hi")
    out = (r.stdout + r.stderr).decode()
    assert r.returncode == 0, out
    assert "requests per second" in out and "rror" not in out, out
    assert d.pool("hello")["done"] == 2000


def test_benchmark_of_ping(d):
    need("redis-benchmark")
    r = run("redis-benchmark", "-s", d.socket, "-c", "10", "-n", "2000", "-q", "PING")
    assert r.returncode == 0 and b"requests per second" in r.stdout, r.stdout + r.stderr


# ---- redis-py -----------------------------------------------------------------------


@pytest.fixture
def py(d):
    """py(options …): a redis-py client, disconnected at the end."""
    made = []

    def make_py(**options):
        made.append(redis.Redis(unix_socket_path=d.socket, **options))
        return made[-1]

    yield make_py
    for r in made:
        r.connection_pool.disconnect()


def test_py(py):
    r = py()
    assert r.ping() is True
    assert r.execute_command("RUN", "f", b"\x00\xff\n") == b"\x00\xff\n"
    with pytest.raises(redis.ResponseError, match="^FAILED broken"):
        r.execute_command("RUN", "p", "err broken")
    with pytest.raises(redis.ResponseError, match="^NOPOOL"):
        r.execute_command("RUN", "nowhere", "x")
    jid = r.execute_command("SUBMIT", "p", "echo x")
    assert r.execute_command("RESULT", jid, "WAIT", "1m") == b"x"
    assert r.client_id() > 0
    assert r.client_setname("me") and r.client_getname() in ("me", b"me")
    assert any(c["name"] == "me" for c in r.client_list())
    assert r.info()["redis_version"]
    assert r.echo("x") == b"x"


def test_py_decodes(py):
    r = py(decode_responses=True)
    assert r.execute_command("RUN", "p", "echo grün") == "grün"
    assert "state" in r.execute_command("POOL", "p")


def test_py_client_name_and_health_check(py):
    r = py(client_name="named", health_check_interval=1)
    assert r.execute_command("RUN", "p", "echo x") == b"x"
    assert r.client_getname() in ("named", b"named")


def test_py_pipeline(py):
    r = py()
    with r.pipeline(transaction=False) as pipe:
        for i in range(100):
            pipe.execute_command("RUN", "p", "sleep %d r%d" % (i % 3, i))
        assert pipe.execute() == [b"r%d" % i for i in range(100)]
    with r.pipeline(transaction=False) as pipe:
        pipe.execute_command("RUN", "p", "echo a")
        pipe.execute_command("RUN", "p", "exit 1")
        pipe.execute_command("RUN", "p", "echo b")
        a, crashed, b = pipe.execute(raise_on_error=False)
    assert (a, b) == (b"a", b"b") and str(crashed).startswith("CRASHED")


def test_py_pool_of_threads(d):
    connections = redis.ConnectionPool(
        connection_class=redis.UnixDomainSocketConnection, path=d.socket, max_connections=8
    )
    failures = []

    def work(n):
        r = redis.Redis(connection_pool=connections)
        for i in range(50):
            want = b"%d/%d" % (n, i)
            if r.execute_command("RUN", "p", b"echo " + want) != want:
                failures.append(want)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    connections.disconnect()
    assert not failures and d.pool("p")["done"] == 400
