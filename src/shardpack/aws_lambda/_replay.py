"""`replay`: the batches that Lambda gave up, once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..limits import shown
from ..records import ReceivedRecord
from ..unpacking.unpacker import OnCorrupt, unpack
from ._batch import Batch
from ._settings import OnFailure, check_settings, check_synchronous
from .progress import Progress

if TYPE_CHECKING:
    from ..replay.core.report import ReplayReport
    from ..replay.shells.destinations import Destination
    from ..replay.shells.running import Taken
    from ..replay.shells.sources import Given


def replay(
    source: Given,
    destination: Callable[[ReceivedRecord], object] | Destination | None = None,
    *,
    progress: Progress | None = None,
    dry_run: bool = False,
    delete: bool | None = None,
    on_failure: OnFailure = "stop",
    divert: Callable[[ReceivedRecord, Exception], object] | None = None,
    max_attempts: int = 1,
    save_every: int = 1,
    workers: int = 1,
    on_corrupt: OnCorrupt = "raw",
    tell: Callable[[ReplayReport], object] | None = None,
    region_name: str | None = None,
    profile_name: str | None = None,
    endpoint_url: str | None = None,
    client: Any = None,
    sqs_client: Any = None,
    s3_client: Any = None,
) -> ReplayReport:
    """Handle the user records of the batches that Lambda gave up, as its on-failure destination names them.

    SQS and SNS get only where in the stream such a batch lies; its Kinesis records are read again as long as the stream
    retains them, exactly from the first to the last. S3 gets the records too, and then these are used. Throttled reads,
    lost connections and expired iterators are tried again.

    Args:
        source: where the messages are: a queue's URL or ARN; ``s3://BUCKET/PREFIX``; the path of a file with JSON
            documents, compressed or not, or a stream of bytes; or the messages themselves, as texts or parsed. What
            SQS, SNS, EventBridge and notifications of S3 put around a message is taken off.
        destination: called with each user record, in the order of its shard; has failed when it raises. Or an
            `InvokeFunction` or a `PutAgain`. None: for a dry run.
        progress: which user records are done; they are skipped, and what is done now is added. Give it the failed
            function's ``consumer`` name. None: all user records of a batch are handled, those too that the function had
            done before it failed.
        dry_run: read everything, and report what would be handled and what has expired; hand nothing over, delete and
            save nothing.
        delete: whether a message of which everything is done is deleted. None: a message of a queue is, an object in S3
            is not. Messages of which something has failed or expired always stay.
        on_failure: as for `process`; for a function as the destination.
        divert: as for `process`.
        max_attempts: as for `process`.
        save_every: as for `process`. Other destinations save after at most 500 Kinesis records or 4 MiB of data.
        workers: as for `process`.
        on_corrupt: as for `process`.
        tell: called with the report so far after each page of records and each message, to show how it goes on.
        region_name: the region of queues and buckets; streams and ARNs name their own. None: the SDK's settings.
        profile_name: a profile of the AWS SDK's configuration.
        endpoint_url: a VPC endpoint or a local server, for all services.
        client: a boto3 Kinesis client; None: one is made for each region.
        sqs_client: a boto3 SQS client; None: one is made when it is needed.
        s3_client: a boto3 S3 client; None: one is made when it is needed.

    Returns:
        What has become of the messages: ``ok`` when all is done; ``expired`` lists what the stream no longer has, and
        ``failed`` what could not be read, handed over or deleted. A message that fails keeps no other from coming.

    Raises:
        ValueError: a setting is out of its range or does not go together with another, or there is no destination.
        TypeError: the destination is neither a function nor has ``take``, a function is asynchronous, or the source is
            none of the above.
        ModuleNotFoundError: boto3 is not installed.
        OSError, FileError: the file cannot be read.
        Exception: what boto3 raised when the queue or the bucket could not be read.
    """
    check_settings(on_failure, divert, max_attempts=max_attempts, save_every=save_every, workers=workers)
    unpack((), on_corrupt=on_corrupt)  # raises now what it would raise at the first record
    _check_destination(destination, dry_run=dry_run)
    from ..replay.shells.clients import Clients
    from ..replay.shells.running import Replay
    from ..replay.shells.sources import source_of

    settings: dict[str, Any] = {"max_attempts": max_attempts, "save_every": save_every, "on_corrupt": on_corrupt}

    def take(records: list[Any]) -> Taken:
        if dry_run:
            return _counted(Batch(records, lambda _: None, None, progress, **settings))
        if callable(destination):
            return _taken(Batch(records, destination, divert, progress, **settings).run(workers))
        assert destination is not None  # noqa: S101  # see _check_destination
        from ._handing_on import HandingOn

        batch = HandingOn(records, lambda _: None, None, progress, **settings)
        batch.run_to(destination)
        return _taken(batch)

    clients = Clients(region_name, profile_name, endpoint_url, kinesis=client, sqs=sqs_client, s3=s3_client)
    running = Replay(clients, take, tell)
    running.run(source_of(source, clients, delete=False if dry_run else delete))
    return running.report


def _check_destination(destination: object, *, dry_run: bool) -> None:
    if destination is None:
        if not dry_run:
            raise ValueError("there is no destination: give a function, InvokeFunction, or PutAgain, or dry_run=True")
    elif not callable(destination) and not hasattr(destination, "take"):
        raise TypeError(
            f"the destination is {shown(destination)}, of type {type(destination).__name__}; give a function that takes"
            " a user record, an InvokeFunction, or a PutAgain"
        )
    check_synchronous("the destination", destination)


def _counted(batch: Batch) -> Taken:
    return _taken(batch, handled=batch.look())


def _taken(batch: Batch, handled: int | None = None) -> Taken:
    from ..replay.shells.running import Taken

    return Taken(batch.handled if handled is None else handled, batch.skipped, batch.error)
