"""Where a batch ends, on a shard whose records did not arrive in the order of their times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

from shardpack.ranges.core.ends import First, Found, Page, next_step
from shardpack.ranges.core.marks import END, Mark
from shardpack.ranges.core.offsets import Offset

FAR = 10_000_000


class Shard:
    """An open shard that holds records with these arrivals, numbered from 1."""

    def __init__(self, *arrivals: int) -> None:
        self._found = [Found(str(number), arrival) for number, arrival in enumerate(arrivals, 1)]

    def _from(self, mark: Mark) -> list[Found]:
        if mark.place == "AT_TIMESTAMP":
            late = [index for index, one in enumerate(self._found) if one.arrival >= mark.time]
            return self._found[late[0] :] if late else []
        number = int(mark.sequence_number or 0) + (mark.place == "AFTER")
        return [one for one in self._found if int(one.sequence_number) >= number]

    def first(self, _shard_id: str, mark: Mark) -> First:
        return First(next(iter(self._from(mark)), None))

    def page(self, _shard_id: str, mark: Mark) -> Page:
        records: list[Mapping[str, Any]] = [
            {
                "SequenceNumber": one.sequence_number,
                "ApproximateArrivalTimestamp": datetime.fromtimestamp(one.arrival / 1000, UTC),
            }
            for one in self._from(mark)
        ]
        return Page(records, "tip")


def step(shard: Shard, mark: Mark, until: int, **how: Any) -> tuple[str, str]:
    """What is read: from which record, and up to which place."""
    took = next_step(shard, "s", mark, until, bounded=how.get("bounded", False), is_closed=False, most_time=None)
    return took.begin.sequence_number, f"{took.end.place} {took.end.sequence_number}"


def test_a_batch_ends_in_front_of_the_first_that_came_later() -> None:
    assert step(Shard(1000, 1500, FAR), Mark("TRIM_HORIZON"), until=2000) == ("1", "AT 3")


def test_one_that_is_due_does_not_wait_for_the_time_of_one_before_it() -> None:
    # The first record is read; its time is far ahead, and it is what an iterator at the moment finds.
    assert step(Shard(FAR, 1500), Mark("AT", "2", 0, 1500), until=2000) == ("2", "AFTER 2")


def test_one_that_came_later_waits() -> None:
    waits = next_step(
        Shard(1000, FAR), "s", Mark("AT", "2", 0, FAR), 2000, bounded=True, is_closed=False, most_time=None
    )
    assert (waits.begin, waits.end, waits.waiting) == (Mark("AT", "2", 0, FAR), Mark("AT", "2", 0, FAR), FAR)
    assert step(Shard(1000), END, until=2000) == ("", "SHARD_END ")


class Contrary(Shard):
    """Iterators by time find nothing; and where nothing is left, a page says that the shard was closed."""

    def first(self, _shard_id: str, mark: Mark) -> First:
        return First(None) if mark.place == "AT_TIMESTAMP" else super().first(_shard_id, mark)

    def page(self, _shard_id: str, mark: Mark) -> Page:
        page = super().page(_shard_id, mark)
        return page if page.records else Page((), "end")


def test_a_batch_that_reads_something_goes_on_though_iterators_by_time_find_nothing() -> None:
    assert step(Contrary(FAR, FAR), Mark("AT", "1", 0, FAR), until=2000, bounded=True) == ("1", "AT 2")


def test_a_shard_that_turns_out_to_be_closed_is_over() -> None:
    assert step(Contrary(1000), Mark("AT", "2", 0, 1500), until=2000) == ("2", "SHARD_END ")


def test_a_shard_that_is_known_to_be_closed_is_not_asked_for_its_end() -> None:
    closed = Mock(spec=Shard)
    took = next_step(closed, "s", Mark("AT", "2", 0, 1500), 2000, bounded=False, is_closed=True, most_time=None)
    assert took.end == END
    assert not closed.mock_calls


def test_an_initial_offset_says_so_when_it_is_read_again() -> None:
    for initial in (True, False):
        offset = Offset("clicks", 1, {"s": Mark("TRIM_HORIZON")}, {}, initial)
        assert Offset.from_json(offset.as_json()).initial is initial
