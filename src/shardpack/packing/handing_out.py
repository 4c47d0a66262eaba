"""The Kinesis records of `Packer.add_all`, one by one."""

from __future__ import annotations

from _thread import RLock  # `threading` is slow to import, and has the same
from collections.abc import Callable, Iterator, Sequence

from ..records import PackedRecord


class Packing(Iterator[PackedRecord]):
    """Hands out Kinesis records one by one; threads may share it.

    Args:
        groups: gives those that are complete together.
        keep: takes those that nobody has asked for when this iterator is given up, out of a list.
    """

    _group: Sequence[PackedRecord] = ()  # here too, for one into whose making an interrupt comes
    _at = 0

    def __init__(self, groups: Iterator[list[PackedRecord]], keep: Callable[[list[PackedRecord]], None]) -> None:
        self._groups = groups
        self._keep = keep
        self._is_cut = False
        self._lock = RLock()

    def __next__(self) -> PackedRecord:
        found: PackedRecord | None = None
        try:
            with self._lock:
                while self._at == len(self._group):
                    self._advance()
                # An interrupt comes before or after these two lines, never between them: neither is a call.
                found = self._group[self._at]
                self._at += 1
        except Exception:
            raise
        except BaseException:
            if found is not None:
                self._at -= 1
            else:
                self._is_cut = True
            raise
        return found

    def _advance(self) -> None:
        for group in self._groups:
            self._group, self._at = group, 0
            return
        if self._is_cut:
            raise RuntimeError("the iterator was cut short by an interrupt, and has lost its place; make another")
        raise StopIteration

    def __del__(self) -> None:
        left = [*self._group[self._at :]]
        if left:
            try:
                self._keep(left)
            except BaseException:  # Python ignores an interrupt that comes here
                self._keep(left)
                raise
