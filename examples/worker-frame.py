#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker at level frame: jobs are counted bytes, several at once, answered in any order.

A job is any bytes, its result the same bytes compressed (zlib). Pool file: frame.conf.

    redis-cli -s /run/preforkd/control.sock -x RUN frame < document > document.z
"""
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

THREADS = 4  # the pool's pipeline
channel_in, channel_out = sys.stdin.buffer, sys.stdout.buffer
one_answer_at_a_time = threading.Lock()


def answer(verb, job, body):
    with one_answer_at_a_time:
        channel_out.write(b"%s %s %d\n%s\n" % (verb, job, len(body), body))
        channel_out.flush()


def work(job, payload):
    try:
        answer(b"OK", job, zlib.compress(payload, 9))
    except Exception as why:
        answer(b"ERR", job, str(why).encode())


with ThreadPoolExecutor(THREADS) as threads:
    for header in channel_in:
        verb, job, *rest = header.split()
        if verb == b"JOB":  # JOB id attempt len
            payload = channel_in.read(int(rest[1]))
            channel_in.read(1)
            threads.submit(work, job, payload)
        # CANCEL id: these jobs are short, so they are answered as if nothing had been said
