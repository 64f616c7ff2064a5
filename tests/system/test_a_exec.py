# SPDX-License-Identifier: MIT
"""The chain loader by itself: each step done, each step's failure in words."""
import errno
import fcntl
import os
import pathlib
import resource
import shutil
import signal
import subprocess

import pytest

import lib
from lib import BUILD, ROOT

LOADER = str(BUILD / "preforkd-exec")
NOBODY = 65534
CLOSE_FROM = 3
SIGNALS = [s for s in range(1, signal.NSIG) if s not in (signal.SIGKILL, signal.SIGSTOP, 32, 33)]

needs_root = pytest.mark.skipif(not ROOT, reason="only root changes users")


class Result:
    def __init__(self, code, status, out, err):
        self.code = code
        self.status = status
        self.out = out
        self.err = err

    def field(self, name):
        """A field of /proc/PID/status in the output."""
        for line in self.out.splitlines():
            if line.startswith(name + ":"):
                return line.split(":", 1)[1].strip()
        raise AssertionError("no %s in %r" % (name, self.out))


class Loader:
    """Runs the loader with a pipe as its status descriptor, at a number of choice."""

    def __init__(self, path=LOADER):
        self.path = path

    def start(
        self, *options, at=30, close_from=CLOSE_FROM, extra=(), before=(), prefix=(), **popen
    ):
        reader, writer = os.pipe()
        spare = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, 200)
        os.close(writer)

        def set_up():
            for fd in map(int, os.listdir("/proc/self/fd")):
                if fd > 2 and os.path.exists("/proc/self/fd/%d" % fd):
                    os.set_inheritable(fd, False)
            for fd in (at, *extra):
                os.dup2(spare, fd)
            for step in before:
                step()

        argv = [
            *prefix,
            self.path,
            "--status=%d" % at,
            "--close-from=%d" % close_from,
            *options,
        ]
        popen.setdefault("stdin", subprocess.DEVNULL)
        try:
            proc = subprocess.Popen(
                argv,
                close_fds=False,  # set_up sees to them: Python would close its numbers again
                preexec_fn=set_up,
                restore_signals=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="surrogateescape",
                **popen
            )
        finally:
            os.close(spare)
        return proc, open(reader, errors="surrogateescape")

    def __call__(self, *options, **how):
        proc, reader = self.start(*options, **how)
        with reader:
            status = reader.read()
        out, err = proc.communicate(timeout=lib.DEADLINE)
        return Result(proc.returncode, status, out, err)


def own_status(name):
    """The same field of this process."""
    return Result(0, "", pathlib.Path("/proc/self/status").read_text(), "").field(name)


@pytest.fixture
def load():
    return Loader()


@pytest.fixture
def load_as_nobody(tmp):
    """A loader that an ordinary user runs, in a place which that user can reach."""
    if not ROOT:
        return Loader()
    copy = str(tmp / "preforkd-exec")
    shutil.copy(LOADER, copy)
    loader = Loader(copy)

    def run(*options, **how):
        return loader(*options, user=NOBODY, group=NOBODY, extra_groups=[], **how)

    return run


def good(result):
    assert (result.status, result.err, result.code) == ("", "", 0)
    return result


def numbers(text):
    """The numbers in what `ls` printed."""
    return sorted(int(name) for name in text.split())


# ---- what a worker finds


def test_command_and_arguments(load):
    r = good(load("--", "printf", "[%s]", "", "a b", "--", "-x", "ü\n"))
    assert r.out == "[][a b][--][-x][ü\n]"


def test_exit_status_is_the_workers(load):
    r = load("--", "sh", "-c", "echo oops >&2; exit 3")
    assert (r.code, r.status, r.err) == (3, "", "oops\n")


def test_environment_is_passed_whole(load):
    r = good(load("--", "/usr/bin/env", env={"A": "1", "B": "two words"}))
    assert sorted(r.out.splitlines()) == ["A=1", "B=two words"]


def test_command_is_found_in_the_environments_path(load, tmp):
    script = tmp / "worker"
    script.write_text("#!/bin/sh\necho here\n")
    script.chmod(0o755)
    assert good(load("--", "worker", env={"PATH": "/nowhere:%s" % tmp})).out == "here\n"


def test_status_ends_when_the_worker_runs(load):
    proc, reader = load.start("--", "cat", stdin=subprocess.PIPE)
    with reader:
        assert reader.read() == ""  # the worker still waits for its input
    assert proc.poll() is None
    assert proc.communicate("text", timeout=lib.DEADLINE) == ("text", "")
    assert proc.returncode == 0


@pytest.mark.parametrize(
    "at, close_from, kept",
    [
        (30, 3, [0, 1, 2]),
        (3, 3, [0, 1, 2]),
        (4, 3, [0, 1, 2]),
        (30, 4, [0, 1, 2, 3]),
        (4, 4, [0, 1, 2, 3]),
        (3, 4, [0, 1, 2]),
        (30, 30, [0, 1, 2, 3, 4, 5, 29]),
        (30, 100, [0, 1, 2, 3, 4, 5, 29, 31, 60]),
    ],
)
def test_descriptors(load, at, close_from, kept):
    extra = [fd for fd in (3, 4, 5, 29, 31, 60, 300) if fd != at]
    r = good(load("--", "sh", "-c", "ls /proc/$$/fd; :", at=at, close_from=close_from, extra=extra))
    assert numbers(r.out) == [fd for fd in kept if fd != at]


def test_dispositions_and_mask(load):
    def ignore():
        for sig in SIGNALS:
            signal.signal(sig, signal.SIG_IGN)

    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    r = good(load("--", "cat", "/proc/self/status", before=(ignore, block)))
    for name in ("SigIgn", "SigCgt", "SigBlk", "SigPnd", "ShdPnd"):
        assert int(r.field(name), 16) == 0, name


def test_signal_from_before_acts(load):
    def block_and_send():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGTERM)

    r = load("--", "echo", "not this", before=(block_and_send,))
    assert (r.code, r.out, r.status) == (-signal.SIGTERM, "", "")


@pytest.mark.parametrize("session", [False, True])
def test_process_group(load, session):
    r = good(load("--", "cat", "/proc/self/stat", start_new_session=session))
    pid, _, _, _, group, leads, *_ = r.out.split()
    assert pid == group
    assert (pid == leads) == session


@pytest.mark.parametrize("umask", ["0", "22", "0027", "777"])
def test_umask(load, umask):
    r = good(load("--umask=" + umask, "--", "cat", "/proc/self/status"))
    assert int(r.field("Umask"), 8) == int(umask, 8)


def test_nice_is_a_value_not_a_step(load):
    ours = os.getpriority(os.PRIO_PROCESS, 0)

    def nicer():
        os.setpriority(os.PRIO_PROCESS, 0, min(ours + 2, 19))

    assert good(load("--nice=19", "--", "nice", before=(nicer,))).out == "19\n"
    assert good(load("--", "nice")).out == "%d\n" % ours
    if ROOT:
        assert good(load("--nice=-20", "--", "nice")).out == "-20\n"
        assert good(load("--nice=0", "--", "nice", before=(nicer,))).out == "0\n"


LIMITS = {
    "as": "Max address space",
    "core": "Max core file size",
    "cpu": "Max cpu time",
    "data": "Max data size",
    "fsize": "Max file size",
    "memlock": "Max locked memory",
    "nofile": "Max open files",
    "nproc": "Max processes",
    "stack": "Max stack size",
}


def limit(output, title):
    """Soft and hard of one line of /proc/PID/limits."""
    for line in output.splitlines():
        if line.startswith(title):
            return tuple(line[len(title) :].split()[:2])
    raise AssertionError("no %s in %r" % (title, output))


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_limits(load, name):
    which = getattr(resource, "RLIMIT_" + name.upper())
    hard = resource.getrlimit(which)[1]
    value = 8000000 if name in ("as", "data", "fsize", "stack") else 60
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    r = good(load("--rlimit=%s:%d" % (name, value), "--", "cat", "/proc/self/limits"))
    assert limit(r.out, LIMITS[name]) == (str(value), str(value))


def test_several_limits(load):
    options = ["--rlimit=core:0", "--rlimit=nofile:64", "--rlimit=nofile:50"]
    r = good(load(*options, "--", "cat", "/proc/self/limits"))
    assert limit(r.out, LIMITS["core"]) == ("0", "0")
    assert limit(r.out, LIMITS["nofile"]) == ("50", "50")


def test_limit_infinity(load):
    if not ROOT and resource.getrlimit(resource.RLIMIT_CPU)[1] != resource.RLIM_INFINITY:
        pytest.skip("the hard limit is not infinite, and only root raises it")

    def lower():
        resource.setrlimit(resource.RLIMIT_CPU, (1000, resource.getrlimit(resource.RLIMIT_CPU)[1]))

    r = good(load("--rlimit=cpu:infinity", "--", "cat", "/proc/self/limits", before=(lower,)))
    assert limit(r.out, LIMITS["cpu"]) == ("unlimited", "unlimited")


def test_directory(load, tmp):
    r = good(load("--chdir=%s" % tmp, "--", "/bin/pwd"))
    assert r.out == "%s\n" % os.path.realpath(tmp)
    assert good(load("--", "/bin/pwd", cwd=tmp)).out == "%s\n" % os.path.realpath(tmp)


def test_relative_command_is_in_that_directory(load, tmp):
    (tmp / "w").write_text("#!/bin/sh\necho found\n")
    (tmp / "w").chmod(0o755)
    assert good(load("--chdir=%s" % tmp, "--", "./w")).out == "found\n"


def test_no_new_privs(load):
    r = good(load("--no-new-privs", "--", "cat", "/proc/self/status"))
    assert r.field("NoNewPrivs") == "1"
    r = good(load("--", "cat", "/proc/self/status"))
    assert r.field("NoNewPrivs") == own_status("NoNewPrivs")


# ---- another user


@needs_root
@pytest.mark.parametrize(
    "options, groups",
    [
        (["--groups=7,8,100"], ["7", "8", "100"]),
        (["--groups=7"], ["7"]),
        (["--groups="], []),
        ([], []),  # never those of root
    ],
)
def test_user(load, options, groups):
    options = ["--gid=65533", *options, "--uid=65534"]
    r = good(load(*options, "--", "cat", "/proc/self/status", extra_groups=[0, 4]))
    assert r.field("Uid").split() == ["65534"] * 4
    assert r.field("Gid").split() == ["65533"] * 4
    assert r.field("Groups").split() == groups
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(r.field(name), 16) == 0, name


@needs_root
def test_group_alone_keeps_the_user(load):
    r = good(load("--gid=65533", "--", "cat", "/proc/self/status"))
    assert r.field("Uid").split() == ["0"] * 4
    assert r.field("Gid").split() == ["65533"] * 4


@needs_root
def test_root_by_name(load):
    r = good(load("--gid=0", "--groups=0", "--uid=0", "--", "cat", "/proc/self/status"))
    assert r.field("Uid").split() == ["0"] * 4


@needs_root
def test_capabilities_of_the_master_stay_behind(tmp):
    """A master that is not root, but may change users (AmbientCapabilities=)."""
    copy = str(tmp / "preforkd-exec")
    shutil.copy(LOADER, copy)
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    prefix += ["--inh-caps=+setuid,+setgid", "--ambient-caps=+setuid,+setgid"]
    options = ["--gid=2", "--groups=2", "--uid=2"]
    r = good(Loader(copy)(*options, "--", "cat", "/proc/self/status", prefix=prefix))
    assert r.field("Uid").split() == ["2"] * 4
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(r.field(name), 16) == 0, name


@needs_root
def test_directory_is_entered_as_the_user(load, tmp):
    private = tmp / "private"
    private.mkdir(mode=0o700)
    options = ["--chdir=%s" % private, "--", "true"]
    assert good(load(*options)).code == 0
    r = load("--gid=65534", "--uid=65534", *options)
    failed(r, 126, "cannot change to directory %s: Permission denied" % private)


# ---- steps that fail


def numbered(status):
    """A report: the number of its error goes before the words for it."""
    why = status.rpartition(": ")[2]
    return "%d %s\n" % (next(e for e in errno.errorcode if os.strerror(e) == why), status)


def failed(result, code, status):
    assert (result.status, result.code) == (numbered(status), code)
    assert (result.out, result.err) == ("", "")  # the worker's, who never ran


def test_directory_fails(load, tmp):
    (tmp / "file").touch()
    for path, why in (("none", "No such file or directory"), ("file", "Not a directory")):
        r = load("--chdir=%s/%s" % (tmp, path), "--", "true")
        failed(r, 126, "cannot change to directory %s/%s: %s" % (tmp, path, why))


def test_nice_fails(load_as_nobody):
    if resource.getrlimit(resource.RLIMIT_NICE)[0] > 0:
        pytest.skip("RLIMIT_NICE allows it")
    r = load_as_nobody("--nice=-5", "--", "true")
    failed(r, 126, "cannot set the nice value to -5: Permission denied")


def test_limit_fails(load_as_nobody):
    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
        resource.setrlimit(resource.RLIMIT_CPU, (500, 500))

    # The limits are put on by the test's own process, which may; raising them is the loader's.
    r = load_as_nobody("--rlimit=nofile:401", "--", "true", before=(lower,))
    failed(r, 126, "cannot set the limit nofile to 401: Operation not permitted")
    r = load_as_nobody("--rlimit=cpu:infinity", "--", "true", before=(lower,))
    failed(r, 126, "cannot set the limit cpu to infinity: Operation not permitted")


def test_user_fails_without_privileges(load_as_nobody):
    for options, what in (
        (["--gid=1", "--uid=1"], "cannot set the supplementary groups"),
        (["--groups=1"], "cannot set the supplementary groups"),
        (["--gid=1"], "cannot change to group 1"),
    ):
        r = load_as_nobody(*options, "--", "true")
        failed(r, 126, what + ": Operation not permitted")


@needs_root
def test_uid_alone_fails(load):
    r = load("--gid=1", "--uid=1", "--", "true", prefix=["setpriv", "--bounding-set=-setuid"])
    failed(r, 126, "cannot change to user 1: Operation not permitted")


@pytest.fixture
def commands(tmp):
    (tmp / "plain").write_text("#!/bin/sh\n")
    (tmp / "plain").chmod(0o644)
    (tmp / "dir").mkdir()
    (tmp / "lost").write_text("#!/nowhere/python3\n")
    (tmp / "lost").chmod(0o755)
    return tmp


@pytest.mark.parametrize(
    "name, why",
    [
        ("none", ": No such file or directory"),
        ("plain", ": Permission denied"),
        ("dir", ": Is a directory"),
        ("dir/", ": Is a directory"),
        ("plain/x", ": Not a directory"),
        ("lost", " (its interpreter is missing): No such file or directory"),
    ],
)
def test_execution_fails(load, commands, name, why):
    r = load("--", "%s/%s" % (commands, name))
    failed(r, 127, "cannot execute %s/%s%s" % (commands, name, why))


def test_execution_fails_in_path(load, commands):
    r = load("--", "no-such-worker", env={"PATH": str(commands)})
    failed(r, 127, "cannot execute no-such-worker: No such file or directory")
    r = load("--", "plain", env={"PATH": str(commands)})
    failed(r, 127, "cannot execute plain: Permission denied")
    r = load("--", "", env={"PATH": str(commands)})
    failed(r, 127, "cannot execute : No such file or directory")


def test_failure_is_one_line_however_long(load):
    r = load("--", "/" + "x" * 3000)
    assert r.code == 127
    assert r.status.startswith("%d cannot execute /xxx" % errno.ENAMETOOLONG)
    assert r.status.endswith("x: File name too long\n")
    assert len(r.status) < 600


@pytest.mark.parametrize("at, close_from", [(3, 3), (30, 3), (3, 30), (30, 30)])
def test_failure_is_told_wherever_the_status_is(load, at, close_from):
    r = load("--", "/none", at=at, close_from=close_from, extra=(40,))
    # What is left open of the others ends with the loader.
    failed(r, 127, "cannot execute /none: No such file or directory")


# ---- wrong usage


@pytest.mark.parametrize(
    "options, what",
    [
        (["true"], "-- expected before the command"),
        (["--umask=22"], "-- expected before the command"),
        (["-x", "--", "true"], "-- expected before the command"),
        (["--"], "no command"),
        (["--what", "--", "true"], "unknown option: --what"),
        (["--what=1", "--", "true"], "unknown option: --what=1"),
        (["--umas=22", "--", "true"], "unknown option: --umas=22"),
        (["--umask", "--", "true"], "bad value: --umask"),
        (["--umask=", "--", "true"], "bad value: --umask="),
        (["--umask=8", "--", "true"], "bad value: --umask=8"),
        (["--umask=1000", "--", "true"], "bad value: --umask=1000"),
        (["--nice=20", "--", "true"], "bad value: --nice=20"),
        (["--nice=-21", "--", "true"], "bad value: --nice=-21"),
        (["--nice=--1", "--", "true"], "bad value: --nice=--1"),
        (["--rlimit=nofile", "--", "true"], "bad value: --rlimit=nofile"),
        (["--rlimit=nofil:1", "--", "true"], "bad value: --rlimit=nofil:1"),
        (["--rlimit=nofile:", "--", "true"], "bad value: --rlimit=nofile:"),
        (["--rlimit=nofile:-1", "--", "true"], "bad value: --rlimit=nofile:-1"),
        (["--uid=4294967295", "--", "true"], "bad value: --uid=4294967295"),
        (["--gid=-1", "--", "true"], "bad value: --gid=-1"),
        (["--gid=root", "--", "true"], "bad value: --gid=root"),
        (["--groups=1,,2", "--", "true"], "bad value: --groups=1,,2"),
        (["--groups=1,", "--", "true"], "bad value: --groups=1,"),
        (["--groups=,1", "--", "true"], "bad value: --groups=,1"),
        (["--chdir=", "--", "true"], "bad value: --chdir="),
        (["--no-new-privs=yes", "--", "true"], "bad value: --no-new-privs=yes"),
        (["--close-from=2", "--", "true"], "bad value: --close-from=2"),
        (["--status=2", "--", "true"], "bad value: --status=2"),
        (["--status=299", "--", "true"], "bad value: --status=299"),
        (["--uid=1", "--", "true"], "--uid needs --gid"),
    ],
)
def test_usage(load, options, what):
    r = load(*options)
    assert (r.code, r.out) == (64, "")
    first, second = r.err.splitlines()
    assert first == "preforkd-exec: " + what
    assert second.startswith("usage: preforkd-exec [--status=FD] ")
    assert r.status == "%d %s\n" % (errno.EINVAL, first)


@pytest.mark.parametrize("argv", [[], ["--", "true"], ["--close-from=3", "--", "true"]])
def test_usage_without_a_status(argv):
    r = subprocess.run([LOADER, *argv], capture_output=True, text=True, timeout=lib.DEADLINE)
    assert (r.returncode, r.stdout) == (64, "")
    assert "usage: preforkd-exec" in r.stderr
