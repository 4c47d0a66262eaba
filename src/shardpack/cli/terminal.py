"""What reaches a terminal: text of other people without its control characters, and never read as markup.

A partition key, a shard id, a worker's name, a message of a server or a file's name may hold anything. An escape
sequence among it would move the cursor, rename the window or hide what stands before it; a bidirectional override would
show digits in another order. So every such text passes `printable`, JSON passes `json_text`, and tables are printed by
the `console` of this module, which knows no markup, by `print_table`, which cuts no cell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console

# DEL and C1; the bidirectional controls of Unicode (UAX #9), and the separators that end a line; lone surrogates, which
# no encoding can write.
_UNSAFE = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_JSON = re.compile(f"[{_UNSAFE}]")  # which escapes C0 by itself
_IN_TEXT = re.compile(f"[\x00-\x1f{_UNSAFE}]")


def printable(value: object, *, most: int | None = None) -> str:
    r"""A text of somebody else, as a terminal may see it: on one line, and without what would steer the terminal.

    Args:
        value: the text, or what is turned into one.
        most: characters; a longer text is cut, and says how much is missing. None: it stays whole.

    Returns:
        The text, with control characters, bidirectional controls and lone surrogates written as JSON writes them, such
        as ``\u001b``.
    """
    text = str(value)
    if most is not None and len(text) > most:
        text = f"{text[:most]}… ({len(text) - most:,} characters more)"
    if text.isascii() and text.isprintable():
        return text
    return _IN_TEXT.sub(_escape, text)


def json_text(value: object, *, indent: int | None = None) -> str:
    r"""A value as JSON that people can read: beyond ASCII as it is, but for what `printable` escapes too.

    It is the same JSON value: inside of strings, ``\u009b`` means the character.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if text.isascii() and "\x7f" not in text:
        return text
    return _IN_JSON.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def console(*, width: int | None = None, stderr: bool = False) -> Console:
    """A console that takes every text as it is: no markup, no emoji codes, no colours by what a word looks like."""
    return Console(width=width, stderr=stderr, markup=False, emoji=False, highlight=False)


def row(cells: Iterable[object]) -> list[str]:
    """The cells of a table's row; None and the empty text are shown as a dash."""
    return ["-" if cell in (None, "") else printable(cell) for cell in cells]


_GAPS = (2, 1)  # spaces between columns: the second where it saves a part of the table


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        head: its lines stand above each other.
        is_number: its cells end in line.
    """

    head: str
    is_number: bool = False


def print_table(
    out: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    styles: Sequence[str | None] = (),
) -> None:
    """Print a table without cutting or folding a cell: half a number or a broken id is worse than none.

    Columns that do not fit beside the others come below, beside the first column once more. A cell that is wider than
    the terminal runs on: the terminal wraps it, and whoever copies it gets it whole.

    Args:
        out: where to.
        columns: the first one says what a row is about.
        rows: as many cells in each as there are columns, printable.
        title: stands above.
        styles: of the rows, as rich has them.
    """
    heads = [column.head.split("\n") for column in columns]
    widths = [max(cell_len(text) for text in (*head, *(cells[at] for cells in rows))) for at, head in enumerate(heads)]
    if title:
        out.print(title)
    gap, groups = min(((gap, _groups(widths, gap, out.width)) for gap in _GAPS), key=lambda found: len(found[1]))
    for number, shown in enumerate(groups):
        if number:
            out.print()

        def line(cells: Sequence[str], shown: Sequence[int] = shown) -> str:
            return (" " * gap).join(_padded(cells[at], widths[at], columns[at]) for at in shown).rstrip()

        height = max(len(heads[at]) for at in shown)
        for at in range(-height, 0):
            out.print(line([head[at] if -at <= len(head) else "" for head in heads]), style="bold", soft_wrap=True)
        for at, cells in enumerate(rows):
            out.print(line(cells), style=styles[at] if styles else None, soft_wrap=True)


def _padded(cell: str, width: int, column: Column) -> str:
    space = " " * (width - cell_len(cell))
    return space + cell if column.is_number else cell + space


def _groups(widths: Sequence[int], gap: int, most: int) -> list[list[int]]:
    """Which columns stand beside each other, the first in each group."""
    groups: list[list[int]] = []
    room = 0
    for at, width in enumerate(widths[1:], 1):
        if not groups or room < gap + width:
            groups.append([0])
            room = most - widths[0]
        groups[-1].append(at)
        room -= gap + width
    return groups or [[0]]
