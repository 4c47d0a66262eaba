"""What an input holds, told by its first bytes: aggregates, JSON documents, or base64."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import FileError
from ..wire.format import MAGIC
from ._blobs import Blobs
from ._documents import NotJsonError, document, parse_json
from ._lines import Lines
from ._opening import Opened

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{2,}={0,2}")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Content:
    """The Kinesis records in an input of any of the shapes that `unpack` reads.

    JSON lines and aggregates come one at a time; a JSON document over several lines (``aws kinesis get-records``, a
    Lambda event) is read whole, as far as such a thing can be long.

    Attributes:
        lines: its lines, as far as they were read.
        is_json_lines: whether its first line was a JSON document.
    """

    def __init__(self, source: Opened) -> None:
        self._source = source
        self._blobs: Blobs | None = None
        self._has_base64 = False
        self._is_utf_16 = False
        self.lines = Lines(source.stream, source.name)
        self.is_json_lines = False

    def __iter__(self) -> Iterator[Any]:
        head = b""
        while MAGIC.startswith(head) and len(head) < len(MAGIC) and (byte := self._source.stream.read(1)):
            head += byte
        if head == MAGIC:
            self._blobs = Blobs(self._source.stream, self._source.name, head)
            for blob in self._blobs:
                yield {"Data": blob}
            return
        self.lines.head = head
        lines = iter(self.lines)
        for line in lines:
            if line and not line.isspace():
                yield from self._documents(line, lines)

    def error(self, message: object) -> FileError:
        """An error at what was last given."""
        return self.lines.error(message) if self._blobs is None else self._blobs.error(message)

    def _documents(self, line: bytes, lines: Iterator[bytes]) -> Iterable[Any]:
        is_first = self.lines.number == 1
        self._is_utf_16 = self._is_utf_16 or (is_first and line.startswith(_UTF_16))
        try:
            value = parse_json(line)
        except ValueError as error:
            blobs = self._base64(line)
            if blobs is not None:
                return blobs
            if "nested" in str(error):
                raise self._not_json(self.lines.number, str(error), is_first=is_first) from None
        else:
            self.is_json_lines = self.is_json_lines or is_first
            return (_records(value),)
        try:
            return map(_records, document(line, lines, self.lines))
        except NotJsonError as error:
            raise self._not_json(error.line, error.reason, is_first=is_first) from None

    def _not_json(self, number: int, reason: str, *, is_first: bool) -> FileError:
        if self._is_utf_16:
            reason = "it is UTF-16; convert it, as by: iconv -f UTF-16 -t UTF-8"
        what = f"neither JSON ({reason}) nor an aggregate, which starts with {MAGIC.hex()}, or in base64 with 84mawg"
        return FileError(f"{self.lines.name}:{number}: {what if is_first else f'not JSON ({reason})'}")

    def _base64(self, line: bytes) -> list[dict[str, bytes]] | None:
        """What the words of a line are in base64, if the first that is so read in this input is an aggregate."""
        blobs = []
        for word in line.split():
            if len(word) % 4 or not _BASE64.fullmatch(word):
                return None
            blob = base64.b64decode(word)
            if not self._has_base64 and not blob.startswith(MAGIC):
                return None
            self._has_base64 = True
            blobs.append({"Data": blob})
        return blobs


def _records(value: Any) -> Any:
    """A JSON document; texts are data in base64, as ``--query 'Records[].Data'`` gives them."""
    if isinstance(value, str):
        return {"Data": value}
    if isinstance(value, list) and any(isinstance(one, str) for one in value):
        return [{"Data": one} if isinstance(one, str) else one for one in value]
    return value
