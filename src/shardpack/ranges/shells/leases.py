"""How far the application of a lease table has come: where a query goes on that takes its place."""

from __future__ import annotations

from collections.abc import Iterable

from ...leases import DynamoDBLeases, Lease
from ...leases.lease import is_started
from ...limits import shown
from ...records import Position
from ..core.marks import BEGINNING, END, Mark
from ..core.options import SourceOptions
from .clients import session_of


def marks_of_leases(options: SourceOptions, now: int) -> dict[str, Mark]:
    """Marks behind the checkpoints of a lease table in DynamoDB, which the KCL or `shardpack.Consumer` writes.

    Args:
        options: of the query; ``initialPosition`` names the table.
        now: the time, in milliseconds since the epoch.

    Raises:
        ValueError: the table holds no leases, or one that says nothing.
        LeaseStoreError: the table is not there, is no lease table, or may not be read.
    """
    table = options.initial.table
    client = session_of(options.connection).client("dynamodb", endpoint_url=options.dynamodb_endpoint)
    return marks_behind(DynamoDBLeases(table, client=client, create_table=False).list(), table, now)


def marks_behind(leases: Iterable[Lease], table: str, now: int) -> dict[str, Mark]:
    """The marks behind the checkpoints of leases."""
    marks = {lease.key: _behind(lease, table, now) for lease in leases}
    if not marks:
        raise ValueError(
            f"the option initialPosition is {shown(f'leases:{table}')}, and that table holds no leases; name the table"
            " of an application that has run, or give trim_horizon or latest"
        )
    return marks


def _behind(lease: Lease, table: str, now: int) -> Mark:
    checkpoint = lease.checkpoint
    if checkpoint == Position.SHARD_END:
        return END
    if is_started(checkpoint):
        return Mark("AT", checkpoint.sequence_number, checkpoint.sub_sequence_number + 1)
    if checkpoint == Position.TRIM_HORIZON:
        return BEGINNING
    if checkpoint == Position.LATEST:
        return Mark("AT_TIMESTAMP", time=now)
    raise ValueError(
        f"the option initialPosition is {shown(f'leases:{table}')}, and the lease of {lease.key} has no checkpoint but"
        f" {checkpoint.sequence_number}, of which the table does not say the time; let the application checkpoint once,"
        ' or give that time: {"at_timestamp": "2026-07-21T12:30:00Z"}'
    )
