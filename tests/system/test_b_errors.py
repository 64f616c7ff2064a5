# SPDX-License-Identifier: MIT
"""Every code of an error reply, how it comes about, and its text, in RESP2 and RESP3.

The codes are those of the manual: one without a row here fails, and one that is
not in the manual too. The table is in the log of every run.
"""
import re
import signal

import pytest

from lib import ROOT, SRC, Error, mapping, pool, script, text

CASES = []


def case(code, how, pattern, root=False):
    """A row: the function makes the error happen and returns it."""

    def add(function):
        CASES.append((code, how, pattern, root, function))
        return function

    return add


class Scene:
    """One daemon and one client for all rows that need no others."""

    def __init__(self, start, proto):
        self.start, self.proto = start, proto
        self.d = start(
            pool("p", workers=2),
            pool("full", queue={"limit": 1}),
            pool("small", job={"max_payload": 100}),
            pool("down", "/bin/false"),
            pool("filter", script("echo.sh"), protocol="filter"),
            control={"mode": "0666"},
        )
        self.d.check_fds = False  # a worker of "down" is tried now and then
        self.c = self.d.client(proto)

    def cmd(self, *words):
        return self.c.cmd(*words)

    def client(self, d=None):
        return (d or self.d).client(self.proto)

    def other(self):
        """Another user's client."""
        c = self.d.client_as(4001)
        c.cmd("HELLO", self.proto)
        return c

    def last(self, *commands):
        """The reply to the last of some commands on a connection of their own."""
        return self.client().pipeline(commands)[-1]


# ---- what is asked for ----------------------------------------------------------------------


@case("NOPOOL", "no such pool", r"no pool 'nowhere': POOLS lists those there are")
def no_pool(s):
    return s.cmd("RUN", "nowhere", "x")


@case("NOPOOL", "said before the payload comes", r"no such pool: POOLS lists those there are")
def no_pool_for_a_long_payload(s):
    return s.cmd("SUBMIT", "nowhere", "x" * 100000)


@case("NOJOB", "an id that never was", r"no job '77': it never was, or is no longer kept")
def no_job(s):
    return s.cmd("RESULT", "77")


@case("NOJOB", "no longer kept", r"no job '\d+': it never was, or is no longer kept")
def no_job_any_more(s):
    jid = s.cmd("SUBMIT", "p", "KEEP", "0", "echo x")
    s.d.wait_pool("p", "nothing is left", lambda p: p["running"] == p["queued"] == 0)
    reply = s.cmd("JOB", jid)
    while not isinstance(reply, Error):  # it goes with the turn that follows
        reply = s.cmd("JOB", jid)
    return reply


@case("NOJOB", "one of several", r"no job 'x': it never was, or is no longer kept")
def no_job_to_await(s):
    return s.cmd("AWAIT", "ANY", "1m", s.cmd("SUBMIT", "p", "echo x"), "x")


@case("BADPAYLOAD", "LF in a line", r'holds a line feed: protocol = "frame" takes .*')
def bad_payload(s):
    return s.cmd("RUN", "p", "two\nlines")


@case("BADOPTION", "no such option", r"'COLOUR' is no option of SUBMIT; it has KEY, TIMEOUT, KEEP")
def no_option(s):
    return s.cmd("SUBMIT", "p", "COLOUR", "red", "x")


@case("BADOPTION", "not such a value", r"TIMEOUT '0': must be longer than 0")
def bad_option(s):
    return s.cmd("RUN", "p", "TIMEOUT", "0", "x")


@case("BADOPTION", "KEY too long", r"KEY 'k+\.\.\.': must be 1 to 256 bytes")
def key_too_long(s):
    assert s.cmd("RUN", "p", "KEY", "k" * 256, "echo x") == b"x"
    return s.cmd("RUN", "p", "KEY", "k" * 257, "echo x")


@case("BADOPTION", "COUNT too great", r"COUNT '1001': must be a number from 1 to 1000")
def count_too_great(s):
    assert isinstance(s.cmd("JOBS", "COUNT", "1000"), list)
    return s.cmd("JOBS", "COUNT", "1001")


@case("BADOPTION", "neither ANY nor ALL", r"'SOME': must be ANY or ALL")
def await_some(s):
    return s.cmd("AWAIT", "SOME", "1m", "77")


@case("TOOBIG", "over job.max_payload", r"101 bytes, and at most 100 are taken \(job.max_payload\)")
def too_big(s):
    return s.cmd("RUN", "small", "x" * 101)


@case("TOOBIG", "said before it comes", r"2000000 bytes, and at most 1048576 are taken .*")
def much_too_big(s):
    return s.cmd("RUN", "p", "x" * 2000000)


@case("TOOBIG", "no payload", r"65537 bytes, and at most 65536 are taken where it is not a job's .*")
def too_big_for_a_word(s):
    return s.cmd("ECHO", "x" * 65537)


@case("KEYMISMATCH", "another payload", r"this KEY names a job with another payload")
def key_mismatch(s):
    assert s.cmd("RUN", "p", "KEY", "same", "echo one") == b"one"
    return s.cmd("RUN", "p", "KEY", "same", "echo two")


@case("NOPROTO", "HELLO 4", r"unsupported protocol version: 2 or 3")
def no_proto(s):
    return s.cmd("HELLO", "4")


# ---- what the daemon is able to do ----------------------------------------------------------


@case("BUSY", "queue.limit", r"the queue of pool 'full' is full \(1 jobs, \d+ bytes\)")
def busy(s):
    gate = s.d.gate("full%d" % s.proto)
    held = s.cmd("SUBMIT", "full", "gate %s" % gate.path)
    gate.arrived()
    queued = s.cmd("SUBMIT", "full", "echo x")
    reply = s.cmd("SUBMIT", "full", "echo y")
    gate.release()
    s.cmd("AWAIT", "ALL", "1m", held, queued)
    return reply


@case("BUSY", "patterns of all connections", r"too many different patterns, or too long ones, .*")
def too_many_patterns_of_all(s):
    clients = [s.client() for _ in range(9)]
    for n, c in enumerate(clients):
        *confirmed, reply = subscribe(c, "PSUBSCRIBE", ["p%d.%d*" % (n, i) for i in range(128)])
        assert isinstance(reply, Error) == (n == 8)
    for c in clients:
        c.close()
    return reply


@case("DOWN", "workers cannot start", r"exits at start \(status 1\)")
def down(s):
    return s.cmd("RUN", "down", "x")


@case("BADCONFIG", "RELOAD", r"nothing was changed: /.*/preforkd\.conf:\d+: drain: .*")
def bad_configuration(s):
    d = s.start(pool("p"))
    d.rewrite(pool("p"), drain="soon")
    return s.client(d).cmd("RELOAD")


@case("DRAINING", "a new job after DRAIN", r"preforkd finishes what it has and takes no new jobs")
def draining(s):
    return drained(s, lambda c: c.cmd("SUBMIT", "p", "x"))


@case("DRAINING", "a RUN that waited", r"preforkd finishes what it has and takes no new jobs")
def draining_waited(s):
    return drained(s, lambda c: c.read(), ("RUN", "p", "echo x"))


@case("DRAINING", "SCALE after DRAIN", r"preforkd finishes what it has and starts nothing anew")
def draining_scale(s):
    return drained(s, lambda c: c.cmd("SCALE", "p", "2"))


def drained(s, ask, waiting=None):
    d = s.start(pool("p"))
    gate = d.gate()
    d.cmd("SUBMIT", "p", "gate %s" % gate.path)
    gate.arrived()
    c = s.client(d)
    if waiting:
        c.send(*waiting)
        d.wait_pool("p", "it waits", lambda p: p["queued"] == 1)
    assert d.cmd("DRAIN") == "OK"
    reply = ask(c)
    gate.release()
    return reply


@case("PENDING", "WAIT is over", r"[0-9]{10,16}")
def pending(s):
    gate = s.d.gate("pending%d" % s.proto)
    reply = s.cmd("RUN", "p", "WAIT", "1ms", "gate %s" % gate.path)
    gate.release()
    assert s.cmd("RESULT", reply.rest, "WAIT", "1m") == b"gate"
    return reply


# ---- how jobs end ---------------------------------------------------------------------------


@case("FAILED", "the worker said ERR", r"no such page")
def failed(s):
    return s.cmd("RUN", "p", "err no such page")


@case("TIMEOUT", "TIMEOUT of the job", r"took longer than 20ms")
def timed_out(s):
    return s.cmd("RUN", "p", "TIMEOUT", "20ms", "sleep 60000")


@case("CRASHED", "exit status", r"worker exited with status 3")
def crashed(s):
    return s.cmd("RUN", "p", "exit 3")


@case("CRASHED", "signal", r"worker killed by signal 9 \(SIGKILL\)")
def killed(s):
    return s.cmd("RUN", "p", "kill 9")


@case("CANCELLED", "CANCEL", r"cancelled on request")
def cancelled(s):
    gate = s.d.gate("cancelled%d" % s.proto)
    c = s.client()
    c.send("RUN", "p", "gate %s" % gate.path)
    gate.arrived()
    (job,) = s.cmd("JOBS", "STATE", "running")
    assert s.cmd("CANCEL", mapping(job)["id"]) == 1
    return c.read()


@case("CANCELLED", "the daemon ends", r"preforkd is stopping")
def stopped(s):
    d = s.start(pool("p"))
    gate = d.gate()
    c = s.client(d)
    c.send("RUN", "p", "gate %s" % gate.path)
    gate.arrived()
    d.send_signal(signal.SIGINT)
    return c.read()


# ---- who may --------------------------------------------------------------------------------


@case("NOPERM", "not an administrator", r"PAUSE needs the right 'admin' .*uid 4001 .*", root=True)
def no_right(s):
    return s.other().cmd("PAUSE", "p")


@case("NOPERM", "another user's job", r"job \d+ belongs to uid 0", root=True)
def not_ones_own(s):
    return s.other().cmd("CANCEL", s.cmd("SUBMIT", "p", "echo x"))


# ---- MULTI ----------------------------------------------------------------------------------


@case("EXECABORT", "a command was wrong", r"Transaction discarded because of previous errors\.")
def exec_abort(s):
    return s.last(("MULTI",), ("JOB",), ("PING",), ("EXEC",))


@case("EXECABORT", "a job is not accepted", r"Transaction discarded because of command 2 of 2: .*")
def exec_abort_late(s):
    s.cmd("SUBMIT", "p", "KEY", "one", "echo one")
    submit = ("SUBMIT", "p", "KEY", "one", "echo two")
    return s.last(("MULTI",), ("SUBMIT", "p", "echo x"), submit, ("EXEC",))


@case("ERR", "EXEC alone", r"EXEC without MULTI")
def exec_alone(s):
    return s.cmd("EXEC")


@case("ERR", "DISCARD alone", r"DISCARD without MULTI")
def discard_alone(s):
    return s.cmd("DISCARD")


@case("ERR", "MULTI in MULTI", r"MULTI calls can not be nested")
def multi_in_multi(s):
    return s.last(("MULTI",), ("MULTI",))


@case("ERR", "not in MULTI", r"Command not allowed inside a transaction: SHUTDOWN")
def not_in_multi(s):
    return s.last(("MULTI",), ("SHUTDOWN",))


@case("ERR", "too many in MULTI", r"a MULTI holds at most 16384 commands and .*\(33554432 bytes\)")
def multi_too_many(s):
    return s.last(("MULTI",), *[("PING",)] * 16385)


# ---- anything else --------------------------------------------------------------------------


@case("ERR", "no such command", r"unknown command 'get': COMMAND DOCS lists those there are")
def unknown(s):
    return s.cmd("get", "x")


@case("ERR", "no such subcommand", r"unknown subcommand 'TRACKING': CLIENT has .*")
def unknown_subcommand(s):
    return s.cmd("CLIENT", "TRACKING", "ON")


@case("ERR", "arguments", r"wrong number of arguments for 'RESULT': RESULT id \[WAIT wait\]")
def arguments(s):
    return s.cmd("RESULT")


@case("ERR", "ids of AWAIT", r"AWAIT takes at most 1000 ids")
def await_too_many(s):
    return s.cmd("AWAIT", "ALL", "1m", *["77"] * 1001)


@case("ERR", "workers of SCALE", r"workers: a number from 1 to 4096, not '5000'")
def scale_too_many(s):
    return s.cmd("SCALE", "p", "5000")


@case("ERR", "a client's name", r"at most 64 characters, without spaces and controls")
def name_too_long(s):
    assert s.cmd("CLIENT", "SETNAME", "n" * 64) == "OK"
    return s.cmd("CLIENT", "SETNAME", "n" * 65)


@case("ERR", "a client's id", r"Invalid client ID")
def no_client_id(s):
    return s.cmd("CLIENT", "KILL", "ID", "x")


@case("ERR", "SELECT 1", r"DB index is out of range")
def no_database(s):
    return s.cmd("SELECT", "1")


def subscribe(c, verb, names):
    """The replies: a confirmation for each name, or an error at last."""
    c.send(verb, *names)
    replies = []
    while len(replies) < len(names) and not (replies and isinstance(replies[-1], Error)):
        replies.append(c.read())
    return replies


@case("ERR", "channels of a connection", r"at most 16384 channels for one connection")
def too_many_channels(s):
    c = s.client()
    subscribe(c, "SUBSCRIBE", ["job.%d" % i for i in range(1, 16001)])
    return subscribe(c, "SUBSCRIBE", ["job.%d" % i for i in range(16001, 16386)])[-1]


@case("ERR", "patterns of a connection", r"at most 128 patterns for one connection")
def too_many_patterns(s):
    return subscribe(s.client(), "PSUBSCRIBE", ["job.%d*" % i for i in range(129)])[-1]


@case("ERR", "a channel's name", r"at most 512 bytes in the name of a channel")
def channel_too_long(s):
    return s.client().cmd("SUBSCRIBE", "c" * 513)


@case("ERR", "bytes of subscriptions", r"the subscriptions of one connection take .*")
def subscriptions_too_large(s):
    d = s.start(pool("p", job={"max_payload": "1K"}), control={"client_memory": "64K"})
    return subscribe(s.client(d), "SUBSCRIBE", ["c" * 500 + str(i) for i in range(100)])[-1]


@case("ERR", "while it listens, RESP2", r"Can't execute 'status': only \(P\)SUBSCRIBE / .*")
def only_listens(s):
    c = s.d.client()
    c.cmd("SUBSCRIBE", "lost")
    return c.cmd("STATUS")


@case("ERR", "arguments of a command", r"Protocol error: .*")
def too_many_words(s):
    c = s.client()
    c.send_raw(b"*16385\r\n")
    return closing(c)


@case("ERR", "bytes of a line", r"Protocol error: .*")
def line_too_long(s):
    c = s.client()
    c.send_raw(b"x" * 70000)
    return closing(c)


@case("ERR", "not RESP", r"Protocol error: .*")
def not_resp(s):
    c = s.client()
    c.send_raw(b"*1\r\n!\r\n")
    return closing(c)


@case("ERR", "control.max_clients", r"max number of clients reached \(control\.max_clients\)")
def too_many_clients(s):
    d = s.start(pool("p"), control={"max_clients": 1})
    assert d.client().cmd("PING") == "PONG"
    assert d.client().cmd("PING") == "PONG"  # a place that is root's
    return closing(d.client())


def closing(c):
    reply = c.read()
    assert c.at_end()
    return reply


# ---- the table ------------------------------------------------------------------------------


def codes_of_the_manual():
    page = (SRC / "man/preforkd-control.7.in").read_text()
    section = page.split("\n.Sh ERROR REPLIES\n")[1].split("\n.S")[0]
    return set(re.findall(r"^\.It Ic ([A-Z]+)$", section, re.M))


def test_every_code_of_the_manual():
    assert {row[0] for row in CASES} == codes_of_the_manual()


def test_every_code_is_in_the_sources():
    """And the other way: what the sources say is in the manual."""
    said = set()
    for source in sorted((SRC / "src/control").glob("*.c")):
        words = source.read_text()
        said |= set(re.findall(r'resp_put_errorf?\([^;"]*"([A-Z]+)"', words))
        said |= set(re.findall(r'\[REASON_[A-Z]+\] = \{"([A-Z]+)"', words))
    assert len(said) > 10 and sorted(said - codes_of_the_manual()) == []


@pytest.mark.parametrize("proto", [2, 3])
def test_errors(start, capsys, proto):
    scene, wrong, lines = Scene(start, proto), [], []
    for code, how, pattern, root, make_happen in CASES:
        if root and not ROOT:
            lines.append("%-12s %-30s %s" % (code, how, "(needs root)"))
            continue
        reply = make_happen(scene)
        lines.append("%-12s %-30s %s" % (code, how, text(getattr(reply, "rest", repr(reply)))[:90]))
        if not (
            isinstance(reply, Error)
            and reply.code == code
            and re.fullmatch(pattern, reply.rest)
            and scene.cmd("PING") == "PONG"
        ):
            wrong.append((code, how, reply))
    with capsys.disabled():
        print("\n\nerrors in RESP%d" % proto)
        print("\n".join(lines))
    assert not wrong
