"""Whatever threads share in the native core has its line in docs/native-threads.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "rust" / "src"
PAGE = ROOT / "docs" / "native-threads.md"

STATIC = re.compile(r"^\s*(?:pub(?:\(\w+\))? )?static (?:mut )?(\w+):", re.MULTILINE)
CLASS = re.compile(r"#\[pyclass[^]]*\]\n(?:#.*\n)*pub struct (\w+)")


def shared() -> Iterator[tuple[str, str]]:
    """Each file and what it has that threads may share."""
    for path in sorted(SOURCES.rglob("*.rs")):
        text = path.read_text(encoding="utf-8").partition("#[cfg(test)]\nmod tests")[0]
        for name in STATIC.findall(text) + CLASS.findall(text):
            yield path.relative_to(SOURCES).as_posix(), name


def missing(page: str) -> list[tuple[str, str]]:
    rows = [line for line in page.splitlines() if line.startswith("|")]
    return [
        (file, name)
        for file, name in shared()
        if not any(f"`{name}`" in row and (f"`{file}`" in row or name[1:].islower()) for row in rows)
    ]


def test_all_that_is_shared_has_its_line() -> None:
    assert not missing(PAGE.read_text(encoding="utf-8"))


def test_what_is_missing_is_found() -> None:
    found = set(missing(""))
    assert {
        ("memory.rs", "SPARE"),
        ("spare.rs", "SPARE"),
        ("python/flat.rs", "HERE"),
        ("md5/mod.rs", "CHOSEN"),
    } <= found
    assert {("python/builder.rs", "Builder"), ("python/flat.rs", "Flat"), ("python/columns.rs", "Cut")} <= found
