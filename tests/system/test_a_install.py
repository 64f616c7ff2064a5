# SPDX-License-Identifier: MIT
"""make install and make uninstall, below a DESTDIR."""
import shutil

import pytest

import lib


def make(root, target):
    r = lib.run(
        *("make", "-s", "-C", lib.BUILD, "DESTDIR=%s" % root, target), timeout=lib.DEADLINE * 4
    )
    assert r.returncode == 0, (r.stdout + r.stderr).decode()


def files(root):
    return {p.relative_to(root) for p in root.rglob("*") if not p.is_dir()}


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_uninstall_takes_all_that_install_gave(tmp):
    root = tmp / "root"
    make(root, "install")
    installed = files(root)
    assert len(installed) > 40
    (conf,) = [f for f in installed if f.name == "preforkd.conf" and f.parent.name == "preforkd"]
    pool = root / conf.parent / "pool.d/own.conf"
    pool.write_text('command = [ "/bin/cat" ];\n')
    (root / conf).write_text("drain = 1;\n")

    make(root, "install")
    assert (root / conf).read_text() == "drain = 1;\n", "an administrator's file stays as it is"
    make(root, "uninstall")
    assert files(root) == {conf, pool.relative_to(root)}, "and where it is"

    pool.unlink()
    (root / conf).unlink()
    make(root, "install")
    assert files(root) == installed
    make(root, "uninstall")
    assert files(root) == set()
