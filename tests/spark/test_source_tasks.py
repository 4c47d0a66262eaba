"""What a task of the source does: how it paces itself, how it is pushed to, and with whose credentials."""

from __future__ import annotations

import base64
import json
import pickle
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

pytest.importorskip("pyarrow")
boto3 = pytest.importorskip("boto3")
from botocore.credentials import AssumeRoleCredentialFetcher
from pushing import Pushing

import shardpack as sp
from shardpack.aws import responses
from shardpack.ranges.core.marks import BEGINNING, END, Mark
from shardpack.ranges.core.ranges import Range
from shardpack.ranges.shells.clients import Caller, kinesis_of, session_of
from shardpack.ranges.shells.tasks import RangeReader
from shardpack.spark.core.options import source_options
from shardpack.spark.core.rows import Rows
from shardpack.testing import FakeKinesis, ManualClock

# What pyspark and pandas warn of is not ours to judge.
pytestmark = pytest.mark.filterwarnings("default")

SHARD = "shardId-000000000000"


def stored(records: int, size: int = 10) -> tuple[FakeKinesis, ManualClock]:
    clock = ManualClock()
    kinesis = FakeKinesis(streams={"s": 1}, clock=clock)
    for nth in range(records):
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"%d" % nth + b"x" * size)
    return kinesis, clock


def reader(client: Any, clock: ManualClock, **given: str) -> RangeReader:
    options = source_options({"streamName": "s", **given}, is_stream=True)
    call = Caller(options.connection, client, sleep=clock.wait)
    rows = Rows("s", ["data"], options.on_corrupt)
    return RangeReader(call, options, rows.of, clock=clock.now, sleep=clock.wait)


def data_of(reader: RangeReader, one: Range) -> list[bytes]:
    return [data for batch in reader.read(one) for data in batch["data"].to_pylist()]


def test_a_task_keeps_to_the_budget_of_its_shard() -> None:
    kinesis, clock = stored(40, 300_000)
    since = clock.now()
    numbers = [record["SequenceNumber"] for record in kinesis.records()]
    one = Range(SHARD, Mark("AT", numbers[0]), Mark("AFTER", numbers[-1]))
    assert len(data_of(reader(kinesis, clock, maxRecordsPerFetch="4"), one)) == 40
    assert clock.now() - since >= 36 * 300_000 / 2**21  # 2 MiB a second, and the last page is waited for by nobody


def test_a_range_is_cut_within_aggregates_on_both_sides() -> None:
    clock = ManualClock()
    kinesis = FakeKinesis(streams={"s": 1}, clock=clock)
    for first in range(0, 12, 4):
        blob = sp.encode([("k", b"%d" % nth) for nth in range(first, first + 4)])
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=blob)
    numbers = [record["SequenceNumber"] for record in kinesis.records()]
    one = Range(SHARD, Mark("AT", numbers[0], 3), Mark("AT", numbers[2], 1))
    assert data_of(reader(kinesis, clock), one) == [b"3", b"4", b"5", b"6", b"7", b"8"]


@pytest.mark.parametrize("place", ["AT", "AFTER"])
def test_a_range_ends_where_it_would_though_its_end_is_not_there(place: Any) -> None:
    kinesis, clock = stored(10)
    beyond = int(kinesis.records()[3]["SequenceNumber"])
    one = Range(SHARD, BEGINNING, Mark(place, str(beyond - 1)))
    assert [int(data[:-10]) for data in data_of(reader(kinesis, clock), one)] == [0, 1, 2]


def test_an_iterator_that_expires_within_a_range_leaves_no_gap_and_repeats_nothing() -> None:
    kinesis, clock = stored(10)
    kinesis.script("get_records", latency=301.0, when=lambda _: len(kinesis.calls) == 3)
    kinesis.calls.clear()
    one = Range(SHARD, BEGINNING, Mark("AFTER", _last(kinesis)))
    found = data_of(reader(kinesis, clock, maxRecordsPerFetch="3"), one)
    assert [call.operation for call in kinesis.calls].count("get_shard_iterator") == 2
    assert [int(one[:-10]) for one in found] == [*range(10)]


def test_what_is_pushed_is_read_to_the_same_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyspark.sql.datasource")
    from shardpack.spark.shells import source

    kinesis, _ = stored(10)
    client = Pushing(kinesis, ends_with="raise")
    monkeypatch.setattr(source, "shared_kinesis_of", lambda _: client)
    options = source_options({"streamName": "s", "consumerMode": "efo", "consumerName": "app"}, is_stream=True)
    made = source.StreamReader(options, ["data"])
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"later")
    numbers = [record["SequenceNumber"] for record in kinesis.records()]
    one = Range(SHARD, Mark("AT", numbers[2]), Mark("AT", numbers[-1]))
    found = [data for batch in made.read(source.RangePartition(one)) for data in batch["data"].to_pylist()]
    assert [int(data[:-10]) for data in found] == [*range(2, 10)]
    assert client.registered == ["app"]
    assert len(client.subscribed) > 2


def test_a_shard_that_ends_before_the_end_of_its_range_is_told() -> None:
    kinesis, clock = stored(5)
    beyond = str(int(_last(kinesis)) + 1)
    kinesis.autoscale(SHARD)
    with pytest.raises(sp.DataLossError, match="the shard ends before its end: records have expired"):
        data_of(reader(kinesis, clock), Range(SHARD, BEGINNING, Mark("AT", beyond)))


def test_an_end_that_is_not_there_any_more_is_told() -> None:
    kinesis, clock = stored(5)
    beyond = str(int(_last(kinesis)) + 1)
    with pytest.raises(sp.DataLossError, match="its end is not there any more: records have expired"):
        data_of(reader(kinesis, clock), Range(SHARD, BEGINNING, Mark("AT", beyond)))


def test_a_shard_is_read_to_its_end() -> None:
    kinesis, clock = stored(5)
    kinesis.autoscale(SHARD)
    assert len(data_of(reader(kinesis, clock), Range(SHARD, BEGINNING, END))) == 5


def test_a_reader_travels_without_its_clients_and_its_text_shows_no_secret() -> None:
    pytest.importorskip("pyspark.sql.datasource")
    from shardpack.spark.shells.source import StreamReader

    given = {"streamName": "s", "awsAccessKey": "AKIA", "awsSecretKey": "hush", "region": "eu-west-1"}
    made = StreamReader(source_options(given, is_stream=True), ["data"])
    made._driver()
    assert pickle.loads(pickle.dumps(made))._made is None
    assert "hush" not in repr(vars(made))


def test_a_role_is_assumed_with_the_keys_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class Tokens:
        def assume_role(self, **arguments: Any) -> dict[str, Any]:
            asked.append(arguments)
            until = datetime.now(UTC) + timedelta(hours=1)
            keys = {"AccessKeyId": "ROLE", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": until}
            return {"Credentials": keys}

    monkeypatch.setattr(boto3.session.Session, "client", lambda *_, **__: Tokens())
    given = {"streamName": "s", "region": "eu-west-1", "awsAccessKey": "AKIA", "awsSecretKey": "k"}
    role = {"roleArn": "arn:aws:iam::1:role/r", "roleExternalId": "id"}
    session = session_of(source_options(given | role, is_stream=True).connection)
    assert session.get_credentials().get_frozen_credentials().access_key == "ROLE"
    assert asked == [{"RoleArn": role["roleArn"], "RoleSessionName": "shardpack-spark", "ExternalId": "id"}]


KEYS = {"access_key": "ROLE", "secret_key": "s", "token": "t", "expiry_time": "2099-01-01T00:00:00Z"}


@pytest.mark.parametrize("role", [{}, {"roleArn": "arn:aws:iam::1:role/r"}], ids=["own keys", "a role"])
def test_answers_are_read_by_the_fast_parser(role: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"Records": [{"Data": base64.b64encode(b"x" * 50).decode()}], "MillisBehindLatest": 0}).encode()
    answered = SimpleNamespace(status_code=200, headers={}, content=body, raw=None)
    cut = Mock(wraps=responses._cut)
    monkeypatch.setattr(responses, "_cut", cut)
    monkeypatch.setattr(AssumeRoleCredentialFetcher, "fetch_credentials", lambda _: KEYS)
    given = {"streamName": "s", "region": "eu-west-1", "awsAccessKey": "AKIA", "awsSecretKey": "k", **role}
    client = kinesis_of(source_options(given, is_stream=True).connection)
    client.meta.events.register("before-send.kinesis.GetRecords", lambda **_: answered)
    assert client.get_records(ShardIterator="i")["Records"] == [{"Data": b"x" * 50}]
    assert cut.call_count == 1


def test_without_a_region_it_is_said_which_option_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(ValueError, match=r"there is no option region, and the AWS SDK finds none: .option\("):
        kinesis_of(source_options({"streamName": "s"}, is_stream=True).connection)


def _last(kinesis: FakeKinesis) -> str:
    return str(kinesis.records()[-1]["SequenceNumber"])
