"""Workers of the real KCL and of ours in one fleet: each kind leads the other, and gives it its share."""

from __future__ import annotations

from pathlib import Path

import pytest
import servers
from java_programs import versions
from kcl_application import KclApplication, create_leases
from mixed_fleet import IS_SHORT, RECORDS, MixedFleet, Putting, many_connections, only_at_length

from shardpack.leases.fleet.states import Tables

SHARDS = 12


@pytest.mark.parametrize("leads", ["java", "python"])
def test_either_kind_gives_the_other_its_share(leads: str, kinesis: str, dynamodb: str, tmp_path: Path) -> None:
    client, stream = many_connections(kinesis), f"fleet-led-by-{leads}"
    servers.create_stream(client, stream, SHARDS)
    seconds: dict[str, float] = {}
    with (
        MixedFleet(kinesis, dynamodb, stream, tmp_path, strategy="LEASE_COUNT_BASED") as fleet,
        Putting(client, stream) as putting,
    ):
        if leads == "java":
            fleet.java("java-1")
            seconds["begun"] = fleet.wait_until_even(0.0)
            fleet.python("python-1")
        else:
            fleet.python("python-1", "leader")
            seconds["begun"] = fleet.wait_until_even(0.0)
            fleet.java("java-1")
        fleet.java("java-2")
        fleet.python("python-2")
        seconds["four"] = fleet.wait_until_even(0.2)
        assert fleet.leader() == f"{leads}-1"
        fleet.stop("python-2" if leads == "java" else "java-2")
        seconds["one left"] = fleet.wait_until_even(0.2)
        fleet.python("python-3")
        seconds["one joined"] = fleet.wait_until_even(0.2)
        repeated = {"in order": fleet.repeated()}
        explained: set[int] = set()
        for follower in [] if IS_SHORT else ["java-2" if leads == "java" else "java-1", "python-3"]:
            explained |= fleet.kill(follower)
            seconds[f"{follower} killed"] = fleet.wait_until_even(0.2)
            assert fleet.leader() == f"{leads}-1"
        repeated["followers killed"] = fleet.repeated()
        explained |= fleet.kill(f"{leads}-1")
        seconds["leader killed"] = fleet.wait_until_even(0.2)
        putting.finish()
        fleet.wait(lambda: putting.acknowledged <= fleet.numbers().keys(), "end of all records")
        repeated["all"] = fleet.repeated()
        repeated["by Java alone"] = fleet.repeated_by_java()
        repeated["of these, of expired leases"] = fleet.expired_by_java()
        origins = {lease.key: lease.origin for lease in fleet.leases.list()}
    print(
        f"\nKCL {versions()['kcl']} and us, led by {leads}: {len(putting.acknowledged)} records, 0 lost, twice"
        f" { ({when: len(numbers) for when, numbers in repeated.items()}) } of {len(explained)} that the killed had not"
        f" checkpointed;"
        f" seconds: { ({what: round(after, 1) for what, after in seconds.items()}) }"
    )
    assert len(putting.acknowledged) >= RECORDS
    # Where the KCL leads, what its workers hand over among themselves is not in our hands.
    not_ours = repeated["by Java alone"] if leads == "java" else set[int]()
    assert repeated["in order"] <= not_ours
    assert repeated["all"] <= explained | not_ours
    # Leases that Python has made keep its own attributes, whoever has them since; the KCL writes none.
    assert leads == "java" or None not in origins.values()


@only_at_length
def test_a_java_leader_evens_out_what_python_reports_of_its_processor_time(
    kinesis: str, dynamodb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARDPACK_LOG", "INFO")
    client, stream, names = many_connections(kinesis), "fleet-by-load", {"java-1", "python-1", "python-2"}
    servers.create_stream(client, stream, SHARDS)
    with (
        MixedFleet(kinesis, dynamodb, stream, tmp_path, metric="cpu") as fleet,
        Putting(client, stream) as putting,
    ):
        create_leases(fleet.leases, client, stream)
        fleet.java("java-1")
        fleet.wait(lambda: fleet.leader() == "java-1", "leader")
        for name in ("python-1", "python-2"):
            fleet.python(name, "auto", "--worker-metric", "cpu")
        after = fleet.wait(lambda: fleet.shares().keys() == names, "leases for all")
        reports = {stats.worker_id: stats for stats in fleet.leases.fleet.survey(Tables.COMPLETE).workers}
        leader = fleet.workers["java-1"]
        assert isinstance(leader, KclApplication)
        putting.finish()
        fleet.wait(lambda: putting.acknowledged <= fleet.numbers().keys(), "end of all records")
        fleet.wait(lambda: leader.has_logged("Total active WorkerMetricStats (excluding failing): 3"), "three workers")
        repeated, shares = fleet.repeated(), fleet.shares()
    print(
        f"\nKCL {versions()['kcl']} leads by processor time: {len(putting.acknowledged)} records, 0 lost,"
        f" {len(repeated)} twice; leases for all after {after:.1f} s; at last {dict(shares)}; reports"
        f" { ({name: stats.metrics for name, stats in reports.items()}) }"
    )
    assert {tuple(stats.metrics) for stats in reports.values()} == {("C",)}
    assert not repeated
