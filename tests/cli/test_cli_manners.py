"""The manners of the command line: examples, completion, formats and JSON."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import servers
import typer
from command_line import json_lines, run
from typer.main import get_command

import shardpack as sp
from shardpack.cli.app import app
from shardpack.cli.commands.examples import EXAMPLES, STATUS
from shardpack.cli.commands.tail.line_format import FIELDS, MEANING, chosen, line_format

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
RECORD = sp.ReceivedRecord(
    "user-7", b'{"page": 1}', "123", "4959", 3, True, datetime(2026, 11, 28, tzinfo=UTC), "shardId-000000000001"
)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"leases"}))
def test_help_ends_with_examples_that_parse_and_the_exit_status(name: str) -> None:
    out = re.sub(r"\s+", " ", run(name, "-h", environment={"COLUMNS": "200"})[0].decode())
    assert "Exit status 0: " in out
    for example in EXAMPLES[name]:
        assert example in out
        (ours,) = (part for part in example.split(" | ") if part.startswith("shardpack"))
        command, *words = shlex.split(ours.split(" > ")[0])[1:]
        COMMANDS[command].make_context(command, words, parent=None)


def test_no_command_is_without_examples() -> None:
    assert EXAMPLES.keys() == set(COMMANDS) - {"leases"}
    assert STATUS.keys() <= EXAMPLES.keys()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_our_commands(shell: str) -> None:
    environment = os.environ | {"_SHARDPACK_COMPLETE": f"source_{shell}"}
    command = [str(Path(sys.executable).with_name("shardpack"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert f"_SHARDPACK_COMPLETE=complete_{shell}" in done.stdout
    if shell == "bash":
        environment |= {"_SHARDPACK_COMPLETE": "complete_bash", "COMP_WORDS": "shardpack doc", "COMP_CWORD": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["doctor"]


class TestFormat:
    def test_each_field(self) -> None:
        line = line_format(r"%k|%s|%S|%e|%p|%o|%u|%T|%%\t\n")
        moment = b"1795824000000"
        assert line(RECORD) == b'user-7|{"page": 1}|11|123|shardId-000000000001|4959|3|' + moment + b"|%\t\n"
        assert all(f"%{name} " in MEANING for name in FIELDS)

    def test_what_is_not_known_is_nothing(self) -> None:
        plain = sp.ReceivedRecord("k", b"x", None, None, 0, False, None, None)
        assert line_format("%e%o%T%p%s")(plain) == b"x"

    @pytest.mark.parametrize("text", ["%q", "%", "\\", r"\q", "%s %"])
    def test_what_means_nothing(self, text: str) -> None:
        with pytest.raises(typer.BadParameter, match="which means nothing; there are %k partition key"):
            line_format(text)


class TestChosen:
    def test_by_key_and_by_data(self) -> None:
        assert chosen((), None) is None
        for keys, pattern, expected in [
            (["user-7"], None, True),
            (["user-7", "x"], r'"page": \d}', True),
            (["x"], None, False),
            (["user-7"], "^page", False),
            ((), "page", True),
        ]:
            choice = chosen(keys, pattern)
            assert choice is not None
            assert choice(RECORD) == expected

    def test_a_pattern_that_is_none(self) -> None:
        with pytest.raises(typer.BadParameter, match=r"--filter is '\(', which is no regular expression"):
            chosen((), "(")


@pytest.fixture(scope="module")
def stream() -> Iterator[tuple[str, ...]]:
    pytest.importorskip("boto3")
    with servers.ministack() as url:
        servers.create_stream(servers.client("kinesis", url), "clicks", 1)
        where = ("--endpoint-url", url, "--region", "us-east-1")
        lines = b"".join(b"user-%d:page %d\n" % (n % 3, n) for n in range(30))
        run("put", "clicks", "-", "-K", ":", *where, stdin=lines, environment=ENVIRONMENT)
        yield where


ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def test_put_and_tail_in_the_manner_of_kcat(stream: tuple[str, ...]) -> None:
    tail = ("tail", "clicks", "--no-follow", *stream)
    out, _ = run(*tail, "-f", r"%k:%s\n", environment=ENVIRONMENT)
    assert sorted(out.splitlines()) == sorted(b"user-%d:page %d" % (n % 3, n) for n in range(30))
    out, _ = run(*tail, "--key", "user-1", "--filter", "page .$", "-f", "%s,", environment=ENVIRONMENT)
    assert out == b"page 1,page 4,page 7,"
    out, _ = run(*tail, "--key", "user-1", "--records", "2", "--json", environment=ENVIRONMENT)
    assert [one["data"] for one in json_lines(out)] == ["page 1", "page 4"]


def test_short_options_are_those_of_kcat(stream: tuple[str, ...]) -> None:
    tail = ("tail", "clicks", *stream)
    whole, _ = run(*tail, "--from", "TRIM_HORIZON", "--no-follow", "--json", environment=ENVIRONMENT)
    short, _ = run(*tail, "-o", "TRIM_HORIZON", "-e", "-J", environment=ENVIRONMENT)
    assert sorted(short.splitlines()) == sorted(whole.splitlines()) != []
    assert run("pack", "-k", "u", stdin=b'{"u": "a"}')[0] == run("pack", "--key", "u", stdin=b'{"u": "a"}')[0]
    assert run("-V") == run("--version")


def test_a_line_without_the_delimiter_is_named(stream: tuple[str, ...]) -> None:
    _, error = run("put", "clicks", "-", "-K", "=>", *stream, stdin=b"k=>v\nkv\n", status=1, environment=ENVIRONMENT)
    assert "-:2: the delimiter '=>' is not on this line" in error


def test_what_excludes_each_other() -> None:
    for arguments in (("tail", "s", "--json", "-f", "%s"), ("put", "s", "-", "--key", "a", "-K", ":")):
        assert "choose one of" in run(*arguments, status=2)[1]


def test_inspect_in_json(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(sp.encode([("a", b"one"), ("b", b"two", "5")]))
    (told,) = json_lines(run("inspect", blob, "--shards", "2", "--json")[0])
    assert (told["kind"], told["user_record_count"], told["fault"]) == ("aggregate", 2, None)
    assert [(one["partition_key"], one["data"]) for one in told["user_records"]] == [("a", "one"), ("b", "two")]
    assert told["user_records"][1]["shard_id"] == "shardId-000000000000"
    blob.write_text('{"Data": "cGxhaW4=", "PartitionKey": "k"}\n')
    assert json.loads(run("inspect", blob, "--json")[0])["kind"] == "plain"


def test_a_file_of_leases_needs_no_scheme(tmp_path: Path) -> None:
    file = tmp_path / "clicks.db"
    sp.SQLiteLeases(file).prepare()
    assert run("leases", "show", file, "--json")[0] == b""
    told = run("leases", "show", "nowhere.db", status=2)[1].replace("│", " ").split()
    assert "or a file that is there" in " ".join(told)
