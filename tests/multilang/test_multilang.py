"""Handlers under a daemon that talks as the KCL's MultiLangDaemon does, in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kcl_daemon import SHARD, Daemon, converse, handler_processor, in_aggregates

import shardpack as sp
from shardpack import multilang

shards = st.lists(st.integers(1, 4), max_size=6).map(in_aggregates)
batch_sizes = st.lists(st.integers(0, 5), max_size=6)
failures = st.lists(st.booleans(), max_size=30)


def talk(daemon: Daemon, handler: Callable[[Any], object], **settings: Any) -> list[float]:
    """One process of the daemon's; how long it has slept."""
    slept: list[float] = []
    processor = handler_processor(handler, sleep=slept.append, **settings)
    return slept + converse(processor, daemon)


class TestHandlers:
    @given(shards, batch_sizes)
    def test_every_record_once_and_in_order(self, positions: list[sp.Position], sizes: list[int]) -> None:
        seen: list[sp.ReceivedRecord] = []
        daemon = Daemon(positions, sizes)

        def handle(batch: multilang.Batch) -> None:
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

        def handle(batch: multilang.Batch) -> None:
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

        def handle(batch: multilang.Batch) -> None:
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
        batches: list[multilang.Batch] = []
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
