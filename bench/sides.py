# SPDX-License-Identifier: MIT
"""The sides of the cases: preforkd and the floor under load, and what a job costs them."""
import collections
import contextlib
import getpass
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import time

from common import PATIENCE, TOP, Mistake, Skipped, background

PREFORKD = TOP / "preforkd"
PREFORKCTL = TOP / "preforkctl"
FLOOR = TOP / "bench/floor"
FLOOD = TOP / "bench/flood"
LOAD = TOP / "bench/load"
ECHO = TOP / "bench/echo"
SPAWN = TOP / "bench/spawn"
PIDFDS = TOP / "bench/pidfds.so"

CONF = """
control = {{ listen = "{socket}"; client_memory = "64M"; }};
log = {{ level = "warning"; }};
pool_dir = "";
pools = (
  {{ name = "echo"; command = [ {command} ]; workers = {workers}; pipeline = {pipeline};
     queue = {{ limit = 2000000; memory = "1G"; }};
     job = {{ max_payload = "8M"; }};
     {more}
     run_as = {{ user = "{user}"; }}; }}
);
"""

#   how load asks: connections, jobs outstanding on each, bytes of a payload
Shape = collections.namedtuple("Shape", "connections window bytes submit", defaults=[16, False])


def run_waiting(argv, **more):
    """Run a program, and say how, and with how much processor time (us)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    r = subprocess.run(list(map(str, argv)), check=False, **more)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if r.returncode != 0:
        raise Mistake("exit status %d: %s" % (r.returncode, shlex.join(r.args)))
    return r, spent * 1e6


def timed(argv, lines, stdin, stdout):
    """Run a program over a file of lines, and say how it went."""
    start = time.monotonic()
    with open(stdin, "rb") as i, open(stdout, "wb") as o:
        cpu = run_waiting(argv, stdin=i, stdout=o)[1]
    took = time.monotonic() - start
    return {"lines/s": lines / took, "seconds": took, "cpu us/line": cpu / lines}


def listens(path):
    """A condition: somebody takes connections there."""

    def condition():
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(str(path)) == 0

    return condition


# ---- a server: preforkd, or the floor ---------------------------------------------------


class Server:
    """One that has been started; pool is None for the floor."""

    def __init__(self, p, path, pool):
        self.p, self.path, self.pool = p, path, pool

    def cpu_us(self):
        """Processor time so far of the server (with one thread), and of its workers."""
        proc = pathlib.Path("/proc")
        children = (proc / ("%d/task/%d/children" % (self.p.pid, self.p.pid))).read_text()
        times = [int((proc / str(pid) / "schedstat").read_text().split()[0]) / 1000
                 for pid in [self.p.pid, *children.split()]]
        return times[0], sum(times[1:])

    def rss(self):
        """Bytes resident."""
        pages = pathlib.Path("/proc/%d/statm" % self.p.pid).read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def load(self, shape, *how):
        """Put load on it, and say what load says, and what a job costs it, and all."""
        argv = [LOAD, "-s", self.path, "-c", shape.connections, "-w", shape.window]
        argv += ["-b", shape.bytes, *(["-p", self.pool] if self.pool else [])]
        argv += ["-S"] if shape.submit else []
        own, workers = self.cpu_us()
        r, client = run_waiting([*argv, *how], stdout=subprocess.PIPE, text=True)
        own_after, workers_after = self.cpu_us()
        said = {k: float(v) for k, v in (word.split("=") for word in r.stdout.split())}
        own = own_after - own
        figures = {"jobs/s": said["rate"], "p50 us": said["p50_us"], "p99 us": said["p99_us"]}
        if shape.bytes >= 4096:
            figures["MB/s"] = said["mb_s"]
        figures["own us/job"] = own / said["jobs"]
        figures["all us/job"] = (own + workers_after - workers + client) / said["jobs"]
        return figures

    def side(self, shape, options):
        """A side of a case: memory is warm, all workers are up."""
        warm = 5000 if shape.bytes < 65536 else 50
        self.load(shape, "-n", max(warm, 4 * shape.connections * shape.window))
        return lambda: self.load(shape, "-t", options.seconds)


class Control:
    """A connection to the control socket, one command at a time."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(str(path))
        self.f = self.s.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.f.close()
        self.s.close()

    def call(self, *words):
        words = [str(w).encode() for w in words]
        self.s.sendall(b"*%d\r\n" % len(words) +
                       b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.reply()

    def reply(self):
        line = self.f.readline().decode()
        kind, rest = line[:1], line[1:].strip()
        if kind == "-" or not line:
            raise Mistake("preforkd says: %s" % rest)
        if kind == "$":
            return self.f.read(int(rest) + 2)[:-2].decode() if int(rest) >= 0 else None
        if kind == "*":
            return [self.reply() for _ in range(int(rest))]
        return int(rest) if kind == ":" else rest

    def pool(self):
        words = self.call("POOL", "echo")
        return dict(zip(words[::2], words[1::2]))

    def await_up(self, workers):
        give_up = time.monotonic() + 6 * PATIENCE
        while self.pool()["up"] < workers:
            if time.monotonic() > give_up:
                raise Mistake("the workers do not start")
            time.sleep(0.001)


def conf_write(folder, workers, pipeline, command, more):
    """A configuration; gives the options that take it, and its socket."""
    number = len(list(folder.glob("conf*")))
    path = folder / ("sock%d" % number)
    (folder / ("conf%d" % number)).write_text(CONF.format(
        socket=path, command=", ".join('"%s"' % w for w in command), workers=workers,
        pipeline=pipeline, more=more, user=getpass.getuser()))
    return ["-c", folder / ("conf%d" % number)], path


@contextlib.contextmanager
def preforkd(folder, workers=4, pipeline=1, command=(ECHO,), more="", under=()):
    """A daemon with a pool named echo; under is a program that runs it, if any."""
    conf, path = conf_write(folder, workers, pipeline, command, more)
    with background([*under, PREFORKD, *conf], listens(path)) as p:
        with Control(path) as control:
            control.await_up(workers)
        yield Server(p, path, "echo")


@contextlib.contextmanager
def floor(folder, workers=4, pipeline=1, under=()):
    path = folder / ("floor%d.%d" % (workers, pipeline))
    argv = [*under, FLOOR, path, workers, pipeline, ECHO]
    path.unlink(missing_ok=True)
    with background(argv, listens(path)) as p:
        yield Server(p, path, None)


# ---- redis ------------------------------------------------------------------------------


@contextlib.contextmanager
def redis_server(folder):
    if not shutil.which("redis-server"):
        raise Skipped("redis-server is not here (Debian: apt-get install redis-server)")
    path = folder / "redis"
    argv = ["redis-server", "--port", 0, "--unixsocket", path, "--save", "", "--appendonly", "no"]
    argv += ["--dir", folder, "--loglevel", "warning"]
    with background(argv, listens(path), stdout=subprocess.DEVNULL):
        yield path


def redis_benchmark(path, options, connections, pipeline, *words):
    """A side: redis-benchmark, which has a number of requests, not a time."""
    if not shutil.which("redis-benchmark"):
        raise Skipped("redis-benchmark is not here (Debian: apt-get install redis-tools)")

    def run(requests):
        argv = ["redis-benchmark", "-s", path, "-c", connections, "-P", pipeline, "-n", requests]
        r = run_waiting([*argv, "--csv", *words], stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL, text=True)[0]
        keys, values = (line.strip('"').split('","') for line in r.stdout.splitlines()[-2:])
        said = dict(zip(keys, values))
        return {"jobs/s": float(said["rps"]), "p50 us": 1000 * float(said["p50_latency_ms"]),
                "p99 us": 1000 * float(said["p99_latency_ms"])}

    run(10000)
    requests = int(run(20000 * (1 if pipeline == 1 else 10))["jobs/s"] * options.seconds)
    return lambda: run(requests)


# ---- what a job costs, counted ------------------------------------------------------------


def calls_per_job(server, shape, jobs):
    """System calls, by name, of the server alone."""
    if not shutil.which("strace"):
        raise Skipped("strace is not here (Debian: apt-get install strace)")
    out = server.path.parent / "strace"
    argv = ["strace", "-c", "-U", "name,calls", "-f", "-o", str(out), "-p", str(server.p.pid)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as strace:
        strace.stderr.readline()  # it is attached
        server.load(shape, "-n", jobs)
        strace.send_signal(signal.SIGINT)
        strace.wait()
    rows = (line.split() for line in out.read_text().splitlines())
    return {row[0]: int(row[1]) / jobs for row in rows
            if len(row) == 2 and row[1].isdigit() and row[0] != "total"}


def instructions(folder, make, shape, jobs):
    """Of a server's whole life with so many jobs."""
    out = folder / "callgrind"
    under = ["env", "LD_PRELOAD=%s" % PIDFDS, "valgrind", "--tool=callgrind", "--callgrind-out-file=%s" % out]
    with make(under=[*under, "--log-file=%s" % (folder / "valgrind")]) as server:
        server.load(shape, "-n", jobs)
    match = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    if not match:
        raise Mistake("callgrind has counted nothing")
    return int(match.group(1))


def instructions_per_job(folder, make, shape, jobs):
    """The difference of two lives, so that start and end drop out."""
    if not shutil.which("valgrind"):
        raise Skipped("valgrind is not here (Debian: apt-get install valgrind)")
    few, many = (instructions(folder, make, shape, n * jobs) for n in (1, 3))
    return (many - few) / (2 * jobs)


def machine():
    """What this was measured on, in lines."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    system = os.uname()
    return ["%d × %s" % (len(os.sched_getaffinity(0)), cpu.group(1) if cpu else system.machine),
            "%s %s" % (system.sysname, system.release)]
