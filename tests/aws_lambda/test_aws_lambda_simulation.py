"""Whatever fails at whatever attempt: `process` under Lambda's own rule for what to send again."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lambda_model import DictProgress, aggregate, deliver, record

import shardpack as sp
from shardpack.aws_lambda import Progress, SQLiteProgress, process

FAULTS: dict[str, type[BaseException]] = {
    "error": ValueError,
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
}
faults = st.lists(st.sampled_from(["error", "error", "error", "exit", "interrupt"]), max_size=3)
shapes = st.lists(
    st.tuples(st.sampled_from(["plain", "aggregate", "exploded", "numbered"]), st.integers(1, 5)), max_size=6
)


class Shard:
    """A shard full of user records with the data b"0", b"1", ..., a script of faults, and what came of them.

    Attributes:
        records: as Lambda hands them over.
        users: (partition key, data) in stream order.
        handled: data in the order in which the handler succeeded.
        diverted: data in the order in which the divert callback succeeded.
    """

    def __init__(self, drawn: st.DataObject) -> None:
        self.records: list[dict[str, Any]] = []
        self.users: list[tuple[str, bytes]] = []
        first = drawn.draw(st.sampled_from([7, 97, 49590338271490256608559692538361571095921575989136588898]))
        for sequence_number, (shape, count) in enumerate(drawn.draw(shapes), first):
            size = 1 if shape == "plain" else count
            users = [(drawn.draw(st.sampled_from("xyz")), b"%d" % (len(self.users) + n)) for n in range(size)]
            self.users += users
            if shape == "aggregate":
                self.records.append(aggregate(sequence_number, users))
            else:  # exploded, numbered: what someone has de-aggregated before us
                self.records += [
                    record(sequence_number, data, key, **({"subSequenceNumber": n} if shape == "numbered" else {}))
                    for n, (key, data) in enumerate(users)
                ]
        self.script = {data: drawn.draw(faults) for _, data in self.users}
        self.divert_script = {data: drawn.draw(st.integers(0, 2)) for _, data in self.users}
        self.handled: list[bytes] = []
        self.diverted: list[bytes] = []

    def handle(self, received: sp.ReceivedRecord) -> None:
        if self.script[received.data]:
            raise FAULTS[self.script[received.data].pop(0)](received.data)
        self.handled.append(received.data)

    def divert(self, received: sp.ReceivedRecord, error: Exception) -> None:
        assert isinstance(error, ValueError)
        if self.divert_script[received.data]:
            self.divert_script[received.data] -= 1
            raise ConnectionError("the queue is away")
        self.diverted.append(received.data)

    def check_all_done_in_order(self, *, by_key: bool) -> None:
        """Every user record came through, and none before one that comes before it in its shard (or key)."""
        done = list(dict.fromkeys(self.handled))  # only the first time of each
        assert sorted(done) == sorted(data for _, data in self.users)
        queues: dict[str, list[bytes]] = defaultdict(list)
        for key, data in self.users:
            queues[key if by_key else ""].append(data)
        key_of = {data: key if by_key else "" for key, data in self.users}
        got: dict[str, list[bytes]] = defaultdict(list)
        for data in done:
            got[key_of[data]].append(data)
        assert got == queues


batch_sizes = st.integers(1, 12)


@given(st.data(), batch_sizes, st.booleans(), st.sampled_from([1, 1, 3]), st.integers(1, 3))
def test_every_user_record_is_handled_at_least_once_and_in_order(
    drawn: st.DataObject, batch_size: int, bisect: bool, workers: int, max_attempts: int
) -> None:
    shard = Shard(drawn)

    deliver(
        shard.records,
        lambda event: process(event, shard.handle, workers=workers, max_attempts=max_attempts),
        batch_size=batch_size,
        bisect=bisect,
    )

    shard.check_all_done_in_order(by_key=workers > 1)


@contextmanager
def store(kind: str) -> Iterator[Progress]:
    if kind == "dict":
        yield DictProgress()
        return
    with tempfile.TemporaryDirectory() as folder, SQLiteProgress(Path(folder) / "progress.sqlite") as sqlite:
        yield sqlite


@given(
    st.data(),
    batch_sizes,
    st.booleans(),
    st.sampled_from([1, 1, 3]),
    st.integers(1, 20),
    st.sampled_from(["dict"] * 4 + ["sqlite"]),
)
def test_with_progress_every_user_record_is_handled_exactly_once_and_in_order(
    drawn: st.DataObject, batch_size: int, bisect: bool, workers: int, save_every: int, kind: str
) -> None:
    shard = Shard(drawn)

    with store(kind) as progress:
        deliver(
            shard.records,
            lambda event: process(event, shard.handle, progress=progress, workers=workers, save_every=save_every),
            batch_size=batch_size,
            bisect=bisect,
        )

    assert set(Counter(shard.handled).values()) <= {1}
    shard.check_all_done_in_order(by_key=workers > 1)


@given(
    st.data(),
    batch_sizes,
    st.sampled_from([1, 1, 3]),
    st.lists(st.booleans(), max_size=12),
    st.lists(st.booleans(), max_size=12),
)
def test_a_store_that_fails_loses_no_user_record(
    drawn: st.DataObject, batch_size: int, workers: int, fail_loads: list[bool], fail_saves: list[bool]
) -> None:
    shard = Shard(drawn)
    progress = DictProgress(fail_loads, fail_saves)

    deliver(
        shard.records,
        lambda event: process(event, shard.handle, progress=progress, workers=workers),
        batch_size=batch_size,
    )

    shard.check_all_done_in_order(by_key=workers > 1)


@given(st.data(), batch_sizes, st.sampled_from([1, 1, 3]), st.integers(1, 3))
def test_diverted_user_records_reach_the_callback_exactly_once_and_the_rest_goes_on(
    drawn: st.DataObject, batch_size: int, workers: int, max_attempts: int
) -> None:
    shard = Shard(drawn)
    shard.divert_script = dict.fromkeys(shard.divert_script, 0)
    poison = {data for data, script in shard.script.items() if runs_out(script, max_attempts)}
    progress = DictProgress()

    deliver(
        shard.records,
        lambda event: process(
            event,
            shard.handle,
            on_failure="divert",
            divert=shard.divert,
            max_attempts=max_attempts,
            progress=progress,
            workers=workers,
        ),
        batch_size=batch_size,
    )

    assert Counter(shard.diverted) == Counter(poison)
    assert Counter(shard.handled) == Counter(data for _, data in shard.users if data not in poison)


def runs_out(script: list[str], max_attempts: int) -> bool:
    """Whether a user record fails so often in a row, without the whole invocation ending in between."""
    failures = 0
    for fault in script:
        failures = failures + 1 if fault == "error" else 0
        if failures == max_attempts:
            return True
    return False


@given(st.data(), batch_sizes, st.sampled_from([1, 1, 3]), st.booleans())
def test_a_divert_callback_that_fails_stops_the_batch_there(
    drawn: st.DataObject, batch_size: int, workers: int, tracked: bool
) -> None:
    shard = Shard(drawn)
    progress = DictProgress() if tracked else None

    deliver(
        shard.records,
        lambda event: process(
            event, shard.handle, on_failure="divert", divert=shard.divert, progress=progress, workers=workers
        ),
        batch_size=batch_size,
    )

    done = Counter(shard.handled + shard.diverted)
    assert set(done) == {data for _, data in shard.users}
    if tracked:
        assert set(done.values()) <= {1}


def corrupted(sequence_number: int) -> dict[str, Any]:
    blob = bytearray(sp.encode([("k", b"%d" % sequence_number), ("l", b"2")]))
    blob[-1] ^= 1
    return record(sequence_number, bytes(blob))


KINDS = ("aggregate", "aggregate", "aggregate", "plain", "corrupt", "no base64", "no record", "a failing mapping")


class FailingMapping(dict[str, Any]):
    """Takes part in everything until its data is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name == "data":
            raise ConnectionError("what stands behind the mapping is away")
        return super().__getitem__(name)


def kinesis_record(number: int, kind: str) -> Any:
    if kind == "corrupt":
        return corrupted(number)
    if kind == "no base64":
        broken = record(number, b"")
        broken["kinesis"]["data"] = "no base64"
        return broken
    if kind == "no record":
        return {"number": number}
    if kind == "a failing mapping":
        failing = record(number, b"x")
        failing["kinesis"] = FailingMapping(failing["kinesis"])
        return failing
    if kind == "plain":
        return record(number, b"%d" % number)
    return aggregate(number, [(f"k{nth}", b"%d.%d" % (number, nth)) for nth in range(number % 5 + 1)])


@given(
    # Sound ones first, so many that what follows may be read before its turn, or not.
    st.tuples(st.sampled_from([0, 3, 31, 40]), st.lists(st.sampled_from(KINDS), max_size=8)).map(
        lambda drawn: ["aggregate"] * drawn[0] + drawn[1]
    ),
    st.sampled_from(["raw", "raise", "kcl"]),
    st.sets(st.integers(0, 60), max_size=1),
)
@example(["aggregate"] * 3 + ["a failing mapping"], "raw", {1})
@example(["aggregate", "no base64", "a failing mapping"], "raw", set[int]())
@example(["aggregate"] * 31 + ["corrupt", "aggregate"], "raise", set[int]())
def test_the_answer_is_the_same_whether_what_is_done_is_kept_or_not(
    kinds: list[str], on_corrupt: Any, failing: set[int]
) -> None:
    records = [kinesis_record(number, kind) for number, kind in enumerate(kinds)]
    outcomes = []
    for progress in (None, DictProgress()):
        seen: list[sp.ReceivedRecord] = []

        def handle(received: sp.ReceivedRecord, seen: list[sp.ReceivedRecord] = seen) -> None:
            seen.append(received)
            if len(seen) - 1 in failing:
                raise ValueError(received.data)

        answer: object
        try:
            answer = process({"Records": records}, handle, progress=progress, on_corrupt=on_corrupt)
        except Exception as error:  # noqa: BLE001  # whatever it is, it has to be the same
            answer = type(error), str(error)
        outcomes.append((seen, answer))

    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("is_kept", [False, True], ids=["nothing kept", "kept"])
@pytest.mark.parametrize("kinds", [["aggregate"] * 3, ["aggregate"] * 40], ids=["3 before", "40 before"])
def test_what_cannot_even_be_looked_at_fails_in_its_turn(kinds: list[str], is_kept: bool) -> None:
    """Though it may be read before its turn, beside others."""
    records = [kinesis_record(number, kind) for number, kind in enumerate([*kinds, "a failing mapping", "aggregate"])]
    seen: list[sp.ReceivedRecord] = []

    with pytest.raises(ConnectionError, match="what stands behind the mapping is away"):
        process({"Records": records}, seen.append, progress=DictProgress() if is_kept else None)

    assert seen == list(sp.unpack(records[: len(kinds)]))
