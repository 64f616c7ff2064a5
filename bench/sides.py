# SPDX-License-Identifier: MIT
"""The sides of the cases of bench/run: preforkd and the floor, and what they cost."""
import pathlib
import resource
import shlex
import subprocess
import time

from common import TOP, Mistake, background

PREFORKD = TOP / "preforkd"
PREFORKCTL = TOP / "preforkctl"
FLOOR = TOP / "bench/floor"
LOAD = TOP / "bench/load"
ECHO = TOP / "bench/echo"


def listening(argv, socket):
    """A program that listens at a socket, as long as the block lasts."""
    return background(argv, socket.exists)


def cpu_us(p):
    """Processor time so far of a process (with one thread), and of its children."""
    proc = pathlib.Path("/proc")
    children = (proc / ("%d/task/%d/children" % (p.pid, p.pid))).read_text().split()
    times = [int((proc / str(pid) / "schedstat").read_text().split()[0]) / 1000
             for pid in [p.pid, *children]]
    return times[0], sum(times[1:])


def run_waiting(argv, **more):
    """Run a program, and say how, and with how much processor time (us)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    r = subprocess.run(list(map(str, argv)), check=False, **more)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if r.returncode != 0:
        raise Mistake("exit status %d: %s" % (r.returncode, shlex.join(r.args)))
    return r, spent * 1e6


def load(p, *options):
    """Put load on the program p, and say what load says, and what a job costs p, and all."""
    own, workers = cpu_us(p)
    r, client = run_waiting([LOAD, *options], stdout=subprocess.PIPE, text=True)
    own_after, workers_after = cpu_us(p)
    said = {k: float(v) for k, v in (word.split("=") for word in r.stdout.split())}
    own = own_after - own
    return {
        "jobs/s": said["rate"],
        "p50 us": said["p50_us"],
        "p99 us": said["p99_us"],
        "own us/job": own / said["jobs"],
        "all us/job": (own + workers_after - workers + client) / said["jobs"],
    }


def timed(argv, lines, stdin, stdout):
    """Run a program over a file of lines, and say how it went."""
    start = time.monotonic()
    with open(stdin, "rb") as i, open(stdout, "wb") as o:
        cpu = run_waiting(argv, stdin=i, stdout=o)[1]
    took = time.monotonic() - start
    return {"lines/s": lines / took, "seconds": took, "cpu us/line": cpu / lines}
