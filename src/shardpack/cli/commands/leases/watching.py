"""`shardpack leases show --watch`: who reads what, and how far, again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

import typer

from ....leases.lease import Lease
from ...messages import LONGEST_MESSAGE
from ...reading import InputError
from ...terminal import Column, console, print_table, printable, row

_ONE_LINE = 10_000  # characters; no terminal, no reason to break lines

_NUMBERS = {"renewals", "age", "behind", "counter", "sub", "switches"}

Behind = Mapping[str, int | str | None]


class Watching:
    """Tables of leases, one after another, with what has changed in between.

    Args:
        now: seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._before: dict[str, Lease] = {}
        self._since: dict[str, float] = {}  # when a checkpoint was first seen as it is

    def rows(self, leases: Iterable[Lease], behind: Behind | None) -> list[list[str]]:
        """What there is now, beside what there was at the look before: the cells of `columns`."""
        rows = []
        for lease in leases:
            before = self._before.get(lease.key)
            if before is None or before.checkpoint != lease.checkpoint:
                self._since[lease.key] = self._now()
            giver = f" (from {lease.checkpoint_owner})" if lease.checkpoint_owner else ""
            owner = lease.owner and lease.owner + giver
            moved = None if before is None else lease.counter - before.counter
            position = lease.checkpoint
            where = position.sequence_number + f":{position.sub_sequence_number}" * position.sequence_number.isdigit()
            cells = [lease.key, owner, moved, where, self._age(lease)]
            rows.append([*row(cells), *([lag(behind.get(lease.key))] if behind is not None else [])])
            self._before[lease.key] = lease
        return rows

    def _age(self, lease: Lease) -> str:
        """How long ago all was done that the checkpoint covers, or for how long it has been seen as it is."""
        if lease.done_until is not None:
            return str(timedelta(seconds=max(0, round(self._now() - lease.done_until))))
        return f"> {timedelta(seconds=round(self._now() - self._since[lease.key]))}"


def columns(names: Iterable[str]) -> list[Column]:
    """Of a table of leases."""
    return [Column(name, name in _NUMBERS) for name in names]


def watch(
    look: Callable[[], tuple[list[Lease], Behind | None, InputError | None]], every: float, looks: int | None
) -> None:
    """Print a table, wait, and again, until Ctrl-C or after so many looks.

    Raises:
        InputError: the stream cannot be asked, at the last of the looks.
    """
    watching, is_terminal = Watching(), sys.stdout.isatty()
    done = 0
    while True:
        leases, behind, trouble = look()
        printer = console(width=None if is_terminal else _ONE_LINE)
        if is_terminal:
            printer.clear()
        printer.print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        names = ("shard", "owner", "renewals", "checkpoint", "age", *(["behind"] if behind is not None else []))
        print_table(printer, columns(names), watching.rows(leases, behind))
        done += 1
        if trouble is not None:
            printer.print(printable(trouble, most=LONGEST_MESSAGE))
        if looks is not None and done >= looks:
            if trouble is not None:
                raise trouble
            return
        try:
            time.sleep(every)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def lag(millis: int | str | None) -> str:
    """How far behind, for people; or what is wrong, in whoever's words."""
    if millis is None or isinstance(millis, str):
        return printable(millis or "-")
    return str(timedelta(seconds=round(millis / 1000)))
