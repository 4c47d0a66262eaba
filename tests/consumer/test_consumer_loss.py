"""Records that expired before they were read: told with their times, and never without a reason."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from consumer_bench import START, STREAM, Stream, Worker, shard

import shardpack as sp
from shardpack.consumer import DataLoss
from shardpack.consumer.core.actions import DescribeStream, GetRecords
from shardpack.testing import FakeKinesis, ManualClock

HOUR = 3600.0


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def ended(worker: Worker) -> None:
    worker.engine.close()
    worker.run(5)


def losses(worker: Worker) -> list[DataLoss]:
    return list(worker.engine.stats.data_losses)


@pytest.fixture
def stream() -> Stream:
    """One record is read and done, and a second is put when nobody reads."""
    stream = Stream(1)
    stream.put(b"done")
    worker = stream.worker("before")
    assert worker.read(10) == [b"done"]
    ended(worker)
    stream.clock.advance(60)
    stream.put(b"unread")
    return stream


def test_what_expired_while_no_worker_ran_is_told_with_its_times(
    stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    left = stream.now - 60
    stream.clock.advance(30 * HOUR)
    stream.put(b"new")
    came = stream.now
    worker = stream.worker()
    with caplog.at_level(logging.WARNING, "shardpack.consumer"):
        worker.run(2)
        delivered = worker.batch()
    assert delivered is not None
    (loss,) = delivered.losses
    assert losses(worker) == [loss]
    assert loss.shard_id == shard(0)
    assert loss.after > sp.Position.LATEST
    assert loss.since is not None
    assert loss.until is not None
    assert abs((loss.since - moment(left)).total_seconds()) < 10, "until when the last worker had read all"
    assert moment(left) < loss.until <= moment(came - 24 * HOUR + 3), "what came later is still there"
    assert [str(loss) in record.getMessage() for record in caplog.records] == [True]
    assert "has expired unread" in str(loss)


def test_it_is_told_once(stream: Stream) -> None:
    stream.clock.advance(30 * HOUR)
    stream.put(b"new")
    worker = stream.worker()
    assert worker.read(10) == [b"new"]
    stream.put(b"newer")
    assert worker.read(10) == [b"newer"]
    ended(worker)
    again = stream.worker("again")
    assert again.read(10) == []
    assert len(losses(worker)) == 1
    assert losses(again) == []


def test_what_no_application_was_told_is_told_by_the_next_worker(stream: Stream) -> None:
    before = stream.lease().done_until
    stream.clock.advance(30 * HOUR)
    worker = stream.worker()
    worker.run(20)  # it finds nothing at all, and its application asks for nothing
    assert len(losses(worker)) == 1
    assert stream.lease().done_until == before
    ended(worker)
    stream.put(b"new")
    after = stream.worker("after")
    after.run(2)
    delivered = after.batch()
    assert delivered is not None
    assert len(delivered.losses) == 1


def test_nothing_is_told_while_the_record_of_the_checkpoint_is_there(stream: Stream) -> None:
    stream.clock.advance(23 * HOUR)
    worker = stream.worker()
    assert worker.read(10) == [b"unread"]
    assert losses(worker) == []
    assert not worker.times(DescribeStream)


def test_a_quiet_shard_has_lost_nothing() -> None:
    stream = Stream(1)
    stream.put(b"done")
    worker = stream.worker("before")
    assert worker.read(10) == [b"done"]
    for _ in range(10):  # the record expires, but somebody has always looked
        worker.run(0)
        stream.clock.advance(5 * HOUR)
        worker.run(30)
        worker.read(1)
    ended(worker)
    stream.clock.advance(5 * HOUR)
    stream.put(b"new")
    after = stream.worker("after")
    assert after.read(10) == [b"new"]
    assert losses(worker) == losses(after) == []


@pytest.mark.parametrize(("hours", "count"), [(24, 1), (48, 0), (None, 1)])
def test_the_stream_is_asked_how_long_it_keeps_records(stream: Stream, hours: int | None, count: int) -> None:
    stream.clock.advance(30 * HOUR)
    stream.put(b"new")
    worker = stream.worker()
    denied = PermissionError("AccessDeniedException")
    answer: Any = denied if hours is None else {"RetentionPeriodHours": hours}
    worker.fate = lambda action: answer if isinstance(action, DescribeStream) else None
    assert worker.read(10) == [b"new"]
    assert len(losses(worker)) == count
    assert len(worker.times(DescribeStream)) == 1
    assert worker.engine.fatal is None


def test_no_record_after_the_gap_is_given_before_the_stream_has_answered(stream: Stream) -> None:
    stream.clock.advance(30 * HOUR)
    stream.put(b"new")
    worker = stream.worker()
    worker.holds_back = lambda action: isinstance(action, DescribeStream)
    assert worker.read(5) == []
    worker.release()
    assert worker.read(5) == [b"new"]


def test_a_lease_without_a_time_is_told_by_the_record_that_is_gone(stream: Stream) -> None:
    (lease,) = stream.leases.list()
    stream.leases.delete(lease)
    stream.leases.create(dataclasses.replace(lease, done_until=None, origin=None))  # as the KCL writes it
    stream.clock.advance(30 * HOUR)
    stream.put(b"new")
    worker = stream.worker()
    assert worker.read(10) == [b"new"]
    (loss,) = losses(worker)
    assert loss.since is None
    assert "a moment not known" in str(loss)


def test_what_expired_while_a_worker_was_too_slow(stream: Stream) -> None:
    worker = stream.worker(max_records=1, prefetch_max_bytes=1)
    stream.put(b"late")
    worker.run(2)
    assert worker.batch() is None, "the record of the checkpoint comes first, and is done"
    worker.run(2)
    delivered = worker.batch(done=False)
    assert delivered is not None
    assert delivered.records[0].data == b"unread"
    stream.clock.advance(30 * HOUR)
    stream.put(b"new")
    worker.engine.done(delivered.hold)
    assert b"new" in worker.read(40)
    (loss,) = losses(worker)
    assert loss.since is not None


def test_a_shard_that_is_gone_with_what_was_in_it(stream: Stream) -> None:
    stream.kinesis.split_shard(**STREAM, ShardToSplit=shard(0), NewStartingHashKey=str(2**127))
    stream.clock.advance(30 * HOUR)
    worker = stream.worker()
    gone = stream.kinesis.exceptions.ResourceNotFoundException({"Error": {"Code": "ResourceNotFoundException"}}, "")
    worker.fate = lambda action: gone if getattr(action, "shard_id", None) == shard(0) else None
    worker.read(60)
    (loss,) = losses(worker)
    assert (loss.shard_id, loss.until) == (shard(0), None)
    assert "its end" in str(loss)
    assert stream.lease(0).checkpoint == sp.Position.SHARD_END, "its children are read"


def test_everything_until_a_moment_is_done_as_the_lease_says() -> None:
    stream = Stream(1)
    stream.put(b"a")
    stream.clock.advance(100)
    stream.put(b"b")
    worker = stream.worker()
    worker.run(2)
    delivered = worker.batch(done=False)
    assert delivered is not None
    worker.engine.checkpoint(delivered.hold, delivered.records[0].position or sp.Position("0"), None)
    worker.run(5)
    assert stream.lease().done_until == int(START), "when the first record of the batch arrived"
    worker.engine.checkpoint(delivered.hold, delivered.records[1].position or sp.Position("0"), None)
    worker.engine.done(delivered.hold)
    worker.run(10)
    assert abs((stream.lease().done_until or 0) - START - stream.now) < 10, "it reads on, and there is nothing"
    stream.put(b"c")
    worker.holds_back = lambda action: isinstance(action, GetRecords)
    worker.run(1)
    before = stream.lease().done_until
    worker.run(8)
    assert stream.lease().done_until == before, "nothing is known of what came since"


@pytest.fixture
def kinesis() -> tuple[FakeKinesis, sp.MemoryLeases]:
    """A stream of two shards, of one of which something expired unread; the fake's time is today's."""
    clock = ManualClock((datetime.now(UTC) - timedelta(hours=30)).timestamp())
    kinesis, leases = FakeKinesis(streams={"s": 2}, clock=clock), sp.MemoryLeases()
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"done", ExplicitHashKey="0")
    with sp.Consumer("s", leases=leases, client=kinesis) as consumer:
        for batch in consumer:
            batch.checkpoint()
            break
    for lease in leases.list():
        taken = leases.take(lease, "test")
        assert taken is not None
        leases.release(leases.renew(dataclasses.replace(taken, done_until=int(clock.now()))))
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"unread", ExplicitHashKey="0")
    clock.advance(30 * HOUR)
    for key in ("0", str(2**128 - 1)):
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"new", ExplicitHashKey=key)
    return kinesis, leases


class StopError(Exception):
    """What a hook raises."""


def test_a_hook_is_told_before_the_records_and_may_stop_the_shard(kinesis: tuple[FakeKinesis, Any]) -> None:
    client, leases = kinesis
    told: list[DataLoss] = []
    read: list[str | None] = []

    def on_data_loss(loss: DataLoss) -> None:
        told.append(loss)
        assert shard(0) not in read
        if len(told) == 2:
            reading.stop()
        raise StopError(str(loss))

    def handle(record: sp.ReceivedRecord) -> None:
        read.append(record.shard_id)
        if shard(0) in read:  # what must not be; it would wait for ever
            reading.stop()

    reading = sp.Consumer("s", leases=leases, client=client, on_data_loss=on_data_loss)
    with reading, pytest.raises(ExceptionGroup) as raised:
        reading.run_each(handle)
    assert all(isinstance(error, StopError) for error in raised.value.exceptions)
    assert {loss.shard_id for loss in told} <= {shard(0), shard(1)}
    assert shard(0) in {loss.shard_id for loss in told}
    assert shard(0) not in read


def test_in_the_iteration_the_hook_s_error_is_raised_and_the_other_shards_go_on(
    kinesis: tuple[FakeKinesis, Any],
) -> None:
    client, leases = kinesis

    def on_data_loss(loss: DataLoss) -> None:
        if loss.shard_id == shard(0):
            raise StopError

    read, stopped = list[str](), 0
    with sp.Consumer("s", leases=leases, client=client, on_data_loss=on_data_loss) as reading:
        while not (read and stopped):
            try:
                batch = reading.next_batch(10)
            except StopError:
                stopped += 1
            else:
                assert batch is not None
                read.append(batch.shard_id)
        assert reading.next_batch(0.3) is None
    assert (set(read), stopped) == ({shard(1)}, 1)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_a_hook_that_ends_the_program_loses_no_record(kinesis: tuple[FakeKinesis, Any], error: BaseException) -> None:
    client, leases = kinesis
    told: list[str] = []

    def on_data_loss(loss: DataLoss) -> None:
        told.append(loss.shard_id)
        if told.count(loss.shard_id) == 1:
            raise error

    read, raised = set[bytes](), 0
    with sp.Consumer("s", leases=leases, client=client, on_data_loss=on_data_loss) as reading:
        while len(read) < 2:
            try:
                batch = reading.next_batch()
            except type(error):
                raised += 1
            else:
                assert batch is not None
                read.add(batch.shard_id.encode())
    assert raised == len(set(told))
    assert told.count(shard(0)) == 2, "told again, because the application may not have heard it"


def test_a_hook_that_ends_the_program_ends_run_too(kinesis: tuple[FakeKinesis, Any]) -> None:
    client, leases = kinesis

    def on_data_loss(_loss: DataLoss) -> None:
        raise SystemExit(3)

    with (
        sp.Consumer("s", leases=leases, client=client, on_data_loss=on_data_loss) as reading,
        pytest.raises(SystemExit),
    ):
        reading.run(lambda _batch: None, workers=2)


def test_a_hook_of_asyncio_may_be_a_coroutine_function(kinesis: tuple[FakeKinesis, Any]) -> None:
    client, leases = kinesis
    told: list[DataLoss] = []

    async def on_data_loss(loss: DataLoss) -> None:
        await asyncio.sleep(0)
        told.append(loss)

    async def read() -> int:
        count = 0
        async with sp.AsyncConsumer("s", leases=leases, client=client.aio, on_data_loss=on_data_loss) as reading:
            async for batch in reading:
                count += len(batch)
                if count == 2:
                    break
            assert [loss for loss in reading.stats.data_losses if loss.shard_id == shard(0)]
        return count

    assert asyncio.run(read()) == 2
    assert shard(0) in {loss.shard_id for loss in told}


def test_a_hook_of_asyncio_may_stop_the_shard_of_a_run_too(kinesis: tuple[FakeKinesis, Any]) -> None:
    client, leases = kinesis
    told: list[DataLoss] = []
    read: list[str | None] = []

    async def handled() -> None:
        async with sp.AsyncConsumer("s", leases=leases, client=client.aio, on_data_loss=on_data_loss) as reading:

            async def handle(record: sp.ReceivedRecord) -> None:
                read.append(record.shard_id)
                if shard(0) in read:  # what must not be; it would wait for ever
                    reading.stop()

            await reading.run_each(handle)

    def on_data_loss(loss: DataLoss) -> None:
        told.append(loss)
        raise StopError(str(loss))

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(handled())
    assert all(isinstance(error, StopError) for error in raised.value.exceptions)
    assert shard(0) in {loss.shard_id for loss in told}
    assert shard(0) not in read


def test_a_hook_is_a_function() -> None:
    hook: Any = "log"
    with pytest.raises(TypeError, match="on_data_loss"):
        sp.Consumer("s", leases=sp.MemoryLeases(), client=FakeKinesis(), on_data_loss=hook)


class Keeping(FakeKinesis):
    """Says of one stream that it keeps its records for longer."""

    def describe_stream_summary(self, **arguments: Any) -> Any:
        answer = super().describe_stream_summary(**arguments)
        if arguments["StreamName"] == "kept":
            answer["StreamDescriptionSummary"]["RetentionPeriodHours"] = 48
        return answer


def test_of_several_streams_each_is_asked_for_how_long_it_keeps_its_records() -> None:
    clock = ManualClock((datetime.now(UTC) - timedelta(hours=30)).timestamp())
    names = ["short", "kept"]
    client, leases = Keeping(streams=dict.fromkeys(names, 1), clock=clock), sp.MemoryLeases()
    with sp.Consumer(streams=names, leases=leases, client=client) as consumer:
        while not consumer.is_caught_up:
            consumer.next_batch(0.05)
    for lease in leases.list():
        taken = leases.take(lease, "test")
        assert taken is not None
        leases.release(leases.renew(dataclasses.replace(taken, done_until=int(clock.now()))))
    clock.advance(30 * HOUR)
    for name in names:
        client.put_record(StreamName=name, PartitionKey="k", Data=b"new")

    def told(lost: DataLoss) -> None:
        told_of.append(lost.shard_id.split(":")[1])

    async def read_by_asyncio() -> None:
        reading = sp.AsyncConsumer(streams=names, leases=leases, client=client.aio, on_data_loss=told)
        async with reading:
            assert {(await anext(reading)).stream_name for _ in names} == set(names)

    told_of: list[str] = []
    with sp.Consumer(streams=names, leases=leases, client=client, on_data_loss=told) as consumer:
        batches = [consumer.next_batch(10) for _ in names]
    assert {batch and batch.stream_name for batch in batches} == set(names)
    assert told_of == ["short"]
    told_of.clear()
    for lease in leases.list():
        taken = leases.take(lease, "test")
        assert taken is not None
        leases.release(leases.renew(dataclasses.replace(taken, done_until=int(clock.now() - 30 * HOUR))))
    asyncio.run(read_by_asyncio())
    assert sorted(told_of) == ["kept", "short"], "the asynchronous fake says 24 hours of both"
