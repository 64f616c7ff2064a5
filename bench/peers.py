#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench/peers.py - other ways to have N processes do short jobs.

Each does what preforkd is timed with: a payload that names its job goes to one of the
workers, which gives it back, and each reply is looked at. What is from a package and
is not here is skipped. By hand, one or all of them:

    bench/peers.py [-w WORKERS] [-c CONNECTIONS] [-o OUTSTANDING] [-b BYTES] [PEER]...
"""
import argparse
import contextlib
import fcntl
import functools
import glob
import os
import pathlib
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time

from common import PATIENCE, TOP, Mistake, Skipped, background, end, figures

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"


class Peer:
    """One of them. workers are processes; connections those of the client, if it has
    any; window is how many jobs are outstanding on each; payload is their size."""

    name = ""
    packages = ""  # Debian's, with all that it needs
    setting = ""  # in which it is timed: one line
    program = ""  # without which it is not here; a pattern

    ask_version = "--version"

    def version(self):
        """What it says of itself, to the end of the number."""
        argv = [self.find(), self.ask_version]
        r = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
        return re.match(r"\s*(.*?\d[\d.]*|)", r.stdout.decode()).group(1)

    def find(self):
        """Its program. Servers are in sbin, which is not on everyone's PATH."""
        path = os.environ.get("PATH", os.defpath).split(":") + ["/usr/sbin", "/sbin"]
        for folder in path:
            for found in glob.glob(os.path.join(folder, self.program)):
                return found
        raise Skipped("%s is not here (Debian: apt-get install %s)" % (
            self.program, self.packages))

    def start(self, folder, workers, connections, window, payload):
        """A context, in which it runs; yields run(seconds), which gives figures."""
        raise NotImplementedError


# ---- a process a job ------------------------------------------------------------------


class Lines:
    """Feeds lines to a program that gives each back, a number of them outstanding."""

    PIPE = 1 << 20  # bytes; what is outstanding fits, so that no write waits

    def __init__(self, p, window, payload):
        self.p, self.window = p, min(window, self.PIPE // (payload + 1))
        self.fill = b"x" * (payload - 8) + b"\n"
        fcntl.fcntl(p.stdin, fcntl.F_SETPIPE_SZ, self.PIPE)
        self.sent, self.took, self.begun, self.rest = {}, [], 0, b""
        os.set_blocking(p.stdout.fileno(), False)

    def send(self):
        now = time.monotonic_ns()
        names = range(self.begun, self.begun + self.window - len(self.sent))
        self.p.stdin.write(b"".join(b"%08d" % n + self.fill for n in names))
        self.p.stdin.flush()
        self.begun += len(names)
        self.sent.update(dict.fromkeys(names, now))

    def receive(self):
        data = self.p.stdout.read()
        now = time.monotonic_ns()
        if data == b"":
            raise Mistake("%s has ended" % self.p.args[0])
        *lines, self.rest = (self.rest + (data or b"")).split(b"\n")
        for line in lines:
            if line[8:] + b"\n" != self.fill or int(line[:8]) not in self.sent:
                raise Mistake("not a payload: %r" % line[:100])
            self.took.append(now - self.sent.pop(int(line[:8])))

    def go_on(self, selector):
        self.send()
        if not selector.select(PATIENCE):
            raise Mistake("%s: no job in %d s" % (self.p.args[0], PATIENCE))
        self.receive()

    def run(self, seconds):
        """Its own start is not timed: the clock is set with the first lines back."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.p.stdout, selectors.EVENT_READ)
            while not self.took:
                self.go_on(selector)
            self.took.clear()
            begin = time.monotonic()
            while time.monotonic() < begin + seconds or not self.took:
                self.go_on(selector)
            elapsed = time.monotonic() - begin
        took = sorted(self.took)
        return {
            "jobs/s": len(took) / elapsed,
            "p50 us": took[len(took) // 2] / 1e3,
            "p99 us": took[len(took) * 99 // 100] / 1e3,
        }


class ProcessAJob(Peer):
    LONGEST = 4095  # bytes: more than that, with its end, echo does not write at once

    def command(self, workers):
        raise NotImplementedError

    @contextlib.contextmanager
    def start(self, folder, workers, connections, window, payload):
        if payload > self.LONGEST:
            raise Skipped("lines of over %d bytes get mixed" % self.LONGEST)
        argv = [self.find(), *self.command(workers)]
        pipe = subprocess.PIPE
        more = {"stdin": pipe, "stdout": pipe, "env": dict(os.environ, HOME=str(folder))}

        def run(seconds):
            p = subprocess.Popen(argv, **more)
            try:
                result = Lines(p, connections * window, payload).run(seconds)
                p.communicate()
            finally:
                end(p)
            return result

        yield run


class Xargs(ProcessAJob):
    name = "xargs"
    packages = "findutils"
    program = "xargs"
    setting = "xargs -d '\\n' -n1 -P WORKERS echo"

    def command(self, workers):
        return ["-d", "\\n", "-n1", "-P", str(workers), "echo"]


class Parallel(ProcessAJob):
    name = "parallel"
    packages = "parallel"
    program = "parallel"
    setting = "parallel -j WORKERS --ungroup echo"

    def command(self, workers):
        return ["--will-cite", "-j", str(workers), "--ungroup", "echo"]


# ---- Python ---------------------------------------------------------------------------


class Pool(Peer):
    name = "pool"
    packages = "python3"
    program = PYTHON
    setting = "multiprocessing.Pool(WORKERS).imap_unordered(), chunksize 1, as much" \
        " outstanding as it takes"

    @contextlib.contextmanager
    def start(self, folder, workers, connections, window, payload):
        chunk = 1 if connections * window > 1 else 0
        argv = [self.find(), HERE / "peers/pool.py", workers, payload, chunk]
        pipe = subprocess.PIPE
        with background(argv, stdin=pipe, stdout=pipe) as p:

            def run(seconds):
                p.stdin.write(b"%g\n" % seconds)
                p.stdin.flush()
                line = p.stdout.readline().decode()
                if not line:
                    raise Mistake("the pool has ended")
                return figures(line)

            yield run


# ---- servers between a client and workers, both in C ----------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(where):
    """Does anybody take connections there, at a port or a path?"""
    port = isinstance(where, int)
    with socket.socket(socket.AF_INET if port else socket.AF_UNIX) as s:
        return s.connect_ex(("127.0.0.1", where) if port else str(where)) == 0


class Server(Peer):
    wire = ""  # what bench/peers/client and worker call it

    def where(self, folder):
        """Where it listens: a path, or a port."""
        return folder / "socket"

    def command(self, folder, where, workers):
        """Its arguments."""
        raise NotImplementedError

    def workers(self, where, workers):
        """The commands of its workers."""
        return [[TOP / "bench/peers/worker", self.wire, where]] * workers

    def client(self, workers, connections, window):
        """The options of the client."""
        return ["-c", connections, "-w", window]

    @contextlib.contextmanager
    def start(self, folder, workers, connections, window, payload):
        where = self.where(folder)
        server = [self.find(), *self.command(folder, where, workers)]
        client = [TOP / "bench/peers/client", *self.client(workers, connections, window)]

        if not client[0].exists():
            raise Mistake("not here: %s (make bench)" % client[0])

        def run(seconds):
            argv = [*client, "-b", payload, "-t", seconds, self.wire, where]
            try:
                return figures(subprocess.run(
                    list(map(str, argv)), stdout=subprocess.PIPE, check=True, text=True,
                    timeout=seconds + PATIENCE).stdout)
            except subprocess.SubprocessError as e:
                raise Mistake("%s: %s" % (self.name, e)) from None

        with contextlib.ExitStack() as stack:
            log = stack.enter_context(open(folder / "log", "wb"))
            start = functools.partial(background, stdout=log, stderr=log)
            stack.enter_context(start(server, lambda: listens(where)))
            for worker in self.workers(where, workers):
                stack.enter_context(start(worker))
            yield run


class Gearmand(Server):
    name = "gearmand"
    packages = "gearman-job-server"
    program = "gearmand"
    wire = "gearman"
    setting = "gearmand -t 0 (no threads beside its own), on a TCP port of the machine"

    def where(self, folder):
        return free_port()

    def command(self, folder, where, workers):
        return ["-L", "127.0.0.1", "-p", where, "-t", 0, "-l", folder / "gearmand.log",
                "-P", folder / "gearmand.pid"]


class Beanstalkd(Server):
    name = "beanstalkd"
    packages = "beanstalkd"
    program = "beanstalkd"
    ask_version = "-v"
    wire = "beanstalk"
    setting = "a job tube, and a reply tube each client, on a UNIX socket; put, delete and" \
        " reserve in one write"

    def command(self, folder, where, workers):
        return ["-l", "unix:%s" % where, "-z", 1 << 24]


class Redis(Server):
    name = "redis"
    packages = "redis-server"
    program = "redis-server"
    wire = "redis"
    setting = "a job list, and a reply list each client, on a UNIX socket; LPUSH and BRPOP" \
        " in one write; a client with a window takes all that is there by BLMPOP"

    def command(self, folder, where, workers):
        return ["--port", 0, "--unixsocket", where, "--save", "", "--appendonly", "no",
                "--dir", folder]


class PhpFpm(Server):
    name = "php-fpm"
    packages = "php-fpm"
    program = "php-fpm*"
    ask_version = "-v"
    wire = "fastcgi"
    setting = "pm.static with WORKERS, opcache; a connection that is kept to each process," \
        " over which its requests are pipelined"
    CONF = """
[global]
error_log = {0}/php.log
daemonize = no
[bench]
listen = {1}
pm = static
pm.max_children = {2}
"""

    def command(self, folder, where, workers):
        conf = folder / "php-fpm.conf"
        conf.write_text(self.CONF.format(folder, where, workers))
        settings = ["zend_extension=opcache", "opcache.enable=1", "opcache.validate_timestamps=0",
                    "enable_post_data_reading=0", "expose_php=0", "post_max_size=1G"]
        root = ["--allow-to-run-as-root"] if os.geteuid() == 0 else []
        return ["-n", *[word for s in settings for word in ("-d", s)], "-y", conf, *root]

    def workers(self, where, workers):
        return []

    def client(self, workers, connections, window):
        """With more connections than processes some would never be accepted."""
        outstanding = connections * window
        connections = min(workers, outstanding)
        return ["-c", connections, "-w", -(-outstanding // connections),
                "-q", HERE / "peers/echo.php"]


PEERS = [Gearmand(), Beanstalkd(), Redis(), PhpFpm(), Pool(), Xargs(), Parallel()]


# ---- by hand --------------------------------------------------------------------------


def main():
    peers = {p.name: p for p in PEERS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-w", dest="workers", type=int, default=4, help="processes (4)")
    parser.add_argument("-c", dest="connections", type=int, default=1, help="of the client (1)")
    parser.add_argument("-o", dest="window", type=int, default=32,
                        help="jobs outstanding on each connection (32)")
    parser.add_argument("-b", dest="payload", type=int, default=16, help="bytes of a job (16)")
    parser.add_argument("-t", dest="seconds", type=float, default=2, help="of a run (2)")
    parser.add_argument("-n", type=int, default=1, help="runs of each (1)")
    parser.add_argument("peer", nargs="*", choices=[[], *peers], help="which (all)")
    o = parser.parse_args()
    for name in o.peer or peers:
        peer = peers[name]
        with tempfile.TemporaryDirectory(prefix="bench.") as folder:
            try:
                print("%s: %s: %s" % (name, peer.version(), peer.setting), flush=True)
                with peer.start(pathlib.Path(folder), o.workers, o.connections, o.window,
                                o.payload) as run:
                    for _ in range(o.n):
                        said = run(o.seconds)
                        print("  " + ", ".join("%s %.0f" % f for f in said.items()), flush=True)
            except Skipped as e:
                print("%s: skipped: %s" % (name, e))


if __name__ == "__main__":
    try:
        main()
    except (Mistake, OSError) as e:
        sys.exit("bench: %s" % e)
