#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The smallest "line" worker in Python: the job is its own result."""
import sys

for job in sys.stdin.buffer:
    sys.stdout.buffer.write(b"OK " + job)
    sys.stdout.buffer.flush()
