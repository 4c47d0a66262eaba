"""The limit on keys that are written out for each user record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from ..limits import MAX_PARTITION_KEY_CHARACTERS
from ..records import ReceivedRecord
from .reading import Place

MaxKeyCharacters = Annotated[
    int,
    typer.Option(
        "--max-key-characters",
        min=0,
        help="Refuse an aggregate with a longer key, which JSON repeats for each user record; 0: no limit.",
    ),
]
DEFAULT_MAX_KEY_CHARACTERS = MAX_PARTITION_KEY_CHARACTERS


def without_long_keys(records: Iterable[ReceivedRecord], most: int, place: Place) -> Iterator[ReceivedRecord]:
    """The same records, up to the first out of an aggregate that has a longer key.

    Raises:
        FileError: there is one. A megabyte of input could become 45 GB of output.
    """
    for record in records:
        if most and record.aggregated:
            _check(record, most, place)
        yield record


def _check(record: ReceivedRecord, most: int, place: Place) -> None:
    for name, key in (("partition key", record.partition_key), ("explicit hash key", record.explicit_hash_key)):
        if key is not None and len(key) > most:
            raise place.error(
                f"a user record of the aggregate at sequence number"
                f" {record.sequence_number!r:.140} has a {name} of {len(key):,} characters, which would be written out"
                f" for each record that has it; Kinesis takes {MAX_PARTITION_KEY_CHARACTERS}. --max-key-characters 0"
                " writes it, and --text, --base64 and --raw write no keys"
            )
