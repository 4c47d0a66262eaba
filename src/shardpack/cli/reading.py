"""Lines to user records, and files that describe shards. Wrong input names file and line."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ..errors import DecodeError, EncodeError, FileError
from ..files._content import Content
from ..files._documents import parse_json
from ..files._lines import Lines
from ..files._opening import opened
from ..hashing import Shard, ShardMap
from ..limits import MAX_HASH_KEY
from ..records import UserRecord

_LINES_PER_KEY = 1000


class InputError(Exception):
    """What is wrong with what the user gave, and what to do."""


class Place(Protocol):
    """What knows where in a file it is."""

    def error(self, message: object) -> FileError:
        """An error with the file, and the line or byte."""


def user_records(lines: Lines, key_field: str | None, *, one_key: bool) -> Iterator[UserRecord]:
    """A user record for each line; see `user_record`."""
    return map(user_record(lines, key_field, one_key=one_key), lines)


def user_record(lines: Lines, key_field: str | None, *, one_key: bool) -> Callable[[bytes], UserRecord]:
    """What makes a user record of a line, the line its data.

    Args:
        lines: the input.
        key_field: the field of the JSON object on each line that holds its partition key; with dots for fields inside.
            None: lines are text without a key of their own.
        one_key: give all text lines one key, which keeps their order under every routing; else the key changes every
            thousand lines, which spreads aggregates over the shards.
    """

    def convert(line: bytes) -> UserRecord:
        if key_field is not None:
            key = _partition_key(lines, line, key_field)
        else:
            key = "0" if one_key else str((lines.number - 1) // _LINES_PER_KEY)
        return UserRecord(key, line)

    return convert


def delimited_record(lines: Lines, delimiter: str) -> Callable[[bytes], UserRecord]:
    """What makes a user record of a line that holds the partition key, a delimiter and the data."""
    mark = delimiter.encode("utf-8", "surrogateescape")

    def convert(line: bytes) -> UserRecord:
        key, found, data = line.partition(mark)
        if not found:
            raise lines.error(
                f"the delimiter {delimiter!r} is not on this line; --key-delimiter takes KEY{delimiter}DATA"
            )
        try:
            return UserRecord(key.decode(), data)
        except UnicodeDecodeError:
            raise lines.error("the key before the delimiter is not UTF-8") from None

    return convert


def _partition_key(lines: Lines, line: bytes, key_field: str) -> str:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise lines.error(f"not JSON ({error}); --key takes JSON lines") from None
    for name in key_field.split("."):
        if not isinstance(value, dict) or name not in value:
            raise lines.error(f"the JSON value on this line has no field {key_field!r}")
        value = value[name]
    if isinstance(value, dict | list | bool) or value is None:
        raise lines.error(f"the field {key_field!r} is {json.dumps(value)[:40]}; a partition key is text or a number")
    return str(value)


def data_field(data: bytes) -> dict[str, str]:
    """Data as JSON has it: as text, or, if it is not UTF-8, in base64."""
    try:
        return {"data": data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}


def user_record_line(record: UserRecord, **more: object) -> bytes:
    """A user record and whatever else, as a line for `written_user_records`."""
    fields = {"partition_key": record.partition_key, "explicit_hash_key": record.explicit_hash_key}
    return json.dumps(fields | data_field(record.data) | more).encode() + b"\n"


def written_user_record(lines: Lines) -> Callable[[bytes], UserRecord]:
    """What makes a user record of a line by `shardpack unpack` or `user_record_line`; more fields do no harm."""

    def convert(line: bytes) -> UserRecord:
        try:
            value = parse_json(line)
        except ValueError as error:
            raise lines.error(f"not JSON ({error}); --user-records takes what `shardpack unpack` writes") from None
        if isinstance(value, dict) and ("input" in value or "input_base64" in value):
            raise lines.error('a line that was no user record before, kept as "input"; put it right, and put that')
        if not isinstance(value, dict) or "partition_key" not in value:
            raise lines.error('no user record: give an object with "partition_key" and "data" or "data_base64"')
        if value.get("tags"):
            raise lines.error("the user record has tags, which a producer does not put; leave them out")
        return UserRecord(value["partition_key"], _written_data(lines, value), value.get("explicit_hash_key"))

    return convert


def _written_data(lines: Lines, value: dict[str, Any]) -> bytes:
    text, encoded = value.get("data"), value.get("data_base64")
    try:
        if isinstance(text, str):
            return text.encode()
        if isinstance(encoded, str):
            return base64.b64decode(encoded, validate=True)
    except UnicodeEncodeError as error:
        raise lines.error(f'"data" is not text ({error})') from None
    except ValueError as error:
        raise lines.error(f'"data_base64" is not base64 ({error})') from None
    raise lines.error('no user record: neither "data" nor "data_base64" is text')


@contextmanager
def errors_at(place: Place) -> Iterator[None]:
    """What the codec says of a record, said of the place that it came from."""
    try:
        yield
    except FileError:
        raise
    except (EncodeError, DecodeError, TypeError, OverflowError) as error:
        raise place.error(error) from error
    except RecursionError:
        raise place.error("it is nested too deeply to hold Kinesis records") from None


def shard_map(shards: int | None, file: str | None) -> ShardMap | None:
    """A shard map from the output of ``aws kinesis list-shards``, or of equal shards, or None.

    Raises:
        InputError: the file is no such output.
    """
    if file is not None:
        with opened(file) as source:
            try:
                return ShardMap(shard for page in Content(source) for shard in page["Shards"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{file}: not the output of `aws kinesis list-shards` ({error})") from None
    if shards is None:
        return None
    bounds = [(MAX_HASH_KEY + 1) * n // shards for n in range(shards + 1)]
    return ShardMap(Shard(f"shardId-{n:012}", bounds[n], bounds[n + 1] - 1) for n in range(shards))
