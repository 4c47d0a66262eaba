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
        self._back: list[PackedRecord] = []  # what an interrupt has kept from whoever had asked for it
        self._groups = groups
        self._keep = keep
        self._is_cut = False
        self._lock = RLock()

    def __next__(self) -> PackedRecord:
        found: PackedRecord | None = None
        try:
            with self._lock:
                # An interrupt comes before or after two lines that take one, never between them: neither is a call.
                if self._back:
                    found = self._back[0]
                    del self._back[0]
                    return found
                while self._at == len(self._group):
                    self._advance()
                found = self._group[self._at]
                self._at += 1
        except BaseException:
            if found is not None:
                self._back.append(found)  # to its place it cannot go: another thread may have gone on
            raise
        return found

    def _advance(self) -> None:
        try:
            for group in self._groups:
                self._group, self._at = group, 0
                return
        except Exception:
            raise
        except BaseException:
            self._is_cut = True  # those that come after that are not to be had any more
            raise
        if self._is_cut:
            raise RuntimeError("the iterator was cut short by an interrupt, and has lost its place; make another")
        raise StopIteration

    def __del__(self) -> None:
        left = [*getattr(self, "_back", ()), *self._group[self._at :]]
        if left:
            try:
                self._keep(left)
            except BaseException:  # Python ignores an interrupt that comes here
                self._keep(left)
                raise
