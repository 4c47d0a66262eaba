"""Run the tests on several Pythons, each in an environment of its own, and print what came of it as a table.

    python tests/platforms/on_pythons.py [--only codec] [3.13 3.14t ...] [-- whatever pytest takes]

Environments stay in .venv-pythons for the next time. A Python that cannot be had here is named, and is no failure;
one on which a test fails, or no test ran, is.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pythons
from debian import HOUSE, NotHadError, run

ENVIRONMENTS = HOUSE / ".venv-pythons"
# What the codec's tests need, and all. What free-threaded builds have no wheels of is left out there, and named.
EXTRAS = {
    "codec": ["arrow", "aws", "cli", "testing"],
    "all": ["arrow", "async", "aws", "cli", "demo", "otel", "polars", "report", "testing"],
}
GROUPS = {"codec": ["test"], "all": ["test", "engines", "spark"]}
ONLY_SOURCE = ("aws-kinesis-agg", "pyspark")  # pure Python, and without wheels
ASK = """
import sys, shardpack
shardpack.decode(shardpack.encode([("k", b"d")] * 2))
gil = getattr(sys, "_is_gil_enabled", lambda: True)()
print(".".join(map(str, sys.version_info[:3])), "on" if gil else "off", shardpack.native)
"""


class NotInstalledError(Exception):
    """The environment could not be made; the message is pip's last words."""


@dataclass
class Row:
    """One Python's line of the table."""

    version: str
    gil: str = "-"
    core: str = "-"
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    remark: str = ""

    @property
    def good(self) -> bool:
        return self.passed > 0 and self.failed == 0

    def cells(self) -> list[str]:
        counts = [str(self.passed), str(self.failed), str(self.skipped), f"{self.seconds:.0f}"]
        return [self.version, self.gil, self.core, *counts, self.remark]


def install(python: Path, version: str, amount: str) -> tuple[Path, str]:
    """The environment's interpreter, and what had to be left out."""
    home = ENVIRONMENTS / f"{version}-{amount}"
    inside = home / "bin" / "python"
    if not inside.exists():
        run(python, "-m", "venv", home)
        pip(inside, "--upgrade", "pip>=25.1")
    together = f"--constraint={HOUSE / 'tests' / 'tools' / 'constraints.txt'}"
    if not version.endswith("t"):
        groups = [f"--group={group}" for group in GROUPS[amount]]
        pip(inside, "--editable", f".[{','.join(EXTRAS[amount])}]", *groups, together)
        return inside, ""
    # Many a package has no wheel yet for a free-threaded build, and would be compiled for a quarter of an hour.
    wheels = ("--only-binary=:all:", f"--no-binary={','.join(ONLY_SOURCE)}")
    pip(inside, "--editable", ".", *wheels)
    left_out = []
    for wish in requirements(amount):
        try:
            pip(inside, wish, *wheels, together)
        except NotInstalledError:
            left_out.append(re.split("[<>=~!]", wish)[0])
    return inside, f"without {', '.join(left_out)}" if left_out else ""


def requirements(amount: str) -> list[str]:
    """Each by itself: one that has no wheel takes no other with it."""
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    wishes = [wish for extra in EXTRAS[amount] for wish in extras[extra] if not wish.startswith("shardpack[")]
    return [*(wish for group in GROUPS[amount] for wish in groups[group]), *wishes]


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalledError(done.stderr.strip()[-600:])


def measure(version: str, amount: str, arguments: list[str], script: str | None = None) -> Row:
    row = Row(version)
    try:
        interpreter = pythons.bring(version)
    except NotHadError as error:
        row.remark = "cannot be had here"
        print(f"{version} cannot be had here: {error}", flush=True)
        return row
    try:
        python, row.remark = install(interpreter, version, amount)
        exact, row.gil, row.core = run(python, "-c", ASK).split()
    except (NotInstalledError, NotHadError) as error:
        row.failed, row.remark = 1, "not installed"
        print(f"{version} could not be installed: {error}", flush=True)
        return row
    row.version = exact + "t" * version.endswith("t")
    print(f"--- Python {row.version}, core {row.core}, GIL {row.gil}", flush=True)
    if script:
        done = subprocess.run((python, script, *arguments), cwd=HOUSE, check=False)
        row.passed, row.failed = int(done.returncode == 0), int(done.returncode != 0)
        return row
    report = ENVIRONMENTS / f"{version}-{amount}.xml"
    report.unlink(missing_ok=True)
    start = time.monotonic()
    subprocess.run((python, "-m", "pytest", "-q", f"--junitxml={report}", *arguments), cwd=HOUSE, check=False)
    row.seconds = time.monotonic() - start
    count(row, report)
    return row


def count(row: Row, report: Path) -> None:
    if not report.exists():
        row.failed, row.remark = 1, "pytest did not end"
        return
    for suite in ET.parse(report).getroot().iter("testsuite"):
        number = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
        row.failed += number["failures"] + number["errors"]
        row.skipped += number["skipped"]
        row.passed += number["tests"] - number["failures"] - number["errors"] - number["skipped"]


def table(rows: list[Row]) -> str:
    lines = [["Python", "GIL", "core", "passed", "failed", "skipped", "seconds", ""], *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def main() -> int:
    own, _, others = " ".join(sys.argv[1:]).partition(" -- ") if "--" in sys.argv else (" ".join(sys.argv[1:]), "", "")
    parser = argparse.ArgumentParser(description="Run the tests on several Pythons.")
    parser.add_argument(
        "versions", nargs="*", default=pythons.CLAIMED, help="such as 3.13 or 3.14t; all that are claimed"
    )
    parser.add_argument(
        "--only", choices=("codec", "all"), default="all", help="install what the codec's tests need, or all"
    )
    parser.add_argument("--run", metavar="SCRIPT", help="run this in place of pytest")
    chosen = parser.parse_args(own.split())
    rows = [measure(version, chosen.only, others.split(), chosen.run) for version in chosen.versions]
    print(table(rows))
    had = [row for row in rows if row.remark != "cannot be had here"]
    return 0 if had and all(row.good for row in had) else 1


if __name__ == "__main__":
    sys.exit(main())
