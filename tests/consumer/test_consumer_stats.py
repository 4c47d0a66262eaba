"""What a consumer says of itself: statistics and metrics under the KCL's names, and whether it is healthy."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from consumer_bench import Stream, shard
from consumer_setup import consumer, fake
from led_leases import LedLeases

import shardpack as sp
from shardpack.consumer import ConsumerConfig, ConsumerStats, FleetConfig, Lease
from shardpack.consumer.core.actions import GetRecords, ListLeases
from shardpack.consumer.core.fleet.actions import AssignLease
from shardpack.leases.fleet.states import WorkerStats
from shardpack.leases.lease import HandsOver

FAILOVER = ConsumerConfig().failover_time


def test_what_was_handed_out_is_counted() -> None:
    stream = Stream(2)
    stream.put(b"one", b"three")
    worker = stream.worker()
    worker.read(FAILOVER)
    stats = worker.engine.stats
    assert (stats.records_processed, stats.data_bytes_processed) == (2, 8)
    assert (stats.current_leases, stats.taken_leases, stats.total_leases, stats.num_workers) == (2, 2, 2, 1)
    assert (stats.get_records_time.count, stats.renew_lease_time.count > 0) == (len(worker.times(GetRecords)), True)
    assert set(stats.millis_behind_latest.values()) == {0}


def test_a_lease_that_was_taken_by_another_is_lost_and_one_handed_over_is_not() -> None:
    stream = Stream(2)
    worker = stream.worker()
    worker.run()
    assert stream.leases.take(stream.lease(0), "thief")
    assert isinstance(stream.leases, HandsOver)
    assert stream.leases.ask_for(stream.lease(1), "asker")
    worker.run(FAILOVER / 2)
    stats = worker.engine.stats
    assert (stats.current_leases, stats.lost_leases) == (0, 1)


def test_what_is_found_at_the_look_at_all_leases_is_told() -> None:
    stream = Stream(4)
    for number in range(3):
        stream.leases.create(Lease(shard(number)))
        assert stream.leases.take(stream.lease(number), "dead")
    worker = stream.worker(max_leases_for_worker=1)
    worker.run(1)
    stats = worker.engine.stats
    assert (stats.total_leases, stats.num_workers, stats.expired_leases, stats.lease_spillover) == (4, 2, 0, 1)
    worker.run(FAILOVER + 1)
    assert worker.engine.stats.expired_leases == 3
    assert worker.engine.stats.very_old_leases == 0
    worker.run(4 * FAILOVER)
    assert worker.engine.stats.very_old_leases == 3
    assert worker.engine.stats.leases_to_take == 0, "it holds as many as it may"
    assert worker.engine.stats.list_leases_time.count == len(worker.times(ListLeases))


def test_who_leads_counts_what_the_kcl_s_leader_counts() -> None:
    stream = Stream(4)
    stream.leases = leases = LedLeases(stream.clock.now)
    settings: Any = {"lease_assignment": "leader", "fleet": FleetConfig(strategy="lease_count_based")}
    leads = stream.worker("leads", **settings)
    for _ in range(40):
        leads.run(1)
    assert leads.engine.stats.is_leader
    assert leads.engine.stats.leases_reassigned == 0
    leases.fleet.reports["broken"] = WorkerStats("broken", int(stream.clock.now()), {"C": (1.0,)}, {})
    leases.fleet.reports["blind"] = WorkerStats("blind", int(stream.clock.now()), {"C": (-1.0,)}, {"C": (100.0,)})
    other = stream.worker("other", **settings)
    leads.fate = lambda action: sp.LeaseStoreError("no", retriable=True) if isinstance(action, AssignLease) else None
    for _ in range(40):
        other.run(1)
        leads.run(1)
    failed = leads.engine.stats.failed_assignments
    assert failed >= 2
    assert failed == len(leads.times(AssignLease)) - 4, "four were given when it began"
    leads.fate = lambda _: None
    for _ in range(60):
        other.run(1)
        leads.run(1)
    stats = leads.engine.stats
    assert (len(leads.held), len(other.held)) == (2, 2)
    assert stats.leases_reassigned == failed + 2
    assert (stats.workers_with_invalid_entry, stats.workers_with_failing_worker_metric) == (1, 1)
    assert not other.engine.stats.is_leader
    leads.engine.close()
    for _ in range(20):
        leads.run(1)
        other.run(1)
    assert not leads.engine.stats.is_leader
    assert leads.engine.stats.workers_with_invalid_entry == 0
    assert other.engine.stats.is_leader


def test_what_is_logged_has_the_shard_and_the_position_as_fields(caplog: pytest.LogCaptureFixture) -> None:
    stream = Stream(1)
    stream.put(b"a")
    with caplog.at_level(logging.INFO, "shardpack.consumer"):
        assert stream.worker("first").read(1) == [b"a"]
        assert stream.leases.take(stream.lease(), "nobody")
        stream.worker("second").run(3 * FAILOVER)
    reading = [record for record in caplog.records if "reading" in record.getMessage()]
    assert [vars(record)["shard_id"] for record in reading] == [shard(0)] * 2
    assert [vars(record)["sequence_number"] for record in reading] == [
        "TRIM_HORIZON",
        stream.lease().checkpoint.sequence_number,
    ]


def test_what_is_given_up_is_held_no_more() -> None:
    worker = Stream(2).worker()
    worker.run()
    assert worker.engine.stats.current_leases == 2
    worker.engine.abandon()
    assert worker.engine.stats.current_leases == 0


def test_failed_calls_are_counted() -> None:
    stream = Stream(1)
    worker = stream.worker()
    worker.fate = lambda action: OSError("lost") if isinstance(action, GetRecords) else None
    worker.run(1)
    assert worker.engine.stats.get_records_failures == len(worker.times(GetRecords)) > 0


def test_a_worker_that_does_not_renew_is_not_healthy() -> None:
    stream = Stream(1)
    worker = stream.worker()
    worker.run()
    assert worker.engine.is_healthy(stream.now)
    assert not worker.engine.is_healthy(stream.now + FAILOVER)


def test_a_slow_handler_keeps_its_lease_for_so_long_and_no_longer() -> None:
    stream = Stream(1)
    stream.put(b"a")
    worker, other = stream.worker(longest_batch=100.0), stream.worker("other")
    worker.run(2)
    delivered = worker.batch(done=False)
    assert delivered is not None
    key = delivered.hold.lease.key
    for _ in range(45):  # two seconds each
        worker.run(1)
        other.run(1)
        assert worker.engine.is_healthy(stream.now)
    assert stream.lease().owner == "me", "its heart beats on"

    for _ in range(4 * int(FAILOVER)):
        worker.run(1)
        other.run(1)
    assert not worker.engine.is_healthy(stream.now)
    assert key in other.held
    assert delivered.records[0].data in other.read(1), "nothing was checkpointed"
    with pytest.raises(sp.LeaseLostError):
        worker.engine.checkpoint(delivered.hold, delivered.records[0].position or sp.Position("0"), None)
    worker.engine.done(delivered.hold)
    assert worker.engine.is_healthy(stream.now)


def test_a_worker_alone_does_not_take_back_what_its_application_has_not_done() -> None:
    stream = Stream(1)
    stream.put(b"a")
    worker = stream.worker(longest_batch=20.0)
    worker.run(2)
    delivered = worker.batch(done=False)
    assert delivered is not None
    worker.run(60)
    assert worker.held == set()
    assert stream.lease().owner is None
    worker.engine.done(delivered.hold)
    assert worker.read(2 * FAILOVER) == [b"a"]


def test_a_reader_that_hangs_is_not_healthy() -> None:
    stream = Stream(1)
    worker = stream.worker()
    worker.holds_back = lambda action: isinstance(action, GetRecords)
    worker.run(60)
    assert worker.engine.is_healthy(stream.now)
    worker.run(20)
    assert not worker.engine.is_healthy(stream.now)


def test_a_consumer_says_it_too() -> None:
    with consumer(fake(1, b"a", b"bc")) as one:
        assert one.is_healthy()
        assert one.stats == ConsumerStats()
        while (batch := one.next_batch(10)) is not None and one.stats.records_processed < 2:
            batch.checkpoint()
        assert one.is_healthy()
        assert (one.stats.records_processed, one.stats.data_bytes_processed) == (2, 3)
    assert not one.is_healthy()
    assert one.stats.records_processed == 2


@pytest.mark.parametrize("level", ["none", "summary", "detailed"])
def test_opentelemetry_gets_the_kcl_s_names(level: Any) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.metrics")
    export = pytest.importorskip("opentelemetry.sdk.metrics.export")
    reader = export.InMemoryMetricReader()
    provider = sdk.MeterProvider([reader])
    config = ConsumerConfig(metrics_level=level)
    with consumer(fake(1, b"a"), config=config, meter_provider=provider) as one:
        assert one.next_batch(10) is not None
    data = reader.get_metrics_data()
    metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
    points = {metric.name.lower(): metric.data.data_points[0] for metric in metrics}
    if level == "none":
        assert not points
        return
    assert points["recordsprocessed"].value == 1
    assert points["recordsprocessed"].attributes == {"StreamName": "s", "ShardId": "shardId-000000000000"}
    assert ("kinesisdatafetcher.getrecords.time" in points) == (level == "detailed")


@pytest.mark.parametrize("granularity", ["global", "stream", "shard"])
def test_what_has_no_shard_is_summed_up(granularity: Any) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.metrics")
    export = pytest.importorskip("opentelemetry.sdk.metrics.export")
    reader = export.InMemoryMetricReader()
    config = ConsumerConfig(metrics_granularity=granularity)
    numbers = [b"%d" % number for number in range(20)]
    with consumer(fake(2, *numbers), config=config, meter_provider=sdk.MeterProvider([reader])) as one:
        while one.stats.records_processed < len(numbers):
            assert one.next_batch(10) is not None
    (metrics,) = (s.metrics for r in reader.get_metrics_data().resource_metrics for s in r.scope_metrics)
    (processed,) = (metric for metric in metrics if metric.name.lower() == "recordsprocessed")
    counted = {tuple(sorted(point.attributes.items())): point.value for point in processed.data.data_points}
    assert sum(counted.values()) == len(numbers)
    stream = ("StreamName", "s")
    assert (
        sorted(counted)
        == {
            "global": [()],
            "stream": [(stream,)],
            "shard": [(("ShardId", shard(number)), stream) for number in (0, 1)],
        }[granularity]
    )


@pytest.mark.parametrize("name", ["metrics_level", "metrics_granularity"])
def test_unknown_settings_are_refused(name: str) -> None:
    settings: dict[str, Any] = {name: "all"}
    with pytest.raises(ValueError, match=f"{name} is 'all'"):
        ConsumerConfig(**settings)
