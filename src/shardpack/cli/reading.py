"""Input, a piece at a time: lines to pack, and Kinesis records to unpack. Wrong input names file and line."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import typer

from ..errors import DecodeError, EncodeError
from ..hashing import Shard, ShardMap
from ..limits import MAX_HASH_KEY, MAX_RECORD_BYTES, MIB
from ..records import UserRecord
from ..wire.format import MAGIC

_LONGEST_LINE = 2 * MAX_RECORD_BYTES  # a 10 MiB record as base64 in JSON, and some
_LARGEST_DOCUMENT = 64 * MIB  # a GetRecords response of 10 MiB in base64 and indented, and much more
_LINES_PER_KEY = 1000


class InputError(Exception):
    """What is wrong with the input, with the file and line."""


@contextmanager
def open_input(file: str) -> Iterator[IO[bytes]]:
    """A file by its name, or standard input for "-"."""
    if file == "-":
        if sys.stdin is None:
            raise InputError("-: standard input is closed; name a file")
        yield typer.get_binary_stream("stdin")
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115  # closed below; only opening may fail with this message
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from None
    with stream:
        yield stream


def check_is_not_output(stream: IO[bytes], file: str) -> None:
    """Refuse to read what is being written, which would never end.

    Raises:
        InputError: standard output goes to the same file.
    """
    out = os.fstat(sys.stdout.fileno())
    if stat.S_ISREG(out.st_mode) and os.path.samestat(out, os.fstat(stream.fileno())):
        raise InputError(f"{file}: the input is the output too; write to another file")


class Lines:
    """The lines of an input, counted, and without their newlines.

    Attributes:
        number: of the line that was last given, from 1.
        ends_with_newline: whether that line had one.
    """

    def __init__(self, stream: IO[bytes], file: str, progress: Callable[[int], None] | None = None) -> None:
        self._stream = stream
        self._progress = progress
        self.file = file
        self.number = 0
        self.ends_with_newline = True

    def __iter__(self) -> Iterator[bytes]:
        while line := self._stream.readline(_LONGEST_LINE + 1):
            self.number += 1
            if len(line) > _LONGEST_LINE:
                raise self.error(f"the line is longer than {_LONGEST_LINE:,} bytes, more than any Kinesis record holds")
            if self._progress is not None:
                self._progress(len(line))
            self.ends_with_newline = line.endswith(b"\n")
            yield line[:-1] if self.ends_with_newline else line

    def error(self, message: object) -> InputError:
        """An error at the line that was last given."""
        return InputError(f"{self.file}:{self.number}: {message}")


def user_records(lines: Lines, key_field: str | None, *, one_key: bool) -> Iterator[UserRecord]:
    """A user record for each line, the line its data.

    Args:
        lines: the input.
        key_field: the field of the JSON object on each line that holds its partition key; with dots for fields inside.
            None: lines are text without a key of their own.
        one_key: give all text lines one key, which keeps their order under every routing; else the key changes every
            thousand lines, which spreads aggregates over the shards.
    """
    for line in lines:
        if key_field is not None:
            key = _partition_key(lines, line, key_field)
        else:
            key = "0" if one_key else str((lines.number - 1) // _LINES_PER_KEY)
        yield UserRecord(key, line)


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


def written_user_records(lines: Lines) -> Iterator[UserRecord]:
    """A user record for each line that `shardpack unpack` or `user_record_line` wrote; fields besides are skipped."""
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError as error:
            raise lines.error(f"not JSON ({error}); --user-records takes what `shardpack unpack` writes") from None
        if not isinstance(value, dict) or "partition_key" not in value:
            raise lines.error('no user record: give an object with "partition_key" and "data" or "data_base64"')
        if value.get("tags"):
            raise lines.error("the user record has tags, which a producer does not put; leave them out")
        yield UserRecord(value["partition_key"], _written_data(lines, value), value.get("explicit_hash_key"))


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


class KinesisInput:
    """The Kinesis records in an input of any of the shapes that `unpack` reads.

    JSON lines come one line at a time. A JSON document over several lines (``aws kinesis get-records``, a Lambda
    event) and a raw blob are read whole, as far as such a thing can be long.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.is_json_lines = False

    def __iter__(self) -> Iterator[Any]:
        lines = iter(self._lines)
        first = next(lines, None)
        if first is None:
            return
        if first.startswith(MAGIC):
            yield {"Data": self._rest(first, lines)}
            return
        try:
            yield parse_json(first)
        except ValueError:
            yield self._document(self._rest(first, lines))
            return
        self.is_json_lines = True
        for line in lines:
            if line.strip():
                try:
                    yield parse_json(line)
                except ValueError as error:
                    raise self._lines.error(f"not JSON ({error})") from None

    def _rest(self, first: bytes, lines: Iterator[bytes]) -> bytes:
        pieces, size = [first], len(first)
        for line in lines:
            pieces.append(line)
            size += len(line) + 1
            if size > _LARGEST_DOCUMENT:
                raise InputError(
                    f"{self._lines.file}:1: neither JSON lines, nor a JSON document or an aggregate, which have at most"
                    f" {_LARGEST_DOCUMENT:,} bytes"
                )
        whole = b"\n".join(pieces)
        return whole + b"\n" if self._lines.ends_with_newline else whole

    def _document(self, text: bytes) -> Any:
        try:
            return parse_json(text)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{self._lines.file}:{error.lineno}: neither JSON ({error.msg}) nor an aggregate, which starts with"
                f" {MAGIC.hex()}"
            ) from None
        except ValueError:
            raise InputError(
                f"{self._lines.file}:1: neither JSON nor an aggregate, which starts with {MAGIC.hex()}"
            ) from None


def parse_json(text: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, or is nested deeper than any record.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@contextmanager
def errors_at(lines: Lines) -> Iterator[None]:
    """What the codec says of a record, said of the line that it came from."""
    try:
        yield
    except (EncodeError, DecodeError, TypeError) as error:
        raise lines.error(error) from error
    except RecursionError:
        raise lines.error("it is nested too deeply to hold Kinesis records") from None


def shard_map(shards: int | None, file: str | None) -> ShardMap | None:
    """A shard map from the output of ``aws kinesis list-shards``, or of equal shards, or None."""
    if file is not None:
        with open_input(file) as stream:
            try:
                return ShardMap(parse_json(stream.read())["Shards"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{file}: not the output of `aws kinesis list-shards` ({error})") from None
    if shards is None:
        return None
    bounds = [(MAX_HASH_KEY + 1) * n // shards for n in range(shards + 1)]
    return ShardMap(Shard(f"shardId-{n:012}", bounds[n], bounds[n + 1] - 1) for n in range(shards))
