"""The planner's numbers against an independent count over what was packed, and against a calculation by hand."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tracemalloc
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packer_model import MAGIC, is_sound

import shardpack as sp
from shardpack.density import Measurement, Overhead, Prices, Row, Spread, Strategy, measure, usual_strategies
from shardpack.density._timed import Timed
from shardpack.density.rows import Histogram
from shardpack.density.strategy import PLAIN
from shardpack.density.synthetic import synthetic
from shardpack.limits import KIB, MIB, SHARD_RECORDS_PER_SECOND
from shardpack.testing import strategies
from shardpack.wire._generated.kpl_pb2 import AggregatedRecord

LOGINS = list(synthetic("login:50-100", 3000, keys=200))
SMALL = sp.Limits(2000)
EVERY = [
    Strategy("plain", None),
    Strategy("any", SMALL),
    Strategy("key", SMALL, "key"),
    Strategy("key, kpl", SMALL, "key", hash_keys="kpl"),
    Strategy("shard", SMALL, "shard", 3),
    Strategy("shard, kpl", SMALL, "shard", 3, "kpl"),
    Strategy("lanes", SMALL, "shard", 2, lanes=5),
    Strategy("lookahead", SMALL, lookahead=2),
    Strategy("counted", sp.Limits(2000, 7)),
]


def packed_by(strategy: Strategy, records: list[sp.UserRecord]) -> list[sp.PackedRecord]:
    if strategy.limits is None:
        return [sp.PackedRecord(one.data, one.partition_key, one.explicit_hash_key, 1) for one in records]
    return list(sp.pack(iter(records), **strategy.arguments))


def recount(strategy: Strategy, records: list[sp.UserRecord]) -> dict[str, object]:
    """By protobuf, field by field."""
    packed = packed_by(strategy, records)
    data = keys = explicit = checksum = 0
    for one in packed:
        keys += len(one.partition_key.encode())
        if not (strategy.limits and is_sound(one.data)):
            data += len(one.data)
            continue
        checksum += len(MAGIC) + 16
        message = AggregatedRecord.FromString(one.data[4:-16])
        keys += AggregatedRecord(partition_key_table=message.partition_key_table).ByteSize()
        explicit += AggregatedRecord(explicit_hash_key_table=message.explicit_hash_key_table).ByteSize()
        for record in message.records:
            data += len(record.data)
            if record.HasField("explicit_hash_key_index"):
                explicit += 1 + max(1, math.ceil(record.explicit_hash_key_index.bit_length() / 7))
    size = sum(len(one.data) + len(one.partition_key.encode()) for one in packed)
    return {
        "kinesis_records": len(packed),
        "kinesis_bytes": size,
        "user_bytes": data,
        "put_units": sum(max(1, math.ceil(one.size / (25 * KIB))) for one in packed),
        "on_demand_bytes": sum(max(1, math.ceil(one.size / 1024)) * 1024 for one in packed),
        "requests": len(list(sp.put_requests(packed))),
        "keys": keys,
        "explicit": explicit,
        "framing": size - data - keys - explicit - checksum,
        "checksum": checksum,
        "counts": sorted(one.user_record_count for one in packed),
    }


def told(row: Row) -> dict[str, object]:
    count = row.user_records
    return {
        "kinesis_records": row.kinesis_records,
        "kinesis_bytes": row.kinesis_bytes,
        "user_bytes": row.user_bytes,
        "put_units": row.put_units,
        "on_demand_bytes": row.on_demand_bytes,
        "requests": row.requests,
        "keys": round(row.overhead.keys * count),
        "explicit": round(row.overhead.explicit_hash_keys * count),
        "framing": round(row.overhead.framing * count),
        "checksum": round(row.overhead.checksum * count),
    }


class TestCounts:
    @pytest.mark.parametrize("strategy", EVERY, ids=lambda one: one.name)
    def test_of_logins(self, strategy: Strategy) -> None:
        (row,) = measure(LOGINS, [strategy]).rows
        expected = recount(strategy, LOGINS)
        counts = expected.pop("counts")
        assert told(row) == expected
        assert isinstance(counts, list)
        assert row.user_records == sum(counts) == len(LOGINS)
        assert row.per_kinesis_record.mean == pytest.approx(sum(counts) / len(counts))
        assert row.per_kinesis_record.median == counts[math.ceil(len(counts) / 2) - 1]
        assert row.per_kinesis_record.p99 == counts[math.ceil(len(counts) * 0.99) - 1]
        assert row.payload_share == pytest.approx(row.user_bytes / row.kinesis_bytes)
        assert row.fill == pytest.approx(row.kinesis_bytes / (strategy.limit * row.kinesis_records))

    @given(
        strategies.user_record_lists(
            min_size=1,
            max_size=40,
            data=st.binary(max_size=300),
            partition_key=st.text("ab\u00e9", min_size=1, max_size=20),
        ),
        st.sampled_from(EVERY),
    )
    def test_of_any_records(self, records: list[sp.UserRecord], strategy: Strategy) -> None:
        (row,) = measure(records, [strategy]).rows
        expected = recount(strategy, records)
        del expected["counts"], expected["user_bytes"], expected["framing"]  # tags count as framing
        assert {name: value for name, value in told(row).items() if name in expected} == expected

    def test_of_the_json_of_a_request(self) -> None:
        import base64

        (row,) = measure(LOGINS, [Strategy("any", SMALL)]).rows
        size = 0
        for request in sp.put_requests(packed_by(Strategy("any", SMALL), LOGINS)):
            entries = [{**one, "Data": base64.b64encode(bytes(one["Data"])).decode()} for one in request.entries]  # type: ignore[arg-type]
            size += len(json.dumps({"Records": entries, "StreamName": "x" * 20}, separators=(",", ":")))
        assert row.request_bytes == pytest.approx(size, abs=row.requests)

    def test_a_clock_without_a_deadline_changes_no_aggregate(self) -> None:
        for timed, untimed in zip(measure(LOGINS, EVERY, rate=100).rows, measure(LOGINS, EVERY).rows, strict=True):
            assert told(timed) == told(untimed), timed.strategy.name

    @pytest.mark.parametrize("seconds", [0.05, 1.0, None])
    def test_many_at_once_are_counted_as_one_by_one(
        self, seconds: float | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Runs of user records go to the packer in one call, up to the moment at which an aggregate is due."""
        chosen = [one for one in usual_strategies(3) if one.limits is not None and not one.lookahead]
        records = [*synthetic("login:50-100", 1200, keys=50), *synthetic("login:3000-9000", 200, keys=50)]
        counted = [Strategy("counted", sp.Limits(51_200, 7))]

        def rows() -> list[Row]:
            return list(measure(records, chosen + counted, rate=1500, record_max_buffered_time=seconds).rows)

        at_once = rows()
        monkeypatch.setattr(Timed, "_is_uniform", lambda *_: False)
        for row, expected in zip(at_once, rows(), strict=True):
            assert told(row) == told(expected), row.strategy.name
            assert (row.per_kinesis_record, row.closed) == (expected.per_kinesis_record, expected.closed)
            if expected.wait is None or row.wait is None:
                assert row.wait == expected.wait
            else:
                assert dataclasses.astuple(row.wait) == pytest.approx(dataclasses.astuple(expected.wait), rel=0.05)

    def test_a_time_too_large_for_the_wait_to_be_added_is_no_hang(self) -> None:
        timed = [(("k", b"x"), 1e300)] * 3
        strategy = Strategy("KPL size", sp.Limits.kpl())
        (row,) = measure(timed, [strategy], timestamps=True, record_max_buffered_time=0.1).rows
        assert row.kinesis_records == 3

    def test_at_once_too_an_aggregate_closes_when_the_record_comes_that_does_not_fit(self) -> None:
        timed = [(sp.UserRecord("k", bytes(20_000)), moment) for moment in (0.0, 1.0, 100.0, 101.0, 300.0)]
        (row,) = measure(timed, [Strategy("KPL size", sp.Limits.kpl())], timestamps=True).rows
        assert row.wait is not None
        assert row.wait.mean == pytest.approx((100 + 99 + 200 + 199) / 4, rel=0.021)

    def test_the_lower_bound(self) -> None:
        rows = measure([("a", bytes(1500)), ("b", bytes(1500)), ("a", bytes(600))], EVERY[1:3]).rows
        assert [row.lower_bound for row in rows] == [2, 3]
        assert rows[0].above_bound == rows[0].kinesis_records / 2 - 1


class TestLargeRecords:
    """Lines that an aggregate, or no Kinesis record, can hold: counted, and no reason to stop."""

    RECORDS = (
        *LOGINS,
        sp.UserRecord("k", bytes(72 * KIB)),
        sp.UserRecord("k", bytes(MIB - 1)),
        sp.UserRecord("k", bytes(MIB)),
        sp.UserRecord("k", bytes(10 * MIB - 1)),
        sp.UserRecord("k", bytes(10 * MIB)),
    )

    @pytest.mark.parametrize("rate", [None, 500])
    def test_are_sent_alone_or_left_out_and_counted(self, rate: float | None) -> None:
        rows = {row.strategy.name: row for row in measure(self.RECORDS, rate=rate).rows}
        counts = {name: (row.user_records, row.alone, row.left_out) for name, row in rows.items()}
        lanes = counts.pop("1 MiB, shard, 10 lanes")  # which must wrap even a lone one
        assert lanes == (len(LOGINS) + 1, 0, 4)
        assert counts.pop("10 MiB, any") == (len(LOGINS) + 4, 0, 1)
        for name, found in counts.items():
            alone = 2 if "KPL" in name or "unit" in name or "defaults" in name else 0
            assert found == (len(LOGINS) + 2, alone, 3), name

    def test_count_for_everything_but_the_fill_of_aggregates(self) -> None:
        (row,) = measure(self.RECORDS, [Strategy("kpl", sp.Limits.kpl())]).rows
        packed = list(sp.pack(self.RECORDS[:-3], limits=sp.Limits.kpl()))
        aggregates = [one for one in packed if one.user_record_count > 1]
        assert len(packed) == len(aggregates) + 2 == row.kinesis_records
        assert row.kinesis_bytes == sum(one.size for one in packed)
        assert row.fill == pytest.approx(sum(one.size for one in aggregates) / (51_200 * len(aggregates)))
        assert row.lower_bound == 2 + math.ceil(sum(len(one.data) for one in LOGINS) / 51_200) <= row.kinesis_records

    def test_are_told_with_the_limit_that_they_passed(self) -> None:
        strategies = [Strategy("kpl", sp.Limits.kpl()), Strategy("mib"), Strategy("other", sp.Limits(MIB), "key")]
        strategies += [Strategy("lanes", sp.Limits(MIB), "shard", lanes=2)]
        measured = measure(self.RECORDS, strategies)
        assert measured.notes[:2] == [
            "Sent alone, too large for an aggregate: 2 user records at 51,200 bytes.",
            "Left out, too large for a Kinesis record: 3 user records at 1,048,576 bytes, 4 user records at"
            " 1,048,576 bytes (lanes).",
        ]
        assert measured.as_dict()["notes"] == measured.notes
        assert [note for note in measure(LOGINS, strategies).notes if "too large" in note] == []

    def test_to_the_byte(self) -> None:
        tagged = sp.UserRecord("k", bytes(MIB - 100), None, (("tag", "x" * 200),))
        inner = sp.UserRecord("k", sp.encode([("k", bytes(MIB - 50))]))
        for strategy in (Strategy("any"), Strategy("plain", None)):
            assert strategy.takes(sp.UserRecord("k", bytes(MIB - 1)))
            assert not strategy.takes(sp.UserRecord("kk", bytes(MIB - 1)))
        assert not Strategy("any").takes(tagged)
        assert not Strategy("any").takes(inner)
        assert Strategy("plain", None).takes(inner)

    def test_of_a_rate_they_are_a_part(self) -> None:
        records = [*LOGINS[:1], sp.UserRecord("k", bytes(MIB))]
        with_large, without = (measure(given, [Strategy("any")], rate=1e6).rows[0] for given in (records, records[:1]))
        assert with_large.on_demand is not None
        assert without.on_demand is not None
        fixed = Prices().stream_hour * 730
        assert with_large.on_demand - fixed == pytest.approx((without.on_demand - fixed) / 2)


class TestMoney:
    """By hand: 3,000 records of 1,024 bytes with a key of one, at 3,000 a second."""

    RECORDS = (("k", bytes(1023)),) * 3000
    PRICES = Prices(1.0, 2.0, 3.0, 4.0, "made up")

    def row(self, strategy: Strategy, rate: float = 3000) -> Row:
        (row,) = measure(self.RECORDS, [strategy], rate=rate, prices=self.PRICES).rows
        return row

    def test_without_aggregation(self) -> None:
        row = self.row(Strategy("plain", None))
        # 3,000 records/s of 1,024 B: three shards by records, 2.93 MiB/s by bytes.
        assert (row.shards, row.bound_by) == (3, "records")
        assert row.put_units == 3000
        assert row.provisioned == pytest.approx(3 * 1.0 * 730 + 3000 * 3600 * 730 / 1e6 * 2.0)
        assert row.on_demand == pytest.approx(3.0 * 730 + 3000 * 1024 * 3600 * 730 / 1e9 * 4.0)

    def test_aggregated(self) -> None:
        row = self.row(Strategy("any"))
        # 1,023 B of data, 11 B of framing and 2 for the pin each: 1,013 in 1 MiB, and so 2.96 MiB/s.
        assert row.per_kinesis_record.median == pytest.approx(1013, abs=5)
        assert (row.kinesis_records, row.shards, row.bound_by) == (3, 3, "bytes")
        assert row.put_units == 41 + 41 + math.ceil((row.kinesis_bytes - 2 * MIB) / (25 * KIB))

    def test_a_slow_stream_needs_a_shard_all_the_same(self) -> None:
        assert self.row(Strategy("any"), rate=0.1).shards == 1

    def test_no_rate_no_money(self) -> None:
        (row,) = measure(self.RECORDS, [Strategy("any")]).rows
        assert (row.shards, row.provisioned, row.on_demand, row.wait, row.bound_by) == (None,) * 5


class TestWaiting:
    def at(self, times: list[float], size: int = 10, **settings: object) -> Measurement:
        records = [(sp.UserRecord("k", bytes(size)), moment) for moment in times]
        return measure(records, [Strategy("any", sp.Limits(1000))], timestamps=True, **settings)  # type: ignore[arg-type]

    def test_until_it_is_full(self) -> None:
        measured = self.at([float(n) for n in range(9)], size=280)  # three in an aggregate, which the fourth closes
        (row,) = measured.rows
        assert row.kinesis_records == 3
        assert row.wait is not None
        assert row.wait.mean == pytest.approx(2.0, rel=0.05)  # 3, 2 and 1 seconds
        assert row.wait.p99 == pytest.approx(3.0, rel=0.05)

    def test_until_its_time_is_over(self) -> None:
        (row,) = self.at([0.0, 0.4, 5.0, 5.4, 9.0], record_max_buffered_time=1.0).rows
        assert row.kinesis_records == 3
        assert row.wait is not None
        assert row.wait.p99 == pytest.approx(1.0, rel=0.05)
        assert row.wait.mean == pytest.approx((1.0 + 0.6 + 1.0 + 0.6) / 4, rel=0.05)

    def test_the_rate_of_timestamps(self) -> None:
        assert self.at([float(n) for n in range(11)]).rate == pytest.approx(1.1)
        assert self.at([5.0]).rate is None

    def test_timestamps_out_of_order(self) -> None:
        assert self.at([3.0, 1.0, 2.0, 5.0], record_max_buffered_time=1.0).rows[0].user_records == 4

    def test_more_patience_more_density(self) -> None:
        curve = measure(LOGINS, [Strategy("any", sp.Limits.kpl())], rate=20).curve
        assert [one.seconds for one in curve] == sorted(one.seconds for one in curve)
        assert all(a.user_records <= b.user_records and (a.p99 or 0.0) <= (b.p99 or 0.0) for a, b in pairwise(curve))
        assert curve[0].user_records < 4
        assert curve[-1].user_records > 100

    def test_without_aggregation_nothing_waits(self) -> None:
        (row,) = measure(LOGINS, [Strategy("plain", None)], rate=10).rows
        assert row.wait == Spread(0.0, 0.0, 0.0)


class TestInput:
    def test_one_pass_in_constant_memory(self) -> None:
        def peak(count: int) -> int:
            tracemalloc.start()
            measure(
                synthetic("login:50-100", count, keys=100), [Strategy("plain", None), Strategy("any", SMALL)], rate=50
            )
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return most

        peak(1000)
        assert peak(6000) < 1.5 * peak(2000)

    def test_it_tells_how_far_it_is(self) -> None:
        seen: list[int] = []
        measure(LOGINS, [Strategy("any")], progress=seen.append)
        assert seen == [1000, 2000, 3000]

    def test_of_nothing(self) -> None:
        for row in measure([], rate=5).rows:
            assert (row.kinesis_records, row.payload_share, row.fill, row.overhead) == (
                0,
                0.0,
                0.0,
                Overhead(0, 0, 0, 0),
            )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"rate": 0}, "rate is 0"),
            ({"rate": math.nan}, "rate is nan"),
            ({"latency": 0}, "latency is 0"),
            ({"record_max_buffered_time": -1, "rate": 5}, "record_max_buffered_time is -1"),
            ({"record_max_buffered_time": 1}, "needs the rate"),
            ({"strategies": []}, "strategies is empty"),
        ],
    )
    def test_arguments_out_of_range(self, arguments: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            measure(LOGINS, **arguments)  # type: ignore[arg-type]

    def test_a_record_that_is_none(self) -> None:
        with pytest.raises(sp.InvalidRecordError):
            measure([("", b"")])

    def test_prices_and_strategies_out_of_range(self) -> None:
        with pytest.raises(ValueError, match="shard_hour is -1"):
            Prices(shard_hour=-1)
        with pytest.raises(ValueError, match="shards is 0"):
            Strategy("none", shards=0)


class TestSynthetic:
    @given(st.integers(0, 200), st.integers(0, 200_000))
    def test_sizes(self, least: int, more: int) -> None:
        sizes = [len(one.data) for one in synthetic(f"event:{least}-{least + more}", 5)]
        assert all(least <= size <= least + more for size in sizes)

    def test_the_same_each_time(self) -> None:
        assert list(synthetic("a:1-9,b:5", 100)) == list(synthetic("a:1-9,b:5", 100))
        assert list(synthetic("a:1-9", 100, seed=1)) != list(synthetic("a:1-9", 100))
        assert {one.data[:1] for one in synthetic("a:5,b:5", 100)} == {b"a", b"b"}

    @pytest.mark.parametrize("spec", ["", "login", "login:9-5", "login:x", "a:1,,b:2", "a:99999999"])
    def test_a_spec_that_is_none(self, spec: str) -> None:
        with pytest.raises(ValueError, match="no kind of event"):
            list(synthetic(spec, 1))


class TestAnswers:
    def test_plain_data(self) -> None:
        measured = measure(LOGINS, rate=100)
        told = json.loads(json.dumps(measured.as_dict(), default=str))
        assert told["recommended"] == measured.recommended.strategy.name
        assert [row["strategy"]["name"] for row in told["rows"]] == [one.name for one in usual_strategies()]
        assert told["rows"][0]["payload_share"] == measured.rows[0].payload_share
        assert dataclasses.is_dataclass(measured.rows[0])

    def test_the_recommended_one_is_the_cheapest_that_keeps_keys_on_their_shards(self) -> None:
        measured = measure(LOGINS, rate=3 * SHARD_RECORDS_PER_SECOND)
        best = measured.recommended
        assert (best.provisioned or 0) <= 1.05 * min(row.provisioned or 0 for row in measured.rows)
        assert best.strategy.by == "shard"
        assert "every key stays on its shard" in measured.reason
        assert "$" in measured.reason


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_a_histogram_is_right_to_two_percent(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    spread = histogram.spread
    assert spread is not None
    exact = sorted(values)[math.ceil(len(values) / 2) - 1]
    assert spread.median == pytest.approx(exact, rel=0.021)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_moments_are_counted_together_as_one_by_one(moments: list[float]) -> None:
    moments.sort()
    now = moments[-1] + 0.5
    together, alone = Histogram(), Histogram()
    together.add_since(moments, now)
    together.add_since([now], now)
    for moment in [*moments, now]:
        alone.add(now - moment)
    assert together.spread is not None
    assert alone.spread is not None
    for one, other in zip(dataclasses.astuple(together.spread), dataclasses.astuple(alone.spread), strict=True):
        assert one == pytest.approx(other, rel=0.041)  # at the edge of two steps, either is right


def test_aws_kinesis_agg_beside_ours() -> None:
    from shardpack.density.peers import AwsKinesisAgg

    def peers() -> Iterator[AwsKinesisAgg]:
        yield AwsKinesisAgg(51_200)

    measured = measure(LOGINS, [Strategy("ours", sp.Limits(51_200))], peers=list(peers()))
    ours, theirs = measured.rows
    assert theirs.strategy.name.startswith("aws_kinesis_agg")
    assert theirs.user_records == sum(LOGINS is not None for _ in LOGINS)
    assert theirs.user_bytes == ours.user_bytes
    assert theirs.kinesis_records >= ours.kinesis_records
    assert theirs.overhead.total > 0
    (_, theirs) = measure([*LOGINS, sp.UserRecord("k", bytes(60_000))], [Strategy("ours")], peers=list(peers())).rows
    assert (theirs.user_records, theirs.left_out) == (len(LOGINS), 1)


KPL = [Strategy("plain", None), Strategy("KPL size, shard", sp.Limits.kpl(), "shard", 3)]


class TestTimeAndTraffic:
    def test_a_point_of_the_curve_is_a_measurement_with_that_time(self) -> None:
        for point in measure(LOGINS, KPL, rate=500).curve:
            row = measure(LOGINS, KPL, rate=500, record_max_buffered_time=point.seconds).rows[1]
            assert (point.user_records, point.shards) == (row.per_kinesis_record.mean, row.shards)
            assert (point.provisioned, point.on_demand, point.advantage) == (
                row.provisioned,
                row.on_demand,
                row.advantage,
            )

    def test_a_wait_that_nobody_knows_is_none(self) -> None:
        assert {(one.median, one.p99) for one in measure(LOGINS[:20], KPL, rate=500).curve if one.seconds > 1} == {
            (None, None)
        }

    def test_growth_is_a_measurement_at_that_rate(self) -> None:
        growth = measure(LOGINS, KPL, rate=500, latency=0.7).growth
        assert [one.factor for one in growth] == [1, 2, 10]
        for one in growth:
            plain, row = measure(LOGINS, KPL, rate=500 * one.factor, record_max_buffered_time=0.7).rows
            assert (one.shards, one.plain_shards) == (row.shards, plain.shards)
            assert (one.provisioned, one.plain_provisioned) == (row.provisioned, plain.provisioned)
            assert (one.on_demand, one.advantage) == (row.on_demand, row.advantage)

    def test_what_is_recommended_keeps_within_the_latency(self) -> None:
        for latency in (0.05, 1.0, 30.0):
            measured = measure(
                LOGINS, usual_strategies()[:4], rate=100, record_max_buffered_time=latency, latency=latency
            )
            wait = measured.recommended.wait
            assert wait is not None
            assert wait.p99 <= latency * 1.05
        patient, hasty = (measure(LOGINS, KPL, rate=100, latency=one).recommended for one in (60.0, 0.5))
        assert patient.strategy.limits is not None
        assert patient is not hasty

    def test_the_producers_defaults_come_first(self) -> None:
        measured = measure(LOGINS, rate=5000, record_max_buffered_time=1.0)
        row = measured.defaults
        assert row is not None
        assert row.wait is not None
        assert row.wait.p99 <= 0.105
        assert measured.headline[0].startswith("With the Producer's defaults: from $239 to $")
        assert measured.headline[1].startswith("If records can wait for 1 s: ")

    def test_a_strategy_with_a_time_of_its_own_keeps_it(self) -> None:
        own = Strategy("own", sp.Limits.kpl(), seconds=0.2)
        (one,), (other,) = (
            measure(LOGINS, [own], rate=500).rows,
            measure(LOGINS, [Strategy("x", sp.Limits.kpl())], rate=500, record_max_buffered_time=0.2).rows,
        )
        assert told(one) == told(other)


class TestRouting:
    def test_any_pays_where_there_are_more_shards_than_traffic(self) -> None:
        strategies = [
            PLAIN,
            *(one for one in usual_strategies(500) if one.name in ("KPL size, shard", "KPL size, any")),
        ]
        measured = measure(LOGINS, strategies, rate=1000, record_max_buffered_time=0.5)
        assert measured.routing is not None
        assert measured.routing.startswith("500 shards share the traffic")
        assert f'route="any" {measured.rows[2].per_kinesis_record.mean:,.0f} ' in measured.routing

    def test_and_not_where_each_shard_fills_its_own(self) -> None:
        for shards in (1, 2):
            measured = measure(LOGINS, usual_strategies(shards)[:4], rate=50_000, record_max_buffered_time=1.0)
            assert measured.routing is None

    def test_a_longer_time_is_named_that_does_nearly_as_much(self) -> None:
        told = measure(LOGINS, usual_strategies(2)[:4], rate=500, record_max_buffered_time=0.5).routing
        assert told is not None
        assert re.search(r"a record_max_buffered_time of (1|3|10) s does nearly as much", told)


class TestSettings:
    @pytest.mark.parametrize("strategy", usual_strategies(), ids=lambda one: one.name)
    def test_a_producer_takes_what_is_copied(self, strategy: Strategy) -> None:
        text = strategy.producer_config(0.5)
        if text is None:
            assert strategy.lanes > 1 or strategy.lookahead or strategy.limit > MIB
            return
        config = eval(text, {"sp": sp})
        assert config.aggregation_enabled == (strategy.limits is not None)
        if strategy.limits is not None:
            assert config.aggregation_max_size == strategy.limit
            assert (config.route, config.hash_keys) == (strategy.by, strategy.hash_keys)
            assert config.record_max_buffered_time == (strategy.seconds or 0.5)

    def test_the_number_of_user_records_too(self) -> None:
        text = Strategy("x", sp.Limits.kpl()).producer_config(None)
        assert text == 'sp.ProducerConfig(route="any")'
        assert "aggregation_max_count=7" in str(Strategy("x", sp.Limits(51_200, 7)).producer_config(None))


class TestPrices:
    def test_on_demand_advantage_is_by_the_byte_alone(self) -> None:
        assert Prices(advantage_gigabyte=0.5).advantage(1e6) == pytest.approx(1e6 * 730 * 3600 / 1e9 * 0.5)

    def test_the_page_tells_the_built_in_ones(self, tmp_path: Path) -> None:
        page = (Path(__file__).parents[2] / "docs/density.md").read_text("utf-8")
        file = tmp_path / "prices.json"
        (text,) = re.findall(r"^```json\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        file.write_text(text)
        assert json.loads(text).keys() == {one.name for one in fields(Prices)}
        assert replace(Prices.from_file(file), source=Prices().source) == Prices()

    def test_of_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "prices.json"
        file.write_text('{"shard_hour": 0.02, "source": "eu-west-1, 2026"}')
        assert Prices.from_file(file) == Prices(shard_hour=0.02, source="eu-west-1, 2026")
        file.write_text('{"shard_hour": 0.02}')
        assert Prices.from_file(file).source == f"of {file}"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "not JSON"),
            ("[1]", r"\[1\] is no price; give an object with some of shard_hour, "),
            ('{"shard": 1}', "'shard' is no price"),
            ('{"shard_hour": -1}', "shard_hour is -1; give a price"),
            ('{"source": 5}', "source is 5; give a text"),
        ],
    )
    def test_of_a_file_that_has_none(self, tmp_path: Path, text: str, message: str) -> None:
        file = tmp_path / "prices.json"
        file.write_text(text)
        with pytest.raises(ValueError, match=message) as told:
            Prices.from_file(file)
        assert str(told.value).startswith(f"{file}: ")


def test_what_filled_nothing_is_told() -> None:
    measured = measure(LOGINS[:50])
    assert any(note.startswith("The input is too small to fill one aggregate of: ") for note in measured.notes)
    assert measure(LOGINS, [Strategy("any", SMALL)]).notes == []


def test_the_example_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "density.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    exec(compile(example, "docs/density.md", "exec"), {"__name__": "docs"})

    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" 1", 1)[0] for line in printed[:1]] == ["plain"]
    assert len(printed) == 4
