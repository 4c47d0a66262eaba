"""What a batch read takes: every part of every shard between a start and an end, cut into slices of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from ...consumer.core.shards import ancestors
from ..core import frontier
from ..core.ends import Probe
from ..core.marks import BEGINNING, END, Mark
from ..core.offsets import Offset
from ..core.options import SourceOptions
from ..core.ranges import Range, ranges_of
from .driver import Driver
from .stream import KinesisStream

MOST_SLICES = 100_000
_AHEAD = 5_000  # milliseconds that the arrival of a record that is there may be ahead of our clock


def ranges_between(driver: Driver, stream: KinesisStream, options: SourceOptions) -> list[Range]:
    """The parts that a batch read has, in the order of shards and of positions.

    Raises:
        ValueError, DataLossError, CallError: as `Driver.initial` and `Driver.next`.
    """
    final = options.final
    if final.kind == "offset":
        ranges = _to_offset(driver, stream, options, driver.checked(Offset.from_json(final.offset)))
        until = stream.now()
    else:
        start = driver.initial(options.initial)
        until = final.time or stream.now()
        ranges = to_moment(driver, start, final.time if final.kind == "at_timestamp" else None, stream.now())
    if options.slice_time is None:
        return ranges
    return [piece for one in ranges for piece in sliced(stream, one, options.slice_time, until)]


def to_moment(driver: Driver, start: Offset, until: int | None, now: int) -> list[Range]:
    """Batch after batch of a query that stops there, joined to one part for each shard.

    Args:
        driver: plans the batches.
        start: where to begin.
        until: what arrived at or after this moment is left out, in milliseconds since the epoch; None: what comes from
            now on. What is there counts also if its time is a little ahead of ours.
        now: the time.
    """
    last = now if until is None else until
    driver.stop_at(min(last, now))
    offsets = [start]
    while len(offsets) < 2 or offsets[-1].shards != offsets[-2].shards:
        offsets.append(driver.next(offsets[-1]))
    if last >= now:
        driver.stop_at(now + _AHEAD if until is None else min(until, now + _AHEAD))
        stage = None
        while stage != (stage := _stage(driver, offsets[-1])):  # what comes meanwhile is not waited for
            offsets.append(driver.next(offsets[-1]))
    return _joined(offsets)


def _stage(driver: Driver, offset: Offset) -> dict[str, Mark | None]:
    """Which shards have begun, and how far those are read that are closed: they grow no more, and children wait."""
    return {
        key: mark if mark.place == "SHARD_END" or driver.is_closed(key) else None for key, mark in offset.shards.items()
    }


def _joined(offsets: Sequence[Offset]) -> list[Range]:
    whole: dict[str, Range] = {}
    for start, end in pairwise(offsets):
        for one in ranges_of(start, end):
            whole[one.shard_id] = replace(whole.get(one.shard_id, one), end=one.end)
    return [whole[key] for key in sorted(whole)]


def _to_offset(driver: Driver, stream: KinesisStream, options: SourceOptions, end: Offset) -> list[Range]:
    """From the start over all that was split or merged, to the marks of an offset."""
    start = driver.initial(options.initial)
    shards = stream.shards()
    over = ancestors(end.shards, {key: shard.parents for key, shard in shards.items()})
    marks = dict(start.shards)
    ranges = []
    new = list(marks)
    while new:
        for key in new:
            begin = driver.resolved(key, marks[key])
            last = end.shards.get(key, END if key in over else begin)
            if begin.order < last.order and begin.place != "AT_TIMESTAMP":
                ranges.append(Range(key, begin, last))
            marks[key] = END if last.place == "SHARD_END" else last
        new = frontier.joining(shards, marks)
        marks |= dict.fromkeys(new, BEGINNING)
    return sorted(ranges, key=lambda one: one.shard_id)


def sliced(probe: Probe, one: Range, slice_time: int, until: int) -> Iterator[Range]:
    """A range in parts of so many milliseconds of its shard's time, by the records that stand there."""
    begin = one.begin
    if not begin.time:
        yield one
        return
    last = one.end.time if one.end.is_numbered and one.end.time else until
    moment = begin.time + slice_time
    for _ in range(MOST_SLICES):
        if moment >= last:
            break
        found = probe.first(one.shard_id, Mark("AT_TIMESTAMP", time=moment)).found
        if found is None or found.mark().order >= one.end.order:
            break
        if found.mark().order > begin.order:
            yield Range(one.shard_id, begin, found.mark())
            begin = found.mark()
            moment = max(moment, found.arrival)  # over what is empty at once
        moment += slice_time
    yield Range(one.shard_id, begin, one.end)
