"""Which keys and shards a stream's records are on: counted in bounded memory, and shown as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ....records import ReceivedRecord
from ...terminal import Column, console, print_table, row

_MOST_KEYS = 10_000  # counted at a time
_SHOWN = 10
_SHOWN_CHARACTERS = 60


class Hot:
    """Counts the user records and bytes of keys and shards.

    Of keys, only so many are counted at a time, by the algorithm of Misra and Gries: when there are more, every count
    is lowered alike, and what falls to zero is dropped. So the hottest keys stay, and their counts are too low by at
    most the share that is shown.

    Args:
        most_keys: keys that are counted at a time.
    """

    def __init__(self, most_keys: int = _MOST_KEYS) -> None:
        self._most_keys = most_keys
        self._records: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()
        self._lowered = 0

    def add(self, records: Iterable[ReceivedRecord]) -> None:
        """Count records."""
        for record in records:
            shard_id, key = record.shard_id or "-", record.partition_key
            self._records[shard_id] += 1
            self._bytes[shard_id] += len(record.data) + len((key or "").encode("utf-8", "replace"))
            if key is not None:
                self._keys[key] += 1
        if len(self._keys) > self._most_keys:
            self._lower()

    def _lower(self) -> None:
        by = sorted(self._keys.values(), reverse=True)[self._most_keys]
        self._lowered += by
        self._keys = Counter({key: count - by for key, count in self._keys.items() if count > by})

    @property
    def total(self) -> int:
        """User records that were counted."""
        return self._records.total()

    @property
    def keys(self) -> list[tuple[str, int]]:
        """The hottest keys, and at least how many records of each."""
        return self._keys.most_common(_SHOWN)

    @property
    def too_low_by(self) -> int:
        """How much too low the count of a key may be."""
        return self._lowered

    def show(self) -> None:
        """Print the tables."""
        shards = [
            row([shard_id, f"{count:,}", f"{self._bytes[shard_id]:,}", self._share(count)])
            for shard_id, count in self._records.most_common()
        ]
        keys = []
        for key, count in self.keys:
            shown = key if len(key) <= _SHOWN_CHARACTERS else f"{key[:_SHOWN_CHARACTERS]}…"
            keys.append(row([shown, f"{count:,}", self._share(count)]))
        numbers = [Column(name, is_number=True) for name in ("records", "bytes", "of all records")]
        printer = console()
        print_table(printer, [Column("shard"), *numbers], shards)
        printer.print()
        print_table(printer, [Column("partition key"), numbers[0], numbers[2]], keys)
        if self.too_low_by:
            printer.print(f"There are many keys: a key's count may be too low by {self.too_low_by:,}.")

    def _share(self, count: int) -> str:
        return f"{count / self.total:.1%}" if self.total else "-"
