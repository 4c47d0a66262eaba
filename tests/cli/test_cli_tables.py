"""Tables on any terminal: no id is folded, no number is cut, and what does not fit beside comes below."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from command_line import run
from rich.console import Console

import shardpack as sp
from shardpack.cli.commands.density.table import compare, show
from shardpack.cli.terminal import Column, print_table
from shardpack.density import measure
from shardpack.leases.lease import Lease

SEQUENCE_NUMBER = "49590338271490256608559692538361571095921575989136588898"
HEADS = [
    Column("shard"),
    Column("user rec.\nin each", is_number=True),
    Column("checkpoint"),
    Column("$", is_number=True),
]
ROWS = [
    ["shardId-000000000000", "1", SEQUENCE_NUMBER, "1,234,567"],
    ["shardId-000000000001", "12,345", "TRIM_HORIZON", "-"],
]


def printed(width: int, *, rows: list[list[str]] = ROWS) -> list[str]:
    out = Console(file=io.StringIO(), width=width)
    print_table(out, HEADS, rows)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def test_where_there_is_room_it_is_one_table() -> None:
    assert printed(120) == [
        "                      user rec.",
        f"shard                   in each  checkpoint{' ' * 56}$",
        f"shardId-000000000000          1  {SEQUENCE_NUMBER}  1,234,567",
        f"shardId-000000000001     12,345  TRIM_HORIZON{' ' * 54}-",
    ]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_what_does_not_fit_comes_below_beside_the_first_column(width: int) -> None:
    lines = printed(width)
    for _, *cells in ROWS:
        assert all(any(cell in line.split() for line in lines) for cell in cells)
    for line in lines:
        assert len(line) <= width or SEQUENCE_NUMBER in line or "checkpoint" in line  # wider by itself: it runs on
    heads = [line for line in lines if line.startswith("shard ")]
    assert len(heads) == lines.count("") + 1 > 1


def test_a_table_without_rows_has_its_heads() -> None:
    assert [line.split() for line in printed(80, rows=[])] == [
        ["user", "rec."],
        ["shard", "in", "each", "checkpoint", "$"],
    ]


def test_wide_characters_keep_the_columns_in_line() -> None:
    rows = [["顧客", "1", "x", "2"], ["ab", "3", "y", "4"]]
    first, second = printed(80, rows=rows)[-2:]
    assert first.index("x") + 2 == second.index("y")


@pytest.mark.parametrize("width", ["60", "80"])
def test_inspect_shows_hash_keys_to_the_last_digit(width: str, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(sp.encode([("a" * 30, b"x" * 40, str(2**128 - 1)), ("b", b"two", "5")]))
    out = run("inspect", blob, "--shards", "2", environment={"COLUMNS": width})[0].decode()
    lines = out.splitlines()
    assert sum(str(2**128 - 1) in line for line in lines) == 2  # its hash key, and its explicit one
    assert sum("shardId-000000000001" in line for line in lines) == 1


@pytest.mark.parametrize("width", ["60", "80"])
def test_leases_show_a_checkpoint_on_one_line(width: str, tmp_path: Path) -> None:
    file = tmp_path / "clicks.db"
    leases = sp.SQLiteLeases(file)
    leases.prepare()
    leases.create(Lease("shardId-000000000000", checkpoint=sp.Position(SEQUENCE_NUMBER, 7)))
    assert SEQUENCE_NUMBER in run("leases", "show", file, environment={"COLUMNS": width})[0].decode()


@pytest.mark.parametrize("width", [60, 80])
def test_density_shows_every_number(width: int) -> None:
    measured = measure([(f"user-{n}", b"x" * 70) for n in range(300)], rate=5000)
    out = Console(file=io.StringIO(), width=width)
    show(measured, "events.jsonl", out)
    compare([("events.jsonl", measured), ("more.jsonl", measured)], out)
    assert isinstance(out.file, io.StringIO)
    text = out.file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for row in measured.rows:
        lines = " ".join(line for line in text.splitlines() if line.startswith(f"{row.strategy.name}  "))
        cells = [row.kinesis_records, round(row.provisioned or 0), round(row.on_demand or 0), round(row.advantage or 0)]
        assert {f"{cell:,}" for cell in cells} <= set(lines.split())


def test_colours_come_on_a_terminal_only_and_never_with_no_color() -> None:
    density = ("density", "--synthetic", "login:50-100", "--records", "50", "--rate", "5000")
    green = b"\x1b[1;32m"  # the row that is recommended
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    assert b"\x1b" not in run(*density)[0]
    assert green in run(*density, environment=terminal)[0]
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9]m", run(*density, environment=terminal | {"NO_COLOR": "1"})[0])
