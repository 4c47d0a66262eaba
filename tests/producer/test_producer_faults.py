"""The producer against a real server whose every fault is of the test's making, one by one and all together."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import servers
from fault_proxy import FaultProxy, Faults
from fault_services import Kinesis, Quotas
from soak_producer import Soak, run
from stream_check import Resharder, Verdict, judge, read_stream

import shardpack as sp
from shardpack.producer import Delivery

PUTS = frozenset({"PutRecords"})
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with servers.kinesalite() as url:
        yield url


@pytest.fixture
def name(upstream: str) -> str:
    """A stream of the test's own, with two shards."""
    name = f"stream-{next(NUMBERS)}"
    servers.create_stream(servers.client("kinesis", upstream), name, 2)
    return name


def put_all(name: str, proxy: FaultProxy, soak: Soak) -> dict[int, Any]:
    timeout = soak.config.request_timeout
    client = servers.client("kinesis", proxy.url, read_timeout=timeout, max_pool_connections=26)
    futures = []
    with sp.Producer(name, soak.config, client=client) as producer:
        for number in range(soak.records):
            record = soak.record(number)
            futures.append(producer.put(record.partition_key, record.data, record.explicit_hash_key))
    return {number: future.exception(0) or future.result(0) for number, future in enumerate(futures)}


def verdict_of(name: str, upstream: str, proxy: FaultProxy, soak: Soak, outcomes: dict[int, Any]) -> Verdict:
    return judge(read_stream(servers.client("kinesis", upstream), name), outcomes, soak.record, proxy.lost)


# Small aggregates, so that there are calls enough for each fault to strike.
SMALL = sp.ProducerConfig(aggregation_max_size=2000, collection_max_count=20, max_connections=4)


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        ("reset_before", Faults(reset_before=0.4, operations=PUTS)),
        ("internal_failure", Faults(internal_failure=0.4, operations=PUTS)),
        ("throttle", Faults(throttle=0.4, operations=PUTS)),
        ("record_failure", Faults(record_failure=0.2)),
        (
            "internal_failure",
            Faults(internal_failure=1.0, operations=frozenset({"ListShards", "DescribeStreamSummary"})),
        ),
    ],
    ids=["reset before", "500", "throttled call", "failed records", "no shards"],
)
def test_what_stores_nothing_is_put_again_and_stored_once(kind: str, faults: Faults, upstream: str, name: str) -> None:
    soak = Soak(records=1000, keys=50, config=SMALL)
    with FaultProxy(upstream, Kinesis(Quotas.none()), faults) as proxy:
        outcomes = put_all(name, proxy, soak)

    verdict = verdict_of(name, upstream, proxy, soak, outcomes)
    assert verdict.is_sound
    assert proxy.counts[kind]
    assert (verdict.acknowledged, verdict.duplicates) == (1000, 0)


def test_a_shard_s_quota_throttles_some_records_of_a_call(upstream: str, name: str) -> None:
    soak = Soak(records=1000, keys=50, config=SMALL)  # of 500 kB: more than 200 aggregates, however fast they come

    def time_that_passes_by_refusals() -> float:
        return proxy.counts["record_throttled"] / 20

    service = Kinesis(Quotas(write_records=100), time_that_passes_by_refusals)
    with FaultProxy(upstream, service) as proxy:
        outcomes = put_all(name, proxy, soak)

    verdict = verdict_of(name, upstream, proxy, soak, outcomes)
    assert verdict.is_sound
    assert proxy.counts["record_throttled"]
    assert (verdict.acknowledged, verdict.duplicates) == (1000, 0)


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        ("reset_after", Faults(reset_after=1.0, at_most=5, operations=PUTS)),
        ("client_gone", Faults(stall=1.0, stall_seconds=1.0, at_most=5, operations=PUTS)),
    ],
)
def test_a_lost_answer_is_the_one_reason_for_duplicates(kind: str, faults: Faults, upstream: str, name: str) -> None:
    hangs_up = kind == "client_gone"  # else it must not, even where the machine has no time to answer it
    config = sp.ProducerConfig(
        aggregation_max_size=2000, max_connections=4, request_timeout=0.5 if hangs_up else 20.0, record_ttl=60.0
    )
    soak = Soak(records=1000, keys=50, config=config)
    with FaultProxy(upstream, Kinesis(Quotas.none()), faults) as proxy:
        outcomes = put_all(name, proxy, soak)

    verdict = verdict_of(name, upstream, proxy, soak, outcomes)
    assert verdict.is_sound
    assert verdict.acknowledged == 1000
    assert proxy.counts[kind] >= 5
    assert verdict.duplicates > 0
    assert set(verdict.explained) == {kind}


def test_a_wrong_number_of_results_fails_the_call_s_records(upstream: str, name: str) -> None:
    soak = Soak(records=1000, keys=50, config=SMALL)
    faults = Faults(wrong_count=1.0, at_most=2, operations=PUTS)
    with FaultProxy(upstream, Kinesis(Quotas.none()), faults) as proxy:
        outcomes = put_all(name, proxy, soak)

    verdict = verdict_of(name, upstream, proxy, soak, outcomes)
    failed = [outcome for outcome in outcomes.values() if isinstance(outcome, sp.DeliveryError)]
    assert verdict.is_sound
    assert verdict.failed == {"Record Count Mismatch": len(failed)}
    assert all(error.retriable for error in failed)
    assert 0 < len(failed) == verdict.failed_but_stored < 1000


@pytest.mark.parametrize(
    ("hash_keys", "reasons"),
    [("pinned", set()), ("kpl", {"unlisted_shard"})],  # shards come and go here faster than a list of them is answered
)
def test_a_reshard_alone_loses_nothing_and_what_is_pinned_is_stored_once(
    hash_keys: Literal["pinned", "kpl"], reasons: set[str], upstream: str, name: str
) -> None:
    config = sp.ProducerConfig(aggregation_max_size=5000, collection_max_count=10, hash_keys=hash_keys)
    soak = Soak(records=4000, keys=50, config=config)
    direct = servers.client("kinesis", upstream)
    with (
        FaultProxy(upstream, Kinesis(Quotas(write_bytes=500_000)), Faults(latency=0.05, latency_after=0.05)) as proxy,
        Resharder(direct, name, pause=0.02) as resharder,
    ):
        outcomes = put_all(name, proxy, soak)

    verdict = verdict_of(name, upstream, proxy, soak, outcomes)
    assert verdict.is_sound
    assert verdict.acknowledged == 4000
    assert set(verdict.explained) <= reasons
    assert verdict.duplicates == 0 or reasons
    assert resharder.counts["splits"] > 1
    assert resharder.counts["merges"] > 1


@pytest.mark.parametrize("hash_keys", ["pinned", "kpl"])
def test_one_call_at_a_time_keeps_a_partition_key_s_records_in_order(
    hash_keys: Literal["pinned", "kpl"], upstream: str, name: str
) -> None:
    config = sp.ProducerConfig(aggregation_max_size=5000, max_connections=1, hash_keys=hash_keys)
    soak = Soak(records=3000, keys=50, own_hash_keys=0, config=config)
    with FaultProxy(upstream, Kinesis(Quotas.none()), Faults(latency=0.02, latency_after=0.02)) as proxy:
        client = servers.client("kinesis", proxy.url)
        with sp.Producer(name, soak.config, client=client) as producer:
            while not proxy.calls["ListShards"]:  # until then, records go to any shard
                producer.put("first", b"").result(30)
            time.sleep(0.2)  # for the answer to arrive
            puts = [soak.record(number) for number in range(soak.records)]
            futures = [producer.put(record.partition_key, record.data) for record in puts]

    outcomes = {number: future.result(0) for number, future in enumerate(futures)}
    stored = (one for one in read_stream(servers.client("kinesis", upstream), name) if one.records[0].data)
    verdict = judge(stored, outcomes, soak.record, proxy.lost)
    assert verdict.is_sound
    assert verdict.overtaken == 0
    assert verdict.duplicates == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("hash_keys", "ordering", "route"),
    [("pinned", "none", "shard"), ("kpl", "none", "shard"), ("pinned", "key", "shard"), ("pinned", "none", "any")],
)
def test_the_soak_in_short(
    hash_keys: Literal["pinned", "kpl"], ordering: Literal["none", "key"], route: Literal["shard", "any"]
) -> None:
    """Also what CI runs of `make soak`."""
    config = sp.ProducerConfig(
        aggregation_max_size=5000,
        aggregation_max_count=20 if ordering == "key" else 4_294_967_295,  # for as many calls, and so as many faults
        collection_max_count=20,
        hash_keys=hash_keys,
        ordering=ordering,
        route=route,
        request_timeout=1,
        record_ttl=120,
    )
    faults = Faults(
        reset_before=0.05,
        reset_after=0.05,
        internal_failure=0.05,
        throttle=0.05,
        wrong_count=0.02,
        record_failure=0.02,
        latency=0.02,
        latency_after=0.02,
        stall=0.01,
        stall_seconds=1.5,
    )
    report = run(Soak(records=5000, keys=200, kills=1, pause=0.1, faults=faults, config=config))

    assert report.is_sound, str(report)
    kinds = {"reset_before", "reset_after", "internal_failure", "throttle", "record_failure"}
    assert len(kinds & set(report.faults)) >= 3, str(report)  # which ones is left to chance
    assert report.reshards["kills"] == 1
    assert report.reshards["splits"] > 1
    assert report.verdict.acknowledged > 4000, str(report)


@pytest.mark.usefixtures("aws_credentials")
def test_the_producer_for_asyncio_keeps_the_same_promise(upstream: str, name: str) -> None:
    pytest.importorskip("aiobotocore")
    soak = Soak(records=3000, keys=50, config=SMALL)
    faults = Faults(
        reset_before=0.05, reset_after=0.05, internal_failure=0.05, throttle=0.05, record_failure=0.02, latency=0.02
    )
    outcomes: dict[int, Delivery | BaseException] = {}

    async def main() -> None:
        async with sp.AsyncProducer(name, soak.config, region_name="us-east-1", endpoint_url=proxy.url) as producer:
            futures = []
            for number in range(soak.records):
                record = soak.record(number)
                futures.append(await producer.put(record.partition_key, record.data, record.explicit_hash_key))
        outcomes.update(enumerate(await asyncio.gather(*futures, return_exceptions=True)))

    with (
        FaultProxy(upstream, Kinesis(), faults) as proxy,
        Resharder(servers.client("kinesis", upstream), name, pause=0.05),
    ):
        asyncio.run(main())

    verdict = verdict_of(name, upstream, proxy, soak, outcomes)
    assert verdict.is_sound
    assert verdict.acknowledged == 3000
    assert set(verdict.explained) <= {"reset_after"}  # none, by chance
