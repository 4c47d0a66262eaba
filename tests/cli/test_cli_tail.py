"""`shardpack tail`, as a user's shell runs it, against a real local server."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import servers
import warm_python
from aggregate_bytes import frame
from command_line import COMMAND, started_warm
from relay import relay

import shardpack as sp

pytestmark = pytest.mark.usefixtures("aws_credentials")
NAMES = iter(f"stream-{n}" for n in range(1000))


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Any, str]]:
    with servers.kinesalite() as url:
        yield servers.client("kinesis", url), url


def new_stream(client: Any, shards: int = 1) -> str:
    name = next(NAMES)
    servers.create_stream(client, name, shards)
    return name


def put(client: Any, name: str, *data: bytes) -> list[str]:
    """Put one aggregate; the Kinesis records' sequence numbers."""
    packed = sp.pack((f"key-{n}", one) for n, one in enumerate(data))
    return [client.put_record(StreamName=name, **one.entry)["SequenceNumber"] for one in packed]


def tail(server: tuple[Any, str], name: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [*COMMAND, "tail", name, "--endpoint-url", server[1], *arguments]
    return subprocess.CompletedProcess(command, *warm_python.run(command[1:]))


class TestWhatItWrites:
    def test_everything_of_every_shard_parents_before_children(self, server: tuple[Any, str]) -> None:
        client = server[0]
        name = new_stream(client)
        put(client, name, b"one", b"two")
        client.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
        servers.wait_until_active(client, name)
        client.put_record(StreamName=name, PartitionKey="plain", Data=b"three")

        done = tail(server, name, "--from", "TRIM_HORIZON", "--no-follow")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"one\ntwo\nthree\n", b"")

    def test_json_is_what_unpack_writes(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0])
        (number,) = put(server[0], name, b"one", b"\xff")

        done = tail(server, name, "--from", "TRIM_HORIZON", "--no-follow", "--json")
        first, second = map(json.loads, done.stdout.splitlines())
        assert (first["partition_key"], first["data"], first["shard_id"]) == ("key-0", "one", "shardId-000000000000")
        assert (second["sequence_number"], second["sub_sequence_number"]) == (number, 1)
        assert second["data_base64"] == "/w=="

    def test_a_long_key_is_refused_before_it_is_written_out_for_each_user_record(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0])
        put(server[0], name, b"before")
        body = b"\x0a\xac\x02" + b"k" * 300 + b"\x1a\x04\x08\x00\x1a\x00" * 2
        blob = frame(body)
        number = server[0].put_record(StreamName=name, PartitionKey="k", Data=blob)["SequenceNumber"]
        put(server[0], name, b"behind")
        everything = ("--from", "TRIM_HORIZON", "--no-follow", "--json")

        done = tail(server, name, *everything)

        assert (done.returncode, b"k" * 300 in done.stdout) == (1, False)
        assert b"has a partition key of 300 characters" in done.stderr
        assert f"--after shardId-000000000000:{number} goes on behind it".encode() in done.stderr
        behind = tail(server, name, *everything, "--after", f"shardId-000000000000:{number}")
        assert [json.loads(line)["data"] for line in behind.stdout.splitlines()] == ["behind"]
        for options in (("--max-key-characters", "0"), ("--max-key-characters", "300")):
            assert tail(server, name, *everything, *options).stdout.count(b"k" * 300) == 2
        assert tail(server, name, *everything[:-1]).stdout == b"before\n\n\nbehind\n"

    def test_base64(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0])
        put(server[0], name, b"one\ntwo")
        assert tail(server, name, "--from", "1h", "--no-follow", "--base64").stdout == b"b25lCnR3bw==\n"
        assert tail(server, name, "--no-follow", "--base64").stdout == b"b25lCnR3bw==\n"  # from its beginning

    def test_it_ends_inside_an_aggregate(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0])
        put(server[0], name, b"one", b"two", b"three")
        done = tail(server, name, "--from", "TRIM_HORIZON", "--records", "2")
        assert (done.returncode, done.stdout) == (0, b"one\ntwo\n")


class TestWhereItBegins:
    def test_at_and_after_a_sequence_number(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0])
        numbers = [
            *put(server[0], name, b"one", b"two"),
            *put(server[0], name, b"three"),
            *put(server[0], name, b"four"),
        ]
        where = f"shardId-000000000000:{numbers[1]}"
        assert tail(server, name, "--at", where, "--no-follow").stdout == b"three\nfour\n"
        assert tail(server, name, "--after", where, "--no-follow").stdout == b"four\n"

    def test_at_a_time(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0])
        put(server[0], name, b"before")
        time.sleep(1.1)  # kinesalite keeps whole seconds
        moment = datetime.now(UTC)
        put(server[0], name, b"after")
        done = tail(server, name, "--from", moment.isoformat(), "--no-follow")
        assert done.stdout == b"after\n"

    def test_a_window_of_the_past(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0], 2)
        keys = {"0": "low", str(2**128 - 1): "high"}

        def put_both(data: str) -> datetime:
            for hash_key, key in keys.items():
                blob = f"{data} {key}".encode()
                server[0].put_record(StreamName=name, PartitionKey="k", Data=blob, ExplicitHashKey=hash_key)
            time.sleep(1.1)  # kinesalite keeps whole seconds
            return datetime.now(UTC)

        begin = put_both("before")
        server[0].put_record(StreamName=name, PartitionKey="k", Data=b"within low", ExplicitHashKey="0")
        time.sleep(1.1)
        end = datetime.now(UTC)
        put_both("after")
        done = tail(server, name, "--from", begin.isoformat(), "--until", end.isoformat())
        assert (done.returncode, done.stdout) == (0, b"within low\n")
        done = tail(server, name, "--until", begin.isoformat())
        assert sorted(done.stdout.splitlines()) == [b"before high", b"before low"]

    def test_until_a_sequence_number(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0])
        numbers = [*put(server[0], name, b"one", b"two"), *put(server[0], name, b"three")]
        where = f"shardId-000000000000:{numbers[0]}"
        done = tail(server, name, "--until", where)
        assert (done.returncode, done.stdout) == (0, b"one\ntwo\n")
        # Nothing follows: it ends all the same.
        assert tail(server, name, "--until", f"shardId-000000000000:{numbers[1]}").stdout == b"one\ntwo\nthree\n"

    def test_hot_keys_and_shards_in_place_of_records(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0], 2)
        for packed in sp.pack([("hot", b"x")] * 30 + [("cold", b"yy")] * 10):
            server[0].put_record(StreamName=name, **packed.entry)
        done = tail(server, name, "--no-follow", "--stats")
        rows = [line.split() for line in done.stdout.decode().splitlines()]
        assert done.returncode == 0
        assert ["hot", "30", "75.0%"] in rows
        assert ["cold", "10", "25.0%"] in rows
        assert sum(int(row[1]) for row in rows if row and row[0].startswith("shardId-")) == 40
        assert sum(int(row[2]) for row in rows if row and row[0].startswith("shardId-")) == 30 * 4 + 10 * 6

    def test_it_follows_from_now_on_until_it_is_told_to_end(self, server: tuple[Any, str]) -> None:
        client, url = server
        name = new_stream(client)
        put(client, name, b"before")
        for number in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen(
                [*started_warm(), "tail", name, "--endpoint-url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            assert process.stdout is not None
            deadline = time.monotonic() + 60
            line = b""
            while not line and time.monotonic() < deadline:  # until one is put after the tail has begun
                put(client, name, b"now")
                time.sleep(0.2)
                if select.select([process.stdout], [], [], 0)[0]:
                    line = process.stdout.readline()
            assert line == b"now\n"
            process.send_signal(number)
            _, errors = process.communicate(timeout=30)
            assert (process.returncode, errors) == (128 + number, b"")


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--from", "yesterday"), "give LATEST, TRIM_HORIZON, a time"),
            (("--from", "2026-11-23T10:00:00"), "without a time zone"),
            (("--from", "999999999d"), "before the year 1"),
            (("--from", "700000d"), "give a year from 1970 to 9998"),
            (("--from", "0001-01-01T00:00:00+14:00"), "give a year from 1970 to 9998"),
            (("--from", "9999-12-31T23:59:59-14:00"), "give a year from 1970 to 9998"),
            (("--from", "9" * 5000 + "s"), "give LATEST, TRIM_HORIZON, a time"),
            (("--at", "shardId-000000000000"), "give SHARD:SEQ"),
            (("--json", "--base64"), "choose one of"),
            (("--json", "--stats"), "--stats writes no records"),
            (("--until", "tomorrow"), "--until is 'tomorrow'; give SHARD:SEQ, a time"),
            (("--until", "1h", "--until", "2h"), "--until names 2 moments"),
        ],
    )
    def test_options(self, server: tuple[Any, str], arguments: tuple[str, ...], message: str) -> None:
        done = tail(server, "any", *arguments)
        assert done.returncode == 2
        assert message in " ".join(done.stderr.decode().replace("│", " ").split())

    def test_a_stream_that_is_not_there(self, server: tuple[Any, str]) -> None:
        done = tail(server, "nowhere")
        assert (done.returncode, done.stdout) == (1, b"")
        (line,) = done.stderr.decode().splitlines()
        assert line == (
            f"shardpack: nowhere: there is no such stream in us-east-1 at {server[1]} (ResourceNotFoundException);"
            " check the name, --region and --endpoint-url"
        )

    def test_a_shard_that_is_not_there(self, server: tuple[Any, str]) -> None:
        done = tail(server, new_stream(server[0]), "--at", "shardId-000000000009:1")
        (line,) = done.stderr.decode().splitlines()
        assert "start_at names shardId-000000000009; the stream has shardId-000000000000" in line

    def test_a_reader_that_goes_away_is_no_error(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0])
        put(server[0], name, *(b"x" * 1000 for _ in range(500)))
        command = " ".join(
            [*started_warm(), "tail", name, "--endpoint-url", server[1], "--from", "TRIM_HORIZON", "| head -1"]
        )
        script = f"{command}; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"x" * 1000 + b"\n", b"")


def started(name: str, url: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [*started_warm(), "tail", name, "--endpoint-url", url, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


# The calls that hang would take 30 s; how long Python takes to end is no matter of ours.
AT_ONCE = 25


class TestHowItEnds:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_though_the_server_has_stopped_answering(self, server: tuple[Any, str], number: signal.Signals) -> None:
        name = new_stream(server[0], 3)
        put(server[0], name, b"one")
        with relay(server[1]) as between, started(name, between.url, "--from", "TRIM_HORIZON") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"one\n"
            between.silent.set()
            time.sleep(2.5)  # until each shard has a call that hangs
            process.send_signal(number)
            _, error = process.communicate(timeout=AT_ONCE)
        assert (process.returncode, error) == (128 + number, b"")

    def test_though_the_server_never_answers(self) -> None:
        silent = socket.create_server(("127.0.0.1", 0))
        with silent, started("s", f"http://127.0.0.1:{silent.getsockname()[1]}") as process:
            connection = silent.accept()[0]
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=AT_ONCE)
            connection.close()
        assert (process.returncode, error) == (130, b"")

    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_the_second_ctrl_c_ends_it_though_nobody_reads(
        self, server: tuple[Any, str], unbuffered: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
        name = new_stream(server[0])
        put(server[0], name, b"x" * 400_000)  # more than a pipe holds: it waits in the middle of writing
        with started(name, server[1], "--from", "TRIM_HORIZON") as process:
            assert process.stdout is not None
            os.read(process.stdout.fileno(), 1)
            process.send_signal(signal.SIGINT)
            time.sleep(1)
            assert process.poll() is None  # the line is not torn, if somebody reads on
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=AT_ONCE) == 130
            assert process.stderr is not None
            assert process.stderr.read() == b""

    def test_after_the_last_record_that_was_asked_for(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0], 4)
        put(server[0], name, b"one")
        options = ("--from", "TRIM_HORIZON", "--records", "2")
        with relay(server[1]) as between, started(name, between.url, *options) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"one\n"
            put(server[0], name, b"two")
            assert process.stdout.readline() == b"two\n"
            between.silent.set()
            _, error = process.communicate(timeout=AT_ONCE)
        assert (process.returncode, error) == (0, b"")


class TestAStreamThatCannotBeReached:
    def test_is_given_up(self) -> None:
        done = tail((None, "http://127.0.0.1:9"), "s")

        assert (done.returncode, done.stdout) == (1, b"")
        first, last = done.stderr.decode().splitlines()
        assert first.startswith(
            "shardpack: s: not reached (EndpointConnectionError: Could not connect to the endpoint URL"
        )
        assert first.endswith(", trying again")
        assert last.startswith("shardpack: s: not reached in 5 tries (EndpointConnectionError: ")
        assert last.endswith("check the endpoint, the region and the network")

    @pytest.mark.long
    def test_later_is_waited_for_and_told_once(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0])
        put(server[0], name, b"one")
        with relay(server[1]) as between, started(name, between.url, "--from", "TRIM_HORIZON") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"one\n"
            between.close()
            assert process.stderr is not None
            first = process.stderr.readline()
            time.sleep(15)  # every fifth failure in a row is worth a warning
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=AT_ONCE)
        lines = (first + error).decode().splitlines()
        assert len(lines) == len(set(lines)) <= 4
