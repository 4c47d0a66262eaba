"""A batch whose user records go elsewhere, many at a time."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import DecodeError
from ..limits import MIB
from ..records import ReceivedRecord
from ..replay.shells.destinations import Destination, Pending
from ._batch import Batch, log
from ._record import BatchRecord, lambda_shape

_MOST_RECORDS = 500
_MOST_BYTES = 4 * MIB  # of data; in base64 and with all that stands around it, it fits into one call of a function


class HandingOn(Batch):
    """Like `Batch`, but the user records go to a destination, and what is done is saved after each step."""

    def run_to(self, destination: Destination) -> None:
        """Hand on what is not done yet, up to the first failure."""
        self._load()
        for indices in _steps(self.records):
            self._step(indices, destination)
            try:
                self._save()
            except Exception as error:  # noqa: BLE001  # going on would let more and more run again after a crash
                self.error = self.error or error
                log("progress was not saved, so user records that are done may go out again", error)
            if self.error is not None:
                return

    def _step(self, indices: list[int], destination: Destination) -> None:
        pending: list[Pending] = []
        jobs: list[tuple[int, ReceivedRecord]] = []
        unreadable: tuple[int, ReceivedRecord, DecodeError] | None = None
        for index in indices:
            one = self.records[index]
            opened = one.open(self._on_corrupt)
            if opened and (error := opened[0][1]) is not None:
                unreadable = index, opened[0][0], error  # what comes before it still goes
                break
            if opened:
                records = [record for record, _ in opened]
                pending.append(Pending(lambda_shape(one.raw), records, len(records) == one.total))
                jobs += [(index, record) for record in records]
        results = destination.take(pending) if pending else ()
        for (index, record), failed in zip(jobs, results, strict=True):
            if failed is None:
                self._mark(index, record)
            elif self.error is None:
                self._stop(index, record, failed)
        if unreadable is not None and self.error is None:
            self._stop(*unreadable)


def _steps(records: list[BatchRecord]) -> Iterator[list[int]]:
    """The indices of the records, so many at a time as are handed on at once."""
    step: list[int] = []
    size = 0
    for index, record in enumerate(records):
        more = record.size
        if step and (len(step) == _MOST_RECORDS or size + more > _MOST_BYTES):
            yield step
            step, size = [], 0
        step.append(index)
        size += more
    if step:
        yield step
