"""Leases of another stream, and of a stream that was deleted and made again: told, and never read on from."""

from __future__ import annotations

from typing import Any

import pytest
from consumer_bench import STREAM, Stream, Worker, shard

import shardpack as sp
from shardpack.consumer import Lease
from shardpack.consumer.core.actions import GetRecords, ListShards
from shardpack.testing import FakeKinesis


def errors(worker: Worker, seconds: float = 30.0) -> dict[str, Exception]:
    """What stopped shards, by shard; and what is read of the others is checkpointed."""
    found: dict[str, Exception] = {}
    for _ in range(int(seconds / 0.2)):
        while (delivered := worker.batch(checkpoint=True)) is not None:
            if delivered.error is not None:
                assert delivered.hold.lease.key not in found, "told twice"
                found[delivered.hold.lease.key] = delivered.error
        worker.run(0.2)
    return found


def made_again(stream: Stream, shards: int) -> None:
    stream.kinesis.delete_stream(**STREAM)
    stream.clock.advance(60)
    stream.kinesis.create_stream(**STREAM, ShardCount=shards)


def done(stream: Stream) -> None:
    """All of shard 0 is read and done by a worker that is no more."""
    stream.put(b"old")
    worker = stream.worker("before")
    assert worker.read(5) == [b"old"]
    worker.engine.close()
    worker.run(1)


class TestMadeAgain:
    def test_a_position_of_the_old_stream_stops_its_shard_and_no_other(self) -> None:
        stream = Stream(1)
        done(stream)
        made_again(stream, 2)
        stream.put(b"new")
        stream.put(b"other", hash_key=2**128 - 1)
        worker = stream.worker()
        found = errors(worker)
        assert set(found) == {shard(0)}
        assert isinstance(found[shard(0)], sp.LeaseStoreError)
        assert "shardpack leases reset STORE --stream s --yes" in str(found[shard(0)])
        assert worker.engine.fatal is None
        assert stream.lease(1).checkpoint > sp.Position.LATEST, "the other shard is read"
        assert not worker.times(GetRecords, shard(0))

    def test_a_shard_that_was_done_to_its_end_is_not_passed_over(self) -> None:
        stream = Stream(1)
        done(stream)
        stream.kinesis.split_shard(**STREAM, ShardToSplit=shard(0), NewStartingHashKey=str(2**127))
        stream.worker("before").read(5)
        assert stream.lease(0).checkpoint == sp.Position.SHARD_END
        made_again(stream, 1)
        stream.put(b"new")
        assert shard(0) in errors(stream.worker())

    def test_a_lease_without_an_origin_is_known_by_its_position(self) -> None:
        stream = Stream(2)
        stream.leases.create(Lease(shard(0), checkpoint=sp.Position("1")))
        stream.leases.create(Lease(shard(1), checkpoint=sp.Position.SHARD_END))
        assert set(errors(stream.worker())) == {shard(0), shard(1)}

    def test_kinesis_own_word_that_a_position_is_not_the_shard_s(self) -> None:
        stream = Stream(2)
        stream.put(b"a", hash_key=2**128 - 1)
        other = stream.kinesis.user_records()[0].sequence_number  # of shard 1, and above the first number of shard 0
        assert other is not None
        stream.leases.create(Lease(shard(0), checkpoint=sp.Position(other)))
        worker = stream.worker()
        found = errors(worker)
        assert set(found) == {shard(0)}
        assert "did not come from this shard" in str(found[shard(0)])
        assert stream.lease(1).checkpoint > sp.Position.LATEST

    def test_while_a_worker_runs(self) -> None:
        stream = Stream(1)
        worker = stream.worker()
        stream.put(b"old")
        assert worker.read(2) == [b"old"]
        made_again(stream, 1)
        assert set(errors(worker)) == {shard(0)}

    def test_the_leases_of_a_stream_that_is_still_the_same_are_taken_by_older_workers_too(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        stream.leases.create(Lease(shard(0), checkpoint=sp.Position(stream.first(0))))
        worker = stream.worker()
        assert worker.read(5) == [b"a"]
        assert stream.lease(0).origin == f"s/{stream.first(0)}"
        assert errors(worker, 2) == {}

    def test_a_list_of_shards_that_is_older_than_the_leases_accuses_nobody(self) -> None:
        stream = Stream(1)
        worker = stream.worker()
        worker.run(2)
        worker.engine.close()
        worker.run(2)
        sleeper = stream.worker("sleeper")
        answers = [stream.kinesis.list_shards(**STREAM)["Shards"]]  # an answer that was long on its way
        sleeper.fate = lambda action: answers.pop() if isinstance(action, ListShards) and answers else None
        made_again(stream, 1)
        for lease in stream.leases.list():
            stream.leases.delete(lease)
        stream.leases.create(Lease(shard(0), origin=f"s/{stream.first(0)}"))
        stream.put(b"new")
        assert sleeper.read(15) == [b"new"]
        assert not answers
        assert errors(sleeper, 2) == {}


class TestTwoStreams:
    def test_another_stream_s_leases_are_refused_and_both_named(self) -> None:
        stream = Stream(1)
        stream.leases.create(Lease(shard(0), origin="orders/49"))
        worker = stream.worker()
        worker.run(1)
        assert isinstance(worker.engine.fatal, sp.LeaseStoreError)
        assert "'orders'" in str(worker.engine.fatal)
        assert "'s'" in str(worker.engine.fatal)
        assert not worker.engine.fatal.retriable
        assert stream.lease(0).owner is None

    @pytest.mark.parametrize("stream_name", ["s", "arn:aws:kinesis:us-east-1:123456789012:stream/s"])
    def test_a_stream_is_the_same_by_its_name_and_its_arn(self, stream_name: str) -> None:
        stream = Stream(1)
        stream.leases.create(Lease(shard(0), origin=f"s/{stream.first(0)}"))
        kinesis: Any = stream.kinesis
        with sp.Consumer(stream_name, leases=stream.leases, client=kinesis) as consumer:
            assert consumer.next_batch(0.01) is None
            assert consumer.is_healthy()


def test_the_iteration_goes_on_with_the_other_shards() -> None:
    kinesis = FakeKinesis(streams={"s": 2})
    leases = sp.MemoryLeases()
    leases.create(Lease(shard(0), checkpoint=sp.Position("1")))
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"data", ExplicitHashKey=str(2**128 - 1))
    told, read = 0, list[bytes]()
    with sp.Consumer("s", leases=leases, client=kinesis) as consumer:
        while not (told and read):
            try:
                batch = consumer.next_batch()
            except sp.LeaseStoreError:
                told += 1
            else:
                assert batch is not None
                read += [record.data for record in batch]
    assert (told, read) == (1, [b"data"])
