"""Leases in memory, for one process: tests, and jobs that begin anew each time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .lease import Lease
from .local import LocalLeases


class MemoryLeases(LocalLeases):
    """Leases that end with the process; all its threads may share them. A `Leases`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases = _Rows()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("MemoryLeases belong to one process; give several processes SQLiteLeases or DynamoDBLeases")

    @contextmanager
    def _rows(self) -> Iterator[_Rows]:
        with self._lock:
            yield self._leases


class _Rows:
    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._stream: str | None = None

    def get(self, key: str) -> Lease | None:
        return self._leases.get(key)

    def all(self) -> list[Lease]:
        return list(self._leases.values())

    def keys_of(self, owner: str) -> list[str]:
        return [lease.key for lease in self._leases.values() if lease.owner == owner]

    def put(self, lease: Lease) -> None:
        self._leases[lease.key] = lease

    def remove(self, key: str) -> None:
        del self._leases[key]

    def stream(self) -> str | None:
        return self._stream

    def set_stream(self, stream: str) -> None:
        self._stream = stream

    def forget_stream(self) -> None:
        self._stream = None
