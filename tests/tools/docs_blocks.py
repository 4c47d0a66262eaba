"""A plugin for pytest that fails a run in which an example of the pages has not run: `-p docs_blocks`.

It watches what Python compiles, and what tests write into files for a Python of its own. A test may have changed names
and numbers in an example, so texts and numbers are not looked at, and nine of ten lines are enough to know it by.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
KNOWN_BY = 0.9
LITERAL = re.compile(r"""b?"[^"\n]*"|b?'[^'\n]*'|\b\d[\d_.]*\b""")
LONGEST = 400  # lines; no example is as long
_seen: list[set[str]] = []


def lines_of(source: str) -> set[str]:
    """The lines that tell one example from another."""
    lines = (LITERAL.sub("#", line.strip()) for line in source.splitlines() if not line.startswith("import "))
    return {line for line in lines if line}


def not_seen(sources: list[set[str]]) -> list[str]:
    """The examples that none of these sources is, by page and number."""
    missing = []
    for page in PAGES:
        for number, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
            lines = lines_of(block)
            if not any(len(lines & source) >= KNOWN_BY * len(lines) for source in sources):
                missing.append(f"{page.relative_to(ROOT)}, example {number}: {block.splitlines()[0]}")
    return missing


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "compile" and isinstance(arguments[0], bytes | str):
        source = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode("utf-8", "replace")
        _keep(source)


def _keep(source: str) -> None:
    if source.count("\n") < LONGEST:
        _seen.append(lines_of(source))


def pytest_configure() -> None:
    """Begin to watch."""
    sys.addaudithook(_watch)
    write = Path.write_text

    def watched(self: Path, data: str, encoding: str | None = None) -> int:
        if self.suffix == ".py":
            _keep(data)
        return write(self, data, encoding)

    Path.write_text = watched  # type: ignore[method-assign, assignment]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail for what has not run."""
    missing = not_seen(_seen)
    if missing and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    for one in missing:
        print(f"no test has run {one}")
