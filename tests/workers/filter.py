#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A filter: upper case, but for lines that ask for something else.

two      prints two lines        late     prints one line, and one more
none     prints none             when the FIFO it names is closed
die      exits
"""
import os
import sys

for line in sys.stdin.buffer:
    word, _, arg = line.rstrip(b"\n").partition(b" ")
    if word == b"none":
        continue
    if word == b"die":
        sys.exit(3)
    answer = line.upper()
    sys.stdout.buffer.write(answer * 2 if word == b"two" else answer)
    sys.stdout.buffer.flush()
    if word == b"late":
        with open(arg, "rb") as gate:  # a FIFO: until the test closes it
            gate.read()
        sys.stdout.buffer.write(b"too late\n")
        sys.stdout.buffer.flush()
