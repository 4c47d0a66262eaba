"""One iterator over the members of groups, as Python makes it."""

from __future__ import annotations

from _thread import RLock  # `threading` is slow to import, and has the same
from collections.abc import Iterable, Iterator
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")


class Flat(Generic[T]):
    """See `core.NewFlat`."""

    # `itertools.chain` over a generator takes the interpreter down when two threads ask it at once.

    __slots__ = ("_error", "_kept", "_lock", "_members")

    def __init__(self, groups: Iterable[Iterable[T]]) -> None:
        self._members = _members(groups)
        self._lock = RLock()
        self._kept: list[T] = []  # what an interrupt has kept from being handed out
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        found: list[T] = []
        try:
            with self._lock:
                # No interrupt comes between finding one and naming it: nothing there is a call.
                if self._kept:
                    found = [self._kept[0]]
                    del self._kept[0]
                    return found[0]
                try:
                    for member in self._members:
                        found = [member]
                        return member
                except Exception:
                    raise
                except BaseException as error:
                    self._error = error.with_traceback(None)
                    raise
                self._end()
        except BaseException:
            self._kept.extend(found)
            raise

    def _end(self) -> NoReturn:
        if self._error is None:
            raise StopIteration
        raise RuntimeError("the iterator was cut short by an interrupt, and has lost its place; make another") from (
            self._error
        )


def _members(groups: Iterable[Iterable[T]]) -> Iterator[T]:
    for group in groups:
        yield from group
