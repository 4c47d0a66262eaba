"""The stores of what is done: SQLite, and DynamoDB as other people's servers have it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import servers
from hypothesis import given
from hypothesis import strategies as st
from lambda_model import aggregate, event, record

import shardpack as sp
from shardpack.aws_lambda import DynamoDBProgress, Progress, SQLiteProgress, process
from shardpack.aws_lambda._record import is_done, set_done


@given(st.sets(st.integers(0, 200)))
def test_a_bitmap_has_the_bits_that_were_set(done: set[int]) -> None:
    bitmap = bytearray()
    for n in done:
        set_done(bitmap, n)

    assert {n for n in range(300) if is_done(bitmap, n)} == done
    assert {n for n in range(300) if is_done(bytes(bitmap), n)} == done
    assert len(bitmap) == (max(done) // 8 + 1 if done else 0)


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    pytest.importorskip("boto3")
    with servers.dynalite() as url:
        yield servers.client("dynamodb", url)


@pytest.fixture(scope="module")
def ministack_dynamodb() -> Iterator[Any]:
    pytest.importorskip("boto3")
    with servers.ministack("dynamodb") as url:
        yield servers.client("dynamodb", url)


def created(client: Any, table: str, **settings: Any) -> DynamoDBProgress:
    progress = DynamoDBProgress(table, client, **settings)
    try:
        progress.create_table()
    except client.exceptions.ClientError as error:
        if error.operation_name != "UpdateTimeToLive":  # of which dynalite knows nothing
            raise
    return progress


@contextmanager
def sqlite(path: Path, **settings: Any) -> Iterator[SQLiteProgress]:
    with SQLiteProgress(path, **settings) as progress:
        yield progress


@pytest.fixture(params=["sqlite", "dynalite", "ministack"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A function that opens the same store with other settings."""
    if request.param == "sqlite":
        opened: list[SQLiteProgress] = []

        def make(**settings: Any) -> Progress:
            opened.append(SQLiteProgress(tmp_path / "progress.sqlite", **settings))
            return opened[-1]

        yield make
        for one in opened:
            one.close()
    else:
        client = request.getfixturevalue("dynamodb" if request.param == "dynalite" else "ministack_dynamodb")
        table = f"progress-{time.monotonic_ns()}"
        created(client, table)
        yield lambda **settings: DynamoDBProgress(table, client, **settings)


class TestStores:
    def test_what_was_saved_is_loaded(self, make: Any) -> None:
        make().save("shard", {"7.0": b"\x01", "8.0": b"\xff\x01"})
        make().save("shard", {"7.0": b"\x03"})

        assert make().load("shard", "7.0", "8.0") == {"7.0": b"\x03", "8.0": b"\xff\x01"}
        assert make().load("shard", "7.0", "7.0") == {"7.0": b"\x03"}
        assert make().load("shard", "70", "79") == {}
        assert make().load("shard2", "7.0", "8.0") == {}

    def test_consumers_do_not_see_each_other(self, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "one")
        make().save("shard", {"7": b"\x01"})
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "two")

        assert make().load("shard", "7", "7") == {}
        assert make(consumer="two").load("shard", "7", "7") == {}
        assert make(consumer="one").load("shard", "7", "7") == {"7": b"\x01"}

    def test_what_has_expired_is_forgotten(self, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = make(ttl=100)
        opened.save("shard", {"7": b"\x01"})
        now = time.time()

        monkeypatch.setattr(time, "time", lambda: now + 90)
        assert make().load("shard", "7", "7") == {"7": b"\x01"}
        monkeypatch.setattr(time, "time", lambda: now + 101)
        assert opened.load("shard", "7", "7") == {}
        assert make().load("shard", "7", "7") == {}

    def test_more_than_one_write_and_more_than_one_page(self, make: Any) -> None:
        done = {f"{n:06}": bytes([n % 256]) * 30_000 for n in range(60)}  # 1.8 MB, and a page has 1 MB

        make().save("shard", done)

        assert make().load("shard", "000000", "999999") == done

    def test_the_bitmap_of_the_largest_aggregate_fits(self, make: Any) -> None:
        bitmap = bytes(10 * 1024 * 1024 // 6 // 8)  # 10 MiB of sub-records of 6 bytes, the least that one takes

        make().save("shard", {"7": bitmap})

        assert make().load("shard", "7", "7") == {"7": bitmap}

    def test_a_batch_goes_on_where_it_stopped(self, make: Any) -> None:
        handled: list[bytes] = []
        poison = {b"2"}

        def handle(received: sp.ReceivedRecord) -> None:
            if received.data in poison:
                raise ValueError(received.data)
            handled.append(received.data)

        batch = event(
            *(record(100 + n, b"%d" % n) for n in range(2)),
            aggregate(102, [("k", b"%d" % n) for n in range(2, 5)]),
            *(record(103 + n, b"%d" % (5 + n)) for n in range(60)),
        )
        assert process(batch, handle, progress=make()) == {"batchItemFailures": [{"itemIdentifier": "102"}]}
        poison.clear()
        assert process(batch, handle, progress=make(), save_every=100) == {"batchItemFailures": []}
        assert process(batch, handle, progress=make()) == {"batchItemFailures": []}
        assert handled == [b"%d" % n for n in range(65)]

    @pytest.mark.parametrize("ttl", [0, -1, float("nan")])
    def test_a_time_to_live_that_is_none_is_refused(self, make: Any, ttl: float) -> None:
        with pytest.raises(ValueError, match="ttl is"):
            make(ttl=ttl)


class TestSQLite:
    def test_opening_deletes_what_has_expired(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with sqlite(tmp_path / "p", ttl=100) as progress:
            progress.save("shard", {"7": b"\x01"})
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 101)
        with sqlite(tmp_path / "p"):
            pass
        monkeypatch.undo()

        with sqlite(tmp_path / "p") as progress:
            assert progress.load("shard", "7", "7") == {}


class TestDynamoDB:
    def test_the_table_expires_its_items(self, ministack_dynamodb: Any) -> None:
        created(ministack_dynamodb, "expiring")

        described = ministack_dynamodb.describe_time_to_live(TableName="expiring")["TimeToLiveDescription"]
        assert described["AttributeName"] == "expires_at"
        assert described["TimeToLiveStatus"] in {"ENABLED", "ENABLING"}

    def test_what_a_throttled_write_left_is_written(self, ministack_dynamodb: Any) -> None:
        class Throttled:
            def __getattr__(self, name: str) -> Any:
                return getattr(ministack_dynamodb, name)

            def batch_write_item(self, RequestItems: dict[str, list[Any]]) -> Any:  # boto3's
                ((table, requests),) = RequestItems.items()
                ministack_dynamodb.batch_write_item(RequestItems={table: requests[1:]})
                return {"UnprocessedItems": {table: requests[:1]}}

        created(ministack_dynamodb, "throttled")
        progress = DynamoDBProgress("throttled", Throttled())

        progress.save("shard", {"1": b"\x01", "2": b"\x01", "3": b"\x01"})

        assert set(progress.load("shard", "0", "9")) == {"1", "2", "3"}

    def test_an_error_of_the_service_comes_out(self, ministack_dynamodb: Any) -> None:
        progress = DynamoDBProgress("no-such-table", ministack_dynamodb)

        with pytest.raises(ministack_dynamodb.exceptions.ResourceNotFoundException):
            process(event(record(7, b"x")), print, progress=progress)

    def test_the_client_is_made_at_the_first_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[str] = []
        boto3 = pytest.importorskip("boto3")
        monkeypatch.setattr(boto3, "client", lambda name: made.append(name))
        progress = DynamoDBProgress("table")

        assert made == []
        with pytest.raises(AttributeError):
            progress.load("shard", "0", "9")
        assert made == ["dynamodb"]

    def test_without_boto3_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "boto3", None)

        with pytest.raises(ModuleNotFoundError, match="pip install"):
            DynamoDBProgress("table").load("shard", "0", "9")


def test_a_file_that_is_no_database_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def connected(*arguments: Any, **more: Any) -> sqlite3.Connection:
        made.append(connect(*arguments, **more))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", connected)
    (tmp_path / "notes").write_bytes(b"these are notes, and no database" * 100)

    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        SQLiteProgress(tmp_path / "notes", consumer="c")

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        made[0].execute("SELECT 1")
