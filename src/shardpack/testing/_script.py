"""What a test tells a FakeKinesis to do wrong, and the record of the calls made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ._service import OPERATIONS

RecordFaults: TypeAlias = Mapping[int, str] | Callable[[int, Mapping[str, Any]], str | None]


_THROTTLED_BY_SHARD = ("put_records", "put_record", "get_shard_iterator", "get_records")


@dataclass
class Call:
    """A call that reached a FakeKinesis.

    Attributes:
        operation: boto3's name of it, such as ``"put_records"``.
        parameters: what it was called with; ``Data`` as bytes.
        time: when it arrived, in seconds on the fake's clock.
        response: what it returned; None until it has, and when it raised.
        error: what it raised, or None.
    """

    operation: str
    parameters: dict[str, Any]
    time: float
    response: dict[str, Any] | None = None
    error: BaseException | None = None

    def outcome(self) -> dict[str, Any]:
        """The response.

        Raises:
            BaseException: what the call raised.
        """
        if self.error is not None:
            raise self.error
        if self.response is None:
            raise RuntimeError(f"{self.operation} has not been answered yet")
        return self.response


@dataclass(frozen=True, kw_only=True, eq=False)
class Script:
    """One entry of a script; `FakeKinesis.script` makes it and describes the fields.

    Attributes:
        until: when the entry is forgotten, in seconds on the fake's clock, or None for never.
    """

    operation: str
    error: str | BaseException | None = None
    records: RecordFaults | None = None
    after_storing: bool = False
    throttle: frozenset[str] = frozenset()
    result_count: int | None = None
    latency: float = 0.0
    latency_after: float = 0.0
    action: Callable[[], object] | None = None
    when: Callable[[Mapping[str, Any]], bool] | None = None
    times: int | None = 1
    until: float | None = None

    def __post_init__(self) -> None:
        if self.operation != "*" and self.operation not in OPERATIONS:
            raise ValueError(f'operation is {self.operation!r}; choose "*" or one of {", ".join(OPERATIONS)}')
        faults = (self.error, self.records, self.result_count, self.action)
        if not (any(fault is not None for fault in faults) or self.throttle or self.latency or self.latency_after):
            raise ValueError(
                "the script does nothing; give error, records, throttle, result_count, latency, latency_after or action"
            )
        if self.operation not in ("put_records", "*") and not (self.records is None and self.result_count is None):
            raise ValueError(f"records and result_count are put_records' own; {self.operation} returns no such results")
        if self.operation not in (*_THROTTLED_BY_SHARD, "*") and self.throttle:
            raise ValueError(f"throttle is for {', '.join(_THROTTLED_BY_SHARD)}; for {self.operation} give error")
        if self.after_storing and self.error is None and self.records is None:
            raise ValueError("after_storing is about error and records; give one of them")
        if self.result_count is not None and self.result_count < 0:
            raise ValueError(f"result_count is {self.result_count}; give 0 or more")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is {self.times}; give at least 1, or None for every call")
        if min(self.latency, self.latency_after) < 0:
            raise ValueError(f"latency is {min(self.latency, self.latency_after)}; give seconds from 0")

    def meets(self, operation: str, parameters: Mapping[str, Any]) -> bool:
        """Whether a call is one of those that this entry is about."""
        return self.operation in (operation, "*") and (self.when is None or self.when(parameters))


class Fault:
    """What one call meets: at most one entry that is used up, and all standing ones."""

    def __init__(self, entries: Iterable[Script] = ()) -> None:
        self._entries = tuple(entries)

    @property
    def latency(self) -> float:
        return sum(entry.latency for entry in self._entries)

    @property
    def latency_after(self) -> float:
        return sum(entry.latency_after for entry in self._entries)

    @property
    def result_count(self) -> int | None:
        return next((entry.result_count for entry in self._entries if entry.result_count is not None), None)

    def act(self) -> None:
        for entry in self._entries:
            if entry.action is not None:
                entry.action()

    def error(self, *, after_storing: bool) -> str | BaseException | None:
        for entry in self._entries:
            if entry.error is not None and entry.after_storing == after_storing:
                return entry.error
        return None

    def throttles(self, shard_id: str) -> bool:
        return any(shard_id in entry.throttle or "*" in entry.throttle for entry in self._entries)

    def of_record(self, index: int, record: Mapping[str, Any]) -> tuple[str | None, bool]:
        """(error code or None, whether the record is stored all the same)."""
        for entry in self._entries:
            if entry.records is not None:
                given = entry.records
                code = given(index, record) if callable(given) else given.get(index)
                if code is not None:
                    return code, entry.after_storing
        return None, False


@dataclass(slots=True, eq=False)
class _Waiting:
    """An entry, and for how many calls it still stands; None: for all."""

    entry: Script
    calls: int | None


class ScriptBook:
    """The entries that wait for their calls."""

    def __init__(self) -> None:
        self._left: list[_Waiting] = []

    def add(self, entry: Script) -> None:
        self._left.append(_Waiting(entry, entry.times))

    def clear(self, operation: str | None) -> None:
        self._left = [one for one in self._left if operation is not None and one.entry.operation != operation]

    def waiting(self, now: float) -> list[Script]:
        self._left = [one for one in self._left if one.entry.until is None or now < one.entry.until]
        return [one.entry for one in self._left]

    def take(self, operation: str, parameters: Mapping[str, Any], now: float) -> Fault:
        self.waiting(now)
        return Fault(list(self._taken(operation, parameters)))

    def _taken(self, operation: str, parameters: Mapping[str, Any]) -> Iterator[Script]:
        used = False
        for one in list(self._left):
            if (used and one.calls is not None) or not one.entry.meets(operation, parameters):
                continue
            if one.calls is not None:
                used = True
                one.calls -= 1
                if one.calls == 0:
                    self._left.remove(one)
            yield one.entry
