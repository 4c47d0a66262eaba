"""What a producer counts: `stats`, and the same under the KPL's names through OpenTelemetry."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock, call

import pytest
from driven_engine import HIGH, LOW, ONE, THROTTLED, TWO, Driven
from producer_client import Client

import shardpack as sp
from shardpack.limits import MAX_HASH_KEY
from shardpack.producer import METRIC_NAMES, ProducerStats, Statistics
from shardpack.producer.core.metrics import Metrics
from shardpack.producer.shells.otel import _INSTRUMENTS, instruments
from shardpack.testing import FakeKinesis, ManualClock

# The metrics of each level, as the KPL's metrics.md and metrics_constants.h have them.
SUMMARY = {"UserRecordsPut", "KinesisRecordsPut", "ErrorsByCode", "AllErrors", "UserRecordExpired", "BufferingTime"}
DETAILED = {
    *("UserRecordsReceived", "UserRecordsPending", "UserRecordsDataPut", "KinesisRecordsDataPut", "RetriesPerRecord"),
    *("RequestTime", "UserRecordsPerKinesisRecord", "KinesisRecordsPerPutRecordsRequest"),
    "UserRecordsPerPutRecordsRequest",
    *("DataPerKinesisRecord", "KeysAstray"),  # ours
}


def approximately(value: float) -> tuple[Any, Any, Any]:
    """A single value's total, minimum and maximum."""
    return (pytest.approx(value),) * 3


class TestStats:
    def test_a_new_producer_has_done_nothing(self) -> None:
        assert Driven().engine.stats() == ProducerStats()
        assert sp.Producer("s", client=Client()).stats() == sp.ProducerStats()
        assert sp.AsyncProducer("s").stats() == sp.ProducerStats()
        assert Statistics().mean == 0.0

    def test_what_is_on_its_way_is_pending(self) -> None:
        driven = Driven(ONE)
        driven.put(1, "kk", b"12345")

        stats = driven.engine.stats()
        assert (stats.user_records_received, stats.user_records_pending, stats.user_records_data_pending) == (1, 1, 7)
        assert stats.user_records_put == 0

    def test_what_is_stored_is_put(self) -> None:
        driven = Driven(ONE)
        driven.put(1, data=b"12345")
        driven.now += 0.05
        driven.put(2, data=b"123")
        put = driven.until_put()
        sent_after = driven.now - 100.0
        driven.now += 0.25
        driven.stored(put)

        stats = driven.engine.stats()
        assert (stats.user_records_received, stats.user_records_put, stats.user_records_pending) == (2, 2, 0)
        assert (stats.user_records_data_put, stats.user_records_data_pending) == (8, 0)
        assert stats.kinesis_records_put == 1
        assert stats.kinesis_records_data_put == len(put.request.records[0].data)
        assert stats.user_records_failed == stats.all_errors == 0
        assert stats.request_time == Statistics(1, *approximately(0.25))
        assert stats.buffering_time == Statistics(1, *approximately(sent_after))
        assert stats.retries_per_record == Statistics(1, 0, 0, 0)
        assert stats.user_records_per_kinesis_record == Statistics(1, 2, 2, 2)
        assert stats.user_records_per_put_records_request == Statistics(1, 2, 2, 2)
        assert stats.kinesis_records_per_put_records_request == Statistics(1, 1, 1, 1)

    def test_statistics_keep_the_least_and_the_most(self) -> None:
        driven = Driven(ONE, aggregation_enabled=False)
        for size in (3, 1, 2):
            for n in range(size):
                driven.put(f"{size}.{n}")
            driven.stored(driven.until_put())

        taken = driven.engine.stats().kinesis_records_per_put_records_request
        assert taken == Statistics(3, 6, 1, 3)
        assert taken.mean == 2.0

    def test_an_error_is_counted_once_for_each_kinesis_record_and_attempt(self) -> None:
        driven = Driven(ONE)
        for n in range(5):
            driven.put(n)
        driven.answered(driven.until_put(), [{"ErrorCode": THROTTLED, "ErrorMessage": ""}])
        driven.failed(driven.until_put(), "InternalFailure")
        driven.stored(driven.until_put())

        stats = driven.engine.stats()
        assert stats.errors_by_code == {THROTTLED: 1, "InternalFailure": 1}
        assert stats.all_errors == 2
        assert stats.retries_per_record == Statistics(1, 2, 2, 2)
        assert stats.user_records_put == 5
        assert stats.request_time.count == 3
        assert stats.buffering_time.count == 1  # a retry has waited for something else

    def test_what_no_retry_mends_has_failed(self) -> None:
        driven = Driven(ONE)
        driven.put(1)
        driven.put(2)
        driven.failed(driven.until_put(), "AccessDeniedException")

        stats = driven.engine.stats()
        assert (stats.user_records_failed, stats.user_record_expired, stats.user_records_put) == (2, 0, 0)
        assert stats.errors_by_code == {"AccessDeniedException": 1}
        assert stats.user_records_received == 2

    def test_what_expires_says_so_and_counts_only_its_calls_as_tries(self) -> None:
        driven = Driven(ONE, record_ttl=1.0)
        driven.put(1)
        driven.failed(driven.until_put(), "InternalFailure")
        driven.failed(driven.until_put(), "InternalFailure")
        driven.poll(after=2.0)

        stats = driven.engine.stats()
        assert (stats.user_records_failed, stats.user_record_expired) == (1, 1)
        assert stats.errors_by_code == {"InternalFailure": 2, "Expired": 1}
        assert stats.retries_per_record == Statistics(1, 1, 1, 1)

    def test_a_record_on_the_wrong_shard_is_an_error_and_received_once(self) -> None:
        driven = Driven(TWO, hash_keys="kpl")
        driven.put(1, hash_key=LOW)
        driven.put(2, hash_key="0")
        driven.stored(driven.until_put(), "high")
        driven.stored(driven.until_put(), "low")

        stats = driven.engine.stats()
        assert stats.errors_by_code == {"Wrong Shard": 1}
        assert (stats.user_records_received, stats.user_records_put) == (2, 2)
        assert stats.kinesis_records_put == stats.retries_per_record.count
        assert stats.retries_per_record.minimum == 1
        assert stats.buffering_time.count == 1

    def test_a_response_of_another_length_is_an_error(self) -> None:
        driven = Driven(ONE)
        driven.put(1)
        driven.answered(driven.until_put(), [])

        stats = driven.engine.stats()
        assert stats.errors_by_code == {"Record Count Mismatch": 1}
        assert stats.user_records_failed == 1

    def test_a_snapshot_does_not_change(self) -> None:
        driven = Driven(ONE)
        before = driven.engine.stats()
        driven.put(1)
        driven.failed(driven.until_put(), "AccessDeniedException")

        assert before == ProducerStats()
        with pytest.raises(TypeError):
            driven.engine.stats().errors_by_code["x"] = 1  # type: ignore[index]

    def test_what_is_left_when_it_is_closed_has_failed(self) -> None:
        fake = FakeKinesis(streams={"s": 1})
        fake.script("put_records", error="InternalFailure", times=None)
        producer = sp.Producer("s", client=fake)
        producer.put("k", b"data")
        producer.close(0.05)

        stats = producer.stats()
        assert (stats.user_records_received, stats.user_records_failed, stats.user_records_pending) == (1, 1, 0)
        assert stats.user_records_data_pending == 0

    def test_an_answer_that_comes_after_the_close_changes_nothing(self) -> None:
        import threading

        asked, answer, before = threading.Event(), threading.Event(), set(threading.enumerate())

        def wait(_call: int, _records: list[dict[str, Any]]) -> None:
            asked.set()
            assert answer.wait(30)

        producer = sp.Producer("s", client=Client(wait))
        producer.put("k", b"data")
        assert asked.wait(30)
        producer.close(0.01)
        closed = producer.stats()
        answer.set()
        for thread in set(threading.enumerate()) - before:
            thread.join(30)

        assert producer.stats() == closed
        assert closed.user_records_failed == 1

    def test_what_is_left_when_an_asyncio_producer_is_closed_has_failed(self) -> None:
        fake = FakeKinesis(streams={"s": 1})
        fake.script("put_records", error="InternalFailure", times=None)

        async def main() -> ProducerStats:
            producer = sp.AsyncProducer("s", client=fake.aio)
            future = await producer.put("k", b"data")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await producer.close()
            assert isinstance(future.exception(), sp.DeliveryError)
            return producer.stats()

        stats = asyncio.run(main())
        assert (stats.user_records_received, stats.user_records_failed, stats.user_records_pending) == (1, 1, 0)


@pytest.fixture
def otel() -> Iterator[Any]:
    """A meter provider that keeps the KPL's names, and its reader."""
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.metrics.view import View

    reader = InMemoryMetricReader()
    views = [View(instrument_name=name.lower(), name=name) for name in METRIC_NAMES]
    provider = MeterProvider([reader], views=views)
    yield provider, reader
    provider.shutdown()


def points(reader: Any) -> dict[str, dict[frozenset[tuple[str, str]], Any]]:
    """{metric: {attributes: point}}"""
    data = reader.get_metrics_data()
    return {
        metric.name: {frozenset(point.attributes.items()): point for point in metric.data.data_points}
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def of(**attributes: str) -> frozenset[tuple[str, str]]:
    return frozenset(attributes.items())


class TestOpenTelemetry:
    def test_every_metric_of_the_kpl_is_there(self) -> None:
        levels = {name: level for name, (level, *_) in _INSTRUMENTS.items()}

        assert set(METRIC_NAMES) == SUMMARY | DETAILED
        assert levels == {**dict.fromkeys(SUMMARY, "summary"), **dict.fromkeys(DETAILED, "detailed")}

    def test_what_a_producer_does_is_metered(self, otel: Any) -> None:
        fake = FakeKinesis(streams={"events": 2}, clock=ManualClock())
        fake.script("put_records", records=lambda _index, _entry: THROTTLED)
        with sp.Producer("events", client=fake, meter_provider=otel[0]) as producer:
            for n in range(10):
                producer.put("k", b"data", LOW if n < 4 else HIGH)
            producer.flush(30)
            got = points(otel[1])
            stats = producer.stats()

        assert set(got) == (SUMMARY | DETAILED) - {"UserRecordExpired", "KeysAstray"}
        stream, low, high = (
            of(StreamName="events"),
            of(StreamName="events", ShardId="shardId-000000000000"),
            of(StreamName="events", ShardId="shardId-000000000001"),
        )
        assert {at: point.value for at, point in got["UserRecordsReceived"].items()} == {stream: 10}
        assert {at: point.value for at, point in got["UserRecordsPending"].items()} == {stream: 0}
        assert {at: point.value for at, point in got["UserRecordsPut"].items()} == {low: 4, high: 6}
        assert {at: point.value for at, point in got["UserRecordsDataPut"].items()} == {low: 16, high: 24}
        assert sum(point.value for point in got["KinesisRecordsPut"].values()) == stats.kinesis_records_put
        assert sum(point.value for point in got["KinesisRecordsDataPut"].values()) == stats.kinesis_records_data_put
        assert sum(point.value for point in got["AllErrors"].values()) == stats.all_errors > 0
        assert {dict(at)["ErrorCode"] for at in got["ErrorsByCode"]} == {THROTTLED}
        assert sum(point.count for point in got["RetriesPerRecord"].values()) == stats.kinesis_records_put
        assert sum(point.sum for point in got["RetriesPerRecord"].values()) == stats.retries_per_record.total
        assert got["RequestTime"][stream].count == stats.request_time.count
        assert got["RequestTime"][stream].sum == pytest.approx(1000 * stats.request_time.total)
        assert sum(point.sum for point in got["BufferingTime"].values()) == pytest.approx(
            1000 * stats.buffering_time.total
        )
        assert sum(point.sum for point in got["UserRecordsPerKinesisRecord"].values()) == 10
        for name in ("UserRecordsPerPutRecordsRequest", "KinesisRecordsPerPutRecordsRequest"):
            assert got[name][stream].count == stats.request_time.count

    def test_what_expires_is_metered(self, otel: Any) -> None:
        fake = FakeKinesis(streams={"s": 1})
        fake.script("put_records", error="InternalFailure", times=None)
        with sp.Producer("s", sp.ProducerConfig(record_ttl=0.1), client=fake, meter_provider=otel[0]) as producer:
            producer.put("k", b"data")

        ((_, point),) = points(otel[1])["UserRecordExpired"].items()
        assert point.value == 1

    def test_an_asyncio_producer_is_metered_too(self, otel: Any) -> None:
        fake = FakeKinesis(streams={"s": 1})

        async def main() -> None:
            async with sp.AsyncProducer("s", client=fake.aio, meter_provider=otel[0]) as producer:
                await producer.put("k", b"data")

        asyncio.run(main())

        assert sum(point.value for point in points(otel[1])["UserRecordsPut"].values()) == 1

    def test_producers_of_one_process_add_up_without_a_warning(
        self, otel: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            for name in ("a", "b", "b"):
                fake = FakeKinesis(streams={name: 1})
                with sp.Producer(name, client=fake, meter_provider=otel[0]) as producer:
                    producer.put("k", b"data")

        assert {at: point.value for at, point in points(otel[1])["UserRecordsReceived"].items()} == {
            of(StreamName="a"): 1,
            of(StreamName="b"): 2,
        }
        assert caplog.records == []

    @pytest.mark.parametrize(
        ("granularity", "attributes"),
        [
            ("global", of()),
            ("stream", of(StreamName="s")),
            ("shard", of(StreamName="s", ShardId="shardId-000000000000")),
        ],
    )
    def test_the_granularity_says_which_attributes_there_are(
        self, otel: Any, granularity: Any, attributes: frozenset[tuple[str, str]]
    ) -> None:
        config = sp.ProducerConfig(metrics_granularity=granularity)
        with sp.Producer("s", config, client=FakeKinesis(streams={"s": 1}), meter_provider=otel[0]) as producer:
            producer.put("k", b"data")

        assert set(points(otel[1])["UserRecordsPut"]) == {attributes}

    def test_a_stream_named_by_its_arn_has_its_name(self, otel: Any) -> None:
        report = instruments("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks", sp.ProducerConfig(), otel[0])
        assert report is not None
        report.add("UserRecordsPut", 1)

        assert set(points(otel[1])["UserRecordsPut"]) == {of(StreamName="clicks")}

    @pytest.mark.parametrize(("level", "names"), [("summary", SUMMARY), ("detailed", SUMMARY | DETAILED)])
    def test_the_level_says_which_metrics_there_are(self, otel: Any, level: Any, names: set[str]) -> None:
        report = instruments("s", sp.ProducerConfig(metrics_level=level), otel[0])
        assert report is not None
        for name, (_, kind, *_) in _INSTRUMENTS.items():
            if kind == "histogram":
                report.record(name, 1)
            else:
                report.add(name, 1)

        assert set(points(otel[1])) == names

    def test_without_metrics_there_is_none(self, otel: Any) -> None:
        assert instruments("s", sp.ProducerConfig(metrics_level="none"), otel[0]) is None

    def test_where_opentelemetry_is_not_installed_stats_still_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "opentelemetry", None)
        with sp.Producer("s", client=Client()) as producer:
            producer.put("k", b"data").result(30)

        assert instruments("s", sp.ProducerConfig()) is None
        assert producer.stats().user_records_put == 1

    def test_keys_astray_go_up_and_down(self) -> None:
        report = Mock()
        metrics = Metrics(report)
        for keys_astray in (0, 2, 2, 1, 0):
            metrics.pending(0, keys_astray)
        assert report.mock_calls == [call.add("KeysAstray", 2), call.add("KeysAstray", -1), call.add("KeysAstray", -1)]

    def test_units_are_those_of_opentelemetry(self) -> None:
        units = {unit for _, _, unit, _ in _INSTRUMENTS.values()}

        assert units == {"{record}", "{error}", "{retry}", "{key}", "By", "ms"}


def test_logs_name_no_payload_and_no_key(caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeKinesis(streams={"s": 1})
    fake.script("list_shards", error="InternalFailure")
    fake.script("describe_stream_summary", error="AccessDeniedException")
    fake.script("put_records", error="InternalFailure", times=None)
    with caplog.at_level(logging.DEBUG, "shardpack"):
        producer = sp.Producer("s", client=fake)
        producer.put("secret-key", b"secret-data", MAX_HASH_KEY)
        producer.close(0.2)

    assert len(caplog.records) >= 3
    for secret in ("secret", str(MAX_HASH_KEY)):
        assert secret not in caplog.text


@pytest.mark.parametrize("setting", ["hash_keys", "metrics_level", "metrics_granularity"])
def test_an_unknown_choice_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=rf"{setting} is 'x'; choose \".*\" or \""):
        sp.ProducerConfig(**{setting: "x"})  # type: ignore[arg-type]
