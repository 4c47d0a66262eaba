"""docs/architecture.md names what is there: every file, every room, and the layers as import-linter has them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "shardpack"
PAGE = ROOT / "docs" / "architecture.md"
PATH = re.compile(r"[\w.-]+/|(?:[\w.-]+/)*[\w.-]+\.(?:py|pyi|rs|md|toml|proto)|(?:[\w.-]+/)+[\w.-]*")


def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def paths(page: str) -> list[str]:
    return [span for span in re.findall(r"`([^`\n]+)`", page) if PATH.fullmatch(span)]


def layers(page: str) -> list[set[str]]:
    """The rows of the picture, from the top: a room is a word between the bars, and a line of ├─┤ ends a row."""
    (picture,) = re.findall(r"^```text\n┌(.*?)^└", page, re.DOTALL | re.MULTILINE)
    rows = re.split(r"^├.*$", picture, flags=re.MULTILINE)
    return [set(" ".join(re.findall(r"^│(.*?)│", row, re.MULTILINE)).split()) for row in rows]


def test_every_file_that_it_names_is_there() -> None:
    named = paths(text())
    assert len(named) > 60
    missing = {path for path in named if not (SOURCE / path).exists() and not (ROOT / path).exists()}
    assert not missing, f"docs/architecture.md names what is not there: {sorted(missing)}; write where it went"


def test_a_file_that_is_gone_would_be_found() -> None:
    assert paths("`wire/gone.py` and `gone/`, but not `put` nor `Packer._place`") == ["wire/gone.py", "gone/"]


def test_its_picture_is_the_rule_that_is_checked() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (rule,) = [contract for contract in linter["contracts"] if contract["id"] == "one-way"]
    assert layers(text()) == [set(layer.split(" | ")) for layer in rule["layers"]]


def test_every_room_is_in_its_table() -> None:
    rooms = {f"{path.name}/" for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    modules = {path.name for path in SOURCE.glob("*.py")} - {"__init__.py", "__main__.py"}
    table = text().partition("| Room |")[2].partition("\n\n")[0]
    in_table = set(paths("\n".join(row.split("|")[1] for row in table.splitlines()[2:])))
    assert (rooms | modules) - in_table == set()
