"""`shardpack.polars.scan_kinesis` on a real local server: what `unpack` reads, and no more of it than a query needs."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from resharded import NAME, Resharded, resharded

pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("boto3")
import polars as pl
import shardpack as sp
from shardpack.arrow import SCHEMA
from shardpack.polars import scan_kinesis, scanning
from shardpack.ranges.core import rows
from shardpack.ranges.core.bounds import Bounds
from shardpack.ranges.core.options import Connection
from shardpack.ranges.shells import reading
from shardpack.ranges.shells.reading import StreamTable
from shardpack.testing import FakeKinesis, SystemClock

LAST = "shardId-000000000004"


@pytest.fixture(scope="module")
def stream() -> Iterator[Resharded]:
    with resharded() as made:
        yield made


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local server takes more than five calls a second."""
    monkeypatch.setattr(reading, "sleep", lambda _: None)


def test_it_reads_what_unpack_reads_parents_before_children(stream: Resharded) -> None:
    df = scan_kinesis(**stream.where).collect()
    assert df.to_dicts() == stream.rows
    assert df.schema == pl.Schema(scanning.SCHEMA)
    assert df.columns == SCHEMA.names


def test_collected_twice_it_is_the_same_whatever_has_come_since() -> None:
    kinesis = FakeKinesis(streams={"s": 1}, clock=SystemClock())
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"1")
    _wait_for_a_millisecond(kinesis)
    frame = scan_kinesis("s", client=kinesis)
    first = frame.collect()
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"2")
    assert first["data"].to_list() == frame.collect()["data"].to_list() == [b"1"]


def _wait_for_a_millisecond(kinesis: FakeKinesis) -> None:
    since = kinesis.clock.now()
    while kinesis.clock.now() < since + 0.005:
        kinesis.clock.wait(0.005)


def test_a_bound_frame_has_what_read_stream_has(stream: Resharded) -> None:
    row = stream.rows[33]
    here = {row["shard_id"]: sp.Position(row["sequence_number"], row["sub_sequence_number"])}
    frame = scan_kinesis(NAME, client=stream.client, after=here).filter(pl.col("shard_id") == row["shard_id"])
    assert frame.collect().to_dicts() == [one for one in stream.shard(row["shard_id"]) if one in stream.rows[34:]]


def test_only_the_columns_that_a_query_needs_are_made(stream: Resharded, monkeypatch: pytest.MonkeyPatch) -> None:
    made: set[str] = set()
    frames: set[tuple[str, ...]] = set()
    frame_of = scanning.frame_of

    def noting(name: str, value_of: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def value(record: Any, one: Any) -> Any:
            made.add(name)
            return value_of(record, one)

        return value

    def noted(batch: Any) -> Any:
        frames.add(tuple(batch.schema.names))
        return frame_of(batch)

    columns = {name: (kind, noting(name, value_of)) for name, (kind, value_of) in rows._INPUT.items()}
    monkeypatch.setattr(rows, "_INPUT", columns)
    monkeypatch.setattr(scanning, "frame_of", noted)
    frame = scan_kinesis(NAME, client=stream.client)

    keys = frame.group_by("partition_key").len().collect()

    assert dict(keys.iter_rows()) == {
        key: [row["partition_key"] for row in stream.rows].count(key) for key in keys["partition_key"]
    }
    assert made == {"data", "partition_key"}  # an aggregate has to be read
    assert frames == {("partition_key",)}
    assert frame.select(pl.len()).collect().item() == 360
    assert made == {"data", "partition_key"}


def test_the_first_rows_are_fetched_and_no_more(stream: Resharded) -> None:
    client, calls = stream.counted()
    frame = scan_kinesis(NAME, client=client, max_records_per_fetch=2)
    assert frame.collect().to_dicts() == stream.rows
    calls.clear()  # it is planned now
    for count, most in ((1, 1), (10, 1), (20, 2), (21, 2)):
        assert frame.head(count).collect().to_dicts() == stream.rows[:count]
        assert calls.pop("GetRecords") <= most
    limits: list[int] = []
    client.meta.events.register("before-call.kinesis.GetRecords", lambda params, **_: limits.append(limit_of(params)))
    assert len(scan_kinesis(NAME, client=client).head(3).collect()) == 3
    assert limits[-1] == 3
    assert frame.head(0).collect().is_empty()
    calls.pop("GetRecords")
    assert frame.head(0).collect().is_empty()
    assert not calls["GetRecords"]


def limit_of(params: dict[str, Any]) -> int:
    return int(json.loads(params["body"])["Limit"])


def test_a_filter_on_shards_leaves_out_the_others(stream: Resharded) -> None:
    client, calls = stream.counted()
    frame = scan_kinesis(NAME, client=client)
    everything = len(frame.collect())
    calls.clear()
    found = frame.filter(pl.col("shard_id") == LAST).collect()
    assert 0 < len(found) < everything
    assert found.to_dicts() == stream.shard(LAST)
    assert calls["GetShardIterator"] == 1


def test_a_filter_is_applied_before_rows_are_counted(stream: Resharded) -> None:
    frame = scan_kinesis(NAME, client=stream.client).filter(pl.col("partition_key") == "key-7")
    expected = [row["data"] for row in stream.rows if row["partition_key"] == "key-7"]
    assert frame.select("data").collect()["data"].to_list() == expected
    assert frame.head(3).select("data").collect()["data"].to_list() == expected[:3]
    source = scanning._Source(
        StreamTable(Connection(NAME), Bounds(), client=stream.client)
    )  # Polars may hand over both one day
    found = source(["data", "partition_key"], pl.col("partition_key") == "key-7", 3, None)
    assert [data for batch in found for data in batch["data"]] == expected[:3]
    mixed = frame.filter((pl.col("shard_id") != LAST) & (pl.col("sub_sequence_number") == 0)).collect()
    assert mixed.to_dicts() == [
        row
        for row in stream.rows
        if (row["partition_key"], row["sub_sequence_number"]) == ("key-7", 0) and row["shard_id"] != LAST
    ]


def test_batches_are_as_large_as_polars_asks_for(stream: Resharded) -> None:
    source = scanning._Source(StreamTable(Connection(NAME), Bounds(), client=stream.client))
    batches = list(source(["data"], None, None, 7))
    assert {len(batch) for batch in batches} >= {7}
    assert max(map(len, batches)) == 7
    assert [data for batch in batches for data in batch["data"]] == [row["data"] for row in stream.rows]


def test_a_source_travels_with_its_plan(stream: Resharded) -> None:
    """As Polars sends it where it runs elsewhere, by value."""
    source = scanning._Source(StreamTable(Connection.of(**stream.where), Bounds()))
    travelled = pickle.loads(pickle.dumps(source))
    assert [row for df in travelled(None, None, None, None) for row in df.to_dicts()] == stream.rows


def test_what_is_wrong_is_told_at_once(stream: Resharded) -> None:
    with pytest.raises(sp.CallError, match=r"does not find the stream none .*; check stream, region_name and endpoint"):
        scan_kinesis("none", client=stream.client)
    with pytest.raises(ValueError, match="start is 'LATEST'; give"):
        scan_kinesis(NAME, "LATEST", client=stream.client)
    with pytest.raises(ValueError, match="on_corrupt"):
        scan_kinesis(NAME, on_corrupt="drop", client=stream.client)  # type: ignore[arg-type]
    denied = FakeKinesis(streams={"s": 1})
    denied.script("list_shards", error="AccessDeniedException", times=None)
    with pytest.raises(Exception, match=r"kinesis:ListShards is not allowed on the stream s .* this permission"):
        scan_kinesis("s", client=denied).collect()


def test_a_corrupt_aggregate_is_as_on_corrupt_says() -> None:
    kinesis = FakeKinesis(streams={"s": 1}, clock=SystemClock())
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=sp.encode([("k", b"1"), ("k", b"2")])[:-1] + b"x")
    _wait_for_a_millisecond(kinesis)
    assert scan_kinesis("s", client=kinesis).collect()["fault"].to_list() == ["checksum_mismatch"]
    with pytest.raises(sp.DecodeError):
        scan_kinesis("s", client=kinesis, on_corrupt="raise").collect()


def test_without_polars_the_extra_is_named() -> None:
    code = "import sys; sys.modules['polars'] = None\nimport shardpack.polars"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "shardpack.polars needs polars: pip install 'shardpack[polars]'" in done.stderr


def test_long_texts_are_there_once() -> None:
    """An aggregate may hold a key of a megabyte that each of its user records has."""
    key, places = "k" * 500_000, [0, None, 1] * 700
    keys = pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), pa.array([key, "short"], pa.string()))
    texts = scanning.frame_of(pa.RecordBatch.from_arrays([keys], names=["partition_key"]))["partition_key"]
    assert texts.to_list() == [key, None, "short"] * 700
    assert texts.to_arrow(compat_level=pl.CompatLevel.newest()).get_total_buffer_size() < 3 * len(key)
