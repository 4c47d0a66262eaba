"""The data of Kinesis records, in one Arrow array or in as many objects, with the same questions to both.

Objects of Python are cut where they are: to make an array of them would copy all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from ..wire.format import MAGIC


class Blobs(Protocol):
    """The data of Kinesis records."""

    def __len__(self) -> int:
        """How many there are."""

    def slice(self, start: int, length: int) -> Blobs:
        """Some of them, without a copy."""

    def sizes(self) -> list[int]:
        """The bytes of each; 0 where there is no data."""

    def value(self, place: int) -> bytes:
        """One of them, which is there."""

    def like_aggregates(self) -> list[int]:
        """The places of those that start like an aggregate."""

    def take(self, places: list[int]) -> pa.Array:
        """Some of them as a binary array, with null where there is no data."""

    def array(self) -> pa.Array:
        """All as a large binary array without nulls."""

    def group(self) -> list[bytes] | tuple[memoryview, memoryview]:
        """As a core cuts them: bytes objects, or all data, and where each begins and the last ends."""


class ArrayBlobs:
    """Those in a large binary array."""

    def __init__(self, column: pa.Array) -> None:
        self._column = column
        self._sizes: list[int] | None = None

    def __len__(self) -> int:
        return len(self._column)

    def slice(self, start: int, length: int) -> ArrayBlobs:
        return ArrayBlobs(self._column.slice(start, length))

    def sizes(self) -> list[int]:
        if self._sizes is None:
            self._sizes = pc.binary_length(self._column).fill_null(0).to_pylist()
        return self._sizes

    def value(self, place: int) -> bytes:
        data: bytes = self._column[place].as_py()
        return data

    def like_aggregates(self) -> list[int]:
        places: list[int] = pc.indices_nonzero(pc.starts_with(self._column, pattern=MAGIC).fill_null(False)).to_pylist()
        return places

    def take(self, places: list[int]) -> pa.Array:
        return self._column.take(pa.array(places, pa.int64())).cast(pa.binary())

    def array(self) -> pa.Array:
        return self._column.fill_null(b"") if self._column.null_count else self._column  # which would copy

    def group(self) -> tuple[memoryview, memoryview]:
        ends, buffer = ends_and_buffer(self.array())
        offsets = memoryview(ends.buffers()[1]).cast("B")[: 8 * len(ends)].cast("q")
        return memoryview(buffer).cast("B"), offsets


class ObjectBlobs:
    """Those in bytes objects."""

    def __init__(self, blobs: Sequence[bytes]) -> None:
        self._blobs = blobs

    def __len__(self) -> int:
        return len(self._blobs)

    def slice(self, start: int, length: int) -> ObjectBlobs:
        return ObjectBlobs(self._blobs[start : start + length])

    def sizes(self) -> list[int]:
        return list(map(len, self._blobs))

    def value(self, place: int) -> bytes:
        return self._blobs[place]

    def like_aggregates(self) -> list[int]:
        return [place for place, blob in enumerate(self._blobs) if blob.startswith(MAGIC)]

    def take(self, places: list[int]) -> pa.Array:
        return pa.array([self._blobs[place] for place in places], pa.large_binary()).cast(pa.binary())

    def array(self) -> pa.Array:
        return pa.array(self._blobs, pa.large_binary())

    def group(self) -> list[bytes]:
        return list(self._blobs)


def ends_and_buffer(array: pa.Array) -> tuple[pa.Array, pa.Buffer]:
    """Where in a buffer each value of a large array of bytes or text begins and the last ends, and the buffer."""
    ends = pa.Array.from_buffers(pa.int64(), len(array) + 1, [None, array.buffers()[1]], offset=array.offset)
    start, end = ends[0].as_py(), ends[-1].as_py()
    buffer = array.buffers()[2] or pa.py_buffer(b"")  # where there is nothing, there may be no buffer
    return pc.subtract(ends, start), buffer.slice(start, end - start)


def memory_of(array: pa.Array) -> tuple[int, int]:
    """Where the memory begins that a large array of bytes lies in, and how many bytes it has.

    It may have far more than the array: a slice keeps all that it was cut from, and a column all of its message.
    """
    buffer = array.buffers()[2] or pa.py_buffer(b"")  # see `ends_and_buffer`
    while buffer.parent is not None:
        buffer = buffer.parent
    return buffer.address, buffer.size
