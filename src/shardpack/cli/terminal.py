"""What reaches a terminal: text of other people without its control characters, and never read as markup.

A partition key, a shard id, a worker's name, a message of a server or a file's name may hold anything. An escape
sequence among it would move the cursor, rename the window or hide what stands before it; a bidirectional override would
show digits in another order. So every such text passes `printable`, JSON passes `json_text`, and tables are printed by
the `console` of this module, which knows no markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

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
