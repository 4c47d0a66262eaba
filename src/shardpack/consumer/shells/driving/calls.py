"""The calls that the engine asks for, as they are made of Kinesis and of the store of leases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....errors import LeaseLostError, LeaseStoreError
from ....leases.fleet.states import HasFleet
from ....leases.keys import stream_identifier_of
from ....leases.lease import HandsOver, Lease, Leases
from ...core.actions import (
    AskForLease,
    Checkpoint,
    CreateLease,
    DeleteLease,
    DescribeStream,
    FindLeases,
    GetLease,
    GetRecords,
    GetShardIterator,
    LeaseAction,
    ListLeases,
    ReleaseLease,
    RenewLease,
    TakeBack,
    TakeLease,
)
from ...core.fleet.actions import (
    AssignLease,
    BeginFleet,
    DeleteLock,
    Forget,
    MemberAction,
    ReadLock,
    ReadState,
    ReportStats,
    SurveyFleet,
    WriteLock,
)


def call_leases(leases: Leases, action: LeaseAction, now: float) -> Any:
    """What the store of leases answers; a lost lease is None.

    Raises:
        LeaseStoreError: the store's own; or a lease was to be made too long ago.
    """
    try:
        match action:
            case ListLeases():
                return leases.list()
            case CreateLease(lease, until):
                _check_time(lease, until, now)
                return leases.create(lease)
            case TakeLease() | AskForLease() | AssignLease():
                return _move(leases, action)
            case FindLeases(owner):
                return leases.assigned(owner) if isinstance(leases, HandsOver) else None
            case GetLease(key):
                return leases.get(key) if isinstance(leases, HandsOver) else None
            case RenewLease(lease):
                return leases.renew(lease)
            case Checkpoint(lease, _, position, children):
                return leases.checkpoint(lease, position, children=children)
            case ReleaseLease(lease, _, to) if to is not None and isinstance(leases, HandsOver):
                return leases.give(lease, to)
            case ReleaseLease(lease) | TakeBack(lease):
                leases.release(lease)
                return None
            case DeleteLease(lease):
                return leases.delete(lease)
            case _:
                return _call_fleet(leases, action)
    except LeaseLostError:
        return None


def _move(leases: Leases, action: TakeLease | AskForLease | AssignLease) -> Lease | None:
    """The lease with its new owner, whom a store that cannot hand over has no other way to give it."""
    is_asked = isinstance(action, AskForLease) or (isinstance(action, AssignLease) and action.is_asked_for)
    if is_asked and isinstance(leases, HandsOver):
        return leases.ask_for(action.lease, action.owner)
    return leases.take(action.lease, action.owner)


def _call_fleet(leases: Leases, action: SurveyFleet | MemberAction) -> Any:
    """What the fleet's part of a store answers; whoever asks has seen that it has one."""
    if not isinstance(leases, HasFleet):
        raise TypeError(f"{type(leases).__name__} has no fleet")
    fleet = leases.fleet
    match action:
        case ReadState():
            return fleet.state()
        case BeginFleet(tables, worker_id):
            return fleet.begin(tables, worker_id)
        case ReadLock(tables):
            return fleet.lock(tables)
        case WriteLock(tables, before, lock):
            return fleet.write_lock(tables, before, lock)
        case DeleteLock(tables, lock):
            return fleet.delete_lock(tables, lock)
        case ReportStats(tables, stats):
            return fleet.report(tables, stats)
        case SurveyFleet(tables):
            return fleet.survey(tables)
        case Forget(stats):
            return fleet.forget(stats)


def _check_time(lease: Lease, until: float, now: float) -> None:
    if now > until:
        raise LeaseStoreError(
            f"{lease.key}: its lease was to be made {now - until:.0f} s ago at the latest; looking anew", retriable=True
        )


def kinesis_call(
    action: GetRecords | GetShardIterator | DescribeStream, stream: Mapping[str, str]
) -> tuple[str, dict[str, Any], str | None]:
    """The client's method, its arguments, and which key of the response is the answer (None: all of it)."""
    if isinstance(action, GetRecords):
        return "get_records", {"ShardIterator": action.iterator, "Limit": action.limit}, None
    if isinstance(action, DescribeStream):
        of_several = stream_identifier_of(action.shard_id)
        which = dict(stream) if of_several is None else {"StreamName": of_several}
        return "describe_stream_summary", which, "StreamDescriptionSummary"
    arguments = {**stream, "ShardId": action.shard_id, **action.arguments}
    return "get_shard_iterator", arguments, "ShardIterator"


def closed_error(shard_id: str) -> LeaseLostError:
    """Why a checkpoint after the end is refused."""
    return LeaseLostError(
        f"the consumer is closed, and the lease of {shard_id} given up; checkpoint before closing", shard_id=shard_id
    )
