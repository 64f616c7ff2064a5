#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A "frame" worker that has many jobs in hand and answers in any order.

hold TEXT    keep it
deaf TEXT    keep it, and take no notice of its CANCEL
release      answer this one, then all that are kept, the newest first
attempt      answer with the attempt's number
id           answer with the job's id
read PATH    answer with a file's bytes
die          exit at once
echo TEXT    answer with TEXT
other        is its own result, byte for byte

A kept job that is cancelled gets ERR. With --exact nothing is read ahead, and the
last byte of a job only when it is over.
"""
import os
import sys

inp, out = sys.stdin.buffer, sys.stdout.buffer
held = []
if "--exact" in sys.argv:
    inp = open(0, "rb", buffering=0)


def answer(verb, job, data):
    out.write(b"%s %s %d\n%s\n" % (verb, job, len(data), data))


def on_job(job, attempt, data):
    verb, _, arg = data.partition(b" ")
    if verb in (b"hold", b"deaf"):
        held.append((job, verb, arg))
    elif verb == b"release":
        answer(b"OK", job, b"released")
        while held:
            kept, _, text = held.pop()
            answer(b"OK", kept, text)
    elif verb == b"attempt":
        answer(b"OK", job, attempt)
    elif verb == b"id":
        answer(b"OK", job, job)
    elif verb == b"read":
        with open(arg, "rb") as f:
            answer(b"OK", job, f.read())
    elif verb == b"die":
        os._exit(9)
    elif verb == b"echo":
        answer(b"OK", job, arg)
    else:
        answer(b"OK", job, data)


def on_cancel(job):
    for entry in held:
        if entry[0] == job and entry[1] == b"hold":
            held.remove(entry)
            answer(b"ERR", job, b"given up")
            return


if "--ready" in sys.argv:
    out.write(b"READY 4\n")
    out.flush()
while True:
    head = inp.readline().split()
    if not head:
        break
    if head[0] == b"JOB":
        on_job(head[1], head[2], inp.read(int(head[3])))
        inp.read(1)
    else:
        on_cancel(head[1])
    out.flush()
