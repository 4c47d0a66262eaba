"""`shardpack leases reset`: forget leases, so that the consumer begins anew."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ...messages import report
from ...reading import InputError
from ...terminal import printable
from .commands import EndpointUrl, Force, Profile, Region, Store, Watch, line, opened

if TYPE_CHECKING:
    from ....leases.lease import Lease, Leases


def reset_command(
    store: Store,
    stream: Annotated[
        str | None,
        typer.Option(metavar="STREAM", help="Only the leases that are not of this stream's shards as they are now."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them, checkpoints and all.")] = False,
    force: Force = False,
    watch: Watch = 10.0,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Delete all leases, or with --stream those of a stream that is no more, so that the consumer begins anew.

    A stream that was deleted and made again has shards with the same ids, in which the old checkpoints mean nothing.
    Stop the workers first. Without --yes, the leases are only listed.
    """
    leases = opened(store, region, profile, endpoint_url, stream=stream, only_look=not yes)
    found = _leases_to_delete(leases, stream, region, profile)
    for lease in found:
        typer.echo(printable(f"{lease.key}: {line(lease)}"))
    if not found:
        typer.echo("there is no lease to delete")
    elif not yes:
        raise InputError(f"to delete {_counted(found)}, checkpoints and all, add --yes")
    else:
        _delete(leases, found, 0.0 if force else watch)
    if yes and stream is None:
        _forget_stream(leases)


def _leases_to_delete(leases: Leases, stream: str | None, region: str | None, profile: str | None) -> list[Lease]:
    found = sorted(leases.list(), key=lambda lease: lease.key)
    if stream is None:
        return found
    from .lag import shards_of

    shards = shards_of(stream, region, profile)
    others = {lease.key for lease in found if lease.key in shards and shards[lease.key].disowns(lease)}
    # What is not listed any more is an old stream's only if others are; else it is a shard that has expired.
    return [lease for lease in found if lease.key in others or (others and lease.key not in shards)]


def _delete(leases: Leases, found: list[Lease], watch: float) -> None:
    before = {lease.key: lease.counter for lease in found}
    if watch and any(lease.owner for lease in found):
        time.sleep(watch)
        alive = [lease for lease in leases.list() if before.get(lease.key, lease.counter) != lease.counter]
        if alive:
            raise InputError(
                f"{alive[0].owner or 'a worker'} is alive and renews the lease of {alive[0].key}, so nothing was"
                " changed; stop the workers first, or delete the leases under them with --force"
            )
    kept = 0
    for lease in found:
        if not leases.delete(lease):
            kept += 1
            report(f"{lease.key}: a worker has changed the lease just now; it was left")
    if kept:
        raise InputError(f"{kept} of {_counted(found)} were left; stop the workers, and do it again")
    typer.echo(f"deleted {_counted(found)}")


def _forget_stream(leases: Leases) -> None:
    from ....leases.local import LocalLeases

    if isinstance(leases, LocalLeases):
        leases.forget_stream()


def _counted(leases: list[Lease]) -> str:
    return f"{len(leases):,} lease{'s' * (len(leases) != 1)}"
