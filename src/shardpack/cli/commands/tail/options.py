"""The options of `shardpack tail`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from ...long_keys import DEFAULT_MAX_KEY_CHARACTERS, MaxKeyCharacters
from ...options import EndpointURL, Profile, Region
from .line_format import MEANING, chosen, line_format

if TYPE_CHECKING:
    from .until import Until

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_POSITION = re.compile(r"([^:]+):([0-9]{1,129})")


def tail_command(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream's name or ARN.")],
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            "-o",
            metavar="WHERE",
            help="LATEST, TRIM_HORIZON, a time such as 2026-11-23T10:00:00Z, or how long ago: 90s, 15m, 2h, 1d.",
            show_default="LATEST; TRIM_HORIZON with --no-follow or --until",
        ),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="SHARD:SEQ", help="In this shard, from the Kinesis record with this number; repeatable."),
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option(metavar="SHARD:SEQ", help="The same, from the one after it; repeatable.")
    ] = None,
    until: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TIME|SHARD:SEQ",
            help="End with what arrived before TIME, or in this shard with the Kinesis record with this number;"
            " repeatable. Other shards end where the stream ends now.",
        ),
    ] = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="Write no records, but at the end which keys and shards they are on.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", "-J", help="Write everything about a user record, as `shardpack unpack` does.")
    ] = False,
    base64_lines: Annotated[bool, typer.Option("--base64", help="Write the data in base64.")] = False,
    line: Annotated[
        str | None, typer.Option("--format", "-f", metavar="FORMAT", help=f"Write each as this says: {MEANING}.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", "-k", metavar="KEY", help="Only with this partition key; repeatable.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("--filter", metavar="REGEX", help="Only those whose data this is found in.")
    ] = None,
    records: Annotated[
        int | None, typer.Option("--records", "-c", min=1, help="End after so many user records.")
    ] = None,
    no_follow: Annotated[
        bool, typer.Option("--no-follow", "-e", help="End when everything that the stream holds is written.")
    ] = False,
    max_key_characters: MaxKeyCharacters = DEFAULT_MAX_KEY_CHARACTERS,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointURL = None,
) -> None:
    """Follow a stream: write its user records as they come, aggregated or plain, each on a line.

    Those of a shard come in their order, and what a shard was split or merged into after it. Ctrl-C ends it after a
    whole line, a second one at once. A stream that never answers is given up after five tries; one that has answered is
    waited for. Nothing is kept of where it was. No other consumer is disturbed, but for the five reads a second that a
    shard grants to all of them together.
    """
    if as_json + base64_lines + (line is not None) > 1:
        raise typer.BadParameter("choose one of --json, --base64 and --format")
    start_at = {shard_id: ("AT_SEQUENCE_NUMBER", number) for shard_id, number in map(_position, at or ())}
    start_at |= {shard_id: ("AFTER_SEQUENCE_NUMBER", number) for shard_id, number in map(_position, after or ())}
    if stats and (as_json or base64_lines):
        raise typer.BadParameter("--stats writes no records: leave out --json and --base64")
    from .hot import Hot
    from .running import Tail

    where = {"region_name": region, "profile_name": profile, "endpoint_url": endpoint_url}
    tail = Tail(
        as_json=as_json,
        base64_lines=base64_lines,
        most=records,
        follow=not no_follow,
        most_of_key=max_key_characters,
        show=None if line is None else line_format(line),
        chosen=chosen(key or (), pattern),
        until=_until(until) if until else None,
        hot=Hot() if stats else None,
    )
    # What has not come yet is not there at the end of what the stream holds.
    tail.run(stream, _start(start or ("TRIM_HORIZON" if no_follow or until else "LATEST")), start_at, where)


def _until(texts: list[str]) -> Until:
    from .until import Until

    positions = dict(_position(text) for text in texts if _POSITION.fullmatch(text) and text.startswith("shardId-"))
    moments = [text for text in texts if text.partition(":")[0] not in positions]
    if len(moments) > 1:
        raise typer.BadParameter(f"--until names {len(moments)} moments, {moments[0]!r:.60} among them; give one")
    moment = _moment("--until", moments[0]) if moments else None
    return Until(moment, {shard_id: int(number) for shard_id, number in positions.items()})


def _start(text: str) -> str | datetime:
    return text if text in ("LATEST", "TRIM_HORIZON") else _moment("--from", text)


def _moment(option: str, text: str) -> datetime:
    choices = "LATEST, TRIM_HORIZON, " if option == "--from" else "SHARD:SEQ, "
    try:
        if ago := re.fullmatch(r"([0-9]{1,9})([smhd])", text):
            moment = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            moment = datetime.fromisoformat(text)
    except OverflowError:
        raise typer.BadParameter(
            f"{option} is {text!r:.100}, before the year 1; a stream keeps what is a year old at most"
        ) from None
    except ValueError:
        raise typer.BadParameter(
            f"{option} is {text!r:.100}; give {choices}a time such as 2026-11-23T10:00:00Z, or 15m, 2h, 1d"
        ) from None
    if moment.tzinfo is None:
        raise typer.BadParameter(
            f"{option} is {text!r:.100}, without a time zone; append Z for UTC, or +01:00 and so on"
        )
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:  # years that every offset leaves within what a datetime can be
        raise typer.BadParameter(f"{option} is {text!r:.100}; give a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment


def _position(text: str) -> tuple[str, str]:
    parts = _POSITION.fullmatch(text)
    if parts is None:
        raise typer.BadParameter(
            f"{text!r:.100} is no position; give SHARD:SEQ, such as shardId-000000000000:4959033827"
        )
    return parts[1], parts[2]
