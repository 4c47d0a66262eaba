"""How far behind the stream's newest records the checkpoints of leases are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ....aws.client import kinesis_client
from ....aws.errors import error_of, is_of_call
from ....aws.streams import ALL_SHARDS, list_shards, stream_argument
from ....consumer.config import ConsumerConfig
from ....consumer.core.shards import ListedShard, listed_shards
from ....leases.lease import Lease, is_started
from ....records import Position
from ...reading import InputError

OF_ANOTHER = "not this stream's: see `shardpack leases reset`"

# The stream's word that it has no such position, or no such shard; it may have the others.
_OF_ONE_SHARD = frozenset({"InvalidArgumentException", "ResourceNotFoundException"})


def shards_of(stream: str, region_name: str | None, profile_name: str | None) -> dict[str, ListedShard]:
    """The stream's shards by their ids.

    Raises:
        InputError: the stream cannot be asked.
    """
    return _asked(stream, region_name, profile_name)[1]


def millis_behind(
    stream: str, leases: Iterable[Lease], region_name: str | None, profile_name: str | None
) -> dict[str, int | str | None]:
    """Milliseconds by shard; None where the checkpoint is none of a record, or the shard is gone; else what is wrong.

    Raises:
        InputError: the stream cannot be asked.
    """
    client, shards = _asked(stream, region_name, profile_name)
    name = stream_argument(stream)
    behind: dict[str, int | str | None] = {}
    for lease in leases:
        shard = shards.get(lease.key)
        try:
            if shard is None:
                behind[lease.key] = None
            else:
                behind[lease.key] = OF_ANOTHER if shard.disowns(lease) else _millis_behind(client, name, lease)
        except Exception as error:
            if not is_of_call(error):
                raise
            code, message = error_of(error)
            if code not in _OF_ONE_SHARD:
                raise _failed(stream, error) from None
            behind[lease.key] = OF_ANOTHER if code == "InvalidArgumentException" else message
    return behind


def _asked(stream: str, region_name: str | None, profile_name: str | None) -> tuple[Any, dict[str, ListedShard]]:
    try:
        client = kinesis_client(ConsumerConfig(), region_name, None, profile_name)
        return client, listed_shards(list_shards(client, stream_argument(stream), ALL_SHARDS), stream)
    except (ModuleNotFoundError, ValueError) as error:  # no endpoint, no stream's name
        raise InputError(error) from None
    except Exception as error:
        if not is_of_call(error):
            raise
        raise _failed(stream, error) from None


def _failed(stream: str, error: Exception) -> InputError:
    code, message = error_of(error)
    return InputError(f"the stream {stream} does not say how far behind its shards are: {code}: {message}")


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
