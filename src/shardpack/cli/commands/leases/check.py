"""Whether a position that somebody types is one of the shard's, asked of the stream itself."""

from __future__ import annotations

import time
from typing import Any

from ....aws.client import kinesis_client
from ....aws.errors import error_of, is_of_call
from ....aws.streams import ALL_SHARDS, list_shards, stream_argument
from ....consumer.config import ConsumerConfig
from ....leases.lease import is_started
from ....records import Position
from ....unpacking.unpacker import unpack
from ...reading import InputError

_MOST_PAGES = 20  # Kinesis may answer with empty ones before the record
_PAGE_SECONDS = 0.25  # a shard grants five reads a second


def doubt_about(
    position: Position, shard_id: str, stream: str, region_name: str | None, profile_name: str | None
) -> str | None:
    """Why a position may not be what was meant; None: the stream knows it.

    Raises:
        InputError: the stream says that it is none, or cannot be asked.
    """
    try:
        client = kinesis_client(ConsumerConfig(), region_name, None, profile_name)
        return _doubt(client, stream_argument(stream), position, shard_id, stream)
    except (ModuleNotFoundError, ValueError) as error:  # no endpoint, no stream's name, no aggregate
        raise InputError(error) from None
    except Exception as error:
        if not is_of_call(error):
            raise
        code, message = error_of(error)
        raise InputError(
            f"the stream {stream} cannot say whether it has {_told(position)}: {code}: {message}"
        ) from None


def _doubt(client: Any, name: dict[str, str], position: Position, shard_id: str, stream: str) -> str | None:
    shards = {shard["ShardId"]: shard for shard in list_shards(client, name, ALL_SHARDS)}
    if shard_id not in shards:
        some = ", ".join(sorted(shards)[:3])
        raise InputError(f"the stream {stream} has no shard {shard_id!r}; it has {len(shards)}: {some}")
    numbers = shards[shard_id]["SequenceNumberRange"]
    last = numbers.get("EndingSequenceNumber")
    if position == Position.SHARD_END and last is None:
        raise InputError(f"{shard_id} of {stream} is open, so SHARD_END would skip what is still put into it")
    if not is_started(position) or position == Position.SHARD_END:
        return None
    first = int(numbers["StartingSequenceNumber"])
    number = int(position.sequence_number)
    if number < first or (last is not None and number > int(last)):
        raise InputError(
            f"{_told(position)} is none of {shard_id} of {stream}, whose sequence numbers run from {first} to"
            f" {last or 'now'}"
        )
    return _doubt_about_record(client, name, position, shard_id, stream)


def _doubt_about_record(
    client: Any, name: dict[str, str], position: Position, shard_id: str, stream: str
) -> str | None:
    where = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": position.sequence_number}
    try:
        iterator = client.get_shard_iterator(**name, ShardId=shard_id, **where)["ShardIterator"]
    except Exception as error:
        code, message = error_of(error)
        if code != "InvalidArgumentException":
            raise
        raise InputError(f"{_told(position)} is none of {shard_id} of {stream}: {message}") from None
    for _ in range(_MOST_PAGES):
        page = client.get_records(ShardIterator=iterator, Limit=1)
        iterator = page.get("NextShardIterator")
        if page["Records"] or not iterator or not page.get("MillisBehindLatest"):
            break
        time.sleep(_PAGE_SECONDS)
    found = page["Records"][:1]
    if not found or int(found[0]["SequenceNumber"]) != int(position.sequence_number):
        return f"{shard_id} of {stream} has no record with {_told(position)} any more, or never had"
    count = sum(1 for _ in unpack(found))
    if position.sub_sequence_number >= count:
        raise InputError(
            f"the Kinesis record with {_told(position)} has {count:,} user records; the last one's sub-sequence number"
            f" is {count - 1:,}, not {position.sub_sequence_number:,}"
        )
    return None


def _told(position: Position) -> str:
    number = position.sequence_number
    return f"the sequence number {number}" if number.isdigit() else number
