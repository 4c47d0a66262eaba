"""What CI runs fails when any of its steps does, though two of them run at a time."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
TESTS = HOUSE / "tests"
STEPS = ["test", "check", "fuzz", "interop", "test-leaks", "lint-examples", "test-pythons", "test-lowest", "bench"]

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="it is a script for bash")


def run(folder: Path, failing: str) -> tuple[int, str]:
    """The exit status and what was shown, with tools that do nothing but say that they were asked."""
    (folder / ".ci").mkdir()
    shutil.copy(HOUSE / ".ci" / "run", folder / ".ci")
    tools = folder / "tools"
    tools.mkdir()
    for name in ("make", "cargo", "g++", "javac", "mvn", "python3"):
        asked = f'echo "asked {name} $*"; test "$1" != "{failing}"' if name == "make" else "true"
        (tools / name).write_text(f"#!/bin/sh\n{asked}\n")
        (tools / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", str(folder / ".ci" / "run")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode, done.stdout.decode()


def test_every_step_is_taken_and_is_a_target(tmp_path: Path) -> None:
    status, shown = run(tmp_path, "none")

    assert status == 0
    assert sorted(re.findall(r"^asked make (\S+)", shown, re.MULTILINE)) == sorted(STEPS)
    targets = re.findall(r"^([a-z-]+):", (HOUSE / "Makefile").read_text(), re.MULTILINE)
    assert set(STEPS) <= set(targets)


@pytest.mark.parametrize("failing", STEPS)
def test_one_that_fails_fails_it(failing: str, tmp_path: Path) -> None:
    status, shown = run(tmp_path, failing)

    assert status != 0
    assert f"asked make {failing}" in shown


def test_what_pytest_ignores_is_found_where_it_is_asked_for() -> None:
    """`make interop` asks for a folder that `make test` leaves out."""
    spec = importlib.util.spec_from_file_location("conftest_of_tests", TESTS / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    interop = TESTS / "interop"
    assert interop / "test_interop_fleet.py" in conftest.files_in([interop])
    assert conftest.files_in([interop / "test_interop_fleet.py"]) == [interop / "test_interop_fleet.py"]
    everything = conftest.files_in([TESTS])
    assert Path(__file__) in everything
    assert not [path for path in everything if interop in path.parents]
