"""Conditional writes of the lease table's items, when an answer may be lost on its way."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import LeaseStoreError
from .items import Item, Values, is_lease_item, key_of, lease_of
from .lease import Lease
from .table import RefusedError, Table

CONDITION_FAILED = "ConditionalCheckFailedException"
INDEX = "LeaseOwnerToLeaseKeyIndex"  # the KCL's

# Tables of a KCL before 3.0 have no index, and the permissions of one need not include asking it.
_NO_INDEX = frozenset({"ValidationException", "AccessDeniedException", "AccessDenied", "ResourceNotFoundException"})

_log = logging.getLogger("shardpack.consumer")


class TableRows:
    """The items of a lease table.

    Attributes:
        table: the table.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        # Writes that failed without our knowing whether they happened: (key, counter before). The next attempt is told.
        self._unsure: set[tuple[str, int]] = set()

    def update(
        self,
        lease: Lease,
        condition: Callable[[Lease], tuple[str, Values]],
        change: str,
        values: Values,
        is_done: Callable[[Lease], bool],
        *,
        holder: bool = True,
        asked: bool = False,
    ) -> Lease | None:
        """The lease as changed, or None if the condition does not hold.

        Args:
            lease: as it was last read or written.
            condition: says under which condition it may be changed.
            change: the change, which raises the counter to ``:next``.
            values: other values in the change.
            is_done: whether a lease is as this change makes it.
            holder: whether the caller holds the lease.
            asked: whether the change may be made too when another worker has asked for the lease meanwhile.
        """
        expression, expected = condition(lease)

        def write() -> Lease:
            answer = self.table.call(
                "UpdateItem",
                {CONDITION_FAILED},
                Key=key_of(lease.key),
                ConditionExpression=expression,
                UpdateExpression=change,
                ExpressionAttributeValues={**expected, **values, ":next": {"N": str(lease.counter + 1)}},
                ReturnValues="ALL_NEW",
            )
            return self.lease(answer["Attributes"])

        def is_ours(row: Lease | None) -> bool:
            # Nobody else raises the counter under our name: earlier writes of ours, this one or others.
            return (
                row is not None
                and self._may_have_written(lease, row)
                and (is_done(row) or (holder and is_held_on(row, lease)) or (asked and is_asked_for(row, lease)))
            )

        row = self.write(lease, write, is_ours)
        if row is None or is_done(row):
            return row
        try:
            return self.update(row, condition, change, values, is_done, asked=asked)
        except LeaseStoreError as error:
            if error.retriable:  # the caller comes again with the lease as it was before both writes
                self._unsure.add((lease.key, lease.counter))
            raise

    def _may_have_written(self, lease: Lease, row: Lease) -> bool:
        """Whether writes whose answers were lost can have made the lease's counter what it is."""
        between = range(lease.counter + 1, row.counter)
        return row.counter > lease.counter and all((lease.key, counter) in self._unsure for counter in between)

    def begin_hand_over(self, lease: Lease, owner: str) -> Lease | None:
        """The lease on its way from its owner to another, or None if it is not its owner's alone any more."""
        change = "SET leaseOwner = :next, checkpointOwner = :leaseOwner"
        expected: Values = {":leaseOwner": {"S": lease.owner or ""}}

        def write() -> Lease:
            answer = self.table.call(
                "UpdateItem",
                {CONDITION_FAILED},
                Key=key_of(lease.key),
                ConditionExpression="leaseOwner = :leaseOwner AND attribute_not_exists(checkpointOwner)",
                UpdateExpression=change,
                ExpressionAttributeValues={**expected, ":next": {"S": owner}},
                ReturnValues="ALL_NEW",
            )
            return self.lease(answer["Attributes"])

        def is_ours(row: Lease | None) -> bool:
            return row is not None and (row.owner, row.checkpoint_owner) == (owner, lease.owner)

        return self.write(lease, write, is_ours)

    def write(self, lease: Lease, write: Callable[[], Lease], is_ours: Callable[[Lease | None], bool]) -> Lease | None:
        """What `write` gives; if its condition fails, the lease as it is if `is_ours` recognises an earlier attempt."""
        attempt = (lease.key, lease.counter)
        try:
            try:
                written: Lease | None = write()
            except RefusedError as refused:
                written = None
                if refused.unsure or attempt in self._unsure:
                    row = self.get(lease.key)
                    written = (row or lease) if is_ours(row) else None
        except LeaseStoreError as error:
            if error.retriable:
                self._unsure.add(attempt)
            raise
        self._unsure.discard(attempt)
        return written

    def get(self, key: str) -> Lease | None:
        """The lease with a key, read consistently; None: there is none, or the item is none of a lease."""
        item = self.table.call("GetItem", Key=key_of(key), ConsistentRead=True).get("Item")
        return None if item is None or not is_lease_item(item) else self.lease(item)

    def lease(self, item: Item) -> Lease:
        """The lease that an item is.

        Raises:
            LeaseStoreError: it is none.
        """
        try:
            return lease_of(item)
        except (KeyError, ValueError) as error:
            raise LeaseStoreError(
                f"the item {item.get('leaseKey')} of the lease table {self.table.name!r} is no lease"
                f" ({type(error).__name__}: {error}); correct it, or delete it if it is not the KCL's",
                retriable=False,
            ) from error


def assigned_keys(table: Table, owner: str) -> list[str] | None:
    """The keys of the leases that have an owner; None if the index cannot be asked."""
    keys: list[str] = []
    start: dict[str, object] = {}
    while True:
        try:
            page = table.call(
                "Query",
                _NO_INDEX,
                IndexName=INDEX,
                KeyConditionExpression="leaseOwner = :owner",
                ExpressionAttributeValues={":owner": {"S": owner}},
                **start,
            )
        except RefusedError as refused:
            _log.info("the index %s of the lease table %s is not asked: %s", INDEX, table.name, refused.code)
            return None
        keys += [item["leaseKey"]["S"] for item in page["Items"]]
        if not page.get("LastEvaluatedKey"):
            return keys
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def is_asked_for(row: Lease, lease: Lease) -> bool:
    """Whether another worker has asked for a lease since its holder last saw it."""
    return lease.checkpoint_owner is None and lease.owner is not None and row.checkpoint_owner == lease.owner


def is_held_on(row: Lease, lease: Lease) -> bool:
    """Whether the same worker holds the lease in the same way."""
    return (row.owner, row.checkpoint_owner) == (lease.owner, lease.checkpoint_owner)
