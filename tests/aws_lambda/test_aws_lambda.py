"""`process`: one batch at a time, sound ones and hostile ones."""

from __future__ import annotations

import copy
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from lambda_model import STREAM, DictProgress, aggregate, event, record

import shardpack as sp
from shardpack.aws_lambda import process
from shardpack.aws_lambda._batch import Batch
from shardpack.errors import ChecksumMismatchError, DecodeError

NOTHING: dict[str, Any] = {"batchItemFailures": []}


def failed(sequence_number: int | str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": str(sequence_number)}]}


def three(first: int = 100) -> dict[str, Any]:
    """Three Kinesis records: one plain, an aggregate of three, one plain."""
    return event(
        record(first, b"0", "k"),
        aggregate(first + 1, [("k", b"1"), ("l", b"2"), ("k", b"3")]),
        record(first + 2, b"4", "l"),
    )


def corrupt(sequence_number: int = 101) -> dict[str, Any]:
    blob = bytearray(sp.encode([("k", b"1"), ("l", b"2")]))
    blob[-1] ^= 1
    return record(sequence_number, bytes(blob))


class Handler:
    """Remembers what it was called with, and fails for some data."""

    def __init__(self, *poison: bytes, error: type[BaseException] = ValueError) -> None:
        self.poison = set(poison)
        self.error = error
        self.records: list[sp.ReceivedRecord] = []

    def __call__(self, received: sp.ReceivedRecord) -> None:
        self.records.append(received)
        if received.data in self.poison:
            raise self.error(f"cannot handle {received.data!r}")

    @property
    def data(self) -> list[bytes]:
        return [received.data for received in self.records]


class TestStop:
    def test_user_records_come_in_order_with_their_positions(self) -> None:
        handler = Handler()

        assert process(three(), handler) == NOTHING
        assert handler.data == [b"0", b"1", b"2", b"3", b"4"]
        assert [(r.sequence_number, r.sub_sequence_number, r.aggregated) for r in handler.records] == [
            *(("100", 0, False), ("101", 0, True), ("101", 1, True), ("101", 2, True), ("102", 0, False)),
        ]
        assert {r.shard_id for r in handler.records} == {"shardId-000000000000"}

    @pytest.mark.parametrize(
        ("poison", "sequence_number", "handled"),
        [(b"0", 100, 1), (b"1", 101, 2), (b"2", 101, 3), (b"3", 101, 4), (b"4", 102, 5)],
    )
    def test_the_first_failure_stops_and_is_reported_once(
        self, poison: bytes, sequence_number: int, handled: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        handler = Handler(poison, b"4")

        assert process(three(), handler) == failed(sequence_number)
        assert handler.data == [b"0", b"1", b"2", b"3", b"4"][:handled]
        (message,) = caplog.records
        assert message.name == "shardpack.aws_lambda"
        assert f"of sequence number {sequence_number} in shardId-000000000000" in message.getMessage()
        assert message.exc_info is not None
        assert str(message.exc_info[1]) == f"cannot handle {poison!r}"

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
    @pytest.mark.parametrize("workers", [1, 4])
    def test_what_ends_a_process_passes_through(self, error: type[BaseException], workers: int) -> None:
        progress = DictProgress()

        with pytest.raises(error):
            process(three(), Handler(b"2", error=error), progress=progress, save_every=100, workers=workers)
        handler = Handler()
        assert process(three(), handler, progress=progress) == NOTHING
        assert b"2" in handler.data
        assert b"0" not in handler.data  # what was done by then has been saved

    def test_attempts_come_in_a_row_and_the_last_error_counts(self, caplog: pytest.LogCaptureFixture) -> None:
        errors = [ValueError("first"), KeyError("second")]
        calls = []

        def handle(received: sp.ReceivedRecord) -> None:
            calls.append(received.data)
            if received.data == b"2" and errors:
                raise errors.pop(0)

        assert process(three(), handle, max_attempts=2) == failed(101)
        assert calls == [b"0", b"1", b"2", b"2"]
        assert caplog.records[0].exc_info is not None
        assert isinstance(caplog.records[0].exc_info[1], KeyError)
        errors[:] = [ValueError("again"), ValueError("and again")]
        assert process(three(), handle, max_attempts=3) == NOTHING

    def test_sequence_numbers_compare_as_numbers_and_an_event_out_of_order_loses_nothing(self) -> None:
        batch = event(record(10, b"ten"), record(9, b"nine"), record(100, b"hundred"))

        assert process(batch, Handler(b"ten")) == failed(9)
        assert process(batch, Handler(b"nine")) == failed(9)
        assert process(batch, Handler(b"hundred")) == failed(100)

    @pytest.mark.parametrize("missing", [None, "", "12a", "-3", "\u0661"])
    def test_a_failure_without_a_sequence_number_fails_the_whole_batch(self, missing: Any) -> None:
        batch = three()
        batch["Records"][2]["kinesis"]["sequenceNumber"] = missing

        assert process(batch, Handler()) == NOTHING
        for poison in (b"0", b"2", b"4"):  # also when it is a later one that could not be reported
            with pytest.raises(ValueError, match="cannot handle") as caught:
                process(batch, Handler(poison))
            assert "sequence number to report" in caught.value.__notes__[0]

    def test_a_sequence_number_longer_than_any_is_an_error_of_its_record(self) -> None:
        batch = three()
        batch["Records"][2]["kinesis"]["sequenceNumber"] = "9" * 130
        diverted: list[Any] = []

        with pytest.raises(sp.DecodeError, match="has 130 characters") as caught:
            process(batch, Handler())
        assert "sequence number to report" in caught.value.__notes__[0]
        assert process(batch, Handler(), on_failure="divert", divert=lambda *args: diverted.append(args)) == NOTHING
        ((_, error),) = diverted
        assert isinstance(error, sp.DecodeError)

    def test_records_of_several_shards_fail_as_a_whole(self) -> None:
        batch = event(record(5, b"0"), record(4, b"1", shard=1))

        assert process(batch, Handler()) == NOTHING
        with pytest.raises(ValueError, match="cannot handle") as caught:
            process(batch, Handler(b"1"))
        assert "several shards" in caught.value.__notes__[0]

    def test_a_minimal_hand_written_event_is_handled(self) -> None:
        handler = Handler()

        assert process({"Records": [{"kinesis": {"data": "aGVsbG8="}}]}, handler) == NOTHING
        assert handler.data == [b"hello"]
        assert process({"Records": []}, handler) == NOTHING

    def test_events_that_were_de_aggregated_before(self) -> None:
        batch = event(*(record(7, b"%d" % n, "k") for n in range(3)), record(8, b"3", "k", subSequenceNumber=4))
        handler = Handler(b"1")

        assert process(batch, handler) == failed(7)
        assert handler.data == [b"0", b"1"]
        handler.poison = {b"3"}
        assert process(batch, handler) == failed(8)
        assert handler.records[-1].sub_sequence_number == 4


class TestDivert:
    def test_a_poison_record_is_diverted_and_the_rest_goes_on(self, caplog: pytest.LogCaptureFixture) -> None:
        handler = Handler(b"2")
        diverted: list[tuple[sp.ReceivedRecord, Exception]] = []

        answer = process(
            three(), handler, on_failure="divert", divert=lambda *args: diverted.append(args), max_attempts=3
        )

        assert answer == NOTHING
        assert handler.data == [b"0", b"1", b"2", b"2", b"2", b"3", b"4"]
        ((received, error),) = diverted
        assert (received.data, received.sub_sequence_number) == (b"2", 1)
        assert str(error) == "cannot handle b'2'"
        assert [message.getMessage().split()[0] for message in caplog.records] == ["diverted"]

    def test_a_failing_callback_stops_the_batch(self, caplog: pytest.LogCaptureFixture) -> None:
        def divert(*_: object) -> None:
            raise ConnectionError("no queue") from None

        handler = Handler(b"2")
        assert process(three(), handler, on_failure="divert", divert=divert) == failed(101)
        assert handler.data == [b"0", b"1", b"2"]
        assert caplog.records[0].exc_info is not None
        error = caplog.records[0].exc_info[1]
        assert isinstance(error, ConnectionError)
        assert isinstance(error.__cause__, ValueError)

    def test_a_callback_that_raises_the_error_again_has_the_record_sent_again(self) -> None:
        def divert(_: sp.ReceivedRecord, error: Exception) -> None:
            raise error

        assert process(three(), Handler(b"2"), on_failure="divert", divert=divert) == failed(101)

    def test_an_interrupt_is_not_diverted(self) -> None:
        diverted: list[Any] = []

        with pytest.raises(SystemExit):
            process(
                three(),
                Handler(b"2", error=SystemExit),
                on_failure="divert",
                divert=lambda *args: diverted.append(args),
            )
        assert diverted == []


class TestCorrupt:
    @pytest.mark.parametrize("workers", [1, 4])
    def test_raw_hands_it_over_whole(self, workers: int) -> None:
        handler = Handler()

        assert process(event(record(100, b"0"), corrupt()), handler, workers=workers) == NOTHING
        assert sorted(len(data) for data in handler.data) == [1, len(sp.encode([("k", b"1"), ("l", b"2")]))]

    @pytest.mark.parametrize("workers", [1, 4])
    def test_raise_is_a_failure_of_that_record(self, workers: int, caplog: pytest.LogCaptureFixture) -> None:
        batch = event(record(100, b"0"), corrupt(), record(102, b"4"))
        handler = Handler()

        assert process(batch, handler, on_corrupt="raise", workers=workers) == failed(101)
        assert b"0" in handler.data
        assert caplog.records[0].exc_info is not None
        assert isinstance(caplog.records[0].exc_info[1], ChecksumMismatchError)

    def test_raise_and_divert_gives_it_whole_to_the_callback_without_trying(self) -> None:
        diverted: list[Any] = []
        progress = DictProgress()
        batch = event(record(100, b"0"), corrupt(), record(102, b"4"))
        handler = Handler(b"4", error=SystemExit)
        settings: dict[str, Any] = {
            "on_failure": "divert",
            "divert": lambda *args: diverted.append(args),
            "on_corrupt": "raise",
            "progress": progress,
        }

        with pytest.raises(SystemExit):
            process(batch, handler, **settings)
        handler.poison = set()
        assert process(batch, handler, **settings) == NOTHING
        ((received, error),) = diverted
        assert received.data.startswith(b"\xf3\x89\x9a\xc2")
        assert received.sequence_number == "101"
        assert isinstance(error, ChecksumMismatchError)
        assert handler.data == [b"0", b"4", b"4"]

    def test_kcl_does_what_the_kcl_does(self) -> None:
        handler = Handler()

        assert process(event(record(100, b"0"), corrupt()), handler, on_corrupt="kcl") == NOTHING
        assert len(handler.records) == 2  # a wrong MD5: plain data

    UNREADABLE: tuple[Any, ...] = (
        {"kinesis": {"sequenceNumber": "101", "data": "not base64!"}},
        {"kinesis": {"sequenceNumber": "101", "data": "YWJ"}},
        {"kinesis": {"sequenceNumber": "101", "data": None}},
        {"kinesis": {"sequenceNumber": "101"}},
        {"kinesis": {"sequenceNumber": "101", "data": "YQ==", "approximateArrivalTimestamp": "yesterday"}},
        {"kinesis": {"sequenceNumber": "101", "data": "YQ==", "subSequenceNumber": "x"}},
        {"kinesis": {"sequenceNumber": "101", "data": "YQ==", "subSequenceNumber": -1}},
        {"kinesis": {"sequenceNumber": "101", "data": "YQ==", "subSequenceNumber": [1]}},
    )
    NAMELESS: tuple[Any, ...] = (
        {"kinesis": None},
        {"kinesis": "aGVsbG8="},
        {"data": "aGVsbG8="},
        {"recordId": "1", "data": "aGVsbG8=", "kinesisRecordMetadata": {"sequenceNumber": "101"}},
        {"Records": [{"kinesis": {"data": "aGVsbG8="}}]},
        {},
        None,
        "text",
        b"bytes",
        7,
    )

    @pytest.mark.parametrize("on_corrupt", ["raw", "raise", "kcl"])
    @pytest.mark.parametrize("unreadable", UNREADABLE)
    def test_a_record_that_cannot_be_read_is_reported_and_can_be_diverted(
        self, unreadable: Any, on_corrupt: Any
    ) -> None:
        batch = event(record(100, b"0"), unreadable, record(102, b"2"))
        handler = Handler()
        diverted: list[tuple[sp.ReceivedRecord, Exception]] = []

        assert process(batch, handler, on_corrupt=on_corrupt) == failed(101)
        assert handler.data == [b"0"]
        assert (
            process(
                batch,
                handler,
                on_failure="divert",
                divert=lambda *args: diverted.append(args),
                on_corrupt=on_corrupt,
            )
            == NOTHING
        )
        ((received, error),) = diverted
        assert received.sequence_number == "101"
        assert isinstance(received.data, bytes)
        assert isinstance(error, DecodeError)
        assert handler.data == [b"0", b"0", b"2"]

    @pytest.mark.parametrize("nameless", NAMELESS)
    def test_something_that_is_no_lambda_record_fails_the_whole_batch(self, nameless: Any) -> None:
        handler = Handler()

        with pytest.raises(DecodeError, match="'kinesis'"):
            process(event(record(100, b"0"), nameless, record(102, b"2")), handler, progress=DictProgress())
        assert handler.data == [b"0"]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, "keys none has no list of 'Records'"),
            ({"records": []}, "Firehose events go to"),
            ({"Records": None}, "no list"),
            ({"Records": {}}, "no list"),
            ({"Records": "abc"}, "no list"),
            ("records", "type str"),
            (None, "type NoneType"),
        ],
    )
    def test_an_event_without_records_is_refused(self, given: Any, message: str) -> None:
        with pytest.raises(DecodeError, match=message):
            process(given, Handler())

    def test_the_event_is_not_changed(self) -> None:
        batch = three()
        before = copy.deepcopy(batch)

        process(batch, Handler(b"2"), progress=DictProgress())

        assert batch == before


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"on_failure": "skip"}, "on_failure is 'skip'"),
            ({"on_failure": "divert"}, "needs divert"),
            ({"divert": print}, 'choose on_failure="divert"'),
            ({"max_attempts": 0}, "max_attempts is 0"),
            ({"save_every": 0}, "save_every is 0"),
            ({"workers": 0}, "workers is 0"),
            ({"workers": 1.5}, "workers is 1.5"),
            ({"on_corrupt": "ignore"}, "on_corrupt is 'ignore'"),
        ],
    )
    def test_what_makes_no_sense_is_refused_before_anything_is_handled(
        self, settings: dict[str, Any], message: str
    ) -> None:
        handler = Handler()

        with pytest.raises(ValueError, match=message):
            process(three(), handler, **settings)
        assert handler.data == []

    @pytest.mark.parametrize("workers", [1, 2])
    def test_an_asynchronous_handler_is_refused(self, workers: int) -> None:
        async def handle(received: sp.ReceivedRecord) -> None: ...

        with pytest.raises(TypeError, match="handle returned an awaitable, coroutine"):
            process(three(), handle, workers=workers)
        with pytest.raises(TypeError, match="divert returned an awaitable"):
            process(three(), Handler(b"0"), on_failure="divert", divert=lambda received, _: handle(received))


class TestProgress:
    def test_a_retried_batch_skips_what_is_done(self) -> None:
        progress = DictProgress()
        handler = Handler(b"2")

        assert process(three(), handler, progress=progress) == failed(101)
        handler.poison = set()
        assert process(three(), handler, progress=progress) == NOTHING
        assert handler.data == [b"0", b"1", b"2", b"2", b"3", b"4"]
        assert {shard for shard, _ in progress.items} == {f"{STREAM}/shardId-000000000000"}
        assert progress.loads == 2

    @pytest.mark.parametrize(("save_every", "saves"), [(1, 5), (2, 3), (3, 2), (5, 1), (100, 1)])
    def test_it_saves_as_often_as_told_and_at_the_end(self, save_every: int, saves: int) -> None:
        progress = DictProgress()

        assert process(three(), Handler(), progress=progress, save_every=save_every) == NOTHING
        assert progress.saves == saves
        handler = Handler()
        assert process(three(), handler, progress=progress) == NOTHING
        assert handler.data == []

    def test_a_store_that_cannot_be_read_fails_the_batch_before_anything_is_handled(self) -> None:
        handler = Handler()

        with pytest.raises(ConnectionError):
            process(three(), handler, progress=DictProgress(fail_loads=[True]))
        assert handler.data == []

    def test_a_store_that_cannot_be_written_stops_the_batch(self, caplog: pytest.LogCaptureFixture) -> None:
        handler = Handler()

        assert process(three(), handler, progress=DictProgress(fail_saves=[False, True, True])) == failed(101)
        assert handler.data == [b"0", b"1"]
        assert "not saved" in caplog.records[-1].getMessage()

    def test_a_failed_save_after_the_last_record_is_no_failure_of_the_batch(self) -> None:
        progress = DictProgress(fail_saves=[False, False, False, False, True, True])

        assert process(three(), Handler(), progress=progress) == NOTHING

    def test_a_save_that_fails_is_made_up_for_by_the_next(self) -> None:
        progress = DictProgress(fail_saves=[False, True])

        assert process(three(), Handler(), progress=progress) == failed(101)
        handler = Handler()
        assert process(three(), handler, progress=progress) == NOTHING
        assert handler.data == [b"2", b"3", b"4"]

    def test_records_that_nothing_names_run_again(self) -> None:
        progress = DictProgress()
        batch = event(record(7, b"same"), record(7, b"same"), record(7, b"other"), {"kinesis": {"data": "eA=="}})
        handler = Handler()

        assert process(batch, handler, progress=progress) == NOTHING
        assert process(batch, handler, progress=progress) == NOTHING
        assert handler.data == [b"same", b"same", b"other", b"x", b"same", b"same", b"x"]

    def test_the_same_sequence_number_in_another_stream_shard_or_record_is_another_record(self) -> None:
        progress = DictProgress()
        other = record(7, b"d")
        other["eventSourceARN"] += "2"
        handler = Handler()

        for one in (record(7, b"a"), record(7, b"b"), record(7, b"c", shard=1), other):
            assert process(event(one), handler, progress=progress) == NOTHING
        assert handler.data == [b"a", b"b", b"c", b"d"]

    def test_a_hostile_index_costs_no_memory(self) -> None:
        progress = DictProgress()

        process(event(record(7, b"a", subSequenceNumber=2**32 - 1)), Handler(), progress=progress)
        assert [len(bitmap) for bitmap in progress.items.values()] == [1]


class TestWindows:
    """Tumbling windows ("Implementing stateful Kinesis Data Streams processing in Lambda")."""

    def window(self, state: Any, **fields: Any) -> dict[str, Any]:
        return three() | {
            "window": {"start": "2020-12-09T07:04:00Z", "end": "2020-12-09T07:06:00Z"},
            "state": state,
            "shardId": "shardId-000000000000",
            "eventSourceARN": STREAM,
            "isFinalInvokeForWindow": False,
            "isWindowTerminatedEarly": False,
            **fields,
        }

    def count(self, batch: dict[str, Any], *poison: bytes) -> dict[str, Any]:
        def handle(received: sp.ReceivedRecord) -> None:
            key = received.partition_key or ""
            batch["state"][key] = batch["state"].get(key, 0) + 1
            if received.data in poison:
                raise ValueError(received.data)

        return process(batch, handle)

    def test_the_answer_carries_the_state(self) -> None:
        batch = self.window({"k": 1})

        assert self.count(batch) == {"batchItemFailures": [], "state": {"k": 4, "l": 2}}

    def test_after_a_failure_the_state_is_that_before_the_record_to_be_sent_again(self) -> None:
        assert self.count(self.window({"k": 1}), b"3") == failed(101) | {"state": {"k": 2}}
        assert self.count(self.window({}), b"0") == failed(100) | {"state": {}}
        assert self.count(self.window({}), b"4") == failed(102) | {"state": {"k": 3, "l": 1}}

    def test_a_state_that_was_replaced_is_the_one_that_counts(self) -> None:
        batch = self.window({"n": 0})

        def handle(_: sp.ReceivedRecord) -> None:
            batch["state"] = {"n": batch["state"]["n"] + 1}

        assert process(batch, handle) == {"batchItemFailures": [], "state": {"n": 5}}

    def test_the_final_invocation_has_no_records(self) -> None:
        batch = self.window({"k": 9}, isFinalInvokeForWindow=True, Records=[])

        assert process(batch, Handler()) == {"batchItemFailures": [], "state": {"k": 9}}

    @pytest.mark.parametrize("state", [None, {}])
    def test_a_window_without_state_begins_empty(self, state: Any) -> None:
        batch = self.window(state)

        assert process(batch, Handler()) == {"batchItemFailures": [], "state": {}}
        assert process(batch, Handler(b"0")) == failed(100) | {"state": {}}

    @pytest.mark.parametrize("settings", [{"progress": DictProgress()}, {"workers": 2}])
    def test_what_would_make_the_state_wrong_is_refused(self, settings: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="tumbling window"):
            process(self.window({}), Handler(), **settings)


def after(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, times: int = 1) -> threading.Event:
    """An event that is set when a method has been called: what it is called for must then be in effect.

    ``shutdown`` is the exception, since it waits for the threads that wait for the event: there it is set before.
    """
    called = threading.Event()
    original: Callable[..., Any] = getattr(owner, method)
    calls = []

    def call(*args: Any, **settings: Any) -> Any:
        calls.append(1)
        enough = len(calls) >= times
        if enough and method == "shutdown":
            called.set()
        result = original(*args, **settings)
        if enough:
            called.set()
        return result

    monkeypatch.setattr(owner, method, call)
    return called


class TestByKey:
    def test_keys_run_at_the_same_time_and_each_in_its_order(self) -> None:
        both = threading.Barrier(2, timeout=60)
        seen: dict[str | None, list[bytes]] = {}

        def handle(received: sp.ReceivedRecord) -> None:
            seen.setdefault(received.partition_key, []).append(received.data)
            if received.data in (b"0", b"2"):  # the first of each key
                both.wait()

        assert process(three(), handle, workers=2) == NOTHING
        assert seen == {"k": [b"0", b"1", b"3"], "l": [b"2", b"4"]}

    def test_a_failure_is_reported_when_all_before_it_are_done_and_nothing_after_it_begins(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        noted = after(monkeypatch, Batch, "_stop")
        done: list[bytes] = []

        def handle(received: sp.ReceivedRecord) -> None:
            if received.data == b"poison":
                raise ValueError
            if received.partition_key == "slow":
                assert noted.wait(60), "the failure is not noted"
            done.append(received.data)

        batch = event(
            record(100, b"1", "slow"),
            record(101, b"2", "slow"),
            record(102, b"poison", "bad"),
            record(103, b"3", "slow"),
            record(104, b"4", "bad"),
        )
        assert process(batch, handle, workers=2) == failed(102)
        assert done == [b"1", b"2"]

    def test_a_later_failure_does_not_undo_an_earlier(self, monkeypatch: pytest.MonkeyPatch) -> None:
        all_begun = threading.Barrier(3, timeout=60)
        first, second = after(monkeypatch, Batch, "_stop"), after(monkeypatch, Batch, "_stop", times=2)
        began: list[bytes] = []

        def handle(received: sp.ReceivedRecord) -> None:
            began.append(received.data)
            all_begun.wait()
            if received.data == b"first":
                raise ValueError("first")
            if received.data == b"second":
                assert first.wait(60), "the first failure is not noted"
                raise ValueError("second")
            assert second.wait(60), "the second failure is not noted"

        batch = event(
            *(record(100, b"0", "a"), record(101, b"first", "b"), record(102, b"never", "a")),
            *(record(103, b"second", "c"), record(104, b"never", "a")),
        )
        assert process(batch, handle, workers=3) == failed(101)
        assert sorted(began) == [b"0", b"first", b"second"]

    @pytest.mark.parametrize(
        "seconds", [0.0, 0.1]
    )  # while the threads are being started, and while they are waited for
    def test_an_interrupt_of_the_main_thread_lets_no_record_begin(
        self, seconds: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        noticed = after(monkeypatch, ThreadPoolExecutor, "shutdown")
        caught = threading.Event()
        began: list[bytes] = []

        def interrupt(*_signal: object) -> None:
            if not caught.is_set():
                caught.set()
                raise KeyboardInterrupt

        def handle(received: sp.ReceivedRecord) -> None:
            began.append(received.data)
            if received.data == b"0":
                time.sleep(seconds)
                # CPython misses a signal that comes when the main thread is just about to wait, so it comes again.
                while not caught.wait(0.01):
                    os.kill(os.getpid(), signal.SIGINT)
                assert noticed.wait(60), "the main thread does not leave the pool"

        batch = event(aggregate(7, [("k", b"%d" % n) for n in range(50)]))
        before = signal.signal(signal.SIGINT, interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                process(batch, handle, workers=2)
        finally:
            signal.signal(signal.SIGINT, before)
        for thread in threading.enumerate():
            if thread.name.startswith("shardpack"):
                thread.join(60)
        assert began == [b"0"]

    def test_what_ends_a_process_in_one_thread_lets_no_record_begin_in_another(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended = after(monkeypatch, Future, "set_exception")
        both = threading.Barrier(2, timeout=60)
        began: list[bytes] = []

        def handle(received: sp.ReceivedRecord) -> None:
            began.append(received.data)
            both.wait()
            if received.partition_key == "bad":
                raise SystemExit
            assert ended.wait(60), "the other thread does not end"

        batch = event(aggregate(7, [("slow", b"%d" % n) for n in range(50)]), record(8, b"bad", "bad"))
        with pytest.raises(SystemExit):
            process(batch, handle, workers=2)
        assert sorted(began) == [b"0", b"bad"]

    def test_the_lowest_of_several_failures_is_reported_and_what_is_done_beyond_it_is_kept(self) -> None:
        progress = DictProgress()
        together = threading.Barrier(3, timeout=60)
        again: list[bytes] = []

        def handle(received: sp.ReceivedRecord) -> None:
            together.wait()
            if received.data != b"good":
                raise ValueError(received.data)

        batch = event(record(9, b"bad", "a"), record(10, b"bad", "b"), record(11, b"good", "c"))
        assert process(batch, handle, workers=3, progress=progress) == failed(9)
        assert process(batch, lambda r: again.append(r.data), workers=3, progress=progress) == NOTHING
        assert again == [b"bad", b"bad"]

    def test_saves_of_many_threads_never_put_an_older_bitmap_in_the_place_of_a_newer(self) -> None:
        saved: list[bytes] = []

        class Slow(DictProgress):
            def save(self, shard: str, done: Any) -> None:
                (bitmap,) = done.values()
                time.sleep(0.001)
                saved.append(bitmap)
                super().save(shard, done)

        progress = Slow()
        batch = event(aggregate(7, [(f"k{n % 10}", b"%d" % n) for n in range(64)]))

        assert process(batch, Handler(), workers=8, progress=progress) == NOTHING
        ones = [int.from_bytes(bitmap, "little").bit_count() for bitmap in saved]
        assert ones == sorted(ones)
        assert ones[-1] == 64
        assert len(saved) <= 64

    def test_records_without_a_key_keep_their_order(self) -> None:
        batch = {"Records": [{"kinesis": {"data": data}} for data in ("MA==", "MQ==", "Mg==")]}
        handler = Handler()

        assert process(batch, handler, workers=3) == NOTHING
        assert handler.data == [b"0", b"1", b"2"]

    def test_many_keys_and_few_workers(self) -> None:
        running = most = 0
        lock = threading.Lock()

        def handle(_: sp.ReceivedRecord) -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.001)
            with lock:
                running -= 1

        batch = event(aggregate(7, [(f"k{n}", b"") for n in range(50)]))
        assert process(batch, handle, workers=4) == NOTHING
        assert most <= 4


@pytest.fixture(autouse=True)
def _own_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "shardpack.aws_lambda")


def test_it_works_under_the_decorators_of_others() -> None:
    """Powertools hands over a `KinesisStreamEvent`, which is a mapping and cannot be assigned to."""
    data_classes: Any = pytest.importorskip("aws_lambda_powertools.utilities.data_classes")
    handler: Callable[[sp.ReceivedRecord], None] = Handler(b"2")

    assert process(data_classes.KinesisStreamEvent(three()), handler) == failed(101)
