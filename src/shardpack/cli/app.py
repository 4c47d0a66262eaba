"""The commands, their options and their help."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__, native
from ..errors import FileError, ShardpackError
from ..files._content import Content
from ..files._lines import Lines
from ..hashing import Shard, ShardMap
from ..limits import MAX_RECORD_BYTES, MIB, MIN_RECORD_BYTES, Limits
from ..packing.packer import pack
from ..records import Position, ReceivedRecord
from ..unpacking.unpacker import unpack
from . import reading
from .commands.density.options import density_command
from .commands.doctor import doctor_command
from .commands.examples import epilog
from .commands.leases import commands as leases
from .commands.leases.reset import reset_command
from .commands.put.options import put_command
from .commands.replay.options import replay_command
from .commands.tail.options import tail_command
from .input_bar import opened_input
from .long_keys import DEFAULT_MAX_KEY_CHARACTERS, MaxKeyCharacters, without_long_keys
from .messages import LONGEST_MESSAGE, LogLines, report, text_of
from .options import HashKeys, InputFile, KeyField
from .reading import InputError
from .terminal import console, printable
from .writing import base64_line, data_of, json_line, output_may_end, standard_output


class Commands(TyperGroup):
    """The commands; what is wrong with an argument is told without the argument's control characters."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """See click."""
        with _printable_messages(), output_may_end():
            return super().make_context(*arguments, **more)
        raise SystemExit(0)  # nobody reads what `--version` prints, and there is no context to go on with

    def invoke(self, *arguments: Any, **more: Any) -> Any:
        """See click; that the reader of the output has enough is no failure, though click would make it one."""
        with _printable_messages(), output_may_end():
            return super().invoke(*arguments, **more)


@contextmanager
def _printable_messages() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # typer has click's errors from click, or from a copy of its own, and this is what tells them from others.
        if hasattr(error, "format_message") and hasattr(error, "message"):
            vars(error)["message"] = printable(error.message, most=LONGEST_MESSAGE)
        raise


app = typer.Typer(
    cls=Commands,
    name="shardpack",
    help="Pack user records into Amazon Kinesis records in the KPL's aggregated format, and unpack them again.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def run() -> int:
    """Parse the arguments, run the command, and answer its exit status."""
    if sys.stderr is None:  # closed by the shell; print would take standard output in its place
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # open until the end
    if sys.stdout is None:
        report("standard output is closed")
        return 1
    log_lines = LogLines()
    logging.getLogger().addHandler(log_lines)
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # an ellipsis that ASCII cannot hold shall not end a table
        app()
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except (InputError, ShardpackError, ValueError) as error:
        report(error)
        return 1
    except MemoryError:
        report("there is not enough memory for this input")
        return 1
    except OSError as error:
        # What is left in standard output's buffer goes nowhere, or it would fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        report(text_of(error))
        return 1
    finally:
        logging.getLogger().removeHandler(log_lines)
        log_lines.close()
    return 0


class By(StrEnum):
    """Choices of --by."""

    ANY = "any"
    KEY = "key"
    SHARD = "shard"


class OnCorrupt(StrEnum):
    """Choices of --on-corrupt."""

    RAW = "raw"
    RAISE = "raise"
    KCL = "kcl"


class OutOfRange(StrEnum):
    """Choices of --out-of-range."""

    KEEP = "keep"
    DROP_RECORD = "drop_record"
    DROP_AGGREGATE = "drop_aggregate"
    RAISE = "raise"


ShardCount = Annotated[
    int | None,
    typer.Option("--shards", min=1, max=100_000, help="So many shards with equal hash ranges.", show_default=False),
]
ShardMapFile = Annotated[
    str | None, typer.Option("--shard-map", metavar="FILE", help="The output of `aws kinesis list-shards`.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shardpack {__version__} ({native} core)")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version and the core."),
    ] = False,
) -> None:
    """Set what holds for every command."""


@app.command("pack", epilog=epilog("pack"))
def pack_command(
    file: InputFile = "-",
    key: KeyField = None,
    by: Annotated[By | None, typer.Option(help="Which records may share an aggregate.", show_default="any")] = None,
    shards: ShardCount = None,
    shard_map: ShardMapFile = None,
    max_record_bytes: Annotated[
        int,
        typer.Option(min=MIN_RECORD_BYTES, max=MAX_RECORD_BYTES, help="Largest Kinesis record, partition key counted."),
    ] = MIB,
    max_aggregate_bytes: Annotated[
        int | None,
        typer.Option(
            min=MIN_RECORD_BYTES,
            max=MAX_RECORD_BYTES,
            help="Largest aggregate; a line that does not fit into one goes alone.",
            show_default="as --max-record-bytes",
        ),
    ] = None,
    max_user_records: Annotated[
        int | None, typer.Option(min=1, help="Most user records in one Kinesis record.", show_default="no limit")
    ] = None,
    hash_keys: Annotated[
        HashKeys, typer.Option(help="pinned: safe when a stream reshards; kpl: byte for byte what the KPL writes.")
    ] = HashKeys.PINNED,
    lanes: Annotated[int, typer.Option(min=1, help="Subdivide each shard by user key, for Lambda.")] = 1,
) -> None:
    """Pack lines into Kinesis records: JSON lines in the shape of PutRecords entries.

    Lines of text have no key of their own. With --by any they are given one that changes every thousand lines, which
    spreads the aggregates over the shards; with --by shard or --by key they are all given the same, which keeps their
    order.
    """
    routes = _shard_map(shards, shard_map)
    if by is By.SHARD and routes is None:
        raise typer.BadParameter("--by shard needs the shards: --shards or --shard-map")
    with opened_input(file, bar=not sys.stdout.isatty()) as source:
        lines = Lines(source.stream, source.name)
        packed = pack(
            reading.user_records(lines, key, one_key=routes is not None or by in (By.KEY, By.SHARD)),
            by=by.value if by else None,
            shard_map=routes,
            limits=Limits(max_record_bytes, max_user_records, max_aggregate_bytes),
            hash_keys=hash_keys.value,
            lanes=lanes,
        )
        with reading.errors_at(lines):
            entries = (_entry_line(record.entry) for record in packed)
            _write(entries, separator=b"\n", at_end=lambda: lines.ends_with_newline)


@app.command("unpack", epilog=epilog("unpack"))
def unpack_command(
    file: InputFile = "-",
    text: Annotated[bool, typer.Option("--text", help="Write only the data, one record a line.")] = False,
    base64_lines: Annotated[bool, typer.Option("--base64", help="Write only the data, in base64, one a line.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Write only the data, with nothing between records.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Write JSON lines with everything: the default.")] = False,
    parquet: Annotated[
        str | None, typer.Option("--parquet", metavar="FILE", help="Write a Parquet file; needs pyarrow.")
    ] = None,
    on_corrupt: Annotated[
        OnCorrupt, typer.Option(help="What happens to an aggregate that is not sound.")
    ] = OnCorrupt.RAW,
    hash_range: Annotated[
        str | None, typer.Option(metavar="START:END", help="The shard's hash range, both ends inclusive.")
    ] = None,
    out_of_range: Annotated[
        OutOfRange, typer.Option(help="What happens to sub-records outside --hash-range.")
    ] = OutOfRange.KEEP,
    after: Annotated[
        str | None, typer.Option(metavar="SEQ[:SUB]", help="Skip what is not after this position in the shard.")
    ] = None,
    max_key_characters: MaxKeyCharacters = DEFAULT_MAX_KEY_CHARACTERS,
) -> None:
    """Unpack Kinesis records into user records: JSON lines, or only their data.

    Reads what `shardpack pack` writes, the output of `aws kinesis get-records`, Lambda, Firehose and Kinesis Analytics
    events, raw blobs, and the objects that Firehose writes to S3: aggregates one after the other, with nothing or a
    newline between them. Compressed input is told by its first bytes. Data that is not UTF-8 is given as "data_base64".
    """
    if text + base64_lines + raw + jsonl + (parquet is not None) > 1:
        raise typer.BadParameter("choose one of --jsonl, --parquet, --text, --base64 and --raw")
    if parquet is not None and file != "-" and Path(parquet).exists() and Path(parquet).samefile(file):
        raise InputError(f"--parquet {parquet} is the input itself; name another file")
    with opened_input(file, bar=not sys.stdout.isatty()) as source:
        content = Content(source)
        records = unpack(
            content,
            on_corrupt=on_corrupt.value,
            hash_range=_hash_range(hash_range),
            out_of_range=out_of_range.value,
            after=_position(after),
        )
        write_one: Callable[[ReceivedRecord], bytes] = json_line
        if text or raw:
            write_one = data_of
        elif base64_lines:
            write_one = base64_line
        else:
            records = without_long_keys(records, max_key_characters, partial(_refused, content))
        with reading.errors_at(content):
            if parquet is not None:
                from .parquet import write_parquet

                write_parquet(records, parquet)
                return
            _write(
                map(write_one, records),
                separator=b"" if raw else b"\n",
                # Text that ended without a newline comes back without one.
                at_end=lambda: not text or not content.is_json_lines or content.lines.ends_with_newline,
            )


@app.command("inspect", epilog=epilog("inspect"))
def inspect_command(
    file: InputFile = "-",
    shards: ShardCount = None,
    shard_map: ShardMapFile = None,
    most: Annotated[int, typer.Option("--records", min=0, help="Most user records to list of each aggregate.")] = 20,
    first: Annotated[int, typer.Option("--first", min=1, help="Most Kinesis records to show.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each Kinesis record.")] = False,
) -> None:
    """Show an aggregate: sizes, tables, records, overhead, checksum, hash keys, and what the KCL would do with it.

    Reads what `shardpack unpack` reads. Without --shards or --shard-map, one shard owns every hash key.
    """
    from .commands.inspecting import show, show_json

    with opened_input(file, bar=False) as source:
        content = Content(source)
        with reading.errors_at(content):
            if as_json:
                show_json(content, _shard_map(shards, shard_map), most, first)
            else:
                show(content, _shard_map(shards, shard_map), most, first, console())


app.command("density", epilog=epilog("density"))(density_command)
app.command("put", epilog=epilog("put"))(put_command)
app.command("tail", epilog=epilog("tail"))(tail_command)
app.command("replay", epilog=epilog("replay"))(replay_command)
leases.app.command("reset")(reset_command)
app.command("doctor", epilog=epilog("doctor"))(doctor_command)
app.add_typer(leases.app, name="leases")


@app.command("demo", epilog=epilog("demo"))
def demo_command(
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="Lines to send; without it, login events are made up.")
    ] = None,
    records: Annotated[int, typer.Option(min=1, help="Login events to make up.")] = 100_000,
    shards: Annotated[int, typer.Option(min=1, max=100, help="Shards of the stream.")] = 4,
    endpoint_url: Annotated[
        str | None, typer.Option(help="A Kinesis endpoint to use in place of a local server.", show_default=False)
    ] = None,
) -> None:
    """Run the main job against a real local Kinesis server, and prove that every record came back."""
    from .commands.demo import run as run_demo

    if not run_demo(file, records, shards, endpoint_url, console()):
        raise typer.Exit(1)


def _write(pieces: Iterator[bytes], separator: bytes, at_end: Callable[[], bool]) -> None:
    """Write pieces with separators between them, and one at the end if `at_end` says so."""
    ahead = b""
    with standard_output() as out:  # flushed here, where typer ends quietly when nobody reads any more
        for piece in pieces:
            out.write(ahead)
            out.write(piece)
            ahead = separator
        if ahead and at_end():
            out.write(ahead)


def _refused(content: Content, _record: ReceivedRecord, what: str) -> FileError:
    return content.error(f"{what}, and --text, --base64 and --raw write no keys")


def _entry_line(entry: dict[str, str | bytes]) -> bytes:
    data = entry["Data"]
    encoded = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    return json.dumps({**entry, "Data": encoded}).encode()


def _shard_map(shards: int | None, file: str | None) -> ShardMap | None:
    if shards is not None and file is not None:
        raise typer.BadParameter("choose one of --shards and --shard-map")
    return reading.shard_map(shards, file)


def _hash_range(text: str | None) -> Shard | None:
    if text is None:
        return None
    bounds = re.fullmatch(r"([0-9]{1,39}):([0-9]{1,39})", text)
    if bounds is None:
        raise typer.BadParameter(f"--hash-range is {text!r:.100}; give two decimal numbers, START:END")
    return Shard("", int(bounds[1]), int(bounds[2]))


def _position(text: str | None) -> Position | None:
    if text is None:
        return None
    sequence_number, _, sub_sequence_number = text.partition(":")
    if not re.fullmatch(r"[0-9]{0,19}", sub_sequence_number):
        raise typer.BadParameter(
            f"--after is {text!r:.100}; give SEQ or SEQ:SUB, such as 49590338271490256608559692538361:7"
        )
    return Position(sequence_number, int(sub_sequence_number or 0))
