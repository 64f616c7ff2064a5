# SPDX-License-Identifier: MIT
"""What the programs of the bench share: where things are, starting and ending them."""
import contextlib
import os
import pathlib
import shlex
import signal
import subprocess
import time

TOP = pathlib.Path(os.environ.get("PREFORKD_BUILDDIR") or ".").resolve()
PATIENCE = 10  # seconds, for a program to start or to end


class Mistake(Exception):
    """The bench cannot be run, or a side did not do its work."""


class Skipped(Exception):
    """What is compared with is not here."""


def end(p):
    """End a program that was started here, if it is still there."""
    if p.poll() is None:
        p.send_signal(signal.SIGTERM)
        try:
            p.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


def await_true(condition, p):
    """Wait until the condition holds, which the program p is to bring about."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        if p.poll() is not None or time.monotonic() > give_up:
            raise Mistake("does not start: %s" % shlex.join(p.args))
        time.sleep(0.005)


@contextlib.contextmanager
def background(argv, ready=lambda: True, **more):
    """A program that runs as long as the block lasts, from when it is ready."""
    p = subprocess.Popen(list(map(str, argv)), **more)
    try:
        await_true(ready, p)
        yield p
        if p.poll() is not None:
            raise Mistake("has ended: %s" % shlex.join(p.args))
    finally:
        end(p)


def figures(line):
    """What a load generator says: jobs=1 rate=2 p50_us=3 p99_us=4."""
    said = {k: float(v) for k, v in (word.split("=") for word in line.split())}
    return {"jobs/s": said["rate"], "p50 us": said["p50_us"], "p99 us": said["p99_us"]}
