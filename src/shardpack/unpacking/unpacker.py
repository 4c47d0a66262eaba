"""Kinesis records of any shape in, user records out."""

from __future__ import annotations

from itertools import chain, repeat

from ..errors import DecodeError, InvalidRecordError, MalformedError, OutOfRangeError
from ..limits import MAX_HASH_KEY, check_integer, shown
from ..records import Position, ReceivedRecord
from ..values import TYPE_CHECKING
from ..wire.backend import backend
from ..wire.frame import MAGIC
from .shapes import MOST_IN_BATCH, kinesis_record_batches, kinesis_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, Literal, TypeAlias

    from ..hashing import Shard
    from ..wire.core import Aggregate
    from .shapes import KinesisRecord

OnCorrupt: TypeAlias = "Literal['raw', 'raise', 'kcl']"
OutOfRange: TypeAlias = "Literal['keep', 'drop_record', 'drop_aggregate', 'raise']"


def unpack(
    records: Any,
    *,
    on_corrupt: OnCorrupt = "raw",
    hash_range: Shard | tuple[int, int] | None = None,
    out_of_range: OutOfRange = "keep",
    after: Position | None = None,
    max_key_characters: int | None = None,
) -> Iterator[ReceivedRecord]:
    """The user records in Kinesis records, lazily and in their order.

    Threads may share the iterator: each user record goes to one of them. After an interrupt in the middle, such as
    Ctrl-C, it has lost its place, and says so when it is asked again.

    Args:
        records: One Kinesis record, something that holds Kinesis records, or an iterable of any mixture of these. The
            records may be aggregated or plain. They may be boto3 ``GetRecords`` responses, ``SubscribeToShard`` events,
            ``PutRecords`` entries, Lambda events, transformation events of Firehose and Kinesis Analytics, the records
            of any of these, or `PackedRecord` objects.
        on_corrupt: What to do with data that starts like an aggregate and is not a sound one. ``"raw"`` delivers it
            whole, as one plain record. ``"raise"`` raises an error with the reason and the offset. ``"kcl"`` does what
            KCL 3.5.1 does in ``AggregatorUtil.deaggregate``, its losses included.
        hash_range: The hash range of the shard that the records were read from: a `Shard`, or a pair of its starting
            and its ending hash key, both inclusive. None means that every hash key is in range.
        out_of_range: What to do with a sub-record whose hash key is outside the range. ``"keep"`` delivers it.
            ``"drop_record"`` drops it. ``"drop_aggregate"`` drops the whole aggregate, as the KCL does; this removes
            the duplicates that the KPL makes when a stream reshards. ``"raise"`` raises an error. Plain records are
            never dropped.
        after: Skip all records up to and including this position. This is how to resume inside an aggregate. Positions
            can be compared within one shard only. Records without a sequence number are never skipped.
        max_key_characters: Take an aggregate for corrupt if one of its user records has a partition key or an explicit
            hash key of more characters than this. The service takes partition keys of at most 256 characters, but does
            not look into aggregates. None gives keys of any length as they are. In memory they cost little, because
            user records share them. But whoever writes out each user record writes its key as often, and 1 MiB can
            become 45 GB.

    Raises:
        ValueError: An option is not one of those above, or is out of its range.
        DecodeError: A record is corrupt and ``on_corrupt="raise"``, or a mapping is no Kinesis record.
        OutOfRangeError: A sub-record is out of range and ``out_of_range="raise"``.
        TypeError: Something is neither a record nor an iterable of records, or an option has the wrong type.
    """
    if on_corrupt not in ("raw", "raise", "kcl"):
        raise ValueError(f'on_corrupt is {shown(on_corrupt)}; choose "raw", "raise" or "kcl"')
    if out_of_range not in ("keep", "drop_record", "drop_aggregate", "raise"):
        raise ValueError(
            f'out_of_range is {shown(out_of_range)}; choose "keep", "drop_record", "drop_aggregate" or "raise"'
        )
    if not isinstance(after, Position | None):
        raise TypeError(f"after is {shown(after)}; give a Position, such as a received record's .position")
    check_max_key_characters(max_key_characters)
    bounds = bounds_of(hash_range)
    # What is wrong with a record is looked for only where somebody will see it.
    read = None if on_corrupt == "raw" else reader(on_corrupt, bounds, out_of_range)
    core = backend()
    read_ahead: Callable[[Sequence[bytes]], Iterable[Aggregate | None]] = core.read_ahead
    if on_corrupt == "kcl":
        read_ahead = _one_by_one
    if out_of_range == "keep":
        bounds = None
    expand = _expander(read, on_corrupt == "raise", bounds, out_of_range, max_key_characters)
    batches = kinesis_record_batches(records)
    expanded = (map(expand, batch, read_ahead([record.data for record in batch])) for batch in batches)
    groups = chain.from_iterable(expanded)
    return core.flat(groups if after is None else (_after(group, after) for group in groups))


def unpack_each(records: Sequence[Any], on_corrupt: OnCorrupt) -> Iterator[Iterable[ReceivedRecord] | Exception]:
    """For each of some Kinesis records: its user records, or the error that `unpack` would raise for it alone.

    Those at hand are verified side by side, some of them before their turn.
    """
    core = backend()
    expand = _expander(
        None if on_corrupt == "raw" else reader(on_corrupt, None, "keep"), on_corrupt == "raise", None, "keep", None
    )
    for start in range(0, len(records), MOST_IN_BATCH):
        found = [_found(record) for record in records[start : start + MOST_IN_BATCH]]
        blobs = [one.data for one in found if not isinstance(one, Exception)]
        aggregates = iter(core.read_ahead(blobs) if on_corrupt != "kcl" else _one_by_one(blobs))
        for one in found:
            if isinstance(one, Exception):
                yield one
                continue
            try:
                user_records = expand(one, next(aggregates))
            except DecodeError as error:
                yield error
            else:
                yield user_records


def _found(record: Any) -> KinesisRecord | Exception:
    try:
        (found,) = kinesis_records(record)
    except Exception as error:  # noqa: BLE001  # it is another's turn; what is wrong with this one is said at its own
        return error
    return found


def _one_by_one(_blobs: Sequence[bytes]) -> Iterable[None]:
    return repeat(None)


def _expander(
    read: Callable[[bytes], Aggregate] | None,
    strict: bool,
    bounds: tuple[int, int] | None,
    out_of_range: OutOfRange,
    max_key_characters: int | None,
) -> Callable[[KinesisRecord, Aggregate | None], Iterable[ReceivedRecord]]:
    """What gives the user records of a Kinesis record, by these settings."""

    def expand(record: KinesisRecord, aggregate: Aggregate | None) -> Iterable[ReceivedRecord]:
        if not record.data.startswith(MAGIC):
            return (plain(record),)
        try:
            if aggregate is None:
                if read is None:
                    return (plain(record),)
                aggregate = read(record.data)
            if error := long_key(aggregate, max_key_characters):
                raise error
            outside = frozenset() if bounds is None else outside_of(aggregate, bounds)
        except DecodeError:
            if strict:
                raise
            return (plain(record),)
        if not outside:
            return received(record, aggregate)
        if out_of_range == "raise" and bounds is not None:
            raise _out_of_range_error(record, aggregate, min(outside), bounds)
        if out_of_range == "drop_record":
            return (r for r in received(record, aggregate) if r.sub_sequence_number not in outside)
        return ()

    return expand


def plain(record: KinesisRecord) -> ReceivedRecord:
    """A Kinesis record as the one user record that it is."""
    return ReceivedRecord(
        record.partition_key,
        record.data,
        record.explicit_hash_key,
        record.sequence_number,
        record.sub_sequence_number,
        False,
        record.approximate_arrival_timestamp,
        record.shard_id,
    )


def received(record: KinesisRecord, aggregate: Aggregate) -> Iterable[ReceivedRecord]:
    """The sub-records of an aggregate, with what they share with the Kinesis record that held them."""
    return aggregate.received(record.sequence_number, record.approximate_arrival_timestamp, record.shard_id)


def reader(
    on_corrupt: OnCorrupt, bounds: tuple[int, int] | None, out_of_range: OutOfRange
) -> Callable[[bytes], Aggregate]:
    """What reads one aggregate, and raises DecodeError's children for what is none that is sound."""
    if on_corrupt != "kcl":
        return backend().read
    from . import kcl  # here, because few ask for it, and it loads `re`

    kcl_bounds = (bounds or (0, MAX_HASH_KEY)) if out_of_range == "drop_aggregate" else None
    return lambda blob: kcl.read(blob, kcl_bounds)


def check_max_key_characters(number: int | None) -> None:
    """Refuse a limit that makes no sense, with TypeError or ValueError."""
    if number is None:
        return
    check_integer("max_key_characters", number)
    if number < 1:
        raise ValueError(f"max_key_characters is {shown(number)}; give at least 1, or None for keys of any length")


def long_key(aggregate: Aggregate, most: int | None) -> MalformedError | None:
    """What to raise for an aggregate whose user records have a key of more characters; None if they have none."""
    if most is None:
        return None
    for name, keys in (
        ("partition key", aggregate.partition_keys),
        ("explicit hash key", aggregate.explicit_hash_keys),
    ):
        longest = max((len(key) for key in keys if key is not None), default=0)
        if longest > most:
            return MalformedError(
                f"a user record has a {name} of {longest:,} characters, more than max_key_characters={most:,};"
                " give None to take keys of any length",
                offset=len(MAGIC),
            )
    return None


def outside_of(aggregate: Aggregate, bounds: tuple[int, int]) -> frozenset[int]:
    """The sub-sequence numbers of the sub-records whose hash key is out of bounds.

    Raises:
        MalformedError: an explicit hash key is no number.
    """
    partition_keys, explicit_hash_keys = aggregate.partition_keys, aggregate.explicit_hash_keys
    # User records share the texts of their keys. By what they are, not by what they say, each is looked at once: two
    # long texts that are equal would be compared for each user record. An explicit hash key decides alone. Python has
    # each text of one character once, so the same object may be a partition key here and an explicit hash key there.
    numbers = {id(number): number for number in explicit_hash_keys if number is not None}
    keys = {id(key): key for key, number in zip(partition_keys, explicit_hash_keys, strict=True) if number is None}
    numbers_outside = {at for at, number in numbers.items() if not bounds[0] <= number_of(number) <= bounds[1]}
    identities = list(keys)
    keys_outside = {identities[nth] for nth in keys_outside_of(list(keys.values()), bounds)}
    if not numbers_outside and not keys_outside:
        return frozenset()
    if len(numbers_outside) == len(numbers) and len(keys_outside) == len(keys):
        return frozenset(range(len(partition_keys)))
    each = enumerate(zip(partition_keys, explicit_hash_keys, strict=True))
    return frozenset(
        nth
        for nth, (key, number) in each
        if (id(key) in keys_outside if number is None else id(number) in numbers_outside)
    )


def keys_outside_of(partition_keys: Sequence[str], bounds: tuple[int, int]) -> Sequence[int]:
    """The places of those partition keys whose hash key is out of bounds."""
    first, last = max(bounds[0], 0), min(bounds[1], MAX_HASH_KEY)
    return backend().outside(partition_keys, first, last) if first <= last else range(len(partition_keys))


def number_of(explicit_hash_key: str) -> int:
    """The hash key that an explicit hash key says.

    Raises:
        MalformedError: it is no number.
    """
    from .kcl import big_integer  # see `reader`

    try:
        return big_integer(explicit_hash_key)
    except ValueError:
        raise MalformedError(
            f"the explicit hash key {shown(explicit_hash_key)} is not a number, so its range is unknown",
            offset=len(MAGIC),
        ) from None


def _out_of_range_error(
    record: KinesisRecord, aggregate: Aggregate, index: int, bounds: tuple[int, int]
) -> OutOfRangeError:
    from ..hashing import md5_hash_key  # here, because nearly all read without a hash range

    partition_key, explicit_hash_key = aggregate.partition_keys[index], aggregate.explicit_hash_keys[index]
    hash_key = md5_hash_key(partition_key.encode()) if explicit_hash_key is None else number_of(explicit_hash_key)
    return OutOfRangeError(
        f"sub-record {index} of the aggregate at sequence number {record.sequence_number} has the hash key {hash_key},"
        f" outside {bounds[0]} to {bounds[1]}: it was put before a reshard, and the KCL would drop the whole aggregate",
        hash_key=hash_key,
        hash_range=bounds,
    )


def bounds_of(hash_range: Shard | tuple[int, int] | None) -> tuple[int, int] | None:
    """The first and the last hash key of a hash range.

    Raises:
        TypeError: it is none.
        ValueError: it runs downwards.
    """
    if hash_range is None:
        return None
    from ..hashing import Shard  # see `_out_of_range_error`

    given = hash_range
    if isinstance(hash_range, Shard):
        hash_range = hash_range.starting_hash_key, hash_range.ending_hash_key
    try:
        starting, ending = map(int, hash_range)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            f"hash_range is {shown(given)}; give a Shard, or its starting and ending hash key as a pair of ints"
        ) from None
    if starting > ending:
        raise ValueError(
            f"hash_range runs from {shown(starting)} down to {shown(ending)}; give the starting hash key first"
        )
    return starting, ending


def _after(records: Iterable[ReceivedRecord], after: Position) -> Iterator[ReceivedRecord]:
    for record in records:
        try:
            position = record.position
        except InvalidRecordError as error:
            raise DecodeError(
                f"a Kinesis record cannot be compared with the position to go on after: {error}; leave out after, or"
                " give records their sequence numbers as Kinesis gave them"
            ) from None
        if position is None or position > after:
            yield record
