"""`process`: what a Lambda function calls."""

from __future__ import annotations

from _collections_abc import Mapping  # see `values`

from ..limits import check_callable, shown
from ..replay.core.events import is_message, is_of_window, records_of
from ..unpacking.unpacker import unpack
from ..values import TYPE_CHECKING
from ._batch import Batch
from ._settings import check_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..records import ReceivedRecord
    from ..unpacking.unpacker import OnCorrupt
    from ._settings import OnFailure
    from .progress import Progress


def process(
    event: Mapping[str, Any] | Sequence[Any],
    handle: Callable[[ReceivedRecord], object],
    *,
    on_failure: OnFailure = "stop",
    divert: Callable[[ReceivedRecord, Exception], object] | None = None,
    max_attempts: int = 1,
    progress: Progress | None = None,
    save_every: int = 1,
    workers: int = 1,
    on_corrupt: OnCorrupt = "raw",
    client: Any = None,
    s3_client: Any = None,
) -> dict[str, Any]:
    """Handle the user records of a Lambda event in their order, and say where Lambda is to go on.

    It takes what an event source mapping hands over, the list of EventBridge Pipes, a page of ``GetRecords``, and
    messages of SQS or SNS: those that carry Kinesis records, and those of an on-failure destination, which only say
    where the records lie; they are then read from the stream. A notification of S3, direct or through SQS, SNS or
    EventBridge, has the object read: what an on-failure destination or Firehose wrote there, or Kinesis records in any
    shape that `shardpack.files.read` knows. Each caller gets the answer that it reads.

    The event source mapping must have ``FunctionResponseTypes: [ReportBatchItemFailures]``: without it Lambda does not
    read the answer and takes a failure for a success.

    Args:
        event: what AWS hands to the function, aggregates and plain records in any mixture.
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
        client: a boto3 Kinesis client for messages of an on-failure destination; None: one is made for the stream's
            region, at the first such message.
        s3_client: a boto3 S3 client for objects; None: one is made at the first notification.

    Returns:
        The function's answer to Lambda: ``batchItemFailures``, with at most one sequence number, the lowest that is
        not done ("Configuring partial batch response with Kinesis Data Streams and Lambda"); for a pipe with the
        ``eventID`` of each record that is not done; for a queue with the ``messageId`` of each message of which not
        all is done, and of all after it when the queue is FIFO. For a tumbling window also ``state``, which is
        ``event["state"]`` as it was before the Kinesis record to be sent again.

    Raises:
        ValueError: a setting is out of its range or does not go together with another, or with a tumbling window.
        TypeError: ``handle`` or ``divert`` is asynchronous, or no function.
        DecodeError: the event has no list of records, or is one of Firehose or Kinesis Data Analytics, which want their
            records back (`shardpack.firehose.transform`).
        Exception: what ``handle`` raised, when nothing says where to go on: the failed record has no sequence number
            (in a pipe no ``eventID``), the records are from more than one shard, or the caller is SNS, S3 or
            EventBridge, which read no answer. All of the event then comes again.
    """
    check_settings(on_failure, divert, max_attempts=max_attempts, save_every=save_every, workers=workers)
    check_callable("handle", handle, "a function that takes a user record")
    if progress is not None and not (hasattr(progress, "load") and hasattr(progress, "save")):
        raise TypeError(f"progress is {shown(progress)}; give a Progress, such as DynamoDBProgress or SQLiteProgress")
    unpack((), on_corrupt=on_corrupt)  # raises now what it would raise at the first record
    records = records_of(event)
    if is_of_window(event) and (progress is not None or workers > 1):
        raise ValueError(
            "a tumbling window takes neither progress nor workers: the window's state would miss records that a failed"
            " invocation had marked as done, or count twice those handled ahead of the failed one"
        )

    def batch_of(records: list[Any]) -> Batch:
        return Batch(
            records,
            handle,
            divert,
            progress,
            max_attempts=max_attempts,
            save_every=save_every,
            on_corrupt=on_corrupt,
        )

    if any(map(is_message, records)):
        from ..replay.shells.clients import Clients
        from ._messages import message_failures

        clients = Clients(kinesis=client, s3=s3_client)
        return {"batchItemFailures": message_failures(records, lambda r: batch_of(r).run(workers), clients)}
    if isinstance(event, Mapping) and is_of_window(event):
        from ._window import EventState, answer_of_window

        return answer_of_window(batch_of(records), EventState(event))
    return {"batchItemFailures": batch_of(records).run(workers).failures()}
