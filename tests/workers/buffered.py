#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker that forgets to flush: PYTHONUNBUFFERED is what saves it."""
import sys

for job in sys.stdin:
    print("OK", job.strip())
