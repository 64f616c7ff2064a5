#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker in Python: a job is a line of JSON, its result the same with sorted keys.

    preforkctl map -- python3 worker.py < in.jsonl > out.jsonl

What is imported or loaded above the loop is paid once a worker, not once a job.
"""
import json
import sys

for line in sys.stdin:
    try:
        print("OK", json.dumps(json.loads(line), sort_keys=True), flush=True)
    except ValueError as why:
        print("ERR", why, flush=True)
