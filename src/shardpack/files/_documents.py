"""JSON documents, one a line or over many lines, any number of them one after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ..errors import FileError
from ..limits import MIB
from ._lines import Lines

_LARGEST_DOCUMENT = 64 * MIB  # a GetRecords response of 10 MiB in base64 and indented, and much more
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"')
_SPACES = re.compile(r"[ \t\r\n]*")


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, or is nested deeper than any record.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class NotJsonError(ValueError):
    """A text is no JSON document.

    Attributes:
        line: where, in the file.
        reason: why, shortly.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


def document(first: bytes, rest: Iterator[bytes], lines: Lines) -> list[Any]:
    """The JSON document that begins with a line, and those that begin before its last line ends.

    A document ends with the line on which its last bracket is closed; what stands in strings does not count, and no
    string of JSON runs over the end of a line. So each line is looked at once.

    Args:
        first: the line, which is no JSON document alone.
        rest: the lines behind it; as many are taken as the document has.
        lines: counts them.

    Raises:
        NotJsonError: it is none.
        FileError: it is longer than any document with Kinesis records.
    """
    start = lines.number
    pieces, size, depth = [first], len(first), _depth(first, start)
    while depth > 0:
        line = next(rest, None)
        if line is None:
            raise NotJsonError(start, f"not closed is {depth:,} of the brackets that are opened from here on")
        pieces.append(line)
        size += len(line) + 1
        if size > _LARGEST_DOCUMENT:
            raise FileError(
                f"{lines.name}:{start}: neither JSON lines, nor a JSON document or an aggregate, which have at most"
                f" {_LARGEST_DOCUMENT:,} bytes"
            )
        depth += _depth(line, lines.number)
    return _values(b"\n".join(pieces), start)


def _depth(line: bytes, number: int) -> int:
    """How many brackets more are opened than closed on a line."""
    outside = _STRING.sub(b"", line)
    if b'"' in outside:
        raise NotJsonError(number, "a string has no end on its line")
    return outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")


def _values(whole: bytes, start: int) -> list[Any]:
    decoder, values, place = json.JSONDecoder(), [], 0
    try:
        text = whole.decode(json.detect_encoding(whole))
        while (place := _end_of_spaces(text, place)) < len(text):
            value, place = decoder.raw_decode(text, place)
            values.append(value)
    except RecursionError:
        raise NotJsonError(start, "it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise NotJsonError(start + error.lineno - 1, error.msg) from None
    except ValueError as error:
        raise NotJsonError(start, str(error)) from None
    if not values:
        raise NotJsonError(start, "there is nothing in it")
    return values


def _end_of_spaces(text: str, place: int) -> int:
    found = _SPACES.match(text, place)
    return place if found is None else found.end()
