"""How far behind the stream's newest records the checkpoints of leases are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ....aws.client import kinesis_client
from ....aws.errors import error_of
from ....aws.streams import ALL_SHARDS, list_shards, stream_argument
from ....consumer.config import ConsumerConfig
from ....leases.lease import Lease, is_started
from ....records import Position
from ...reading import InputError


def millis_behind(
    stream: str, leases: Iterable[Lease], region_name: str | None, profile_name: str | None
) -> dict[str, int | None]:
    """Milliseconds by shard; None where the checkpoint is none of a record, or the shard is gone.

    Raises:
        InputError: the stream cannot be asked.
    """
    try:
        client = kinesis_client(ConsumerConfig(), region_name, None, profile_name)
        name = stream_argument(stream)
        there = {shard["ShardId"] for shard in list_shards(client, name, ALL_SHARDS)}
        return {lease.key: _millis_behind(client, name, lease) if lease.key in there else None for lease in leases}
    except ModuleNotFoundError as error:
        raise InputError(error) from None
    except Exception as error:  # noqa: BLE001  # botocore's, of which there are many
        code, message = error_of(error)
        raise InputError(f"the stream {stream} does not say how far behind its shards are: {code}: {message}") from None


def _millis_behind(client: Any, stream: dict[str, str], lease: Lease) -> int | None:
    if lease.checkpoint == Position.SHARD_END:
        return 0
    if is_started(lease.checkpoint):
        where = {
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
            "StartingSequenceNumber": lease.checkpoint.sequence_number,
        }
    elif lease.checkpoint == Position.TRIM_HORIZON:
        where = {"ShardIteratorType": "TRIM_HORIZON"}
    else:
        return None
    iterator = client.get_shard_iterator(**stream, ShardId=lease.key, **where)["ShardIterator"]
    millis: int = client.get_records(ShardIterator=iterator, Limit=1)["MillisBehindLatest"]
    return millis
