# SPDX-License-Identifier: MIT
"""What a client says of its connection: CLIENT, RESET, SELECT, TIME, COMMAND's subcommands."""
import time

import pytest

import lib
from lib import Error, encode, mapping, pool, text


@pytest.fixture
def d(start):
    return start(pool("p", workers=2, queue={"limit": 30000}), control={"mode": "0666"})


def lines(reply):
    """CLIENT LIST's lines as dicts."""
    return [
        dict(word.split("=", 1) for word in line.split(" ")) for line in text(reply).splitlines()
    ]


def ids(reply):
    return [int(line["id"]) for line in lines(reply)]


# ---- RESET, SELECT, TIME ------------------------------------------------------------


def test_reset(d):
    c = d.client(proto=3)
    assert c.cmd("CLIENT", "SETNAME", "me") == "OK"
    assert c.cmd("RESET") == "RESET"
    assert c.cmd("CLIENT", "GETNAME") is None
    assert isinstance(c.cmd("POOL", "p"), list), "RESP2 again"
    assert mapping(c.cmd("HELLO"))["proto"] == 2


def test_reset_leaves_what_is_owed(d):
    """The protocol of a reply is the one that was in force when its command was read."""
    gate = d.gate()
    c = d.client(proto=3)
    jid = c.cmd("SUBMIT", "p", "gate " + gate.path)
    c.send("RESULT", jid, "WAIT", "30ms")
    c.send("RUN", "p", "echo owed")
    c.send("RESET")
    c.send("RESULT", jid, "WAIT", "1ms")
    assert c._line() == b"_"
    assert c.read() == b"owed" and c.read() == "RESET"
    assert c._line() == b"$-1"


def test_select(d):
    c = d.client()
    assert c.cmd("SELECT", "0") == "OK"
    assert c.cmd("SELECT", "1") == Error("ERR DB index is out of range")
    assert c.cmd("SELECT", "x") == Error("ERR invalid DB index")


@pytest.mark.parametrize("proto", [2, 3])
def test_time(d, proto):
    before = time.time()
    seconds, micros = d.client(proto=proto).cmd("TIME")
    assert isinstance(seconds, bytes) and 0 <= int(micros) < 1000000
    assert before - 1 < int(seconds) + int(micros) / 1e6 < time.time() + 1


# ---- CLIENT -------------------------------------------------------------------------


def test_unknown_subcommands(d):
    c = d.client()
    for words in ("CLIENT UNPAUSE", "CLIENT NONE x", "COMMAND GETKEYS x", "CONFIG SET save x"):
        error = c.cmd(*words.split())
        family, sub = words.split()[:2]
        assert error.text.startswith("ERR unknown subcommand '%s': %s has " % (sub, family))
    assert c.cmd("CLIENT").text.startswith("ERR CLIENT needs a subcommand: GETNAME, ID, INFO")
    wrong = "ERR wrong number of arguments for 'CLIENT ID': CLIENT ID"
    assert c.cmd("CLIENT", "ID", "1").text == wrong
    assert "CLIENT SETNAME name" in c.cmd("CLIENT", "SETNAME").text


def test_list_and_info(d):
    a, b = d.client(), d.client(proto=3)
    a.cmd("CLIENT", "SETNAME", "first")
    b.cmd("CLIENT", "SETINFO", "LIB-NAME", "here")
    ia, ib = a.cmd("CLIENT", "ID"), b.cmd("CLIENT", "ID")
    assert ib > ia
    assert ids(a.cmd("CLIENT", "LIST")) == [ia, ib]
    (me,) = lines(b.cmd("CLIENT", "INFO"))
    assert (me["id"], me["resp"], me["lib-name"]) == (str(ib), "3", "here")
    assert (me["sub"], me["psub"], me["multi"]) == ("0", "0", "-1")
    (first,) = lines(b.cmd("CLIENT", "LIST", "ID", ia))
    assert first["name"] == "first"
    assert ids(a.cmd("CLIENT", "LIST", "ID", ib, 999999, ia)) == [ia, ib]
    assert ids(a.cmd("CLIENT", "LIST", "ID", 999999)) == []
    assert a.cmd("CLIENT", "LIST", "ID").code == "ERR"
    assert a.cmd("CLIENT", "LIST", "TYPE", "normal").code == "ERR"
    assert a.cmd("CLIENT", "LIST", "ID", "x") == Error("ERR Invalid client ID")


def test_list_counts_subscriptions(d):
    c = d.client(proto=3)
    for command in (["SUBSCRIBE", "job.1"], ["SUBSCRIBE", "job.2"], ["PSUBSCRIBE", "pool.*"]):
        c.cmd(*command)
    (line,) = lines(d.cmd("CLIENT", "LIST", "ID", ids(d.cmd("CLIENT", "LIST"))[0]))
    assert (line["sub"], line["psub"]) == ("2", "1")


def test_names(d):
    c = d.client()
    for bad in ("a b", "a\nb", "x" * 65, "grün"):
        assert c.cmd("CLIENT", "SETNAME", bad).code == "ERR", bad
    assert c.cmd("CLIENT", "SETNAME", "x" * 64) == "OK"
    assert c.cmd("CLIENT", "GETNAME") == b"x" * 64
    assert c.cmd("CLIENT", "SETNAME", "") == "OK" and c.cmd("CLIENT", "GETNAME") is None


@pytest.mark.parametrize("what", ["NO-EVICT", "NO-TOUCH"])
def test_what_means_nothing_here(d, what):
    c = d.client()
    assert c.cmd("CLIENT", what, "on") == "OK" and c.cmd("CLIENT", what, "OFF") == "OK"
    assert c.cmd("CLIENT", what, "maybe").text == "ERR CLIENT %s takes ON or OFF" % what


def test_kill(d):
    a, b = d.client(), d.client()
    ib = b.cmd("CLIENT", "ID")
    assert a.cmd("CLIENT", "KILL", "ID", ib) == 1
    assert b.at_end()
    lib.poll(lambda: a.cmd("CLIENT", "KILL", "ID", ib) == 0, "it is gone")
    assert a.cmd("CLIENT", "KILL", "ID", 999999) == 0


def test_kill_says_what_it_takes(d):
    c = d.client()
    for words in ("/run/x:0", "ADDR 1.2.3.4:5", "ID", "SKIPME no", "ID 1 SKIPME perhaps", "USER x"):
        assert "CLIENT KILL ID id" in c.cmd("CLIENT", "KILL", *words.split()).text, words
    assert c.cmd("CLIENT", "KILL", "ID", "0") == Error("ERR Invalid client ID")


def test_kill_oneself(d):
    c = d.client()
    me = c.cmd("CLIENT", "ID")
    assert c.cmd("CLIENT", "KILL", "ID", me) == 0, "as with Redis: skipped unless it is said"
    assert c.cmd("CLIENT", "KILL", "ID", me, "SKIPME", "yes") == 0
    kill = encode("CLIENT", "KILL", "SKIPME", "no", "ID", me)
    c.send_raw(encode("RUN", "p", "echo first") + kill + encode("PING"))
    assert c.read() == b"first" and c.read() == 1 and c.at_end()


def test_kill_with_running_jobs(d):
    """It is a hang-up: what is queued is dropped, what runs is finished and kept."""
    gates = [d.gate("g1"), d.gate("g2")]
    c = d.client()
    for gate in gates:
        c.send("RUN", "p", "gate " + gate.path)
    c.send("RUN", "p", "echo queued")
    for gate in gates:
        gate.arrived()
    d.wait_pool("p", "queued", lambda p: p["queued"] == 1)
    running = [mapping(j)["id"] for j in d.cmd("JOBS", "STATE", "running")]
    (victim,) = [x for x in lines(d.cmd("CLIENT", "LIST")) if x["owed"] == "3"]
    assert d.cmd("CLIENT", "KILL", "ID", victim["id"]) == 1
    assert c.at_end()
    d.wait_pool("p", "dropped", lambda p: p["cancelled"] == 1 and p["queued"] == 0)
    for gate in gates:
        gate.release()
    assert [d.cmd("RESULT", j, "WAIT", "1m") for j in running] == [b"gate"] * 2


def test_others_connections(d):
    if not lib.ROOT:
        pytest.skip("needs root: acts as other users")
    a1, a2, b = [d.client_as(uid) for uid in (4001, 4001, 4002)]
    admin = d.client()
    i1, i2, ib = [c.cmd("CLIENT", "ID") for c in (a1, a2, b)]
    assert sorted(ids(a1.cmd("CLIENT", "LIST"))) == [i1, i2]
    assert ids(a1.cmd("CLIENT", "LIST", "ID", ib)) == []
    assert {i1, i2, ib} <= set(ids(admin.cmd("CLIENT", "LIST")))
    assert a1.cmd("CLIENT", "KILL", "ID", ib) == 0
    assert b.cmd("PING") == "PONG"
    assert a1.cmd("CLIENT", "KILL", "ID", i2) == 1
    assert admin.cmd("CLIENT", "KILL", "ID", ib) == 1
    d.wait_log(r"CLIENT KILL ID %d by uid 0, pid \d+" % ib)
    assert "KILL ID %d" % i2 not in d.log(), "one's own are nobody's business"
    lib.poll(lambda: set(ids(admin.cmd("CLIENT", "LIST"))).isdisjoint({i2, ib}), "gone")


# ---- CLIENT REPLY -------------------------------------------------------------------


@pytest.mark.parametrize("proto", [2, 3])
def test_reply_off_and_on(d, proto):
    c = d.client(proto=proto)
    c.send("CLIENT", "REPLY", "OFF")
    for command in (["PING"], ["NONSENSE"], ["POOLS"], ["RUN", "nowhere", "x"], ["HELLO", "3"]):
        c.send(*command)
    c.send("RUN", "p", "x" * 2000000)  # refused before it is all there
    c.send("CLIENT", "REPLY", "PERHAPS")
    assert c.cmd("CLIENT", "REPLY", "ON") == "OK"
    assert c.cmd("PING") == "PONG" and c.quiet()


def test_reply_skip(d):
    c = d.client()
    for command in (["CLIENT", "REPLY", "SKIP"], ["ECHO", "skipped"], ["ECHO", "said"]):
        c.send(*command)
    assert c.read() == b"said"
    for command in (["CLIENT", "REPLY", "SKIP"], ["RUN", "p", "x" * 2000000], ["PING"]):
        c.send(*command)
    assert c.read() == "PONG"
    for command in (["CLIENT", "REPLY", "SKIP"], ["CLIENT", "REPLY", "SKIP"], ["ECHO", "no"]):
        c.send(*command)
    assert c.cmd("ECHO", "yes") == b"yes"
    for command in (["CLIENT", "REPLY", "SKIP"], ["CLIENT", "REPLY", "ON"]):
        c.send(*command)
    assert c.read() == "OK" and c.cmd("PING") == "PONG" and c.quiet()


def test_reply_of_a_job_is_skipped_when_it_comes(d):
    """The others keep their order, and do not wait for it."""
    gate = d.gate()
    c = d.client()
    c.send("RUN", "p", "sleep 20 first")
    c.send("CLIENT", "REPLY", "SKIP")
    c.send("RUN", "p", "gate " + gate.path)
    c.send("RUN", "p", "echo behind")
    gate.arrived()
    assert c.read() == b"first" and c.read() == b"behind"
    assert d.pool("p")["running"] == 1
    gate.release()
    d.wait_pool("p", "all are done", lambda p: p["done"] == 3)
    assert d.pool("p")["kept"] == 0, "a RUN is forgotten, though nobody heard of it"
    assert c.cmd("PING") == "PONG" and c.quiet()


def test_reply_off_and_all_that_waits(d):
    """RESULT, AWAIT and RUN with WAIT, too; in time and past it."""
    gate = d.gate()
    c = d.client()
    jid = c.cmd("SUBMIT", "p", "gate " + gate.path)
    gate.arrived()
    c.send("CLIENT", "REPLY", "OFF")
    for wait in ("1ms", "1h"):
        c.send("RESULT", jid, "WAIT", wait)
        c.send("AWAIT", "ALL", wait, jid)
    c.send("RUN", "p", "WAIT", "1h", "echo in time")
    c.send("RUN", "p", "WAIT", "1ms", "sleep 50 not in time")
    assert c.cmd("CLIENT", "REPLY", "ON") == "OK"
    d.wait_pool("p", "the others are done", lambda p: p["done"] == 2)
    gate.release()
    assert c.cmd("RESULT", jid, "WAIT", "1m") == b"gate"
    assert d.pool("p")["kept"] == 2, "the one that took too long is kept, as is the SUBMIT"
    assert c.cmd("PING") == "PONG" and c.quiet()


@pytest.mark.parametrize("half", [True, False])
def test_reply_off_and_the_end(d, half):
    """Jobs whose replies nobody wants are still the connection's."""
    gates = [d.gate("g%d" % i) for i in range(2)]
    c = d.client()
    c.send("CLIENT", "REPLY", "OFF")
    for gate in gates:
        c.send("RUN", "p", "gate " + gate.path)
    c.send("RUN", "p", "echo queued")
    for gate in gates:
        gate.arrived()
    if half:
        c.half_close()
        d.wait_pool("p", "queued", lambda p: p["queued"] == 1)
    else:
        c.close()
        d.wait_pool("p", "dropped", lambda p: p["cancelled"] == 1)
    for gate in gates:
        gate.release()
    if half:
        assert c.at_end()
    done = 3 if half else 2
    d.wait_pool("p", "done", lambda p: p["done"] == done and p["queued"] == p["running"] == 0)


def test_reply_off_and_multi(d):
    c = d.client()
    c.send("CLIENT", "REPLY", "OFF")
    for command in (["MULTI"], ["RUN", "p", "echo x"], ["SUBMIT", "p", "echo y"], ["EXEC"]):
        c.send(*command)
    assert c.cmd("CLIENT", "REPLY", "ON") == "OK"
    d.wait_pool("p", "done", lambda p: p["done"] == 2)
    assert c.cmd("MULTI") == "OK"
    assert c.cmd("CLIENT", "REPLY", "OFF") == Error(
        "ERR Command not allowed inside a transaction: CLIENT REPLY"
    )
    assert c.cmd("EXEC").code == "EXECABORT"


def test_reply_off_and_reset(d):
    c = d.client()
    c.send("CLIENT", "REPLY", "OFF")
    c.send("RUN", "p", "echo x")
    assert c.cmd("RESET") == "RESET" and c.cmd("PING") == "PONG"
    c.send("CLIENT", "REPLY", "SKIP")
    assert c.cmd("RESET") == "RESET" and c.cmd("PING") == "PONG"


@pytest.mark.parametrize("proto", [2, 3])
def test_reply_off_leaves_messages(d, proto):
    """What nobody asked for is no reply; that it was subscribed is one."""
    c = d.client(proto=proto)
    c.send("CLIENT", "REPLY", "OFF")
    c.send("PSUBSCRIBE", "job.*")
    lib.poll(lambda: "psub=1" in text(d.cmd("CLIENT", "LIST")), "subscribed")
    jid = text(d.cmd("SUBMIT", "p", "echo x"))
    for state in ("queued", "running", "done"):
        assert text(c.read()) == ["pmessage", "job.*", "job." + jid, state]
    assert c.cmd("RESET") == "RESET" and c.cmd("PING") == "PONG"


def test_reply_off_is_no_way_past_the_budget(d):
    """So many jobs of one connection, whether it wants their replies or not."""
    gates = [d.gate("g%d" % i) for i in range(2)]
    c = d.client()
    me = c.cmd("CLIENT", "ID")
    c.send("CLIENT", "REPLY", "OFF")
    for gate in gates:
        c.send("RUN", "p", "gate " + gate.path)
    for gate in gates:
        gate.arrived()
    jobs = encode("RUN", "p", "echo x") * 20000
    c.s.setblocking(False)

    def owed():
        nonlocal jobs
        try:
            while jobs:
                jobs = jobs[c.s.send(jobs) :]
        except BlockingIOError:
            pass
        return int(lines(d.cmd("CLIENT", "LIST", "ID", me))[0]["owed"])

    lib.poll(lambda: owed() >= 16384, "held")
    assert owed() == 16384
    for gate in gates:
        gate.release()
    d.wait_pool("p", "all are done", lambda p: owed() == 0 and p["done"] == 20002)


# ---- COMMAND ------------------------------------------------------------------------


@pytest.mark.parametrize("proto", [2, 3])
def test_command(d, proto):
    c = d.client(proto=proto)
    names = text(c.cmd("COMMAND", "LIST"))
    assert {"run", "client", "reset", "select", "time"} <= set(names)
    assert c.cmd("COMMAND", "COUNT") == len(names) == len(set(names))
    assert [row[0].decode() for row in c.cmd("COMMAND")] == names
    assert c.cmd("COMMAND", "LIST", "FILTERBY", "MODULE", "x").code == "ERR"


@pytest.mark.parametrize("proto", [2, 3])
def test_docs_have_subcommands(d, proto):
    docs = mapping(d.client(proto=proto).cmd("COMMAND", "DOCS", "client", "PING", "none"))
    assert set(docs) == {"client", "ping"}
    client = mapping(docs["client"])
    subs = mapping(client["subcommands"])
    assert {"client|list", "client|kill", "client|no-evict"} <= set(subs)
    kill = mapping(subs["client|kill"])
    assert kill["summary"] and mapping(kill["arguments"][0])["token"] == "ID"
    assert "subcommands" not in mapping(docs["ping"])
