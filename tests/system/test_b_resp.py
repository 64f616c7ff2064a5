# SPDX-License-Identifier: MIT
"""The control socket's protocol: RESP2, RESP3, inline, nonsense, what stock clients ask."""
import os
import subprocess

import pytest

import lib
from lib import Closed, Error, Simple, encode, mapping, pool, text


@pytest.fixture
def d(start):
    return start(pool("p", workers=2), pool("f", lib.script("frame.py"), protocol="frame"))


def test_ping_echo_quit(d):
    c = d.client()
    assert c.cmd("PING") == "PONG" and c.cmd("ping", "you") == b"you"
    assert c.cmd("ECHO", "a\r\nb") == b"a\r\nb"
    assert c.cmd("QUIT") == "OK" and c.at_end()


def test_arity_and_unknown_commands(d):
    c = d.client()
    for command in ("RUN", "RUN p", "SUBMIT p", "RESULT", "CANCEL", "JOB", "POOL", "ECHO", "PAUSE"):
        reply = c.cmd(*command.split())
        assert isinstance(reply, Error) and reply.code == "ERR", (command, reply)
    for command in ("GET x", "SET x y", "UPGRADE"):
        reply = c.cmd(*command.split())
        assert reply.code == "ERR" and "unknown command" in reply.text, (command, reply)
    assert c.cmd("PING") == "PONG"


def test_commands_that_begin_as_the_last_one(d):
    """All but their last word is as it was: a subcommand, a payload, a word too many."""
    c = d.client()
    said = c.pipeline([
        ("CLIENT", "ID"), ("CLIENT", "GETNAME"), ("CLIENT", "ID"), ("CLIENT", "NONSENSE"),
        ("RUN", "p", "echo 1"), ("RUN", "p", "echo 2"), ("RUN", "p", "KEY", "echo 3"),
        ("PING",), ("PING",), ("PING", "a"), ("PING", "b"), ("NONSENSE", "a"), ("NONSENSE", "b"),
        ("MULTI",), ("ECHO", "a"), ("ECHO", "b"), ("PING", "c"), ("EXEC",), ("ECHO", "d"),
    ])  # fmt: skip
    me = said[0]
    assert said[1:3] == [None, me] and said[3].code == "ERR"
    assert said[4:6] == [b"1", b"2"] and said[6].code == "BADOPTION"
    assert said[7:11] == ["PONG", "PONG", b"a", b"b"]
    assert [e.code for e in said[11:13]] == ["ERR", "ERR"]
    assert said[13:] == ["OK", "QUEUED", "QUEUED", "QUEUED", [b"a", b"b", b"c"], b"d"]


def test_hello(d):
    c = d.client()
    two = c.cmd("HELLO")
    assert isinstance(two, list)
    fields = mapping(two)
    assert (fields["server"], fields["proto"]) == ("preforkd", 2)
    assert (fields["mode"], fields["role"]) == ("standalone", "master")
    assert mapping(two)["modules"] == [] and "version" in mapping(two) and "id" in mapping(two)
    three = c.cmd("HELLO", "3", "SETNAME", "me")
    assert isinstance(three, dict) and three["proto"] == 3
    assert text(c.cmd("CLIENT", "GETNAME")) == "me"
    assert isinstance(c.cmd("POOL", "p"), dict)
    assert c.cmd("HELLO", "4").code == "NOPROTO"
    assert mapping(c.cmd("HELLO", "2"))["proto"] == 2
    assert isinstance(c.cmd("POOL", "p"), list)


def test_encoding_is_fixed_when_the_command_is_read(d):
    gate = d.gate()
    c = d.client()
    c.send("RUN", "p", "gate " + gate.path)
    c.send("POOL", "p")
    c.send("HELLO", "3")
    c.send("POOL", "p")
    gate.release()
    assert c.read() == b"gate"
    assert isinstance(c.read(), list)
    assert isinstance(c.read(), dict) and isinstance(c.read(), dict)


def test_null_in_both(d):
    jid = d.cmd("SUBMIT", "p", "hang")
    c = d.client()
    c.send("RESULT", jid)
    assert c._line() == b"$-1"
    assert mapping(c.cmd("HELLO", 3))["proto"] == 3
    c.send("RESULT", jid)
    assert c._line() == b"_"
    assert c.cmd("CANCEL", jid) == 1


def test_inline(d):
    c = d.client()
    c.send_raw(b"PING\r\n\r\n\nRUN p 'echo two words'\nECHO \"a\\x41\\n\"\r\n")
    assert c.read() == "PONG"
    assert c.read() == b"two words"
    assert c.read() == b"aA\n"


def test_inline_with_bad_quotes_closes(d):
    c = d.client()
    c.send_raw(b'ECHO "no end\r\n')
    assert c.read().code == "ERR" and c.at_end()


def test_a_byte_at_a_time(d):
    c = d.client()
    data = encode("RUN", "f", b"slow\r\nand\0binary") + b"PING\r\n"
    for i in range(len(data)):
        c.send_raw(data[i : i + 1])
    assert c.read() == b"slow\r\nand\0binary" and c.read() == "PONG"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"*x\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n+PING\r\n",
        b"*2147483648\r\n",
        b"*99999999999999999999\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*2\r\n$3\r\nRUNxx$1\r\np\r\n",
        b"*1\r\n$4\r\nPINGxx",
        b"x" * 200000,
        b"*" + b"1" * 200000,
    ],
    ids=range(11),
)
def test_nonsense_closes_that_connection_only(d, nonsense):
    bystander = d.client()
    assert bystander.cmd("PING") == "PONG"
    c = d.client()
    try:
        c.send_raw(nonsense)
        reply = c.read()
        assert isinstance(reply, Error) and reply.code == "ERR" and "rotocol" in reply.text
        assert c.at_end()
    except (Closed, BrokenPipeError, ConnectionResetError):
        pass  # closed while we were writing: the error may be lost
    assert bystander.cmd("RUN", "p", "echo unharmed") == b"unharmed"


def test_replies_before_nonsense_still_come(d):
    c = d.client()
    gate = d.gate()
    c.send("RUN", "p", "gate " + gate.path)
    c.send_raw(b"*1\r\n$x\r\nPING\r\n")
    gate.release()
    assert c.read() == b"gate"
    assert c.read().code == "ERR"
    assert c.at_end()


@pytest.mark.parametrize("first", [b"POST / HTTP/1.1\r\n", b"Host: localhost\r\n"])
def test_browsers_are_shown_the_door(d, first):
    c = d.client()
    c.send_raw(first + b"Host: x\r\n\r\nRUN p 'echo attack'\r\n")
    assert c.at_end() and c.at == len(c.buf)


def test_empty_array_and_null_array(d):
    c = d.client()
    c.send_raw(b"*0\r\n*-1\r\nPING\r\n")
    assert c.read() == "PONG"


def test_no_status_or_error_forged_by_payload(d):
    reply = d.cmd("RUN", "f", b"x\r\n-ERR forged\r\n")
    assert reply == b"x\r\n-ERR forged\r\n"
    c = d.client()
    reply = c.cmd("RUN", "no\r\n+OK pool", "x")
    assert isinstance(reply, Error) and reply.code == "NOPOOL"
    assert c.cmd("PING") == "PONG"


def test_command_tables(d):
    c = d.client()
    count = c.cmd("COMMAND", "COUNT")
    listed = c.cmd("COMMAND")
    assert count == len(listed) > 20
    names = {text(row[0]).upper() for row in listed}
    assert {"RUN", "SUBMIT", "RESULT", "CANCEL", "JOBS", "POOLS", "SHUTDOWN", "HELLO"} <= names
    for row in listed:
        assert len(row) >= 6 and isinstance(row[1], int) and isinstance(row[2], list)
    (info,) = c.cmd("COMMAND", "INFO", "run")
    assert text(info[0]).lower() == "run" and info[1] <= -3
    assert c.cmd("COMMAND", "INFO", "nonsense") == [None]
    assert c.cmd("COMMAND", "NONSENSE").code == "ERR"


def test_command_docs_has_the_types_redis_cli_insists_on(d):
    for proto in (2, 3):
        c = d.client(proto)
        docs = mapping(c.cmd("COMMAND", "DOCS"))
        assert "run" in {k.lower() for k in docs}
        for doc in docs.values():
            doc = mapping(doc) if isinstance(doc, list) else doc
            assert isinstance(doc["summary"], str) and doc["summary"]
        c.send("COMMAND", "DOCS", "run")
        one = mapping(c.read())
        assert [k.lower() for k in one] == ["run"]


def test_client(d):
    c = d.client()
    me = c.cmd("CLIENT", "ID")
    assert isinstance(me, int) and me > 0
    assert text(c.cmd("CLIENT", "GETNAME")) in ("", None)
    assert c.cmd("CLIENT", "SETNAME", "tester") == "OK"
    assert text(c.cmd("CLIENT", "GETNAME")) == "tester"
    assert c.cmd("CLIENT", "SETNAME", "a b").code == "ERR"
    assert c.cmd("CLIENT", "SETINFO", "LIB-NAME", "x") == "OK"
    other = d.client()
    them = other.cmd("CLIENT", "ID")
    lines = text(c.cmd("CLIENT", "LIST")).splitlines()
    assert [line for line in lines if "id=%d " % me in line + " " and "name=tester" in line]
    assert [line for line in lines if "id=%d " % them in line + " "]
    assert "id=%d " % me in text(c.cmd("CLIENT", "INFO")) + " "
    for subcommand in ("NONSENSE", "KILL", "REPLY"):
        assert c.cmd("CLIENT", subcommand, "x").code == "ERR"


def test_info_and_config_get(d):
    c = d.client()
    info = text(c.cmd("INFO"))
    assert "redis_version:" in info and "# Server" in info
    assert "process_id:%d" % d.pid in info
    assert "redis_version:" in text(c.cmd("INFO", "server"))
    save = c.cmd("CONFIG", "GET", "save")
    assert isinstance(save, list) and len(save) in (0, 2)
    assert isinstance(c.cmd("CONFIG", "GET", "appendonly"), list)
    assert sorted(c.cmd("CONFIG", "GET", "Max*", "[t]imeout")[::2]) == [b"maxclients", b"timeout"]
    assert isinstance(c.cmd("CONFIG", "SET", "save", ""), Error)


def test_same_values_in_resp2_and_resp3(d):
    two, three = d.client(), d.client(3)
    for command in (("POOL", "p"), ("STATUS",), ("JOBS",), ("POOLS",), ("WORKERS",)):
        a, b = two.cmd(*command), three.cmd(*command)
        if command[0] in ("POOL", "STATUS"):
            assert set(mapping(a)) == set(mapping(b))
        else:
            assert [set(mapping(x)) for x in a] == [set(mapping(x)) for x in b]
        assert isinstance(a, list)


def test_simple_replies_are_simple(d):
    assert isinstance(d.cmd("PAUSE", "p"), Simple)
    assert isinstance(d.cmd("RESUME", "p"), Simple)


def test_half_a_command_then_gone(d):
    for cut in (1, 5, 17, 30):
        c = d.client()
        c.send_raw(encode("RUN", "p", "echo never whole")[:cut])
        c.close()
    assert d.cmd("PING") == "PONG"


def test_socat(d):
    r = subprocess.run(
        ["socat", "-t", str(lib.DEADLINE), "-", "UNIX-CONNECT:" + d.socket],
        input=b"PING\r\nRUN p 'sleep 200 after the half-close'\r\n",
        stdout=subprocess.PIPE,
        timeout=lib.DEADLINE * 2,
        check=True,
    )
    assert r.stdout == b"+PONG\r\n$20\r\nafter the half-close\r\n"


def test_other_users_kernel_limits_do_not_matter(d):
    """A burst of connects larger than the backlog of careless servers."""
    clients = [d.client() for _ in range(200)]
    for c in clients:
        c.send("PING")
    assert all(c.read() == "PONG" for c in clients)
    assert os.path.exists(d.socket)
