"""What a leader decides, and what of it is in DynamoDB, attribute by attribute as the KCL 3.5.1 has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import pytest
import servers
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.consumer import FleetConfig, Lease
from shardpack.leases.fleet import counting, loads
from shardpack.leases.fleet.assigning import Assignment, Board, Candidate
from shardpack.leases.fleet.items import stats_of
from shardpack.leases.fleet.states import FleetState, LeaderLock, Tables, WorkerStats

NAMES = "abcd"
TABLES = iter(f"fleet-{number}" for number in range(1000))


def candidates(owners: Sequence[str | None], rates: Sequence[float | None] = ()) -> list[Candidate]:
    rates = rates or [None] * len(owners)
    return [
        Candidate(Lease(f"{number:03}", owner, throughput=rate), 0.0, owner is None, False)
        for number, (owner, rate) in enumerate(zip(owners, rates, strict=True))
    ]


def board(found: list[Candidate], workers: Mapping[str, Any], most: int = 1000, **settings: Any) -> Board:
    reports = [
        WorkerStats(name, 1, {"C": tuple(cpu)}, {"C": (100.0,)}) if cpu else WorkerStats(name, 1)
        for name, cpu in workers.items()
    ]
    return Board(found, reports, FleetConfig(**settings), most, Random(0))


def after(found: list[Candidate], moved: list[Assignment]) -> Counter[str | None]:
    """How many leases each worker has in the end."""
    owners = {one.lease.key: one.lease.owner for one in found} | {one.lease.key: one.worker for one in moved}
    return Counter(owners.values())


class TestCounting:
    @given(owners=st.lists(st.sampled_from([*NAMES, None, "dead"]), max_size=40), count=st.integers(1, 4))
    def test_numbers_differ_by_one_at_most_and_no_more_moves_than_needed(
        self, owners: list[str | None], count: int
    ) -> None:
        workers = dict.fromkeys(NAMES[:count])
        found = [one._replace(is_free=one.lease.owner not in workers) for one in candidates(owners)]
        one = board(found, workers)
        counting.give_free(one)
        counting.even_out(one)
        counts = after(found, one.moved)
        assert counts.keys() <= workers.keys()
        assert max(counts.values(), default=0) - min((counts[name] for name in workers), default=0) <= 1
        assert len({move.lease.key for move in one.moved}) == len(one.moved)
        again = board([Candidate(c.lease, 0.0, False, False) for c in candidates(list(counts.elements()))], workers)
        counting.even_out(again)
        assert again.moved == []

    def test_who_has_everything_gives_the_others_their_shares(self) -> None:
        found = candidates(["a"] * 10)
        one = board(found, dict.fromkeys(NAMES))
        counting.even_out(one)
        assert sorted(after(found, one.moved).values()) == [2, 2, 3, 3]
        assert len(one.moved) == 7

    def test_nobody_is_given_more_than_may_be(self) -> None:
        found = candidates([None] * 10)
        one = board(found, dict.fromkeys("ab"), 3)
        counting.give_free(one)
        assert after(found, one.moved) == {"a": 3, "b": 3, None: 4}

    def test_what_moves_already_is_left_alone_and_counts_with_its_new_owner(self) -> None:
        lease = Lease("000", "b", checkpoint_owner="a")
        found = [Candidate(lease, 0.0, False, True), *candidates(["a"] * 3)[1:]]
        one = board(found, dict.fromkeys("ab"))
        counting.even_out(one)
        assert len(one.moved) == 0

    def test_a_dead_holder_that_is_back_keeps_what_has_its_name_on_it(self) -> None:
        found = [one._replace(is_free=True) for one in candidates(["a"])]
        one = board(found, dict.fromkeys("a"))
        counting.give_free(one)
        assert one.moved == []


class TestLoads:
    def test_free_leases_go_where_least_is_read(self) -> None:
        found = candidates(["a", "a", "b", None, None], [100.0, 100.0, 20.0, 50.0, 50.0])
        one = board(found, dict.fromkeys("ab"))
        loads.give_free(one)
        assert [move.worker for move in one.moved] == ["b", "b"]

    def test_without_a_throughput_leases_are_counted(self) -> None:
        """The KCL divides by zero here, and may give all leases to two of four workers."""
        found = candidates([None] * 8)
        one = board(found, dict.fromkeys(NAMES))
        loads.give_free(one)
        assert after(found, one.moved) == dict.fromkeys(NAMES, 2)

    def test_the_one_that_reads_too_much_gives_a_part_away(self) -> None:
        found = candidates(["a"] * 8 + ["b"] * 2, [10.0] * 10)
        one = board(found, dict.fromkeys("ab"), dampening=100)
        loads.even_out(one)
        assert all(move.is_asked_for and move.worker == "b" for move in one.moved)
        assert 2 <= len(one.moved) <= 3

    def test_a_busy_processor_gives_leases_away_though_all_leases_are_alike(self) -> None:
        found = candidates(["a"] * 4 + ["b"] * 4, [10.0] * 8)
        one = board(found, {"a": [90.0], "b": [30.0]})
        loads.even_out(one)
        assert [move.worker for move in one.moved] == ["b"]

    def test_a_little_noise_moves_nothing(self) -> None:
        found = candidates(["a"] * 4 + ["b"] * 4, [10.0] * 8)
        one = board(found, {"a": [2.5], "b": [1.5]})
        loads.even_out(one)
        assert one.moved == []

    def test_two_workers_do_not_merely_change_places(self) -> None:
        found = candidates(["a"] * 2 + ["b"] * 2 + ["c"], [10.0] * 5)
        one = board(found, {"a": [60.0], "b": [60.0], "c": [30.0]})
        loads.even_out(one)
        assert one.moved == []

    def test_a_worker_without_leases_gets_one_though_its_processor_is_busy(self) -> None:
        found = candidates(["a"] * 4, [10.0] * 4)
        one = board(found, {"a": [20.0], "b": [20.0]})
        loads.even_out(one)
        assert [move.worker for move in one.moved] == ["b"]

    @given(
        rates=st.lists(st.floats(0.1, 100.0), min_size=1, max_size=30),
        owners=st.lists(st.sampled_from(NAMES), min_size=30, max_size=30),
        seed=st.integers(0, 1000),
    )
    def test_it_comes_to_rest_and_the_most_loaded_worker_never_has_more(
        self, rates: list[float], owners: list[str], seed: int
    ) -> None:
        held = dict(enumerate(owners[: len(rates)]))

        def highest() -> float:
            total: Counter[str] = Counter()
            for number, owner in held.items():
                total[owner] += rates[number]  # type: ignore[assignment]
            return max(total.values())

        before, rounds = highest(), 0
        while True:
            found = candidates(list(held.values()), rates)
            one = board(found, dict.fromkeys(NAMES))
            one.random = Random(seed + rounds)
            loads.even_out(one)
            if not one.moved:
                break
            held |= {int(move.lease.key): move.worker for move in one.moved}
            assert highest() <= before + 1e-6 or any(list(held.values()).count(name) == 1 for name in NAMES)
            before, rounds = highest(), rounds + 1
            assert rounds < 60, "leases go to and fro"

    def test_values_that_could_not_be_measured_are_left_out_of_the_mean(self) -> None:
        assert loads.average([10.0, -1.0, 20.0]) == 15.0
        assert WorkerStats("a", 1, {"C": (10.0, -1.0)}, {"C": (100.0,)}).is_failing

    @pytest.mark.parametrize(
        "stats",
        [
            WorkerStats("a", None),
            WorkerStats("a", 1, {"C": (1.0,)}, {}),
            WorkerStats("a", 1, {"C": (1.0,)}, {"C": (0.0,)}),
            WorkerStats("a", 1, {"C": (1.0,)}, {"C": ()}),
        ],
    )
    def test_a_report_that_says_nothing_is_no_report(self, stats: WorkerStats) -> None:
        assert not stats.is_valid


class TestSettings:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"strategy": "cpu"},
            {"worker_metric": "memory"},
            {"reporting_interval": 0},
            {"leader_lease_duration": 10, "leader_heartbeat": 6},
            {"assignment_interval": 0},
            {"dampening": 0},
            {"rebalance_threshold": 101},
            {"balancing_frequency": 0},
            {"allow_throughput_overshoot": "no"},
        ],
    )
    def test_what_is_out_of_its_range_is_named(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(reversed(wrong))):
            FleetConfig(**wrong)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    pytest.importorskip("boto3")
    with servers.dynalite() as url:
        yield servers.client("dynamodb", url)


@pytest.fixture
def table() -> str:
    """A table's name."""
    return next(TABLES)


@pytest.fixture
def leases(client: Any, table: str) -> sp.DynamoDBLeases:
    found = sp.DynamoDBLeases(table, client=client)
    found.prepare()
    return found


def item(client: Any, place: tuple[str, str], value: str) -> Any:
    table, key = place
    return client.get_item(TableName=table, Key={key: {"S": value}}, ConsistentRead=True).get("Item")


def legacy_tables(client: Any, application: str) -> None:
    """The tables that a KCL before 3.5 makes."""
    for suffix, key in (("CoordinatorState", "key"), ("WorkerMetricStats", "wid")):
        client.create_table(
            TableName=f"{application}-{suffix}",
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        client.get_waiter("table_exists").wait(
            TableName=f"{application}-{suffix}", WaiterConfig={"Delay": 0.05, "MaxAttempts": 100}
        )


LOCK = LeaderLock("a", "v1", 30.0)
STATS = WorkerStats("a", None, {"C": (12.5, -1.0)}, {"C": (100.0,)})


class TestOneTable:
    def test_attribute_by_attribute(self, client: Any, leases: sp.DynamoDBLeases, table: str) -> None:
        fleet = leases.fleet
        assert fleet.state() == FleetState(None, Tables.COMPLETE)
        fleet.begin(Tables.COMPLETE, "a")
        fleet.begin(Tables.COMPLETE, "b")
        begun = item(client, (table, "leaseKey"), "Migration3.0")
        assert int(begun.pop("mts")["N"]) > 1_700_000_000_000
        assert begun == {
            "leaseKey": {"S": "Migration3.0"},
            "entityType": {"S": "CLIENT_VERSION_MIGRATION"},
            "cv": {"S": "CLIENT_VERSION_3X"},
            "mb": {"S": "a"},
        }
        assert fleet.state() == FleetState("CLIENT_VERSION_3X", Tables.COMPLETE)

        assert fleet.lock(Tables.COMPLETE) is None
        assert fleet.write_lock(Tables.COMPLETE, None, LOCK)
        assert item(client, (table, "leaseKey"), "Leader") == {
            "leaseKey": {"S": "Leader"},
            "entityType": {"S": "LEADER"},
            "ownerName": {"S": "a"},
            "leaseDuration": {"S": "30000"},
            "recordVersionNumber": {"S": "v1"},
        }
        assert fleet.lock(Tables.COMPLETE) == LOCK

        fleet.report(Tables.COMPLETE, STATS)
        report = item(client, (table, "leaseKey"), "a")
        assert int(report.pop("lut")["N"]) > 1_700_000_000
        assert report == {
            "leaseKey": {"S": "a"},
            "entityType": {"S": "WORKER_METRIC_STATS"},
            "sts": {"M": {"C": {"L": [{"N": "12.5"}, {"N": "-1"}]}}},
            "opr": {"M": {"C": {"L": [{"N": "100"}]}}},
        }

    def test_one_scan_finds_leases_and_reports(self, leases: sp.DynamoDBLeases) -> None:
        fleet = leases.fleet
        leases.create(Lease("shard"))
        fleet.write_lock(Tables.COMPLETE, None, LOCK)
        fleet.report(Tables.COMPLETE, STATS)
        fleet.report(Tables.COMPLETE, WorkerStats("b"))
        found = fleet.survey(Tables.COMPLETE)
        assert found.leases == leases.list() == [Lease("shard")]
        first, second = sorted(found.workers, key=lambda worker: worker.worker_id)
        assert (first.metrics, first.limits, first.is_apart) == (STATS.metrics, STATS.limits, False)
        assert second.has_no_metrics
        assert second.is_valid
        fleet.forget(WorkerStats("a", 1))
        assert len(fleet.survey(Tables.COMPLETE).workers) == 2  # that one was older
        fleet.forget(first)
        fleet.forget(WorkerStats("b"))
        assert fleet.survey(Tables.COMPLETE).workers == []

    def test_items_of_kinds_that_a_later_kcl_may_add_are_no_leases_though_they_have_owners(
        self, client: Any, leases: sp.DynamoDBLeases, table: str
    ) -> None:
        item = {"leaseKey": {"S": "new"}, "entityType": {"S": "NEW"}, "leaseOwner": {"S": "a"}}
        client.put_item(TableName=table, Item=item)
        leases.create(Lease("shard", owner="a"))
        assert leases.list() == leases.fleet.survey(Tables.COMPLETE).leases == [Lease("shard", owner="a")]
        assert leases.fleet.survey(Tables.COMPLETE).workers == []
        assert sorted(leases.assigned("a") or ()) == ["new", "shard"]  # the index holds keys alone
        assert leases.get("new") is None

    def test_a_lock_is_taken_on_conditions(self, client: Any, leases: sp.DynamoDBLeases, table: str) -> None:
        fleet, other = leases.fleet, LeaderLock("b", "v2", 30.0)
        assert fleet.write_lock(Tables.COMPLETE, None, LOCK)
        assert not fleet.write_lock(Tables.COMPLETE, None, other)
        assert not fleet.write_lock(Tables.COMPLETE, other, other)
        assert fleet.write_lock(Tables.COMPLETE, LOCK, other)
        fleet.delete_lock(Tables.COMPLETE, LOCK)
        assert fleet.lock(Tables.COMPLETE) == other
        fleet.delete_lock(Tables.COMPLETE, other)
        assert fleet.lock(Tables.COMPLETE) is None
        # As the lock client leaves it when it was told not to delete what it lets go.
        released = {
            "leaseKey": {"S": "Leader"},
            "ownerName": {"S": "java"},
            "leaseDuration": {"S": "120000"},
            "recordVersionNumber": {"S": "v9"},
            "isReleased": {"S": "1"},
        }
        client.put_item(TableName=table, Item=released)
        assert fleet.lock(Tables.COMPLETE) is None
        assert fleet.write_lock(Tables.COMPLETE, None, LOCK)
        assert fleet.lock(Tables.COMPLETE) == LOCK

    def test_what_others_wrote_into_a_report_stays(self, client: Any, leases: sp.DynamoDBLeases, table: str) -> None:
        java = {"leaseKey": {"S": "a"}, "sup": {"N": "1"}, "properties": {"M": {}}, "lut": {"N": "1"}}
        client.put_item(TableName=table, Item=java)
        leases.fleet.report(Tables.COMPLETE, WorkerStats("a"))
        written = item(client, (table, "leaseKey"), "a")
        assert (written["sup"], written["properties"]) == (java["sup"], java["properties"])
        assert written["sts"] == written["opr"] == {"M": {}}

    def test_a_renewal_says_how_much_is_read(self, client: Any, leases: sp.DynamoDBLeases, table: str) -> None:
        leases.create(Lease("shard"))
        taken = leases.take(Lease("shard"), "a")
        assert taken is not None
        renewed = leases.renew(Lease("shard", "a", taken.counter, throughput=12.3456789))
        assert item(client, (table, "leaseKey"), "shard")["throughputKBps"] == {"N": "12.345679"}
        assert renewed.throughput == leases.list()[0].throughput == 12.345679

    @pytest.mark.parametrize(
        "broken",
        [{"sts": {"S": "x"}}, {"sts": {"M": {"C": {"L": [{"S": "x"}]}}}}, {"lut": {"N": "x"}}, {"leaseKey": {}}],
    )
    def test_a_report_that_cannot_be_read_is_left_out(self, broken: dict[str, Any]) -> None:
        good = {"leaseKey": {"S": "a"}, "lut": {"N": "1"}}
        assert stats_of(good, "leaseKey") is not None
        assert stats_of(good | broken, "leaseKey") is None

    @pytest.mark.parametrize("name", ["shard", "Leader", "Migration3.0"])
    def test_a_worker_that_is_called_like_another_item_leaves_that_alone(
        self, client: Any, leases: sp.DynamoDBLeases, table: str, name: str
    ) -> None:
        leases.create(Lease("shard"))
        leases.fleet.begin(Tables.COMPLETE, "a")
        leases.fleet.write_lock(Tables.COMPLETE, None, LOCK)
        before = item(client, (table, "leaseKey"), name)
        for tables in (Tables.PENDING, Tables.COMPLETE):
            with pytest.raises(sp.LeaseStoreError, match=rf"worker_id is '{name}'.*give the worker another") as error:
                leases.fleet.report(tables, WorkerStats(name))
            assert not error.value.retriable
        leases.fleet.forget(WorkerStats(name))
        assert item(client, (table, "leaseKey"), name) == before

    def test_a_lock_that_cannot_be_read_is_named(self, client: Any, leases: sp.DynamoDBLeases, table: str) -> None:
        client.put_item(TableName=table, Item={"leaseKey": {"S": "Leader"}, "ownerName": {"S": "a"}})
        with pytest.raises(sp.LeaseStoreError, match="Leader"):
            leases.fleet.lock(Tables.COMPLETE)


class TestSeveralTables:
    """Of a KCL before 3.5, on their way to one."""

    @pytest.mark.parametrize("status", [None, *Tables])
    def test_each_state_has_its_places(
        self, client: Any, leases: sp.DynamoDBLeases, table: str, status: Tables | None
    ) -> None:
        application, fleet = table, leases.fleet
        legacy_tables(client, application)
        states, reports = f"{application}-CoordinatorState", f"{application}-WorkerMetricStats"
        if status is not None:
            moving = {"key": {"S": "TableMigration3.5"}, "tm": {"S": status.value}, "mb": {"S": "j"}, "mts": {"N": "1"}}
            client.put_item(TableName=states, Item=moving)
        tables = fleet.state().tables
        assert tables is (status or Tables.INIT)
        place = (states, "key") if tables.has_reports_apart else (application, "leaseKey")
        fleet.begin(tables, "a")
        assert item(client, place, "Migration3.0")["cv"] == {"S": "CLIENT_VERSION_3X"}
        assert fleet.state().client_version == "CLIENT_VERSION_3X"

        assert fleet.write_lock(tables, None, LOCK)
        place = (application, "leaseKey") if tables is Tables.COMPLETE else (states, "key")
        assert item(client, place, "Leader")["ownerName"] == {"S": "a"}
        assert fleet.lock(tables) == LOCK
        fleet.delete_lock(tables, LOCK)
        assert item(client, place, "Leader") is None

        fleet.report(tables, STATS)
        place = (reports, "wid") if tables.has_reports_apart else (application, "leaseKey")
        assert item(client, place, "a")["entityType"] == {"S": "WORKER_METRIC_STATS"}
        (stats,) = fleet.survey(tables).workers
        assert stats.is_apart == tables.has_reports_apart
        fleet.forget(stats)
        assert fleet.survey(tables).workers == []

    def test_without_a_table_for_reports_nothing_is_reported(
        self, client: Any, leases: sp.DynamoDBLeases, table: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The KCL's migration tool deletes it for a rollback, before all workers know of that; a KCL makes it late."""
        caplog.set_level("INFO", "shardpack.consumer")
        legacy_tables(client, table)
        client.delete_table(TableName=f"{table}-WorkerMetricStats")
        client.get_waiter("table_not_exists").wait(
            TableName=f"{table}-WorkerMetricStats", WaiterConfig={"Delay": 0.05, "MaxAttempts": 100}
        )
        for _ in range(2):
            leases.fleet.report(Tables.INIT, STATS)
        assert [record.message for record in caplog.records] == [
            f"the table {table}-WorkerMetricStats is not there, so nothing is reported"
        ]
        assert leases.fleet.survey(Tables.INIT).workers == []
        leases.fleet.forget(WorkerStats("a", is_apart=True))

    def test_a_state_that_nobody_knows_is_named(self, client: Any, leases: sp.DynamoDBLeases, table: str) -> None:
        legacy_tables(client, table)
        unknown = {"key": {"S": "TableMigration3.5"}, "tm": {"S": "TABLE_MIGRATION_STATUS_NEW"}}
        client.put_item(TableName=f"{table}-CoordinatorState", Item=unknown)
        with pytest.raises(sp.LeaseStoreError, match=r"TableMigration3\.5"):
            leases.fleet.state()
