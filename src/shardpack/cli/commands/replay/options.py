"""The options of `shardpack replay`."""

from __future__ import annotations

from typing import Annotated

import typer

from ...options import EndpointURL, Profile, Region


def replay_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Where the messages are: a file, -, a queue's URL or ARN, or s3://BUCKET/PREFIX."
        ),
    ],
    handler: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="Call this function with each user record.")
    ] = None,
    invoke: Annotated[
        str | None, typer.Option(metavar="FUNCTION", help="Call this Lambda function with the Kinesis records.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="FILE", help="Append the user records as `shardpack unpack` writes them.")
    ] = None,
    put: Annotated[
        str | None, typer.Option(metavar="STREAM", help="Put the user records into this stream again.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be handed over, and what has expired.")
    ] = False,
    progress_table: Annotated[
        str | None, typer.Option(metavar="TABLE", help="Skip what this DynamoDB table has as done, and add to it.")
    ] = None,
    progress_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="The same with a SQLite file, which is made if it is not there.")
    ] = None,
    consumer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose progress it is: the failed function's name.", show_default=False),
    ] = None,
    delete: Annotated[
        bool | None,
        typer.Option(
            "--delete/--keep",
            help="Whether messages of which all is done are deleted.",
            show_default="those of a queue are, objects are not",
        ),
    ] = None,
    max_attempts: Annotated[
        int, typer.Option(min=1, help="With --handler or --invoke: tries before a record has failed.")
    ] = 1,
    workers: Annotated[int, typer.Option(min=1, help="With --handler: user records at a time, in order by key.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one line of JSON.")] = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointURL = None,
) -> None:
    """Handle the batches that Lambda gave up, as its on-failure destination names them, once more.

    SQS and SNS get only where in the stream such a batch lies; its records are read again as long as the stream retains
    them. S3 gets the records too. Messages of which something has failed or expired stay where they are, and the others
    are handled all the same.

    The exit status is 0 when everything is done, 3 when some records had expired and all others are done, 1 when
    something failed, and 130 after Ctrl-C, which leaves the messages that are not done for the next time.
    """
    chosen = [one for one in (handler, invoke, to, put) if one is not None]
    if len(chosen) != 1 and not (dry_run and not chosen):
        raise typer.BadParameter("choose one of --handler, --invoke, --to and --put, or only --dry-run")
    if progress_table is not None and progress_file is not None:
        raise typer.BadParameter("choose one of --progress-table and --progress-file")
    if consumer is None and (progress_table is not None or progress_file is not None):
        raise typer.BadParameter("whose progress it is, --consumer says: for a Lambda function, the function's name")
    if max_attempts > 1 and handler is None and invoke is None:
        raise typer.BadParameter("--max-attempts goes with --handler and --invoke")
    if workers > 1 and handler is None:
        raise typer.BadParameter("--workers goes with --handler")
    from .running import Choices, run

    choices = Choices(
        source=source,
        handler=handler,
        invoke=invoke,
        to=to,
        put=put,
        dry_run=dry_run,
        progress_table=progress_table,
        progress_file=progress_file,
        consumer=consumer,
        delete=delete,
        max_attempts=max_attempts,
        workers=workers,
        as_json=as_json,
        where={"region_name": region, "profile_name": profile, "endpoint_url": endpoint_url},
    )
    status = run(choices)
    if status:
        raise typer.Exit(status)
