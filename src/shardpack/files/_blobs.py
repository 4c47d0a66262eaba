"""Aggregates one after the other, as Firehose writes them to S3, with nothing around them or a newline between them.

Nothing says how long an aggregate is. But its protobuf message is a row of fields, each with its length, and the MD5 of
the message follows it: so the message ends after the field behind which its own MD5 stands. The magic is never searched
for, because a user record may hold it.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections import deque
from collections.abc import Iterable, Iterator

from ..errors import FileError
from ..limits import MAX_RECORD_BYTES, MIB
from ..wire.format import CHECKSUM_BYTES, END_GROUP, FIXED32, FIXED64, LENGTH_DELIMITED, MAGIC, START_GROUP, VARINT

_log = logging.getLogger("shardpack.files")

_USUAL_TAGS = frozenset(number << 3 | LENGTH_DELIMITED for number in (1, 2, 3))
_MAY_FOLLOW = frozenset((MAGIC[0], *b"\r\n"))
_LAST_FIELDS = 65_536  # beyond its end, even a hundred fields in a row would be a wonder
_MOST = MAX_RECORD_BYTES  # of an aggregate, whatever stream it was in


class Blobs:
    """The aggregates of a stream, and the lines between them, each of which is a plain record.

    At most 22 MiB are held at a time.

    Attributes:
        offset: where the blob that was last given begins, in bytes from the beginning of the stream.
    """

    def __init__(self, stream: io.BufferedIOBase, name: str, head: bytes = b"") -> None:
        self._stream = stream
        self._name = name
        self._window = bytearray(head)
        self._is_whole = False  # whether the window reaches to the end of the stream
        self.offset = 0

    def __iter__(self) -> Iterator[bytes]:
        start = 0
        while True:
            start = self._fill(start)
            if start >= len(self._window):
                return
            end = self._end(start)
            yield bytes(memoryview(self._window)[start:end])
            self.offset += end - start
            separator = self._separator(end)
            self.offset += separator
            start = end + separator

    def error(self, message: object) -> FileError:
        """An error at the blob that was last given."""
        return FileError(f"{self._name}: at byte {self.offset:,}: {message}")

    def _fill(self, start: int) -> int:
        """Have at least as much in the window as a record can take; where it begins then."""
        wanted = _MOST + MIB
        if self._is_whole or len(self._window) - start >= wanted:
            return start
        del self._window[:start]
        while len(self._window) < 2 * wanted and not self._is_whole:
            piece = self._stream.read1(MIB)
            self._window += piece
            self._is_whole = not piece
        return 0

    def _end(self, start: int) -> int:
        window = self._window
        if not window.startswith(MAGIC, start):
            return self._end_of_line(start)
        if self.offset == 0 and self._is_whole and (end := _end_of_all(window, start)):
            return end  # one aggregate is the whole, as most often
        limit = min(len(window), start + _MOST)
        end = end_of_aggregate(window, start, limit)
        if end is not None:
            return end
        if not self._is_whole or limit < len(window):
            raise self.error(
                f"it starts like an aggregate, and no sound one ends within {_MOST:,} bytes, which is the most that a"
                " record has; where the next one begins cannot be known"
            )
        if self.offset:
            rest = f"{len(window) - start:,} bytes"
            _log.warning(
                "%s", self.error(f"it starts like an aggregate and is no sound one; the rest, {rest}, is one record")
            )
        return len(window)

    def _end_of_line(self, start: int) -> int:
        """A record that was alone is no aggregate: then only a newline can tell where it ends."""
        window = self._window
        newline = window.find(b"\n", start)
        end = len(window) if newline < 0 else newline
        if end - start > _MOST:
            raise self.error(f"neither an aggregate, nor a line of at most {_MOST:,} bytes")
        if window.find(MAGIC, start, end) >= 0:
            raise self.error(
                "a record that is no aggregate is followed by one with no newline between them, so where it ends"
                " cannot be known; have Firehose add a delimiter (AppendDelimiterToRecord)"
            )
        return end - 1 if newline > start and window[end - 1 : end] == b"\r" else end

    def _separator(self, end: int) -> int:
        for separator in (b"\n", b"\r\n"):
            if self._window.startswith(separator, end):
                return len(separator)
        return 0


def _end_of_all(window: bytearray, start: int) -> int | None:
    """The end, if all of a window is one aggregate, perhaps with a newline behind it."""
    for newline in (b"", b"\n", b"\r\n"):
        end = len(window) - len(newline)
        body = start + len(MAGIC), end - CHECKSUM_BYTES
        if window.endswith(newline) and body[1] > body[0] and _md5(window, *body) == window[body[1] : end]:
            return end
    return None


def _md5(window: bytearray, start: int, end: int) -> bytes:
    with memoryview(window) as view, view[start:end] as body:
        return hashlib.md5(body).digest()


def end_of_aggregate(window: bytearray, start: int, limit: int) -> int | None:
    """Where the aggregate that begins at `start` ends, behind its MD5; None: there is none up to `limit`.

    The MD5 is looked at where what follows it may follow an aggregate, and only if that does not help behind the last
    fields that can be read as such. What follows the end of a message is an MD5, and hardly ever can be read as fields
    for long: a blob that is not sound costs one walk over its fields, and not an MD5 for each of them.
    """
    hashed = place = start + len(MAGIC)
    passed: deque[int] = deque(maxlen=_LAST_FIELDS)
    md5 = hashlib.md5()
    size = len(window)
    with memoryview(window) as view:
        while place + CHECKSUM_BYTES <= limit:
            end = place + CHECKSUM_BYTES
            if end == size or window[end] in _MAY_FOLLOW:
                md5.update(view[hashed:place])
                hashed = place
                if md5.copy().digest() == window[place:end] and place > start + len(MAGIC):
                    return end
            elif place > start + len(MAGIC):
                passed.append(place)
            after = _end_of_field(window, place, limit)
            if after is None:
                break
            place = after
        return _end_among(passed, view, start)


def _end_among(places: Iterable[int], view: memoryview, start: int) -> int | None:
    """The first end behind one of these places, in their order, at which the MD5 of what comes before it stands."""
    hashed = start + len(MAGIC)
    md5 = hashlib.md5()
    for place in places:
        md5.update(view[hashed:place])
        hashed = place
        if md5.copy().digest() == view[place : place + CHECKSUM_BYTES]:
            return place + CHECKSUM_BYTES
    return None


def _end_of_field(window: bytearray, place: int, limit: int) -> int | None:
    """Where the protobuf field that begins here ends; None: it does not, or is none."""
    tag = window[place]
    if tag in _USUAL_TAGS and place + 1 < limit and (length := window[place + 1]) < 0x80:
        end = place + 2 + length
        return end if end <= limit else None
    if tag > 0x7F:
        tag, place = _varint(window, place, limit)
    else:
        place += 1
    kind = tag & 7
    if kind == LENGTH_DELIMITED:
        length, place = _varint(window, place, limit)
        place += length
    elif kind == VARINT:
        _, place = _varint(window, place, limit)
    elif kind in (FIXED64, FIXED32):
        place += 8 if kind == FIXED64 else 4
    elif kind not in (START_GROUP, END_GROUP):  # which stand around fields, and have nothing of their own
        return None
    return place if tag > 7 and place <= limit else None


def _varint(window: bytearray, place: int, limit: int) -> tuple[int, int]:
    """A number and where it ends; beyond the limit if it does not."""
    number = shift = 0
    while place < limit and shift < 70:
        byte = window[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
    return 0, limit + 1
