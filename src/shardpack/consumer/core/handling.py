"""One batch on its way through a handler: what to hand next, and what follows a failure. Decisions only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import InitVar, dataclass
from random import random
from typing import Literal, TypeAlias, cast

from ...aws.errors import backoff
from ...limits import shown
from ...records import Position, ReceivedRecord
from ..log_fields import about

OnFailure: TypeAlias = Literal["stop", "divert"]
Verdict: TypeAlias = Literal["retry", "divert", "stop", "over"]

_log = logging.getLogger("shardpack.consumer")


_MOST_WORKERS = 10_000


@dataclass(frozen=True, slots=True)
class Policy:
    """How a handler is called, and what follows its failures.

    Raises:
        ValueError: a setting is out of its range, or does not go together with another.
    """

    one_by_one: bool
    workers: int
    on_failure: OnFailure
    max_attempts: int
    has_divert: InitVar[bool]

    def __post_init__(self, has_divert: bool) -> None:
        if self.on_failure not in ("stop", "divert"):
            raise ValueError(f'on_failure is {shown(self.on_failure)}; choose "stop" or "divert"')
        if (self.on_failure == "divert") != has_divert:
            raise ValueError('on_failure="divert" and divert=... go together: one says what to do, the other with whom')
        for name in ("workers", "max_attempts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {shown(value)}; it takes 1 or more")
        if self.workers > _MOST_WORKERS:
            raise ValueError(
                f"workers is {shown(self.workers)}; each is a thread or a task, so give 1 to {_MOST_WORKERS:,}"
            )


class Handling:
    """A batch that is being handled.

    A handler of batches that has failed says nothing about which of its records are done, but for those that it has
    checkpointed itself: it may have buffered them. All others are handed to it again. To divert one, they are handed
    to it one by one.

    Attributes:
        part: the records to hand next.
        failures: of the handler in a row, on this part.
        is_over: whether nothing is left to hand.
        done_to: everything up to this position is done; None: nothing yet.
    """

    def __init__(self, records: Sequence[ReceivedRecord], policy: Policy) -> None:
        self._left = list(records)
        self._policy = policy
        self._one_by_one = policy.one_by_one
        self.failures = 0
        self.done_to: Position | None = None
        self.is_over = policy.one_by_one and not self._left
        self.part = self._next_part()

    def succeeded(self) -> None:
        """The part was handled, or diverted."""
        if self.part:
            self.done_to = position_of(self.part[-1])
        del self._left[: len(self.part)]
        self._advance()

    def failed(self, checkpoint: Position) -> Verdict:
        """The handler has failed on the part; it has itself checkpointed up to there."""
        done = sum(position_of(record) <= checkpoint for record in self.part)
        del self._left[:done]
        if done == len(self.part) > 0 and (self._policy.on_failure == "divert" or self._policy.max_attempts > 1):
            self._advance()  # whatever failed, no record waits for it
            return "over"
        self.failures = 1 if done else self.failures + 1
        self.part = self._next_part()
        if self.failures < self._policy.max_attempts:
            return "retry"
        if self._policy.on_failure == "stop" or not self.part:
            return "stop"
        if not self._one_by_one:
            self._one_by_one = True
            self._advance()
            return "retry"
        return "divert"

    def _advance(self) -> None:
        self.failures = 0
        self.is_over = not self._left
        self.part = self._next_part()

    def _next_part(self) -> list[ReceivedRecord]:
        return self._left[:1] if self._one_by_one else self._left[:]


@dataclass(frozen=True, slots=True)
class Attempt:
    """Call the handler with a part of the batch; the answer is what it raised, or None."""

    part: list[ReceivedRecord]


@dataclass(frozen=True, slots=True)
class Divert:
    """Call `divert`; the answer is what it raised, or None."""

    record: ReceivedRecord
    error: Exception


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, but not after `stop`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """Have it recorded, without waiting, that everything up to a position is done."""

    position: Position


Step: TypeAlias = Attempt | Divert | Pause | Done
Steps: TypeAlias = Generator[Step, Exception | None, Exception | None]


def steps(
    shard_id: str,
    records: Sequence[ReceivedRecord],
    policy: Policy,
    checkpoint: Callable[[], Position],
    is_stopping: Callable[[], bool],
) -> Steps:
    """A batch's way through a handler, step by step; both shells take these steps, each in its own way.

    Args:
        shard_id: for messages.
        records: the batch.
        policy: how the handler is called.
        checkpoint: says how far the shard is done.
        is_stopping: says whether the application has stopped the consumer.

    Returns:
        Why the shard must stop, or None.
    """
    handling = Handling(records, policy)
    while not handling.is_over:
        error = yield Attempt(handling.part)
        if error is not None:
            record = handling.part[0] if handling.part else None
            where = about(shard_id, None if record is None else record.position)
            verdict = handling.failed(checkpoint())
            if verdict == "over":
                _log.warning("%s: the handler has failed after its last checkpoint: %r", shard_id, error, extra=where)
                continue
            if verdict == "retry":
                _log.warning("%s: the handler has failed, trying again: %r", shard_id, error, extra=where)
                yield Pause(backoff(handling.failures, random))
                if is_stopping():
                    return None  # what is not done is given to whoever reads the shard next
                continue
            if verdict == "stop" or record is None:
                return error
            if (failure := (yield Divert(record, error))) is not None:
                failure.__context__ = failure.__context__ or error
                return failure
        handling.succeeded()
        if handling.done_to is not None:
            yield Done(handling.done_to)
    return None


def position_of(record: ReceivedRecord) -> Position:
    """Of a record that came from `GetRecords`, and so has one."""
    return cast("Position", record.position)


def divert_one(
    divert: Callable[[ReceivedRecord, Exception], object] | None, record: ReceivedRecord | None, error: Exception
) -> Exception | None:
    """Divert the record at which a handler has failed; why the shard must stop there, or None."""
    if divert is None or record is None:
        return error
    try:
        divert(record, error)
    except Exception as failure:  # noqa: BLE001  # the application's
        failure.__context__ = error
        return failure
    return None


def describe(shard_id: str, part: Sequence[ReceivedRecord], given: int | None) -> str:
    """Where a handler has failed, for people."""
    if not part:
        return f"at the end of {shard_id}"
    if len(part) == 1:
        return f"at {position_of(part[0])} of {shard_id}"
    where = f"in the {len(part):,} user records of {shard_id} from {position_of(part[0])} to {position_of(part[-1])}"
    return where if given is None else f"{where}, while it had number {given:,}, {position_of(part[given - 1])}"


def raise_failures(errors: Sequence[Exception], failures: Iterable[BaseException | None]) -> None:
    """What a run raises: why it could not go on; else the errors that have stopped shards, if there are any."""
    stopped = None
    if errors:
        stopped = ExceptionGroup(f"{len(errors)} shard{'s were' if len(errors) > 1 else ' was'} stopped", errors)
    for failure in failures:
        if failure is not None:
            raise failure from stopped or failure.__cause__
    if stopped is not None:
        raise stopped
