# SPDX-License-Identifier: MIT
"""bash completion: what it proposes for a line that has been typed so far."""
import json
import shutil

import pytest

import lib
from lib import PREFORKCTL, SRC, pool

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")

# As readline does it: words are cut at = and : too, and the last is at the cursor.
ASK = r"""
source "$1" || exit 1
shift
spec=$(complete -p preforkctl) || exit 1
[[ $spec == *"-F _preforkctl"* ]] || exit 1
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMPREPLY=()
_preforkctl preforkctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


def complete(*words, env=None, cwd=None):
    r = lib.run(
        *("bash", "--norc", "-c", ASK, "bash", SRC / "completions/preforkctl.bash"),
        *(PREFORKCTL, *words),
        env=lib.base_env(**{"PREFORKD_SOCKET": "/nonexistent", **(env or {})}),
        cwd=cwd,
    )
    assert r.returncode == 0 and r.stderr == b"", "nothing may be said: %r" % r.stderr
    return r.stdout.decode().split()


@pytest.fixture
def daemon(start):
    d = start(pool("thumbs", workers=2), pool("mail"))
    d.words = lambda *words: complete("-s", d.socket, *words)
    return d


def test_verbs():
    """From the table that dispatches, and so all that help has."""
    listed = lib.run(PREFORKCTL, "help").stdout.decode().split("Options")[0]
    verbs = [line.split()[0] for line in listed.splitlines() if line.startswith("  ")]
    assert len(verbs) > 15
    assert sorted(complete("")) == sorted(verbs)
    assert complete("sta") == ["status"]
    assert set(complete("re")) == {verb for verb in verbs if verb.startswith("re")}
    assert complete("--json", "sta") == ["status"]
    assert complete("nonsense", "") == []
    assert "run" in complete("help", "") and complete("help", "comm") == ["commands"]


def test_options():
    assert complete("stop", "--n") == ["--now"]
    assert "--json" in complete("status", "-") and "--now" not in complete("status", "-")
    assert complete("run", "p", "--time") == ["--timeout"]
    assert complete("run", "p", "payload", "--time") == [], "that is payload"
    assert complete("run", "p", "--", "--time") == []
    assert set(complete("--")) == {"--socket", "--instance", "--json", "--help", "--version"}


def test_values_of_options():
    assert complete("jobs", "--state", "r") == ["running"]
    assert "failed" in complete("jobs", "--state", "")
    assert complete("jobs", "--state", "=", "r") == ["running"], "as bash cuts it"
    assert "failed" in complete("jobs", "--state", "=")
    assert complete("jobs", "--state=ru") == ["--state=running"], "where = does not cut"
    assert complete("jobs", "--sort", "-r") == ["-run"]
    assert complete("run", "p", "--timeout", "") == []


def test_logs_and_check(daemon):
    """Two options of one name are those of their own verb."""
    words = daemon.words
    assert words("check", "mail", "") == ["thumbs", "mail"]
    assert words("logs", "thumbs/") == ["thumbs/0", "thumbs/1"]
    assert words("logs", "thumbs", "") == []
    assert words("logs", "--level", "w") == ["warning"]
    assert "short-precise" in words("logs", "-o", "short")
    assert words("check", "--ti") == words("run", "--ti") == ["--timeout"]
    assert words("check", "--q") == ["--queued"]
    assert words("logs", "--lines", "") == []


def test_files_and_programs(tmp):
    (tmp / "some.sock").touch()
    assert complete("-s", "so", cwd=tmp) == ["some.sock"]
    (tmp / "zz-program").touch(0o755)
    path = {"PATH": "%s:/usr/bin:/bin" % tmp}
    assert complete("map", "-j", "2", "--", "zz-", env=path) == ["zz-program"]
    assert complete("map", "--", "cat", "so", cwd=tmp) == ["some.sock"]


def test_instances(daemon, tmp):
    """By their sockets; and what is asked of a daemon is asked of the instance."""
    for name in ("mail", "map", "misc"):
        (tmp / ("preforkd-" + name)).mkdir()
    for name in ("mail", "misc"):
        (tmp / ("preforkd-%s/control.sock" % name)).symlink_to(daemon.socket)
    env = {"XDG_RUNTIME_DIR": str(tmp)}
    assert complete("-i", "ma", env=env) == ["mail"]
    assert complete("--instance", "=", "ma", env=env) == ["mail"]
    assert complete("-i", "mail", "run", "th", env=env) == ["thumbs"]
    assert complete("-i", "map", "run", "th", env=env) == []


def test_pools_and_jobs(daemon):
    words = daemon.words
    assert words("run", "") == ["thumbs", "mail"] and words("run", "t") == ["thumbs"]
    assert words("pause", "mail", "th") == ["thumbs"]
    assert words("pool", "mail", "") == []
    assert words("jobs", "--pool", "m") == ["mail"]
    assert words("result", "") == []
    jid = daemon.cmd("SUBMIT", "mail", "echo x").decode()
    assert words("result", "") == words("cancel", jid[:3]) == [jid]
    assert words("cancel", jid, jid[:4]) == [jid]
    assert words("restart", "thu") == ["thumbs"]
    assert words("restart", "thumbs/") == ["thumbs/0", "thumbs/1"]
    assert words("restart", "mail", "thumbs/1") == ["thumbs/1"]
    assert "worker" in words("monitor", "") and words("monitor", "job", "ma") == ["mail"]
    env = {"PREFORKD_SOCKET": daemon.socket}
    assert json.dumps(complete("map", "th", env=env)) == '["thumbs"]'


def test_no_daemon_no_delay_no_word(daemon):
    """A daemon that does not answer, or none: nothing is proposed, nothing is said."""
    assert complete("run", "") == []
    daemon.send_signal(lib.signal.SIGSTOP)
    try:
        assert daemon.words("run", "") == []
    finally:
        daemon.send_signal(lib.signal.SIGCONT)


def test_shellcheck():
    if not shutil.which("shellcheck"):
        pytest.skip("needs shellcheck")
    r = lib.run("shellcheck", SRC / "completions/preforkctl.bash")
    assert r.returncode == 0, r.stdout.decode()
