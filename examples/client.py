#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Run jobs from Python, with the ordinary Redis client library (Debian: python3-redis).

    client.py SOCKET POOL PAYLOAD...
"""
import sys

import redis

socket, pool, *payloads = sys.argv[1:]
# socket_timeout=None: a job may take longer than the seconds a client library waits by default.
daemon = redis.Redis(unix_socket_path=socket, socket_timeout=None, decode_responses=True)

# One job: its result, or an exception that says what went wrong.
try:
    print("one job:", daemon.execute_command("RUN", pool, payloads[0]))
except redis.ResponseError as why:
    print("one job failed:", why)

# Many: they run side by side, and the results come in the order of the jobs.
pipeline = daemon.pipeline(transaction=False)
for payload in payloads:
    pipeline.execute_command("RUN", pool, payload)
results = pipeline.execute(raise_on_error=False)
failed = [why for why in results if isinstance(why, Exception)]
print(f"{len(results)} jobs side by side: {len(results) - len(failed)} done, {len(failed)} failed")
for why in failed:
    print("   ", why)

# Later: submit now, ask for the result when it is wanted.
job = daemon.execute_command("SUBMIT", pool, payloads[0])
print("later:", daemon.execute_command("RESULT", job, "WAIT", "1m"))
