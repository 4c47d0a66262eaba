"""Record processors and their checkpoints, under a daemon that talks as the KCL's MultiLangDaemon does, in memory."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kcl_daemon import SHARD, Daemon, as_json, converse, handler_processor, in_aggregates

import shardpack as sp
from shardpack import multilang


class Calls(multilang.RecordProcessor):
    """Writes down what it is called with, and checkpoints nothing."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.checkpointer: multilang.Checkpointer | None = None

    def initialize(self, shard_id: str, position: sp.Position) -> None:
        self.calls.append(("initialize", shard_id, position))

    def process_records(self, batch: multilang.Batch, checkpointer: multilang.Checkpointer) -> None:
        self.calls.append(("process_records", [record.position for record in batch]))
        self.checkpointer = checkpointer

    def lease_lost(self) -> None:
        self.calls.append(("lease_lost",))

    def shard_ended(self, checkpointer: multilang.Checkpointer) -> None:
        self.calls.append(("shard_ended", checkpointer.position))

    def shutdown_requested(self, checkpointer: multilang.Checkpointer) -> None:
        self.calls.append(("shutdown_requested", checkpointer.position))


class Does(Calls):
    """Does something with each batch."""

    def __init__(self, what: Callable[[multilang.Batch, multilang.Checkpointer], object]) -> None:
        super().__init__()
        self.what = what

    def process_records(self, batch: multilang.Batch, checkpointer: multilang.Checkpointer) -> None:
        self.what(batch, checkpointer)


class Buffering(multilang.RecordProcessor):
    """Writes records in lots of three, and checkpoints what is written."""

    def __init__(self, written: list[sp.Position]) -> None:
        self.written = written
        self.buffer: list[sp.ReceivedRecord] = []

    def process_records(self, batch: multilang.Batch, checkpointer: multilang.Checkpointer) -> None:
        self.buffer.extend(batch)
        while len(self.buffer) >= 3:
            self.write(3)
            checkpointer.checkpoint(self.written[-1])

    def write(self, most: int) -> None:
        self.written += [record.position for record in self.buffer[:most] if record.position]
        del self.buffer[:most]

    def shard_ended(self, checkpointer: multilang.Checkpointer) -> None:
        self.write(3)
        checkpointer.checkpoint(self.written[-1] if self.written else None)

    def shutdown_requested(self, checkpointer: multilang.Checkpointer) -> None:
        self.write(3)
        checkpointer.checkpoint()


class TestProcessor:
    def test_the_calls_of_a_shard_s_life(self) -> None:
        positions, processor = in_aggregates([2, 1]), Calls()
        daemon = Daemon(positions, [1, 0])
        converse(processor, daemon)
        assert (
            processor.calls
            == [
                ("initialize", SHARD, sp.Position.TRIM_HORIZON),
                ("process_records", positions[:1]),
                ("process_records", []),  # callProcessRecordsEvenForEmptyRecordList
                ("process_records", positions[1:]),
                ("shard_ended", sp.Position.TRIM_HORIZON),
            ]
        )
        assert daemon.checkpoints == [sp.Position.SHARD_END]

    @pytest.mark.parametrize(
        ("action", "reason", "call"),
        [
            ("leaseLost", None, "lease_lost"),
            ("shutdownRequested", None, "shutdown_requested"),
            ("shutdown", "ZOMBIE", "lease_lost"),
            ("shutdown", "REQUESTED", "shutdown_requested"),
            ("shutdown", "TERMINATE", "shard_ended"),
        ],
    )
    def test_how_a_process_is_ended(self, action: str, reason: str | None, call: str) -> None:
        daemon, processor = Daemon([], []), Calls()
        daemon.largest = sp.Position.SHARD_END
        converse(processor, daemon, daemon.begin({"action": action, "reason": reason}))
        assert [name for name, *_ in processor.calls] == ["initialize", call]
        assert daemon.checkpoints == [sp.Position.SHARD_END] * (call == "shard_ended")

    @given(st.lists(st.integers(1, 4), max_size=6), st.lists(st.integers(0, 5), max_size=6), st.integers(0, 6))
    def test_one_that_buffers_loses_and_repeats_nothing_when_it_is_told_to_stop(
        self, aggregates: list[int], sizes: list[int], stop_after: int
    ) -> None:
        positions = in_aggregates(aggregates)
        written: list[sp.Position] = []
        daemon = Daemon(positions, sizes)
        converse(Buffering(written), daemon, daemon.until_asked_to_stop(sizes[:stop_after]))
        assert written == positions[: sum(sizes[:stop_after])]
        converse(Buffering(written), daemon)
        assert written == positions

    @given(st.lists(st.integers(1, 4), max_size=6), st.lists(st.integers(0, 5), max_size=6), st.integers(0, 6))
    def test_one_that_is_killed_is_followed_from_its_last_checkpoint(
        self, aggregates: list[int], sizes: list[int], killed_after: int
    ) -> None:
        positions = in_aggregates(aggregates)
        written: list[sp.Position] = []
        daemon = Daemon(positions, sizes)
        converse(Buffering(written), daemon, daemon.until_killed(sizes[:killed_after]))
        assert written == [position for position in positions if position <= daemon.checkpoint]
        converse(Buffering(written), daemon)
        assert written == positions

    def test_a_failure_comes_out_before_the_daemon_is_answered(self) -> None:
        daemon = Daemon(in_aggregates([1]), [])
        with pytest.raises(ZeroDivisionError):
            converse(Does(lambda _batch, _checkpointer: 1 / 0), daemon)
        assert daemon.said == []

    def test_process_records_is_all_that_it_needs(self) -> None:
        class Smallest(multilang.RecordProcessor):
            def process_records(self, batch: multilang.Batch, checkpointer: multilang.Checkpointer) -> None:
                pass

        for action in ("leaseLost", "shutdownRequested"):
            daemon = Daemon([], [])
            converse(Smallest(), daemon, daemon.begin({"action": action}))
            assert daemon.checkpoints == []
        with pytest.raises(TypeError, match="process_records"):
            multilang.RecordProcessor()  # type: ignore[abstract]


class TestCheckpoints:
    @pytest.mark.parametrize("error", ["ThrottlingException", "KinesisClientLibDependencyException"])
    def test_what_may_go_well_later_is_tried_again(self, error: str) -> None:
        daemon = Daemon(in_aggregates([1]), [], [error] * 9)
        slept = converse(handler_processor(list), daemon)
        assert len(slept) == 9
        assert all(0 <= wait <= min(5, 0.1 * 2**number) for number, wait in enumerate(slept))
        assert daemon.checkpoint == sp.Position.SHARD_END

    def test_ten_times_at_most(self) -> None:
        daemon = Daemon(in_aggregates([1]), [], ["ThrottlingException"] * 10)
        with pytest.raises(sp.LeaseStoreError, match="ThrottlingException 10 times; look at the lease table") as raised:
            converse(handler_processor(list), daemon)
        assert raised.value.retriable
        assert daemon.errors == []

    def test_a_lease_table_that_is_not_there(self) -> None:
        with pytest.raises(sp.LeaseStoreError, match=r"Position\('100', 0\).*InvalidStateException; is the") as raised:
            converse(handler_processor(list), Daemon(in_aggregates([1]), [], ["InvalidStateException"]))
        assert not raised.value.retriable

    @pytest.mark.parametrize("error", ["IllegalArgumentException", "SomethingNewException"])
    def test_others_are_raised_at_once(self, error: str) -> None:
        with pytest.raises(sp.CheckpointError, match=f"Position\\('100', 0\\).*{error}; ") as raised:
            converse(handler_processor(list), Daemon(in_aggregates([1]), [], [error]))
        assert not isinstance(raised.value, sp.LeaseLostError)
        assert raised.value.shard_id == SHARD

    def test_a_lost_lease_ends_the_batch_and_not_the_process(self) -> None:
        positions = in_aggregates([4])
        seen = []

        def handle(batch: multilang.Batch) -> None:
            for record in batch:
                seen.append(record.position)
                batch.checkpoint(record)

        converse(handler_processor(handle), Daemon(positions, [2], ["ShutdownException"]))
        assert seen == [positions[0], *positions[2:]]

    def test_a_lease_lost_at_the_end_of_the_shard_ends_no_process_either(self) -> None:
        daemon = Daemon([], [], ["ShutdownException"])
        converse(Calls(), daemon, daemon.begin({"action": "shardEnded"}, {"action": "leaseLost"}))
        assert daemon.errors == []
        assert daemon.checkpoint == sp.Position.TRIM_HORIZON

    def test_a_record_of_before_is_refused(self) -> None:
        first: list[sp.ReceivedRecord] = []

        def handle(batch: multilang.Batch) -> None:
            first.extend(batch)
            batch.checkpoint(first[1])
            batch.checkpoint(first[0])

        with pytest.raises(sp.CheckpointError, match=r"after Position\('100', 1\), the last checkpoint"):
            converse(handler_processor(handle), Daemon(in_aggregates([2]), []))

    def test_a_record_of_an_earlier_batch(self) -> None:
        kept: list[sp.ReceivedRecord] = []

        def late(batch: multilang.Batch, checkpointer: multilang.Checkpointer) -> None:
            kept.extend(batch)
            if len(kept) > 2:
                checkpointer.checkpoint(kept[0])
                assert checkpointer.position == kept[0].position

        daemon = Daemon(in_aggregates([4]), [2])
        converse(Does(late), daemon)
        assert daemon.checkpoints == [sp.Position("100", 0), sp.Position.SHARD_END]

    def test_everything_that_was_handed_over(self) -> None:
        recorded: list[sp.Position] = []

        def checkpoint(_batch: multilang.Batch, checkpointer: multilang.Checkpointer) -> None:
            checkpointer.checkpoint()
            recorded.append(checkpointer.position)

        converse(Does(checkpoint), Daemon(in_aggregates([3]), [2, 0]))
        assert recorded == [sp.Position("100", sub) for sub in (1, 1, 2)]

    def test_when_the_daemon_does_not_listen(self) -> None:
        """A checkpoint then would be taken for the answer to the daemon's next message."""
        processor = Calls()
        daemon = Daemon(in_aggregates([1]), [])
        converse(processor, daemon)
        assert processor.checkpointer is not None
        with pytest.raises(sp.CheckpointError, match=f"{SHARD}: .*before the handler returns"):
            processor.checkpointer.checkpoint()
        assert daemon.said == []

    def test_from_many_threads_at_once(self) -> None:
        def checkpoint(batch: multilang.Batch, checkpointer: multilang.Checkpointer) -> None:
            threads = [threading.Thread(target=checkpointer.checkpoint, args=(batch[-1],)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        class Slow(Daemon):
            def say(self, line: bytes) -> None:
                super().say(line)
                time.sleep(0.002)  # the other threads' turn

        daemon = Slow(in_aggregates([2]), [])
        converse(Does(checkpoint), daemon)
        assert daemon.checkpoints == [sp.Position("100", 1)] * 8 + [sp.Position.SHARD_END]

    @pytest.mark.parametrize("what", ["49590338271490256608559692538361571095921575989136588898", 7])
    def test_something_without_a_position(self, what: Any) -> None:
        with pytest.raises(sp.CheckpointError, match="has no position"):
            converse(Does(lambda _, checkpointer: checkpointer.checkpoint(what)), Daemon(in_aggregates([1]), []))

    def test_a_record_of_a_handwritten_event(self) -> None:
        processor = Does(lambda batch, checkpointer: checkpointer.checkpoint(batch[0]._replace(sequence_number=None)))
        with pytest.raises(sp.CheckpointError, match="has no position"):
            converse(processor, Daemon(in_aggregates([1]), []))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = ["records", "shardId", "sequenceNumber", "subSequenceNumber", "data", "approximateArrivalTimestamp"]
INITIALIZE = b'{"action": "initialize", "shardId": "s", "sequenceNumber": "5", "subSequenceNumber": 1}\n'
RECORDS = '{"action": "processRecords", "records": [%s]}'


class TestHostileLines:
    def converse(self, *lines: bytes) -> None:
        converse(handler_processor(list), Daemon([], []), iter(lines))

    @pytest.mark.parametrize(
        ("line", "what"),
        [
            (b"hello\n", "no JSON in UTF-8: Expecting value.*to be started by the KCL's MultiLangDaemon"),
            (b"[" * 100_000, "no JSON"),
            (b"\n", "no JSON"),
            (b'{"action": "leaseL', "no JSON"),  # the daemon died while it wrote
            (b'{"action": "leaseLost"}{"action": "leaseLost"}\n', "no JSON"),
            (b'{"action": "initialize", "shardId": "\xe9"}\n', "no JSON in UTF-8.*0xe9"),
            ('{"action": "leaseLost"}\n'.encode("utf-16"), "no JSON in UTF-8"),
            (b'{"action": "leaseLost", "n": ' + b"9" * 5000 + b"}\n", "no JSON"),
            (b"[1]\n", "no object with an action"),
            (b"null\n", "no object with an action"),
            (b'{"action": 3}\n', "no object with an action"),
            (b'{"Action": "leaseLost"}\n', "no object with an action"),
            (b'{"action": "explode"}\n', "'explode'.* does not know"),
            (b'{"action": "status"}\n', "'status'.* does not know"),
            (b'{"action": "checkpoint"}\n', "'checkpoint'.* does not know"),
            (b'{"action": "shutdown", "reason": "WHY"}\n', "'WHY'.* does not know"),
            (b'{"action": "initialize"}\n', "KeyError 'shardId'"),
            (b'{"action": "initialize", "shardId": 5, "sequenceNumber": "1"}\n', "shardId is 5"),
            (b'{"action": "initialize", "shardId": "s", "sequenceNumber": null}\n', "sequence_number is None"),
            (b'{"action": "processRecords"}\n', "KeyError 'records'"),
            (b'{"action": "processRecords", "records": 5}\n', "TypeError"),
            (RECORDS % '{"data": "!", "sequenceNumber": "1"}', "Error"),
            (RECORDS % '{"data": "YQ", "sequenceNumber": "1"}', "padding"),
            (RECORDS % '{"data": "", "sequenceNumber": "-1"}', "sequence_number is '-1'"),
            (RECORDS % '{"data": "", "sequenceNumber": "1", "subSequenceNumber": -1}', "an index from 0"),
            (RECORDS % '{"data": "", "sequenceNumber": "1", "subSequenceNumber": true}', "subSequenceNumber is True"),
            (RECORDS % '{"data": "", "sequenceNumber": "1", "partitionKey": 5}', "partitionKey is 5"),
            (RECORDS % '{"data": "", "sequenceNumber": "1", "approximateArrivalTimestamp": 1e300}', "Error"),
            (b'{"action": "processRecords", "records": [], "millisBehindLatest": "5"}\n', "millisBehindLatest is '5'"),
        ],
    )
    def test_is_told(self, line: bytes | str, what: str) -> None:
        with pytest.raises(sp.DecodeError, match=what) as raised:
            self.converse(INITIALIZE, line.encode() if isinstance(line, str) else line)
        assert len(str(raised.value)) < 700

    def test_a_daemon_that_does_not_begin_at_the_beginning(self) -> None:
        with pytest.raises(sp.DecodeError, match="to begin with initialize"):
            self.converse(b'{"action": "processRecords", "records": []}\n')

    @given(
        st.sampled_from(["initialize", "processRecords"]),
        st.dictionaries(st.sampled_from(FIELDS), json_values),
        st.lists(st.dictionaries(st.sampled_from(FIELDS), json_values) | json_values),
    )
    def test_any_values(self, action: str, fields: dict[str, object], records: list[object]) -> None:
        line = json.dumps({"records": records, **fields, "action": action}).encode()
        with contextlib.suppress(sp.DecodeError):
            self.converse(INITIALIZE, line)

    @given(st.binary())
    def test_any_bytes(self, line: bytes) -> None:
        with pytest.raises(sp.DecodeError):
            self.converse(INITIALIZE, line)

    @given(st.integers(0, len(RECORDS)))
    def test_cut_anywhere(self, length: int) -> None:
        line = (RECORDS % json.dumps(as_json(sp.Position("7")))).encode()[:length]
        with pytest.raises(sp.DecodeError):
            self.converse(INITIALIZE, line)

    @pytest.mark.parametrize(
        ("answers", "found"),
        [([], "the end of its messages"), ([b'{"action": "leaseLost"}\n'], "'leaseLost'"), ([b"?\n"], "no JSON")],
    )
    def test_a_checkpoint_that_is_not_answered_is_nobody_s_failure(self, answers: list[bytes], found: str) -> None:
        diverted: list[object] = []
        processor = handler_processor(
            lambda batch: batch.checkpoint(), divert=lambda *given: diverted.append(given), max_attempts=3
        )
        records = (RECORDS % json.dumps(as_json(sp.Position("7")))).encode()
        lines: Iterator[bytes] = iter([INITIALIZE, records, *answers])
        with pytest.raises(sp.DecodeError, match=found):
            converse(processor, Daemon([], []), lines)
        assert diverted == []
