"""The producer for threads: against a real local server, and against a client of our own where a call must go wrong."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from producer_client import Client, read_all

import shardpack as sp
from shardpack.limits import MAX_HASH_KEY
from shardpack.producer.shells.unfinished import PutMany

ENOUGH = (0.5, 5.0, 60.0)
"""Seconds for a record to be tried in: one after the other, because a busy machine needs more than others."""


def once(event: threading.Event) -> Callable[[int, list[dict[str, Any]]], None]:
    """Has calls wait for an event."""

    def wait(_call: int, _records: list[dict[str, Any]]) -> None:
        assert event.wait(30)

    return wait


@pytest.fixture(scope="module")
def kinesis() -> Iterator[tuple[Any, str]]:
    with servers.ministack() as url:
        yield servers.client("kinesis", url), url


def stream(kinesis: tuple[Any, str], name: str, shards: int) -> str:
    client, _ = kinesis
    client.create_stream(StreamName=name, ShardCount=shards)
    client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return name


@pytest.mark.parametrize("hash_keys", ["pinned", "kpl"])
def test_every_record_is_found_where_its_delivery_says(kinesis: tuple[Any, str], hash_keys: Any) -> None:
    client, url = kinesis
    name = stream(kinesis, f"all-{hash_keys}", 4)
    config = sp.ProducerConfig(hash_keys=hash_keys)
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in credentials.items():
            patch.setenv(variable, value)
        with sp.Producer(name, config, region_name="us-east-1", endpoint_url=url) as producer:
            futures = {
                b"%d" % n: producer.put(
                    f"k{n % 50}", b"%d" % n, str(MAX_HASH_KEY // 7 * (n % 7)) if n % 3 == 0 else None
                )
                for n in range(5000)
            }

    found = {r.data: (shard_id, r.position, r.partition_key) for shard_id, r in read_all(client, name)}
    assert found == {
        data: (future.result(0).shard_id, future.result(0).position, f"k{int(data) % 50}")
        for data, future in futures.items()
    }


def test_puts_from_many_threads_all_arrive(kinesis: tuple[Any, str]) -> None:
    client, _ = kinesis
    name = stream(kinesis, "threads", 3)
    with sp.Producer(name, client=client) as producer:
        threads = [
            threading.Thread(target=lambda t=t: [producer.put(f"k{n}", b"%d %d" % (t, n)) for n in range(500)])
            for t in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    records = [r for _, r in read_all(client, name)]
    assert {r.data for r in records} == {b"%d %d" % (t, n) for t in range(8) for n in range(500)}
    assert len(records) == 4000


def test_a_stream_that_does_not_exist_fails_the_record(kinesis: tuple[Any, str]) -> None:
    client, _ = kinesis
    with sp.Producer("nowhere", client=client) as producer:
        future = producer.put("k", b"data")
        error = future.exception(30)

    assert isinstance(error, sp.DeliveryError)
    assert not error.retriable
    assert error.records == (sp.UserRecord("k", b"data"),)
    assert error.attempts[0].error_code == "ResourceNotFoundException"


def test_an_endpoint_that_does_not_answer_is_tried_until_the_record_expires() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        for record_ttl in ENOUGH:
            config = sp.ProducerConfig(record_ttl=record_ttl)
            with sp.Producer("s", config, region_name="us-east-1", endpoint_url="http://127.0.0.1:9") as producer:
                error = producer.put("k", b"data").exception(2 * record_ttl + 30)
            assert isinstance(error, sp.DeliveryError)
            if len(error.attempts) > 1:
                break

    assert isinstance(error, sp.DeliveryError)
    assert error.retriable
    assert {attempt.error_code for attempt in error.attempts} == {"EndpointConnectionError", "Expired"}


def test_flush_returns_when_all_before_it_is_settled() -> None:
    client = Client()
    with sp.Producer("s", sp.ProducerConfig(record_max_buffered_time=60), client=client) as producer:
        futures = [producer.put("k", b"%d" % n) for n in range(1000)]
        producer.flush(30)

        assert all(future.done() for future in futures)
        assert client.received() == [b"%d" % n for n in range(1000)]


def test_flush_of_nothing_returns() -> None:
    with sp.Producer("s", client=Client()) as producer:
        producer.flush(0)
        for _ in range(20):
            producer.put("k", b"").result(30)
            producer.flush(30)
            producer.flush(0)


def test_flush_gives_up_after_its_timeout() -> None:
    go = threading.Event()
    with sp.Producer("s", client=Client(once(go))) as producer:
        producer.put("k", b"data")
        with pytest.raises(TimeoutError, match="1 user records"):
            producer.flush(0.05)
        go.set()


def test_leaving_with_work_in_flight_loses_nothing() -> None:
    throttled = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": ""}
    client = Client(lambda call, records: {"Records": [throttled for _ in records]} if call % 2 else None)
    with sp.Producer("s", sp.ProducerConfig(aggregation_max_count=100), client=client) as producer:
        futures = [producer.put(f"k{n}", b"%d" % n) for n in range(500)]

    assert sorted(client.received()) == sorted(b"%d" % n for n in range(500))
    assert all(future.result(0).sequence_number for future in futures)


def test_after_a_close_nothing_is_taken() -> None:
    producer = sp.Producer("s", client=Client())
    producer.put("k", b"data")
    producer.close()
    producer.close()

    with pytest.raises(RuntimeError, match="closed"):
        producer.put("k", b"data")


def test_close_with_a_timeout_fails_what_is_left() -> None:
    go = threading.Event()
    producer = sp.Producer("s", client=Client(once(go)))
    future = producer.put("k", b"data")
    producer.close(0.05)
    go.set()

    error = future.exception(0)
    assert isinstance(error, sp.DeliveryError)
    assert error.records == (sp.UserRecord("k", b"data"),)


def test_threads_end_with_the_producer() -> None:
    before = set(threading.enumerate())
    with sp.Producer("s", client=Client()) as producer:
        producer.put("k", b"data").result(30)
        started = set(threading.enumerate()) - before
        assert started

    assert not started & set(threading.enumerate())


@pytest.mark.parametrize(
    "limits", [{"max_outstanding_records": 10}, {"max_outstanding_bytes": 60}], ids=["records", "bytes"]
)
def test_put_waits_when_there_is_no_room(limits: dict[str, Any]) -> None:
    go = threading.Event()
    client = Client(once(go))
    with sp.Producer("s", sp.ProducerConfig(**limits), client=client) as producer:
        for _ in range(10):
            producer.put("k", b"12345")
        with pytest.raises(sp.BufferFullError) as caught:
            producer.put("k", b"12345", block=False)
        with pytest.raises(sp.BufferFullError):
            producer.put("k", b"12345", timeout=0.01)
        threading.Timer(0.05, go.set).start()
        producer.put("k", b"last")

    assert caught.value.records == (sp.UserRecord("k", b"12345"),)
    assert sorted(client.received()) == [b"12345"] * 10 + [b"last"]


def test_a_record_larger_than_the_buffer_still_goes() -> None:
    client = Client()
    with sp.Producer("s", sp.ProducerConfig(max_outstanding_bytes=10), client=client) as producer:
        producer.put("k", b"x" * 1000)

    assert client.received() == [b"x" * 1000]


@pytest.mark.parametrize("arguments", [("", b""), ("k", "text"), ("k", b"", "no number")])
def test_bad_input_is_refused_and_disturbs_nothing(arguments: Any) -> None:
    client = Client()
    with sp.Producer("s", client=client) as producer:
        producer.put("k", b"good")
        with pytest.raises(sp.InvalidRecordError):
            producer.put(*arguments)

    assert client.received() == [b"good"]


def test_a_future_s_callback_may_put_but_not_wait() -> None:
    client = Client()
    errors: list[Exception] = []
    with sp.Producer("s", client=client) as producer:

        def again(_future: Any) -> None:
            producer.put("k", b"from the callback")
            for wait in (producer.flush, producer.close):
                try:
                    wait()
                except RuntimeError as error:
                    errors.append(error)

        producer.put("k", b"first").add_done_callback(again)
        producer.flush(30)

    assert len(errors) == 2
    assert client.received() == [b"first", b"from the callback"]


def test_a_cancelled_future_harms_nobody() -> None:
    client = Client()
    with sp.Producer("s", client=client) as producer:
        producer.put("k", b"1").cancel()
        second = producer.put("k", b"2")

    assert second.result(0).shard_id == "s"
    assert sorted(client.received()) == [b"1", b"2"]  # in one aggregate, unless the shards were listed in between


def test_an_error_of_its_own_reaches_those_who_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _arguments: None)
    producer = sp.Producer("s", client=Client(lambda *_: {"Records": [{"ShardId": None}]}))
    with caplog.at_level(logging.CRITICAL, "shardpack.producer"):
        monkeypatch.setattr(producer._engine, "poll", lambda _now: 1 / 0)
        error = producer.put("k", b"data").exception(30)

    assert isinstance(error, sp.DeliveryError)
    producer.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_it_may_be_made_before_a_fork_and_started_after() -> None:
    script = """
import os, sys, threading
sys.path[:0] = [sys.argv[1]]
from producer_client import Client
import shardpack as sp
started = sp.Producer("s", client=Client())
unstarted = sp.Producer("s", client=Client())
started.put("k", b"data").result(30)
if os.fork() == 0:
    with unstarted:
        unstarted.put("k", b"data").result(30)
    try:
        started.put("k", b"data")
    except RuntimeError as error:
        assert "after a fork" in str(error)
        started.close()
        os._exit(7)
    os._exit(1)
_, status = os.wait()
assert os.waitstatus_to_exitcode(status) == 7
started.close()
print("both fine")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parents[1] / "tools")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == "both fine\n", done.stderr


def test_an_exit_without_close_says_what_is_not_delivered() -> None:
    script = """
import sys, time
sys.path[:0] = [sys.argv[1]]
from producer_client import Client
import shardpack as sp
producer = sp.Producer("s", sp.ProducerConfig(record_max_buffered_time=60), client=Client())
producer.put("k", b"secret")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parents[1] / "tools")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "1 user records not delivered" in done.stderr
    assert "secret" not in done.stderr


class TestPutMany:
    def test_deliveries_come_in_the_order_given(self, kinesis: tuple[Any, str]) -> None:
        name = stream(kinesis, "many", 4)
        batches = [[(f"k{n % 50}", b"%d" % n) for n in range(start, start + 700)] for start in range(0, 3500, 700)]
        with sp.Producer(name, client=kinesis[0]) as producer:
            futures = [producer.put_many(batch) for batch in batches]

        found = {(shard_id, record.position): record.data for shard_id, record in read_all(kinesis[0], name)}
        delivered = [(d.shard_id, d.position) for future in futures for d in future.result(0)]
        assert [found[place] for place in delivered] == [data for batch in batches for _, data in batch]
        assert len(found) == 3500

    def test_takes_what_pack_takes(self) -> None:
        client = Client()
        tagged = sp.UserRecord("k", b"4", None, (("tag", None),))
        given: list[Any] = [("k", b"1"), ("k", bytearray(b"2"), None), ("k", b"3", 7), tagged]
        with sp.Producer("s", client=client) as producer:
            future = producer.put_many(iter(given))
        assert len(future.result(0)) == 4
        assert sorted(client.received()) == [b"1", b"2", b"3", b"4"]
        assert [record.tags for record in sp.unpack(client.stored) if record.data == b"4"] == [(("tag", None),)]

    def test_nothing_is_a_batch_too(self) -> None:
        with sp.Producer("s", client=Client()) as producer:
            assert producer.put_many([]).result(0) == []

    def test_one_that_is_too_large_for_an_aggregate_goes_alone(self) -> None:
        client = Client()
        sizes = [10, 60_000, 10, 10, 60_000, 10]
        with sp.Producer("s", client=client) as producer:
            future = producer.put_many([("k", bytes(size)) for size in sizes])
        assert [delivery.aggregated for delivery in future.result(0)] == [False, False, True, True, False, False]
        assert [len(data) for data in client.received()] == sizes

    @pytest.mark.parametrize(
        ("bad", "error"),
        [(("", b""), sp.InvalidRecordError), (("k", b"x" * 2**20), sp.RecordTooLargeError)],
    )
    def test_one_that_is_bad_means_that_none_is_taken(self, bad: tuple[str, bytes], error: type[Exception]) -> None:
        client = Client()
        with sp.Producer("s", client=client) as producer:
            producer.put("k", b"first").result(30)  # by then the stream's limit is known
            with pytest.raises(error):
                producer.put_many([("k", b"good"), bad, ("k", b"good too")])
        assert client.received() == [b"first"]

    def test_those_that_fail_come_with_what_became_of_all(self) -> None:
        down = [b"3", b"4", b"5"]

        def answer(_call: int, records: list[dict[str, Any]]) -> dict[str, Any] | None:
            if any(record.data in down for record in sp.unpack(records)):
                return {"Records": [{"ErrorCode": "InternalFailure", "ErrorMessage": "no"} for _ in records]}
            return None

        for record_ttl in ENOUGH:
            client = Client(answer)
            config = sp.ProducerConfig(aggregation_max_count=3, record_ttl=record_ttl, collection_max_count=1)
            with sp.Producer("s", config, client=client) as producer:
                future = producer.put_many([("k", b"%d" % n) for n in range(8)])
            error = future.exception(0)
            if len(client.received()) == 5:
                break
        assert isinstance(error, sp.BatchDeliveryError)
        assert [record.data for record in error.records] == down
        assert [isinstance(outcome, sp.Delivery) for outcome in error.outcomes] == [True] * 3 + [False] * 3 + [True] * 2
        assert [outcome.records[0].data for outcome in error.outcomes[3:6]] == down
        assert error.retriable
        assert error.attempts == error.outcomes[3].attempts
        assert "3 of 8 user records were not delivered; the first: Expired" in str(error)
        assert sorted(client.received()) == [b"0", b"1", b"2", b"6", b"7"]

    @pytest.mark.parametrize(
        "limits", [{"max_outstanding_records": 10}, {"max_outstanding_bytes": 71}], ids=["records", "bytes"]
    )
    def test_waits_for_room_for_all(self, limits: dict[str, Any]) -> None:
        go = threading.Event()
        client = Client(once(go))
        with sp.Producer("s", sp.ProducerConfig(**limits), client=client) as producer:
            producer.put_many([("k", b"before")] * 6)
            with pytest.raises(sp.BufferFullError) as caught:
                producer.put_many([("k", b"no room")] * 5, block=False)
            producer.put_many([("k", b"room")] * 4, block=False)
            threading.Timer(0.05, go.set).start()
            producer.put_many([("k", b"more than all")] * 12, timeout=30)
        assert len(caught.value.records) == 5
        received = client.received()  # calls that are under way together may overtake each other
        assert sorted(received[:10]) == [b"before"] * 6 + [b"room"] * 4
        assert received[10:] == [b"more than all"] * 12

    def test_flush_waits_for_all_of_it(self) -> None:
        with sp.Producer("s", sp.ProducerConfig(aggregation_max_count=7), client=Client()) as producer:
            future = producer.put_many([(f"k{n}", b"") for n in range(1000)])
            producer.flush(30)
            assert future.done()

    def test_closing_tells_what_was_delivered_by_then(self) -> None:
        go = threading.Event()
        first = threading.Event()

        def hold(call: int, _records: list[dict[str, Any]]) -> None:
            if call > 1:
                first.set()
                assert go.wait(30)

        config = sp.ProducerConfig(aggregation_max_count=2, collection_max_count=1, max_connections=1)
        producer = sp.Producer("s", config, client=Client(hold))
        future = producer.put_many([("k", b"%d" % n) for n in range(6)])
        assert first.wait(30)
        producer.close(0.2)
        go.set()
        error = future.exception(0)
        assert isinstance(error, sp.BatchDeliveryError)
        assert [isinstance(outcome, sp.Delivery) for outcome in error.outcomes] == [True] * 2 + [False] * 4
        assert [record.data for record in error.records] == [b"2", b"3", b"4", b"5"]

    def test_a_cancelled_future_harms_nobody(self) -> None:
        client = Client()
        with sp.Producer("s", client=client) as producer:
            producer.put_many([("k", b"1"), ("k", b"2")]).cancel()
            last = producer.put_many([("k", b"3")])
        assert len(last.result(0)) == 1
        assert sorted(client.received()) == [b"1", b"2", b"3"]

    def test_some_may_be_worth_another_try(self) -> None:
        records = [sp.UserRecord("k", b"1"), sp.UserRecord("k", b"2")]
        put = PutMany(records, None, 4, 0.0)
        for index, retriable in enumerate((False, True)):
            error = sp.DeliveryError("no", records=(records[index],), retriable=retriable)
            assert put.take([index], [error]) == (index == 1)
        assert put.outcome().retriable
        assert put.outcome().records == records
