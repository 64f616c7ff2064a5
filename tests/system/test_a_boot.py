# SPDX-License-Identifier: MIT
"""What is enabled is there after a boot: a booted system for each case."""
import pytest

import lib

IN_SYSTEMD = str(lib.SRC / "tests/tools/in-systemd")

# On one line each, as a pool is made by an administrator with an editor.
CONFIGURE = """
mkdir -p /etc/preforkd/mail/pool.d
echo 'command = [ "/opt/preforkd-tests/echo" ]; workers = 2;' >/etc/preforkd/pool.d/echo.conf
cp /etc/preforkd/preforkd.conf /etc/preforkd/mail/
cp /etc/preforkd/pool.d/echo.conf /etc/preforkd/mail/pool.d/
"""


def boot(enable, command):
    """Enable units in a system, boot it, and run a command in there."""
    env = lib.base_env(PREFORKD_BUILDDIR=str(lib.BUILD), PREFORKD_SRCDIR=str(lib.SRC))
    can = lib.run(IN_SYSTEMD, "--can", env=env)
    if can.returncode:
        pytest.skip(can.stdout.decode().strip())
    prepare = CONFIGURE + "systemctl enable -q " + enable
    return lib.run(IN_SYSTEMD, "--prepare", prepare, "--", "/bin/sh", "-ec", command, env=env)


def test_service_and_instance():
    r = boot(
        "preforkd.service preforkd@mail.service",
        "systemctl is-enabled preforkd.service preforkd@mail.service;"
        " systemctl is-active preforkd.service preforkd@mail.service;"
        " preforkctl run echo service; echo; preforkctl -i mail run echo instance; echo;"
        " systemctl is-system-running",
    )
    said = r.stdout.decode().split()
    assert said == [*["enabled"] * 2, *["active"] * 2, "service", "instance", "running"], r
    assert r.returncode == 0


def test_socket_alone():
    """Nothing runs until somebody comes, whose connection starts it."""
    r = boot(
        "preforkd.socket",
        "systemctl is-active preforkd.service || true; systemctl is-active preforkd.socket;"
        " preforkctl run echo first; echo;"
        # it answers before it is known to be ready
        " while [ $(systemctl is-active preforkd.service) = activating ]; do sleep 0.1; done;"
        " systemctl is-active preforkd.service",
    )
    assert r.stdout.decode().split() == ["inactive", "active", "first", "active"], r


def test_mistake_does_not_hold_up_the_boot():
    """A wrong configuration fails, once, and says why; the rest of the machine is up."""
    r = boot(
        "preforkd.service; echo 'workers = many;' >/etc/preforkd/pool.d/echo.conf",
        "systemctl is-system-running || true; systemctl show -P ExecMainStatus preforkd;"
        " systemctl show -P NRestarts preforkd; journalctl -u preforkd -o cat",
    )
    said = r.stdout.decode()
    assert said.split()[:3] == ["degraded", "78", "0"], r
    assert "/etc/preforkd/pool.d/echo.conf:1" in said, said
