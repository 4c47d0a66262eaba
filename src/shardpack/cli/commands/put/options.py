"""The options of `shardpack put`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from ...options import EndpointURL, HashKeys, InputFile, KeyField, Profile, Region


def _setting(default: str, text: str, metavar: str | None = None) -> Any:
    """An option that, when it is not given, leaves the choice to `ProducerConfig`."""
    return typer.Option(
        help=text, metavar=metavar, show_default=default, rich_help_panel="Settings, as the KPL has them"
    )


class Route(StrEnum):
    """Choices of --route."""

    SHARD = "shard"
    KEY = "key"
    ANY = "any"


class OnError(StrEnum):
    """Choices of --on-error."""

    STOP = "stop"
    SKIP = "skip"


class Ordering(StrEnum):
    """Choices of --ordering."""

    NONE = "none"
    KEY = "key"


class OnFailure(StrEnum):
    """Choices of --on-failure."""

    CONTINUE = "continue"
    HALT_KEY = "halt_key"


def put_command(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream's name or ARN.")],
    file: InputFile = "-",
    key: KeyField = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            "--key-delimiter",
            "-K",
            metavar="TEXT",
            help="What stands before this in a line is its key, as with kcat -K.",
        ),
    ] = None,
    user_records: Annotated[
        bool, typer.Option("--user-records", help="Lines are JSON as `shardpack unpack` and --failed write it.")
    ] = False,
    failed: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Append user records that fail to this file; --user-records reads it."),
    ] = None,
    on_error: Annotated[
        OnError, typer.Option(help="What follows a line that is no user record, or none that Kinesis takes.")
    ] = OnError.STOP,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one line of JSON.")] = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointURL = None,
    hash_keys: Annotated[
        HashKeys, typer.Option(help="pinned: safe when a stream reshards; kpl: byte for byte what the KPL writes.")
    ] = HashKeys.PINNED,
    route: Annotated[
        Route,
        typer.Option(
            help="shard: a key stays on its shard; key: each key has its own aggregates; any: full aggregates on all"
            " shards evenly, and no order."
        ),
    ] = Route.SHARD,
    ordering: Annotated[
        Ordering, typer.Option(help="key: the records of a partition key stay in their order, whatever happens.")
    ] = Ordering.NONE,
    on_failure: Annotated[
        OnFailure, typer.Option(help="With --ordering key: whether a key's younger records go on when one has failed.")
    ] = OnFailure.CONTINUE,
    no_aggregation: Annotated[bool, typer.Option("--no-aggregation", help="One user record a Kinesis record.")] = False,
    aggregation_max_count: Annotated[int | None, _setting("no limit", "Most user records in an aggregate.")] = None,
    aggregation_max_size: Annotated[int | None, _setting("51200", "Most bytes of an aggregate.", "BYTES")] = None,
    collection_max_count: Annotated[int | None, _setting("500", "Most Kinesis records in a call.")] = None,
    collection_max_size: Annotated[int | None, _setting("5242880", "Most bytes in a call.", "BYTES")] = None,
    record_max_buffered_time: Annotated[
        float | None, _setting("0.1", "How long a user record may wait for others.", "SECONDS")
    ] = None,
    record_ttl: Annotated[float | None, _setting("30.0", "When what is not stored fails.", "SECONDS")] = None,
    rate_limit: Annotated[int | None, _setting("150", "How much of a shard's limits to use.", "PERCENT")] = None,
    fail_if_throttled: Annotated[bool, typer.Option("--fail-if-throttled", help="Do not retry throttling.")] = False,
    max_connections: Annotated[int | None, _setting("24", "Most calls at once.")] = None,
    connect_timeout: Annotated[float | None, _setting("6.0", "How long to wait for a connection.", "SECONDS")] = None,
    request_timeout: Annotated[float | None, _setting("6.0", "How long to wait for a response.", "SECONDS")] = None,
    max_outstanding_records: Annotated[
        int | None, _setting("200000", "User records on their way before reading waits.")
    ] = None,
    max_outstanding_bytes: Annotated[
        int | None, _setting("67108864", "Their bytes before reading waits.", "BYTES")
    ] = None,
) -> None:
    """Put lines into a stream, each a user record: aggregated, batched, tried again, and accounted for.

    Lines of text have no key of their own; they are given one that changes every thousand lines, which spreads them
    over the shards. With --ordering key they are all given the same, which keeps the order of the file. The exit status
    is 0 when every line is delivered, 1 when one failed or could not be read, and 130 after Ctrl-C, which stops the
    reading, delivers what was read, and prints the summary; a second Ctrl-C gives up, and a third ends it at once.

    With --on-error skip, a line that is no user record, or one that Kinesis does not take, is left out and counted, and
    with --failed it is kept: as a user record where it could be read as one, else as "input" with the line.
    """
    if (key is not None) + (delimiter is not None) + user_records > 1:
        raise typer.BadParameter("choose one of --key, --key-delimiter and --user-records")
    settings = _given(
        aggregation_enabled=not no_aggregation,
        aggregation_max_count=aggregation_max_count,
        aggregation_max_size=aggregation_max_size,
        collection_max_count=collection_max_count,
        collection_max_size=collection_max_size,
        record_max_buffered_time=record_max_buffered_time,
        record_ttl=record_ttl,
        rate_limit=rate_limit,
        fail_if_throttled=fail_if_throttled,
        max_connections=max_connections,
        connect_timeout=connect_timeout,
        request_timeout=request_timeout,
        max_outstanding_records=max_outstanding_records,
        max_outstanding_bytes=max_outstanding_bytes,
        hash_keys=hash_keys.value,
        route=route.value,
        ordering=ordering.value,
        on_failure=on_failure.value,
    )
    from .running import Choices, put

    choices = Choices(
        stream,
        file,
        settings,
        {"region_name": region, "profile_name": profile, "endpoint_url": endpoint_url},
        key=key,
        delimiter=delimiter,
        user_records=user_records,
        failed_file=failed,
        skip_errors=on_error is OnError.SKIP,
        as_json=as_json,
    )
    if status := put(choices):
        raise typer.Exit(status)


def _given(**settings: Any) -> dict[str, Any]:
    """The settings that were given; `ProducerConfig` has defaults for the others."""
    return {name: value for name, value in settings.items() if value is not None}
