"""How much a batch reads: so many user records or bytes, counted to the record.

A shard has no index by count, so what is to be counted has to be read by the driver. What a limit by time does costs
nothing beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .ends import Probe, Step, found_of
from .marks import Mark

Count = Callable[[Mapping[str, Any]], int]
"""How many user records a Kinesis record holds, as boto3 gives it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most to read at a time. None: no such limit.

    Attributes:
        rows: user records in a batch.
        size: bytes of Kinesis records in a batch, their data counted; one is read in any case.
        time: how much of each shard's time, in milliseconds.
    """

    rows: int | None = None
    size: int | None = None
    time: int | None = None

    @property
    def is_counted(self) -> bool:
        """Whether records have to be counted."""
        return self.rows is not None or self.size is not None

    def share(self, shards: int) -> Limits:
        """What one of so many shards may take, so that something is left for the others."""
        return replace(
            self,
            rows=None if self.rows is None else self.rows // shards,
            size=None if self.size is None else self.size // shards,
        )

    def less(self, rows: int, size: int) -> Limits:
        """What is left of it."""
        return replace(
            self,
            rows=None if self.rows is None else max(0, self.rows - rows),
            size=None if self.size is None else max(0, self.size - size),
        )


def within(
    probe: Probe, steps: Mapping[str, Step], marks: Mapping[str, Mark], limits: Limits, count: Count
) -> dict[str, Step]:
    """The steps of a batch, each cut so that all together keep to the limits.

    Each shard gets an equal part of what is left. The one that is furthest behind comes last, so it gets what the
    others leave.

    Args:
        probe: answers about the stream.
        steps: what the batch would read of each shard without limits.
        marks: where the batch before ended in each.
        limits: of the batch.
        count: counts user records.
    """
    moving = [key for key, step in steps.items() if step.end.order > step.begin.order]
    moving.sort(key=lambda key: (-steps[key].begin.time, key))
    kept = dict(steps)
    for nth, key in enumerate(moving):
        share = limits.share(len(moving) - nth)
        if share.rows == 0 or share.size == 0:
            kept[key] = Step(marks[key], marks[key], steps[key].begin.time)
            continue
        kept[key], rows, size = _cut(probe, key, steps[key], share, count)
        limits = limits.less(rows, size)
    return kept


def _cut(probe: Probe, shard_id: str, step: Step, limits: Limits, count: Count) -> tuple[Step, int, int]:
    """A step within a limit, and the rows and bytes that it reads."""
    rows = size = 0
    mark = step.begin
    while True:
        page = probe.page(shard_id, mark)
        for record in page.records:
            found = found_of(record)
            if found.mark().order >= step.end.order:
                return step, rows, size
            skipped = mark.sub_sequence_number if mark.sequence_number == found.sequence_number else 0
            of_record, length = max(0, count(record) - skipped), len(record["Data"])
            if limits.size is not None and size and size + length > limits.size:
                return step._replace(end=found.mark(), waiting=found.arrival), rows, size
            if limits.rows is not None and rows + of_record > limits.rows:
                at = replace(found.mark(), sub_sequence_number=skipped + limits.rows - rows)
                return step._replace(end=at, waiting=found.arrival), limits.rows, size + length
            rows, size = rows + of_record, size + length
            mark = Mark("AFTER", found.sequence_number, time=found.arrival)
        if page.state != "more" or not page.records:
            return step, rows, size
