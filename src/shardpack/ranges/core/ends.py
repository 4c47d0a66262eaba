"""Where a batch ends in a shard.

Kinesis tells nobody the latest sequence number of a shard, and an end that is only a time would mean other records when
a batch is replayed. So an end is always a record. It is the first that arrived at or after a moment a little ago, which
one AT_TIMESTAMP iterator and a `GetRecords` call with a limit of one find; that record belongs to the next batch. Where
nothing arrived since that moment, the shard is quiet, and the end is its last record, which is found by reading on from
the mark. Where that would be much, the moment is moved back until a record is found.

A record's time decides only how far a batch goes. What belongs to it is decided by sequence numbers alone: a batch has
every record from its first one to its end, and the next batch begins there. So each record is in exactly one batch,
whatever its time says, and the same records are in it when it is replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol

from .marks import END, Mark

MOST_PROBES = 24  # halves of a year come below a second
_CLOSE = 1000  # milliseconds of a shard hold at most 1 MiB and 1,000 records, which one page has


class Found(NamedTuple):
    """A Kinesis record.

    Attributes:
        sequence_number: its sequence number.
        arrival: its approximate arrival, in milliseconds since the epoch.
    """

    sequence_number: str
    arrival: int

    def mark(self) -> Mark:
        """In front of it."""
        return Mark("AT", self.sequence_number, 0, self.arrival)


class First(NamedTuple):
    """What is first after a mark.

    Attributes:
        found: the Kinesis record, or None where there is none yet.
        is_over: whether there is none and none can come, because the shard was closed.
    """

    found: Found | None
    is_over: bool = False


class Page(NamedTuple):
    """What a `GetRecords` call brought, and what it brought after calls that brought nothing.

    Attributes:
        records: as boto3 gives them.
        state: ``"more"`` may follow at once, this is the shard's ``"tip"``, or its ``"end"``, because it was closed.
    """

    records: Sequence[Mapping[str, Any]]
    state: Literal["more", "tip", "end"]


class Probe(Protocol):
    """What can be asked about a stream."""

    def first(self, shard_id: str, mark: Mark) -> First:
        """The first Kinesis record of a shard at or after a mark."""

    def page(self, shard_id: str, mark: Mark) -> Page:
        """Kinesis records of a shard from a mark on, as many as one call gives, and at least one if there is one."""


class Step(NamedTuple):
    """What a batch reads of a shard.

    Attributes:
        begin: where it begins: the mark of the batch before, or the record that it has turned out to mean.
        end: where it ends; the same as the mark before if there is nothing to read.
        waiting: when the first record arrived that is left for later, in milliseconds since the epoch; None: none is
            known.
    """

    begin: Mark
    end: Mark
    waiting: int | None = None


def next_step(
    probe: Probe, shard_id: str, mark: Mark, until: int, *, bounded: bool, is_closed: bool, most_time: int | None
) -> Step:
    """What the next batch reads of a shard.

    Args:
        probe: answers about the stream.
        shard_id: the shard.
        mark: where the batch before ended.
        until: the moment up to which to read, in milliseconds since the epoch. Not `bounded`: a little ago; what came
            after it may be read too.
        bounded: whether nothing that arrived after `until` may be read.
        is_closed: whether the shard takes no more records.
        most_time: how much of the shard's time to read at most, in milliseconds; None: no limit.
    """
    if mark.place == "SHARD_END":
        return Step(mark, mark)
    if mark.place == "AT" and mark.time:
        found, begin = Found(mark.sequence_number, mark.time), mark
    else:
        first = probe.first(shard_id, mark)
        if first.found is None:
            return Step(END, END) if first.is_over else Step(mark, mark)
        found = first.found
        begin = replace(mark, time=found.arrival) if mark.place == "AT" else found.mark()
    if most_time is not None and found.arrival + most_time < until:
        until, bounded = found.arrival + most_time, True
    if is_closed and not bounded:
        return Step(begin, END)
    later = probe.first(shard_id, Mark("AT_TIMESTAMP", time=until))
    if later.found is None and later.is_over:
        return Step(begin, END)
    if later.found is not None:
        end = later.found.mark()
        if end.order > begin.order:
            return Step(begin, end, later.found.arrival)
        if found.arrival >= until:
            return Step(mark, mark, found.arrival)
        # It arrived before, and stands after what arrived later. Were it left to wait, it might wait for long.
    return _walk(probe, shard_id, begin, until, bounded=bounded)


def _walk(probe: Probe, shard_id: str, begin: Mark, until: int, *, bounded: bool) -> Step:
    """Read on from the beginning, to the end of what is there, or of a page."""
    page = probe.page(shard_id, begin)
    found = [found_of(record) for record in page.records]
    # The first one is read in any case: a batch that reads something goes on.
    late = next((one for one in found[1:] if bounded and one.arrival >= until), None)
    if late is not None:
        return Step(begin, late.mark(), late.arrival)
    if page.state == "end":
        return Step(begin, END)
    if not found:  # it has expired, or is not to be seen at the moment
        return Step(begin, begin)
    last = found[-1]
    end = Mark("AFTER", last.sequence_number, time=max(until, last.arrival) if page.state == "tip" else last.arrival)
    if page.state == "tip":
        return Step(begin, end)
    beyond = probe.first(shard_id, end)
    if beyond.found is None:
        return Step(begin, END if beyond.is_over else refreshed(end, until))
    further = _further(probe, shard_id, end, until)
    return Step(begin, end if further is None else further.mark(), last.arrival if further is None else further.arrival)


def _further(probe: Probe, shard_id: str, after: Mark, until: int) -> Found | None:
    """A record beyond a mark, close to the last one that arrived before a moment; None if none is found."""
    best = None
    low, high = after.time, until
    for _ in range(MOST_PROBES):
        if high - low <= _CLOSE:
            break
        middle = (low + high) // 2
        found = probe.first(shard_id, Mark("AT_TIMESTAMP", time=middle)).found
        if found is not None and found.mark().order > after.order:
            best, low = found, middle
        else:
            high = middle
    return best


def resolved(probe: Probe, shard_id: str, mark: Mark) -> Mark:
    """The same place as a record that is there, or as the shard's end, where one of them can be told."""
    if mark.is_numbered or mark.place == "SHARD_END":
        return mark
    first = probe.first(shard_id, mark)
    if first.found is not None:
        return first.found.mark()
    return END if first.is_over else mark


def found_of(record: Mapping[str, Any]) -> Found:
    """Number and time of a record as boto3 gives it."""
    return Found(record["SequenceNumber"], round(record["ApproximateArrivalTimestamp"].timestamp() * 1000))


def refreshed(mark: Mark, until: int) -> Mark:
    """A mark at a shard's last record, which is known to be the last one still."""
    return replace(mark, time=max(mark.time, until))
