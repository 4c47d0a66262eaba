"""What the driver of a query decides: starts, limits, loss, and the errors that say so. Without Spark."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("botocore")
from mini_spark import Crash, MiniSpark, Setting

import shardpack as sp
from shardpack.consumer.core.shards import ListedShard
from shardpack.leases import Lease
from shardpack.ranges.core import frontier
from shardpack.ranges.core.limits import Limits
from shardpack.ranges.core.marks import BEGINNING, END
from shardpack.ranges.core.offsets import Offset
from shardpack.ranges.shells.backfill import ranges_between
from shardpack.ranges.shells.clients import Caller
from shardpack.ranges.shells.leases import marks_behind
from shardpack.ranges.shells.stream import KinesisStream
from shardpack.records import Position
from shardpack.spark.core.options import source_options

HOUR = 3600.0


def read(query: MiniSpark, limits: Limits | None = None) -> list[bytes]:
    """The data of the batches until there is nothing left."""
    before = query.committed
    while query.trigger(limits or Limits()):
        pass
    return [row[3] for batch in range(before, query.committed) for row in query.batches[batch]]


def numbers(data: Iterable[bytes]) -> list[int]:
    return sorted(map(int, data))


# Where reading starts


def test_latest_reads_what_comes_later_and_the_first_batch_is_the_same_after_a_crash() -> None:
    setting = Setting()
    setting.put(20)
    setting.clock.advance(1)
    query = setting.query()
    assert read(query) == []
    setting.put(10)
    setting.clock.advance(5)
    with pytest.raises(Crash):
        query.trigger(crash="done")
    setting.put(5)
    setting.clock.advance(5)
    query.restart()
    assert numbers(read(query)) == [*range(20, 35)]
    assert query.replayed == 1


def test_the_very_first_batch_is_the_same_after_a_crash_though_latest_is_later_then() -> None:
    setting = Setting(1)
    query = setting.query()
    query.driver.initial(query.options.initial)
    start = query.driver.initial(query.options.initial)
    setting.clock.advance(1)
    setting.put(3)
    setting.clock.advance(5)
    query.log.append(json.dumps(query.driver.next(start).as_json()))  # planned, and then the driver dies
    setting.clock.advance(5)
    query.restart()
    assert numbers(read(query)) == [0, 1, 2]


def test_a_moment_is_found_in_the_shards_that_were_open_then() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.clock.advance(60)
    setting.kinesis.autoscale("shardId-000000000000")
    setting.put(5)
    setting.clock.advance(60)
    moment = datetime.fromtimestamp(setting.clock.now(), UTC)
    setting.put(5)
    setting.kinesis.autoscale("shardId-000000000001")
    setting.put(5)
    setting.clock.advance(5)
    query = setting.query(initialPosition=moment.isoformat())
    assert numbers(read(query)) == [*range(10, 20)]


def test_a_lease_table_is_continued_inside_an_aggregate() -> None:
    setting = Setting(1)
    setting.put(6, aggregate=3)
    setting.kinesis.autoscale("shardId-000000000000")
    setting.put(4)
    setting.clock.advance(5)
    second = setting.kinesis.records()[1]["SequenceNumber"]
    leases = [Lease("shardId-000000000000", checkpoint=Position(second, 0))]
    query = MiniSpark(
        setting.kinesis,
        setting.clock,
        {"initialPosition": "leases:table"},
        lambda options, now: marks_behind(leases, options.initial.table, now),
    )
    assert numbers(read(query)) == [*range(4, 10)]


def test_a_lease_table_that_says_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"initialPosition is 'leases:apps', and that table holds no leases; name"):
        marks_behind([], "apps", 0)
    with pytest.raises(ValueError, match=r"lease of a has no checkpoint but AT_TIMESTAMP, .* checkpoint once"):
        marks_behind([Lease("a", checkpoint=Position.AT_TIMESTAMP)], "apps", 0)


def test_an_offset_is_a_start() -> None:
    setting = Setting()
    setting.put(10)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    read(query)
    setting.put(7)
    setting.clock.advance(5)
    assert numbers(read(setting.query(initialPosition=query.log[-1]))) == [*range(10, 17)]


# What a batch costs, and what it may not exceed


def test_a_quiet_shard_costs_one_call_and_a_busy_one_two() -> None:
    setting = Setting(4)
    query = setting.query(initialPosition="trim_horizon", shardFetchInterval="1h")
    for _ in range(3):
        setting.put(40, passes=0.01)
        setting.clock.advance(2)
        query.trigger()
    query.driver.next(query.start_of(query.committed))
    setting.kinesis.calls.clear()
    query.driver.next(query.start_of(query.committed))
    assert [call.operation for call in setting.kinesis.calls] == ["get_records"] * 4

    setting.put(40)
    setting.clock.advance(1.5)
    setting.put(40)  # so that each shard has a record that arrived less than a second ago
    query.trigger()
    setting.clock.advance(1.5)
    setting.put(40)
    setting.kinesis.calls.clear()
    query.driver.next(query.start_of(query.committed))
    operations = sorted(call.operation for call in setting.kinesis.calls)
    assert operations == ["get_records"] * 4 + ["get_shard_iterator"] * 4


def test_a_query_without_data_leaves_the_calls_of_a_shard_to_others() -> None:
    setting = Setting(1)
    query = setting.query(initialPosition="trim_horizon")
    query.trigger()
    setting.kinesis.calls.clear()
    since = setting.clock.now()
    for _ in range(20):
        query.driver.next(query.start_of(query.committed))
    calls = [call for call in setting.kinesis.calls if call.operation == "get_records"]
    assert len(calls) <= 2 * (setting.clock.now() - since)


def test_a_shard_that_was_quiet_for_long_is_not_read_through_by_the_driver() -> None:
    setting = Setting(1)
    setting.put(3000, passes=1.0)
    setting.clock.advance(5 * HOUR)
    query = setting.query(initialPosition="trim_horizon")
    setting.kinesis.calls.clear()
    query.driver.next(query.start_of(0))
    calls = [call for call in setting.kinesis.calls if call.operation == "get_records"]
    assert sum(len(call.response["Records"]) for call in calls if call.response) < 1100  # a page, and some single ones
    assert numbers(read(query)) == [*range(3000)]
    assert len(query.batches[0]) > 2500  # and not a page a batch


@pytest.mark.parametrize("aggregate", [1, 5])
def test_rows_are_counted_to_the_record(aggregate: int) -> None:
    setting = Setting(3)
    setting.put(50, aggregate)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    assert numbers(read(query, Limits(rows=7))) == [*range(50)]
    sizes = [len(rows) for _, rows in sorted(query.batches.items())]
    assert max(sizes) <= 7
    assert len(sizes) <= 50 / 7 + 6


def test_a_limit_below_the_number_of_shards_still_goes_on() -> None:
    setting = Setting(5)
    setting.put(30)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    assert numbers(read(query, Limits(rows=2))) == [*range(30)]
    assert max(map(len, query.batches.values())) <= 2


@pytest.mark.parametrize(("shards", "size"), [(2, 10), (5, 3), (2, 1)])
def test_bytes_are_kept_to_but_for_one_record(shards: int, size: int) -> None:
    setting = Setting(shards)
    setting.put(40, passes=0.1)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    assert numbers(read(query, Limits(size=size))) == [*range(40)]
    assert max(sum(len(row[3]) for row in rows) for rows in query.batches.values()) <= size + 2


def test_the_shard_that_is_furthest_behind_gets_what_the_others_leave() -> None:
    setting = Setting(2)
    for nth in range(20):
        setting.kinesis.put_record(StreamName="s", PartitionKey="k", ExplicitHashKey="0", Data=b"%d" % nth)
    setting.clock.advance(60)
    setting.kinesis.put_record(StreamName="s", PartitionKey="k", ExplicitHashKey=str(2**127), Data=b"20")
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    query.trigger(Limits(rows=10))
    assert numbers(row[3] for row in query.batches[0]) == [*range(9), 20]


def test_time_is_kept_to() -> None:
    setting = Setting(1)
    setting.put(60, passes=1.0)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    assert numbers(read(query, Limits(time=10_000))) == [*range(60)]
    assert max(map(len, query.batches.values())) <= 11
    assert query.committed >= 6


def test_available_now_reads_over_generations_and_nothing_that_comes_later() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.kinesis.autoscale("shardId-000000000000")
    setting.put(5)
    setting.kinesis.autoscale("shardId-000000000002")
    setting.put(5)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    query.driver.stop_at()
    found = []
    for _ in range(20):
        setting.clock.advance(1)
        setting.put(2)
        if not query.trigger():
            break
    else:
        pytest.fail("it does not end")
    found = [row[3] for row in query.rows()]
    assert numbers(found) == [*range(15)]


def test_children_are_listed_when_their_parent_is_over_however_seldom_shards_are_listed() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon", shardFetchInterval="1h")
    assert numbers(read(query)) == [*range(5)]
    setting.kinesis.autoscale("shardId-000000000000")
    setting.put(5)
    setting.clock.advance(5)
    assert numbers(read(query)) == [*range(5, 10)]


def test_a_child_of_two_parents_begins_though_one_of_them_is_not_listed_any_more() -> None:
    shards = {
        key: ListedShard(key, parents, (0, 1), is_open=key == "child")
        for key, parents in {"other": ("older",), "child": ("gone", "other")}.items()
    }
    assert frontier.roots(shards) == ["other"]
    assert frontier.joining(shards, {"other": BEGINNING}) == []
    assert frontier.joining(shards, {"other": END}) == ["child"]


def test_lag_is_told_for_what_is_left() -> None:
    setting = Setting(1)
    setting.put(10, passes=10.0)
    query = setting.query(initialPosition="trim_horizon")
    query.trigger(Limits(rows=4))
    assert query.driver.behind() == {"shardId-000000000000": 60_000}
    read(query)
    assert query.driver.behind() == {}


# Loss


def emptied(**given: str) -> tuple[Setting, MiniSpark]:
    """A query that was down while records that it had not read expired."""
    setting = Setting(1)
    query = setting.query(initialPosition="trim_horizon", **given)
    setting.put(5)
    setting.clock.advance(5)
    read(query)
    setting.put(5)
    setting.clock.advance(20 * HOUR)
    setting.put(5)
    setting.clock.advance(10 * HOUR)
    query.restart()
    return setting, query


def test_records_that_have_expired_are_told_before_the_first_task() -> None:
    _, query = emptied()
    with pytest.raises(
        sp.DataLossError,
        match=r"1 of 1 shards may have expired unread \(shardId-000000000000\).* for 24 hours\..*failOnDataLoss",
    ):
        query.trigger()


def test_what_is_left_is_read_if_that_is_allowed(caplog: pytest.LogCaptureFixture) -> None:
    _, query = emptied(failOnDataLoss="false")
    assert numbers(read(query)) == [*range(10, 15)]
    assert "failOnDataLoss is false" in caplog.text


def test_a_batch_whose_records_expire_before_it_is_replayed_is_told_too() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    with pytest.raises(Crash):
        query.trigger(crash="planned")
    setting.clock.advance(30 * HOUR)
    query.restart()
    with pytest.raises(sp.DataLossError, match="may have expired unread"):
        query.trigger()


def test_a_first_batch_from_a_moment_on_whose_records_expire_before_it_is_replayed_is_told_too() -> None:
    setting = Setting(1)
    moment = datetime.fromtimestamp(setting.clock.now(), UTC)
    setting.put(5)
    setting.kinesis.autoscale("shardId-000000000000")
    setting.clock.advance(20 * HOUR)
    setting.put(5)
    setting.clock.advance(5)
    query = setting.query(initialPosition=moment.isoformat())
    with pytest.raises(Crash):
        query.trigger(crash="planned")
    setting.clock.advance(5 * HOUR)
    query.restart()
    with pytest.raises(sp.DataLossError, match="may have expired unread"):
        query.trigger()


def test_an_offset_forgets_the_shards_whose_children_have_begun() -> None:
    setting = Setting(1)
    query = setting.query(initialPosition="trim_horizon")
    for newest in (0, 2, 4, 6):  # of a split's two children, the second is split next
        setting.put(5)
        setting.kinesis.autoscale(f"shardId-{newest:012}")
    setting.clock.advance(5)
    read(query)
    assert set(Offset.from_json(json.loads(query.log[-1])).shards) == {
        *(f"shardId-{number:012}" for number in (1, 3, 5, 7, 8))
    }


def test_a_shard_that_was_read_to_its_end_may_expire() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.kinesis.autoscale("shardId-000000000000")
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    query.trigger()
    setting.clock.advance(30 * HOUR)
    setting.put(5)
    setting.clock.advance(5)
    query.restart()
    assert numbers(read(query)) == [*range(5, 10)]


def test_what_a_batch_has_read_may_expire() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.clock.advance(23 * HOUR)
    setting.put(5)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    read(query)
    setting.clock.advance(2 * HOUR)
    query.restart()
    last = query.start_of(query.committed)
    assert last.begun
    assert query.driver.plan(last, last) == []  # what Spark 4.0 asks for before it goes on
    setting.put(5)
    setting.clock.advance(5)
    assert numbers(read(query)) == [*range(10, 15)]


def test_a_long_silence_is_no_loss() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    read(query)
    for _ in range(40):  # the mark of a quiet shard is moved on
        setting.clock.advance(HOUR)
        read(query)
    query.restart()
    setting.put(3)
    setting.clock.advance(5)
    assert numbers(read(query)) == [5, 6, 7]


def test_a_task_whose_first_record_has_expired_says_so() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    start = query.start_of(0)
    end = query.driver.next(start)
    ranges = query.driver.plan(start, end)
    setting.put(5)
    setting.clock.advance(23.9 * HOUR)
    setting.put(1)
    setting.clock.advance(0.2 * HOUR)
    with pytest.raises(sp.DataLossError, match=r"was to be read from \d+ to \d+, and the first record there now is"):
        query.run(ranges)


def test_shards_that_have_expired_are_told_from_those_that_are_lost() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    read(query)
    setting.put(5)
    setting.kinesis.autoscale("shardId-000000000000")
    setting.clock.advance(30 * HOUR)
    query.restart()
    with pytest.raises(sp.DataLossError, match=r"all shards of the checkpoint have expired \(shardId-000000000000\)"):
        query.trigger()

    now = round(setting.clock.now() * 1000)
    for shard, why in (
        ("shardId-000000000000", "all shards of the checkpoint have expired"),  # its children are there
        ("shardId-000000000077", r"not listed any more \(shardId-000000000077\), though .* lost them"),
    ):
        of_log = Offset.from_json(json.loads(query.log[-1].replace("shardId-000000000000", shard)))
        marks = {key: replace(mark, time=now) for key, mark in of_log.shards.items()}
        with pytest.raises(sp.DataLossError, match=why):
            query.driver.next(replace(of_log, shards=marks))


def test_children_of_an_expired_shard_are_read_if_that_is_allowed() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon", failOnDataLoss="false")
    read(query)
    setting.put(5)
    setting.kinesis.autoscale("shardId-000000000000")
    setting.clock.advance(30 * HOUR)
    setting.put(4)
    setting.clock.advance(5)
    query.restart()
    assert numbers(read(query)) == [*range(10, 14)]


def test_a_stream_that_was_made_again_is_told_and_read_anew_if_that_is_allowed() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.clock.advance(5)
    query, allowed = (
        setting.query(initialPosition="trim_horizon", failOnDataLoss=value) for value in ("true", "false")
    )
    read(query)
    read(allowed)
    setting.kinesis.delete_stream(StreamName="s")
    setting.clock.advance(60)
    setting.kinesis.create_stream(StreamName="s", ShardCount=1)
    setting.put(3)
    setting.clock.advance(5)
    query.restart()
    allowed.restart()
    with pytest.raises(sp.DataLossError, match=r"stream/s of the checkpoint was deleted: it was created at 2027-"):
        query.trigger()
    assert numbers(read(allowed)) == [5, 6, 7]


def test_a_stream_that_is_made_again_under_a_query_is_told() -> None:
    setting = Setting(1)
    setting.put(5)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    read(query)
    setting.kinesis.delete_stream(StreamName="s")
    setting.clock.advance(5)
    setting.kinesis.create_stream(StreamName="s", ShardCount=1)
    setting.put(3)
    setting.clock.advance(5)
    with pytest.raises(sp.DataLossError, match="of the checkpoint was deleted"):
        query.trigger()


# Other bad input


def test_a_checkpoint_of_another_stream_is_refused() -> None:
    setting = Setting(1)
    setting.put(5)
    query = setting.query(initialPosition="trim_horizon")
    query.trigger()
    query.log = [line.replace("stream/s", "stream/t") for line in query.log]
    with pytest.raises(ValueError, match=r"checkpoint is of the stream arn:\S+/t, and the option streamName names"):
        query.trigger()


@pytest.mark.parametrize(
    ("told", "what"),
    [
        (7, "it is 7; an offset is a JSON object"),
        ({"version": 9}, "version is 9; this release of shardpack writes 1"),
        ({"version": 1, "stream": 5, "created": 1}, r"stream, created is \(5, 1\)"),
        ({"version": 1, "stream": "a", "created": 1, "shards": 5}, "shards is 5"),
        ({"version": 1, "stream": "a", "created": 1, "shards": {"x": 5}}, "shards.x is 5"),
        ({"version": 1, "stream": "a", "created": 1, "shards": {"x": {"at": "1x"}}}, "shards.x.at is '1x'"),
        (
            {"version": 1, "stream": "a", "created": 1, "shards": {"x": {"position": "AT"}}},
            "shards.x is .*TRIM_HORIZON",
        ),
        ({"version": 1, "stream": "a", "created": 1, "shards": {"x": {"at": "1", "time": -1}}}, "shards.x.time is -1"),
    ],
    ids=lambda value: None if isinstance(value, str) else "told",
)
def test_an_offset_that_is_none_is_refused(told: Any, what: str) -> None:
    with pytest.raises(ValueError, match=rf"no offset of the kinesis source of shardpack: {what}.* checkpointLocation"):
        Offset.from_json(told)


@pytest.mark.parametrize(
    ("operation", "code", "what"),
    [
        ("describe_stream_summary", "ResourceNotFoundException", "check the options streamName or streamARN, region"),
        ("list_shards", "AccessDeniedException", "kinesis:ListShards is not allowed on the stream s .*roleArn"),
        ("get_shard_iterator", "AccessDeniedException", "kinesis:GetShardIterator is not allowed"),
        ("get_records", "KMSAccessDeniedException", "kinesis:GetRecords is not allowed"),
        (
            "describe_stream_summary",
            "ProvisionedThroughputExceededException",
            "has failed for 1.. s, at last with Prov",
        ),
    ],
)
def test_a_call_that_fails_for_good_says_what_to_do(operation: str, code: str, what: str) -> None:
    setting = Setting(1)
    setting.put(5)
    setting.kinesis.script(operation, error=code, times=None)
    with pytest.raises(sp.CallError, match=what) as caught:
        setting.query(initialPosition="trim_horizon").trigger()
    assert caught.value.code == code


# Ranges


def ranges(setting: Setting, **given: str) -> tuple[MiniSpark, list[Any]]:
    query = setting.query()
    options = source_options({"streamName": "s", "initialPosition": "trim_horizon", **given}, is_stream=False)
    query.restart()
    call = Caller(options.connection, setting.kinesis, sleep=setting.clock.wait)
    stream = KinesisStream(call, "s", clock=setting.clock.now, sleep=setting.clock.wait)
    query.driver._options = options
    return query, ranges_between(query.driver, stream, options)


def rows_of(query: MiniSpark, found: list[Any]) -> list[int]:
    return [int(row[3]) for row in query.run(found)]


def resharded() -> tuple[Setting, str, str]:
    setting = Setting(2)
    setting.put(40, aggregate=3, passes=7.0)
    begin = datetime.fromtimestamp(setting.clock.now(), UTC).isoformat()
    setting.put(40, aggregate=3, passes=7.0)
    setting.kinesis.autoscale("shardId-000000000001")
    setting.put(40, aggregate=3, passes=7.0)
    end = datetime.fromtimestamp(setting.clock.now(), UTC).isoformat()
    setting.put(40, aggregate=3, passes=7.0)
    setting.clock.advance(3)
    return setting, begin, end


@pytest.mark.parametrize("slices", [{}, {"sliceTime": "30s"}, {"sliceTime": "1h"}], ids=["whole", "sliced", "long"])
def test_a_range_of_time_is_read_over_reshards_and_is_the_same_again(slices: dict[str, str]) -> None:
    setting, begin, end = resharded()
    first, found = ranges(setting, initialPosition=begin, endPosition=end, **slices)
    rows = rows_of(first, found)
    assert sorted(rows) == [*range(40, 120)]
    setting.put(10)
    setting.clock.advance(60)
    again, same = ranges(setting, initialPosition=begin, endPosition=end, **slices)
    assert same == found
    assert rows_of(again, same) == rows
    assert len(found) > 6 if slices == {"sliceTime": "30s"} else len(found) == 4


def test_everything_is_read_without_a_range() -> None:
    setting, _, _ = resharded()
    assert sorted(rows_of(*ranges(setting))) == [*range(160)]


def test_slices_in_which_nothing_arrived_cost_no_calls() -> None:
    setting = Setting(1)
    setting.put(2, passes=5000.0)
    setting.clock.advance(5)
    setting.kinesis.calls.clear()
    _, found = ranges(setting, sliceTime="1s")
    assert len(found) == 2
    assert len(setting.kinesis.calls) < 50


def test_a_range_joins_what_a_query_would_read_in_several_batches() -> None:
    setting = Setting(1)
    setting.put(60, passes=10.0)
    setting.clock.advance(5)
    options = source_options({"streamName": "s"}, is_stream=False)
    query = MiniSpark(setting.kinesis, setting.clock)  # whose pages hold five records
    query.driver._options = options
    (one,) = ranges_between(query.driver, query.stream, options)
    assert rows_of(query, [one]) == [*range(60)]


def test_a_range_ends_at_an_offset() -> None:
    setting = Setting(2)
    setting.put(20)
    setting.clock.advance(5)
    query = setting.query(initialPosition="trim_horizon")
    read(query)
    setting.kinesis.autoscale("shardId-000000000001")
    setting.put(20)
    setting.clock.advance(5)
    read(query)
    setting.put(20)
    setting.clock.advance(5)
    assert sorted(rows_of(*ranges(setting, endPosition=query.log[-1]))) == [*range(40)]
    between = ranges(setting, initialPosition=query.log[0], endPosition=query.log[-1])
    assert sorted(rows_of(*between)) == [*range(20, 40)]
