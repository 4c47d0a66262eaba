"""`process_window`: the state of a tumbling window, as Lambda carries it from batch to batch."""

from __future__ import annotations

import copy
import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from aggregate_bytes import frame
from lambda_model import STREAM, aggregate, event, record, sequence_number_of

import shardpack as sp
from shardpack.aws_lambda import Window, process, process_window
from shardpack.aws_lambda._window import MAX_STATE_BYTES
from shardpack.errors import DecodeError, StateTooLargeError


def of_window(records: list[dict[str, Any]], state: Any = None, **fields: Any) -> dict[str, Any]:
    return event(*records) | {
        "window": {"start": "2024-10-27T03:32:00Z", "end": "2024-10-27T03:34:00Z"},
        "state": {} if state is None else state,
        "shardId": "shardId-000000000000",
        "eventSourceARN": STREAM,
        "isFinalInvokeForWindow": False,
        "isWindowTerminatedEarly": False,
        **fields,
    }


def three() -> list[dict[str, Any]]:
    return [
        record(100, b"0", "k"),
        aggregate(101, [("k", b"1"), ("l", b"2"), ("k", b"3")]),
        record(102, b"4", "l"),
    ]


class Count:
    """Counts user records in the window's state, and fails for some after it has counted them."""

    def __init__(self, *poison: bytes, times: int = 1_000_000) -> None:
        self.poison = set(poison)
        self.times = times
        self.windows: list[Window] = []

    def __call__(self, received: sp.ReceivedRecord, window: Window) -> None:
        self.windows.append(window)
        window.state["n"] = window.state.get("n", 0) + 1
        window.state.setdefault("seen", []).append(received.data.decode())
        if received.data in self.poison and self.times:
            self.times -= 1
            raise ValueError(received.data)


def failed(sequence_number: int, state: Any) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": str(sequence_number)}], "state": state}


def test_the_state_comes_in_and_goes_out() -> None:
    count = Count()
    batch = of_window(three(), {"n": 7})
    before = copy.deepcopy(batch)

    assert process_window(batch, count) == {
        "batchItemFailures": [],
        "state": {"n": 12, "seen": ["0", "1", "2", "3", "4"]},
    }
    window = count.windows[0]
    assert (window.start, window.end) == (
        datetime(2024, 10, 27, 3, 32, tzinfo=UTC),
        datetime(2024, 10, 27, 3, 34, tzinfo=UTC),
    )
    assert (window.shard_id, window.final, window.terminated_early) == ("shardId-000000000000", False, False)
    assert batch == before


@pytest.mark.parametrize("given", [None, {}])
def test_a_window_begins_with_the_state_that_is_given(given: Any) -> None:
    first: dict[str, Any] = {"seen": []}

    for _ in range(2):  # no window changes what the next begins with
        answer = process_window(of_window(three(), state=given), Count(), state=first)
        assert answer["state"]["seen"] == ["0", "1", "2", "3", "4"]
    assert first == {"seen": []}
    assert process_window(of_window(three(), {"n": 1}), Count(), state={"n": 100})["state"]["n"] == 6


def test_another_object_may_take_the_place_of_the_state() -> None:
    def handle(received: sp.ReceivedRecord, window: Window) -> None:
        window.state = {"last": received.data.decode()}

    assert process_window(of_window(three()), handle)["state"] == {"last": "4"}


@pytest.mark.parametrize(
    ("poison", "sequence_number", "seen"),
    [(b"0", 100, []), (b"1", 101, ["0"]), (b"3", 101, ["0"]), (b"4", 102, ["0", "1", "2", "3"])],
)
def test_after_a_failure_it_is_the_state_before_the_record_that_comes_again(
    poison: bytes, sequence_number: int, seen: list[str]
) -> None:
    state = {"n": len(seen), "seen": seen} if seen else {}

    assert process_window(of_window(three()), Count(poison)) == failed(sequence_number, state)


def test_a_failed_attempt_leaves_nothing_in_the_state() -> None:
    answer = process_window(of_window(three()), Count(b"2", times=2), max_attempts=3)
    assert answer == {"batchItemFailures": [], "state": {"n": 5, "seen": ["0", "1", "2", "3", "4"]}}

    diverted: list[bytes] = []
    answer = process_window(
        of_window(three()), Count(b"2"), on_failure="divert", divert=lambda r, _: diverted.append(r.data)
    )
    assert answer == {"batchItemFailures": [], "state": {"n": 4, "seen": ["0", "1", "3", "4"]}}
    assert diverted == [b"2"]


def test_nor_does_it_in_the_state_of_process() -> None:
    batch = of_window(three(), {"n": 0})

    def handle(received: sp.ReceivedRecord) -> None:
        batch["state"]["n"] += 1
        if received.data == b"2":
            raise ValueError

    answer = process(batch, handle, on_failure="divert", divert=lambda *_: None, max_attempts=2)
    assert answer == {"batchItemFailures": [], "state": {"n": 4}}


@pytest.mark.parametrize("flag", ["isFinalInvokeForWindow", "isWindowTerminatedEarly"])
def test_the_end_of_a_window(flag: str) -> None:
    finished: list[Window] = []

    process_window(of_window(three()), Count(), finish=finished.append)
    assert finished == []
    answer = process_window(of_window([], {"n": 5}, **{flag: True}), Count(), finish=finished.append)
    assert answer == {"batchItemFailures": [], "state": {"n": 5}}
    assert [window.state for window in finished] == [{"n": 5}]
    assert (finished[0].final, finished[0].terminated_early) == (
        flag == "isFinalInvokeForWindow",
        flag == "isWindowTerminatedEarly",
    )


def test_records_of_the_last_call_are_counted_before_it_ends_and_a_failure_puts_the_end_off() -> None:
    finished: list[Any] = []
    last = of_window(three(), {"n": 5}, isFinalInvokeForWindow=True)

    assert process_window(last, Count(b"4"), finish=lambda w: finished.append(w.state["n"]))["batchItemFailures"]
    assert finished == []
    process_window(last, Count(), finish=lambda w: finished.append(w.state["n"]))
    assert finished == [10]


def test_an_end_that_fails_fails_the_call() -> None:
    def finish(_: Window) -> None:
        raise ConnectionError("no table")

    with pytest.raises(ConnectionError, match="no table"):
        process_window(of_window([], {"n": 5}, isFinalInvokeForWindow=True), Count(), finish=finish)


class TestTooLarge:
    """1 MB for each shard; the JSON of ``{"x": "..."}`` has 9 bytes around the text."""

    @pytest.mark.parametrize(("size", "fits"), [(MAX_STATE_BYTES, True), (MAX_STATE_BYTES + 1, False)])
    @pytest.mark.parametrize("letter", ["a", "é"])
    def test_at_the_limit_and_over_it(
        self, size: int, letter: str, caplog: pytest.LogCaptureFixture, *, fits: bool
    ) -> None:
        def handle(received: sp.ReceivedRecord, window: Window) -> None:
            if received.data == b"2":
                left = size - len(json.dumps({"x": ""}))
                many, one = divmod(left, len(letter.encode()))
                window.state = {"x": letter * many + "a" * one}

        answer = process_window(of_window(three(), {"x": "small"}), handle)
        if fits:
            assert answer["batchItemFailures"] == []
            assert len(json.dumps(answer["state"], ensure_ascii=False).encode()) == size
            return
        assert answer == failed(101, {"x": "small"})
        (message,) = caplog.records
        assert message.exc_info is not None
        error = message.exc_info[1]
        assert isinstance(error, StateTooLargeError)
        assert (error.size, error.limit) == (size, MAX_STATE_BYTES)
        assert "TumblingWindowInSeconds" in str(error)

    def test_a_state_that_came_too_large_can_shrink(self) -> None:
        def handle(_: sp.ReceivedRecord, window: Window) -> None:
            window.state = {}

        large = {"x": "a" * MAX_STATE_BYTES}
        assert process_window(of_window(three(), large), handle) == {"batchItemFailures": [], "state": {}}

    def test_process_has_the_same_limit(self) -> None:
        batch = of_window(three(), {"x": ""})

        def handle(received: sp.ReceivedRecord) -> None:
            batch["state"]["x"] += "a" * (MAX_STATE_BYTES if received.data == b"4" else 1)

        assert process(batch, handle) == failed(102, {"x": "aaaa"})

    def test_a_state_that_is_no_json_fails_its_record(self, caplog: pytest.LogCaptureFixture) -> None:
        def handle(received: sp.ReceivedRecord, window: Window) -> None:
            window.state = {"x": received.data if received.data == b"3" else "text"}

        assert process_window(of_window(three()), handle) == failed(101, {"x": "text"})
        assert caplog.records[0].exc_info is not None
        assert "cannot be written as JSON" in str(caplog.records[0].exc_info[1])

    def test_an_aggregate_without_user_records_is_done_whatever_the_state(self) -> None:
        empty = record(99, frame(b"\x0a\x01k"))  # a partition key, and nothing that has it
        large = {"x": "a" * MAX_STATE_BYTES}

        assert list(sp.unpack(empty, on_corrupt="kcl")) == []
        for state in ({}, large):
            answer = process_window(of_window([empty], state), Count(), on_corrupt="kcl")
            assert answer == {"batchItemFailures": [], "state": state}


@pytest.mark.parametrize(
    ("batch", "settings", "error", "message"),
    [
        (event(*three()), {}, ValueError, "TumblingWindowInSeconds"),
        (of_window(three()), {"max_attempts": 0}, ValueError, "max_attempts is 0"),
        (of_window(three()), {"on_failure": "divert"}, ValueError, "needs divert"),
        (of_window(three()), {"on_corrupt": "x"}, ValueError, "on_corrupt is 'x'"),
        (of_window(three()), {"finish": 7}, TypeError, "finish is 7"),
        (of_window(three()), {"on_failure": "divert", "divert": 7}, TypeError, "divert is 7"),
        (of_window(three()), {"state": {"x": b""}}, TypeError, "cannot be written as JSON"),
        (of_window(three(), window={"start": "now"}), {}, DecodeError, "'start' of the window is 'now'"),
        (of_window(three(), Records=None), {}, DecodeError, "no list of 'Records'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_handled(
    batch: Any, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    count = Count()

    with pytest.raises(error, match=message):
        process_window(batch, count, **settings)
    assert count.windows == []


@pytest.mark.parametrize("every", [1, 3, 7])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_whatever_fails_the_window_counts_each_user_record_once(every: int, batch_size: int) -> None:
    """Lambda's side: it goes on at the reported record, with the state of the answer."""
    records = [aggregate(n, [("k", b"%d.%d" % (n, i)) for i in range(n % 4 + 1)]) for n in range(20)]
    calls = 0

    def handle(received: sp.ReceivedRecord, window: Window) -> None:
        nonlocal calls
        calls += 1
        window.state["seen"].append(received.data.decode())
        if (
            calls % (every + 4) == 0
        ):  # after it has counted; more often than an aggregate has user records it never ends
            raise ValueError

    position, state, finished = 0, dict[str, Any](), list[Any]()
    while position < len(records):
        batch = records[position : position + batch_size]
        answer = json.loads(json.dumps(process_window(of_window(batch, state), handle, state={"seen": []})))
        state = answer["state"]
        if answer["batchItemFailures"]:
            lowest = int(answer["batchItemFailures"][0]["itemIdentifier"])
            position += [sequence_number_of(one) for one in batch].index(lowest)
        else:
            position += len(batch)
    process_window(of_window([], state, isFinalInvokeForWindow=True), handle, finish=lambda w: finished.append(w.state))
    (final,) = finished
    assert final["seen"] == [f"{n}.{i}" for n in range(20) for i in range(n % 4 + 1)]


@pytest.fixture(autouse=True)
def _own_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "shardpack.aws_lambda")
