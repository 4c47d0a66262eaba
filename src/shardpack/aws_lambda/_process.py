"""`process`: what a Lambda function calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from ..limits import check_callable, shown
from ..records import ReceivedRecord
from ..unpacking.unpacker import OnCorrupt, unpack
from ._batch import Batch, records_of
from .progress import Progress

OnFailure: TypeAlias = Literal["stop", "divert"]


def process(
    event: Mapping[str, Any],
    handle: Callable[[ReceivedRecord], object],
    *,
    on_failure: OnFailure = "stop",
    divert: Callable[[ReceivedRecord, Exception], object] | None = None,
    max_attempts: int = 1,
    progress: Progress | None = None,
    save_every: int = 1,
    workers: int = 1,
    on_corrupt: OnCorrupt = "raw",
) -> dict[str, Any]:
    """Handle the user records of a Lambda event in their order, and say where Lambda is to go on.

    The event source mapping must have ``FunctionResponseTypes: [ReportBatchItemFailures]``: without it Lambda does not
    read the answer and takes a failure for a success.

    Args:
        event: what Lambda hands to the function, aggregates and plain records in any mixture, or a mapping like it.
        handle: called with each user record; has failed when it raises. What it returns is ignored.
        on_failure: what follows when ``handle`` has failed ``max_attempts`` times. ``"stop"``: nothing after it is
            handled, and Lambda sends its Kinesis record, and all after that, again. ``"divert"``: the user record goes
            to ``divert``, and the rest goes on.
        divert: called with a user record and the error of the last attempt at it. When it raises itself, the batch
            stops there as with ``"stop"``: raise the error again to have Lambda send the record once more.
        max_attempts: calls of ``handle`` in a row for one user record before it has failed.
        progress: where to keep which user records are done, so that a batch that is sent again skips them. None:
            those of an aggregate that come before the one that failed run again, and the whole batch after a timeout.
        save_every: user records handled before what is done is saved, 1 or more. What was not saved when Lambda kills
            the function, as it does after a timeout, runs again; everything else is saved in time.
        workers: user records handled at a time, in as many threads, 1 or more; those of one partition key still in
            their order, one after the other. ``handle`` and ``divert`` must then be safe to call from threads.
        on_corrupt: as for `unpack`. With ``"raise"`` a corrupt aggregate is one user record that has failed.

    Returns:
        The function's answer to Lambda: ``batchItemFailures``, with at most one sequence number, the lowest that is
        not done ("Configuring partial batch response with Kinesis Data Streams and Lambda"). For a tumbling window also
        ``state``, which is ``event["state"]`` as it was before the Kinesis record to be sent again.

    Raises:
        ValueError: a setting is out of its range or does not go together with another, or with a tumbling window.
        TypeError: ``handle`` or ``divert`` is asynchronous, or no function.
        DecodeError: the event has no list of records.
        Exception: what ``handle`` raised, when no sequence number says where to go on: the failed record has none, or
            the records are from more than one shard. Lambda then sends the whole batch again.
    """
    _check_settings(on_failure, divert, max_attempts=max_attempts, save_every=save_every, workers=workers)
    check_callable("handle", handle, "a function that takes a user record")
    if divert is not None:
        check_callable("divert", divert, "a function that takes a user record and an error")
    unpack((), on_corrupt=on_corrupt)  # raises now what it would raise at the first record
    records = records_of(event)
    in_window = "window" in event or "state" in event
    if in_window and (progress is not None or workers > 1):
        raise ValueError(
            "a tumbling window takes neither progress nor workers: the window's state would miss records that a failed"
            " invocation had marked as done, or count twice those handled ahead of the failed one"
        )
    batch = Batch(
        records,
        handle,
        divert,
        progress,
        max_attempts=max_attempts,
        save_every=save_every,
        on_corrupt=on_corrupt,
    )
    if not in_window:
        batch.run(workers)
        return {"batchItemFailures": batch.failures()}
    batch.run(workers, state=lambda: event.get("state") or {})
    state = (event.get("state") or {}) if batch.error is None else batch.state_before
    return {"batchItemFailures": batch.failures(), "state": state}


def _check_settings(
    on_failure: OnFailure, divert: Callable[[ReceivedRecord, Exception], object] | None, **counts: int
) -> None:
    if on_failure not in ("stop", "divert"):
        raise ValueError(f'on_failure is {shown(on_failure)}; choose "stop" or "divert"')
    if (on_failure == "divert") != (divert is not None):
        raise ValueError(
            'on_failure="divert" needs divert, a function that takes the user record and the error'
            if divert is None
            else 'divert is given and on_failure is "stop", so it would never be called; choose on_failure="divert"'
        )
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} is {shown(count)}; give a whole number of at least 1")
