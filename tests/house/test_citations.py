"""The source of a rule is something that a reader can open: an AWS page, or a class of the KPL or the KCL."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEARCHED = ["src", "tests", "docs", "benchmarks", "proto", "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml"]
KINDS = {".py", ".pyi", ".rs", ".md", ".toml", ".proto", ".js", ".java", ""}
# Notes from which the first versions were written, by name and by the numbers of their sections.
NOTES = re.compile(r"(?:kpl-kcl-semantics|python-peers|(?<![\w/-])design)\.md|\((?:[^()\n]*, )?[A-D]\d{1,2}a?\)")


def files() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *SEARCHED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    names = [Path(name) for name in tracked.stdout.split("\0") if name]
    return [ROOT / name for name in names if name.suffix in KINDS and "vectors" not in name.parts]


def test_nothing_cites_a_file_that_a_reader_lacks() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files()
        if path != Path(__file__) and path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if NOTES.search(line)
    ]
    assert not found, "name the AWS page, or the class of the KPL or the KCL:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "line", ["(kpl-kcl-semantics.md,", "see design.md", "python-peers.md", "the limiter (A7)", "the KPL (limiter, A9a)"]
)
def test_a_citation_would_be_found(line: str) -> None:
    assert NOTES.search(line)
