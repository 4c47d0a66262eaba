"""What a batch read takes: every part of every shard between a start and an end, cut into slices of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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
        driver.stop_at(final.time if final.kind == "at_timestamp" else None)
        until = final.time or stream.now()
        ranges = to_moment(driver, driver.initial(options.initial))
    if options.slice_time is None:
        return ranges
    return [piece for one in ranges for piece in sliced(stream, one, options.slice_time, until)]


def to_moment(driver: Driver, start: Offset) -> list[Range]:
    """Batch after batch of a query that stops where the driver was told to, joined to one part for each shard."""
    whole: dict[str, Range] = {}
    while True:
        end = driver.next(start)
        for one in ranges_of(start, end):
            before = whole.get(one.shard_id, one)
            whole[one.shard_id] = replace(before, end=one.end)
        if end.shards == start.shards:
            return [whole[key] for key in sorted(whole)]
        start = end


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
