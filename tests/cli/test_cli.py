"""The command line, as a user's shell runs it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from aggregate_bytes import frame
from command_line import COMMAND, json_lines, run

import shardpack as sp
from shardpack.cli import parquet as groups
from shardpack.cli.commands import inspecting
from shardpack.cli.terminal import printable

SEQUENCE_NUMBER = "49590338271490256608559692538361571095921575989136588898"


@pytest.fixture(scope="module")
def access_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(7)
    words = [b"GET /", b"", b"\xff\xfe", "grüße".encode(), b"\r", b"a" * 3000, b"{}", b"\x00", b"\xf3\x89\x9a\xc2"]
    lines = [b" ".join(rng.choices(words, k=rng.randrange(6))) for _ in range(3000)]
    file = tmp_path_factory.mktemp("in") / "access.log"
    file.write_bytes(b"\n".join(lines))
    return file


OPTIONS = {
    "defaults": [],
    "by any": ["--by", "any"],
    "by key": ["--by", "key"],
    "by shard": ["--shards", "4"],
    "the KPL's hash keys": ["--shards", "4", "--hash-keys", "kpl"],
    "by key as the KPL": ["--by", "key", "--hash-keys", "kpl"],
    "lanes": ["--shards", "3", "--lanes", "70"],
    "the KPL's limit": ["--max-aggregate-bytes", "51200"],
    "lines that go alone": ["--max-aggregate-bytes", "150", "--max-record-bytes", "20000"],
    "small": ["--max-record-bytes", "20000", "--shards", "2"],
    "few": ["--max-user-records", "3"],
    "alone": ["--max-user-records", "1"],
    "large": ["--max-record-bytes", "10485760"],
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_text_comes_back_byte_for_byte(access_log: Path, options: list[str]) -> None:
    packed, _ = run("pack", access_log, *options)

    assert run("unpack", "-", "--text", stdin=packed)[0] == access_log.read_bytes()


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"\n\n", b"a", b"a\n", b"a\n\nb", b"\xf3\x89\x9a\xc2\n"], ids=lambda text: repr(text)
)
def test_the_last_newline_comes_back_or_does_not(text: bytes) -> None:
    packed, _ = run("pack", "-", stdin=text)

    assert run("unpack", "-", "--text", stdin=packed)[0] == text


def test_packed_lines_are_put_records_entries(access_log: Path) -> None:
    entries = json_lines(run("pack", access_log, "--shards", "4", "--max-record-bytes", "30000")[0])

    assert len(entries) > 1
    for entry in entries:
        assert set(entry) == {"Data", "PartitionKey", "ExplicitHashKey"}
        assert len(base64.b64decode(entry["Data"])) + len(entry["PartitionKey"]) <= 30000
    assert sum(len(list(sp.unpack(entry))) for entry in entries) == 3000


def test_json_lines_are_packed_by_a_field() -> None:
    lines = b'{"user": {"id": 17}, "n": 1}\n{"user": {"id": "17"}, "n": 2}\n{"user": {"id": "x"}, "n": 3}\n'

    packed, _ = run("pack", "-", "--key", "user.id", "--by", "key", stdin=lines)

    assert [entry["PartitionKey"] for entry in json_lines(packed)] == ["17", "x"]
    records = json_lines(run("unpack", "-", stdin=packed)[0])
    assert [(record["partition_key"], json.loads(record["data"])["n"]) for record in records] == [
        ("17", 1),
        ("17", 2),
        ("x", 3),
    ]


def test_unpacked_lines_have_every_field() -> None:
    blob = sp.encode([("k", b"text", "7"), ("k2", b"\xff\x00")])
    response = {
        "Records": [
            {
                "SequenceNumber": SEQUENCE_NUMBER,
                "ApproximateArrivalTimestamp": "2026-11-23T15:00:00+01:00",
                "Data": base64.b64encode(blob).decode(),
                "PartitionKey": "a",
            }
        ],
        "MillisBehindLatest": 0,
    }

    records = json_lines(run("unpack", "-", stdin=json.dumps(response, indent=4).encode())[0])

    shared = {
        "sequence_number": SEQUENCE_NUMBER,
        "aggregated": True,
        "approximate_arrival_timestamp": "2026-11-23T14:00:00+00:00",
        "shard_id": None,
    }
    assert records == [
        {**shared, "partition_key": "k", "explicit_hash_key": "7", "sub_sequence_number": 0, "data": "text"},
        {
            **shared,
            "partition_key": "k2",
            "explicit_hash_key": None,
            "sub_sequence_number": 1,
            "data_base64": base64.b64encode(b"\xff\x00").decode(),
        },
    ]


@pytest.mark.parametrize(
    ("option", "expected"), [("--text", b"one\ntwo\n"), ("--base64", b"b25l\ndHdv\n"), ("--raw", b"onetwo")]
)
def test_only_the_data(option: str, expected: bytes) -> None:
    blob = sp.encode([("k", b"one"), ("k", b"two")])

    assert run("unpack", "-", option, stdin=blob)[0] == expected


def test_a_lambda_event_is_read(tmp_path: Path) -> None:
    data = base64.b64encode(sp.encode([("k", b"one"), ("k", b"two")])).decode()
    record = {
        "eventID": f"shardId-000000000006:{SEQUENCE_NUMBER}",
        "kinesis": {"partitionKey": "a", "sequenceNumber": SEQUENCE_NUMBER, "data": data},
    }
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"Records": [record]}, indent=2), encoding="utf-8")

    records = json_lines(run("unpack", event)[0])

    assert [(r["data"], r["shard_id"], r["sub_sequence_number"]) for r in records] == [
        ("one", "shardId-000000000006", 0),
        ("two", "shardId-000000000006", 1),
    ]


def test_after_skips_what_was_done() -> None:
    blob = base64.b64encode(sp.encode([("k", b"one"), ("k", b"two"), ("k", b"three")])).decode()
    lines = b"".join(
        json.dumps({"SequenceNumber": number, "Data": blob}).encode() + b"\n" for number in ("9", "10", "11")
    )

    out, _ = run("unpack", "-", "--text", "--after", "10:1", stdin=lines)

    assert out == b"three\none\ntwo\nthree\n"


def test_what_is_out_of_the_hash_range_can_be_dropped() -> None:
    line = json.dumps({"Data": base64.b64encode(sp.encode([("k", b"in", "5"), ("k", b"out", "6")])).decode()}).encode()

    assert run("unpack", "-", "--text", "--hash-range", "0:5", stdin=line)[0] == b"in\nout"
    assert run("unpack", "-", "--text", "--hash-range", "0:5", "--out-of-range", "drop_record", stdin=line)[0] == b"in"
    assert run("unpack", "-", "--text", "--hash-range", "0:5", "--out-of-range", "drop_aggregate", stdin=line)[0] == b""


def test_inspect_shows_an_aggregate() -> None:
    packed, _ = run("pack", "-", "--key", "u", "--shards", "2", stdin=b'{"u": "ann"}\n{"u": "bob"}\n{"u": "cid"}\n')

    shown = run("inspect", "-", "--shards", "2", stdin=packed)[0].decode()

    blob = base64.b64decode(json_lines(packed)[0]["Data"])
    for expected in ("An aggregate of", "user records", blob[-16:].hex(), "shardId-000000000000", "The KCL delivers"):
        assert expected in shown


@pytest.mark.parametrize(
    ("blob", "expected"),
    [
        (sp.encode([("k", b"x")])[:-1] + b"\x00", "not a sound one"),
        (b'{"Data": "aGVsbG8="}', "A plain record"),
        (b"", "no Kinesis record"),
    ],
)
def test_inspect_says_what_else_it_is(blob: bytes, expected: str) -> None:
    assert expected in run("inspect", "-", stdin=blob)[0].decode()


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["pack", "nowhere.log"], b"", "nowhere.log: No such file"),
        (["pack", "-", "--key", "u"], b'{"u": 1}\nnonsense\n', "-:2: not JSON"),
        (["pack", "-", "--key", "u"], b'{"u": 1}\n{"v": 1}\n', "-:2: the JSON value on this line has no field 'u'"),
        (["pack", "-", "--key", "u"], b'{"u": null}\n', "-:1: the field 'u' is null"),
        (["pack", "-", "--key", "u"], b'{"u": ""}\n', "-:1: partition_key has 0 characters"),
        (["pack", "-", "--max-record-bytes", "64"], b"ok\n" + b"x" * 100, "-:2: a user record of 100 bytes takes"),
        (["pack", "-", "--max-record-bytes", "100", "--max-aggregate-bytes", "101"], b"x", "_bytes is 101"),
        (["pack", "-", "--hash-keys", "kpl"], b"x", 'by="any" loses records'),
        (["unpack", "-"], b"hello\n", "-:1: neither JSON"),
        (["unpack", "-"], b"\xff\xfe\n", "-:1: neither JSON"),
        (["unpack", "-"], b'{"Data": "eA=="}\nnonsense\n', "-:2: not JSON"),
        (["unpack", "-"], b'{"Data": "eA=="}\n{"Data": "?"}\n', "-:2: 'Data' of a Kinesis record is not base64"),
        (["unpack", "-"], b'{"Data": "eA=="}\n{"x": 1}\n', "-:2: a mapping with the keys 'x'"),
        (["unpack", "-"], b"3\n", "-:1: int is no Kinesis record"),
        (["pack", "-", "--key", "u"], b'{"u": 1}\n' + b"[" * 200_000, "-:2: not JSON (it is nested too deeply)"),
        (["unpack", "-"], b"[" * 200_000, "-:1: neither JSON"),
        (["unpack", "-"], b'{"Data": "eA=="}\n' + b"[" * 200_000, "-:2: not JSON (it is nested too deeply)"),
        (
            ["unpack", "-"],
            b'{"Data": "eA==", "PartitionKey": "\\ud800"}',
            "-:1: 'PartitionKey' of a Kinesis record has",
        ),
        (["inspect", "-"], b'{"Data": "eA==", "PartitionKey": 5}', "-:1: 'PartitionKey' of a Kinesis record is 5, of"),
        (["unpack", "-", "--hash-range", "9:0"], b'{"Data": "eA=="}', "hash_range runs from 9 down to 0"),
        (["unpack", "-", "--on-corrupt", "raise"], sp.encode([("k", b"x")])[:-1], "the MD5 trailer says"),
        (["inspect", "-", "--shard-map", "nowhere.json"], b"", "nowhere.json: No such file"),
    ],
)
def test_wrong_input_names_file_and_line(arguments: list[str], stdin: bytes, message: str) -> None:
    _, error = run(*arguments, stdin=stdin, status=1)

    assert message in error
    assert error.startswith("shardpack: ")
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "line",
    [
        "unpack - --text --raw",
        "pack --nonsense",
        "pack - --by luck",
        "pack - --by shard",
        "pack - --shards 4 --shard-map shards.json",
        "inspect - --shards 4 --shard-map shards.json",
        "pack - --shards 1000000000",
        "unpack - --hash-range 5",
        "unpack - --hash-range \u00b2:5",
        f"unpack - --hash-range 0:{'9' * 5000}",
        "unpack - --after 5:\u00b2",
        f"unpack - --after 5:{'9' * 5000}",
    ],
)
def test_wrong_usage_exits_with_2(line: str) -> None:
    assert "Usage" in run(*line.split(), status=2)[1]


def test_what_comes_before_wrong_input_is_written() -> None:
    good = json.dumps({"Data": base64.b64encode(b"good").decode()}).encode()

    out, _ = run("unpack", "-", "--text", stdin=good + b"\nnonsense\n", status=1)

    assert out.startswith(b"good")


@pytest.mark.parametrize(
    "command", ["pack FILE", "inspect FILE", "density FILE --rate 5", "pack --help", "--help", "--version"]
)
def test_a_reader_that_has_enough_is_no_failure(command: str, tmp_path: Path) -> None:
    """The status that the shell sees with `set -o pipefail`, and nothing on standard error."""
    file = tmp_path / "entries.jsonl"
    file.write_bytes(run("pack", "-", stdin=b"a line of the log\n" * 5000)[0])
    ours = " ".join([*COMMAND, command.replace("FILE", str(file))])
    done = subprocess.run(
        ["bash", "-c", f"{ours} | true; exit ${{PIPESTATUS[0]}}"], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_long_input_streams_through_in_constant_memory(tmp_path: Path) -> None:
    """Peak memory must not grow with the file: the larger is four times the smaller."""
    peaks = []
    for megabytes in (8, 32):
        file = tmp_path / f"{megabytes}.log"
        with file.open("wb") as out:
            for n in range(megabytes * 1024):
                out.write(b"%1023d\n" % n)
        peaks.append(
            _peak_memory(f"shardpack pack {file}") + _peak_memory(f"shardpack pack {file} | shardpack unpack -")
        )

    assert peaks[1] - peaks[0] < 8 * 1024, "KiB more for 24 MiB more input"


def _peak_memory(pipeline: str) -> int:
    """KiB that the largest process of a pipeline took."""
    script = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1], shell=True, check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = pipeline.replace("shardpack", f"{sys.executable} -m shardpack")
    return int(subprocess.run([sys.executable, "-c", script, command], capture_output=True, check=True).stdout)


def test_version_names_the_core() -> None:
    assert run("--version")[0].decode().strip() == f"shardpack {sp.__version__} ({sp.native} core)"


def test_every_command_explains_itself() -> None:
    for command in ("pack", "unpack", "inspect", "put", "demo"):
        assert "Usage" in run(command, "--help")[0].decode()


def test_without_its_libraries_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('no typer', name='typer')", encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "--version"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=False,
        timeout=60,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr.strip() == "shardpack: the command line needs typer: pip install 'shardpack[cli]'"


EVERY_KEY = {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)}
SHARD_MAPS = {
    "a list as ShardId": {"Shards": [{"ShardId": ["a"], "HashKeyRange": EVERY_KEY}]},
    "an object as ShardId": {"Shards": [{"ShardId": {"a": 1}, "HashKeyRange": EVERY_KEY}]},
    "infinity as a hash key": {
        "Shards": [{"ShardId": "a", "HashKeyRange": {**EVERY_KEY, "EndingHashKey": float("inf")}}]
    },
    "a number": {"Shards": 5},
    "a text": {"Shards": "abc"},
    "an object": {"Shards": {"a": 1}},
    "a list": [],
    "nothing": {},
    "a list as range": {"Shards": [{"ShardId": "a", "HashKeyRange": []}]},
    "a list as numbers": {"Shards": [{"ShardId": "a", "SequenceNumberRange": [], "HashKeyRange": EVERY_KEY}]},
}


@pytest.mark.parametrize("name", SHARD_MAPS)
@pytest.mark.parametrize("command", ["pack", "inspect"])
def test_a_shard_map_that_is_none(name: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "shards.json").write_text(json.dumps(SHARD_MAPS[name]))

    _, error = run(command, "-", "--shard-map", tmp_path / "shards.json", stdin=b'{"Data": "eA=="}', status=1)

    assert error.startswith(f"shardpack: {tmp_path / 'shards.json'}: not the output of `aws kinesis list-shards`")
    assert error.count("\n") == 1
    assert "Traceback" not in error


def test_pages_of_list_shards_in_a_row_are_one_map(tmp_path: Path) -> None:
    halves = [
        {"Shards": [{"ShardId": "a", "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**127 - 1)}}]},
        {"Shards": [{"ShardId": "b", "HashKeyRange": {**EVERY_KEY, "StartingHashKey": str(2**127)}}]},
    ]
    (tmp_path / "shards.json").write_text("\n".join(json.dumps(half, indent=4) for half in halves))

    out, _ = run("inspect", "-", "--shard-map", tmp_path / "shards.json", stdin=sp.encode([("k", b"d")]))

    assert b"The KCL" in out


def test_a_message_has_an_end() -> None:
    line = json.dumps({f"key{n}": n for n in range(200_000)}).encode()

    _, error = run("unpack", "-", stdin=line, status=1)

    assert error.startswith("shardpack: -:1: a mapping with the keys")
    assert len(error) < 2200


def test_lines_that_end_with_cr_lf_are_lines() -> None:
    packed, _ = run("pack", "-", stdin=b"one\r\n\r\nthree")
    assert run("unpack", "-", "--text", stdin=packed)[0] == b"one\n\nthree"
    packed, _ = run("pack", "-", stdin=b"one\ntwo\r\n")  # here it is a line's own
    assert run("unpack", "-", "--text", stdin=packed)[0] == b"one\ntwo\r\n"


@pytest.mark.parametrize("command", ["pack", "unpack", "inspect", "density"])
def test_what_is_compressed_is_read_as_what_it_holds(command: str, tmp_path: Path) -> None:
    content = sp.encode([("k", b"one"), ("k", b"two")]) if command in ("unpack", "inspect") else b"one\ntwo\n"
    (tmp_path / "x").write_bytes(content)
    (tmp_path / "y").write_bytes(gzip.compress(content))
    options = ["--json"] if command == "density" else []
    plain, _ = run(command, tmp_path / "x", *options)

    assert run(command, tmp_path / "y", *options)[0] == plain
    assert run(command, "-", *options, stdin=gzip.compress(content))[0] == plain
    _, error = run(command, "-", stdin=gzip.compress(content)[:-5], status=1)
    assert error.startswith("shardpack: -: the gzip data is damaged or cut off after ")


@pytest.mark.parametrize("command", ["pack", "unpack", "inspect", "density", "put s", "demo"])
def test_a_directory_is_told_in_a_line(command: str, tmp_path: Path) -> None:
    name, *before = command.split()
    more = ["--endpoint-url", "http://127.0.0.1:9"] if name in ("put", "demo") else []
    _, error = run(name, *before, tmp_path, *more, status=1, environment={"AWS_DEFAULT_REGION": "us-east-1"})

    assert error.splitlines()[-1].startswith("shardpack: ")
    assert "Traceback" not in error
    if name != "demo":
        assert error == f"shardpack: {tmp_path}: Is a directory\n"


def _aggregate_with_keys(partition_key: str, explicit_hash_key: str) -> bytes:
    """Two user records that no packer would write: keys of any length, up to 16,383 bytes."""
    body = b"".join(
        bytes([tag, len(key) & 127 | 128, len(key) >> 7]) + key.encode()
        for tag, key in ((0x0A, partition_key), (0x12, explicit_hash_key))
    )
    body += b"\x1a\x06\x08\x00\x10\x00\x1a\x00" * 2
    return frame(body)


class TestLongKeys:
    @pytest.mark.parametrize(
        ("keys", "name"),
        [(("k" * 257, "7"), "partition key of 257"), (("k", "7" * 257), "explicit hash key of 257")],
    )
    def test_one_is_refused_before_it_is_written_out_for_each_user_record(
        self, keys: tuple[str, str], name: str
    ) -> None:
        out, error = run("unpack", "-", stdin=_aggregate_with_keys(*keys), status=1)

        assert out == b""
        assert f": a user record of the aggregate at sequence number None has a {name} characters" in error
        assert "--max-key-characters 0 writes it" in error

    def test_what_the_service_allows_is_written(self) -> None:
        out, _ = run("unpack", "-", stdin=_aggregate_with_keys("k" * 256, "7"))

        assert [json.loads(line)["partition_key"] for line in out.splitlines()] == ["k" * 256] * 2

    @pytest.mark.parametrize("option", [("--max-key-characters", "0"), ("--max-key-characters", "300"), ("--raw",)])
    def test_unless_that_is_asked_for_or_no_key_is_written(self, option: tuple[str, ...]) -> None:
        out, _ = run("unpack", *option, "-", stdin=_aggregate_with_keys("k" * 300, "7"))

        assert out.count(b"k" * 300) == (0 if option == ("--raw",) else 2)

    def test_a_plain_record_may_have_any_key(self) -> None:
        record = json.dumps({"Data": "eA==", "PartitionKey": "k" * 300}).encode()

        assert b"k" * 300 in run("unpack", "-", stdin=record)[0]


def test_what_is_shown_of_a_key_does_not_grow_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of a megabyte may stand in each row of the table."""
    sizes: list[int] = []

    def counting(text: str) -> str:
        sizes.append(len(text))
        return printable(text)

    monkeypatch.setattr(inspecting, "printable", counting)

    assert inspecting._abbreviated("\x1b" * 1_000_000, quoted=True) == "'\\x1b…\\x1b'"
    assert inspecting._abbreviated("7" * 1_000_000) == "77777…77777"
    assert inspecting._abbreviated("0123456789", quoted=True) == "'0123456789'"
    assert inspecting._abbreviated("0123456789abcdefghijklmnopqrstuvwxyz") == "01234…vwxyz"
    assert max(sizes) < 120


class TestParquet:
    def test_the_user_records_of_a_firehose_object(self, tmp_path: Path) -> None:
        parquet = pytest.importorskip("pyarrow.parquet")
        blobs = [sp.encode([(f"k{n}", b"%d-%d" % (n, m)) for m in range(50)]) for n in range(300)]
        (tmp_path / "object").write_bytes(gzip.compress(b"".join(blobs)))

        out, error = run("unpack", tmp_path / "object", "--parquet", tmp_path / "out.parquet")

        assert (out, error) == (b"", "")
        rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
        assert [(row["partition_key"], row["data"], row["sub_sequence_number"]) for row in rows] == [
            (f"k{n}", b"%d-%d" % (n, m), m) for n in range(300) for m in range(50)
        ]
        assert sorted(one.name for one in tmp_path.iterdir()) == ["object", "out.parquet"]

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
    def test_parquet_takes_no_place_of_a_device(self, tmp_path: Path) -> None:
        pytest.importorskip("pyarrow.parquet")
        os.mkfifo(tmp_path / "pipe")

        _, error = run("unpack", "-", "--parquet", tmp_path / "pipe", stdin=b"plain", status=1)

        assert "pipe is no regular file; name one" in error
        assert (tmp_path / "pipe").is_fifo()

    def test_nothing_half_is_left(self, tmp_path: Path) -> None:
        pytest.importorskip("pyarrow.parquet")
        (tmp_path / "in").write_bytes(b'{"Data": "eA=="}\nnonsense\n')
        (tmp_path / "out").write_bytes(b"before")

        _, error = run("unpack", tmp_path / "in", "--parquet", tmp_path / "out", status=1)

        assert ":2: not JSON" in error
        assert sorted(one.name for one in tmp_path.iterdir()) == ["in", "out"]
        assert (tmp_path / "out").read_bytes() == b"before"
        _, error = run("unpack", tmp_path / "in", "--parquet", tmp_path / "in", status=1)
        assert "is the input itself" in error
        _, error = run("unpack", tmp_path / "in", "--parquet", tmp_path / "no" / "out", status=1)
        assert "No such file or directory" in error
        assert "Usage" in run("unpack", "-", "--text", "--parquet", "x", status=2)[1]

    def test_a_group_of_rows_is_bounded_by_its_keys_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With `--max-key-characters 0` a long key is written out in each row, and a column holds 2 GiB."""
        parquet = pytest.importorskip("pyarrow.parquet")
        monkeypatch.setattr(groups, "_BYTES", 1000)
        records = list(sp.unpack({"Data": _aggregate_with_keys("k" * 300, "7" * 200)})) * 10

        groups.write_parquet(iter(records), str(tmp_path / "out"))

        assert parquet.ParquetFile(tmp_path / "out").num_row_groups == 10
        assert parquet.read_table(tmp_path / "out").num_rows == 20

    def test_jsonl_is_the_default(self) -> None:
        blob = sp.encode([("k", b"one"), ("k", b"two")])
        assert run("unpack", "-", "--jsonl", stdin=blob) == run("unpack", "-", stdin=blob)


def test_without_a_file_standard_input_is_read_and_help_has_a_short_name() -> None:
    assert run("unpack", "--text", stdin=run("pack", stdin=b"one\ntwo\n")[0])[0] == b"one\ntwo\n"
    assert run("inspect", stdin=run("pack", stdin=b"one\n")[0])[0].startswith(b"A plain record")
    assert run("pack", "-h") == run("pack", "--help")
