# SPDX-License-Identifier: MIT
"""A booted systemd with preforkd installed in it, as the test_s_ files see it.

Those files run inside of it (tests/tools/in-systemd), as root, with a file
system, a network and a PID 1 of their own: what they do to /etc, to users or to
processes ends with them. Each file has one boot; the fixture `host` of
conftest.py puts things back between its cases.
"""
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import time

import pytest

import lib

INSIDE = bool(os.environ.get("WITH_SYSTEMD"))
needed = pytest.mark.skipif(
    not INSIDE, reason=os.environ.get("PREFORKD_NO_SYSTEMD") or "runs in a booted systemd"
)

ACT = "/opt/preforkd-tests/act"  # the tests' workers, where a hardened unit can see them
ECHO = "/opt/preforkd-tests/echo"
SHELL = [
    "/bin/sh",
    "-fc",
    'while IFS= read -r l; do if o=$(eval "$l" 2>&1 </dev/null); then w=OK; else w=ERR; fi;'
    " echo $w $o; done",
]
ETC = pathlib.Path("/etc/preforkd")
UNITS = pathlib.Path("/etc/systemd/system")
SOCKET = "/run/preforkd/control.sock"
SERVICE = "preforkd.service"

REPORT = re.compile("ERROR: [A-Za-z]*Sanitizer|: runtime error:")

# MESSAGE_IDs of systemd's own, see systemd/sd-messages.h.
UNIT_STARTED = "39f53479d3a045ac8e11786248231fbf"
UNIT_STOPPED = "9d1aaa27d60140bd96365438aad20286"
UNIT_FAILED = "d9b373ed55a64feb8242e02dbe79a49c"
PROCESS_EXIT = "98e322203f7a4ed290d09fe03c09fe15"


def run(*command, check=True, timeout=None, **more):
    """A program, or a line for the shell, to its end; its output as text."""
    if len(command) == 1 and " " in command[0]:
        command = ("/bin/sh", "-c", command[0])
    done = subprocess.run(
        [str(c) for c in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout or lib.DEADLINE * 2,
        check=False,
        **more,
    )
    if check:
        assert done.returncode == 0, "%s: %d\n%s%s" % (
            shlex.join(map(str, command)),
            done.returncode,
            done.stdout,
            done.stderr,
        )
    return done


def systemctl(*args, check=True, **more):
    return run("systemctl", *args, check=check, **more)


def show(unit, *names):
    """Properties of a unit as a dict of str; with one name, its value alone."""
    out = systemctl("show", unit, *["-p" + n for n in names]).stdout
    found = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    return found[names[0]] if len(names) == 1 else found


def journal(*matches, since=None):
    """The journal's entries that match (FIELD=VALUE, or options), as dicts, oldest first."""
    run("journalctl", "--sync")
    since = ["--since=@%f" % since] if since else []
    out = run("journalctl", "-o", "json", "--all", "--no-pager", *since, *matches).stdout
    return [json.loads(line) for line in out.splitlines()]


def pids(unit):
    """The processes of a unit, by its cgroup."""
    path = show(unit, "ControlGroup")
    for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"):
        base = pathlib.Path(top + path)
        if path and (base / "cgroup.procs").exists():
            return [
                int(pid)
                for procs in [*base.rglob("cgroup.procs")]
                for pid in procs.read_text().split()
            ]
    return []


class Host:
    """What the cases do to the machine, and how it is put back."""

    def __init__(self):
        self.begun = time.time()
        self.made = []
        self.at_end = []  # more to be done then

    # -- files

    def write(self, path, text, mode=0o644):
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        self.made.append(path)
        return path

    def conf(self, top="", *, etc=ETC, **pools):
        """preforkd.conf with the text top, and a file in pool.d for each pool.

        A pool is a dict of its keys (lib.pool() makes one), or the file's text.
        Files of an earlier call go.
        """
        for old in [*(etc / "pool.d").glob("*.conf")]:
            old.unlink()
        self.write(etc / "preforkd.conf", top)
        (etc / "pool.d").mkdir(exist_ok=True)
        for name, keys in pools.items():
            if isinstance(keys, dict):
                keys = {"command": [ACT], "workers": 1, **keys}
                keys.pop("name", None)
                keys = lib.conf_group(keys) + "\n"
            self.write(etc / "pool.d" / (name + ".conf"), keys)

    def dropin(self, unit, text, name="test.conf"):
        """A drop-in for a unit, in force at once; text is put below [Service] where it has
        no section."""
        if not text.lstrip().startswith("["):
            text = "[Service]\n" + text
        self.write(UNITS / (unit + ".d") / name, text + "\n")
        systemctl("daemon-reload")

    def scratch(self, path):
        """A path where something is going to be, which goes at the end."""
        self.made.append(pathlib.Path(path))
        return self.made[-1]

    def directory(self, path, mode=0o755):
        path = self.scratch(path)
        path.mkdir(mode)
        path.chmod(mode)
        return path

    # -- the service

    def shell(self, **keys):
        """The service, with one worker to which sh() gives commands."""
        self.conf(sh={"command": SHELL, **keys})
        return self.start()

    def sh(self, line, where=SOCKET, pool="sh"):
        """What a command prints in that worker, in one line; lib.Error where it fails."""
        with lib.Client(where) as c:
            return lib.text(c.cmd("RUN", pool, line))

    def start(self, unit=SERVICE):
        systemctl("start", unit)
        return self

    def stop(self, unit=SERVICE):
        systemctl("stop", unit)

    def kill(self, sig, unit=SERVICE, who="main"):
        systemctl("kill", "--kill-who=" + who, "--signal=%d" % int(sig), unit)

    def crash(self, sig=signal.SIGKILL, unit=SERVICE):
        """The end of the daemon by a signal, and the next one; the pids of both."""
        before = self.main_pid(unit)
        self.kill(sig, unit)
        return before, self.wait_next(before, unit)

    def wait_next(self, before, unit=SERVICE, timeout=None):
        """Another daemon than before is there, and ready; its pid."""
        lib.poll(lambda: self.main_pid(unit) not in (0, before), "the next daemon", timeout)
        self.wait_state("active", unit, timeout)
        return self.main_pid(unit)

    def main_pid(self, unit=SERVICE):
        return int(show(unit, "MainPID"))

    def wait_state(self, state, unit=SERVICE, timeout=None):
        """Wait for ActiveState, or ActiveState/SubState."""

        def look():
            seen = show(unit, "ActiveState", "SubState")
            return state in (seen["ActiveState"], "%(ActiveState)s/%(SubState)s" % seen)

        lib.poll(look, "%s is %s" % (unit, state), timeout)

    def journal(self, *matches):
        """As journal(), of this case alone."""
        return journal(*matches, since=self.begun)

    def wait_journal(self, *matches):
        """The entries that match, as soon as there are any."""
        return lib.poll(lambda: self.journal(*matches), "in the journal: %s" % (matches,))

    # -- putting back

    def clean(self):
        """Stop all of it, see that nothing is left, and take away what was written."""
        names = ["preforkd.service", "preforkd.socket", "preforkd@*", "preforkd-metrics*"]
        systemctl("stop", *names, check=False)
        left = run("pgrep", "-a", "-x", "preforkd", check=False).stdout
        for function in self.at_end:
            function()
        for path in reversed(self.made):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for unit in ("preforkd.service", "preforkd.socket"):
            systemctl("disable", "-q", unit, check=False)
        systemctl("daemon-reload")
        systemctl("reset-failed", *names, check=False)
        if left:
            run("pkill", "-KILL", "-x", "preforkd", check=False)
        assert not left, "processes are left over after the stop: " + left
        assert not (reports := self.reports()), "\n".join(reports)

    def reports(self):
        """What sanitizers have found; a signal from outside is none of it."""
        found = self.journal("_COMM=preforkd") if lib.SANITIZED else []
        lines = [str(e["MESSAGE"]) for e in found]
        return [m for m in lines if REPORT.search(m) and "on unknown address" not in m]


notes = []


def note(text):
    """A measurement for the record."""
    notes.append(text)


def totals():
    """For the record: what this file made the service manager do, and what was measured."""

    def count(message, **fields):
        return sum(
            e.get("UNIT", "").startswith("preforkd") and all(e.get(k) in v for k, v in fields.items())
            for e in journal("_PID=1", "MESSAGE_ID=" + message)
        )

    done = "preforkd's units: %d starts, %d stops, %d failures; %d main processes killed" % (
        count(UNIT_STARTED),
        count(UNIT_STOPPED),
        count(UNIT_FAILED),
        count(PROCESS_EXIT, EXIT_CODE=("killed", "dumped")),
    )
    return "\n".join([done] + notes)
