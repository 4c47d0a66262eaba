"""What the engine asks a shell to do; the shell tells `Engine.answered` or `Engine.failed` how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ...aws.errors import may_pass
from ...errors import LeaseStoreError
from ...leases.lease import Lease
from ...records import Position
from ..start import IteratorArguments
from .fleet.actions import AssignLease, MemberAction, SurveyFleet


@dataclass(frozen=True, slots=True)
class ListShards:
    """List every shard of the stream, closed ones too; the answer is the list of them."""


@dataclass(frozen=True, slots=True)
class ListLeases:
    """`Leases.list`; the answer is the list of them."""


@dataclass(frozen=True, slots=True)
class CreateLease:
    """`Leases.create`; the answer is whether it was created.

    `until` is a moment on the shell's clock. Later it must not be made any more, because by then other workers may
    have done the shard to its end and deleted its lease, which this would bring back.
    """

    lease: Lease
    until: float = float("inf")


@dataclass(frozen=True, slots=True)
class TakeLease:
    """`Leases.take` for this worker; the answer is the lease, or None."""

    lease: Lease
    owner: str


@dataclass(frozen=True, slots=True)
class AskForLease:
    """`HandsOver.ask_for` for this worker; the answer is the lease, or None."""

    lease: Lease
    owner: str


@dataclass(frozen=True, slots=True)
class FindLeases:
    """`HandsOver.assigned` to this worker; the answer is the keys, or None if the store cannot tell."""

    owner: str


@dataclass(frozen=True, slots=True)
class GetLease:
    """`HandsOver.get`; the answer is the lease, or None."""

    key: str


@dataclass(frozen=True, slots=True)
class RenewLease:
    """`Leases.renew`; the answer is the lease, or None if it is lost."""

    lease: Lease
    hold: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`Leases.checkpoint`; the answer is the lease, or None if it is lost."""

    lease: Lease
    hold: int
    position: Position
    children: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """`Leases.release`, or `HandsOver.give`; the answer is the lease as it was given, or None."""

    lease: Lease
    hold: int
    to: str | None = None


@dataclass(frozen=True, slots=True)
class TakeBack:
    """`Leases.release` of a lease that was given to a worker, or came to this one, and that nobody works on."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class DeleteLease:
    """`Leases.delete`; the answer is whether it was deleted."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class GetShardIterator:
    """`GetShardIterator` with these arguments; the answer is the iterator."""

    shard_id: str
    hold: int
    arguments: IteratorArguments


@dataclass(frozen=True, slots=True)
class GetRecords:
    """`GetRecords`; the answer is the response."""

    shard_id: str
    hold: int
    iterator: str
    limit: int


@dataclass(frozen=True, slots=True)
class DescribeStream:
    """`DescribeStreamSummary` of the stream that a shard is of; the answer is the summary. It may not be allowed."""

    shard_id: str


LeaseChange: TypeAlias = CreateLease | TakeLease | AskForLease | AssignLease | TakeBack | DeleteLease
Listing: TypeAlias = ListLeases | SurveyFleet
LeaseAction: TypeAlias = (
    ListLeases
    | FindLeases
    | GetLease
    | CreateLease
    | TakeLease
    | AskForLease
    | RenewLease
    | Checkpoint
    | ReleaseLease
    | TakeBack
    | DeleteLease
    | SurveyFleet
    | AssignLease
    | MemberAction
)
KinesisAction: TypeAlias = ListShards | DescribeStream | GetShardIterator | GetRecords
Action: TypeAlias = LeaseAction | KinesisAction


def key_of(action: LeaseChange | GetLease) -> str:
    """Of the lease that a call is about."""
    return action.key if isinstance(action, GetLease) else action.lease.key


def is_permanent(action: Action, error: Exception, code: str) -> bool:
    """Whether no retry mends the failure of a call, which has this code."""
    if isinstance(action, KinesisAction):
        return not may_pass(error, code)
    return not (isinstance(error, LeaseStoreError) and error.retriable)
