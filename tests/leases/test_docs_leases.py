"""Every example of the page on leases runs, and its tables say what the stores do."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import servers
from command_line import run
from lease_steps import LONG

import shardpack as sp
from shardpack.leases import table as _dynamodb
from shardpack.leases.items import item_of
from shardpack.leases.lease import Lease
from shardpack.leases.rows import INDEX

PAGE = (Path(__file__).parents[2] / "docs/leases.md").read_text(encoding="utf-8")
SHARD = Lease("shardId-000000000000", checkpoint=sp.Position("5", 2))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    boto3 = pytest.importorskip("boto3")
    with servers.ministack("dynamodb") as url:
        settings = {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        yield boto3.client("dynamodb")


def test_the_python_examples(here: Path, dynamodb: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sp.SQLiteLeases(here / "clicks.db").create(SHARD)
    java = sp.DynamoDBLeases("java-application")
    java.prepare()
    java.create(SHARD)
    first, second = blocks("python")

    exec(compile(first, "docs/leases.md, first example", "exec"), {})
    assert capsys.readouterr().out == "shardId-000000000000 None Position('5', 2)\n"
    exec(compile(second, "docs/leases.md, second example", "exec"), {})
    assert capsys.readouterr().out == "shardId-000000000000 None 5 2\n"
    assert set(dynamodb.list_tables()["TableNames"]) == {"clicks-dashboard", "java-application"}


@pytest.fixture
def sequence_number(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The sequence number of an aggregate of ten user records in a stream named clicks."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with servers.ministack() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", url)
        kinesis = servers.client("kinesis", url)
        servers.create_stream(kinesis, "clicks", 1)
        blob = sp.encode([("k", b"%d" % n) for n in range(10)])
        yield kinesis.put_record(StreamName="clicks", PartitionKey="k", Data=blob)["SequenceNumber"]


def test_the_commands(here: Path, sequence_number: str) -> None:
    leases = sp.SQLiteLeases(here / "clicks.db")
    leases.create(SHARD)
    lines = "".join(blocks("console")).replace(LONG, sequence_number).splitlines()
    commands = [shlex.split(line.removeprefix("$ shardpack ")) for line in lines]

    outs = [run(*command)[0].decode() for command in commands]

    assert {command[1] for command in commands} == {"show", "set", "release", "delete", "reset"}
    assert outs[0].splitlines()[0].split() == blocks("text")[0].splitlines()[0].split()
    assert json.loads(outs[1])["sub_sequence_number"] == 2
    assert outs[2].endswith(f"{sequence_number}:7\n")
    assert outs[4].endswith("checkpoint TRIM_HORIZON\n")
    assert leases.list() == []


def test_the_schema_of_the_file(here: Path) -> None:
    sp.SQLiteLeases(here / "clicks.db").prepare()
    with closing(sqlite3.connect(here / "clicks.db")) as connection:
        (schema,) = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table'").fetchone()

    assert blocks("sql") == [f"{schema}\n"]


def test_the_attributes_of_the_table() -> None:
    rows = re.findall(r"^\| (`.+?`) \| (\w+)(?:, .*?)? \| .+ \|$", PAGE, re.MULTILINE)
    told = {name: kind for names, kind in rows for name in re.findall(r"`(\w+)`", names)}
    key = "1:clicks:1:s"  # of several streams: their leases have all attributes
    full = Lease(key, owner="o", parents=("p",), children=("c",), hash_range=(1, 2), checkpoint_owner="c")
    full = replace(full, origin="clicks/49", done_until=1, throughput=1.5)

    assert {name: next(iter(value)) for name, value in item_of(full).items()} == {
        name: kind for name, kind in told.items() if kind in {"S", "N", "SS"}
    }


def test_the_policy_allows_what_is_called_and_no_more() -> None:
    (policy,) = blocks("json")
    on_table, on_index = json.loads(policy)["Statement"]

    assert on_index["Resource"] == f"{on_table['Resource']}/index/{INDEX}"
    actions = {action.removeprefix("dynamodb:") for action in (*on_table["Action"], on_index["Action"])}
    assert actions == set(_dynamodb._METHODS)
