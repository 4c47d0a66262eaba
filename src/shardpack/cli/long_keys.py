"""The limit on keys that are written out for each user record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

import typer

from ..limits import MAX_PARTITION_KEY_CHARACTERS
from ..records import ReceivedRecord

MaxKeyCharacters = Annotated[
    int,
    typer.Option(
        "--max-key-characters",
        min=0,
        help="Refuse an aggregate with a longer key, which JSON repeats for each user record; 0: no limit.",
    ),
]
DEFAULT_MAX_KEY_CHARACTERS = MAX_PARTITION_KEY_CHARACTERS


def without_long_keys(
    records: Iterable[ReceivedRecord], most: int, error: Callable[[ReceivedRecord, str], Exception]
) -> Iterator[ReceivedRecord]:
    """The same records, up to the first out of an aggregate that has a longer key; it raises there.

    A megabyte of input could become 45 GB of output.

    Args:
        records: user records.
        most: characters; 0: no limit.
        error: makes what is raised of such a record and of what is wrong with it.
    """
    for record in records:
        if most and record.aggregated and (found := _long_key(record, most)):
            raise error(record, f"{found}. --max-key-characters 0 writes it")
        yield record


def _long_key(record: ReceivedRecord, most: int) -> str | None:
    for name, key in (("partition key", record.partition_key), ("explicit hash key", record.explicit_hash_key)):
        if key is not None and len(key) > most:
            return (
                f"a user record of the aggregate at sequence number {record.sequence_number} has a {name} of"
                f" {len(key):,} characters, which would be written out for each record that has it; Kinesis takes"
                f" {MAX_PARTITION_KEY_CHARACTERS}"
            )
    return None
