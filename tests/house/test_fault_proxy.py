"""The fault proxy: each fault as boto3 sees it, in front of kinesalite and dynalite."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import servers
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from fault_proxy import FaultProxy, Faults
from fault_services import DynamoDB, Kinesis, Quotas

NUMBERS = itertools.count()
EXCEEDED = "ProvisionedThroughputExceededException"


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with servers.kinesalite() as url:
        yield url


@pytest.fixture
def proxy(upstream: str) -> Iterator[FaultProxy]:
    with FaultProxy(upstream, Kinesis(Quotas.none())) as proxy:
        yield proxy


@pytest.fixture
def name(upstream: str) -> str:
    """A stream of the test's own, with one shard."""
    name = f"stream-{next(NUMBERS)}"
    servers.create_stream(servers.client("kinesis", upstream), name, 1)
    return name


def entries(count: int, size: int = 1) -> list[dict[str, Any]]:
    return [{"PartitionKey": "é", "Data": b"x" * size} for _ in range(count)]


def stored(client: Any, name: str) -> list[dict[str, Any]]:
    records = []
    for shard in client.list_shards(StreamName=name)["Shards"]:
        page = client.get_records(ShardIterator=iterator_of(client, name, shard["ShardId"]))
        records += page["Records"]
    return records


def iterator_of(client: Any, name: str, shard_id: str = "shardId-000000000000") -> str:
    answer = client.get_shard_iterator(StreamName=name, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")
    iterator: str = answer["ShardIterator"]
    return iterator


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_without_faults_it_passes_everything_on(proxy: FaultProxy, name: str) -> None:
    client = servers.client("kinesis", proxy.url)
    answer = client.put_records(StreamName=name, Records=entries(500))

    assert answer["FailedRecordCount"] == 0
    assert {(record["PartitionKey"], record["Data"]) for record in stored(client, name)} == {("é", b"x")}
    assert not proxy.counts
    assert not proxy.lost
    assert proxy.calls["PutRecords"] == 1


def test_a_reset_before_stores_nothing(proxy: FaultProxy, upstream: str, name: str) -> None:
    proxy.faults = Faults(reset_before=1.0)
    with pytest.raises(ConnectionClosedError):
        servers.client("kinesis", proxy.url).put_records(StreamName=name, Records=entries(1))

    assert proxy.counts == {"reset_before": 1}
    assert not proxy.lost
    assert not stored(servers.client("kinesis", upstream), name)


def test_a_reset_after_stores_everything_and_remembers_it(proxy: FaultProxy, upstream: str, name: str) -> None:
    proxy.faults = Faults(reset_after=1.0)
    with pytest.raises(ConnectionClosedError):
        servers.client("kinesis", proxy.url).put_records(StreamName=name, Records=entries(2))

    assert proxy.counts == {"reset_after": 1}
    assert [(lost.kind, len(lost.arguments["Records"])) for lost in proxy.lost] == [("reset_after", 2)]
    assert len(stored(servers.client("kinesis", upstream), name)) == 2


def test_an_internal_failure_is_a_500(proxy: FaultProxy, upstream: str, name: str) -> None:
    proxy.faults = Faults(internal_failure=1.0)
    with pytest.raises(ClientError) as caught:
        servers.client("kinesis", proxy.url).put_records(StreamName=name, Records=entries(1))

    assert code_of(caught) == (500, "InternalFailure")
    assert not stored(servers.client("kinesis", upstream), name)


@pytest.mark.parametrize(
    ("operation", "code"), [("list_shards", "LimitExceededException"), ("get_records", EXCEEDED)], ids=str
)
def test_a_call_is_throttled_by_its_operation_s_error(proxy: FaultProxy, operation: str, code: str, name: str) -> None:
    client = servers.client("kinesis", proxy.url)
    iterator = iterator_of(client, name)
    arguments = {"StreamName": name} if operation == "list_shards" else {"ShardIterator": iterator}
    proxy.faults = Faults(throttle=1.0)
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**arguments)

    assert code_of(caught) == (400, code)


def test_faults_strike_only_the_operations_named_and_so_often(proxy: FaultProxy, name: str) -> None:
    client = servers.client("kinesis", proxy.url)
    proxy.faults = Faults(internal_failure=1.0, operations=frozenset({"ListShards"}), at_most=1)
    client.put_records(StreamName=name, Records=entries(1))
    with pytest.raises(ClientError):
        client.list_shards(StreamName=name)
    client.list_shards(StreamName=name)

    assert proxy.counts == {"internal_failure": 1}


def test_some_records_fail_alone(proxy: FaultProxy, name: str) -> None:
    client = servers.client("kinesis", proxy.url)
    proxy.faults = Faults(record_failure=0.5)
    answer = client.put_records(StreamName=name, Records=entries(100))

    failed = [result for result in answer["Records"] if "ErrorCode" in result]
    assert {result["ErrorCode"] for result in failed} == {"InternalFailure"}
    assert 0 < answer["FailedRecordCount"] == len(failed) == proxy.counts["record_failure"] < 100
    assert {result["SequenceNumber"] for result in answer["Records"] if "ErrorCode" not in result} == {
        record["SequenceNumber"] for record in stored(client, name)
    }


@pytest.mark.parametrize(("count", "answered"), [(3, 2), (2, 3)])
def test_the_number_of_results_is_wrong(proxy: FaultProxy, upstream: str, name: str, count: int, answered: int) -> None:
    client = servers.client("kinesis", proxy.url)
    proxy.faults = Faults(wrong_count=1.0)
    answer = client.put_records(StreamName=name, Records=entries(count))

    assert len(answer["Records"]) == answered
    assert len(stored(servers.client("kinesis", upstream), name)) == count
    assert [lost.kind for lost in proxy.lost] == ["wrong_count"]


def test_a_client_that_has_given_up_is_noticed(proxy: FaultProxy, upstream: str, name: str) -> None:
    proxy.faults = Faults(stall=1.0, stall_seconds=0.5)
    client = servers.client("kinesis", proxy.url, read_timeout=0.1)
    with pytest.raises(ReadTimeoutError):
        client.put_records(StreamName=name, Records=entries(1))
    deadline = time.monotonic() + 30
    while not proxy.lost:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert [lost.kind for lost in proxy.lost] == ["client_gone"]
    assert len(stored(servers.client("kinesis", upstream), name)) == 1


def test_an_answer_after_which_the_client_hangs_up_may_not_have_been_read(proxy: FaultProxy, name: str) -> None:
    client = servers.client("kinesis", proxy.url)
    client.put_records(StreamName=name, Records=entries(1))
    client.put_records(StreamName=name, Records=entries(2))
    assert not proxy.lost
    client.close()
    deadline = time.monotonic() + 30
    while not proxy.lost:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert [(lost.kind, len(lost.arguments["Records"])) for lost in proxy.lost] == [("last", 2)]


@pytest.mark.parametrize(("records", "size", "most"), [(300, 1, 100), (5, 1000, 2)], ids=["records", "bytes"])
def test_a_shard_takes_only_its_quota(upstream: str, records: int, size: int, most: int) -> None:
    # The key counts with its two bytes, so that two records of 1,000 bytes fill the shard.
    service = Kinesis(Quotas(write_records=100, write_bytes=2 * (size + 2) if size > 1 else 1e9))
    with FaultProxy(upstream, service) as proxy:
        client = servers.client("kinesis", proxy.url)
        name = f"quota-{records}"
        servers.create_stream(client, name, 2)
        answer = client.put_records(StreamName=name, Records=entries(records, size))
        taken = len(stored(client, name))

        assert records - answer["FailedRecordCount"] == taken
        assert most <= taken < records
        assert proxy.counts == {"record_throttled": answer["FailedRecordCount"]}
        errors = {result["ErrorCode"] for result in answer["Records"] if "ErrorCode" in result}
        assert errors == {EXCEEDED}
        elsewhere = client.put_record(StreamName=name, PartitionKey="k", ExplicitHashKey=str(2**128 - 1), Data=b"x")
        assert elsewhere["ShardId"] != answer["Records"][0]["ShardId"]


def test_a_call_takes_500_records_and_10_mib(proxy: FaultProxy, name: str) -> None:
    client = servers.client("kinesis", proxy.url)
    for records in (entries(501), entries(11, 1 << 20)):
        with pytest.raises(ClientError) as caught:
            client.put_records(StreamName=name, Records=records)
        assert code_of(caught) == (400, "InvalidArgumentException")

    assert proxy.counts == {"refused": 2}


def test_a_shard_is_read_five_times_a_second(upstream: str) -> None:
    with FaultProxy(upstream, Kinesis(Quotas(reads=5))) as proxy:
        client = servers.client("kinesis", proxy.url)
        servers.create_stream(client, "reads", 1)
        iterator = iterator_of(client, "reads")
        with pytest.raises(ClientError) as caught, ThreadPoolExecutor(1) as pool:
            list(pool.map(lambda _: client.get_records(ShardIterator=iterator), range(100)))

        assert code_of(caught) == (400, EXCEEDED)
        assert proxy.calls["GetRecords"] >= 6
        assert proxy.counts["read_throttled"]


def test_what_was_read_too_much_is_waited_for(upstream: str) -> None:
    with FaultProxy(upstream, Kinesis(Quotas(read_bytes=1000))) as proxy:
        client = servers.client("kinesis", proxy.url)
        servers.create_stream(client, "read-bytes", 1)
        client.put_records(StreamName="read-bytes", Records=entries(10, 10_000))
        iterator = iterator_of(client, "read-bytes")
        client.get_records(ShardIterator=iterator)
        with pytest.raises(ClientError) as caught:
            client.get_records(ShardIterator=iterator)

    assert code_of(caught) == (400, EXCEEDED)


def test_an_arn_names_a_stream_as_well(proxy: FaultProxy, name: str) -> None:
    client = servers.client("kinesis", proxy.url)
    arn = f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}"
    client.put_records(StreamARN=arn, Records=entries(1))
    shard_id = client.list_shards(StreamARN=arn)["Shards"][0]["ShardId"]
    iterator = client.get_shard_iterator(StreamARN=arn, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")
    page = client.get_records(StreamARN=arn, ShardIterator=iterator["ShardIterator"])

    assert len(page["Records"]) == 1


def test_a_shard_s_end_names_its_children(proxy: FaultProxy, name: str) -> None:
    client = servers.client("kinesis", proxy.url)
    client.put_records(StreamName=name, Records=entries(1))
    client.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
    servers.wait_until_active(client, name)
    iterator, children = iterator_of(client, name), []
    while iterator:
        page = client.get_records(ShardIterator=iterator)
        iterator, children = page.get("NextShardIterator"), page.get("ChildShards", [])

    assert [(child["ShardId"], child["ParentShards"]) for child in children] == [
        ("shardId-000000000001", ["shardId-000000000000"]),
        ("shardId-000000000002", ["shardId-000000000000"]),
    ]
    assert int(children[1]["HashKeyRange"]["StartingHashKey"]) == 2**127


def test_a_server_that_is_down_is_unavailable() -> None:
    with FaultProxy(f"http://127.0.0.1:{servers.free_port()}", Kinesis()) as proxy:
        with pytest.raises(ClientError) as caught:
            servers.client("kinesis", proxy.url).list_shards(StreamName="s")

        assert code_of(caught) == (503, "ServiceUnavailable")
        assert proxy.counts == {"server_down": 1}
        assert not proxy.lost


def test_many_calls_at_once_are_told_apart(proxy: FaultProxy, name: str) -> None:
    client = servers.client("kinesis", proxy.url, max_pool_connections=16)
    proxy.faults = Faults(latency=0.02, latency_after=0.02)

    def put(number: int) -> str:
        answer = client.put_record(StreamName=name, PartitionKey="k", Data=b"%d" % number)
        sequence_number: str = answer["SequenceNumber"]
        return sequence_number

    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(put, range(200)))

    proxy.faults = Faults()
    assert {record["SequenceNumber"]: int(record["Data"]) for record in stored(client, name)} == {
        sequence_number: number for number, sequence_number in enumerate(numbers)
    }


def test_in_front_of_dynamodb() -> None:
    with servers.dynalite() as url, FaultProxy(url, DynamoDB()) as proxy:
        client = servers.client("dynamodb", proxy.url)
        client.create_table(
            TableName="leases",
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        client.get_waiter("table_exists").wait(TableName="leases", WaiterConfig={"Delay": 1})

        def put(value: str) -> None:
            client.put_item(TableName="leases", Item={"k": {"S": value}})

        codes = set()
        for faults in [Faults(throttle=1.0)] * 20 + [Faults(internal_failure=1.0)]:
            proxy.faults = faults
            with pytest.raises(ClientError) as caught:
                put("never")
            codes.add(code_of(caught))
        for value, faults in {"before": Faults(reset_before=1.0), "after": Faults(reset_after=1.0)}.items():
            proxy.faults = faults
            with pytest.raises(ConnectionClosedError):
                put(value)
        proxy.faults = Faults()
        put("fine")

        assert codes == {(400, EXCEEDED), (400, "ThrottlingException"), (500, "InternalServerError")}
        items = {item["k"]["S"] for item in client.scan(TableName="leases")["Items"]}
        assert items == {"after", "fine"}
        assert [lost.operation for lost in proxy.lost] == ["PutItem"]
