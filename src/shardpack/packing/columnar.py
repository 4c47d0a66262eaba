"""User records in columns in, Kinesis records out: `Packer` without an object for each user record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from ..records import PackedRecord, UserRecordLike
from ..wire.core import Rows
from .handing_out import Packing
from .packer import TOGETHER, Packer


class ColumnRows(NamedTuple):
    """User records in columns.

    Attributes:
        rows: as the core fills aggregates from them.
        size: how many there are.
        record: one of them, by its place, as `Packer.add` takes it.
    """

    rows: Rows
    size: int
    record: Callable[[int], UserRecordLike]


class ColumnPacker(Packer):
    """A packer that also takes columns."""

    def pack_columns(self, parts: Iterable[ColumnRows | Iterable[UserRecordLike]]) -> Iterator[PackedRecord]:
        """What `shardpack.pack` gives for all user records in these parts."""
        return Packing(self._groups_of(parts), self._keep)

    def _groups_of(self, parts: Iterable[ColumnRows | Iterable[UserRecordLike]]) -> Iterator[list[PackedRecord]]:
        for part in parts:
            if not isinstance(part, ColumnRows):
                yield from self._groups(part, flush=False)
            elif self._simple is None:
                yield from self._groups(map(part.record, range(part.size)), flush=False)
            else:
                yield from self._groups_of_rows(part)
        yield self._alone(self._close_all)

    def _groups_of_rows(self, part: ColumnRows) -> Iterator[list[PackedRecord]]:
        start = 0
        try:
            while self._simple is not None and (start := part.rows.fill(start, self._simple)) < part.size:
                yield self._alone(partial(self._add_record, part.record(start)), TOGETHER)
                start += 1
        except Exception:
            yield self._alone(lambda: None)  # what was complete before the record that is refused
            raise

    def _add_record(self, record: UserRecordLike) -> None:
        self._add_any(*record)
