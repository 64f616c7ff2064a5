# SPDX-License-Identifier: MIT
"""Daemons beside each other: instances by name, and a user's own."""
import os
import pathlib
import pwd
import shutil

import pytest

import booted
import lib

pytestmark = booted.needed


def ctl(*args, check=True, **more):
    return booted.run("preforkctl", *args, check=check, **more)


def add_instance(host, name, **pools):
    etc = host.directory("/etc/preforkd/" + name)
    host.conf("", etc=etc, **pools)
    return "preforkd@%s.service" % name


# ---- instances


def test_beside_each_other(host):
    """Each with its own pools, socket and directories; one that ends leaves the others."""
    here = "echo $STATE_DIRECTORY $CACHE_DIRECTORY"
    host.shell()
    mail = add_instance(host, "mail", box={"command": booted.SHELL})
    news = add_instance(host, "news-2", feed={"command": booted.SHELL})
    host.start(mail).start(news)
    assert [line.split()[0] for line in ctl("pools").stdout.splitlines()[1:]] == ["sh"]
    assert ctl("run", "sh", here).stdout == "/var/lib/preforkd /var/cache/preforkd"
    for name, pool in (("mail", "box"), ("news-2", "feed")):
        assert [p.split()[0] for p in ctl("-i", name, "pools").stdout.splitlines()[1:]] == [pool]
        assert ctl("-i", name, "run", pool, here).stdout == (
            "/var/lib/preforkd-%s /var/cache/preforkd-%s" % (name, name)
        )
    host.conf("", etc=pathlib.Path("/etc/preforkd/mail"), other={"command": booted.SHELL})
    booted.systemctl("reload", mail)
    assert ctl("-i", "mail", "run", "other", "echo reloaded").stdout == "reloaded"
    assert ctl("-i", "news-2", "run", "feed", "echo on").stdout == "on"
    host.stop(mail)
    assert booted.pids(mail) == []
    assert ctl("-i", "mail", "ping", check=False).returncode == 69
    assert ctl("-i", "news-2", "run", "feed", "echo on").stdout == "on"
    assert ctl("run", "sh", "echo on").stdout == "on"
    host.stop()
    assert ctl("-i", "news-2", "run", "feed", "echo on").stdout == "on"
    assert not pathlib.Path("/run/preforkd-mail/control.sock").exists()


def test_socket_of_an_instance(host):
    """The first connection starts it; its socket is where the daemon itself would make it."""
    mail = add_instance(host, "mail", box={"command": booted.SHELL})
    host.start(mail)
    path = pathlib.Path("/run/preforkd-mail/control.sock")
    own = path.stat()
    host.stop(mail)
    host.start("preforkd@mail.socket")
    assert booted.show(mail, "ActiveState") == "inactive"
    units = path.stat()
    assert (units.st_mode, units.st_gid) == (own.st_mode, own.st_gid)
    assert ctl("-i", "mail", "run", "box", "echo up").stdout == "up"
    assert booted.show(mail, "ActiveState") == "active"
    assert booted.show(booted.SERVICE, "ActiveState") == "inactive"


def test_socket_of_the_service(host):
    host.conf(sh={"command": booted.SHELL})
    host.start("preforkd.socket")
    path = pathlib.Path(booted.SOCKET)
    assert (path.group(), path.stat().st_mode & 0o7777) == ("preforkd", 0o660)
    assert booted.show(booted.SERVICE, "ActiveState") == "inactive"
    member = {"user": "nobody", "group": "nogroup", "extra_groups": ["preforkd"]}
    assert ctl("run", "sh", "echo up", **member).stdout == "up"
    stranger = ctl("ping", check=False, user="nobody", group="nogroup", extra_groups=[])
    assert stranger.returncode == 77 and "usermod -aG preforkd" in stranger.stderr
    host.stop("preforkd.socket")
    assert not path.exists(), "with its unit it goes"


def test_an_instance_that_nobody_has_configured(host):
    host.scratch("/etc/preforkd/none")
    assert booted.systemctl("start", "preforkd@none", check=False).returncode != 0
    assert booted.show("preforkd@none.service", "ExecMainStatus", "NRestarts") == {
        "ExecMainStatus": "78",
        "NRestarts": "0",
    }
    said = [e["MESSAGE"] for e in host.wait_journal("_COMM=preforkd")]
    assert any("/etc/preforkd/none/preforkd.conf" in line for line in said), said


# ---- a user's own


class User:
    """An ordinary user with a manager: systemctl --user."""

    def __init__(self, name):
        booted.run("useradd", "--create-home", name)
        self.entry = pwd.getpwnam(name)
        self.runtime = pathlib.Path("/run/user/%d" % self.entry.pw_uid)
        self.unit = "user@%d.service" % self.entry.pw_uid
        self.home = pathlib.Path(self.entry.pw_dir)

    def start(self):
        """False: no manager here."""
        return booted.systemctl("start", self.unit, check=False).returncode == 0

    def run(self, *command, check=True):
        env = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "XDG_RUNTIME_DIR": str(self.runtime),
        }
        who = {"user": self.entry.pw_name, "group": self.entry.pw_gid, "extra_groups": []}
        return booted.run(*command, check=check, env=env, cwd="/", **who)

    def conf(self, **pools):
        etc = self.home / ".config/preforkd"
        (etc / "pool.d").mkdir(parents=True, exist_ok=True)
        (etc / "preforkd.conf").touch()
        for name, keys in pools.items():
            (etc / "pool.d" / (name + ".conf")).write_text(lib.conf_group(keys))
        booted.run("chown", "-R", self.entry.pw_name, self.home)

    def end(self):
        booted.systemctl("stop", self.unit, check=False)
        booted.run("userdel", "--remove", self.entry.pw_name, check=False)


@pytest.fixture
def user(host):
    made = User("preforkd-test")
    host.at_end.append(made.end)
    if not made.start():
        pytest.skip("no user manager runs here (Debian: apt-get install libpam-systemd)")
    return made


def test_user_unit(host, user):
    """The whole of it for an ordinary user: start, a job, stop, by the socket, nothing left."""
    user.conf(sh={"command": booted.SHELL, "workers": 1})
    path = user.runtime / "preforkd/control.sock"
    user.run("systemctl", "--user", "start", "preforkd.service")
    assert user.run("preforkctl", "run", "sh", "id -un; pwd").stdout == "preforkd-test /"
    assert "1/1 workers" in user.run("systemctl", "--user", "status", "preforkd").stdout
    job = "echo ${STATE_DIRECTORY-none} $CACHE_DIRECTORY; grep NoNewPrivs /proc/self/status"
    assert user.run("preforkctl", "run", "sh", job).stdout == (
        "none %s/.cache/preforkd NoNewPrivs: 1" % user.home
    )
    assert path.parent.stat().st_mode & 0o7777 == 0o700
    user.conf(two={"command": booted.SHELL, "workers": 1})
    user.run("systemctl", "--user", "reload", "preforkd.service")
    assert user.run("preforkctl", "run", "two", "echo reloaded").stdout == "reloaded"
    user.run("systemctl", "--user", "stop", "preforkd.service")
    assert not path.exists()

    user.run("systemctl", "--user", "start", "preforkd.socket")
    assert path.stat().st_mode & 0o7777 == 0o600
    assert user.run("preforkctl", "run", "sh", "echo by socket").stdout == "by socket"
    user.run("systemctl", "--user", "stop", "preforkd.socket", "preforkd.service")
    assert not path.exists()
    assert booted.run("pgrep -u preforkd-test -x preforkd", check=False).stdout == ""


def test_instance_of_a_user(host, user):
    user.conf()
    shutil.copytree(user.home / ".config/preforkd", user.home / ".config/preforkd/mail")
    pool = user.home / ".config/preforkd/mail/pool.d/box.conf"
    pool.write_text(lib.conf_group({"command": booted.SHELL, "workers": 1}))
    booted.run("chown", "-R", "preforkd-test", user.home)
    user.run("systemctl", "--user", "start", "preforkd@mail.service")
    assert user.run("preforkctl", "-i", "mail", "run", "box", "echo mine").stdout == "mine"
    user.run("systemctl", "--user", "stop", "preforkd@mail.service")


def test_log_of_a_users_daemon(host, user):
    """It is told apart from the system's, with what the user's manager says of it."""
    host.conf(p={"command": [booted.ACT], "workers": 1})
    host.start()
    user.conf(p={"command": [booted.ACT], "workers": 1})
    user.run("systemctl", "--user", "start", "preforkd.service")
    booted.run("preforkctl", "run", "p", "stderr of the system")
    user.run("preforkctl", "run", "p", "stderr of the user")
    booted.run("journalctl", "--sync")
    mark = ["--since", "@%f" % host.begun]
    own = ["-s", user.runtime / "preforkd/control.sock"]
    assert "preforkd.service" in user.run("preforkctl", "status").stdout
    with lib.Client(own[1]) as c:
        status = lib.mapping(c.cmd("STATUS"))
    assert (status["unit"], status["user_unit"]) == (user.unit, "preforkd.service")
    of_pool = booted.run("preforkctl", *own, "logs", "p", *mark).stdout
    assert ": of the user" in of_pool and ": of the system" not in of_pool
    of_daemon = booted.run("preforkctl", *own, "logs", *mark).stdout
    assert " systemd: Starting preforkd.service" in of_daemon and ": of the user" in of_daemon
    assert "of the system" not in of_daemon
    of_system = booted.run("preforkctl", "logs", *mark).stdout
    assert ": of the system" in of_system and "of the user" not in of_system
    user.run("systemctl", "--user", "stop", "preforkd.service")
