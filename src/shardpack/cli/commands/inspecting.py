"""How `shardpack inspect` shows a Kinesis record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

import typer
from rich.console import Console

from ...hashing import ShardMap
from ...inspection import Inspection, inspect_record
from ...unpacking.shapes import kinesis_records
from ..reading import data_field
from ..terminal import Column, json_text, print_table, printable

_SHOWN_DATA = 48
_MOST_OF_CELL = 12
_MOST_DIGITS = 39  # of a hash key: 2^128 - 1
_MOST_TEXT = 1000  # characters of one field; the service allows a key 256


def show(source: Iterable[Any], shard_map: ShardMap | None, most: int, first: int, console: Console) -> None:
    """Print the first Kinesis records of a source, each with at most so many of its user records."""
    records = kinesis_records(source)
    shown = 0
    for record in islice(records, first):
        if shown:
            console.print()
        shown += 1
        _show_one(inspect_record(record, shard_map or ShardMap.single("the only shard")), most, console)
    if not shown:
        console.print("There is no Kinesis record in the input.")
    elif next(records, None) is not None:
        console.print("\nThere are more Kinesis records in the input; --first shows more of them.", style="dim")


def show_json(source: Iterable[Any], shard_map: ShardMap | None, most: int, first: int) -> None:
    """The same as lines of JSON."""
    for record in islice(kinesis_records(source), first):
        told = _told(inspect_record(record, shard_map or ShardMap.single("the only shard")), most)
        typer.echo(json_text(told))


def _told(inspection: Inspection, most: int) -> dict[str, Any]:
    record, shard = inspection.record, inspection.outer_shard
    kind = "corrupt" if inspection.fault else "aggregate" if inspection.sub_records else "plain"
    return {
        "kind": kind,
        "fault": None if inspection.fault is None else str(inspection.fault),
        "partition_key": record.partition_key,
        "explicit_hash_key": record.explicit_hash_key,
        "sequence_number": record.sequence_number,
        "shard_id": None if shard is None else shard.shard_id,
        "size": inspection.size,
        "put_payload_units": inspection.put_payload_units,
        "payload_bytes": inspection.payload_bytes,
        "key_bytes": inspection.key_bytes,
        "explicit_hash_key_bytes": inspection.explicit_hash_key_bytes,
        "framing_bytes": inspection.framing_bytes,
        "md5": None if inspection.checksum is None else inspection.checksum.hex(),
        "kcl": list(inspection.kcl),
        "user_record_count": len(inspection.sub_records),
        "user_records": [
            {
                "partition_key": one.partition_key,
                "explicit_hash_key": one.explicit_hash_key,
                "hash_key": None if one.hash_key is None else str(one.hash_key),
                "shard_id": one.shard_id,
                **data_field(one.data),
            }
            for one in inspection.sub_records[:most]
        ],
    }


def _show_one(inspection: Inspection, most: int, console: Console) -> None:
    if inspection.fault is not None:
        console.print("Starts like an aggregate, and is not a sound one", style="bold")
        console.print(f"  {printable(inspection.fault, most=_MOST_TEXT)}")
    elif inspection.sub_records:
        console.print(f"An aggregate of {len(inspection.sub_records):,} user records", style="bold")
    else:
        console.print("A plain record", style="bold")
    for name, value in _summary(inspection):
        console.print(f"{name:23}  {value}", soft_wrap=True)
    for verdict in inspection.kcl:
        console.print(f"The KCL {printable(verdict, most=_MOST_TEXT)}.")
    if inspection.sub_records:
        console.print()
        _print_sizes(inspection, console)
        if most:
            console.print()
            _print_records(inspection, most, console)


def _summary(inspection: Inspection) -> Iterator[tuple[str, str]]:
    record = inspection.record
    yield "size", f"{inspection.size:,} bytes as Kinesis counts them, {_units(inspection.put_payload_units)}"
    yield "partition key", _text(repr(record.partition_key)) if record.partition_key is not None else "unknown"
    yield "explicit hash key", _text(record.explicit_hash_key or "none")
    if inspection.outer_hash_key is not None and inspection.outer_shard is not None:
        yield "routed by", f"{inspection.outer_hash_key} to {_text(inspection.outer_shard.shard_id)}"
    if record.sequence_number is not None:
        yield "sequence number", _text(record.sequence_number)
    if inspection.checksum is not None:
        yield "MD5", f"{inspection.checksum.hex()}, {'as it must be' if not inspection.fault else 'see above'}"
    if inspection.sub_records:
        yield "partition key table", _entries(inspection.partition_key_table)
        yield "explicit hash key table", _entries(inspection.explicit_hash_key_table)


def _entries(table: Sized) -> str:
    return "1 entry" if len(table) == 1 else f"{len(table):,} entries"


def _units(count: int) -> str:
    return "1 PUT payload unit" if count == 1 else f"{count:,} PUT payload units"


def _print_sizes(inspection: Inspection, console: Console) -> None:
    count = len(inspection.sub_records)
    parts = {
        "user data": inspection.payload_bytes,
        "partition keys": inspection.key_bytes,
        "explicit hash keys": inspection.explicit_hash_key_bytes,
        "framing and indices": inspection.framing_bytes,
        "magic and MD5": 20,
        "outer partition key": inspection.size - len(inspection.record.data),
    }
    rows = [[part, f"{size:,}", f"{size / inspection.size:.1%}", f"{size / count:.1f}"] for part, size in parts.items()]
    numbers = [Column(name, is_number=True) for name in ("bytes", "share", "a user record")]
    print_table(console, [Column("where the bytes go"), *numbers], rows)


def _print_records(inspection: Inspection, most: int, console: Console) -> None:
    outer = inspection.record.explicit_hash_key
    rows = [
        [
            f"{index:,}",
            _abbreviated(record.partition_key, quoted=True),
            f"{len(record.data):,}",
            _text(record.shard_id or "none"),
            printable(repr(record.data[:_SHOWN_DATA].decode(errors="replace"))),
            "not a number" if record.hash_key is None else str(record.hash_key),
            "pinned" if outer is not None and record.explicit_hash_key == outer else _number(record.explicit_hash_key),
        ]
        for index, record in enumerate(inspection.sub_records[:most])
    ]
    heads = ["bytes", "shard", "data", "hash key", "explicit hash key"]
    columns = [Column("#", is_number=True), Column("partition key"), *(Column(one, one == "bytes") for one in heads)]
    print_table(console, columns, rows)
    if len(inspection.sub_records) > most:
        console.print(f"and {len(inspection.sub_records) - most:,} more; --records shows more of them", style="dim")


def _text(text: str) -> str:
    return printable(text, most=_MOST_TEXT)


def _number(text: str | None) -> str:
    """A hash key to its last digit; one that is none may be of any length."""
    return "none" if text is None else printable(text) if len(text) <= _MOST_DIGITS else _abbreviated(text)


def _abbreviated(text: str, *, quoted: bool = False) -> str:
    # A key may have megabytes and stand in a thousand rows: only its ends are looked at.
    ends = text if len(text) <= 2 * _MOST_OF_CELL else text[:_MOST_OF_CELL] + text[-_MOST_OF_CELL:]
    shown = printable(repr(ends) if quoted else ends)
    return shown if len(shown) <= _MOST_OF_CELL else f"{shown[:5]}…{shown[-5:]}"
