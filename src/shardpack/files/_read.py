"""`read`."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

from ..errors import DecodeError, FileError
from ..hashing import Shard
from ..records import Position, ReceivedRecord
from ..unpacking.unpacker import OnCorrupt, OutOfRange, unpack
from ._content import Content
from ._opening import ReadableBytes, opened


def read(
    source: str | os.PathLike[str] | ReadableBytes,
    *,
    on_corrupt: OnCorrupt = "raw",
    hash_range: Shard | tuple[int, int] | None = None,
    out_of_range: OutOfRange = "keep",
    after: Position | None = None,
) -> Iterator[ReceivedRecord]:
    """The user records in a file of Kinesis records, lazily, in their order and in constant memory.

    What the file is, its first bytes say, not its name: plain or compressed by gzip, bzip2, xz or zstd (before Python
    3.14 with the extra ``zstd``); then

    * aggregates one after the other, with nothing or a newline between them, as Firehose writes them to S3. Records
      that are no aggregates may stand between them, where each is a line;
    * JSON documents one after the other, each on a line or over many: PutRecords entries, pages of ``aws kinesis
      get-records``, Lambda, Firehose and Kinesis Analytics events, the SDK's responses;
    * aggregates in base64, as words or lines, or as JSON texts.

    Args:
        source: a path, or a stream of bytes, such as a file opened with mode ``"rb"`` or the ``Body`` of S3's
            ``GetObject``. A path is opened when the first record is asked for; a stream is not closed.
        on_corrupt: see `shardpack.unpack`. Where aggregates follow each other directly, it cannot be known where one
            that is not sound ends: with ``"raw"`` all that follows is then one record, if it is no more than a record
            can have, and else an error.
        hash_range: see `shardpack.unpack`.
        out_of_range: see `shardpack.unpack`.
        after: see `shardpack.unpack`.

    Raises:
        OSError: the path cannot be opened or read.
        FileError: the file is none of the above, or damaged; the message begins with its name, and the line or byte.
        TypeError: the source is neither a path nor a stream of bytes, or an option has the wrong type.
        ValueError, DecodeError, OutOfRangeError: as `shardpack.unpack`.
    """
    place = _Place(source)
    values = place.values()
    options: dict[str, Any] = {"on_corrupt": on_corrupt, "hash_range": hash_range, "out_of_range": out_of_range}
    return place.located(values, unpack(values, **options, after=after))


class _Place:
    """An input that is being read, and where."""

    def __init__(self, source: str | os.PathLike[str] | ReadableBytes) -> None:
        self._source = source
        self._content: Content | None = None

    def values(self) -> Generator[Any, None, None]:
        with opened(self._source) as source:
            self._content = Content(source)
            yield from self._content

    def located(
        self, values: Generator[Any, None, None], records: Iterator[ReceivedRecord]
    ) -> Iterator[ReceivedRecord]:
        """The records; what is wrong with one names its place, and the file is closed at their end in any case."""
        try:
            yield from records
        except FileError:
            raise
        except (DecodeError, TypeError, RecursionError) as error:
            if self._content is None:
                raise
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
            raise self._content.error(reason) from error
        finally:
            values.close()
