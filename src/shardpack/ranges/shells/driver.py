"""Plans the batches of a query: what Spark's driver asks, answered without Spark."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from ...consumer.core.shards import ListedShard
from ...errors import CallError, DataLossError
from ...limits import MAX_PARTITION_KEY_CHARACTERS, listed
from ...unpacking.unpacker import unpack
from ..core import frontier
from ..core.ends import Step, next_step, resolved
from ..core.limits import Limits, within
from ..core.marks import BEGINNING, END, Mark
from ..core.offsets import Offset
from ..core.options import SourceOptions, Start
from ..core.ranges import Range, ranges_of
from .stream import Identity, KinesisStream

_log = logging.getLogger("shardpack.ranges")
_T = TypeVar("_T")

QUIET = 1000
"""A shard is read up to the first record that arrived less than so many milliseconds ago. Where there is none, it is
quiet, and is read to its tip."""

_REFRESH = 3_600_000  # milliseconds after which a quiet shard's mark is moved to the present
_PERIOD = 1.0  # seconds between two looks at all shards; without data, Spark would ask a hundred times a second
_IDENTITY_SECONDS = 600.0
_STRANGE = frozenset({"InvalidArgumentException", "ResourceNotFoundException"})  # what a stream made anew answers
_SOON = 600_000  # milliseconds: what expires before its task has read it counts as expired
_WORKERS = 32

NO_LIMITS = Limits()


class Driver:
    """Plans batches of one stream. Not thread-safe, as Spark's driver asks one thing at a time.

    Args:
        stream: answers about the stream.
        options: of the query.
        marks_of_leases: reads how far the application of a lease table has come.
        workers: how many shards to ask about at a time.
        clock: seconds that pass.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        stream: KinesisStream,
        options: SourceOptions,
        marks_of_leases: Callable[[SourceOptions, int], dict[str, Mark]],
        *,
        workers: int = _WORKERS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._stream = stream
        self._options = options
        self._words = options.connection.words
        self._marks_of_leases = marks_of_leases
        self._workers = workers
        self._clock = clock
        self._sleep = sleep
        self._looked_at = float("-inf")
        self._identified_at = float("-inf")
        self._identity: Identity | None = None
        self._shards: dict[str, ListedShard] = {}
        self._listed_at = float("-inf")
        self._checked: set[str] = set()
        self._until: int | None = None
        self.waiting: dict[str, int] = {}

    @property
    def identity(self) -> Identity:
        """Which stream it is."""
        now = self._clock()
        if self._identity is None or now - self._identified_at >= _IDENTITY_SECONDS:
            self._identity, self._identified_at = self._stream.identity(), now
        return self._identity

    def stop_at(self, until: int | None = None) -> None:
        """Read nothing that arrives from now on, or from a moment on, in milliseconds since the epoch."""
        _ = self.identity  # sets the clock
        self._until = self._stream.now() if until is None else until

    def initial(self, start: Start) -> Offset:
        """Where reading starts.

        Raises:
            ValueError: the start is an offset of another stream, or names what is not there.
            CallError: the stream is not there, or a permission is missing.
        """
        identity, shards = self.identity, self._list(fresh=True)
        now = self._stream.now()
        if start.kind == "offset":
            offset = self.checked(Offset.from_json(start.offset))
            return replace(offset, begun={}, initial=True)
        if start.kind == "trim_horizon":
            marks = frontier.from_beginning(shards)
        elif start.kind == "latest":
            marks = frontier.from_now_on(shards, now)
        elif start.kind == "leases":
            marks = self._marks_of_leases(self._options, now)
        else:
            marks = self._from_moment(shards, start.time)
        return Offset(identity.arn, identity.created, marks, {}, initial=True)

    def _from_moment(self, shards: Mapping[str, ListedShard], time: int) -> dict[str, Mark]:
        """Marks to read what arrived from a moment on: over the shards that were closed before, to their children."""
        start = Mark("AT_TIMESTAMP", time=time)
        marks: dict[str, Mark] = {}
        new = frontier.roots(shards)
        while new:
            closed = [key for key in new if not shards[key].is_open]
            found = dict(self._each(closed, lambda key: resolved(self._stream, key, start)))
            marks |= {key: found.get(key, start) for key in new}
            new = frontier.joining(shards, marks)
        return frontier.remembered(shards, marks)

    def next(self, start: Offset, limits: Limits = NO_LIMITS) -> Offset:
        """Where the batch ends that begins at an offset: the same offset, if there is nothing to read.

        Raises:
            ValueError: the offset is of another stream.
            DataLossError: a record that is not read has expired, or a shard is lost; see ``failOnDataLoss``.
            CallError: a call failed for good.
        """
        try:
            return self._next(self.checked(start), limits)
        except CallError as error:
            if error.code not in _STRANGE:
                raise
            self._identity = None
            anew = self.checked(start)
            if anew is start:
                raise
        return self._next(anew, limits)

    def _next(self, start: Offset, limits: Limits) -> Offset:
        has_ended = any(mark.place == "SHARD_END" for mark in start.shards.values())
        shards = self._list(fresh=has_ended or start.initial)
        marks = self._without_lost(dict(start.shards), shards)
        marks = self._without_expired(marks, {key for key in marks if key not in self._checked})
        self._checked |= marks.keys()
        bounded = self._until is not None
        if not bounded:
            self._wait()
        until = self._stream.now() - QUIET if self._until is None else self._until
        marks |= dict.fromkeys(frontier.joining(shards, marks), BEGINNING)
        steps = dict(
            self._each(
                marks,
                lambda key: next_step(
                    self._stream,
                    key,
                    marks[key],
                    until,
                    bounded=bounded,
                    is_closed=key in shards and not shards[key].is_open,
                    most_time=limits.time,
                ),
            )
        )
        if limits.is_counted:
            steps = within(self._stream, steps, marks, limits, self._count)
        self.waiting = {key: step.waiting for key, step in steps.items() if step.waiting is not None}
        return self._end(start, marks, steps, shards, until)

    def _wait(self) -> None:
        """Leave of each shard's five calls a second what belongs to others."""
        left = self._looked_at + _PERIOD - self._clock()
        if left > 0:
            self._sleep(left)
        self._looked_at = self._clock()

    def _end(
        self,
        start: Offset,
        marks: Mapping[str, Mark],
        steps: Mapping[str, Step],
        shards: Mapping[str, ListedShard],
        until: int,
    ) -> Offset:
        ends = {key: step.end for key, step in steps.items()}
        if ends == start.shards and not self._is_stale(ends.values(), until):
            return start
        begun = {
            key: step.begin
            for key, step in steps.items()
            if start.initial or (step.end != start.shards.get(key) and step.begin != start.shards.get(key))
        }
        # A quiet shard's mark may say that it is still so, since there is a new offset anyway.
        for key, mark in ends.items():
            if mark.place == "AFTER" and mark == marks[key]:
                ends[key] = replace(mark, time=max(mark.time, until))
        kept = frontier.remembered(shards, ends)
        return Offset(start.stream, start.created, kept, {key: begun[key] for key in begun if key in ends})

    def _is_stale(self, ends: Iterable[Mark], until: int) -> bool:
        return any(mark.place == "AFTER" and mark.time + _REFRESH < until for mark in ends)

    def plan(self, start: Offset, end: Offset) -> list[Range]:
        """What a batch between two offsets reads, a part for each shard.

        Raises:
            ValueError, DataLossError, CallError: as `next`.
        """
        ranges = ranges_of(self.checked(start), self.checked(end))
        begins = {one.shard_id: one.begin for one in ranges}
        found = self._without_expired(begins, set(begins))
        return [replace(one, begin=found[one.shard_id]) for one in ranges]

    def is_closed(self, shard_id: str) -> bool:
        """Whether a shard took no more records when shards were listed last."""
        return shard_id in self._shards and not self._shards[shard_id].is_open

    def resolved(self, shard_id: str, mark: Mark) -> Mark:
        """A mark as a record that is there, where there is one."""
        return resolved(self._stream, shard_id, mark)

    def behind(self) -> dict[str, int]:
        """For how many milliseconds the first record that was left for later has waited, by shard."""
        now = self._stream.now()
        return {key: max(0, now - since) for key, since in sorted(self.waiting.items())}

    def checked(self, offset: Offset) -> Offset:
        """An offset of this stream; one of the stream that it replaced begins anew, if data may be lost.

        Raises:
            ValueError: it is another stream's.
            DataLossError: it is that of a stream that was deleted, and made again.
        """
        identity = self.identity
        if offset.stream != identity.arn:
            raise ValueError(
                f"{self._words.marks} is of the stream {offset.stream}, and {self._words.name} names {identity.arn};"
                f" {self._words.another}"
            )
        if offset.created == identity.created:
            return offset
        self._lose(
            f"the stream {identity.arn} of {self._words.marks} was deleted: it was created at {_shown(offset.created)},"
            f" and the one there now at {_shown(identity.created)}. What was not read of it is lost. {self._words.anew}"
        )
        return Offset(identity.arn, identity.created, frontier.from_beginning(self._list(fresh=True)), {}, initial=True)

    def _without_lost(self, marks: dict[str, Mark], shards: Mapping[str, ListedShard]) -> dict[str, Mark]:
        """The marks, with shards that are not there any more as ended."""
        keys = frontier.gone(shards, marks)
        if not keys:
            return marks
        retention, now = self.identity.retention, self._stream.now()
        read_up_to = _read_up_to(marks[key] for key in keys)
        hours = f"the stream keeps records for {retention // 3_600_000} hours"
        all_of_them = "all shards" if len(keys) == len(marks) else f"{len(keys)} of {len(marks)} shards"
        if all(marks[key].time + retention <= now or frontier.has_children(key, shards) for key in keys):
            self._lose(
                f"{all_of_them} of {self._words.marks} have expired ({listed(keys)}): {read_up_to}{hours}. What came"
                " later may be lost; their children are read from the beginning"
            )
        else:
            self._lose(
                f"{all_of_them} of {self._words.marks} are not listed any more ({listed(keys)}), though"
                f" {read_up_to}{hours}: the service has lost them, or {self._words.place} name another place"
            )
        return marks | dict.fromkeys(keys, END)

    def _without_expired(self, marks: dict[str, Mark], keys: Iterable[str]) -> dict[str, Mark]:
        """The marks, with those whose next record has expired moved to the oldest one that is there."""
        some = {key: marks[key] for key in keys}
        suspects = frontier.may_have_expired(some, self._stream.now() + _SOON, self.identity.retention)
        expired = [
            key for key, is_there in self._each(suspects, lambda key: self._is_there(key, marks[key])) if not is_there
        ]
        if not expired:
            return marks
        read_up_to = _read_up_to(marks[key] for key in expired)
        self._lose(
            f"records of {len(expired)} of {len(marks)} shards may have expired unread ({listed(expired)}):"
            f" {read_up_to}the stream keeps records for {self.identity.retention // 3_600_000} hours. What is still"
            " there is read"
        )
        return marks | dict.fromkeys(expired, BEGINNING)

    def _is_there(self, shard_id: str, mark: Mark) -> bool:
        """Whether nothing after a mark is lost: the record at which it stands is still there."""
        found = self._stream.first(shard_id, replace(mark, place="AT")).found
        return found is not None and found.sequence_number == mark.sequence_number

    def _lose(self, what: str) -> None:
        if self._options.fail_on_data_loss:
            raise DataLossError(f"{what}. To read on without them, {self._words.go_on}")
        _log.warning("%s (%s)", what, self._words.gone_on)

    def _list(self, *, fresh: bool) -> dict[str, ListedShard]:
        now = self._clock()
        if fresh or now - self._listed_at >= self._options.shard_fetch_interval or not self._shards:
            self._shards, self._listed_at = self._stream.shards(), now
        return self._shards

    def _each(self, keys: Iterable[str], ask: Callable[[str], _T]) -> list[tuple[str, _T]]:
        """What is answered for each shard, several at a time."""
        names = list(keys)
        if self._workers == 1 or len(names) < 2:
            return [(key, ask(key)) for key in names]
        with ThreadPoolExecutor(min(self._workers, len(names))) as pool:
            return list(zip(names, pool.map(ask, names), strict=True))

    def _count(self, record: Mapping[str, Any]) -> int:
        return count_of(record, self._options.on_corrupt)


def count_of(record: Mapping[str, Any], on_corrupt: Any) -> int:
    """How many rows a Kinesis record makes."""
    return sum(1 for _ in unpack(record, on_corrupt=on_corrupt, max_key_characters=MAX_PARTITION_KEY_CHARACTERS))


def _read_up_to(marks: Iterable[Mark]) -> str:
    """Up to when shards were read, where one of their marks tells it: a position without a time does not."""
    last = max(mark.time for mark in marks)
    return f"they were read up to {_shown(last)} at most, and " if last else ""


def _shown(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
