"""What a lease looks like in DynamoDB: its item, and the conditions under which it may be written.

Attributes and types are those of the KCL's ``DynamoDBLeaseSerializer``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypedDict

from ..records import Position
from .keys import lease_keys_beside, shard_id_of, shard_ids_of, stream_identifier_of
from .lease import Lease, moment_of
from .local import in_order

_ENTITY_TYPE = "LEASE"

# Attributes of our own. The KCL 3.5.1 reads a lease's attributes by their names and updates items without replacing
# them, so it neither sees nor removes these (DynamoDBLeaseSerializer.fromDynamoRecord, DynamoDBLeaseRefresher).
ORIGIN = "shardpackOrigin"
DONE_UNTIL = "shardpackDoneUntil"
_DONE_AT = "shardpackDoneAt"  # the checkpoint then; where it is another, the KCL has done more since


class AttributeValue(TypedDict, total=False):
    """One value as DynamoDB's API has it: a string, a number, or a set of strings, and one of them only."""

    S: str
    N: str
    SS: Sequence[str]


Values: TypeAlias = dict[str, AttributeValue]
"""Values by name, as DynamoDB's API has them: ``{"leaseCounter": {"N": "1"}}``."""

Item: TypeAlias = Mapping[str, AttributeValue]
"""An item as DynamoDB's API gives it."""

_ABSENT: AttributeValue = {}


def is_lease_item(item: Item) -> bool:
    """Whether an item is a lease; KCL 3.5 keeps its leader, its metrics and its migrations in the same table."""
    # Before 3.5 the KCL wrote none, and kept nothing but leases (its EntityType).
    return "entityType" not in item or item["entityType"].get("S") == _ENTITY_TYPE


def key_of(key: str) -> Values:
    """The key of a lease's item."""
    return {"leaseKey": {"S": key}}


def item_of(lease: Lease) -> Values:
    """The item that the KCL creates for the lease (DynamoDBLeaseSerializer.toDynamoRecord)."""
    item: Values = {
        **key_of(lease.key),
        "leaseCounter": {"N": str(lease.counter)},
        "ownerSwitchesSinceCheckpoint": {"N": str(lease.owner_switches)},
        "checkpoint": {"S": lease.checkpoint.sequence_number},
        "checkpointSubSequenceNumber": {"N": str(lease.checkpoint.sub_sequence_number)},
        "entityType": {"S": _ENTITY_TYPE},
    }
    if lease.owner is not None:
        item["leaseOwner"] = {"S": lease.owner}
    if lease.checkpoint_owner is not None:
        item["checkpointOwner"] = {"S": lease.checkpoint_owner}
    if lease.parents:
        item["parentShardId"] = {"SS": in_order(shard_ids_of(lease.parents))}
    if lease.children:
        item["childShardIds"] = {"SS": in_order(shard_ids_of(lease.children))}
    if lease.hash_range is not None:
        starting, ending = lease.hash_range
        item["startingHashKey"], item["endingHashKey"] = {"S": str(starting)}, {"S": str(ending)}
    stream = stream_identifier_of(lease.key)
    if stream is not None:  # KCL: DynamoDBMultiStreamLeaseSerializer
        item["streamName"], item["shardId"] = {"S": stream}, {"S": shard_id_of(lease.key)}
    if lease.origin is not None:
        item[ORIGIN] = {"S": lease.origin}
    if lease.throughput is not None:
        item["throughputKBps"] = {"N": f"{lease.throughput:.6f}"}
    if lease.done_until is not None:
        item |= _done_until(lease.done_until, lease.checkpoint)
    return item


def lease_of(item: Item) -> Lease:
    """The lease that an item says, older versions' included (DynamoDBLeaseSerializer.fromDynamoRecord).

    Raises:
        KeyError, ValueError: it is none.
    """
    starting, ending = (item.get(name, _ABSENT).get("S") for name in ("startingHashKey", "endingHashKey"))
    key = item["leaseKey"]["S"]
    checkpoint = Position(item["checkpoint"]["S"], int(item.get("checkpointSubSequenceNumber", _ABSENT).get("N", 0)))
    done_until = item.get(DONE_UNTIL, _ABSENT).get("N")
    if item.get(_DONE_AT, _ABSENT).get("S", _as_text(checkpoint)) != _as_text(checkpoint):
        done_until = None
    return Lease(
        key,
        owner=item.get("leaseOwner", _ABSENT).get("S"),
        counter=int(item["leaseCounter"]["N"]),
        checkpoint=checkpoint,
        owner_switches=int(item.get("ownerSwitchesSinceCheckpoint", _ABSENT).get("N", 0)),
        parents=in_order(lease_keys_beside(key, item.get("parentShardId", _ABSENT).get("SS", ()))),
        children=in_order(lease_keys_beside(key, item.get("childShardIds", _ABSENT).get("SS", ()))),
        hash_range=(int(starting), int(ending)) if starting and ending else None,
        checkpoint_owner=item.get("checkpointOwner", _ABSENT).get("S"),
        origin=item.get(ORIGIN, _ABSENT).get("S"),
        done_until=None if done_until is None else moment_of(int(done_until)),
        throughput=float(throughput) if (throughput := item.get("throughputKBps", _ABSENT).get("N")) else None,
    )


def with_done_until(change: str, lease: Lease, checkpoint: Position) -> tuple[str, Values]:
    """A change that begins with SET, and that writes the lease's `done_until` too, if there is one to write.

    Args:
        change: the change.
        lease: the lease.
        checkpoint: as it is once the change is made.
    """
    if lease.done_until is None:
        return change, {}
    until, at = _done_until(lease.done_until, checkpoint).values()
    return f"SET {DONE_UNTIL} = :until, {_DONE_AT} = :at, {change.removeprefix('SET ')}", {":until": until, ":at": at}


def _done_until(moment: int, checkpoint: Position) -> Values:
    return {DONE_UNTIL: {"N": str(moment)}, _DONE_AT: {"S": _as_text(checkpoint)}}


def _as_text(position: Position) -> str:
    return f"{position.sequence_number}/{position.sub_sequence_number}"


# Conditions: an expression and the values in it.


def as_read(lease: Lease) -> tuple[str, Values]:
    """The condition, and the values in it, that nobody has written the lease since it was read."""
    terms = ["leaseCounter = :counter"]
    values: Values = {":counter": {"N": str(lease.counter)}}
    for name, value in (("leaseOwner", lease.owner), ("checkpointOwner", lease.checkpoint_owner)):
        if value is None:
            terms.append(f"attribute_not_exists({name})")
        else:
            terms.append(f"{name} = :{name}")
            values[f":{name}"] = {"S": value}
    return " AND ".join(terms), values


def handed_over(lease: Lease) -> tuple[str, Values]:
    """A hand-over to another worker has begun since the lease was read; it left the counter alone."""
    # Nobody hands over a lease that nobody holds, and no worker has the empty name.
    values: Values = {":counter": {"N": str(lease.counter)}, ":leaseOwner": {"S": lease.owner or ""}}
    return "leaseCounter = :counter AND checkpointOwner = :leaseOwner", values


def as_read_or_handed_over(lease: Lease) -> tuple[str, Values]:
    """`as_read`, or `handed_over` where that is possible."""
    condition, values = as_read(lease)
    if lease.checkpoint_owner is None:
        condition = f"({condition}) OR ({handed_over(lease)[0]})"
    return condition, values
