#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker with helpers/preforkd.py; its jobs are those that helper.* all know.

print TEXT    print it, here and by a program, then done
read          what a program finds on standard input, and whether it is told of a protocol
fail TEXT     ERR; retry TEXT, throw TEXT (as an exception, where there are such)
progress, out TEXT, log LEVEL TEXT
lines         a result of two lines; cr: one that ends in CR; big N: N bytes
who           id and attempt
gate PATH     wait for the other end of the FIFO; cancel PATH: and then for CANCEL
exit          end at once
other         is its own result
"""
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../helpers"))
import preforkd  # noqa: E402


def verb_print(job, arg):
    print(arg)
    subprocess.run(["echo", "by echo: " + arg], check=True)
    return "printed"


def verb_read(job, arg):
    script = 'cat; echo "<${PREFORKD_PROTOCOL-none}>"'
    return subprocess.run(["sh", "-c", script], check=True, stdout=subprocess.PIPE).stdout.strip()


def verb_fail(job, arg):
    job.err(arg)


def verb_retry(job, arg):
    raise preforkd.Retry(arg)


def verb_throw(job, arg):
    raise ValueError(arg)


def verb_progress(job, arg):
    job.progress(1, 3, "one\nthird")
    return "after progress"


def verb_out(job, arg):
    job.out(arg)
    return "after out"


def verb_log(job, arg):
    level, text = arg.split(" ", 1)
    preforkd.log(text, int(level))
    return "after log"


def verb_gate(job, arg):
    with open(arg, "rb") as gate:
        return gate.read()


def verb_cancel(job, arg):
    with open(arg, "rb") as gate:
        gate.read()
    while not job.cancelled:
        time.sleep(0.001)
    job.err("given up")


VERBS = {
    "lines": lambda job, arg: "two\nlines",
    "cr": lambda job, arg: "x\r",
    "big": lambda job, arg: "x" * int(arg),
    "who": lambda job, arg: "%s %s" % (job.id, job.attempt),
    "exit": lambda job, arg: sys.exit(3),
    "number": lambda job, arg: 5,
    "nothing": lambda job, arg: None,
    "twice": lambda job, arg: (job.ok("once"), job.ok("twice")),
}
VERBS.update({k[5:]: v for k, v in globals().items() if k.startswith("verb_")})


def work(job):
    verb, _, arg = job.text.partition(" ")
    return VERBS[verb](job, arg) if verb in VERBS else job.payload


if "--loop" in sys.argv:
    for each in preforkd.jobs():
        each.ok(each.text.upper())
else:
    print("starting")
    preforkd.serve(work, jobs=4 if "--four" in sys.argv else 1)
