"""Leases in DynamoDB: the KCL's items to the attribute, and a DynamoDB that fails in every way it can."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import servers
from fault_proxy import FaultProxy, Faults
from fault_services import DynamoDB
from lease_steps import LONG, created, only, taken

import shardpack as sp
from shardpack.leases import table as _dynamodb
from shardpack.leases.lease import Lease
from shardpack.testing import FakeKinesis

pytest.importorskip("boto3")
from botocore.exceptions import ClientError

NAMES = iter(f"table-{n}" for n in range(10_000))


@pytest.fixture(scope="module", params=["dynalite", "ministack"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    with servers.dynalite() if request.param == "dynalite" else servers.ministack("dynamodb") as url:
        yield url


@pytest.fixture(scope="module")
def client(server: str) -> Any:
    return servers.client("dynamodb", server, max_pool_connections=50)


@pytest.fixture
def table(client: Any) -> str:
    """An empty lease table's name."""
    name = next(NAMES)
    sp.DynamoDBLeases(name, client=client).prepare()
    return name


@pytest.fixture
def leases(client: Any, table: str) -> sp.DynamoDBLeases:
    return sp.DynamoDBLeases(table, client=client)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again without waiting."""
    monkeypatch.setattr(_dynamodb, "backoff", lambda *_: 0.0)


@pytest.fixture
def proxy(server: str, request: pytest.FixtureRequest) -> Iterator[FaultProxy]:
    request.getfixturevalue("at_once")
    with FaultProxy(server, DynamoDB(), seed=7) as proxy:
        yield proxy


def through(proxy: FaultProxy, table: str, **settings: Any) -> sp.DynamoDBLeases:
    return sp.DynamoDBLeases(table, client=servers.client("dynamodb", proxy.url, max_pool_connections=50), **settings)


def item(client: Any, table: str, key: str = "s") -> Any:
    return client.get_item(TableName=table, Key={"leaseKey": {"S": key}}, ConsistentRead=True).get("Item")


# As KCL 3.5 leaves them, and as 1.x did: no entity type, no sub-sequence number of a sentinel, no owner switches.
OLD = {"leaseKey": {"S": "old"}, "leaseCounter": {"N": "7"}, "checkpoint": {"S": "TRIM_HORIZON"}}
NEW = {
    "leaseKey": {"S": "new"},
    "leaseOwner": {"S": "java-1"},
    "leaseCounter": {"N": "41"},
    "ownerSwitchesSinceCheckpoint": {"N": "3"},
    "checkpoint": {"S": LONG},
    "checkpointSubSequenceNumber": {"N": "6"},
    "pendingCheckpoint": {"S": LONG + "9"},
    "pendingCheckpointSubSequenceNumber": {"N": "1"},
    "pendingCheckpointState": {"B": b"state"},
    "parentShardId": {"SS": ["shardId-000000000001", "shardId-000000000000"]},
    "startingHashKey": {"S": "0"},
    "endingHashKey": {"S": "170141183460469231731687303715884105727"},
    "throughputKBps": {"N": "12.5"},
    "streamName": {"S": "clicks"},
    "shardId": {"S": "shardId-000000000002"},
    "entityType": {"S": "LEASE"},
}
NO_LEASES: list[dict[str, Any]] = [
    {"leaseKey": {"S": key}, "entityType": {"S": kind}, "leaseOwner": {"S": "java-1"}, "cv": {"S": "CLIENT_VERSION_3X"}}
    for key, kind in [
        ("Leader", "LEADER"),
        ("Migration3.0", "CLIENT_VERSION_MIGRATION"),
        ("TableMigration3.5", "TABLE_MIGRATION"),
        ("java-1", "WORKER_METRIC_STATS"),
        ("123456789012:clicks:1700000000", "STREAM"),
        ("later", "SOMETHING_NEW"),
    ]
]


class TestTheKclsTable:
    def test_is_created_as_the_kcl_creates_it(self, client: Any, table: str) -> None:
        told = client.describe_table(TableName=table)["Table"]

        assert told["KeySchema"] == [{"AttributeName": "leaseKey", "KeyType": "HASH"}]
        (index,) = told["GlobalSecondaryIndexes"]
        assert index["IndexName"] == "LeaseOwnerToLeaseKeyIndex"
        assert [key["AttributeName"] for key in index["KeySchema"]] == ["leaseOwner", "leaseKey"]
        assert index["Projection"]["ProjectionType"] == "KEYS_ONLY"
        assert told["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"

    def test_a_life_attribute_by_attribute(self, client: Any, table: str, leases: sp.DynamoDBLeases) -> None:
        lease = created(leases, Lease("s", parents=("p",), hash_range=(5, 9)))
        expected = {
            "leaseKey": {"S": "s"},
            "leaseCounter": {"N": "0"},
            "ownerSwitchesSinceCheckpoint": {"N": "0"},
            "checkpoint": {"S": "TRIM_HORIZON"},
            "checkpointSubSequenceNumber": {"N": "0"},
            "parentShardId": {"SS": ["p"]},
            "startingHashKey": {"S": "5"},
            "endingHashKey": {"S": "9"},
            "entityType": {"S": "LEASE"},
        }
        assert item(client, table) == expected

        lease = taken(leases, lease)
        assert item(client, table) == expected | {"leaseOwner": {"S": "me"}, "leaseCounter": {"N": "1"}}

        lease = taken(leases, leases.renew(lease), "you")
        expected |= {"leaseOwner": {"S": "you"}}
        counts = {"leaseCounter": {"N": "3"}, "ownerSwitchesSinceCheckpoint": {"N": "1"}}
        assert item(client, table) == expected | counts

        lease = leases.checkpoint(lease, sp.Position(LONG, 4))
        expected |= {"checkpoint": {"S": LONG}, "checkpointSubSequenceNumber": {"N": "4"}}
        assert item(client, table) == expected | {"leaseCounter": {"N": "4"}}

        lease = leases.checkpoint(lease, sp.Position.SHARD_END, children=("c", "b"))
        assert leases.release(lease)
        ended = expected | {"checkpoint": {"S": "SHARD_END"}, "checkpointSubSequenceNumber": {"N": "0"}}
        del ended["leaseOwner"]
        got = item(client, table)
        assert sorted(got.pop("childShardIds")["SS"]) == ["b", "c"]
        assert got == ended | {"leaseCounter": {"N": "6"}}

    def test_what_java_wrote_is_taken_over_and_kept(self, client: Any, table: str, leases: sp.DynamoDBLeases) -> None:
        for one in [OLD, NEW]:
            client.put_item(TableName=table, Item=one)
        old, new = sorted(leases.list(), key=lambda lease: lease.key, reverse=True)
        assert old == Lease("old", counter=7)
        assert new == Lease(
            "new",
            owner="java-1",
            counter=41,
            checkpoint=sp.Position(LONG, 6),
            owner_switches=3,
            parents=("shardId-000000000000", "shardId-000000000001"),
            hash_range=(0, 2**127 - 1),
            throughput=12.5,
        )

        leases.checkpoint(taken(leases, old), sp.Position("5", 1))
        assert item(client, table, "old") == OLD | {
            "leaseOwner": {"S": "me"},
            "leaseCounter": {"N": "9"},
            "checkpoint": {"S": "5"},
            "checkpointSubSequenceNumber": {"N": "1"},
            "ownerSwitchesSinceCheckpoint": {"N": "0"},
        }
        mine = taken(leases, new)
        changes = {"leaseOwner": {"S": "me"}, "leaseCounter": {"N": "42"}, "ownerSwitchesSinceCheckpoint": {"N": "4"}}
        got = item(client, table, "new")
        parents = {"SS": sorted(got["parentShardId"]["SS"])}
        assert got | {"parentShardId": parents} == NEW | changes | {"parentShardId": parents}
        leases.checkpoint(mine, sp.Position(LONG, 7))
        assert set(NEW) - set(item(client, table, "new")) == {name for name in NEW if name.startswith("pending")}

    def test_a_consumer_reads_on_inside_an_aggregate_where_java_stopped(self, client: Any, table: str) -> None:
        kinesis = FakeKinesis(streams={"clicks": 1})
        for first in (0, 10):
            blob = sp.encode([("k", b"%d" % n) for n in range(first, first + 10)])
            kinesis.put_record(StreamName="clicks", PartitionKey="k", Data=blob)
        kinesis.put_record(StreamName="clicks", PartitionKey="k", Data=b"20")
        shard = "shardId-000000000000"
        numbers = [record["SequenceNumber"] for record in kinesis.records(shard)]
        java = {name: value for name, value in NEW.items() if name not in ("parentShardId", "shardId", "streamName")}
        left = {"leaseKey": {"S": shard}, "checkpoint": {"S": numbers[1]}, "checkpointSubSequenceNumber": {"N": "6"}}
        client.put_item(TableName=table, Item={**java, **left})

        seen = []
        config = sp.ConsumerConfig(failover_time=1)
        leases = sp.DynamoDBLeases(table, client=client)
        with sp.Consumer("clicks", leases=leases, config=config, client=kinesis, worker_id="python") as consumer:
            for batch in consumer:
                seen += [record.data for record in batch]
                batch.checkpoint()
                if b"20" in seen:
                    break

        assert seen == [b"17", b"18", b"19", b"20"]
        got = item(client, table, shard)
        assert (got["checkpoint"], got["checkpointSubSequenceNumber"]) == ({"S": numbers[2]}, {"N": "0"})
        assert "leaseOwner" not in got  # the next one, Java or not, may take it at once

    def test_java_goes_on_where_we_left(
        self, client: Any, table: str, leases: sp.DynamoDBLeases, request: pytest.FixtureRequest
    ) -> None:
        if request.node.callspec.params["server"] == "ministack":
            pytest.skip("ministack does not know the legacy conditions that the KCL writes with")
        mine = taken(leases, created(leases, Lease("s")))
        mine = leases.checkpoint(replace(mine, done_until=1_800_000_000), sp.Position(LONG, 7))
        assert mine.done_until == 1_800_000_000

        def java(counter: int, **changes: Any) -> None:  # DynamoDBLeaseRefresher, legacy conditions and all
            client.update_item(
                TableName=table,
                Key={"leaseKey": {"S": "s"}},
                Expected={"leaseCounter": {"Value": {"N": str(counter)}, "ComparisonOperator": "EQ"}},
                AttributeUpdates={
                    "leaseCounter": {"Value": {"N": str(counter + 1)}, "Action": "PUT"},
                    **{name: {"Value": value, "Action": "PUT"} for name, value in changes.items()},
                },
            )

        java(mine.counter, leaseOwner={"S": "java-1"})
        assert only(leases).done_until == 1_800_000_000
        with pytest.raises(sp.LeaseLostError):
            leases.renew(mine)
        with pytest.raises(sp.LeaseLostError):
            leases.checkpoint(mine, sp.Position(LONG, 8))
        java(mine.counter + 1, checkpoint={"S": LONG}, checkpointSubSequenceNumber={"N": "9"})
        again = taken(leases, only(leases))
        assert (again.checkpoint, again.counter) == (sp.Position(LONG, 9), mine.counter + 3)
        # Java has done more since then, and has not said until when.
        assert again.done_until is None
        assert leases.renew(replace(again, done_until=1_800_000_500)).done_until == 1_800_000_500
        with pytest.raises(ClientError, match="ConditionalCheckFailed"):
            java(mine.counter + 2)

    def test_items_that_are_no_leases_are_left_alone(self, client: Any, table: str, leases: sp.DynamoDBLeases) -> None:
        for one in NO_LEASES:
            client.put_item(TableName=table, Item=one)
        mine = taken(leases, created(leases, Lease("s")))
        leases.prepare()
        assert leases.list() == [mine]
        for one in NO_LEASES:
            key = one["leaseKey"]["S"]
            assert leases.create(Lease(key)) is False
            assert leases.take(Lease(key, owner="java-1"), "me") is None
            assert leases.delete(Lease(key, owner="java-1")) is False
            assert item(client, table, key) == one

    @pytest.mark.parametrize(
        "broken",
        [
            {"leaseCounter": {"N": "1"}},
            {"checkpoint": {"S": "TRIM_HORIZON"}},
            {"leaseCounter": {"N": "1.5"}, "checkpoint": {"S": "TRIM_HORIZON"}},
            {"leaseCounter": {"S": "1"}, "checkpoint": {"S": "TRIM_HORIZON"}},
            {"leaseCounter": {"N": "1"}, "checkpoint": {"S": "soon"}},
            {
                "leaseCounter": {"N": "1"},
                "checkpoint": {"S": "TRIM_HORIZON"},
                "shardpackDoneUntil": {"N": "9" * 30},
            },
            {
                "leaseCounter": {"N": "1"},
                "checkpoint": {"S": "1"},
                "startingHashKey": {"S": "x"},
                "endingHashKey": {"S": "y"},
            },
        ],
    )
    def test_an_item_that_cannot_be_read_is_named(
        self, client: Any, table: str, leases: sp.DynamoDBLeases, broken: dict[str, Any]
    ) -> None:
        client.put_item(TableName=table, Item={"leaseKey": {"S": "odd"}, **broken})

        with pytest.raises(sp.LeaseStoreError, match=rf"odd.*{table}.*correct it") as error:
            leases.list()
        assert error.value.retriable is False


class TestHandOver:
    def test_attribute_by_attribute(self, client: Any, table: str, leases: sp.DynamoDBLeases) -> None:
        """As the KCL 3's initiateGracefulLeaseHandoff and assignLease write it."""
        held = taken(leases, created(leases, Lease("s")), "old")
        before = item(client, table)

        assert leases.ask_for(held, "new")
        asked = item(client, table)
        assert asked == before | {"leaseOwner": {"S": "new"}, "checkpointOwner": {"S": "old"}}

        assert leases.release(only(leases))
        after = item(client, table)
        assert after == before | {"leaseOwner": {"S": "new"}, "leaseCounter": {"N": "2"}}

    def test_a_table_of_before_has_no_index_to_ask(self, client: Any) -> None:
        name = next(NAMES)
        key = [{"AttributeName": "leaseKey", "AttributeType": "S"}]
        settings = {"AttributeDefinitions": key, "KeySchema": [{"AttributeName": "leaseKey", "KeyType": "HASH"}]}
        client.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", **settings)
        leases = sp.DynamoDBLeases(name, client=client, create_table=False)
        leases.prepare()
        assert leases.assigned("me") is None

    def test_an_index_that_may_not_be_asked_is_done_without(self) -> None:
        assert sp.DynamoDBLeases("fleet", client=Refusing("AccessDeniedException")).assigned("me") is None


class TestPrepare:
    def test_a_table_of_something_else_is_refused(self, client: Any) -> None:
        name = next(NAMES)
        client.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )

        with pytest.raises(sp.LeaseStoreError, match=r"key id \(HASH, type N\); a lease table's is leaseKey"):
            sp.DynamoDBLeases(name, client=client).prepare()

    def test_a_missing_table_is_not_created_unasked(self, client: Any) -> None:
        leases = sp.DynamoDBLeases("missing", client=client, create_table=False)

        with pytest.raises(sp.LeaseStoreError, match="'missing' does not exist and create_table is off"):
            leases.prepare()
        with pytest.raises(sp.LeaseStoreError, match=r"call prepare\(\) first"):
            leases.list()
        assert "missing" not in client.list_tables()["TableNames"]

    def test_several_at_once_over_a_bad_line(self, proxy: FaultProxy, client: Any) -> None:
        proxy.faults = Faults(reset_before=0.1, reset_after=0.2, throttle=0.2, internal_failure=0.1)
        name = next(NAMES)
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda _: through(proxy, name).prepare(), range(6)))
        assert client.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE"


FAULTS = {
    "throttled": Faults(throttle=0.4),
    "failing": Faults(internal_failure=0.4),
    "resets before": Faults(reset_before=0.4),
    "resets after": Faults(reset_after=0.4),
    "everything": Faults(throttle=0.1, internal_failure=0.1, reset_before=0.1, reset_after=0.2),
}


class TestFaults:
    @pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
    def test_a_worker_alone_loses_nothing(self, proxy: FaultProxy, client: Any, table: str, faults: Faults) -> None:
        leases = through(proxy, table)
        proxy.faults = faults
        for round_ in range(6):
            key = f"s-{round_}"
            assert leases.create(Lease(key)) is True
            lease = taken(leases, Lease(key))
            for number in range(4):
                lease = leases.checkpoint(leases.renew(lease), sp.Position(LONG, number))
            assert (lease.checkpoint, lease.counter) == (sp.Position(LONG, 3), 9)
            assert leases.release(lease) is True
            last = Lease(key, checkpoint=sp.Position(LONG, 3), counter=10)
            assert {one.key: one for one in leases.list()} == {key: last}
            assert leases.delete(last) is True
        proxy.faults = Faults()
        assert sum(proxy.counts.values()) > 10
        assert client.scan(TableName=table)["Items"] == []

    def test_no_two_workers_write_one_counter(self, proxy: FaultProxy, table: str) -> None:
        """However answers are lost, each value of the counter is one worker's, and checkpoints only rise."""
        through(proxy, table).create(Lease("s"))
        proxy.faults = FAULTS["everything"]
        writes: list[tuple[int, str]] = []
        lock = threading.Lock()

        def work(name: str) -> None:
            leases, rng = through(proxy, table), random.Random(name)
            lease: Lease | None = None
            for _ in range(60):
                try:
                    if lease is None:
                        lease = leases.take(only(leases), name)
                    elif rng.random() < 0.5:
                        lease = leases.renew(lease)
                    else:
                        done = lease.checkpoint.sub_sequence_number if lease.checkpoint.sequence_number == LONG else 0
                        lease = leases.checkpoint(lease, sp.Position(LONG, done + 1))
                except sp.LeaseLostError:
                    lease = None
                if lease is not None:
                    with lock:
                        writes.append((lease.counter, name))

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(work, ["a", "b", "c", "d"]))
        proxy.faults = Faults()
        counters = [counter for counter, _ in writes]
        assert len(set(counters)) == len(counters) > 60
        assert len({name for _, name in writes}) == 4
        assert max(counters) == only(through(proxy, table)).counter

    WRITES: ClassVar[dict[str, Callable[[sp.DynamoDBLeases, Lease], Any]]] = {
        "renew": lambda leases, lease: leases.renew(lease),
        "checkpoint": lambda leases, lease: leases.checkpoint(lease, sp.Position("7")),
        "end": lambda leases, lease: leases.checkpoint(lease, sp.Position.SHARD_END, children=("c",)),
        "release": lambda leases, lease: leases.release(lease),
    }

    @pytest.mark.parametrize("after", WRITES)
    @pytest.mark.parametrize("before", ["renew", "checkpoint", "end"])
    def test_a_holder_goes_on_after_an_outage_that_hid_an_answer(
        self, proxy: FaultProxy, table: str, before: str, after: str
    ) -> None:
        leases = through(proxy, table, retry_for=0.0)
        mine = taken(leases, created(leases, Lease("s")))
        proxy.faults = Faults(reset_after=1.0, operations=frozenset({"UpdateItem"}))
        with pytest.raises(sp.LeaseStoreError, match="may be tried again") as error:
            self.WRITES[before](leases, mine)
        assert error.value.retriable is True
        proxy.faults = Faults()

        assert self.WRITES[after](leases, mine)
        got = only(leases)
        # An earlier write shows that the holder is alive as well as a renewal would.
        assert got.counter == (2 if after in {before, "renew"} else 3)
        if after != "release":
            assert got.owner == "me"
        if after in {"checkpoint", "end"}:
            wanted = (sp.Position("7"), got.children) if after == "checkpoint" else (sp.Position.SHARD_END, ("c",))
            assert (got.checkpoint, got.children) == wanted

    @pytest.mark.parametrize("fate", ["lost", "hidden"])
    @pytest.mark.parametrize("write", ["checkpoint", "end"])
    def test_a_holder_goes_on_though_the_write_after_a_hidden_one_fails_too(
        self, client: Any, table: str, write: str, fate: str
    ) -> None:
        scripted = Scripted(client)
        leases = sp.DynamoDBLeases(table, client=scripted, retry_for=0.0)
        mine = taken(leases, created(leases, Lease("s")))
        scripted.fates = ["hidden", "done", fate]  # of a renewal, of a write that finds it, and of that write itself
        with pytest.raises(sp.LeaseStoreError):
            leases.renew(mine)
        with pytest.raises(sp.LeaseStoreError):
            self.WRITES[write](leases, mine)

        assert scripted.fates == []
        assert self.WRITES[write](leases, mine) == only(leases)
        assert (only(leases).owner, only(leases).counter) == ("me", 3)

    @pytest.mark.parametrize("write", ["renew", "checkpoint", "end"])
    def test_a_holder_is_asked_for_the_lease_in_an_outage_that_hid_an_answer(
        self, proxy: FaultProxy, table: str, leases: sp.DynamoDBLeases, write: str
    ) -> None:
        worker = through(proxy, table, retry_for=0.0)
        mine = taken(worker, created(worker, Lease("s")))
        proxy.faults = Faults(reset_after=1.0, operations=frozenset({"UpdateItem"}))
        with pytest.raises(sp.LeaseStoreError):
            worker.renew(mine)
        proxy.faults = Faults()
        assert leases.ask_for(only(leases), "you")

        assert self.WRITES[write](worker, mine)
        got = only(leases)
        assert (got.owner, got.checkpoint_owner) == ("you", "me")
        assert got.counter == (2 if write == "renew" else 3)  # the earlier write shows that it is alive

    def test_asking_is_recognised_though_its_answer_was_lost(
        self, proxy: FaultProxy, table: str, leases: sp.DynamoDBLeases
    ) -> None:
        asker = through(proxy, table, retry_for=0.0)
        held = taken(leases, created(leases, Lease("s")))
        proxy.faults = Faults(reset_after=1.0, operations=frozenset({"UpdateItem"}))
        with pytest.raises(sp.LeaseStoreError):
            asker.ask_for(held, "you")
        proxy.faults = Faults()

        assert asker.ask_for(held, "you") == only(leases)
        assert leases.ask_for(held, "third") is None

    @pytest.mark.parametrize("came_back", [False, True])
    @pytest.mark.parametrize("write", ["renew", "checkpoint", "end"])
    def test_a_holder_that_lost_the_lease_in_an_outage_is_told(
        self, proxy: FaultProxy, table: str, leases: sp.DynamoDBLeases, write: str, came_back: bool
    ) -> None:
        worker = through(proxy, table, retry_for=0.0)
        for fault in ("reset_before", "reset_after"):
            first = created(leases, Lease(fault))
            mine = taken(worker, first)
            proxy.faults = Faults(reset_before=1.0) if fault == "reset_before" else Faults(reset_after=1.0)
            with pytest.raises(sp.LeaseStoreError):
                self.WRITES[write](worker, mine)
            proxy.faults = Faults()
            (row,) = (lease for lease in leases.list() if lease.key == fault)
            stolen = taken(leases, row, "you")
            if came_back:  # the same worker, but another time
                stolen = taken(worker, stolen)

            with pytest.raises(sp.LeaseLostError):
                self.WRITES[write](worker, mine)
            assert stolen in leases.list()

    def test_children_are_told_though_the_checkpoint_was_there_before(self, proxy: FaultProxy, table: str) -> None:
        leases = through(proxy, table, retry_for=0.0)
        ended = leases.checkpoint(taken(leases, created(leases, Lease("s"))), sp.Position.SHARD_END)
        proxy.faults = Faults(reset_after=1.0)
        with pytest.raises(sp.LeaseStoreError):
            leases.renew(ended)
        proxy.faults = Faults()

        assert leases.checkpoint(ended, sp.Position.SHARD_END, children=("c",)) == only(leases)
        assert only(leases).children == ("c",)

    def test_a_client_with_retries_of_its_own(self, proxy: FaultProxy, table: str) -> None:
        import boto3
        from botocore.config import Config

        client = boto3.client(
            "dynamodb",
            endpoint_url=proxy.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 3, "mode": "standard"}),
        )
        leases = sp.DynamoDBLeases(table, client=client, retry_for=0.0)
        lease = taken(leases, created(leases, Lease("s")))
        for number in range(2):
            proxy.faults = Faults(reset_after=1.0, at_most=1)
            lease = leases.checkpoint(lease, sp.Position(str(number)))
        assert lease == only(leases) == Lease("s", owner="me", counter=3, checkpoint=sp.Position("1"))


class Scripted:
    """A client whose next updates are done, are lost on their way, or are done while their answers are lost."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.fates: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def update_item(self, **arguments: Any) -> Any:
        fate = self.fates.pop(0) if self.fates else "done"
        answer = self.client.update_item(**arguments) if fate != "lost" else None
        if fate != "done":
            raise ClientError({"Error": {"Code": "InternalServerError", "Message": fate}}, "UpdateItem")
        return answer


class Refusing:
    """A client that gives one error, and counts."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> Any:
            self.calls += 1
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, name)

        return call


class TestErrors:
    CALLS: ClassVar[dict[str, Callable[[sp.DynamoDBLeases], Any]]] = {
        "DescribeTable": lambda leases: leases.prepare(),
        "Scan": lambda leases: leases.list(),
        "PutItem": lambda leases: leases.create(Lease("s")),
        "UpdateItem": lambda leases: leases.renew(Lease("s", owner="me")),
        "DeleteItem": lambda leases: leases.delete(Lease("s")),
    }

    @pytest.mark.parametrize("name", ["fleet", "arn:aws:dynamodb:eu-west-1:123456789012:table/fleet"])
    @pytest.mark.parametrize("operation", CALLS)
    def test_a_missing_permission_is_named_at_once(self, operation: str, name: str) -> None:
        client = Refusing("AccessDeniedException")

        with pytest.raises(sp.LeaseStoreError, match=f"permission dynamodb:{operation}; allow it on arn") as error:
            self.CALLS[operation](sp.DynamoDBLeases(name, client=client))
        assert (error.value.retriable, client.calls) == (False, 1)
        assert str(error.value).count("arn:aws") <= (2 if name.startswith("arn") else 1)
        assert "table/arn" not in str(error.value)

    def test_the_one_to_create_the_table_says_what_else_to_do(self) -> None:
        class Missing(Refusing):
            def describe_table(self, **_: Any) -> Any:
                raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no"}}, "DescribeTable")

        with pytest.raises(sp.LeaseStoreError, match=r"dynamodb:CreateTable; .* or create the table beforehand"):
            sp.DynamoDBLeases("fleet", client=Missing("AccessDeniedException")).prepare()

    @pytest.mark.usefixtures("at_once")
    @pytest.mark.parametrize("code", ["ThrottlingException", "InternalServerError", "ExpiredTokenException", "Unheard"])
    def test_what_may_pass_is_tried_until_the_time_is_up(self, code: str) -> None:
        client = Refusing(code)

        with pytest.raises(sp.LeaseStoreError, match=f"after .* attempts: {code}: no") as error:
            sp.DynamoDBLeases("fleet", client=client, retry_for=0.05).list()
        assert error.value.retriable is True
        assert client.calls > 1

    @pytest.mark.parametrize(
        "where",
        [
            {"profile_name": "no-such-profile", "region_name": "us-east-1"},
            {"region_name": "us east"},
            {"region_name": "us-east-1", "endpoint_url": "nonsense"},
            {},
        ],
        ids=str,
    )
    def test_a_client_that_cannot_be_made_is_not_waited_for(
        self, where: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setattr(_dynamodb, "backoff", lambda *_: pytest.fail("it is tried again"))

        with pytest.raises(sp.LeaseStoreError, match="no DynamoDB client can be made for the lease table 't'") as error:
            sp.DynamoDBLeases("t", **where).list()  # type: ignore[arg-type]  # all are strings
        assert error.value.retriable is False


@pytest.mark.usefixtures("aws_credentials")
def test_one_that_was_pickled_works(server: str, table: str) -> None:
    leases = sp.DynamoDBLeases(table, region_name="us-east-1", endpoint_url=server)
    mine = taken(leases, created(leases, Lease("s")))

    copy = pickle.loads(pickle.dumps(leases))

    assert copy.renew(pickle.loads(pickle.dumps(mine))) == only(leases)
    assert repr(copy) == repr(leases) == f"DynamoDBLeases({table!r})"


FORK = """
import os, sys, threading
import shardpack as sp
from shardpack.leases.lease import Lease

url, table = sys.argv[1:]
leases = sp.DynamoDBLeases(table, region_name="us-east-1", endpoint_url=url)
leases.list()
client = leases._table._client()
stop = threading.Event()
def busy():
    while not stop.is_set():
        leases.list()
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads:
    thread.start()
children = []
for number in range(6):
    pid = os.fork()
    if not pid:
        assert leases._table._client() is not client
        lease = Lease(f"child-{number}")
        assert leases.create(lease)
        lease = leases.take(lease, "child")
        for _ in range(20):
            lease = leases.renew(lease)
        os._exit(0)
    children.append(pid)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
stop.set()
for thread in threads:
    thread.join()
assert codes == [0] * 6, codes
assert [lease.counter for lease in leases.list()] == [21] * 6
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_one_that_was_used_before_a_fork_works_in_both_processes(server: str, table: str) -> None:
    environment = os.environ | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    command = [sys.executable, "-W", "ignore", "-c", FORK, server, table]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_lists_every_page() -> None:
    class Paged:
        def scan(self, **arguments: Any) -> Any:
            assert arguments["ConsistentRead"] is True
            start = arguments.get("ExclusiveStartKey")
            page = int(start["leaseKey"]["S"]) + 1 if start else 0
            last = {"LastEvaluatedKey": {"leaseKey": {"S": str(page)}}} if page < 3 else {}
            return {"Items": [OLD | {"leaseKey": {"S": str(page)}}] if page != 1 else [], **last}

    assert [lease.key for lease in sp.DynamoDBLeases("t", client=Paged()).list()] == ["0", "2", "3"]
