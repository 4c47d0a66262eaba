"""Leases in DynamoDB, for a fleet, in the table that the KCL for Java uses.

Every attribute, type and condition is the KCL's (``DynamoDBLeaseSerializer`` and ``DynamoDBLeaseRefresher`` of KCL
3.5), so that workers of either kind may continue what the other began. Items are updated,
never replaced: attributes that only the KCL knows, such as ``throughputKBps`` and ``streamName``, stay as they are.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from ..errors import LeaseStoreError
from ..records import Position
from .fleet.tables import FleetTables
from .items import (
    ORIGIN,
    Values,
    as_read,
    as_read_or_handed_over,
    handed_over,
    is_lease_item,
    item_of,
    key_of,
    with_done_until,
)
from .keys import shard_ids_of
from .lease import Lease
from .local import in_order, is_switch, lost
from .rows import CONDITION_FAILED, INDEX, TableRows, assigned_keys
from .table import Table

# As the KCL creates it, index included: a KCL 3.x that finds no index must be allowed to, and does, update the table.
_TABLE = {
    "KeySchema": [{"AttributeName": "leaseKey", "KeyType": "HASH"}],
    "AttributeDefinitions": [
        {"AttributeName": "leaseKey", "AttributeType": "S"},
        {"AttributeName": "leaseOwner", "AttributeType": "S"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": INDEX,
            "KeySchema": [
                {"AttributeName": "leaseOwner", "KeyType": "HASH"},
                {"AttributeName": "leaseKey", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ],
    "BillingMode": "PAY_PER_REQUEST",
}


class DynamoDBLeases:
    """Leases in a DynamoDB table, shared by the workers of a fleet, Java's KCL among them. A `Leases`.

    The object is thread-safe; unless it was given a client, it may be pickled and survives a fork.

    Args:
        table_name: the table's name; the KCL's is its application's name.
        client: a boto3 DynamoDB client (no resource); None: one is made, which leaves retries to this class.
        region_name: AWS region; None: as boto3 finds it.
        endpoint_url: of DynamoDB; None: AWS.
        profile_name: of the AWS configuration; None: as boto3 finds it.
        create_table: whether `prepare` creates a table that is missing, billed per request.
        table_settings: more, or other, arguments for `CreateTable`, such as ``{"Tags": [...]}``.
        retry_for: seconds for which throttling, 5xx answers and lost connections are waited out, with exponential waits
            and full jitter, before a call raises a retriable `LeaseStoreError`. More than a lease's failover time is of
            no use, because other workers take the lease by then.

    Raises:
        LeaseStoreError: by every method: a permission is missing, the table is not a lease table, or an outage lasts.
    """

    def __init__(
        self,
        table_name: str,
        *,
        client: Any = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        create_table: bool = True,
        table_settings: Mapping[str, Any] | None = None,
        retry_for: float = 10.0,
    ) -> None:
        session = {"region_name": region_name, "profile_name": profile_name}
        self._table = Table(table_name, client, session, endpoint_url, retry_for)
        self._settings = {**_TABLE, **(table_settings or {})} if create_table else None
        self._rows = TableRows(self._table)
        self._fleet = FleetTables(self._table)

    def __repr__(self) -> str:
        return f"DynamoDBLeases({self._table.name!r})"

    @property
    def fleet(self) -> FleetTables:
        """Where the workers tell each other who leads, and how busy they are."""
        return self._fleet

    def prepare(self) -> None:
        """See that the table is there and is a lease table; create it if it is missing and that is allowed.

        Returns when the table can be used. Again and again does no harm.

        Raises:
            LeaseStoreError: the table is missing and may not be created, has another key, or cannot be reached.
        """
        description = self._table.prepare(self._settings)
        types = {one["AttributeName"]: one["AttributeType"] for one in description["AttributeDefinitions"]}
        keys = [(one["AttributeName"], one["KeyType"], types[one["AttributeName"]]) for one in description["KeySchema"]]
        if keys != [("leaseKey", "HASH", "S")]:
            found = ", ".join(f"{name} ({kind}, type {of})" for name, kind, of in keys)
            raise LeaseStoreError(
                f"the table {self._table.name!r} has the key {found}; a lease table's is leaseKey (HASH, type S) alone:"
                " name another table",
                retriable=False,
            )

    def list(self) -> list[Lease]:
        """Every lease in the table, read consistently; items of the KCL's that are no leases are left out.

        Raises:
            LeaseStoreError: the table cannot be read, or an item is no lease.
        """
        leases: list[Lease] = []
        start: dict[str, Any] = {}
        while True:
            page = self._table.call("Scan", ConsistentRead=True, **start)
            leases += [self._rows.lease(item) for item in page["Items"] if is_lease_item(item)]
            if not page.get("LastEvaluatedKey"):
                return leases
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def create(self, lease: Lease) -> bool:
        """Add a lease (KCL: ``createLeaseIfNotExists``).

        Returns:
            False if there is one with its key, which is then left as it is.

        Raises:
            LeaseStoreError: the table cannot be written; whether the lease was added is unknown.
        """
        item = item_of(lease)

        def put() -> Lease:
            self._table.call(
                "PutItem", {CONDITION_FAILED}, Item=item, ConditionExpression="attribute_not_exists(leaseKey)"
            )
            return lease

        return self._rows.write(lease, put, lambda row: row is not None and item_of(row) == item) is not None

    def take(self, lease: Lease, owner: str) -> Lease | None:
        """Make `owner` the lease's owner, whoever held it (KCL: ``takeLease``).

        Args:
            lease: as it was last read or written; its origin is written too, if it has one.
            owner: the worker that takes it.

        Returns:
            The lease as it is now; None if it has changed since it was read, or is gone.

        Raises:
            LeaseStoreError: the table cannot be written; whether the lease was taken is unknown.
        """
        change = "SET leaseCounter = :next, leaseOwner = :taker"
        values: Values = {":taker": {"S": owner}}
        if lease.origin is not None:
            change += f", {ORIGIN} = :origin"
            values[":origin"] = {"S": lease.origin}
        change += " REMOVE checkpointOwner"
        if is_switch(lease, owner):
            change += " ADD ownerSwitchesSinceCheckpoint :one"
            values[":one"] = {"N": "1"}
        return self._rows.update(lease, as_read, change, values, lambda row: row.owner == owner, holder=False)

    def renew(self, lease: Lease) -> Lease:
        """Show that the holder is alive: raise the lease's counter by one (KCL: ``renewLease``).

        Args:
            lease: as it was last written.

        Returns:
            The lease as it is now.

        Raises:
            LeaseLostError: the lease has changed since, is gone, or is nobody's; or another worker has asked for it.
            LeaseStoreError: the table cannot be written; whether the lease was renewed is unknown.
        """
        if lease.owner is None:
            raise lost(lease)
        change, values = with_done_until("SET leaseCounter = :next", lease, lease.checkpoint)
        if lease.throughput is not None:
            change += ", throughputKBps = :throughput"
            values[":throughput"] = {"N": f"{lease.throughput:.6f}"}
        renewed = self._rows.update(
            lease, as_read, change, values, lambda row: _holder(row) == _holder(lease), asked=True
        )
        if renewed is None:
            raise lost(lease)
        return renewed

    def checkpoint(self, lease: Lease, position: Position, *, children: tuple[str, ...] = ()) -> Lease:
        """Record that everything up to and including `position` is done; renews the lease too.

        A pending checkpoint of the KCL's is removed, as its ``DynamoDBCheckpointer`` does.

        Args:
            lease: as it was last written.
            position: the position.
            children: ids of the shard's children, at `Position.SHARD_END`; none: those known stay.

        Returns:
            The lease as it is now; in a hand-over it has another owner, see `Leases.checkpoint`.

        Raises:
            LeaseLostError: the lease has changed since, is gone, or is nobody's; nothing is recorded.
            LeaseStoreError: the table cannot be written; whether the position was recorded is unknown.
        """
        if lease.owner is None:
            raise lost(lease)
        change, values = with_done_until(
            "SET leaseCounter = :next, checkpoint = :checkpoint, checkpointSubSequenceNumber = :sub,"
            " ownerSwitchesSinceCheckpoint = :zero",
            lease,
            position,
        )
        values |= {
            ":checkpoint": {"S": position.sequence_number},
            ":sub": {"N": str(position.sub_sequence_number)},
            ":zero": {"N": "0"},
        }
        if children:
            change += ", childShardIds = :children"
            values[":children"] = {"SS": in_order(shard_ids_of(children))}
        change += " REMOVE pendingCheckpoint, pendingCheckpointSubSequenceNumber, pendingCheckpointState"
        written = self._rows.update(
            lease,
            as_read_or_handed_over,
            change,
            values,
            lambda row: (
                _holder(row) == _holder(lease)
                and (row.checkpoint, row.owner_switches) == (position, 0)
                and (not children or row.children == in_order(children))
            ),
            asked=True,
        )
        if written is None:
            raise lost(lease)
        return written

    def release(self, lease: Lease) -> bool:
        """Give the lease up, so that another worker can take it at once; ends a hand-over that has begun.

        Returns:
            False if it was lost before.

        Raises:
            LeaseStoreError: the table cannot be written; whether the lease was given up is unknown.
        """
        if lease.owner is None:
            return False
        change = "SET leaseCounter = :next REMOVE leaseOwner"
        update = self._rows.update
        if lease.checkpoint_owner is None and update(lease, as_read, change, {}, lambda row: row.owner is None):
            return True
        return self._end_hand_over(lease) is not None

    def get(self, key: str) -> Lease | None:
        """The lease with a key, read consistently; None: there is none.

        Raises:
            LeaseStoreError: the table cannot be read, or the item is no lease.
        """
        return self._rows.get(key)

    def assigned(self, owner: str) -> builtins.list[str] | None:
        """The keys of the leases that have an owner, from the index that the KCL 3.x discovers its leases in.

        Returns:
            The keys, which may be some moments old; None if the table has no such index, or it may not be asked.

        Raises:
            LeaseStoreError: the table cannot be read.
        """
        return assigned_keys(self._table, owner)

    def ask_for(self, lease: Lease, owner: str) -> Lease | None:
        """Begin the lease's hand-over from the worker that holds it (KCL: ``initiateGracefulLeaseHandoff``).

        The counter is neither looked at nor raised, so the holder may go on renewing.

        Args:
            lease: as it was last read, with an owner.
            owner: the worker that shall have it.

        Returns:
            The lease as it is now; None if its owner has changed since it was read, or it is being handed over.

        Raises:
            LeaseStoreError: the table cannot be written; whether the hand-over has begun is unknown.
        """
        return None if lease.owner is None else self._rows.begin_hand_over(lease, owner)

    def give(self, lease: Lease, owner: str) -> Lease | None:
        """Give the lease that one holds to another worker (KCL: ``assignLease``); ends a hand-over that has begun.

        Args:
            lease: as it was last written.
            owner: the worker that shall have it, unless a hand-over has begun, which has named another.

        Returns:
            The lease as it is now; None if it was lost before.

        Raises:
            LeaseStoreError: the table cannot be written; whether the lease was given is unknown.
        """
        if lease.owner is None:
            return None
        if lease.checkpoint_owner is None:
            change = "SET leaseCounter = :next, leaseOwner = :taker ADD ownerSwitchesSinceCheckpoint :one"
            values: Values = {":taker": {"S": owner}, ":one": {"N": "1"}}
            given = self._rows.update(lease, as_read, change, values, lambda row: row.owner == owner)
            if given is not None:
                return given
        return self._end_hand_over(lease)

    def _end_hand_over(self, lease: Lease) -> Lease | None:
        # The next owner is known already, and waits for the checkpoint owner to go.
        change = "SET leaseCounter = :next REMOVE checkpointOwner"
        condition = handed_over if lease.checkpoint_owner is None else as_read
        return self._rows.update(lease, condition, change, {}, lambda row: row.checkpoint_owner is None)

    def delete(self, lease: Lease) -> bool:
        """Remove a lease that is no longer needed.

        Returns:
            False if it has changed since it was read, or is gone.

        Raises:
            LeaseStoreError: the table cannot be written; whether the lease was removed is unknown.
        """
        condition, values = as_read(lease)

        def delete() -> Lease:
            self._table.call(
                "DeleteItem",
                {CONDITION_FAILED},
                Key=key_of(lease.key),
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
            )
            return lease

        return self._rows.write(lease, delete, lambda row: row is None) is not None


def _holder(lease: Lease) -> str | None:
    """The worker that may checkpoint."""
    return lease.checkpoint_owner or lease.owner
