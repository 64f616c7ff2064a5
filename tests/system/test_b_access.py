# SPDX-License-Identifier: MIT
"""Who may do what: every command, by every kind of user, and what is logged of it."""
import os
import re

import pytest

import lib
from lib import encode, mapping, pool, text

needs_root = pytest.mark.skipif(not lib.ROOT, reason="needs root: acts as other users")

ALL = ("read", "submit", "admin")
NOTHING = ()
OPS = 4100  # a group

RULES = [
    {"users": ["4001"], "allow": ALL},
    {"groups": [str(OPS)], "allow": ALL},
    {"users": ["4003"], "allow": ALL, "pools": ["a"]},
    {"users": ["4003", "4004"], "allow": NOTHING},
    {"users": ["4006"], "allow": ["read"]},
    {"users": ["4007"], "allow": ["submit"], "pools": ["a*", "[b-z]"]},
    {"users": ["4007"], "allow": ALL},  # a later one changes nothing
    {"users": ["4008"], "allow": ["admin"], "pools": ["*"]},
]

# name: (uid, gid, groups, what it may with pool a, with pool b, with the daemon)
USERS = {
    "root": (0, 0, [], ALL, ALL, ALL),
    "admin": (4001, 4001, [], ALL, ALL, ALL),
    "in group": (4002, 4002, [4101, OPS, 4102], ALL, ALL, ALL),
    "own group": (4002, OPS, [], ALL, ALL, ALL),
    "of pool a": (4003, 4003, [], ALL, NOTHING, ("read", "submit")),
    "denied": (4004, 4004, [4101], NOTHING, NOTHING, NOTHING),
    "unlisted": (4005, 4005, [4101], ("read", "submit"), ("read", "submit"), ("read", "submit")),
    "reader": (4006, 4006, [], ("read",), ("read",), ("read",)),
    # The rule of its pools is not about the daemon, the one behind it is.
    "submitter": (4007, 4007, [], ("submit",), ("submit",), ("submit", "admin")),
    "operator": (4008, 4008, [], ("admin",), ("admin",), ("admin",)),
}


class User:
    def __init__(self, d, name):
        self.name = name
        self.uid, self.gid, self.groups, a, b, daemon = USERS[name]
        self.may = {"a": a, "b": b, None: daemon}
        self.d = d
        self.stock = []

    def connect(self):
        if not self.stock:
            self.stock = self.d.clients_as(25, self.uid, self.gid, self.groups)
        return self.stock.pop()

    def allowed(self, kind, about):
        return kind == "connection" or kind in self.may[about]


@pytest.fixture
def ruled(start):
    d = start(pool("a"), pool("b"), control={"mode": "0666"}, access=RULES)
    d.users = {name: User(d, name) for name in USERS}
    return d


# ---- every command --------------------------------------------------------------------

# How to call what cannot be called with its required arguments alone.
CALLS = {
    "AWAIT": ["AWAIT", "ANY", "0", "id"],
    "CLIENT": ["CLIENT", "ID"],
    "COMMAND": ["COMMAND", "COUNT"],
    "CONFIG": ["CONFIG", "GET", "save"],
    "RUN": ["RUN", "pool", "WAIT", "0", "echo x"],
    "SHUTDOWN": ["SHUTDOWN", "later"],  # not now: it is refused, but not for want of a right
}
WORDS = {"payload": "echo x", "n": "1", "count": "1", "index": "0"}
ANYBODYS = ("JOB",)  # about a job, whoever's it is
LAST = ("DRAIN",)


def commands(c):
    """Every command there is: name, class, the words to call it with."""
    docs = mapping(c.cmd("COMMAND", "DOCS"))
    names = [text(row[0]) for row in c.cmd("COMMAND")]
    assert sorted(names) == sorted(docs) and len(names) > 20
    for name in sorted(names, key=lambda n: (n.upper() in LAST, n)):
        doc = mapping(docs[name])
        words = [name.upper()]
        for arg in doc.get("arguments", []):
            arg = mapping(arg)
            if "optional" not in arg.get("flags", []):
                words += [arg["token"]] if "token" in arg else []
                words.append(arg["name"])
        yield name.upper(), doc["group"], CALLS.get(name.upper(), words)


def targets(user, kind, words):
    """What to call it about: (what the table says, pool, fill-ins)."""
    d = user.d
    if "pool" in words:
        return [(p, p, {"pool": p}) for p in ("a", "b")]
    if words[0] == "SUBSCRIBE":
        return [("pool." + p, p, {"channel": "pool." + p}) for p in ("a", "b")]
    if "id" not in words:
        return [("", None, {})]
    found = []
    for p in ("a", "b"):
        others = text(d.cmd("SUBMIT", p, "echo x"))
        found.append(("root's in " + p, p, {"id": others}))
        if user.uid and "submit" in user.may[p]:
            own = text(user.connect().cmd("SUBMIT", p, "echo x"))
            found.append(("own in " + p, p, {"id": own}))
    return found


def expected(user, name, kind, about, p):
    """By the rules as they are documented, not as they are implemented."""
    if p and not user.allowed(kind, p):
        return False
    if about.startswith("root's") and name not in ANYBODYS:
        return user.uid == 0 or user.allowed("admin", p)
    return user.allowed(kind, p)


def show(rows, capsys):
    """The table, in the test's log whether or not it passes."""
    with capsys.disabled():
        print("\n\n%-34s" % "who may use what" + "".join("%11s" % name for name in USERS))
        for what, cells in rows.items():
            line = "%-34s" % what
            print(line + "".join("%11s" % cells.get(name, "-") for name in USERS))


@needs_root
def test_every_command_by_every_user(ruled, capsys):
    d, rows, wrong = ruled, {}, []
    for name, kind, words in commands(d.client()):
        for user in d.users.values():
            for about, p, fill in targets(user, kind, words):
                call = [fill.get(w, WORDS.get(w, w)) for w in words]
                c = user.connect()
                reply = c.cmd(*call)
                c.close()
                code = reply.code if isinstance(reply, lib.Error) else "yes"
                assert "wrong number of arguments" not in str(reply), "teach CALLS %s" % name
                rows.setdefault("%s (%s) %s" % (name, kind, about), {})[user.name] = (
                    "NOPERM" if code == "NOPERM" else "yes"
                )
                if (code != "NOPERM") != expected(user, name, kind, about, p):
                    wrong.append((call, user.name, reply))
    show(rows, capsys)
    assert not wrong


@needs_root
def test_classes_by_users(ruled, capsys):
    """The same in short: a command of each class, about the daemon and about a pool."""
    calls = {
        "connection": [(None, ["PING"])],
        "read": [(None, ["STATUS"]), ("a", ["POOL", "a"]), ("b", ["POOL", "b"])],
        "submit": [("a", ["SUBMIT", "a", "echo x"]), ("b", ["SUBMIT", "b", "echo x"])],
        "admin": [(None, ["SHUTDOWN", "later"]), ("a", ["RESUME", "a"]), ("b", ["RESUME", "b"])],
    }
    rows = {}
    for kind, about in calls.items():
        for p, call in about:
            cells = rows.setdefault("%s: %s" % (kind, "pool " + p if p else "the daemon"), {})
            for user in ruled.users.values():
                reply = user.connect().cmd(*call)
                refused = isinstance(reply, lib.Error) and reply.code == "NOPERM"
                cells[user.name] = "NOPERM" if refused else "yes"
                assert refused != user.allowed(kind, p), (call, user.name, reply)
    show(rows, capsys)


# ---- what is shown, and what is said ------------------------------------------------------


@needs_root
def test_lists_have_what_one_may_read(ruled):
    d = ruled
    for p in ("a", "b"):
        d.cmd("SUBMIT", p, "echo x")
    for name, seen in (("admin", ["a", "b"]), ("of pool a", ["a"]), ("unlisted", ["a", "b"])):
        c = d.users[name].connect()
        assert [mapping(p)["name"] for p in c.cmd("POOLS")] == seen
        assert [mapping(w)["pool"] for w in c.cmd("WORKERS")] == seen
        assert [mapping(j)["pool"] for j in c.cmd("JOBS")] == seen
        assert re.findall(r"^pool_(\w+):", text(c.cmd("INFO")), re.M) == seen
        assert mapping(c.cmd("STATUS"))["state"] == "ready"
    c = d.users["of pool a"].connect()
    for command in (["POOL", "b"], ["WORKERS", "b"], ["JOBS", "POOL", "b"]):
        reply = c.cmd(*command)
        assert reply.code == "NOPERM" and "'read' for the pool b" in reply.text
    assert c.cmd("POOL", "c").code == "NOPOOL"
    assert d.users["denied"].connect().cmd("POOL", "c").code == "NOPERM"


@needs_root
def test_a_long_argument_is_refused_by_its_pool(ruled):
    """Before it comes."""
    d = ruled
    for name, p, code in (
        ("of pool a", b"b", "NOPERM"),
        ("of pool a", b"c", "NOPOOL"),
        ("denied", b"a", "NOPERM"),
        ("denied", b"c", "NOPERM"),
        ("reader", b"a", "NOPERM"),
    ):
        c = d.users[name].connect()
        c.send_raw(b"*3\r\n$3\r\nRUN\r\n$1\r\n%s\r\n$900000\r\n" % p)
        assert c.read().code == code
        c.send_raw(b"x" * 900000 + b"\r\nPING\r\n")
        assert c.read() == "PONG"
    c = d.users["of pool a"].connect()
    c.send_raw(b"*3\r\n$3\r\nRUN\r\n$1\r\na\r\n$900000\r\nlength ")
    c.send_raw(b"x" * 899993 + b"\r\n")
    assert c.read() == b"899993"


@needs_root
def test_a_member_of_many_groups(make):
    d = make(
        pool("a"),
        control={"mode": "0666"},
        access=[{"groups": ["70000"], "allow": ALL}, {"allow": NOTHING}],
    ).start()
    many = list(range(50000, 51000))
    assert d.client_as(4001, groups=many + [70000]).cmd("PAUSE", "a") == "OK"
    assert d.client_as(4001, groups=many).cmd("POOL", "a").code == "NOPERM"
    assert d.client_as(4001, groups=[]).cmd("PING") == "PONG"


def test_rules_are_not_for_who_runs_the_daemon(start):
    """Root, or the owner of a daemon of its own."""
    d = start(pool("a"), access=[{"allow": NOTHING}])
    c = d.client()
    assert c.cmd("RUN", "a", "echo x") == b"x"
    assert c.cmd("PAUSE", "a") == c.cmd("RESUME", "a") == "OK"
    assert c.cmd("SHUTDOWN", "later").code == "ERR"


# ---- what is logged of it ------------------------------------------------------------


def test_admin_commands_are_logged(start):
    d = start(pool("p"))
    c = d.client()
    who = r"by uid %d, pid %d" % (os.getuid(), os.getpid())
    assert c.cmd("PAUSE", "p") == "OK"
    d.wait_log(r"notice: pool=p: PAUSE p %s$" % who)
    assert c.cmd("resume", "p") == "OK"
    d.wait_log(r"\bresume p %s$" % who)
    assert c.cmd("PAUSE", "no\npool by uid 0").code == "NOPOOL"
    d.wait_log(r'\bPAUSE "no\\x0apool by uid 0" %s: NOPOOL no pool' % who)
    assert c.cmd("PAUSE", "x" * 5000).code == "NOPOOL"
    d.wait_log(r"\bPAUSE x{100,160}\.\.\. %s: NOPOOL" % who)
    assert c.cmd("SHUTDOWN", "later").code == "ERR"
    d.wait_log(r"\bSHUTDOWN later %s: ERR SHUTDOWN takes NOW" % who)
    assert c.cmd("POOL", "p") and c.cmd("RUN", "p", "echo x") == b"x"
    assert len(re.findall("by uid .*, pid", d.log())) == 5  # and no others


@needs_root
def test_refusals_are_logged_and_counted(start):
    d = start(pool("p"), control={"mode": "0666"})
    c = d.client_as(4001)
    replies = c.pipeline([("SHUTDOWN",)] * 50)
    assert {r.code for r in replies} == {"NOPERM"}
    c.send_raw(b"*2\r\n$5\r\nPAUSE\r\n$900000\r\n")  # refused before it comes
    assert c.read().code == "NOPERM"
    lines = re.findall(r"refused to uid 4001, pid \d+: SHUTDOWN$", d.log(), re.M)
    assert len(lines) == 10  # anybody can cause them
    assert c.quiet() and d.cmd("PING") == "PONG"
    assert c.s.send(encode("PING")) and "by uid 4001" not in d.log()
