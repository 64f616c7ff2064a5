# SPDX-License-Identifier: MIT
"""Clients that nobody here wrote: redis-py, with and without asyncio."""
import asyncio
import threading

import pytest

import lib
from lib import pool, script

redis = pytest.importorskip("redis")


@pytest.fixture
def d(start):
    return start(pool("p", workers=2), pool("f", script("frame.py"), protocol="frame"))


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


# ---- transactions ---------------------------------------------------------------------


def test_py_transaction(py):
    """A pipeline is wrapped in MULTI by default."""
    r = py()
    with r.pipeline() as pipe:
        for i in range(100):
            pipe.execute_command("RUN", "p", "sleep %d r%d" % (i % 3, i))
        pipe.ping()
        assert pipe.execute() == [b"r%d" % i for i in range(100)] + [True]
    with r.pipeline() as pipe:
        pipe.execute_command("RUN", "p", "err broken").ping()
        failed, pong = pipe.execute(raise_on_error=False)
    assert str(failed).startswith("FAILED broken") and pong is True
    with r.pipeline() as pipe:
        pipe.execute_command("RUN", "p", "err broken").ping()
        with pytest.raises(redis.ResponseError, match="FAILED broken"):
            pipe.execute()
    assert r.ping() is True


def test_py_transaction_of_submits(d, py):
    r = py()
    with r.pipeline() as pipe:
        pipe.execute_command("SUBMIT", "p", "echo x").execute_command("SUBMIT", "nowhere", "x")
        with pytest.raises(redis.ResponseError, match="command 2 of 2: NOPOOL"):
            pipe.execute()
    assert d.cmd("JOBS") == []
    with r.pipeline() as pipe:
        pipe.execute_command("NONSENSE").ping()
        with pytest.raises(redis.ResponseError, match="unknown command 'NONSENSE'"):
            pipe.execute()
    with r.pipeline() as pipe:
        for i in range(50):
            pipe.execute_command("SUBMIT", "p", "echo %d" % i)
        ids = pipe.execute()
    assert [r.execute_command("RESULT", i, "WAIT", "1m") for i in ids] == [
        b"%d" % i for i in range(50)
    ]


# ---- channels -------------------------------------------------------------------------


def listen(news, n):
    """The next n messages, without confirmations."""
    got = []

    def look():
        m = news.get_message(timeout=1)  # None for a confirmation, too, where those are ignored
        if m is not None and m["type"] in ("message", "pmessage"):
            got.append(m)
        return len(got) == n

    lib.poll(look, "%d messages: %s" % (n, got))
    return got


def test_py_messages(py):
    r = py(decode_responses=True)
    with r.pubsub() as news:
        news.psubscribe("job.*")
        assert news.get_message(timeout=lib.DEADLINE)["type"] == "psubscribe"
        jid = r.execute_command("SUBMIT", "p", "echo x")
        got = listen(news, 3)
        assert [m["data"] for m in got] == ["queued", "running", "done"]
        assert {m["channel"] for m in got} == {"job." + jid}
        assert got[0]["pattern"] == "job.*" and got[0]["type"] == "pmessage"
        news.subscribe("job." + jid)
        (now,) = listen(news, 1)
        assert (now["type"], now["data"]) == ("message", "done")
        news.ping()
        news.unsubscribe()
        news.punsubscribe()
        kinds = []
        while not kinds or kinds[-1] != "punsubscribe":
            kinds.append(news.get_message(timeout=lib.DEADLINE)["type"])
        assert kinds == ["pong", "unsubscribe", "punsubscribe"]


def test_py_ignores_subscribe_messages(py):
    r = py(decode_responses=True, health_check_interval=1)
    with r.pubsub(ignore_subscribe_messages=True) as news:
        news.subscribe("pool.p")
        (m,) = listen(news, 1)
        assert m["data"].startswith("state=ok workers=2 ")


def test_py_listens_in_a_thread(py):
    r = py(decode_responses=True)
    seen, done = [], threading.Event()

    def on_message(m):
        seen.append(m["data"])
        if m["data"] == "done":
            done.set()

    with r.pubsub() as news:
        news.psubscribe(**{"job.*": on_message})
        assert news.get_message(timeout=lib.DEADLINE)["type"] == "psubscribe"
        thread = news.run_in_thread(sleep_time=0.01)
        r.execute_command("SUBMIT", "p", "echo x")
        assert done.wait(lib.DEADLINE)
        thread.stop()
        thread.join(lib.DEADLINE)
    assert seen == ["queued", "running", "done"]


def test_py_iterates(py):
    r = py(decode_responses=True)
    jid = r.execute_command("SUBMIT", "p", "echo x")
    assert r.execute_command("RESULT", jid, "WAIT", "1m") == "x"
    with r.pubsub() as news:
        news.subscribe("job." + jid)
        kinds = []
        for m in news.listen():
            kinds.append((m["type"], m["data"]))
            if m["type"] == "message":
                news.unsubscribe()
    assert kinds == [("subscribe", 1), ("message", "done"), ("unsubscribe", 0)]


# ---- time limits ------------------------------------------------------------------------


def test_py_socket_timeout(py):
    """A reply that takes longer is an error; a KEY makes it harmless to ask again."""
    r = py(socket_timeout=0.05, retry_on_timeout=False)
    with pytest.raises(redis.TimeoutError):
        r.execute_command("RUN", "p", "KEY", "once", "sleep 300 slow")
    patient = py()
    assert patient.execute_command("RUN", "p", "KEY", "once", "sleep 300 slow") == b"slow"
    assert lib.mapping(patient.execute_command("POOL", "p"))["done"] == 1


# ---- asyncio ----------------------------------------------------------------------------


@pytest.fixture
def aio(d):
    """aio(f, options …): run f(client) with redis-py's client for asyncio."""

    aioredis = pytest.importorskip("redis.asyncio")

    async def call(f, options):
        r = aioredis.Redis(unix_socket_path=d.socket, **options)
        try:
            return await f(r)
        finally:
            await r.close()
            await r.connection_pool.disconnect()

    return lambda f, **options: asyncio.run(call(f, options))


def test_asyncio(aio):
    async def work(r):
        assert await r.ping()
        with pytest.raises(redis.ResponseError, match="^FAILED broken"):
            await r.execute_command("RUN", "p", "err broken")
        runs = [r.execute_command("RUN", "p", "echo %d" % i) for i in range(50)]
        assert await asyncio.gather(*runs) == [b"%d" % i for i in range(50)]

    aio(work, max_connections=50)


@pytest.mark.parametrize("transaction", [False, True])
def test_asyncio_pipeline(aio, transaction):
    async def work(r):
        async with r.pipeline(transaction=transaction) as pipe:
            for i in range(100):
                pipe.execute_command("RUN", "p", "sleep %d r%d" % (i % 3, i))
            assert await pipe.execute() == [b"r%d" % i for i in range(100)]

    aio(work)


def test_asyncio_messages(aio):
    async def work(r):
        news = r.pubsub()
        await news.psubscribe("job.*")
        states = []
        async for m in news.listen():
            if m["type"] == "psubscribe":
                await r.execute_command("SUBMIT", "p", "echo x")
            elif m["type"] == "pmessage":
                states.append(m["data"])
                if m["data"] == b"done":
                    await news.punsubscribe()
            else:
                break
        assert states == [b"queued", b"running", b"done"]
        await news.close()

    aio(work)
