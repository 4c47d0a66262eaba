"""`shardpack.kcl` against a daemon that talks as the KCL's MultiLangDaemon does, in memory and through pipes."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack import kcl
from shardpack.consumer._handling import Policy
from shardpack.kcl import Conversation

PAGE = (Path(__file__).parent.parent / "docs/kcl-multilang.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SHARD = "shardId-000000000007"
NUMBERS = st.integers(0, 3)


class Daemon:
    """The other end, for one shard: it holds the order of the protocol, and checkpoints as the KCL does.

    Args:
        positions: of the user records in the shard, in order.
        sizes: how many of them go into each batch; then the shard ends.
        errors: the answers to the first checkpoints; None: it is recorded.
    """

    def __init__(
        self, positions: Sequence[sp.Position], sizes: Sequence[int], errors: Sequence[str | None] = ()
    ) -> None:
        self.positions = list(positions)
        self.sizes = sizes
        self.errors = list(errors)
        self.checkpoint = sp.Position.TRIM_HORIZON
        self.checkpoints: list[sp.Position] = []
        self.answers: list[dict[str, Any]] = []
        self.said: list[dict[str, Any]] = []
        self.largest = sp.Position.TRIM_HORIZON
        self.is_shard_end = False

    def lines(self) -> Iterator[str]:
        """What it says to a process that begins, in order, each answered before the next."""
        start = self.checkpoint
        yield from self.ask(
            action="initialize", shardId=SHARD, sequenceNumber=start.sequence_number, subSequenceNumber=0
        )
        left = [position for position in self.positions if position > start]
        for size in (*self.sizes, len(left)):
            batch, left = left[:size], left[size:]
            if batch:
                self.largest = batch[-1]
            yield from self.ask(
                action="processRecords", records=[as_json(position) for position in batch], millisBehindLatest=5
            )
        self.is_shard_end = True
        self.largest = sp.Position.SHARD_END
        yield from self.ask(action="shardEnded")
        assert self.checkpoint == sp.Position.SHARD_END, "the children are never begun"

    def ask(self, **message: Any) -> Iterator[str]:
        yield json.dumps(message) + "\n"
        while True:
            said = self.said.pop(0)
            assert not self.said, "it said two things at once"
            if said["action"] == "status":
                assert said["responseFor"] == message["action"]
                return
            yield json.dumps(self.record(said)) + "\n"

    def record(self, said: dict[str, Any]) -> dict[str, Any]:
        """The answer to a checkpoint, as MultiLangProtocol and RecordProcessorCheckpointer of the KCL give it."""
        assert said["action"] == "checkpoint"
        number, sub = said["sequenceNumber"], said["subSequenceNumber"]
        position = self.largest if number is None else sp.Position(number, sub or 0)
        error = self.errors.pop(0) if self.errors else None
        if error is None and not self.checkpoint <= position <= self.largest:
            error = "IllegalArgumentException"
        if error is None:
            self.checkpoint = position
            self.checkpoints.append(position)
        return {"action": "checkpoint", "sequenceNumber": number, "subSequenceNumber": sub, "error": error}

    def say(self, line: str) -> None:
        assert line.endswith("\n")
        self.said.append(json.loads(line))


def as_json(position: sp.Position) -> dict[str, Any]:
    return {
        "action": "record",
        "data": base64.b64encode(repr(position).encode()).decode(),
        "partitionKey": "user-\u00e9",
        "sequenceNumber": position.sequence_number,
        "subSequenceNumber": position.sub_sequence_number,
        "approximateArrivalTimestamp": 1_700_000_000_123,
    }


def talk(
    daemon: Daemon,
    handler: Callable[[Any], object],
    *,
    each: bool = False,
    divert: Callable[[Any, Exception], object] | None = None,
    max_attempts: int = 1,
) -> list[float]:
    """One process of the daemon's; how long it has slept."""
    slept: list[float] = []
    policy = Policy(each, 1, "stop" if divert is None else "divert", max_attempts, divert is not None)
    Conversation(policy, handler, divert, daemon.lines(), daemon.say, slept.append).until_the_end()
    return slept


def in_aggregates(sizes: Sequence[int]) -> list[sp.Position]:
    return [sp.Position(str(100 + number), sub) for number, size in enumerate(sizes) for sub in range(size)]


shards = st.lists(st.integers(1, 4), max_size=6).map(in_aggregates)
batch_sizes = st.lists(st.integers(0, 5), max_size=6)
failures = st.lists(st.booleans(), max_size=30)


class TestHandlers:
    @given(shards, batch_sizes)
    def test_every_record_once_and_in_order(self, positions: list[sp.Position], sizes: list[int]) -> None:
        seen: list[sp.ReceivedRecord] = []
        daemon = Daemon(positions, sizes)

        def handle(batch: kcl.Batch) -> None:
            assert batch or batch.shard_ended
            seen.extend(batch)

        talk(daemon, handle)
        assert [record.position for record in seen] == positions
        assert [record.data for record in seen] == [repr(position).encode() for position in positions]
        assert daemon.checkpoint == sp.Position.SHARD_END

    @given(shards, batch_sizes, failures)
    def test_a_process_that_ends_is_followed_by_one_that_goes_on(
        self, positions: list[sp.Position], sizes: list[int], fails: list[bool]
    ) -> None:
        done: list[sp.Position | None] = []
        daemon = Daemon(positions, sizes)

        def handle(record: sp.ReceivedRecord) -> None:
            if fails and fails.pop():
                raise ValueError("no")
            done.append(record.position)

        for _ in range(40):
            daemon.said.clear()
            with contextlib.suppress(ValueError):
                talk(daemon, handle, each=True)
                break
        assert done == positions, "run_each is exact to the record"

    @given(shards, batch_sizes, failures, st.integers(1, 3))
    def test_each_record_is_handled_or_diverted(
        self, positions: list[sp.Position], sizes: list[int], fails: list[bool], max_attempts: int
    ) -> None:
        done: list[sp.Position | None] = []
        diverted: list[sp.Position | None] = []

        def handle(batch: kcl.Batch) -> None:
            if batch and fails and fails.pop():
                raise ValueError("no")
            done.extend(record.position for record in batch)

        talk(
            Daemon(positions, sizes), handle, divert=lambda r, _: diverted.append(r.position), max_attempts=max_attempts
        )
        assert sorted(filter(None, done + diverted)) == positions
        assert done == sorted(filter(None, done))

    @given(shards, batch_sizes, st.data())
    def test_a_checkpoint_inside_the_batch_is_exact(
        self, positions: list[sp.Position], sizes: list[int], data: st.DataObject
    ) -> None:
        daemon = Daemon(positions, sizes)
        seen: list[sp.Position] = []

        def handle(batch: kcl.Batch) -> None:
            for record in batch:
                assert record.position is not None
                seen.append(record.position)
                if data.draw(st.booleans()):
                    batch.checkpoint(record)
                    assert daemon.checkpoint == record.position
                if data.draw(st.integers(0, 9)) == 9:
                    seen[:] = [position for position in seen if position <= daemon.checkpoint]
                    raise ValueError("no")

        for _ in range(100):
            daemon.said.clear()
            try:
                talk(daemon, handle)
                break
            except ValueError:
                continue
        else:
            return
        assert seen == positions

    def test_the_end_of_the_shard_is_a_batch_without_records(self) -> None:
        ends = []
        talk(Daemon(in_aggregates([2]), [1]), lambda batch: ends.append((len(batch), batch.shard_ended)))
        assert ends == [(1, False), (1, False), (0, True)]

    def test_the_end_that_the_handler_checkpoints_is_checkpointed_once(self) -> None:
        daemon = Daemon(in_aggregates([2]), [])
        talk(daemon, lambda batch: batch.checkpoint())
        assert daemon.checkpoints == [sp.Position("100", 1), sp.Position.SHARD_END]

    def test_what_a_record_says(self) -> None:
        batches: list[kcl.Batch] = []
        daemon = Daemon([sp.Position("7"), sp.Position("8"), sp.Position("8", 1)], [])
        talk(daemon, batches.append)
        seen = list(batches[0])
        assert seen[1] == sp.ReceivedRecord(
            "user-\u00e9",
            b"Position('8', 0)",
            None,
            "8",
            0,
            True,
            datetime.fromtimestamp(1_700_000_000.123, UTC),
            SHARD,
        )
        assert [record.aggregated for record in seen] == [False, True, True]
        assert batches[0].millis_behind_latest == 5
        assert batches[0].shard_id == SHARD

    def test_retries_wait_longer_and_longer(self) -> None:
        fails = [True] * 5
        slept = talk(Daemon(in_aggregates([1]), []), lambda _: 1 / (not (fails and fails.pop())), max_attempts=6)
        assert len(slept) == 5
        assert all(0 <= wait <= 0.1 * 2**number for number, wait in enumerate(slept))

    def test_a_divert_that_fails_ends_the_process_after_what_was_done(self) -> None:
        daemon = Daemon(in_aggregates([3]), [])

        def handle(record: sp.ReceivedRecord) -> None:
            if record.sub_sequence_number:
                raise ValueError("the handler")

        def divert(_record: sp.ReceivedRecord, _error: Exception) -> None:
            raise OSError("the queue is down")

        with pytest.raises(OSError, match="the queue") as raised:
            talk(daemon, handle, each=True, divert=divert)
        assert isinstance(raised.value.__context__, ValueError)
        assert daemon.checkpoint == sp.Position("100", 0)

    @pytest.mark.parametrize("reason", ["TERMINATE", "ZOMBIE", "REQUESTED"])
    def test_the_shutdown_of_older_daemons(self, reason: str) -> None:
        daemon = Daemon([], [])
        daemon.largest = sp.Position.SHARD_END
        policy = Policy(False, 1, "stop", 1, False)
        Conversation(policy, list, None, daemon.ask(action="shutdown", reason=reason), daemon.say).until_the_end()
        assert daemon.checkpoints == [sp.Position.SHARD_END] * (reason == "TERMINATE")

    @pytest.mark.parametrize("action", ["leaseLost", "shutdownRequested"])
    def test_what_needs_no_more_than_an_answer(self, action: str) -> None:
        daemon = Daemon([], [])
        policy = Policy(False, 1, "stop", 1, False)
        Conversation(policy, list, None, daemon.ask(action=action), daemon.say).until_the_end()
        assert daemon.checkpoints == []


class TestCheckpoints:
    @pytest.mark.parametrize("error", ["ThrottlingException", "KinesisClientLibDependencyException"])
    def test_what_may_go_well_later_is_tried_again(self, error: str) -> None:
        daemon = Daemon(in_aggregates([1]), [], [error] * 9)
        assert len(talk(daemon, list)) == 9
        assert daemon.checkpoint == sp.Position.SHARD_END

    def test_ten_times_at_most(self) -> None:
        daemon = Daemon(in_aggregates([1]), [], ["ThrottlingException"] * 10)
        with pytest.raises(sp.CheckpointError, match=r"ThrottlingException 10 times; the daemon's log") as raised:
            talk(daemon, list)
        assert raised.value.shard_id == SHARD

    @pytest.mark.parametrize("error", ["InvalidStateException", "IllegalArgumentException", "SomethingNewException"])
    def test_others_are_raised_at_once(self, error: str) -> None:
        with pytest.raises(sp.CheckpointError, match=f"Position\\('100', 0\\).*{error}; ") as raised:
            talk(Daemon(in_aggregates([1]), [], [error]), list)
        assert not isinstance(raised.value, sp.LeaseLostError)

    def test_a_lost_lease_ends_the_batch_and_not_the_process(self) -> None:
        positions = in_aggregates([4])
        daemon = Daemon(positions, [2], ["ShutdownException"])
        seen = []

        def handle(batch: kcl.Batch) -> None:
            for record in batch:
                seen.append(record.position)
                batch.checkpoint(record)

        talk(daemon, handle)
        assert seen == [positions[0], *positions[2:]]

    def test_a_lost_lease_diverts_nothing(self) -> None:
        diverted: list[object] = []
        daemon = Daemon(in_aggregates([2]), [], ["ShutdownException"])
        talk(daemon, lambda batch: batch.checkpoint(), divert=lambda *given: diverted.append(given))
        assert diverted == []

    def test_a_record_of_before_is_refused(self) -> None:
        positions = in_aggregates([2])
        first: list[sp.ReceivedRecord] = []

        def handle(batch: kcl.Batch) -> None:
            first.extend(batch)
            if len(first) == 2:
                batch.checkpoint(first[0])
                batch.checkpoint(first[1])
                batch.checkpoint(first[0])

        with pytest.raises(sp.CheckpointError, match="not before the last checkpoint"):
            talk(Daemon(positions, []), handle)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = ["records", "shardId", "sequenceNumber", "subSequenceNumber", "data", "approximateArrivalTimestamp"]


class TestHostileLines:
    def converse(self, *lines: str) -> None:
        policy = Policy(False, 1, "stop", 1, False)
        Conversation(policy, list, None, lines, lambda _: None).until_the_end()

    @pytest.mark.parametrize(
        ("line", "what"),
        [
            ("hello\n", "no JSON"),
            ("[" * 100_000, "no JSON"),
            ("\n", "no JSON"),
            ("[1]\n", "no object with an action"),
            ('{"action": 3}\n', "no object with an action"),
            ('{"action": "explode"}\n', "'explode', which this protocol does not know"),
            ('{"action": "initialize"}\n', "KeyError 'shardId'"),
            ('{"action": "processRecords", "records": [{"data": "!", "sequenceNumber": "1"}]}\n', "Error"),
            ('{"action": "processRecords", "records": 5}\n', "TypeError"),
        ],
    )
    def test_is_told(self, line: str, what: str) -> None:
        with pytest.raises(sp.DecodeError, match=what):
            self.converse(line)

    @given(
        st.sampled_from(["initialize", "processRecords"]),
        st.dictionaries(st.sampled_from(FIELDS), json_values),
        st.lists(st.dictionaries(st.sampled_from(FIELDS), json_values) | json_values),
    )
    def test_any_values(self, action: str, fields: dict[str, object], records: list[object]) -> None:
        with contextlib.suppress(sp.DecodeError):
            self.converse(json.dumps({"records": records, **fields, "action": action}))

    def test_silence_after_a_checkpoint_is_nobodys_failure(self) -> None:
        diverted: list[object] = []
        record = as_json(sp.Position("7"))
        lines = [
            json.dumps({"action": "initialize", "shardId": SHARD, "sequenceNumber": "5"}),
            json.dumps({"action": "processRecords", "records": [record]}),
        ]
        policy = Policy(False, 1, "divert", 3, True)
        conversation = Conversation(
            policy, lambda batch: batch.checkpoint(), lambda *given: diverted.append(given), lines, lambda _: None
        )
        with pytest.raises(sp.DecodeError, match="answered a checkpoint with the end of its messages"):
            conversation.until_the_end()
        assert diverted == []


class TestProcess:
    def start(self, folder: Path, handler: str) -> subprocess.Popen[str]:
        script = folder / "processor.py"
        script.write_text("import os, subprocess, sys\nfrom shardpack import kcl\n" + textwrap.dedent(handler))
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, script], stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8")

    def talk(self, process: subprocess.Popen[str], daemon: Daemon) -> str:
        """Be the daemon of a process; what it has written to standard error."""
        assert process.stdin is not None
        assert process.stdout is not None
        for line in daemon.lines():
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                break
            daemon.say(answer)
        rest, errors = process.communicate(timeout=60)
        assert rest == ""
        return errors

    def test_what_is_printed_goes_to_standard_error(self, tmp_path: Path) -> None:
        handler = """
            def handle(batch):
                print("printed \\u00e9", [record.data for record in batch])
                os.write(1, b"written\\n")
                subprocess.run(["echo", "by a child"], check=True)
                assert sys.stdin.read() == ""
                assert subprocess.run(["cat"], capture_output=True).stdout == b""
            kcl.run(handle)
            """
        process = self.start(tmp_path, handler)
        daemon = Daemon(in_aggregates([3]), [2])
        errors = self.talk(process, daemon)
        assert process.returncode == 0, errors
        assert daemon.checkpoint == sp.Position.SHARD_END
        for text in ("printed \u00e9", "written", "by a child", "Position('100', 1)"):
            assert text in errors

    @pytest.mark.parametrize("number", range(len(EXAMPLES)))
    def test_the_examples_of_the_page_run(self, number: int, tmp_path: Path) -> None:
        process = self.start(tmp_path, EXAMPLES[number])
        daemon = Daemon(in_aggregates([3]), [])
        errors = self.talk(process, daemon)
        assert process.returncode == 0, errors
        assert daemon.checkpoint == sp.Position.SHARD_END
        assert "Position('100', 2)" in errors

    def test_a_failure_ends_the_process_with_its_traceback(self, tmp_path: Path) -> None:
        handler = """
            def handle(record):
                if record.sub_sequence_number == 2:
                    raise ValueError("what went wrong")
            kcl.run_each(handle)
            """
        process = self.start(tmp_path, handler)
        daemon = Daemon(in_aggregates([4]), [])
        errors = self.talk(process, daemon)
        assert process.returncode == 1
        assert "what went wrong" in errors
        assert f"at Position('100', 2) of {SHARD}" in errors
        assert daemon.checkpoint == sp.Position("100", 1)

    def test_ctrl_c_is_the_daemon_s(self, tmp_path: Path) -> None:
        process = self.start(tmp_path, f"kcl.run(lambda batch: os.kill(os.getpid(), {int(signal.SIGINT)}))")
        daemon = Daemon(in_aggregates([4]), [])
        errors = self.talk(process, daemon)
        assert process.returncode == 0, errors
        assert daemon.checkpoint == sp.Position.SHARD_END
