"""User records in columns in, Kinesis records out: `Packer` without an object for each user record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from ..records import PackedRecord, UserRecordLike
from ..wire.core import Rows
from .finishing import together
from .handing_out import Packing
from .packer import Packer

_TOGETHER = 32
"""So many Kinesis records come out together, or 64 MiB: twice as many checksums are made in little more time."""
_MOST_LENT_BYTES = 64 * 1024 * 1024
"""Open aggregates refer to what is in columns, and keep alive so many bytes of those that nothing more is read from."""
_PLACE_BYTES = 8
"""Where a value ends takes so many bytes, which no slice shares with others."""


class ColumnRows(NamedTuple):
    """User records in columns.

    Attributes:
        rows: as the core fills aggregates from them.
        size: how many there are.
        nbytes: how many bytes the memory has that the data lies in, and that is kept alive with it.
        record: one of them, by its place, as `Packer.add` takes it.
        address: where that memory begins, if other columns may lie in it too.
    """

    rows: Rows
    size: int
    nbytes: int
    record: Callable[[int], UserRecordLike]
    address: int | None = None


class ColumnPacker(Packer):
    """A packer that also takes columns."""

    _lent_bytes = 0
    _address: int | None = None  # of the memory that the columns lay in that came last

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
        start, most_together = 0, together(_TOGETHER, self._limits)
        try:
            while self._simple is not None and (start := part.rows.fill(start, self._simple)) < part.size:
                yield self._alone(partial(self._add_record, part.record(start)), most_together)
                start += 1
        except Exception:
            yield self._alone(lambda: None)  # what was complete before the record that is refused
            raise
        if self._is_to_let_go(part):
            yield self._alone(partial(self._let_go, part.rows))  # what is complete is copied on its way out

    def _is_to_let_go(self, part: ColumnRows) -> bool:
        """Whether too much is kept alive by what is lent. Slices of one memory, one after the other, count as one."""
        of_each = _PLACE_BYTES * part.size
        before, self._address = self._address, part.address
        if before is not None and before == part.address:
            # It is being read from, so it stays alive in any case; it counts again if it was let go meanwhile.
            self._lent_bytes = max(self._lent_bytes, part.nbytes) + of_each
            return self._lent_bytes - part.nbytes > _MOST_LENT_BYTES
        self._lent_bytes += part.nbytes + of_each
        return self._lent_bytes > _MOST_LENT_BYTES

    def _let_go(self, rows: Rows) -> None:
        rows.let_go([route.builder for route in self._open.values() if route.builder is not None])
        self._lent_bytes = 0

    def _add_record(self, record: UserRecordLike) -> None:
        self._add_any(*record)
