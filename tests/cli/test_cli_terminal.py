"""Nothing that others have written steers a terminal: every field of every command, fed with what would."""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import servers
import warm_python
from command_line import COMMAND, run, started_warm
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.cli.commands.leases.commands import _print
from shardpack.cli.commands.leases.watching import watch
from shardpack.cli.messages import LogLines
from shardpack.cli.reading import InputError
from shardpack.cli.terminal import json_text, printable
from shardpack.leases.lease import Lease

# ESC and its sequences, C0, DEL, C1, bidirectional controls, separators of lines; and rich's markup and emoji codes.
STEERING = "\x1b[31m\x1b]0;title\x07\x00\r\n\t\x08\x7f\x85\x9b31m\u061c\u200e\u202e\u2066\u2069\u2028"
MARKUP = "[/][red][link=http://evil]x[/link]:smile:[bold"
ODD = f"a{STEERING}{MARKUP}z"
SHOWN_MARKUP = MARKUP.replace(" ", "")

FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def check(*outputs: bytes | str) -> str:
    """What was shown, without the breaks of lines, if nothing of it steers a terminal."""
    shown = "".join(one if isinstance(one, str) else one.decode() for one in outputs)
    found = FORBIDDEN.search(shown)
    assert found is None, f"{found!r} in {shown!r}"
    assert "Traceback" not in shown
    return "".join(shown.split())


def test_the_characters_are_those_that_unicode_says() -> None:
    unsafe = {
        chr(n)
        for n in range(sys.maxunicode + 1)
        if unicodedata.category(chr(n)) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(chr(n)) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or n in (0x061C, 0x200E, 0x200F)
    }
    assert {chr(n) for n in range(sys.maxunicode + 1) if printable(chr(n)) != chr(n)} == unsafe
    assert {one for one in unsafe if ord(one) > 31 and one in json_text(one)} == set()


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists))
def test_json_stays_the_same_value(value: Any) -> None:
    told = json_text(value)
    assert json.loads(told) == value
    check(told)


def test_a_long_text_is_cut_and_says_so() -> None:
    assert printable("x" * 50, most=10) == "xxxxxxxxxx… (40 characters more)"


KEY = ODD[:250]
RECORDS = {
    "GetRecords": {"Records": [{"Data": "eA==", "PartitionKey": ODD, "SequenceNumber": ODD, "ExplicitHashKey": ODD}]},
    "an aggregate inside": {
        "Data": base64.b64encode(sp.encode([sp.UserRecord(KEY, ODD.encode()), (KEY + "2", b"x", "7")])).decode(),
        "PartitionKey": ODD,
        "ExplicitHashKey": ODD,
        "ShardId": ODD,
        "SequenceNumber": ODD,
    },
    "Lambda": {
        "eventID": ODD + ":1",
        "kinesis": {"data": "eA==", "partitionKey": ODD, "sequenceNumber": ODD, "explicitHashKey": ODD},
    },
    "Firehose": {
        "data": "eA==",
        "recordId": ODD,
        "kinesisRecordMetadata": {"partitionKey": ODD, "sequenceNumber": ODD, "shardId": ODD},
    },
    "a bad index": {"kinesis": {"data": "eA==", "subSequenceNumber": ODD}},
    "a bad time": {"Data": "eA==", "ApproximateArrivalTimestamp": ODD},
    "bad data": {"Data": ODD},
    "a bad key": {"Data": "eA==", "PartitionKey": [ODD]},
    "unknown keys": {ODD: ODD},
    "no data": {"kinesis": {ODD: ODD}},
    "bad metadata": {"data": "eA==", "kinesisRecordMetadata": ODD},
    "a text": ODD,
    "texts": [ODD],
}


def quiet(*arguments: str | Path, stdin: bytes = b"") -> tuple[bytes, bytes]:
    status, out, error = warm_python.run([*COMMAND[1:], *map(str, arguments)], stdin)
    assert status in (0, 1, 2)
    return out, error


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("command", ["unpack", "inspect", "inspect --shard-map", "unpack --on-corrupt raise --after 5"])
def test_every_field_of_a_record(name: str, command: str, tmp_path: Path) -> None:
    whole_range = {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)}
    (tmp_path / "shards").write_text(json.dumps({"Shards": [{"ShardId": ODD, "HashKeyRange": whole_range}]}))
    more = [tmp_path / "shards"] if command.endswith("--shard-map") else []
    first, *options = command.split()

    check(*quiet(first, "-", *options, *more, stdin=json.dumps(RECORDS[name]).encode()))


def test_what_inspect_shows_is_what_is_there() -> None:
    line = json.dumps({"Data": "eA==", "PartitionKey": MARKUP, "SequenceNumber": STEERING[:8]}).encode()
    shown = check(*quiet("inspect", "-", stdin=line))
    assert SHOWN_MARKUP in shown
    assert "\\u001b[31m\\u001b]0" in shown


@pytest.mark.parametrize(
    "arguments", [["show"], ["show", "--json"], ["delete", ODD], ["release", ODD], ["release", ODD + "2"]]
)
def test_every_field_of_a_lease(arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    leases = sp.SQLiteLeases(path)
    leases.create(
        Lease(ODD.replace("\0", ""), owner=ODD.replace("\0", ""), parents=(ODD,), children=(ODD,), checkpoint_owner=ODD)
    )
    leases.create(Lease("b"))
    command, *more = [one.replace("\0", "") for one in arguments]

    shown = check(*quiet("leases", command, f"sqlite:{path}", *more))

    if command == "show":
        assert SHOWN_MARKUP in shown


def test_every_field_of_a_lease_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    for column in ("leaseKey", "leaseCounter", "checkpoint", "parentShardId", "startingHashKey", "leaseOwner"):
        path.unlink(missing_ok=True)
        sp.SQLiteLeases(path).create(Lease("s", hash_range=(0, 1)))
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"UPDATE leases SET {column} = ?, ownerSwitchesSinceCheckpoint = 'x'", (ODD,))
        check(*quiet("leases", "show", f"sqlite:{path}"))


def test_what_a_stream_says_of_a_lease(capsys: pytest.CaptureFixture[str]) -> None:
    leases = [Lease("s", owner=ODD), Lease("t")]

    with pytest.raises(InputError):
        watch(lambda: (leases, {"s": ODD, "t": 5000}, InputError(ODD)), 0.0, 2)
    _print(leases, {"s": ODD}, as_json=False, with_lag=True)

    assert check(capsys.readouterr().out).count(SHOWN_MARKUP) == 2 * 3 + 2


ARGUMENTS = [
    ["pack", ODD],
    ["pack", "-", "--by", ODD],
    ["pack", "-", "--key", ODD],
    ["pack", "-", "--shards", ODD],
    ["pack", "-", "--shard-map", ODD],
    ["pack", "-", f"--{ODD}"],
    [ODD],
    ["unpack", "-", "--after", ODD],
    ["unpack", "-", "--hash-range", ODD],
    ["inspect", ODD],
    ["density", ODD],
    ["density", "-", "--timestamp", ODD],
    ["density", "--synthetic", ODD],
    ["density", "-", "--report", ODD + "/x"],
    ["put", ODD, "-", "--endpoint-url", ODD],
    ["put", "s", "-", "--failed", ODD + "/x", "--endpoint-url", "http://127.0.0.1:9"],
    ["put", ODD, "-", "--endpoint-url", "http://127.0.0.1:9", "--record-ttl", "0.1"],
    ["put", "s", "-", "--profile", ODD],
    ["put", "s", "-", "--region", ODD],
    ["tail", ODD, "--from", ODD],
    ["tail", "s", "--at", ODD],
    ["tail", ODD, "--endpoint-url", "http://127.0.0.1:9"],
    ["tail", "s", "--profile", ODD],
    ["leases", "show", ODD],
    ["leases", ODD],
    ["leases", "show", f"sqlite:{ODD}"],
    ["leases", "set", "sqlite:x", "s", ODD],
    ["leases", "reset", ODD],
    ["tail", "s", "--format", f"%k{ODD}%z"],
    ["tail", "s", "--filter", f"({ODD}"],
    ["tail", "s", "--until", ODD],
    ["doctor", ODD, "--leases", ODD, "--endpoint-url", "http://127.0.0.1:9"],
    ["doctor", "s", "--region", ODD],
    ["doctor", "s", "--profile", ODD],
    ["replay", ODD],
    ["replay", "-", "--to", ODD],
    ["demo", "--endpoint-url", ODD],
    ["demo", ODD, "--endpoint-url", "http://127.0.0.1:9"],
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=lambda arguments: " ".join(arguments).replace(ODD, "ODD"))
@pytest.mark.usefixtures("aws_credentials")
def test_every_argument(arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given = [one.replace("\0", "") for one in arguments]

    check(*quiet(*given, stdin=b'{"x": 1}\n'))


@pytest.mark.parametrize("command", ["density", "pack", "put"])
def test_the_name_of_a_file_that_is_there(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = ODD.replace("\0", "").replace("/", "")
    Path(name).write_bytes(b"a\nb\n")
    Path("x[").mkdir()
    Path("x[/]y").write_bytes(b"a\nb\n")
    ours, theirs = os.openpty()
    for file in (name, "x[/]y"):
        where = ["s", file, "--endpoint-url", "http://127.0.0.1:9", "--record-ttl", "0.1", "--region", "us-east-1"]
        arguments = where if command == "put" else [file]
        done = subprocess.run(
            [*started_warm(), command, *arguments], stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False
        )
        assert done.returncode == int(command == "put")
        shown = check(done.stdout)
        if command == "density":
            assert file == name or "x[/]y" in shown
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        bar = b""
        try:
            while piece := terminal.read(65536):
                bar += piece
        except OSError:  # how Linux says that the other side is closed
            pass
    assert b"title" not in bar or b"\\u001b]0;title" in bar
    assert b"\x1b]0;" not in bar
    assert b"\xe2\x80\xae" not in bar


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Any, str]]:
    with servers.kinesalite() as url:
        yield servers.client("kinesis", url), url


@pytest.mark.usefixtures("aws_credentials")
def test_what_comes_from_a_stream(server: tuple[Any, str]) -> None:
    client, url = server
    servers.create_stream(client, "odd", 1)
    client.put_record(StreamName="odd", PartitionKey=KEY, Data=ODD.encode())
    where = ("--from", "TRIM_HORIZON", "--no-follow", "--endpoint-url", url)

    out, _ = run("tail", "odd", "--json", *where)

    check(out)
    assert (json.loads(out)["partition_key"], json.loads(out)["data"]) == (KEY, ODD)
    # The data alone is the data: as cat writes a file, and for the same uses.
    assert run("tail", "odd", *where)[0] == ODD.encode() + b"\n"


def test_no_console_of_the_command_reads_markup() -> None:
    """There is one place that makes them; every other would be a way around it."""
    sources = Path(sys.modules["shardpack"].__file__ or "").parent / "cli"
    for path in sources.rglob("*.py"):
        text = path.read_text()
        assert "markup=True" not in text
        assert path.name == "terminal.py" or not re.search(
            r"(?<![.\w])Console\(|rich\.print|ensure_ascii=False", text
        ), path


class TestLogLines:
    def shown(self, texts: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
        import logging

        lines = LogLines()
        for text in texts:
            lines.handle(logging.LogRecord("x", logging.WARNING, "", 0, "%s", (text,), None))
        lines.close()
        return capsys.readouterr().err.splitlines()

    def test_the_same_is_counted_and_not_repeated(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.shown(["a"] * 111 + ["b", "a", "a"], capsys) == [
            "shardpack: a",
            "shardpack: the same 10 more times: a",
            "shardpack: the same 100 more times: a",
            "shardpack: the same 110 more times: a",
            "shardpack: b",
            "shardpack: a",
            "shardpack: the same 1 more times: a",
        ]

    def test_what_a_server_says_steers_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        (line,) = self.shown([ODD * 1000], capsys)
        check(line)
        assert len(line) < 2000 * 6 + 100
