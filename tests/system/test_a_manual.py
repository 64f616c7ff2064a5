# SPDX-License-Identifier: MIT
"""The manual of the control socket: its list comes from the command tables, its prose is complete."""
import re
import shutil
import subprocess

import pytest

from lib import BUILD, SRC

SOURCE = (SRC / "man/preforkd-control.7.in").read_text()
PAGE = BUILD / "man/preforkd-control.7"
LIST = (BUILD / "man/command-list.mdoc").read_text()


def listed():
    return re.findall(r"^\.It Ic ([A-Z]+)", LIST, re.M)


def described():
    """The commands that the template's prose is about: items of COMMANDS' outer lists."""
    names, depth = [], 0
    section = SOURCE.split("\n.Sh COMMANDS\n")[1].split("\n.Sh ")[0]
    for line in section.splitlines():
        depth += line.startswith(".Bl ") - line.startswith(".El")
        item = re.match(r"\.It Ic ([A-Z]+)", line)
        if item and depth == 1:
            names.append(item[1])
    stock = section.split("\n.Ss For stock clients\n")[1].split("\n.Ss ")[0]
    names += re.findall(r"[A-Z]{3,}", " ".join(re.findall(r"^\.Ic (.*)", stock, re.M)))
    return names


def test_list_is_in_the_page():
    assert len(listed()) > 20
    assert LIST in PAGE.read_text()
    assert "COMMAND LIST" in SOURCE


def test_every_command_is_described():
    assert sorted(set(listed()) - set(described())) == []


def test_nothing_is_described_that_is_no_command():
    # CONFIG GET is one name more for a stock client.
    assert sorted(set(described()) - set(listed()) - {"GET"}) == []


def test_form():
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc here (Debian: apt-get install mandoc)")
    subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(PAGE)], check=True)
