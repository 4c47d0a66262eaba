"""`--format`, `--key` and `--filter` of `shardpack tail`, in the manner of kcat."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import typer

from ....records import ReceivedRecord

FIELDS: dict[str, Callable[[ReceivedRecord], object]] = {
    "k": lambda record: record.partition_key,
    "s": lambda record: record.data,
    "S": lambda record: len(record.data),
    "e": lambda record: record.explicit_hash_key,
    "p": lambda record: record.shard_id,
    "o": lambda record: record.sequence_number,
    "u": lambda record: record.sub_sequence_number,
    "T": lambda record: _milliseconds(record),
}
MEANING = (
    "%k partition key, %s data, %S its bytes, %e explicit hash key, %p shard, %o sequence number, %u sub-sequence"
    r" number, %T arrival in ms, %% a percent sign; \n and \t"
)
_TOKEN = re.compile(r"%(.?)|\\(.?)", re.DOTALL)
_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0", "\\": b"\\"}

Show = Callable[[ReceivedRecord], bytes]
Piece = bytes | Callable[[ReceivedRecord], object]


def line_format(text: str) -> Show:
    """What makes a line of a user record; the line has no end but what the format gives it.

    Raises:
        BadParameter: the format has a token that means nothing.
    """
    pieces: list[Piece] = []
    at = 0
    for found in _TOKEN.finditer(text):
        pieces.append(text[at : found.start()].encode("utf-8", "surrogateescape"))
        at = found.end()
        field, escape = found[1], found[2]
        if field == "%":
            pieces.append(b"%")
        elif field in FIELDS:
            pieces.append(FIELDS[field])
        elif escape in _ESCAPES:
            pieces.append(_ESCAPES[escape])
        else:
            raise typer.BadParameter(f"--format has {found[0]!r}, which means nothing; there are {MEANING}")
    pieces.append(text[at:].encode("utf-8", "surrogateescape"))

    def show(record: ReceivedRecord) -> bytes:
        return b"".join(piece if isinstance(piece, bytes) else _bytes(piece(record)) for piece in pieces)

    return show


def chosen(keys: Collection[str], pattern: str | None) -> Callable[[ReceivedRecord], bool] | None:
    """What says whether a user record is to be written; None: all are.

    Raises:
        BadParameter: the pattern is no regular expression.
    """
    if not keys and pattern is None:
        return None
    try:
        found = None if pattern is None else re.compile(pattern.encode("utf-8", "surrogateescape"))
    except (re.error, OverflowError, RecursionError) as error:  # the others: a number or a nesting beyond its limits
        raise typer.BadParameter(f"--filter is {pattern!r:.100}, which is no regular expression: {error}") from None
    wanted = frozenset(keys)

    def is_chosen(record: ReceivedRecord) -> bool:
        return (not wanted or record.partition_key in wanted) and (
            found is None or found.search(record.data) is not None
        )

    return is_chosen


def _milliseconds(record: ReceivedRecord) -> int | None:
    arrived = record.approximate_arrival_timestamp
    return None if arrived is None else round(arrived.timestamp() * 1000)


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode("utf-8", "replace")  # lone surrogates are what no encoding has
