"""The consumer for threads: on the fake Kinesis in real time, so that calls, handlers and stores may go wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from consumer_setup import (
    NUMBERS,
    SECONDS,
    StoreInTrouble,
    consumer,
    fake,
    in_thread,
    lease_of,
    payloads,
    put,
    until,
)

import shardpack as sp
from shardpack.consumer import Batch, Lease
from shardpack.testing import FakeKinesis, SystemClock

POSIX = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")


class TestIteration:
    def test_every_user_record_comes_in_the_order_of_its_shard(self) -> None:
        seen: dict[str, list[int]] = defaultdict(list)
        with consumer(fake(3, *NUMBERS)) as reading:
            for batch in reading:
                seen[batch.shard_id] += [int(record.data) for record in batch]
                batch.checkpoint()
                if sum(map(len, seen.values())) == len(NUMBERS):
                    break
        assert sorted(number for numbers in seen.values() for number in numbers) == list(range(100))
        assert len(seen) == 3
        assert all(numbers == sorted(numbers) for numbers in seen.values())

    def test_it_goes_on_where_it_was_left_inside_an_aggregate(self) -> None:
        kinesis, leases, seen = fake(1, *NUMBERS), sp.MemoryLeases(), []
        for count in (7, 90, 3):
            with consumer(kinesis, leases) as reading:
                batch = reading.next_batch()
                assert batch is not None
                for given, record in enumerate(batch, 1):
                    seen.append(record.data)
                    if given == count:
                        batch.checkpoint()  # what iteration has given so far
                        break
        assert seen == NUMBERS

    def test_a_checkpoint_takes_a_record_too(self) -> None:
        leases = sp.MemoryLeases()
        with consumer(fake(1, *NUMBERS), leases) as reading:
            batch = reading.next_batch()
            assert batch is not None
            batch.checkpoint(batch[41])
            assert lease_of(leases).checkpoint == batch[41].position
            with pytest.raises(sp.CheckpointError, match="lies before"):
                batch.checkpoint(batch[40])
            batch.checkpoint(batch[41])
            batch.checkpoint()  # not iterated: all of it
            assert lease_of(leases).checkpoint == batch[99].position
            foreign = batch[99]._replace(sequence_number=str(int(batch[99].sequence_number or 0) + 1))
            with pytest.raises(sp.CheckpointError, match="lies after"):
                batch.checkpoint(foreign)
            with pytest.raises(sp.CheckpointError, match="no sequence number"):
                batch.checkpoint(batch[99]._replace(sequence_number=None))

    def test_a_checkpoint_in_mid_iteration_means_the_record_last_given(self) -> None:
        leases = sp.MemoryLeases()
        with consumer(fake(1, *NUMBERS), leases) as reading:
            batch = reading.next_batch()
            assert batch is not None
            for record in batch:
                batch.checkpoint()
                assert lease_of(leases).checkpoint == record.position
            next(iter(batch))  # again, from the first on
            with pytest.raises(sp.CheckpointError, match="lies before"):
                batch.checkpoint()

    def test_a_batch_is_a_sequence(self) -> None:
        with consumer(fake(1, *NUMBERS)) as reading:
            batch = reading.next_batch()
            assert batch is not None
            assert len(batch) == 100
            assert [record.data for record in batch[3:5]] == NUMBERS[3:5]
            assert batch[-1].data == b"99"
            assert payloads(batch) == payloads(batch) == NUMBERS
            assert "100 user records of shardId-000000000000" in repr(batch)

    def test_next_batch_waits_no_longer_than_it_may(self) -> None:
        with consumer(fake(1)) as reading:
            assert reading.next_batch(timeout=0) is None
            assert reading.next_batch(timeout=0.1) is None

    def test_children_follow_their_parents_over_generations(self) -> None:
        kinesis, leases = fake(1, *NUMBERS[:20], aggregate=3), sp.MemoryLeases()
        kinesis.autoscale("shardId-000000000000")
        put(kinesis, *NUMBERS[20:60], aggregate=3)
        kinesis.merge_shards(
            StreamName="s", ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002"
        )
        put(kinesis, *NUMBERS[60:], aggregate=3)
        seen: list[int] = []
        ended = []
        with consumer(kinesis, leases) as reading:
            for batch in reading:
                seen += [int(record.data) for record in batch]
                if batch.shard_ended:
                    ended.append(batch.shard_id)
                batch.checkpoint()
                if len(seen) == 100:
                    break
        assert seen[:20] == list(range(20))
        assert sorted(seen[20:60]) == list(range(20, 60))
        assert seen[60:] == list(range(60, 100))
        assert ended[0] == "shardId-000000000000"
        assert set(ended[1:]) == {"shardId-000000000001", "shardId-000000000002"}
        assert lease_of(leases, 1).checkpoint == sp.Position.SHARD_END

    def test_it_says_how_far_behind_it_is(self) -> None:
        with consumer(fake(2, *NUMBERS)) as reading:
            assert reading.millis_behind_latest == {}
            batch = reading.next_batch()
            assert batch is not None
            assert batch.millis_behind_latest == 0
            until(
                lambda: list(reading.millis_behind_latest.values()) == [0, 0]
            )  # once the other shard has answered, too

    def test_two_consumers_share_the_shards(self) -> None:
        kinesis, leases = fake(4), sp.MemoryLeases()
        config = sp.ConsumerConfig(failover_time=1)
        with consumer(kinesis, leases, config=config) as first, consumer(kinesis, leases, config=config) as second:
            first.next_batch(timeout=0.2)
            second.next_batch(timeout=0.2)
            until(lambda: len(first.millis_behind_latest) == len(second.millis_behind_latest) == 2)


class TestEnding:
    def test_a_clean_end_gives_the_leases_up(self) -> None:
        leases = sp.MemoryLeases()
        with consumer(fake(2, *NUMBERS), leases) as reading:
            reading.next_batch()
            reading.next_batch()
        assert [lease.owner for lease in leases.list()] == [None, None]

    @pytest.mark.parametrize("how", ["it had no shard yet", "its lease was stolen"])
    def test_it_ends_as_soon_as_nothing_is_left_to_do(self, how: str) -> None:
        kinesis, leases = fake(1, *NUMBERS), sp.MemoryLeases()
        reading = consumer(kinesis, leases)
        if how == "it had no shard yet":
            kinesis.script("list_shards", error="AccessDeniedException", times=None)
            with pytest.raises(Exception, match="AccessDenied"):
                reading.next_batch()
        else:
            batch = reading.next_batch()
            assert batch
            leases.take(lease_of(leases), "thief")
            with pytest.raises(sp.LeaseLostError):
                batch.checkpoint()
        closing = threading.Thread(target=reading.close, args=(3600,), daemon=True)
        closing.start()
        until(lambda: not closing.is_alive())

    def test_stop_ends_the_iteration_from_another_thread(self) -> None:
        with consumer(fake(1)) as reading:
            thread = threading.Timer(0.1, reading.stop)
            thread.start()
            assert list(reading) == []
            thread.join()

    @POSIX
    def test_stop_ends_it_from_a_signal_handler(self) -> None:
        with consumer(fake(1)) as reading:
            previous = signal.signal(signal.SIGALRM, lambda *_: reading.stop())
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.1, 0.001)  # again and again, at whatever it is doing
                assert list(reading) == []
                reading.close()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, previous)

    @POSIX
    @pytest.mark.parametrize("how", ["iterate", "run"])
    def test_ctrl_c(self, how: str) -> None:
        leases = sp.MemoryLeases()
        finished = []

        def handle(batch: Batch) -> None:
            signal.raise_signal(signal.SIGINT) if how == "iterate" else os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
            finished.append(len(batch))

        def read() -> None:
            with consumer(fake(1, *NUMBERS), leases) as reading:
                if how == "run":
                    reading.run(handle)
                for batch in reading:
                    handle(batch)

        previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
        try:
            with pytest.raises(KeyboardInterrupt):
                read()
        finally:
            signal.signal(signal.SIGINT, previous)
        assert lease_of(leases).owner is None
        if how == "run":  # the batch in hand was finished, and checkpointed
            assert finished == [100]
            assert lease_of(leases).checkpoint.sub_sequence_number == 99

    def test_a_closed_consumer_says_so(self) -> None:
        reading = consumer(fake(1, *NUMBERS))
        batch = reading.next_batch()
        assert batch is not None
        reading.close()
        reading.close()
        with pytest.raises(RuntimeError, match="closed"):
            reading.next_batch()
        with pytest.raises(sp.LeaseLostError, match="closed"):
            batch.checkpoint()
        unused = consumer(fake(1))
        unused.close()
        with pytest.raises(RuntimeError, match="closed"):
            unused.next_batch()
        with pytest.raises(RuntimeError, match="closed"):
            unused.run(print)

    def test_close_from_another_thread_ends_a_wait(self) -> None:
        reading = consumer(fake(1))
        thread = threading.Timer(0.1, reading.close)
        thread.start()
        with suppress(RuntimeError):
            assert reading.next_batch() is None
        thread.join()

    def test_close_does_not_wait_for_a_store_in_trouble_longer_than_it_may(self) -> None:
        leases = StoreInTrouble()
        reading = consumer(fake(1, *NUMBERS), leases)
        batch = reading.next_batch()
        assert batch is not None
        leases.errors = dict.fromkeys(("checkpoint", "release"), sp.LeaseStoreError("outage", retriable=True))
        errors = []

        def checkpoint() -> None:
            try:
                batch.checkpoint()
            except sp.LeaseLostError as error:
                errors.append(error)

        thread = in_thread(checkpoint)
        time.sleep(0.05)
        reading.close(timeout=0.3)
        thread.join()
        assert "closed" in str(errors[0])

    def test_a_call_that_hangs_does_not_keep_close(self) -> None:
        kinesis, ended = fake(1, *NUMBERS), threading.Event()
        get_records = kinesis.get_records

        def hang(**arguments: Any) -> dict[str, Any]:
            ended.wait(SECONDS)
            return get_records(**arguments)

        kinesis.get_records = hang  # type: ignore[method-assign]
        reading = consumer(kinesis)
        assert reading.next_batch(timeout=0.2) is None
        reading.close(timeout=0.2)
        ended.set()

    # The interpreter ends the pools of threads first; the consumer's own thread may or may not need them after that.
    @pytest.mark.parametrize("is_slow", [False, True])
    def test_a_program_that_never_closes_ends_without_a_word(self, is_slow: bool) -> None:
        program = """
import concurrent.futures.thread, threading
import shardpack as sp
from shardpack.testing import FakeKinesis, SystemClock
kinesis = FakeKinesis(streams={"s": 4}, clock=SystemClock())
kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"x")
reading = sp.Consumer("s", leases=sp.MemoryLeases(), client=kinesis)
print(len(reading.next_batch()))
"""
        if is_slow:
            program += """
concurrent.futures.thread._python_exit()
for thread in threading.enumerate():
    if thread.name == "shardpack-consumer":
        thread.join()
"""
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=SECONDS, check=False)
        assert (ended.returncode, ended.stdout.split(), ended.stderr) == (0, [b"1"], b"")


class TestTrouble:
    def test_a_lease_that_was_stolen_is_lost(self) -> None:
        leases = sp.MemoryLeases()
        with consumer(fake(1, *NUMBERS), leases) as reading:
            batch = reading.next_batch()
            assert batch is not None
            batch.checkpoint(batch[9])
            assert leases.take(lease_of(leases), "thief")
            with pytest.raises(sp.LeaseLostError, match="another worker"):
                batch.checkpoint()
            with pytest.raises(sp.LeaseLostError):
                batch.checkpoint()
            assert reading.next_batch(timeout=0.1) is None
        assert lease_of(leases).owner == "thief"
        assert lease_of(leases).checkpoint == batch[9].position

    def test_a_start_that_fails_beside_one_that_does_not_leaves_the_end_in_order(self) -> None:
        """The second thread waits for the start of the first, and starts it when that has failed."""
        beside = threading.Event()

        class Late(sp.MemoryLeases):
            def prepare(self) -> None:
                if not beside.is_set():
                    until(lambda: sum(one.name == "shardpack-start" for one in threading.enumerate()) == 2)
                    beside.set()
                    raise sp.LeaseStoreError("away", retriable=True)

            def release(self, lease: Lease) -> bool:
                time.sleep(0.2)
                return super().release(lease)

        leases = Late()
        reading = consumer(fake(1, *NUMBERS), leases)
        answers: list[object] = []

        def ask() -> None:
            try:
                answers.append(reading.next_batch())
            except sp.LeaseStoreError as error:
                answers.append(error)

        asking = [in_thread(ask) for _ in range(2)]
        for one in asking:
            one.join()
        assert sorted(type(answer).__name__ for answer in answers) == ["Batch", "LeaseStoreError"]
        assert lease_of(leases).owner is not None
        reading.close()
        assert lease_of(leases).owner is None

    def test_a_store_that_cannot_be_prepared_says_so_and_may_be_tried_again(self) -> None:
        leases = StoreInTrouble(prepare=sp.LeaseStoreError("no permission", retriable=False))
        with consumer(fake(1, *NUMBERS), leases) as reading:
            for _ in range(2):
                with pytest.raises(sp.LeaseStoreError, match="no permission"):
                    reading.next_batch()
            with pytest.raises(sp.LeaseStoreError, match="no permission"):
                reading.run(print, workers=3)
        leases.errors = {}
        with consumer(fake(1, *NUMBERS), leases) as reading:
            assert payloads(reading.next_batch()) == NUMBERS

    @pytest.mark.parametrize("operation", ["list_shards", "get_shard_iterator", "get_records"])
    def test_what_kinesis_refuses_for_good_comes_out(self, operation: str) -> None:
        kinesis = fake(1, *NUMBERS)
        kinesis.script(operation, error="AccessDeniedException", times=None)
        with consumer(kinesis) as reading:
            with pytest.raises(Exception, match="AccessDenied"):
                reading.next_batch()
            with pytest.raises(Exception, match="AccessDenied"):
                reading.next_batch()
        with consumer(kinesis) as reading, pytest.raises(Exception, match="AccessDenied"):
            reading.run(print, workers=2)

    @pytest.mark.parametrize("method", ["list", "create", "take", "renew"])
    def test_what_the_store_refuses_for_good_comes_out(self, method: str) -> None:
        leases = StoreInTrouble(**{method: sp.LeaseStoreError("denied", retriable=False)})
        config = sp.ConsumerConfig(failover_time=1)
        with consumer(fake(1), leases, config=config) as reading, pytest.raises(sp.LeaseStoreError, match="denied"):
            reading.next_batch()

    @pytest.mark.parametrize("operation", ["list_shards", "get_shard_iterator", "get_records"])
    def test_what_passes_is_waited_out(self, operation: str) -> None:
        kinesis = fake(1, *NUMBERS)
        kinesis.script(operation, error="ReadTimeoutError")
        kinesis.script(operation, error="InternalFailure")
        with consumer(kinesis) as reading:
            assert payloads(reading.next_batch()) == NUMBERS

    def test_leases_are_renewed_while_kinesis_hangs(self) -> None:
        kinesis, leases, ended = fake(3), sp.MemoryLeases(), threading.Event()

        def hang(**_: Any) -> dict[str, Any]:
            ended.wait(SECONDS)
            return {"Records": []}

        kinesis.get_records = hang  # type: ignore[method-assign]
        config = sp.ConsumerConfig(max_connections=2, failover_time=1)
        with consumer(kinesis, leases, config=config) as reading:
            reading.next_batch(timeout=0)
            until(lambda: [lease.counter > 5 for lease in leases.list()] == [True] * 3)
            ended.set()

    def test_an_answer_that_makes_no_sense_is_not_passed_over_in_silence(self) -> None:
        kinesis = fake(1, *NUMBERS)
        kinesis.get_records = lambda **_: {"Nothing": 1}  # type: ignore[method-assign]
        reading = consumer(kinesis)
        with pytest.raises(RuntimeError, match=r"has failed: KeyError\('Records'\)"):
            reading.next_batch()
        with pytest.raises(RuntimeError, match="has failed"):
            reading.next_batch()
        reading.close()

    def test_a_corrupt_record_stops_its_shard_and_no_other(self) -> None:
        kinesis = fake(2, *NUMBERS)
        blob = sp.encode([("k", b"good")])
        kinesis.put_record(StreamName="s", PartitionKey="k", ExplicitHashKey="0", Data=blob[:-1] + b"?")
        seen: list[bytes] = []
        errors = 0
        with consumer(kinesis, config=sp.ConsumerConfig(on_corrupt="raise")) as reading:
            while len(seen) < 100 or not errors:
                try:
                    seen += payloads(reading.next_batch())
                except sp.ChecksumMismatchError:
                    errors += 1
            assert reading.next_batch(timeout=0.3) is None
        assert sorted(seen) == sorted(NUMBERS)


class TestOtherStreams:
    @pytest.mark.parametrize("kind", ["memory", "sqlite"])
    def test_a_store_of_another_stream_is_refused(self, kind: str, tmp_path: Path) -> None:
        leases = sp.MemoryLeases() if kind == "memory" else sp.SQLiteLeases(tmp_path / "leases.db")
        kinesis = FakeKinesis(streams={"orders": 1, "clicks": 1}, clock=SystemClock())
        for name in ("orders", "clicks"):
            kinesis.put_record(StreamName=name, PartitionKey="k", Data=name.encode())
        with sp.Consumer("orders", leases=leases, client=kinesis) as orders:
            assert payloads(orders.next_batch()) == [b"orders"]
            with sp.Consumer("clicks", leases=leases, client=kinesis) as clicks:
                with pytest.raises(sp.LeaseStoreError, match=r"'orders'.*'clicks'") as caught:
                    clicks.next_batch()
                assert not caught.value.retriable
        arn = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
        leases.claim(arn)  # the same stream

    def test_a_file_from_before_is_claimed_by_its_first_stream(self, tmp_path: Path) -> None:
        leases = sp.SQLiteLeases(tmp_path / "leases.db")
        leases.create(Lease("shardId-000000000000"))
        leases.claim("orders")
        with pytest.raises(sp.LeaseStoreError, match="orders"):
            sp.SQLiteLeases(tmp_path / "leases.db").claim("clicks")
        assert [lease.key for lease in leases.list()] == ["shardId-000000000000"]


@POSIX
class TestFork:
    def in_child(self, function: Callable[[], object]) -> int:
        child = os.fork()
        if child == 0:
            try:
                function()
                os._exit(0)
            except BaseException:  # noqa: BLE001  # the parent asserts on the code
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def test_each_process_that_starts_it_is_a_worker_of_its_own(self, tmp_path: Path) -> None:
        for name, count in ((None, 3), ("mine", 1)):
            leases = sp.SQLiteLeases(tmp_path / f"leases of {name}.db")
            reading = sp.Consumer("s", leases=leases, client=fake(1, *NUMBERS), worker_id=name)
            owners = tmp_path / f"owners of {name}"

            def read(reading: sp.Consumer = reading, leases: sp.SQLiteLeases = leases, owners: Path = owners) -> None:
                assert payloads(reading.next_batch()) == NUMBERS
                with owners.open("a") as file:
                    file.write(f"{leases.list()[0].owner}\n")
                reading.close()

            assert [self.in_child(read) for _ in range(2)] == [0, 0]
            read()
            assert len(set(owners.read_text().split())) == count

    def test_threads_that_start_it_in_a_child_work_for_one_worker(self, tmp_path: Path) -> None:
        leases = sp.SQLiteLeases(tmp_path / "leases.db")
        reading = sp.Consumer("s", leases=leases, client=fake(1, *NUMBERS))
        driver: Any = reading._shell._driver
        make, made = driver._make, list[Any]()
        both = threading.Event()

        def slowly() -> Any:
            made.append(make())
            if len(made) == 2:
                both.set()
            both.wait(0.3)  # as long as another thread may need to come here too
            return made[-1]

        def run() -> None:
            driver._make = slowly
            reading.run(lambda batch: reading.stop() if batch else None, workers=4)
            reading.close()
            assert len(made) == 1

        assert self.in_child(run) == 0

    def test_before_the_start_it_may_be_carried_over(self) -> None:
        reading = consumer(fake(1, *NUMBERS))

        def read() -> None:
            assert payloads(reading.next_batch()) == NUMBERS
            reading.close()

        assert self.in_child(read) == 0
        assert payloads(reading.next_batch()) == NUMBERS
        reading.close()

    def test_afterwards_the_child_is_told(self) -> None:
        reading = consumer(fake(1, *NUMBERS))
        batch = reading.next_batch()
        assert batch is not None

        def use() -> None:
            for call in (
                reading.next_batch,
                batch.checkpoint,
                lambda: reading.run(print),
                lambda: reading.millis_behind_latest,
            ):
                with pytest.raises(RuntimeError, match="after a fork"):
                    call()
            reading.stop()
            reading.close()

        over = threading.Event()

        def busy() -> None:  # whatever lock there may be, some of the forks find it taken
            while not over.is_set():
                _ = reading.millis_behind_latest

        others = [in_thread(busy) for _ in range(2)]
        try:
            codes = [self.in_child(use) for _ in range(20)]
        finally:
            over.set()
        for other in others:
            other.join()
        assert codes == [0] * 20
        batch.checkpoint()
        reading.close()
