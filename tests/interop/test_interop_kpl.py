"""The real KPL puts, and we read: every byte, every key, and the same bytes from our ``hash_keys="kpl"``."""

from __future__ import annotations

import base64
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import servers
from java_programs import answers, versions
from kinesis_calls import shards
from recording import Put, RecordingProxy

import shardpack as sp

STREAM = "kpl"
RECORDS = int(os.environ.get("INTEROP_RECORDS", "4000"))
SEED = int(os.environ.get("INTEROP_SEED", "7"))
MAX_HASH_KEY = 2**128 - 1


@contextmanager
def stream(shard_count: int) -> Iterator[tuple[Any, RecordingProxy, str]]:
    """A stream, the proxy by which the KPL reaches it, and the server's own URL."""
    with servers.kinesalite() as url, RecordingProxy(url) as proxy:
        client = servers.client("kinesis", url)
        servers.create_stream(client, STREAM, shard_count)
        yield client, proxy, url


def put_with_kpl(
    proxy: RecordingProxy, records: list[sp.UserRecord], folder: Path, buffered_ms: int = 1000, max_count: int = 2**31
) -> list[dict[str, Any]]:
    """The KPL's answers about records that it has put."""
    lines = "".join(
        f"{base64.b64encode(r.partition_key.encode()).decode()} {base64.b64encode(r.data).decode()}"
        f" {r.explicit_hash_key or '-'}\n"
        for r in records
    )
    answered = answers("KplPut", str(proxy.port), STREAM, str(folder), str(buffered_ms), str(max_count), lines=lines)
    return [json.loads(line) for line in answered]


def user_records(seed: int, count: int) -> list[sp.UserRecord]:
    """Small and large, with few and many keys, with and without explicit hash keys, no two alike."""
    rng = random.Random(seed)
    # No NUL: the KPL's JSON ends there, and Kinesis refuses the whole call for the empty key that is left.
    keys = ["a", "k" * 256, "\u00e9", "\u65e5\u672c\u8a9e", "\U0001f600" * 128, "\x01", " ", "key\u2028"]
    hash_keys = [str(key) for key in (0, 1, 2**127 - 1, 2**127, MAX_HASH_KEY, *(rng.getrandbits(128) for _ in "abc"))]
    records = []
    for number in range(count):
        key = rng.choice(keys) if rng.random() < 0.3 else f"key-{rng.randrange(count)}"
        size = rng.choice((0, 1, 20, 100, 127, 128, 300)) if rng.random() < 0.98 else rng.randrange(70_000)
        hash_key = rng.choice(hash_keys) if rng.random() < 0.2 else None
        records.append(sp.UserRecord(key, b"%d:" % number + rng.randbytes(size), hash_key))
    records[count // 2] = sp.UserRecord("large", b"%d:" % (count // 2) + rng.randbytes(1_000_000))
    return records


def fields(record: sp.UserRecord | sp.ReceivedRecord) -> tuple[str, bytes, str | None]:
    assert record.partition_key is not None
    return record.partition_key, record.data, record.explicit_hash_key


@pytest.mark.parametrize("shard_count", [1, 4])
def test_reads_and_writes_what_the_kpl_writes(shard_count: int, tmp_path: Path) -> None:
    given = user_records(SEED, RECORDS)
    with stream(shard_count) as (client, proxy, url):
        answered = put_with_kpl(proxy, given, tmp_path)
        shard_map = sp.ShardMap(shards(client, STREAM))
        consumed = [(r.shard_id, r.sequence_number, fields(r)) for r in consume(url)]
    aggregates = [put for put in proxy.puts if sp.is_aggregated(put.data)]

    assert not [answer["error"] for answer in answered if "error" in answer]
    # Nothing is lost, added or changed, and it is where the KPL says. A plain record's key is not part of its data.
    where = [(a["shard"], a["sequence_number"]) for a in answered]
    expected = Counter((*at, fields(r)[:2]) for at, r in zip(where, given, strict=True))
    assert Counter((shard, number, record[:2]) for shard, number, record in consumed) == expected
    unpacked = {r.data: r for put in proxy.puts for r in sp.unpack(entry(put))}
    assert {data: r.explicit_hash_key for data, r in unpacked.items() if r.aggregated} == {
        r.data: r.explicit_hash_key for r in given if unpacked[r.data].aggregated
    }

    for put in aggregates:
        assert_packed_alike(put, shard_map)
    plain = [put for put in proxy.puts if not sp.is_aggregated(put.data)]
    by_data = {r.data: r for r in given}
    for put in plain:
        key, _, hash_key = fields(by_data[put.data])
        assert put.partition_key == key
        # Until it knows the stream, the KPL puts each record alone, without the explicit hash key that the user gave.
        assert put.explicit_hash_key in (None, hash_key or str(sp.hash_key(key)))
    ignored = sum(p.explicit_hash_key is None and by_data[p.data].explicit_hash_key is not None for p in plain)
    inside = sum(r.aggregated for r in unpacked.values())
    print(
        f"KPL {versions()['kpl']}, {shard_count} shards: {len(given):,} user records in {len(proxy.puts):,} Kinesis"
        f" records; {inside:,} of them in {len(aggregates):,} aggregates, which we pack into the same bytes;"
        f" {ignored} explicit hash keys that the KPL ignored"
    )
    assert inside > len(aggregates) > 0


def assert_packed_alike(put: Put, shard_map: sp.ShardMap) -> None:
    """Our packer makes the same Kinesis record of what is in an aggregate, keys and all."""
    inside = [sp.UserRecord(*fields(r)) for r in sp.unpack(entry(put))]
    ours = sp.pack(inside, by="shard", shard_map=shard_map, limits=sp.Limits.kpl(), hash_keys="kpl")
    assert [(p.data, p.partition_key, p.explicit_hash_key, p.shard_id) for p in ours] == [
        (put.data, put.partition_key, put.explicit_hash_key, put.shard_id)
    ]


def entry(put: Put) -> dict[str, Any]:
    return {"Data": put.data, "PartitionKey": put.partition_key, "SequenceNumber": put.sequence_number}


def consume(url: str) -> Iterator[sp.ReceivedRecord]:
    """What our consumer reads of the stream, until it has read everything."""
    config = sp.ConsumerConfig(idle_time_between_reads=0.2)
    client = servers.client("kinesis", url, max_pool_connections=config.max_connections)
    with sp.Consumer(STREAM, leases=sp.MemoryLeases(), config=config, client=client) as consumer:
        while not consumer.is_caught_up:
            batch = consumer.next_batch(timeout=0.1)
            if batch is not None:
                yield from batch
                batch.checkpoint()
