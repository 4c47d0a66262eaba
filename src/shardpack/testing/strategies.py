"""Strategies for hypothesis: user records, aggregates, shard maps, limits, and what a consumer is handed.

Each gives valid values only, with those that are known to break codecs among them: keys of 256 characters, keys outside
ASCII and outside the Basic Multilingual Plane, and sizes at which a length takes one byte more.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import DrawFn, SearchStrategy
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "shardpack.testing.strategies needs hypothesis: pip install 'shardpack[testing]'", name=error.name
    ) from error

from ..hashing import Shard, ShardMap
from ..limits import (
    KPL_AGGREGATION_MAX_SIZE,
    MAX_HASH_KEY,
    MAX_PARTITION_KEY_CHARACTERS,
    MAX_RECORD_BYTES,
    MIB,
    MIN_RECORD_BYTES,
    PUT_PAYLOAD_UNIT_BYTES,
    Limits,
)
from ..records import Tags, UserRecord
from ..wire import encode
from ..wire.format import MAGIC

__all__ = [
    "aggregates",
    "data",
    "explicit_hash_keys",
    "get_records_responses",
    "kinesis_data",
    "lambda_events",
    "limits",
    "partition_keys",
    "shard_maps",
    "tags",
    "user_record_lists",
    "user_records",
]

# A length takes a second byte from 128 on and a third from 16,384 on. The data's is not the only one that counts: its
# record's is larger by up to 15 bytes.
_LENGTH_BOUNDARIES = ((110, 130), (16_366, 16_386))
_SHORT = 64
_LETTERS = [bytes([letter]) for letter in range(ord("a"), ord("z") + 1)]

_HASH_KEY_EDGES = (0, 1, 2**127 - 1, 2**127, MAX_HASH_KEY - 1, MAX_HASH_KEY)
_PARTITION_KEY_EDGES = (
    "a",
    "\x00",
    "\u00e9",
    "\u00e9" * 64,  # 128 bytes in UTF-8
    "\U0001d7cf",  # a digit outside the Basic Multilingual Plane
    "k" * 127,
    "k" * 128,
    "k" * MAX_PARTITION_KEY_CHARACTERS,
    "\U0001f600" * MAX_PARTITION_KEY_CHARACTERS,
)
_TIMES = st.datetimes(datetime(2013, 11, 14), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds
_SEQUENCE_NUMBERS = st.integers(10**55, 10**56)


def partition_keys() -> SearchStrategy[str]:
    """Partition keys: 1 to 256 Unicode characters that UTF-8 can hold."""
    characters = st.characters(codec="utf-8")
    return (
        st.text(characters, min_size=1, max_size=12)
        | st.sampled_from(_PARTITION_KEY_EDGES)
        | st.text(characters, min_size=1, max_size=MAX_PARTITION_KEY_CHARACTERS)
    )


def explicit_hash_keys() -> SearchStrategy[str]:
    """Explicit hash keys: decimal strings from 0 to 2^128-1, without leading zeros."""
    return (st.sampled_from(_HASH_KEY_EDGES) | st.integers(0, MAX_HASH_KEY)).map(str)


def data(max_size: int = 20_000) -> SearchStrategy[bytes]:
    """The data of user records: short, or of a size near 128 or 16,384 bytes, or looking like an aggregate.

    Args:
        max_size: most bytes. Long data repeats one letter: it costs little to make, to shrink and to print.
    """
    looks_aggregated = (MAGIC, MAGIC + bytes(16), encode([("k", b"inner")]))
    choices: list[SearchStrategy[bytes]] = [
        st.binary(max_size=min(_SHORT, max_size)),
        st.sampled_from([b"", *(blob for blob in looks_aggregated if len(blob) <= max_size)]),
    ]
    for low, high in _LENGTH_BOUNDARIES:
        if low <= max_size:
            letter, size = st.sampled_from(_LETTERS), st.integers(low, min(high, max_size))
            choices.append(st.builds(bytes.__mul__, letter, size))
    return st.one_of(choices)


def tags() -> SearchStrategy[Tags]:
    """The tags of a user record: up to three (key, value or None) pairs, usually none."""
    text = st.text(st.characters(codec="utf-8"), max_size=12)
    pairs = st.lists(st.tuples(text, st.none() | text), min_size=1, max_size=3)
    return st.just(()) | st.just(()) | pairs.map(tuple)


_any_data = data
_any_tags = tags


def user_records(
    *,
    partition_key: SearchStrategy[str] | None = None,
    data: SearchStrategy[bytes] | None = None,
    explicit_hash_key: SearchStrategy[str | None] | None = None,
    tags: SearchStrategy[Tags] | None = None,
) -> SearchStrategy[UserRecord]:
    """User records.

    Args:
        partition_key: where its field comes from; default: `partition_keys`.
        data: likewise; default: `data`.
        explicit_hash_key: likewise; default: none, or `explicit_hash_keys`.
        tags: likewise; default: `tags`.
    """
    return st.builds(
        UserRecord,
        partition_keys() if partition_key is None else partition_key,
        _any_data() if data is None else data,
        st.none() | explicit_hash_keys() if explicit_hash_key is None else explicit_hash_key,
        _any_tags() if tags is None else tags,
    )


@st.composite
def user_record_lists(
    draw: DrawFn,
    *,
    min_size: int = 0,
    max_size: int = 20,
    partition_key: SearchStrategy[str] | None = None,
    data: SearchStrategy[bytes] | None = None,
    explicit_hash_key: SearchStrategy[str | None] | None = None,
    tags: SearchStrategy[Tags] | None = None,
) -> list[UserRecord]:
    """Lists of user records that repeat keys, as the records of a stream do.

    Args:
        draw: hypothesis gives it.
        min_size: fewest records.
        max_size: most records.
        partition_key: this and the others are those of `user_records`.
        data: see `user_records`.
        explicit_hash_key: see `user_records`.
        tags: see `user_records`.
    """
    keys = draw(st.lists(partition_keys() if partition_key is None else partition_key, min_size=1, max_size=4))
    if explicit_hash_key is None:
        explicit_hash_key = st.none() | st.sampled_from(draw(st.lists(explicit_hash_keys(), min_size=1, max_size=3)))
    record = user_records(
        partition_key=st.sampled_from(keys), data=data, explicit_hash_key=explicit_hash_key, tags=tags
    )
    return draw(st.lists(record, min_size=min_size, max_size=max_size))


def aggregates(
    records: SearchStrategy[list[UserRecord]] | None = None,
) -> SearchStrategy[tuple[bytes, list[UserRecord]]]:
    """Aggregates: (blob, its user records).

    Args:
        records: what is inside, never an empty list; default: `user_record_lists`.
    """
    inside = user_record_lists(min_size=1) if records is None else records
    return inside.map(lambda user_records: (encode(user_records), user_records))


def shard_maps(*, max_shards: int = 8) -> SearchStrategy[ShardMap]:
    """Shard maps: any division of all hash keys into ranges, some of them of one hash key, in any order of shard ids.

    Args:
        max_shards: most shards.
    """
    return _shards(max_shards).map(ShardMap)


@st.composite
def _shards(draw: DrawFn, max_shards: int) -> list[Shard]:
    starts = st.sampled_from(_HASH_KEY_EDGES[1:]) | st.integers(1, MAX_HASH_KEY)
    first_of_each = [0, *sorted(draw(st.sets(starts, max_size=max_shards - 1))), MAX_HASH_KEY + 1]
    numbers = draw(st.permutations(range(len(first_of_each) - 1)))
    ranges = zip(numbers, pairwise(first_of_each), strict=True)
    shards = [Shard(f"shardId-{number:012}", start, end - 1) for number, (start, end) in ranges]
    return draw(st.permutations(shards))


@st.composite
def limits(
    draw: DrawFn, *, min_record_bytes: int = MIN_RECORD_BYTES, max_record_bytes: int = MAX_RECORD_BYTES
) -> Limits:
    """Limits, small ones most of all: those fill soon.

    Args:
        draw: hypothesis gives it.
        min_record_bytes: least ``Limits.max_record_bytes``; a record that does not fit raises `RecordTooLargeError`.
        max_record_bytes: most ``Limits.max_record_bytes``.
    """
    presets = (MIN_RECORD_BYTES, PUT_PAYLOAD_UNIT_BYTES, KPL_AGGREGATION_MAX_SIZE, MIB, MAX_RECORD_BYTES)
    within = [preset for preset in presets if min_record_bytes <= preset <= max_record_bytes]
    sizes = st.integers(min_record_bytes, min(max_record_bytes, min_record_bytes + 2000))
    if within:
        sizes |= st.sampled_from(within)
    sizes |= st.integers(min_record_bytes, max_record_bytes)
    record_bytes = draw(sizes)
    aggregate_bytes = draw(st.none() | st.integers(MIN_RECORD_BYTES, record_bytes))
    return Limits(record_bytes, draw(st.none() | st.integers(1, 5) | st.integers(1, 2**31)), aggregate_bytes)


def kinesis_data() -> SearchStrategy[bytes]:
    """The data of Kinesis records: aggregates, and plain records, of which some look like aggregates."""
    return data() | aggregates().map(lambda aggregate: aggregate[0])


@st.composite
def lambda_events(
    draw: DrawFn, *, data: SearchStrategy[bytes] | None = None, min_size: int = 1, max_size: int = 4
) -> dict[str, Any]:
    """Events that Lambda makes of the records of one shard (Lambda developer guide, "Using Lambda with Kinesis").

    Args:
        draw: hypothesis gives it.
        data: the data of each Kinesis record; default: `kinesis_data`.
        min_size: fewest Kinesis records.
        max_size: most Kinesis records.
    """
    shard_id = f"shardId-{draw(st.integers(0, 9999)):012}"
    records = [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record["PartitionKey"],
                "sequenceNumber": record["SequenceNumber"],
                "data": base64.b64encode(record["Data"]).decode("ascii"),
                "approximateArrivalTimestamp": round(record["ApproximateArrivalTimestamp"].timestamp(), 3),
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard_id}:{record['SequenceNumber']}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
            "awsRegion": "us-east-2",
            "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream",
        }
        for record in draw(_kinesis_records(data, min_size, max_size))
    ]
    return {"Records": records}


@st.composite
def get_records_responses(
    draw: DrawFn, *, data: SearchStrategy[bytes] | None = None, min_size: int = 0, max_size: int = 4
) -> dict[str, Any]:
    """What boto3's ``get_records`` returns (`GetRecords` API reference); the last of a closed shard among them.

    Args:
        draw: hypothesis gives it.
        data: the data of each Kinesis record; default: `kinesis_data`.
        min_size: fewest Kinesis records.
        max_size: most Kinesis records.
    """
    response: dict[str, Any] = {
        "Records": draw(_kinesis_records(data, min_size, max_size)),
        "MillisBehindLatest": draw(st.integers(0, 86_400_000)),
        "ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": 0},
    }
    if draw(st.booleans()):
        response["NextShardIterator"] = "AAAAAAAAAAE="
    return response


@st.composite
def _kinesis_records(
    draw: DrawFn, data: SearchStrategy[bytes] | None, min_size: int, max_size: int
) -> list[dict[str, Any]]:
    """Records as boto3 gives them, in the order of their sequence numbers, as a shard keeps them."""
    payloads = draw(st.lists(kinesis_data() if data is None else data, min_size=min_size, max_size=max_size))
    count = len(payloads)
    numbers = draw(st.lists(_SEQUENCE_NUMBERS, min_size=count, max_size=count, unique=True))
    return [
        {
            "SequenceNumber": str(number),
            "ApproximateArrivalTimestamp": draw(_TIMES),
            "Data": payload,
            "PartitionKey": draw(partition_keys()),
            "EncryptionType": "NONE",
        }
        for number, payload in zip(sorted(numbers), payloads, strict=True)
    ]
