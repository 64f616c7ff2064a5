# SPDX-License-Identifier: MIT
"""The cases of bench/run: what is compared with what, and what is to come of it.

A case is a context that yields its sides by name, functions that do the work once and
give figures. The first side is preforkd's; the first figure is what is shown first.
"""
import contextlib
import functools
import getpass
import json
import shutil
import socket
import subprocess
import time

import peers
from common import Mistake, Skipped, background
from sides import (ECHO, FLOOD, PREFORKCTL, PREFORKD, SPAWN, Control, Shape, calls_per_job,
                   conf_write, floor, instructions_per_job, listens, preforkd, redis_benchmark,
                   redis_server, run_waiting, timed)

CASES = {}
SHOWN = {"pool": "multiprocessing.Pool", "redis": "Redis lists"}


class Target:
    """A figure of the first side (or of side), at least or at most as many times another's;
    or so much in itself."""

    def __init__(self, least, bound, figure="jobs/s", of=None, side=None):
        self.least, self.bound, self.figure, self.of, self.side = least, bound, figure, of, side

    def met(self, value):
        return value >= self.bound if self.least else value <= self.bound

    def __str__(self):
        number = "{:,}".format(self.bound)
        text = "%s %s" % ("≥" if self.least else "≤", number + " ×" if self.of else number)
        return text + " " + (self.of or self.figure)


at_least = functools.partial(Target, True)
at_most = functools.partial(Target, False)


def case(name, *targets, pairs=7):
    """A function becomes a case; its first line says what it does."""

    def become(function):
        make = contextlib.contextmanager(function)
        make.text, make.targets, make.pairs = function.__doc__, targets, pairs
        CASES[name] = make
        return make

    return become


class Sides(contextlib.ExitStack):
    """Sides that are added one by one; those that are not here are said to be skipped."""

    def __init__(self, folder, options):
        super().__init__()
        self.folder, self.options, self.all = folder, options, {}

    def try_add(self, name, make):
        try:
            self.all[name] = make()
        except Skipped as e:
            print("  %s: skipped: %s" % (name, e))

    def serve(self, name, context, shape):
        self.all[name] = self.enter_context(context).side(shape, self.options)

    def peer(self, name, *how):
        for peer in peers.PEERS:
            if peer.name == name:
                folder = self.folder / ("peer%d" % len(self.all))
                folder.mkdir()
                run = self.enter_context(peer.start(folder, *how))
                return lambda: run(self.options.seconds)
        raise Skipped("there is no such peer")

    def try_peer(self, name, *how):
        self.try_add(SHOWN.get(name, name), lambda: self.peer(name, *how))


# ---- rate and latency -------------------------------------------------------------------

PIPED = 'channel = "pipe";'


def against_floor(name, text, shape, *targets, workers=4, pipeline=1):
    """A case of preforkd, and of preforkd with pipes, against the floor."""

    def sides_of(folder, options):
        with Sides(folder, options) as sides:
            sides.serve("preforkd", preforkd(folder, workers, pipeline), shape)
            sides.serve("floor", floor(folder, workers, pipeline), shape)
            sides.serve("preforkd, pipes", preforkd(folder, workers, pipeline, more=PIPED), shape)
            yield sides.all

    sides_of.__doc__ = text
    case(name, *targets)(sides_of)


UNPIPELINED = Shape(1, 32)
PIPELINED = Shape(1, 1024)
PIPELINES = Shape(4, 64)
ONE = Shape(1, 1)
LARGER = Shape(1, 256, 4096)
LARGER_EACH = Shape(8, 32, 4096)
LARGE = Shape(1, 8, 1 << 20)


@case("unpipelined", at_least(0.85, of="floor"), at_least(1.2, of="multiprocessing.Pool"))
def unpipelined(folder, options):
    """4 workers, a job at a time each; 32 RUNs of 16 B outstanding on one connection"""
    with Sides(folder, options) as sides:
        sides.serve("preforkd", preforkd(folder), UNPIPELINED)
        sides.serve("floor", floor(folder), UNPIPELINED)
        sides.serve("preforkd, pipes", preforkd(folder, more=PIPED), UNPIPELINED)
        sides.try_peer("pool", 4, 1, 32, 16)
        yield sides.all


@case("connections", at_least(0.6, of="floor"), at_least(2.5, of="gearmand"),
      at_least(5, of="beanstalkd"), at_least(5, of="Redis lists"))
def connections(folder, options):
    """the same with 32 connections, one RUN on each: redis-benchmark -c 32 (the floor: load);
    and all the others that could do it"""
    shape = Shape(32, 1)
    with Sides(folder, options) as sides:
        server = sides.enter_context(preforkd(folder))
        sides.all["preforkd"] = redis_benchmark(
            server.path, options, 32, 1, "RUN", "echo", "0123456789abcdef")
        sides.serve("floor", floor(folder), shape)
        sides.all["preforkd, load"] = server.side(shape, options)
        for peer in peers.PEERS:
            sides.try_peer(peer.name, 4, 32, 1, 16)
        yield sides.all


against_floor("pipelined", "2 workers, 128 jobs at each; 1,024 RUNs of 16 B outstanding",
              PIPELINED, at_least(0.5, of="floor"), at_least(1000000), workers=2, pipeline=128)


@case("ping", at_least(0.8, of="PING"))
def ping(folder, options):
    """redis-benchmark -c 4 -P 64: a RUN through 2 workers, 128 jobs at each, against a PING that
    redis-server answers itself; and the same RUNs by load, to preforkd and the floor"""
    with Sides(folder, options) as sides:
        server = sides.enter_context(preforkd(folder, 2, 128))
        sides.all["preforkd"] = redis_benchmark(
            server.path, options, 4, 64, "RUN", "echo", "0123456789abcdef")
        redis = sides.enter_context(redis_server(folder))
        sides.all["PING"] = redis_benchmark(redis, options, 4, 64, "PING")
        sides.all["PING of preforkd"] = redis_benchmark(server.path, options, 4, 64, "PING")
        sides.all["preforkd, load"] = server.side(PIPELINES, options)
        sides.serve("floor, load", floor(folder, 2, 128), PIPELINES)
        yield sides.all


against_floor("latency", "one RUN of 16 B at a time", ONE,
              at_most(1.25, figure="p50 us", of="floor"))
against_floor("4k", "4 workers, 32 jobs at each; 256 RUNs of 4 KiB outstanding", LARGER,
              at_least(0.7, of="floor"), pipeline=32)
against_floor("4k-each", "the same with 8 connections, 32 RUNs on each", LARGER_EACH,
              at_least(0.5, of="floor"), pipeline=32)
against_floor("1m", "4 workers, a job at a time each; 8 RUNs of 1 MiB outstanding", LARGE,
              at_least(0.6, figure="MB/s", of="floor"))

# ---- many ---------------------------------------------------------------------------------


@case("thousand", at_least(0.8, of="4 workers"))
def thousand(folder, options):
    """1,000 clients with one RUN each, 1,000 workers against 4"""
    shape = Shape(1000, 1)
    with Sides(folder, options) as sides:
        sides.serve("1,000 workers", preforkd(folder, 1000), shape)
        sides.serve("4 workers", preforkd(folder, 4), shape)
        sides.serve("floor, 1,000", floor(folder, 1000), shape)
        sides.serve("floor, 4", floor(folder, 4), shape)
        yield sides.all


@case("dispatch", at_most(1.1, figure="instructions/job", of="4 workers"), pairs=1)
def dispatch(folder, options):
    """instructions a job (callgrind), 1,000 RUNs outstanding on one connection"""

    def count(workers):
        make = functools.partial(preforkd, folder, workers)
        return {"instructions/job": instructions_per_job(folder, make, Shape(1, 1000), 10000)}

    yield {"1,000 workers": lambda: count(1000), "64 workers": lambda: count(64),
           "4 workers": lambda: count(4)}


@case("costs", pairs=1)
def costs(folder, options):
    """what a job costs the daemon, counted (strace -c, callgrind; both slow it, so that
    batches are larger than usual)"""
    shapes = {"unpipelined": (UNPIPELINED, 4, 1), "connections": (Shape(32, 1), 4, 1),
              "pipelined": (PIPELINED, 2, 128), "one at a time": (ONE, 4, 1),
              "4 KiB": (LARGER, 4, 32), "SUBMIT": (Shape(1, 1024, 16, True), 2, 128)}

    def count(make, shape, jobs):
        figures = {"instructions/job": instructions_per_job(folder, make, shape, jobs // 2)}
        with make() as server:
            server.load(shape, "-n", 5000)
            calls = calls_per_job(server, shape, jobs)
        figures["calls/job"] = sum(calls.values())
        for name, n in sorted(calls.items(), key=lambda call: -call[1])[:4]:
            figures[name] = n
        return figures

    sides = {}
    for name, (shape, workers, pipeline) in shapes.items():
        jobs = 20000 if pipeline == 1 else 100000
        for who, make in (("", preforkd), ("floor, ", floor)):
            if not (shape.submit and make is floor):
                sides[who + name] = functools.partial(
                    count, functools.partial(make, folder, workers, pipeline), shape, jobs)
    yield sides


# ---- the queue ------------------------------------------------------------------------------

SUBMIT = Shape(1, 1024, 16, True)


@contextlib.contextmanager
def paused(folder):
    with preforkd(folder, 1) as server, Control(server.path) as control:
        control.call("PAUSE", "echo")
        yield server


def beanstalkd_bytes(folder, jobs):
    """Resident bytes a job of 16 B in a tube of beanstalkd."""
    path = folder / "beanstalkd"
    path.unlink(missing_ok=True)
    argv = ["beanstalkd", "-l", "unix:%s" % path]
    with background(argv, listens(path)) as p, socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        replies = s.makefile("rb")

        def resident():
            with open("/proc/%d/statm" % p.pid, encoding="ascii") as f:
                return int(f.read().split()[1]) * 4096

        before = resident()
        for _ in range(jobs // 1000):
            s.sendall(b"put 0 0 60 16\r\n0123456789abcdef\r\n" * 1000)
            for _ in range(1000):
                if not replies.readline().startswith(b"INSERTED"):
                    raise Mistake("beanstalkd does not take a job")
        return (resident() - before) / jobs


@case("queue", at_most(160, figure="bytes/job"),
      at_least(0.9, of="an empty queue"), pairs=3)
def queue(folder, options):
    """SUBMITs of 16 B to a pool that is paused: 1,000,000 in its queue"""
    jobs, some = options.lines or 1000000, (options.lines or 1000000) // 5
    rates = {}

    def full():
        with paused(folder) as server:
            server.load(SUBMIT, "-n", 1000)
            before = server.rss()
            rates["empty"] = server.load(SUBMIT, "-n", some)["jobs/s"]
            server.load(SUBMIT, "-n", jobs - some)
            size = (server.rss() - before) / jobs
            return {"bytes/job": size, "jobs/s": server.load(SUBMIT, "-n", some)["jobs/s"]}

    sides = {"preforkd": full, "an empty queue": lambda: {"jobs/s": rates["empty"]}}
    if shutil.which("beanstalkd"):
        sides["beanstalkd"] = lambda: {"bytes/job": beanstalkd_bytes(folder, jobs)}
    yield sides


@case("submit", at_least(1000000))
def submit(folder, options):
    """SUBMITs of 16 B, 1,024 outstanding on one connection, into a pool that is paused; and to
    one of 2 workers, 128 jobs at each, that does them meanwhile"""

    def into_queue():
        with paused(folder) as server:
            server.load(SUBMIT, "-n", 1000)
            return server.load(SUBMIT, "-n", 1000000)

    with preforkd(folder, 2, 128) as server:
        yield {"preforkd": into_queue,
               "preforkd, working": lambda: server.load(SUBMIT, "-n", 1000000)}


# ---- memory and start -------------------------------------------------------------------------


@case("memory", at_most(4096, figure="KiB"), at_most(8, figure="KiB/client"),
      at_most(16, figure="KiB/worker"), pairs=3)
def memory(folder, options):
    """resident memory of the daemon: 4 idle workers, 1,000 idle clients more, 500 workers more"""
    clients, workers = 1000, 500

    def run():
        with preforkd(folder) as server, Control(server.path) as control, \
                contextlib.ExitStack() as stack:
            alone = server.rss()
            for _ in range(clients):
                stack.enter_context(Control(server.path)).call("PING")
            crowd = server.rss()
            control.call("SCALE", "echo", 4 + workers)
            control.await_up(4 + workers)
            control.call("PING")
            full = server.rss()
        return {"KiB": alone / 1024, "KiB/client": (crowd - alone) / clients / 1024,
                "KiB/worker": (full - crowd) / workers / 1024}

    yield {"preforkd": run}


@case("start", at_most(2, figure="ms", of="bare loop"))
def start(folder, options):
    """64 workers, from the start of the program until all of them have said READY"""
    ready = "start = { ready = true; };"

    def ours():
        conf, path = conf_write(folder, 64, 1, (ECHO, "ready"), ready)
        begin = time.monotonic()
        with background([PREFORKD, *conf], listens(path)), Control(path) as control:
            control.await_up(64)
            return {"ms": 1000 * (time.monotonic() - begin)}

    def theirs():
        begin = time.monotonic()
        run_waiting([SPAWN, 64, ECHO, "ready"])
        return {"ms": 1000 * (time.monotonic() - begin)}

    yield {"preforkd": ours, "bare loop": theirs}


# ---- beside a flood -----------------------------------------------------------------------------

REST = 1  # s: then memory that is free has been given back

# Of the first pool the end, and a second one.
FULL = """run_as = {{ user = "{0}"; }}; }},
  {{ name = "full"; command = [ "{1}" ]; workers = 1; queue = {{ limit = 0; }};"""


@case("flood", at_most(3, figure="p99 us", of="alone"),
      at_most(3, figure="p99 us", of="alone", side="RUNs refused"),
      at_most(256, figure="KiB more"), at_most(256, figure="KiB more", side="RUNs refused"))
def flood(folder, options):
    """a bystander that RUNs one job at a time, beside a client that sends PINGs, or RUNs that a
    full queue refuses, as fast as it can"""
    more = FULL.format(getpass.getuser(), ECHO)
    with preforkd(folder, 2, more=more) as server, Control(server.path) as control:
        control.call("PAUSE", "full")
        server.side(ONE, options)

        def beside(*what):
            argv = [FLOOD, "-s", server.path, "-c", 1, *what]
            time.sleep(REST)
            before = server.rss()
            with background(argv):
                figures = {"p99 us": None, **server.load(ONE, "-t", options.seconds)}
            time.sleep(REST)
            figures["KiB more"] = (server.rss() - before) / 1024
            return figures

        yield {"PINGs": beside, "RUNs refused": lambda: beside("-p", "full"),
               "alone": lambda: {"p99 us": None, **server.load(ONE, "-t", options.seconds)}}


# ---- preforkctl map, instead of others ------------------------------------------------------------


def put_lines(path, lines):
    with open(path, "w", encoding="ascii") as f:
        f.writelines("line %011d\n" % i for i in range(lines))
    return path


@case("map", at_least(0.5, figure="lines/s", of="pipelined"), pairs=5)
def map_echo(folder, options):
    """1,000,000 lines of 16 B through preforkctl map, in order, against as many pipelined RUNs to
    the same pool: 2 workers, 128 jobs at each"""
    lines = options.lines or 1000000
    source = put_lines(folder / "lines", lines)

    with preforkd(folder, 2, 128) as server:
        def ours():
            argv = [PREFORKCTL, "-s", server.path, "map", "echo"]
            figures = timed(argv, lines, source, folder / "out")
            if subprocess.run(["cmp", source, folder / "out"], check=False).returncode != 0:
                raise Mistake("the output is not the input")
            return figures

        def theirs():
            return {"lines/s": server.load(PIPELINED, "-n", lines)["jobs/s"]}

        server.side(PIPELINED, options)
        yield {"preforkctl map": ours, "pipelined": theirs}


@case("jq", at_least(100, figure="lines/s", of="xargs"), pairs=1)
def map_jq(folder, options):
    """2,000 lines of JSON: map -j2 --filter -- jq -c --unbuffered .name, against xargs with a jq
    for each of the first 200"""
    if not shutil.which("jq"):
        raise Skipped("jq is not here (Debian: apt-get install jq)")
    rows = [json.dumps({"id": i, "name": "name %d" % i, "tags": ["x"] * (i % 5)}) + "\n"
            for i in range(2000)]
    ours = [PREFORKCTL, "map", "-j2", "--filter", "--", "jq", "-c", "--unbuffered", ".name"]
    # The line as an argument, so that there is no shell or pipe to pay for besides jq.
    theirs = ["xargs", "-d", "\\n", "-n1", "jq", "-nc", "$ARGS.positional[0].name", "--jsonargs"]

    def side(argv, count):
        source, output = folder / "lines", folder / "out"
        source.write_text("".join(rows[:count]))
        figures = timed(argv, count, source, output)
        if output.read_text() != "".join('"name %d"\n' % i for i in range(count)):
            raise Mistake("not the output that was expected")
        return figures

    yield {"preforkctl map": lambda: side(ours, 2000), "xargs": lambda: side(theirs, 200)}


# As short as a job in a shell can be: what is timed is what stands around it.
SHELL = 'while read -r line; do echo "OK $line"; done'


def short_jobs(name, text, bound, ours, lines, theirs, few):
    """A case: map, against others that give each line back, in any order."""

    def sides_of(folder, options):
        if not shutil.which(theirs[0]):
            raise Skipped("%s is not here" % theirs[0])

        def side(argv, count):
            source = put_lines(folder / "lines", count)
            output = folder / "out"
            figures = timed(argv, count, source, output)
            if sorted(output.read_bytes().split(b"\n")) != sorted(
                    source.read_bytes().split(b"\n")):
                raise Mistake("the output is not the input: %s" % argv[0])
            return figures

        yield {"preforkctl map": lambda: side([PREFORKCTL, "map", "-j2", "--no-progress", *ours],
                                              options.lines or lines),
               theirs[0]: lambda: side(theirs, min(few, options.lines or few))}

    sides_of.__doc__ = text
    case(name, at_least(bound, figure="lines/s", of=theirs[0]), pairs=3)(sides_of)


XARGS = ["xargs", "-d", "\\n", "-n1", "-P2", "echo"]
short_jobs("short", "lines given back by 2 shells that stay, against an echo a line",
           5, ["--", "sh", "-c", SHELL], 20000, XARGS, 2000)
short_jobs("parallel", "the same against parallel, in order too",
           20, ["--", "sh", "-c", SHELL], 20000, ["parallel", "-j2", "-k", "echo"], 500)
short_jobs("each", "lines given back by an echo a line on both sides",
           0.5, ["--each", "--", "echo", "{}"], 2000, XARGS, 2000)
