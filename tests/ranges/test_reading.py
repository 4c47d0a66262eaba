"""`shardpack.arrow.read_stream` on a real local server reads what `unpack` reads, whatever the bounds are."""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from resharded import NAME, Resharded, resharded

pa = pytest.importorskip("pyarrow")
pytest.importorskip("boto3")
botocore = pytest.importorskip("botocore.exceptions")
import shardpack as sp
from shardpack import arrow
from shardpack.ranges.core.bounds import Bounds
from shardpack.ranges.core.options import Connection
from shardpack.ranges.shells import reading
from shardpack.ranges.shells.clients import PATIENCE, Caller
from shardpack.ranges.shells.reading import StreamTable
from shardpack.testing import FakeKinesis, ManualClock, SystemClock

SHARD = "shardId-000000000000"


@pytest.fixture(scope="module")
def stream() -> Iterator[Resharded]:
    with resharded() as made:
        yield made


def read(stream: Resharded, *args: Any, **options: Any) -> list[dict[str, Any]]:
    reader = arrow.read_stream(NAME, *args, client=stream.client, **options)
    rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    return rows


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local server takes more than five calls a second."""
    monkeypatch.setattr(reading, "sleep", lambda _: None)


def place(row: dict[str, Any]) -> tuple[str, sp.Position]:
    return row["shard_id"], position(row)


def position(row: dict[str, Any]) -> sp.Position:
    return sp.Position(row["sequence_number"], row["sub_sequence_number"])


def test_it_reads_what_unpack_reads_parents_before_children(stream: Resharded) -> None:
    rows = arrow.read_stream(**stream.where).read_all().to_pylist()
    assert rows == stream.rows
    assert sorted(int(row["data"]) for row in rows) == [*range(360)]
    assert len({row["shard_id"] for row in rows}) == 5


@pytest.mark.parametrize(
    "options", [{"repeated": "plain"}, {"views": True, "max_rows": 7}, {"max_records_per_fetch": 3}]
)
def test_batches_of_any_shape_hold_the_same(stream: Resharded, options: dict[str, Any]) -> None:
    assert read(stream, **options) == stream.rows


def test_duckdb_reads_it(stream: Resharded) -> None:
    duckdb = pytest.importorskip("duckdb")
    reader = arrow.read_stream(NAME, client=stream.client)
    sums = duckdb.sql(
        "SELECT shard_id, count(*), sum(decode(data)::INT) FROM reader GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert reader.schema.names == arrow.SCHEMA.names
    assert sums == [
        (shard, len(rows), sum(int(row["data"]) for row in rows))
        for shard, rows in ((shard, stream.shard(shard)) for shard in sorted({row["shard_id"] for row in stream.rows}))
    ]


def test_pandas_reads_it(stream: Resharded) -> None:
    pytest.importorskip("pandas")
    df = arrow.read_stream(NAME, client=stream.client, columns=["data", "partition_key"]).read_pandas()
    assert list(zip(df["data"], df["partition_key"], strict=True)) == [
        (row["data"], row["partition_key"]) for row in stream.rows
    ]


def test_columns_are_those_that_are_asked_for(stream: Resharded) -> None:
    for columns in (["partition_key", "data"], ["approximate_arrival_timestamp", "shard_id"]):
        assert read(stream, columns=columns) == [{name: row[name] for name in columns} for row in stream.rows]


def test_moments_divide_the_stream_by_the_arrival_of_records(stream: Resharded) -> None:
    moments = sorted({row["approximate_arrival_timestamp"] for row in stream.rows})
    one, other = moments[len(moments) // 3], moments[2 * len(moments) // 3]
    assert read(stream, one, other) == [
        row for row in stream.rows if one <= row["approximate_arrival_timestamp"] < other
    ]
    assert sorted(read(stream, end=one) + read(stream, one), key=place) == stream.rows
    assert read(stream, moments[-1] + timedelta(milliseconds=1)) == []
    assert read(stream, end=datetime(2999, 1, 1, tzinfo=UTC)) == stream.rows


LATER = {  # what shards were split and merged into
    "shardId-000000000000": {"shardId-000000000002", "shardId-000000000003", "shardId-000000000004"},
    "shardId-000000000001": {"shardId-000000000004"},
}


@pytest.mark.parametrize(("shard", "nth"), [(SHARD, 0), (SHARD, 9), (SHARD, -1), ("shardId-000000000001", 4)])
def test_positions_divide_a_shard_to_the_user_record(stream: Resharded, shard: str, nth: int) -> None:
    rows = stream.shard(shard)
    first, rest = rows[: rows.index(rows[nth]) + 1], rows[rows.index(rows[nth]) + 1 :]
    others = [row for row in stream.rows if row["shard_id"] != shard]
    here = {shard: position(rows[nth])}
    later = read(stream, after=here)
    assert [row for row in later if row["shard_id"] == shard] == rest
    assert [row for row in later if row["shard_id"] != shard] == others
    assert read(stream, after=here, columns=["data"]) == [{"data": row["data"]} for row in later]
    before = read(stream, until=here)
    assert [row for row in before if row["shard_id"] == shard] == first
    assert [row for row in before if row["shard_id"] != shard] == [
        row for row in others if row["shard_id"] not in LATER[shard]
    ]


def test_a_position_in_a_child_leaves_out_its_parents(stream: Resharded) -> None:
    rows = stream.shard("shardId-000000000003")
    later = read(stream, after={"shardId-000000000003": position(rows[3])})
    assert later == [
        row
        for row in stream.rows
        if row["shard_id"] not in ("shardId-000000000000", "shardId-000000000003") or row in rows[4:]
    ]
    ended = read(stream, after={"shardId-000000000001": sp.Position.SHARD_END})
    assert ended == [row for row in stream.rows if row["shard_id"] != "shardId-000000000001"]


def test_after_a_position_everything_is_read_whatever_the_start_says_of_other_shards(stream: Resharded) -> None:
    """What came of a shard with a position begins after it, though the start alone would begin later there."""
    moments = sorted({row["approximate_arrival_timestamp"] for row in stream.rows})
    start, first = moments[-2], stream.shard(SHARD)
    found = read(stream, start, after={SHARD: position(first[3])})
    assert found == [
        row
        for row in stream.rows
        if (row in first[4:] if row["shard_id"] == SHARD else row["shard_id"] in LATER[SHARD])
        or (row["shard_id"] == "shardId-000000000001" and row["approximate_arrival_timestamp"] >= start)
    ]


def test_what_was_read_is_gone_on_from(stream: Resharded) -> None:
    """The last position of each shard, as rows have it, is where the next reading begins."""
    moments = sorted({row["approximate_arrival_timestamp"] for row in stream.rows})
    first = read(stream, end=moments[len(moments) // 2])
    last = {row["shard_id"]: position(row) for row in first}
    assert sorted(first + read(stream, after=last), key=place) == stream.rows
    assert read(stream, until=last) == first
    assert read(stream, until={row["shard_id"]: position(row) for row in stream.rows}) == stream.rows


def test_nothing_is_fetched_before_it_is_read(stream: Resharded) -> None:
    client, calls = stream.counted()
    reader = arrow.read_stream("clicks", client=client, max_records_per_fetch=1)
    planned = calls["GetRecords"]
    first = reader.read_next_batch()
    assert first.num_rows == 10
    assert calls["GetRecords"] == planned + 1
    reader.read_next_batch()
    assert calls["GetRecords"] == planned + 2


def test_records_that_come_later_are_not_in_it() -> None:
    kinesis = FakeKinesis(streams={"s": 1}, clock=SystemClock())
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"1")
    time.sleep(0.01)  # so that a time that counts in milliseconds goes on
    reader = arrow.read_stream("s", client=kinesis)
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"2")
    assert reader.read_all()["data"].to_pylist() == [b"1"]


def test_threads_that_begin_together_plan_once(stream: Resharded) -> None:
    client, calls = stream.counted()
    StreamTable(Connection(NAME), Bounds(), client=client).ranges()
    once = calls.copy()
    calls.clear()
    table = StreamTable(Connection(NAME), Bounds(), client=client)
    with ThreadPoolExecutor(4) as pool:
        plans = list(pool.map(lambda _: table.ranges(), range(4)))
    assert all(plan is plans[0] for plan in plans)
    assert calls["DescribeStreamSummary"] == once["DescribeStreamSummary"]


def test_so_many_rows_are_read_and_no_call_is_made_for_more(stream: Resharded) -> None:
    client, calls = stream.counted()
    table = StreamTable(Connection(NAME), Bounds(), client=client, max_records_per_fetch=2)
    table.ranges()
    for most in (0, 1, 10, 21, len(stream.rows)):
        calls.clear()
        rows = [row for batch in table.read(most=most) for row in batch.to_pylist()]
        assert rows == stream.rows[:most]
        if most < 22:
            assert calls["GetRecords"] == -(-most // 20)  # aggregates of ten, two in a call


def test_a_corrupt_aggregate_is_as_on_corrupt_says() -> None:
    kinesis = FakeKinesis(streams={"s": 1}, clock=SystemClock())
    blob = bytearray(sp.encode([("k", b"1"), ("k", b"2")]))
    blob[-1] ^= 1
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=bytes(blob))
    time.sleep(0.01)
    assert arrow.read_stream("s", client=kinesis).read_all()["fault"].to_pylist() == ["checksum_mismatch"]
    with pytest.raises(sp.DecodeError):
        arrow.read_stream("s", client=kinesis, on_corrupt="raise").read_all()


def test_hash_ranges_are_looked_up_by_shard_whatever_columns_are_wanted() -> None:
    kinesis = FakeKinesis(streams={"s": 2}, clock=SystemClock())
    for nth in range(4):
        blob = sp.encode([(f"key-{one}", b"%d" % one) for one in range(6)])
        kinesis.put_record(StreamName="s", PartitionKey=f"key-{nth}", Data=blob)
    time.sleep(0.01)
    shards = kinesis.list_shards(StreamName="s")["Shards"]
    ranges = {
        shard["ShardId"]: tuple(int(shard["HashKeyRange"][f"{which}HashKey"]) for which in ("Starting", "Ending"))
        for shard in shards
    }
    options: dict[str, Any] = {"hash_range": ranges, "out_of_range": "drop_record"}
    rows = arrow.read_stream("s", client=kinesis, **options).read_all()
    assert 0 < rows.num_rows < 24
    for columns in (["data"], ["data", "fault"]):
        assert arrow.read_stream("s", client=kinesis, columns=columns, **options).read_all() == rows.select(columns)


def test_a_plan_travels_and_is_read_the_same(stream: Resharded) -> None:
    table = StreamTable(Connection.of(**stream.where), Bounds())
    ranges = table.ranges()
    other = pickle.loads(pickle.dumps(table))
    assert other.ranges() == ranges
    rows = [row for one in ranges for batch in other.read_range(one) for row in batch.to_pylist()]
    assert rows == stream.rows
    with pytest.raises(TypeError, match="a client cannot travel to another process; give region_name"):
        pickle.dumps(StreamTable(Connection("clicks"), Bounds(), client=stream.counted()[0]))


def old(ages: list[float]) -> tuple[FakeKinesis, dict[str, sp.Position]]:
    """A stream of records that are so many hours old, and the position of the first."""
    now = time.time()
    clock = ManualClock(now - 48 * 3600)
    kinesis = FakeKinesis(streams={"s": 1}, clock=clock)
    for nth, age in enumerate(ages):
        clock.advance(now - age * 3600 - clock.now())
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"%d" % nth)
    first = kinesis.records()[0]["SequenceNumber"]
    clock.advance(now - clock.now())
    return kinesis, {SHARD: sp.Position(first)}


def data_after(kinesis: FakeKinesis, after: dict[str, sp.Position], **options: Any) -> list[bytes]:
    data: list[bytes] = arrow.read_stream("s", client=kinesis, after=after, **options).read_all()["data"].to_pylist()
    return data


def test_what_has_expired_after_a_position_is_told() -> None:
    assert data_after(*old([3, 2, 1])) == [b"1", b"2"]
    kinesis, after = old([25, 24.5, 1])
    with pytest.raises(sp.DataLossError, match=r"may have expired unread .* set fail_on_data_loss=False"):
        data_after(kinesis, after)
    assert data_after(kinesis, after, fail_on_data_loss=False) == [b"2"]


@pytest.mark.parametrize("hours", [23.5, 26])  # the parent is listed and empty; it is not listed any more
def test_a_parent_whose_children_have_positions_may_have_expired(hours: float) -> None:
    """Positions of all shards are kept from one reading to the next, over a split and beyond the retention period."""
    clock = ManualClock(time.time() - hours * 3600 - 7200)
    kinesis = FakeKinesis(streams={"s": 1}, clock=clock)
    put_at(kinesis, clock, hours + 1, "p")
    clock.advance(3600 - 1)
    kinesis.autoscale(SHARD)
    put_at(kinesis, clock, 12, "klmn")
    positions = {one["ShardId"]: sp.Position(one["SequenceNumber"]) for one in kinesis.records()}
    assert len(positions) == 3
    put_at(kinesis, clock, 1, "klmn")
    clock.advance(3600)
    assert sorted(data_after(kinesis, positions)) == [b"k", b"l", b"m", b"n"]


def put_at(kinesis: FakeKinesis, clock: ManualClock, hours: float, keys: str) -> None:
    """Put records that are so many hours old."""
    clock.advance(time.time() - hours * 3600 - clock.now())
    for key in keys:
        kinesis.put_record(StreamName="s", PartitionKey=key, Data=key.encode())


def test_what_has_expired_after_a_position_is_told_without_a_time_that_nobody_knows() -> None:
    kinesis, after = old([25, 24.5, 1])
    with pytest.raises(sp.DataLossError) as raised:
        data_after(kinesis, after)
    assert "1970" not in str(raised.value)
    assert f"unread ({SHARD}): the stream keeps records for 24 hours" in str(raised.value)


class Splitting(FakeKinesis):
    """Splits its shard when it is asked for its shards for the second time, and puts something into the children."""

    listed = 0

    def list_shards(self, **arguments: Any) -> dict[str, Any]:
        self.listed += 1
        if self.listed == 2:
            self.autoscale(SHARD)
            for key in "klmn":
                self.put_record(StreamName="s", PartitionKey=key, Data=b"later")
        return super().list_shards(**arguments)


def test_children_of_a_shard_that_ends_at_a_position_are_left_out_also_if_they_come_while_it_is_planned() -> None:
    kinesis = Splitting(streams={"s": 1}, clock=SystemClock())
    for data in (b"1", b"2"):
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=data)
    until = {SHARD: sp.Position(kinesis.records()[0]["SequenceNumber"])}
    rows = arrow.read_stream("s", client=kinesis, until=until, end=datetime.now(UTC) + timedelta(minutes=1)).read_all()
    assert kinesis.listed >= 2, "nothing was split"
    assert rows["data"].to_pylist() == [b"1"]


def test_what_is_there_is_read_also_if_its_time_is_a_little_ahead_of_ours() -> None:
    began = time.time()
    clock = ManualClock(began + 2)
    kinesis = FakeKinesis(streams={"s": 1}, clock=clock)
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"1")
    for shard in (SHARD, "shardId-000000000001"):
        kinesis.autoscale(shard)
        for key in ("k", "l", "m", "n"):
            kinesis.put_record(StreamName="s", PartitionKey=key, Data=b"2")
    kinesis.clock.wait(1.0)
    assert arrow.read_stream("s", client=kinesis).read_all().num_rows == 9
    until = datetime.fromtimestamp(clock.now() + 60, UTC)
    assert arrow.read_stream("s", end=until, client=kinesis).read_all().num_rows == 9
    assert arrow.read_stream("s", end=datetime.fromtimestamp(began, UTC), client=kinesis).read_all().num_rows == 0


class ToldLater:
    """Tells that a closed shard is over in an answer of its own, as Kinesis may, and not with its last records."""

    def __init__(self, kinesis: FakeKinesis) -> None:
        self._kinesis = kinesis

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kinesis, name)

    def get_records(self, **arguments: Any) -> dict[str, Any]:
        if arguments["ShardIterator"] == "over":
            return {"Records": [], "MillisBehindLatest": 0}
        answer = self._kinesis.get_records(**arguments)
        is_last = answer["Records"] and not answer.get("NextShardIterator")
        return {**answer, "NextShardIterator": "over"} if is_last else answer


@pytest.mark.parametrize("records", [1, 1500])  # a page and more
def test_children_are_read_of_a_shard_whose_end_is_told_later_and_whose_time_is_ahead_of_ours(records: int) -> None:
    kinesis = FakeKinesis(streams={"s": 1}, clock=ManualClock(time.time() + 2))
    entries = [{"PartitionKey": "k", "Data": b"1"} for _ in range(records)]
    for some in range(0, records, 500):
        kinesis.put_records(StreamName="s", Records=entries[some : some + 500])
        kinesis.clock.wait(0.5)
    kinesis.autoscale(SHARD)
    for key in ("k", "l", "m", "n"):
        kinesis.put_record(StreamName="s", PartitionKey=key, Data=b"2")
    assert arrow.read_stream("s", client=ToldLater(kinesis)).read_all().num_rows == records + 4


def test_a_position_of_another_stream_is_told() -> None:
    kinesis = FakeKinesis(streams={"s": 1})
    with pytest.raises(ValueError, match=r"after has a position that is not in its shard, .*StartingSequenceNumber"):
        arrow.read_stream("s", client=kinesis, after={SHARD: sp.Position("1")})


@pytest.mark.parametrize(
    ("given", "error", "what"),
    [
        ({"start": "LATEST"}, ValueError, "start is 'LATEST'; give \"TRIM_HORIZON\" or a datetime with a time zone"),
        ({"end": 7}, TypeError, 'end is 7; give "LATEST" or a datetime'),
        ({"start": datetime(2026, 7, 21)}, ValueError, "without a time zone"),  # noqa: DTZ001  # just so
        (
            {"start": datetime(2026, 7, 22, tzinfo=UTC), "end": datetime(2026, 7, 21, tzinfo=UTC)},
            ValueError,
            "give a start that is before the end",
        ),
        ({"start": datetime(2999, 1, 1, tzinfo=UTC)}, ValueError, "start is a moment to come"),
        ({"after": {"shardId-9": sp.Position("5")}}, ValueError, "after names shardId-9; the stream has shardId-0"),
        ({"until": {SHARD: 5}}, TypeError, "until has 'shardId-000000000000': 5; give {shard_id: Position"),
        ({"after": {SHARD: sp.Position.LATEST}}, ValueError, "is LATEST; give {shard_id: Position"),
        ({"after": {SHARD: sp.Position("5")}, "until": {SHARD: sp.Position("4")}}, ValueError, "exchange them"),
        ({"columns": ["dta"]}, ValueError, "give some of shard_id, sequence_number"),
        ({"columns": "data"}, TypeError, "give a list of names"),
        ({"regin_name": "x"}, TypeError, "no argument 'regin_name'; did you mean region_name"),
        ({"data": "x"}, TypeError, "no argument 'data'"),
        ({"max_rows": 0}, ValueError, "max_rows is 0; give at least 1"),
        ({"on_corrupt": "drop"}, ValueError, "on_corrupt"),
        ({"max_records_per_fetch": 10_001}, ValueError, "max_records_per_fetch is 10001; give 1 to 10,000"),
        ({"fail_on_data_loss": 1}, TypeError, "fail_on_data_loss is 1"),
        ({"region_name": 1}, TypeError, "region_name is 1"),
        ({"after": [SHARD]}, TypeError, r"of type list; give \{shard_id: Position"),
        ({"client": "kinesis"}, TypeError, r"client is 'kinesis', of type str; give boto3.client\(\"kinesis\"\)"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_read(given: dict[str, Any], error: type, what: str) -> None:
    kinesis = FakeKinesis(streams={"s": 1})
    with pytest.raises(error, match=what):
        arrow.read_stream(**{"stream": "s", "client": kinesis, **given})
    assert not [call for call in kinesis.calls if call.operation == "get_records"]


def test_a_stream_that_is_not_there_and_a_call_that_is_not_allowed_are_told_at_once(stream: Resharded) -> None:
    with pytest.raises(
        sp.CallError, match=r"does not find the stream none .*; check stream, region_name and endpoint_url"
    ):
        arrow.read_stream(**{**stream.where, "stream": "none"})
    kinesis = FakeKinesis(streams={"s": 1})
    kinesis.script("get_records", error="AccessDeniedException", times=None)
    with pytest.raises(sp.CallError, match=r"kinesis:GetRecords is not allowed on the stream s .* this permission"):
        arrow.read_stream("s", client=kinesis)


def test_without_a_region_or_with_a_profile_that_is_not_there_it_is_said_what_to_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(
        ValueError, match='no region_name is given, and the AWS SDK finds none: region_name="eu-west-1"'
    ):
        arrow.read_stream("s")
    with pytest.raises(ValueError, match=r"profile_name is 'none'; .* could not be found"):
        arrow.read_stream("s", profile_name="none")


def test_an_endpoint_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"endpoint_url is 'localhost:4566'; .* such as http://localhost:4566"):
        arrow.read_stream("s", region_name="eu-west-1", endpoint_url="localhost:4566")


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("boto3", "botocore", "botocore.config", "botocore.session"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=r"a Kinesis client needs boto.*: pip install 'shardpack\[aws\]'"):
        arrow.read_stream("s", region_name="eu-west-1")


@pytest.mark.parametrize("error", [TypeError("list_shards() got an unexpected keyword"), KeyError("Shards")])
def test_a_bug_of_a_client_is_told_at_once(error: Exception) -> None:
    waits: list[float] = []

    class Broken:
        def list_shards(self, **_: object) -> None:
            raise error

    with pytest.raises(type(error)) as told:
        Caller(Connection("s"), Broken(), sleep=waits.append)("list_shards")
    assert told.value is error
    assert not waits


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), botocore.EndpointConnectionError(endpoint_url="x")])
def test_what_may_pass_is_tried_again_for_a_while(error: Exception) -> None:
    waits: list[float] = []

    class Away:
        def list_shards(self, **_: object) -> None:
            raise error

    with pytest.raises(sp.CallError, match=f"has failed for 1.. s, at last with {type(error).__name__}"):
        Caller(Connection("s"), Away(), sleep=waits.append)("list_shards")
    assert sum(waits) >= PATIENCE
