"""Many user records at once: by the native core where there is one, else one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from ...hashing import ShardMap
from ...limits import MAX_PARTITION_KEY_CHARACTERS, check_iterable
from ...records import BytesLike, UserRecord, UserRecordLike, check_user_record
from ...wire.backend import backend
from ..delivery import Deliveries, Delivery


def checked(user_records: Iterable[UserRecordLike]) -> list[UserRecord]:
    """Each checked and normalised.

    Raises:
        InvalidRecordError: a field breaks a rule of the service.
    """
    check_iterable("user_records", user_records, "an iterable of user records")
    bulk = backend().bulk
    if bulk is None:
        return [*map(check_user_record, user_records)]
    # The core asks how many there are, which runs code of the application for any but these two.
    is_python_s_own = type(user_records) is list or type(user_records) is tuple
    return bulk.checked(user_records if is_python_s_own else chain(user_records))


def user_record_of(
    partition_key: str, data: BytesLike, explicit_hash_key: str | int | None
) -> tuple[str, bytes] | UserRecord:
    """The fields of one, checked and normalised; a plain tuple where two say it all, because it costs less.

    Raises:
        InvalidRecordError: a field breaks a rule of the service.
    """
    if (
        type(data) is bytes
        and explicit_hash_key is None
        and type(partition_key) is str
        and partition_key.isascii()
        and 1 <= len(partition_key) <= MAX_PARTITION_KEY_CHARACTERS
    ):
        return partition_key, data
    return check_user_record((partition_key, data, explicit_hash_key))


def measured(records: Sequence[UserRecord]) -> tuple[int, int, int]:
    """Bytes: of all, partition keys counted; of the largest, the same; of the data of all."""
    bulk = backend().bulk
    if bulk is not None:
        return bulk.measured(records)
    sizes = [*map(size_of, records)]
    return sum(sizes), max(sizes), sum([len(record.data) for record in records])


def size_of(record: tuple[str, bytes] | UserRecord) -> int:
    """Bytes of a user record, partition key counted."""
    key = record[0]
    return len(record[1]) + (len(key) if key.isascii() else len(key.encode()))


def deliveries(first: Delivery, count: int) -> Iterable[Delivery]:
    """Of user records that lie behind each other in one Kinesis record."""
    if count == 1:
        return (first,)
    bulk = backend().bulk
    return Deliveries(first, count) if bulk is None else bulk.counted_on(first, count)


class Shares:
    """Which user records go to which shard.

    Args:
        shard_map: the shards; None: they are not known, and all user records go to None.
    """

    def __init__(self, shard_map: ShardMap | None) -> None:
        self.shard_map = shard_map
        self._shards = () if shard_map is None else shard_map.shards
        self._bulk = backend().bulk
        self._ends = None if self._bulk is None else self._bulk.Ends([shard.ending_hash_key for shard in self._shards])

    def of(self, records: Sequence[UserRecord]) -> dict[str | None, Sequence[int]] | None:
        """The places of the records of each shard; None where they are to be looked at one by one."""
        if self._bulk is None or self._ends is None:
            return None
        divided = self._bulk.divided(records, self._ends)
        if divided is None:
            return None
        if not self._shards:
            return {None: range(len(records))}
        return {self._shards[nth].shard_id: places for nth, places in divided.items()}
