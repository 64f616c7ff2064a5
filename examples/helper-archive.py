#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Check ZIP archives, with the helper for Python: a job is a file's name.

    preforkctl map -- helper-archive.py < names
    helper-archive.py < names                     without a daemon

Each member is read to its end; who follows the job sees how far it is. The result says how many
members and bytes there are. A job that was cancelled is given up at the next member.
"""
import os
import sys
import zipfile

# Where the helper is installed, seen from here; or copy it to where your worker is.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../helpers"))
import preforkd  # noqa: E402


def check(job):
    size = 0
    with zipfile.ZipFile(job.text) as archive:
        members = archive.infolist()
        for done, member in enumerate(members):
            if job.cancelled:
                return job.err("cancelled")
            job.progress(done, len(members), member.filename)
            with archive.open(member) as data:
                while part := data.read(1 << 20):  # and compare its checksum at the end
                    size += len(part)
    if not members:
        preforkd.log("%s is empty" % job.text, "warning")
    return "%d members, %d bytes" % (len(members), size)


preforkd.serve(check)
