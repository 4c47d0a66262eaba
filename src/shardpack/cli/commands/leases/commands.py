"""`shardpack leases`: look at a store of leases, and put it right by hand, as conditionally as a worker would."""

from __future__ import annotations

import math
import os
import re
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ....records import Position
from ...reading import InputError
from ...terminal import console, json_text, print_table, printable, row
from . import watching

if TYPE_CHECKING:
    from ....leases.lease import Lease, Leases

_ATTEMPTS = 5  # a worker that renews is between two of its writes most of the time
_A_DAY = 86_400.0  # seconds; nobody waits longer, and much more is no time that a clock can wait
_ONE_LINE = 10_000  # characters; no terminal, no reason to break lines

app = typer.Typer(
    help="Look at who reads which shard and how far, and change it: sqlite:PATH or dynamodb:TABLE.",
    no_args_is_help=True,
)

Store = Annotated[str, typer.Argument(metavar="STORE", help="Where the leases are: sqlite:PATH or dynamodb:TABLE.")]
ShardId = Annotated[str, typer.Argument(metavar="SHARD", help="The shard's id, as `show` has it.")]
Region = Annotated[str | None, typer.Option(metavar="NAME", help="The table's AWS region.")]
Profile = Annotated[str | None, typer.Option(metavar="NAME", help="The profile in the AWS configuration.")]
EndpointUrl = Annotated[str | None, typer.Option(metavar="URL", help="A VPC endpoint, or a local server.")]
Force = Annotated[bool, typer.Option("--force", help="Take the lease from a worker that is alive, too.")]
Watch = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0.0,
        max=_A_DAY,
        help="How long a counter must stand still: the failover time of the workers.",
    ),
]


@app.command("show")
def show_command(
    store: Store,
    as_json: Annotated[bool, typer.Option("--json", help="Print each lease as a line of JSON.")] = False,
    stream: Annotated[
        str | None,
        typer.Option(metavar="STREAM", help="Ask this stream how far behind each checkpoint is: a read of each shard."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=_A_DAY, help="With --watch: the time between two looks.")
    ] = 10.0,
    looks: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="With --watch: end after so many looks.")
    ] = None,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Show every lease: its owner, its counter, and the position up to which everything is done.

    With --watch, each table shows how often each lease was renewed since the one before, and how long ago everything
    was done that the checkpoint covers. The stream is asked where botocore finds it (AWS_ENDPOINT_URL_KINESIS, say), in
    the region and by the profile given.
    """
    there = opened(store, region, profile, endpoint_url, stream=stream, only_look=True)
    if watch and as_json:
        raise typer.BadParameter("choose one of --watch and --json")

    def look() -> tuple[list[Lease], Mapping[str, int | str | None] | None, InputError | None]:
        leases = sorted(there.list(), key=lambda lease: lease.key)
        if stream is None:
            return leases, None, None
        from .lag import millis_behind

        try:
            return leases, millis_behind(stream, leases, region, profile), None
        except InputError as error:  # the leases are worth a look all the same
            return leases, {}, error

    if watch:
        watching.watch(look, every, looks)
        return
    leases, behind, trouble = look()
    _print(leases, behind or {}, as_json=as_json, with_lag=stream is not None)
    if trouble is not None:
        raise trouble


def _print(leases: Sequence[Lease], behind: Mapping[str, int | str | None], *, as_json: bool, with_lag: bool) -> None:
    if as_json:
        for lease in leases:
            told = _told(lease) | (_told_lag(behind.get(lease.key)) if with_lag else {})
            typer.echo(json_text(told))
        return
    names = ["shard", "owner", "counter", "checkpoint", "sub", "switches", "parents", "children"]
    lags = [[watching.lag(behind.get(lease.key))] if with_lag else [] for lease in leases]
    rows = [[*row(_row(lease)), *lag] for lease, lag in zip(leases, lags, strict=True)]
    out = console(width=None if sys.stdout.isatty() else _ONE_LINE)
    print_table(out, watching.columns([*names, *(["behind"] if with_lag else [])]), rows)


@app.command("set")
def set_command(
    store: Store,
    shard: ShardId,
    position: Annotated[
        str,
        typer.Argument(
            metavar="POSITION", help="TRIM_HORIZON, LATEST, SHARD_END, or the last user record done: SEQ or SEQ:SUB."
        ),
    ],
    stream: Annotated[
        str | None, typer.Option(metavar="STREAM", help="Ask this stream whether POSITION is one of the shard's.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Overwrite the checkpoint without asking.")] = False,
    force: Force = False,
    watch: Watch = 10.0,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Set a shard's checkpoint, and give its lease up, so that the next worker reads on from there.

    SEQ is SEQ:0, the Kinesis record's first user record. With --stream, the stream is asked whether the shard has such
    a record; without, you are asked, or say --yes, because the checkpoint that is there is lost. While a worker renews
    the lease nothing is changed, unless you --force it: then that worker loses the lease, and cannot checkpoint any
    more.
    """
    target = _position(position)
    leases = opened(store, region, profile, endpoint_url, stream=stream)
    if stream is not None or not yes:
        _confirm_change(_find(leases, shard), position, target, stream, region, profile, yes=yes)
    before = _resting(leases, shard, watch, force=force)
    operator = f"shardpack leases set on {socket.gethostname()}, process {os.getpid()}"
    taken = leases.take(before, operator)
    for _ in range(_ATTEMPTS if force else 0):
        if taken is not None:
            break
        before = _find(leases, shard)
        taken = leases.take(before, operator)
    if taken is None:
        raise _moving(shard, before)
    # Until when all was done was said of the checkpoint that there was.
    known = taken.done_until if target == taken.checkpoint else None
    written = leases.checkpoint(replace(taken, done_until=known), target)
    leases.release(written)
    _print_change(leases, before)


@app.command("release")
def release_command(
    store: Store,
    shard: ShardId,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Make a shard's lease nobody's, so that another worker can take it at once; its checkpoint stays.

    A worker that is alive loses it, and reads what it has not checkpointed again if it takes it back.
    """
    leases = opened(store, region, profile, endpoint_url)
    for _ in range(_ATTEMPTS):
        before = _find(leases, shard)
        if before.owner is None:
            typer.echo(f"{printable(shard)} is nobody's already")
            return
        if leases.release(before):
            _print_change(leases, before)
            return
    raise _moving(shard, before)


@app.command("delete")
def delete_command(
    store: Store,
    shard: ShardId,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it, checkpoint and all.")] = False,
    force: Force = False,
    watch: Watch = 10.0,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Delete a shard's lease. Workers that find the shard without one begin it anew, where they are told to start."""
    leases = opened(store, region, profile, endpoint_url, only_look=not yes)
    if not yes:
        raise InputError(f"{shard} has {line(_find(leases, shard))}; to delete that, add --yes")
    lease = _resting(leases, shard, watch, force=force)
    for _ in range(_ATTEMPTS if force else 1):
        if leases.delete(lease):
            typer.echo(printable(f"deleted {shard}: {line(lease)}"))
            return
        lease = _find(leases, shard)
    raise _moving(shard, lease)


def _confirm_change(
    before: Lease,
    text: str,
    target: Position,
    stream: str | None,
    region: str | None,
    profile: str | None,
    *,
    yes: bool,
) -> None:
    """Have a position checked by the stream, or the change confirmed.

    Raises:
        InputError: the stream refuses it, or it is not confirmed.
    """
    doubt: str | None = "no --stream was named to check it"
    if stream is not None:
        from .check import doubt_about

        doubt = doubt_about(target, before.key, stream, region, profile)
    if doubt is None or yes:
        return
    change = f"{before.key} has {line(before)}, which {text} would overwrite, and {doubt}"
    if sys.stdin is None or not sys.stdin.isatty():
        raise InputError(f"{change}; to do it all the same, add --yes")
    if not typer.confirm(printable(f"{change}. Do it all the same?")):
        raise InputError("nothing was changed")


def opened(
    store: str,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
    *,
    stream: str | None = None,
    only_look: bool = False,
) -> Leases:
    """The store that an argument names; `only_look`: nothing of it is made or changed.

    Beside a file, region and profile are for the stream, where one is named.

    Raises:
        InputError, BadParameter, LeaseStoreError: there is none, or it cannot be used.
    """
    kind, _, name = store.partition(":")
    if kind not in {"sqlite", "dynamodb"} and Path(store).is_file():
        kind, name = "sqlite", store
    if kind not in {"sqlite", "dynamodb"} or not name:
        raise typer.BadParameter(
            f"STORE is {store!r:.100}; give sqlite:PATH or dynamodb:TABLE, or a file that is there"
        )
    if kind == "sqlite":
        if endpoint_url or (stream is None and (region or profile)):
            raise typer.BadParameter("--region, --profile and --endpoint-url are for dynamodb:TABLE")
        if not Path(name).is_file():
            raise InputError(f"{name}: no such file; give the one that the consumer's SQLiteLeases have")
        from ....leases.sqlite import SQLiteLeases

        looking = SQLiteLeases(name, read_only=True)
        if only_look:
            return looking
        looking.list()  # says what is wrong before an empty file becomes a lease file
        return SQLiteLeases(name)
    from ....leases.dynamodb import DynamoDBLeases

    leases = DynamoDBLeases(
        name, region_name=region, profile_name=profile, endpoint_url=endpoint_url, create_table=False
    )
    try:
        leases.prepare()
    except ModuleNotFoundError as error:
        raise InputError(error) from None
    return leases


def _find(leases: Leases, shard: str) -> Lease:
    known = {lease.key: lease for lease in leases.list()}
    if shard not in known:
        some = ", ".join(sorted(known)[:3]) or "none at all"
        raise InputError(f"there is no lease {shard!r}; there are {len(known)}: {some}{', ...' * (len(known) > 3)}")
    return known[shard]


def _resting(leases: Leases, shard: str, watch: float, *, force: bool) -> Lease:
    """The shard's lease, once it has stood still for so long; no clock but ours is looked at."""
    lease = _find(leases, shard)
    if force or lease.owner is None:
        return lease
    if not math.isfinite(watch):
        raise typer.BadParameter(f"--watch is {watch}; give a number of seconds")
    deadline = time.monotonic() + watch
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))
        if _find(leases, shard).counter != lease.counter:
            raise _moving(shard, lease)
    return lease


def _moving(shard: str, lease: Lease) -> InputError:
    return InputError(
        f"{lease.owner or 'another worker'} is alive and renews the lease of {shard}, so nothing was changed; stop that"
        " worker first, or take the lease from it with --force"
    )


def _position(text: str) -> Position:
    if text in {"TRIM_HORIZON", "LATEST", "SHARD_END"}:
        return Position(text)
    number = re.fullmatch(r"([0-9]{1,129})(?::([0-9]{1,18}))?", text)
    if number is None:
        raise typer.BadParameter(
            f"POSITION is {text!r:.200}; give TRIM_HORIZON, LATEST, SHARD_END, or a sequence number as SEQ or SEQ:SUB"
        )
    return Position(number[1], int(number[2] or 0))


def _print_change(leases: Leases, before: Lease) -> None:
    typer.echo(printable(f"before: {line(before)}"))
    typer.echo(printable(f"after:  {line(_find(leases, before.key))}"))


def line(lease: Lease) -> str:
    """A lease in a few words."""
    position = lease.checkpoint
    where = position.sequence_number + f":{position.sub_sequence_number}" * position.sequence_number.isdigit()
    return f"owner {lease.owner or 'nobody'}, counter {lease.counter}, checkpoint {where}"


def _row(lease: Lease) -> tuple[object, ...]:
    owner = lease.owner and lease.owner + (f" (from {lease.checkpoint_owner})" if lease.checkpoint_owner else "")
    position = lease.checkpoint
    numbers = lease.counter, position.sequence_number, position.sub_sequence_number, lease.owner_switches
    return lease.key, owner, *numbers, " ".join(lease.parents), " ".join(lease.children)


def _told_lag(millis: int | str | None) -> dict[str, int | str | None]:
    if isinstance(millis, str):
        return {"millis_behind_latest": None, "trouble": millis}
    return {"millis_behind_latest": millis}


def _told(lease: Lease) -> dict[str, Any]:
    """What ``--json`` prints; hash keys as strings, because few readers of JSON have 128 bits."""
    return {
        "shard": lease.key,
        "owner": lease.owner,
        "counter": lease.counter,
        "checkpoint": lease.checkpoint.sequence_number,
        "sub_sequence_number": lease.checkpoint.sub_sequence_number,
        "owner_switches": lease.owner_switches,
        "parents": lease.parents,
        "children": lease.children,
        "hash_range": lease.hash_range and [str(key) for key in lease.hash_range],
        "checkpoint_owner": lease.checkpoint_owner,
        "origin": lease.origin,
        "done_until": lease.done_until,
    }
