#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pool.py WORKERS BYTES CHUNKSIZE - jobs through Python's multiprocessing.Pool.

For each line of its input, a number of seconds, it has jobs done for that long, and
prints a line as bench/load does. What is outstanding is what the pool itself takes
on, as much as its pipe holds; with a CHUNKSIZE of 0 it is one job at a time. Each
result has to be its job's payload.
"""
import multiprocessing
import sys
import time


def echo(payload):
    return payload


def payloads(size, sent, deadline):
    """Each names itself. Another thread, the pool's own, asks for them."""
    fill = b"x" * (size - 8)
    while time.monotonic() < deadline:
        payload = b"%08d" % len(sent) + fill
        sent.append(time.monotonic_ns())
        yield payload


def run(pool, size, chunk, seconds):
    sent, took, names = [], [], bytearray()
    begin = time.monotonic()
    todo = payloads(size, sent, begin + seconds)
    many = pool.imap_unordered(echo, todo, chunk) if chunk else None
    for result in many or (pool.apply(echo, (payload,)) for payload in todo):
        name = int(result[:8])
        took.append(time.monotonic_ns() - sent[name])
        names += bytes(len(sent) - len(names))
        names[name] += 1
        if len(result) != size or result.strip(b"x") != result[:8]:
            sys.exit("pool.py: not the payload: %r" % result[:100])
    elapsed = time.monotonic() - begin
    if names != b"\1" * len(sent):
        sys.exit("pool.py: not each job once")
    took.sort()
    half, most = took[len(took) // 2] / 1e3, took[len(took) * 99 // 100] / 1e3
    print(
        "jobs=%d seconds=%.3f rate=%.0f p50_us=%.0f p99_us=%.0f"
        % (len(took), elapsed, len(took) / elapsed, half, most),
        flush=True,
    )


def main():
    workers, size, chunk = map(int, sys.argv[1:])
    with multiprocessing.Pool(workers) as pool:
        for line in sys.stdin:
            run(pool, size, chunk, float(line))


main()
