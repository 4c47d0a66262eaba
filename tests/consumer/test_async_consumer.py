"""The consumer for asyncio: on the fake, where a call must go wrong, and on a real local server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers

import shardpack as sp
from shardpack.testing import AsyncFakeKinesis, FakeKinesis


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main()

    asyncio.run(bounded())


def fake(shards: int, *data: bytes, limits: sp.Limits | None = None) -> FakeKinesis:
    """A stream "s" that holds user records with these payloads, aggregated."""
    kinesis = FakeKinesis()
    kinesis.create_stream(StreamName="s", ShardCount=shards)
    user_records = [(f"key-{n}", one) for n, one in enumerate(data)]
    by_shard = sp.ShardMap(kinesis.list_shards(StreamName="s")["Shards"])
    for packed in sp.pack(user_records, by="shard", shard_map=by_shard, limits=limits or sp.Limits()):
        kinesis.put_record(StreamName="s", **packed.entry)
    return kinesis


def consumer(kinesis: FakeKinesis, leases: sp.MemoryLeases | None = None, **arguments: Any) -> sp.AsyncConsumer:
    return sp.AsyncConsumer("s", leases=leases or sp.MemoryLeases(), client=AsyncFakeKinesis(kinesis), **arguments)


NUMBERS = [b"%d" % n for n in range(100)]


class TestIteration:
    def test_every_user_record_comes_in_the_order_of_its_shard(self) -> None:
        seen: dict[str, list[int]] = {}

        async def main() -> None:
            async with consumer(fake(3, *NUMBERS)) as reading:
                async for batch in reading:
                    seen.setdefault(batch.shard_id, []).extend(int(record.data) for record in batch)
                    await batch.checkpoint()
                    if sum(map(len, seen.values())) == len(NUMBERS):
                        reading.stop()

        run(main)
        assert sorted(number for numbers in seen.values() for number in numbers) == list(range(100))
        assert len(seen) == 3
        assert all(numbers == sorted(numbers) for numbers in seen.values())

    def test_it_resumes_inside_an_aggregate(self) -> None:
        kinesis, leases = fake(1, *NUMBERS), sp.MemoryLeases()

        async def read(count: int) -> list[bytes]:
            seen = []
            async with consumer(kinesis, leases) as reading:
                batch = await reading.next_batch()
                assert batch is not None
                for record in batch:
                    seen.append(record.data)
                    if len(seen) == count:
                        await batch.checkpoint()  # what the iteration has given so far
                        break
            return seen

        async def main() -> None:
            assert await read(7) == NUMBERS[:7]
            assert await read(90) == NUMBERS[7:97]
            assert await read(3) == NUMBERS[97:]

        run(main)
        assert {lease.checkpoint.sub_sequence_number for lease in leases.list()} == {99}

    def test_a_clean_end_gives_the_leases_up(self) -> None:
        leases = sp.MemoryLeases()

        async def main() -> None:
            async with consumer(fake(2, *NUMBERS), leases) as reading:
                await reading.next_batch()
                await reading.next_batch()
                assert {lease.owner for lease in leases.list()} != {None}

        run(main)
        assert [lease.owner for lease in leases.list()] == [None, None]

    def test_a_task_that_is_cancelled_while_it_waits_takes_nothing_with_it(self) -> None:
        kinesis = fake(1, *NUMBERS)

        async def main() -> None:
            async with consumer(kinesis) as reading:
                first = await reading.next_batch()
                assert first is not None
                waiting = asyncio.create_task(reading.next_batch())
                await asyncio.sleep(0.05)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await first.checkpoint()
                kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"later")
                again = await reading.next_batch()
                assert again is not None
                assert [record.data for record in again] == [b"later"]

        run(main)

    def test_another_event_loop_is_refused(self) -> None:
        reading = consumer(fake(1, *NUMBERS))

        async def main() -> None:
            assert await reading.next_batch() is not None

        async def later() -> None:
            with pytest.raises(RuntimeError, match="another event loop"):
                await reading.next_batch()

        asyncio.run(main())
        asyncio.run(later())

    def test_a_closed_consumer_says_so(self) -> None:
        async def main() -> None:
            reading = consumer(fake(1, *NUMBERS))
            batch = await reading.next_batch()
            assert batch is not None
            await reading.close()
            await reading.close()
            with pytest.raises(RuntimeError, match="closed"):
                await reading.next_batch()
            with pytest.raises(sp.LeaseLostError, match="closed"):
                await batch.checkpoint()

        run(main)

    def test_an_answer_that_makes_no_sense_is_not_passed_over_in_silence(self) -> None:
        kinesis = fake(1, *NUMBERS)
        client = AsyncFakeKinesis(kinesis)

        async def nonsense(**_: Any) -> dict[str, Any]:
            return {"Nothing": 1}

        client.get_records = nonsense  # type: ignore[method-assign]

        async def main() -> None:
            async with sp.AsyncConsumer("s", leases=sp.MemoryLeases(), client=client) as reading:
                with pytest.raises(RuntimeError, match=r"has failed: KeyError\('Records'\)"):
                    await reading.next_batch()

        run(main)

    def test_what_kinesis_refuses_for_good_comes_out_of_next_batch(self) -> None:
        kinesis = fake(1, *NUMBERS)
        kinesis.script("get_records", error="AccessDeniedException")

        async def main() -> None:
            async with consumer(kinesis) as reading:
                with pytest.raises(Exception, match="AccessDenied"):
                    await reading.next_batch()

        run(main)


class TestRun:
    def test_shards_side_by_side(self) -> None:
        seen: list[bytes] = []
        together = most = 0

        async def main() -> None:
            async with consumer(fake(4, *NUMBERS, limits=sp.Limits(max_user_records=10))) as reading:

                async def handle(batch: sp.AsyncBatch) -> None:
                    nonlocal together, most
                    together += 1
                    most = max(most, together)
                    await asyncio.sleep(0.01)
                    together -= 1
                    seen.extend(record.data for record in batch)
                    if len(seen) == len(NUMBERS):
                        reading.stop()

                await reading.run(handle, workers=4)

        run(main)
        assert sorted(seen) == sorted(NUMBERS)
        assert 1 < most <= 4

    def test_a_failure_stops_its_shard_at_the_record_and_no_other(self) -> None:
        leases, seen = sp.MemoryLeases(), []
        kinesis = fake(2, *NUMBERS)
        poison = next(record for record in kinesis.user_records("shardId-000000000001") if int(record.data) > 50)
        assert poison.position is not None

        async def main() -> None:
            async with consumer(kinesis, leases) as reading:

                async def handle(record: sp.ReceivedRecord) -> None:
                    if record.data == poison.data:
                        raise ValueError("cannot")
                    seen.append(record.data)
                    if len(seen) == len(expected):
                        reading.stop()

                await reading.run_each(handle, workers=2)

        first, second = (kinesis.user_records(f"shardId-00000000000{n}") for n in (0, 1))
        expected = [r.data for r in first] + [r.data for r in second if int(r.data) < int(poison.data)]
        with pytest.raises(ExceptionGroup) as caught:
            run(main)
        assert sorted(seen) == sorted(expected)
        assert str(poison.position) in caught.value.exceptions[0].__notes__[0]
        (lease,) = (lease for lease in leases.list() if lease.key == poison.shard_id)
        assert lease.checkpoint == second[[r.data for r in second].index(poison.data) - 1].position

    def test_a_poison_record_is_tried_again_and_diverted(self) -> None:
        diverted: list[tuple[bytes, str]] = []
        tried: list[bytes] = []

        async def main() -> None:
            async with consumer(fake(1, *NUMBERS)) as reading:

                async def handle(record: sp.ReceivedRecord) -> None:
                    tried.append(record.data)
                    if record.data == b"42":
                        raise ValueError("cannot")
                    if record.data == b"99":
                        reading.stop()

                async def divert(record: sp.ReceivedRecord, error: Exception) -> None:
                    diverted.append((record.data, str(error)))

                await reading.run_each(handle, on_failure="divert", divert=divert, max_attempts=3)

        run(main)
        assert diverted == [(b"42", "cannot")]
        assert tried == [*NUMBERS[:42], b"42", b"42", *NUMBERS[42:]]

    def test_cancelling_it_cancels_the_handlers_and_loses_nothing(self) -> None:
        leases = sp.MemoryLeases()
        kinesis = fake(1, *NUMBERS)
        begun = asyncio.Event()

        async def handle(_: sp.AsyncBatch) -> None:
            begun.set()
            await asyncio.Event().wait()

        async def main() -> None:
            async with consumer(kinesis, leases) as reading:
                task = asyncio.create_task(reading.run(handle))
                await begun.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            async with consumer(kinesis, leases) as reading:
                batch = await reading.next_batch()
                assert batch is not None
                assert [record.data for record in batch] == NUMBERS

        run(main)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("aiobotocore")
    with servers.kinesalite() as url:
        yield url


@pytest.mark.usefixtures("aws_credentials")
def test_it_reads_a_real_server_and_what_its_shards_were_split_into(server: str, tmp_path: Path) -> None:
    client = servers.client("kinesis", server)
    servers.create_stream(client, "real", 1)
    seen: list[bytes] = []

    def put(first: int) -> None:
        for packed in sp.pack(((f"k{n}", b"%d" % n) for n in range(first, first + 100)), hash_keys="pinned"):
            client.put_record(StreamName="real", **packed.entry)

    put(0)
    client.split_shard(StreamName="real", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
    servers.wait_until_active(client, "real")
    put(100)

    async def main() -> None:
        leases = sp.SQLiteLeases(tmp_path / "leases.db")
        reading = sp.AsyncConsumer("real", leases=leases, region_name="us-east-1", endpoint_url=server)
        async with reading:
            async for batch in reading:
                seen.extend(record.data for record in batch)
                await batch.checkpoint()
                if len(seen) >= 200:
                    reading.stop()
        done = {lease.key: lease.checkpoint for lease in leases.list()}
        assert done["shardId-000000000000"] == sp.Position.SHARD_END
        assert len(done) == 3

    run(main)
    assert seen == [b"%d" % n for n in range(200)]
