# SPDX-License-Identifier: MIT
"""MULTI … EXEC: jobs accepted all or none, commands carried out together."""
import signal
import socket

import pytest

import lib
from lib import Error, encode, mapping, pool, text

QUEUED = "QUEUED"


@pytest.fixture(params=[2, 3])
def proto(request):
    return request.param


def transaction(c, *commands):
    """MULTI, the commands, EXEC, in one write: EXEC's reply."""
    replies = c.pipeline([("MULTI",), *commands, ("EXEC",)])
    assert replies[0] == "OK", replies[0]
    assert replies[1:-1] == [QUEUED] * len(commands), replies
    return replies[-1]


def counts(d, name="p"):
    p = d.pool(name)
    return p["queued"], p["running"], p["done"], p["kept"]


def test_everything_in_order(start, proto):
    d = start(pool("p", workers=2))
    c = d.client(proto=proto)
    got = transaction(
        c,
        ["PING"],
        ["RUN", "p", "echo one"],
        ["SUBMIT", "p", "echo two"],
        ["RUN", "p", "err three"],
        ["RUN", "nowhere", "x"],
        ["POOL", "p"],
        ["TIME"],
        ["RESULT", "1"],
        ["ECHO", "last"],
    )
    assert got[:2] == ["PONG", b"one"]
    assert got[3] == Error("FAILED three") and got[4].code == "NOPOOL"
    assert mapping(got[5])["name"] == "p" and len(got[6]) == 2
    assert got[7].code == "NOJOB" and got[8] == b"last"
    assert c.cmd("RESULT", got[2], "WAIT", "1m") == b"two"
    assert c.cmd("PING") == "PONG" and c.quiet()


def test_empty(start, proto):
    c = start(pool("p")).client(proto=proto)
    assert transaction(c) == []
    assert c.cmd("MULTI") == "OK" and c.cmd("DISCARD") == "OK"
    assert c.cmd("EXEC") == Error("ERR EXEC without MULTI")


def test_texts_of_redis(start):
    c = start(pool("p")).client()
    assert c.cmd("EXEC") == Error("ERR EXEC without MULTI")
    assert c.cmd("DISCARD") == Error("ERR DISCARD without MULTI")
    assert c.cmd("MULTI") == "OK"
    assert c.cmd("MULTI") == Error("ERR MULTI calls can not be nested")
    assert c.cmd("PING") == QUEUED
    assert c.cmd("EXEC") == ["PONG"], "a nested MULTI spoils nothing"


@pytest.mark.parametrize(
    "bad, code",
    [
        (["NONSENSE"], "ERR"),
        (["PING"], None),
        (["RUN", "p"], "ERR"),
        (["CLIENT", "NONE"], "ERR"),
        (["HELLO", "3"], "ERR"),
        (["SHUTDOWN"], "ERR"),
        (["RUN", "p", "x" * 2000000], "TOOBIG"),
        (["RUN", "nowhere", "x" * 100000], "NOPOOL"),
    ],
    ids=["unknown", "good", "arity", "subcommand", "hello", "shutdown", "long", "long-nopool"],
)
def test_refused_command_spoils_it(start, bad, code):
    d = start(pool("p", job={"max_payload": "1M"}))
    c = d.client()
    assert c.cmd("MULTI") == "OK"
    assert c.cmd("SUBMIT", "p", "echo before") == QUEUED
    reply = c.cmd(*bad)
    assert c.cmd("SUBMIT", "p", "echo after") == QUEUED
    done = c.cmd("EXEC")
    if code is None:
        assert reply == QUEUED and len(done) == 3 and done[1] == "PONG"
        return
    assert reply.code == code
    assert done == Error("EXECABORT Transaction discarded because of previous errors.")
    assert d.cmd("JOBS") == [] and c.cmd("PING") == "PONG"


def test_refused_for_lack_of_rights(start):
    if not lib.ROOT:
        pytest.skip("needs root: acts as other users")
    d = start(pool("p"), control={"mode": "0666"})
    c = d.client_as(4001)
    assert c.cmd("MULTI") == "OK"
    assert c.cmd("PAUSE", "p").code == "NOPERM"
    assert c.cmd("EXEC").code == "EXECABORT"
    assert d.pool("p")["state"] == "ok"


def test_long_payload_is_taken(start):
    d = start(pool("p", lib.script("frame.py"), protocol="frame", job={"max_payload": "1M"}))
    data = bytes(range(256)) * 2000
    assert transaction(d.client(), ["RUN", "p", data], ["RUN", "p", b"x"]) == [data, b"x"]


# ---- all or none --------------------------------------------------------------------


@pytest.fixture
def full(start):
    """A pool whose worker is busy and whose queue takes three jobs more."""
    d = start(pool("p", queue={"limit": 3}), pool("q", queue={"limit": 100}))
    d.the_gate = d.gate()
    d.first = d.cmd("SUBMIT", "p", "gate " + d.the_gate.path)
    d.the_gate.arrived()
    return d


def test_submits_are_accepted_as_one(full):
    d = full
    c = d.client()
    before = counts(d), counts(d, "q"), len(d.cmd("JOBS"))
    submits = [["SUBMIT", "q", "echo q"]] + [["SUBMIT", "p", "echo %d" % i] for i in range(4)]
    done = transaction(c, *submits, ["PAUSE", "q"])
    assert done.code == "EXECABORT"
    assert "because of command 5 of 6: BUSY the queue of pool 'p' is full" in done.text
    assert (counts(d), counts(d, "q"), len(d.cmd("JOBS"))) == before
    assert d.pool("q")["state"] == "ok", "nothing of it was carried out"
    ids = transaction(c, *submits[:-1])
    assert len(ids) == 4 and d.pool("p")["queued"] == 3
    d.the_gate.release()
    assert [c.cmd("RESULT", i, "WAIT", "1m") for i in ids] == [b"q", b"0", b"1", b"2"]


@pytest.mark.parametrize(
    "bad, code",
    [
        (["SUBMIT", "nowhere", "x"], "NOPOOL"),
        (["SUBMIT", "p", "KEEP", "x", "y"], "BADOPTION"),
        (["SUBMIT", "p", "two\nlines"], "BADPAYLOAD"),
        (["SUBMIT", "p", "KEY", "here", "echo another"], "KEYMISMATCH"),
    ],
)
def test_what_makes_none_of_it(full, bad, code):
    d = full
    there = d.cmd("SUBMIT", "p", "KEY", "here", "echo here")
    done = transaction(d.client(), ["SUBMIT", "p", "echo x"], bad, ["SUBMIT", "p", "echo y"])
    assert done.code == "EXECABORT" and " because of command 2 of 3: %s " % code in done.text
    assert [text(mapping(j)["id"]) for j in d.cmd("JOBS")] == [text(d.first), text(there)]


def test_job_from_before_stays(full):
    """What a KEY led to is not this EXEC's to withdraw; what was made twice goes once."""
    d = full
    there = d.cmd("SUBMIT", "p", "KEY", "a", "echo a")
    c = d.client()
    twice = ["SUBMIT", "p", "KEY", "b", "echo b"]
    done = transaction(c, ["SUBMIT", "p", "KEY", "a", "echo a"], twice, twice, ["SUBMIT", "x", "y"])
    assert "command 4 of 4: NOPOOL" in done.text
    assert [mapping(j)["id"] for j in d.cmd("JOBS")] == [text(d.first), text(there)]
    again = transaction(c, ["SUBMIT", "p", "KEY", "a", "echo a"], twice, twice)
    assert again[0] == there and again[1] == again[2] != there
    d.the_gate.release()
    assert c.cmd("RESULT", again[1], "WAIT", "1m") == b"b"


def test_submit_of_a_job_that_is_forgotten_on_the_way(start):
    d = start(pool("p"))
    c = d.client()
    jid = c.cmd("SUBMIT", "p", "KEY", "k", "echo x")
    assert c.cmd("RESULT", jid, "WAIT", "1m") == b"x"
    got = transaction(c, ["FORGET", jid], ["SUBMIT", "p", "KEY", "k", "echo x"], ["RESULT", jid])
    assert got[1] == jid and got[0] == 1 and got[2].code == "NOJOB"


def test_cancelled_on_the_way(full):
    c = full.client()
    jid = c.cmd("SUBMIT", "p", "KEY", "k", "echo x")
    got = transaction(c, ["SUBMIT", "p", "KEY", "k", "echo x"], ["CANCEL", jid], ["JOB", jid])
    assert got[:2] == [jid, 1]


# ---- side by side -------------------------------------------------------------------


def test_runs_are_side_by_side(start, proto):
    """All four workers are at a gate at once, so the jobs were begun together."""
    d = start(pool("p", workers=4))
    gates = [d.gate("g%d" % i) for i in range(4)]
    c = d.client(proto=proto)
    runs = [["RUN", "p", "gate " + g.path] for g in gates]
    runs += [["RUN", "p", "echo %d" % i] for i in range(196)]
    c.send_raw(b"".join(encode(*x) for x in [["MULTI"], *runs, ["EXEC"], ["PING"]]))
    for g in reversed(gates):
        g.arrived()
    assert d.pool("p")["busy"] == 4
    for g in reversed(gates):
        g.release()
    assert [c.read() for _ in range(201)] == ["OK"] + [QUEUED] * 200
    assert c.read() == [b"gate"] * 4 + [b"%d" % i for i in range(196)]
    assert c.read() == "PONG"


def test_replies_before_and_behind(start):
    d = start(pool("p", workers=2))
    gate = d.gate()
    c = d.client()
    commands = [
        ["RUN", "p", "gate " + gate.path],
        ["MULTI"],
        ["RUN", "p", "echo in"],
        ["PING"],
        ["EXEC"],
        ["RUN", "p", "echo behind"],
    ]
    c.send_raw(b"".join(encode(*x) for x in commands))
    d.wait_pool("p", "those behind are done", lambda p: p["done"] == 2)
    assert c.quiet()
    gate.release()
    assert c.read() == b"gate"
    assert [c.read() for _ in range(3)] == ["OK", QUEUED, QUEUED]
    assert c.read() == [b"in", "PONG"] and c.read() == b"behind"


def test_waiting_inside(start):
    """RESULT … WAIT and RUN … WAIT wait there, too, each for as long as it says."""
    d = start(pool("p"))
    gate = d.gate()
    c = d.client()
    jid = c.cmd("SUBMIT", "p", "gate " + gate.path)
    run = ["RUN", "p", "KEY", "k", "WAIT", "10ms", "echo x"]
    result, pending, pong = transaction(c, ["RESULT", jid, "WAIT", "10ms"], run, ["PING"])
    assert result is None and pending.code == "PENDING" and pong == "PONG"
    gate.release()
    wait = ["RUN", "p", "KEY", "k", "echo x"]
    assert transaction(c, ["RESULT", jid, "WAIT", "1m"], wait) == [b"gate", b"x"]


def test_of_two_clients(start):
    """What one has said since MULTI is not another's."""
    d = start(pool("p"))
    a, b = d.client(), d.client()
    assert a.cmd("MULTI") == "OK" and a.cmd("ECHO", "a") == QUEUED
    assert b.cmd("ECHO", "b") == b"b"
    assert b.cmd("MULTI") == "OK" and b.cmd("ECHO", "b") == QUEUED
    assert a.cmd("EXEC") == [b"a"] and b.cmd("EXEC") == [b"b"]


# ---- the end of it ------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "half_close", "QUIT", "RESET", "DISCARD"])
def test_nothing_of_it_happens(start, how):
    d = start(pool("p"))
    c = d.client()
    for command in (["MULTI"], ["SUBMIT", "p", "echo x"], ["RUN", "p", "echo y"]):
        c.cmd(*command)
    if how == "close":
        c.close()
    elif how == "half_close":
        c.half_close()
        assert c.at_end()
    elif how == "QUIT":
        assert c.cmd("QUIT") == "OK" and c.at_end()
    else:
        assert c.cmd(how) == ("RESET" if how == "RESET" else "OK")
        assert c.cmd("PING") == "PONG"
        assert c.cmd("EXEC") == Error("ERR EXEC without MULTI")
    assert d.cmd("JOBS") == [] and d.pool("p")["done"] == 0


def test_disconnect_while_it_runs(start):
    d = start(pool("p"))
    gate = d.gate()
    c = d.client()
    runs = [["RUN", "p", "gate " + gate.path], ["RUN", "p", "echo x"], ["SUBMIT", "p", "echo y"]]
    c.send_raw(b"".join(encode(*x) for x in [["MULTI"], *runs, ["EXEC"]]))
    gate.arrived()
    c.close()
    # The RUN that waits is dropped, as with any hang-up; the SUBMIT is not.
    d.wait_pool("p", "dropped", lambda p: p["cancelled"] == 1)
    gate.release()
    d.wait_pool("p", "done", lambda p: p["done"] == 2 and p["queued"] == 0)


def test_shows_in_the_list_of_clients(start):
    d = start(pool("p"))
    c = d.client()

    def shown():
        line = text(d.cmd("CLIENT", "LIST", "ID", me))
        return int(line.split("multi=")[1].split()[0])

    me = c.cmd("CLIENT", "ID")
    assert shown() == -1
    c.cmd("MULTI")
    assert shown() == 0
    c.cmd("PING")
    assert shown() == 1


# ---- bounds -------------------------------------------------------------------------


def test_memory_is_bounded(start):
    d = start(
        pool("p", lib.script("frame.py"), protocol="frame", job={"max_payload": "300K"}),
        control={"client_memory": "1M"},
    )
    c = d.client()
    small = b"x" * 60000  # under what is judged before it comes
    assert c.cmd("MULTI") == "OK"
    taken = 0
    while (reply := c.cmd("RUN", "p", small)) == QUEUED and taken < 100:
        taken += 1
    assert 15 <= taken <= 17, "a megabyte of them"
    assert reply.code == "ERR" and "control.client_memory (1048576 bytes)" in reply.text
    assert c.cmd("RUN", "p", small) == QUEUED, "said, and not kept"
    assert c.cmd("EXEC").code == "EXECABORT"
    assert c.cmd("MULTI") == "OK"
    for _ in range(3):
        assert c.cmd("RUN", "p", b"y" * 290000) == QUEUED
    assert c.cmd("RUN", "p", b"y" * 290000).code == "TOOBIG"
    assert c.cmd("EXEC").code == "EXECABORT"
    assert transaction(c, *[["RUN", "p", b"z" * 290000]] * 3) == [b"z" * 290000] * 3
    assert d.pool("p")["done"] == 3


def test_memory_is_given_back(start):
    """Neither a spoilt MULTI nor one whose client goes holds on to what it had."""
    if lib.SANITIZED:
        pytest.skip("sanitizers keep freed memory")
    d = start(pool("p", job={"max_payload": "4M"}), control={"client_memory": "64M"})

    def rss():
        return int(lib.proc_status(d.pid)["VmRSS"].split()[0])

    def fill(c):
        c.pipeline([["MULTI"]] + [["SUBMIT", "p", "x" * 3000000]] * 10)

    c = d.client()
    fill(c)
    held = rss()
    assert c.cmd("NONSENSE").code == "ERR"
    lib.poll(lambda: rss() < held - 20000, "spoilt: %d kB, %d" % (held, rss()))
    c.cmd("DISCARD")
    fill(c)
    held = rss()
    c.close()
    lib.poll(lambda: rss() < held - 20000, "gone: %d kB, %d" % (held, rss()))


def test_number_is_bounded(start):
    d = start(pool("p"))
    c = d.client()
    assert c.cmd("MULTI") == "OK"
    for n in (16000, 384):
        assert set(c.pipeline([["PING"]] * n)) == {QUEUED}
    assert "at most 16384 commands" in c.cmd("PING").text
    assert c.cmd("EXEC").code == "EXECABORT"
    assert transaction(c, *[["PING"]] * 16384) == ["PONG"] * 16384


def test_held_while_its_results_are_not_taken(start):
    """An EXEC counts like any other command: nobody is served past the budget."""
    d = start(
        pool("p", workers=4, job={"max_payload": "100K"}), control={"client_memory": "200K"}
    )
    c, other = d.client(), d.client()
    me = c.cmd("CLIENT", "ID")
    runs = [["MULTI"]] + [["RUN", "p", "echo " + "x" * 50000]] * 3 + [["EXEC"]]
    data = b"".join(encode(*x) for x in runs) * 100
    c.s.setblocking(False)

    def held():
        """Send what goes; True when it does not, and all that is there is over the budget."""
        nonlocal data
        try:
            while data:
                data = data[c.s.send(data) :]
        except BlockingIOError:
            pass
        line = text(other.cmd("CLIENT", "LIST", "ID", me))
        shown = dict(word.split("=") for word in line.split())
        kept = max(0, int(shown["multi"])) * 50005
        return data and kept + int(shown["obuf"]) > 200 * 1024

    lib.poll(held, "it is not read from any more")
    assert other.cmd("RUN", "p", "echo y") == b"y"
    c.close()


def test_thousands_of_jobs(start):
    d = start(pool("p", workers=2, queue={"limit": 20000}))
    c = d.client()
    ids = transaction(c, *[["SUBMIT", "p", "echo %d" % i] for i in range(10000)])
    assert len(set(ids)) == 10000 and ids == sorted(ids, key=int)
    assert c.cmd("RESULT", ids[-1], "WAIT", "1m") == b"9999"


def test_exec_keeps_to_the_budgets_and_turns(start):
    """Far more replies than client_memory: they are made as they are taken, others are
    served meanwhile, and all of them come, the RUN's between."""
    d = start(pool("p", job={"max_payload": "16K"}), control={"client_memory": "1M"})
    c, by = d.client(), d.client()
    c.pipeline([("SUBMIT", "p", "echo %d" % i) for i in range(500)])
    d.wait_pool("p", "all are done", lambda p: p["done"] == 500)
    before = int(lib.proc_status(d.pid)["VmRSS"].split()[0])
    page = ("JOBS", "COUNT", "500")
    c.pipeline([("MULTI",)] + [page] * 50 + [("RUN", "p", "echo ran")] + [page] * 50)
    c.send("EXEC")
    c.send("ECHO", "behind it")
    for _ in range(20):
        assert by.cmd("RUN", "p", "echo other") == b"other"
    if not lib.SANITIZED:
        assert int(lib.proc_status(d.pid)["VmRSS"].split()[0]) - before < 8 << 10
    replies = c.read()
    assert [len(r) for r in replies[:50] + replies[51:]] == [500] * 100
    assert replies[50] == b"ran"
    assert c.read() == b"behind it"


@pytest.mark.parametrize("how", ["hang up", "half-close", "shutdown"])
def test_end_in_the_middle_of_exec(start, how):
    """News wait behind its array; all of it comes to who is still there."""
    p = pool("p", job={"max_payload": "16K"})
    d = start(p, control={"client_memory": "64K"}, drain="20s")
    c = d.client(proto=3)
    c.cmd("SUBSCRIBE", "jobs.p")
    c.pipeline([("MULTI",)] + [("COMMAND", "DOCS")] * 30 + [("SUBMIT", "p", "echo x")])
    c.send("EXEC")
    assert c.s.recv(1, socket.MSG_PEEK) == b"*", "it has begun"
    if how == "hang up":
        c.close()
        lib.poll(lambda: d.status()["clients"] == 1, "it is gone")
        return
    if how == "half-close":
        c.half_close()
    else:
        d.send_signal(signal.SIGTERM)
        d.notify.wait("STOPPING=1", d.proc)
    replies = c.read()
    assert len(replies) == 31 and replies[30].isdigit()
    assert c.read()[2].endswith(b"queued")
    with pytest.raises(lib.Closed):
        while isinstance(c.read(), lib.Push):
            pass
    if how == "shutdown":
        assert d.wait() == 0
