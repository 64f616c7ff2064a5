# SPDX-License-Identifier: MIT
"""Every command in RESP2, in RESP3 and inline; every command by every option.

A command that has no row in EXAMPLES fails: whoever adds one adds a row. The
tables are in the log of every run.
"""
import pytest

from lib import Error, encode, mapping, pool, text

# A kind of reply: its first byte in RESP2 and in RESP3.
KINDS = {
    "simple": "++",
    "integer": "::",
    "text": "$$",
    "null": "$_",
    "list": "**",
    "map": "*%",
    "push": "*>",
}


class Example:
    """How to say a command; {words} are filled in. before: what is said first."""

    def __init__(self, kind, *words, before=(), own=False, then="PONG"):
        self.kind, self.words, self.before = kind, words, before
        self.own = own  # it ends its daemon
        self.then = then  # what a PING behind it is answered, in RESP2; None: nothing any more


EXAMPLES = {
    "RUN": Example("text", "RUN", "p", "TIMEOUT", "1m", "echo two words"),
    "SUBMIT": Example("text", "SUBMIT", "p", "echo x"),
    "RESULT": Example("null", "RESULT", "{queued}", "WAIT", "1ms"),
    "AWAIT": Example("list", "AWAIT", "ANY", "1m", "{queued}", "{done}"),
    "CANCEL": Example("integer", "CANCEL", "{queued}"),
    "FORGET": Example("integer", "FORGET", "{done}"),
    "JOB": Example("map", "JOB", "{queued}"),
    "JOBS": Example("list", "JOBS", "COUNT", "3"),
    "POOLS": Example("list", "POOLS"),
    "POOL": Example("map", "POOL", "p"),
    "WORKERS": Example("list", "WORKERS", "p"),
    "PAUSE": Example("simple", "PAUSE", "held"),
    "RESUME": Example("simple", "RESUME", "p"),
    "CLEAR": Example("simple", "CLEAR", "held"),
    "RESTART": Example("simple", "RESTART", "p"),
    "SCALE": Example("simple", "SCALE", "p", "2"),
    "STATUS": Example("map", "STATUS"),
    "INFO": Example("text", "INFO", "server"),
    "METRICS": Example("text", "METRICS"),
    "CONFIG GET": Example("map", "CONFIG", "GET", "save"),
    "RELOAD": Example("simple", "RELOAD"),
    "DRAIN": Example("simple", "DRAIN", own=True),
    "SHUTDOWN": Example("simple", "SHUTDOWN", own=True),
    "PING": Example("simple", "PING"),
    "ECHO": Example("text", "ECHO", ""),
    "HELLO": Example("map", "HELLO"),
    "QUIT": Example("simple", "QUIT", then=None),
    "RESET": Example("simple", "RESET"),
    "SELECT": Example("simple", "SELECT", "0"),
    "TIME": Example("list", "TIME"),
    "SUBSCRIBE": Example("push", "SUBSCRIBE", "lost", then=[b"pong", b""]),
    "PSUBSCRIBE": Example("push", "PSUBSCRIBE", "key.p.?", then=[b"pong", b""]),
    "UNSUBSCRIBE": Example("push", "UNSUBSCRIBE", "lost"),
    "PUNSUBSCRIBE": Example("push", "PUNSUBSCRIBE"),
    "MULTI": Example("simple", "MULTI", then="QUEUED"),
    "EXEC": Example("list", "EXEC", before=[("MULTI",), ("ECHO", "x"), ("RUN", "p", "echo")]),
    "DISCARD": Example("simple", "DISCARD", before=[("MULTI",), ("PING",)]),
    "CLIENT GETNAME": Example("null", "CLIENT", "GETNAME"),
    "CLIENT ID": Example("integer", "CLIENT", "ID"),
    "CLIENT INFO": Example("text", "CLIENT", "INFO"),
    "CLIENT KILL": Example("integer", "CLIENT", "KILL", "ID", "999999"),
    "CLIENT LIST": Example("text", "CLIENT", "LIST"),
    "CLIENT NO-EVICT": Example("simple", "CLIENT", "NO-EVICT", "ON"),
    "CLIENT NO-TOUCH": Example("simple", "CLIENT", "NO-TOUCH", "OFF"),
    "CLIENT REPLY": Example("simple", "CLIENT", "REPLY", "ON"),
    "CLIENT SETINFO": Example("simple", "CLIENT", "SETINFO", "LIB-NAME", "tables"),
    "CLIENT SETNAME": Example("simple", "CLIENT", "SETNAME", "tables"),
    "COMMAND": Example("list", "COMMAND"),
    "COMMAND COUNT": Example("integer", "COMMAND", "COUNT"),
    "COMMAND DOCS": Example("map", "COMMAND", "DOCS", "run"),
    "COMMAND INFO": Example("list", "COMMAND", "INFO", "run"),
    "COMMAND LIST": Example("list", "COMMAND", "LIST"),
}


def documented(c):
    """name: arguments, of every command and subcommand."""
    found = {}

    def add(docs):
        for name, doc in docs.items():
            doc = mapping(doc)
            found[name.upper().replace("|", " ")] = [mapping(a) for a in doc.get("arguments", [])]
            add(mapping(doc.get("subcommands", {})))

    add(mapping(c.cmd("COMMAND", "DOCS")))
    return found


def quoted(word):
    return '"%s"' % word if not word or " " in word else word


def first_byte(c):
    while c.at == len(c.buf):
        c._fill()
    return chr(c.buf[c.at])


def show(reply):
    """A reply in a few characters."""
    if isinstance(reply, (list, dict)):
        return "%d" % len(reply)
    shown = text(reply)
    return "null" if shown is None else repr(shown[:12]) if isinstance(shown, str) else str(shown)


def say(d, example, form):
    """Say it in that form, and a PING behind it. The kind of the reply, and the reply."""
    c = d.client(3 if form == "RESP3" else 2)
    fill = {}
    for name, job in (("{queued}", ("SUBMIT", "held", "x")), ("{done}", ("SUBMIT", "p", "echo x"))):
        if name in example.words:
            fill[name] = text(c.cmd(*job))
    if "{done}" in fill:
        c.cmd("RESULT", fill["{done}"], "WAIT", "1m")
    for command in example.before:
        c.cmd(*command)
    words = [fill.get(w, w) for w in example.words]
    if form == "inline":
        c.send_raw(" ".join(quoted(w) for w in words).encode() + b"\nPING\r\n")
    else:
        c.send_raw(encode(*words) + encode("PING"))
    kind = first_byte(c)
    reply = c.read()
    if example.then is None:
        assert c.at_end()
    elif not example.own:
        listens = form == "RESP3" and isinstance(example.then, list)
        assert c.read() == ("PONG" if listens else example.then)
    c.close()
    return kind, reply


def table(capsys, title, columns, rows, width):
    with capsys.disabled():
        print("\n\n%-18s%s" % (title, "".join("%-*s" % (width, name) for name in columns)))
        for name, cells in rows.items():
            print(("%-18s%s" % (name, "".join("%-*s" % (width, cell) for cell in cells))).rstrip())


FORMS = ("RESP2", "RESP3", "inline")


def test_commands_by_forms(start, capsys):
    def daemon():
        return start(pool("p", workers=2), pool("held"))

    d = daemon()
    docs = documented(d.client())
    alone = {name for name in docs if not any(n.startswith(name + " ") for n in docs)}
    assert sorted(alone - set(EXAMPLES)) == [], "teach EXAMPLES these commands"
    assert sorted(set(EXAMPLES) - set(docs)) == [], "there are no such commands"
    d.cmd("PAUSE", "held")
    rows, wrong = {}, []
    for name, example in EXAMPLES.items():
        assert list(example.words[: name.count(" ") + 1]) == name.split()
        rows[name] = []
        for form in FORMS:
            kind, reply = say(daemon() if example.own else d, example, form)
            rows[name].append("%s %s" % (kind, show(reply)))
            if kind != KINDS[example.kind][form == "RESP3"]:
                wrong.append((name, form, kind, reply))
    table(capsys, "command", FORMS, rows, 20)
    assert not wrong


# ---- options ------------------------------------------------------------------------------

# One value that is taken, and what is not.
OPTIONS = {
    "KEY": ("k", ""),
    "TIMEOUT": ("1m", "0"),
    "KEEP": ("1m", "long"),
    "WAIT": ("1m", "-1"),
    "POOL": ("p", "nowhere"),
    "STATE": ("done", "lost"),
    "REASON": ("error", "none"),
    "COUNT": ("5", "0"),
    "AFTER": ("0", "x"),
}


def with_option(name, args, pair, jid):
    """The command's required words, with a pair of words in the place of options."""
    words, placed = name.split(), False
    for arg in args:
        if "optional" not in arg.get("flags", []):
            words.append({"pool": "p", "payload": "echo x", "id": jid}[arg["name"]])
        elif not placed:
            words += pair
            placed = True
    return words


def test_commands_by_options(start, capsys):
    """What DOCS says is taken, all else is refused: no option is ignored."""
    d = start(pool("p"))
    c = d.client()
    done = text(c.cmd("SUBMIT", "p", "echo x"))
    c.cmd("RESULT", done, "WAIT", "1m")
    rows, wrong = {}, []
    for name, args in documented(c).items():
        tokens = {a["token"] for a in args if "token" in a and "optional" in a.get("flags", [])}
        if not tokens & set(OPTIONS):
            continue
        assert tokens <= set(OPTIONS), "teach OPTIONS %s" % (tokens - set(OPTIONS))
        rows[name] = []
        for option, (good, bad) in OPTIONS.items():
            for value in (good, bad):
                words = with_option(name, args, [option, value], done)
                reply = c.cmd(*words)
                code = reply.code if isinstance(reply, Error) else "yes"
                refused = code in ("BADOPTION", "NOPOOL")
                unknown = refused and "is no option of %s; it has" % name in reply.text
                if unknown != (option not in tokens) or refused != (unknown or value == bad):
                    wrong.append((words, reply))
            rows[name].append("-" if unknown else "yes")
    table(capsys, "option", OPTIONS, rows, 9)
    assert len(rows) >= 4 and not wrong


@pytest.mark.parametrize("proto", [2, 3])
def test_options_twice_and_without_a_value(start, proto):
    d = start(pool("p"))
    c = d.client(proto)
    for words, error in {
        ("RUN", "p", "WAIT", "1m", "wait", "1m", "x"): "WAIT is given twice",
        ("RUN", "p", "WAIT", "1m"): "WAIT needs a value (the payload comes last)",
        ("JOBS", "COUNT"): "COUNT needs a value",
    }.items():
        assert c.cmd(*words) == Error("BADOPTION " + error)
