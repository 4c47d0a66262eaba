"""The table of an application that is on its way from the KCL 2.x to 3.x, with workers of the real KCL and of ours."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import servers
from java_programs import versions
from kcl_application import KclApplication
from mixed_fleet import RECORDS, MixedFleet, Putting, many_connections, only_at_length

SHARDS = 6
VERSION = "CLIENT_VERSION_"


class Migration:
    """The item ``Migration3.0``, wherever the application keeps it."""

    def __init__(self, dynamodb: Any, application: str) -> None:
        self._dynamodb = dynamodb
        self._application = application
        names = dynamodb.list_tables()["TableNames"]
        self.tables = sorted(name.removeprefix(application) for name in names)

    def _place(self) -> dict[str, Any]:
        if "-CoordinatorState" in self.tables:
            return {"TableName": f"{self._application}-CoordinatorState", "Key": {"key": {"S": "Migration3.0"}}}
        return {"TableName": self._application, "Key": {"leaseKey": {"S": "Migration3.0"}}}

    @property
    def version(self) -> str | None:
        item = self._dynamodb.get_item(**self._place(), ConsistentRead=True).get("Item")
        return None if item is None else item["cv"]["S"].removeprefix(VERSION)

    def become(self, version: str) -> None:
        """As the leader of the KCL writes it after ten minutes, or its migration tool."""
        self._dynamodb.update_item(
            **self._place(),
            UpdateExpression="SET cv = :cv, mb = :mb, mts = :mts",
            ExpressionAttributeValues={
                ":cv": {"S": VERSION + version},
                ":mb": {"S": "test"},
                ":mts": {"N": str(round(time.time() * 1000))},
            },
        )


@only_at_length
def test_python_takes_in_2x_is_assigned_in_3x_and_follows_a_rollback(
    kinesis: str, dynamodb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARDPACK_LOG", "INFO")
    client, stream = many_connections(kinesis), "from-2x"
    servers.create_stream(client, stream, SHARDS)
    seconds: dict[str, float] = {}
    settings = {"strategy": "LEASE_COUNT_BASED", "version": "COMPATIBLE_WITH_2X"}
    with (
        MixedFleet(kinesis, dynamodb, stream, tmp_path, **settings) as fleet,
        Putting(client, stream) as putting,
    ):
        fleet.java("java-1")
        java = fleet.workers["java-1"]
        assert isinstance(java, KclApplication)

        def follows(version: str) -> bool:
            return java.has_logged(f"Successfully transitioned to {VERSION}{version}")

        seconds["java alone"] = fleet.wait_until_even(0.0)
        migration = Migration(servers.client("dynamodb", dynamodb), stream)
        assert migration.version == "UPGRADE_FROM_2X"
        fleet.python("python-1")
        seconds["taken"] = fleet.wait_until_even(0.0)
        assert fleet.leader() is None
        reports = {stats.worker_id for stats in fleet.leases.fleet.survey(fleet.leases.fleet.state().tables).workers}
        assert reports == {"java-1", "python-1"}  # for that its own leader waits before it goes on
        migration.become("3X_WITH_ROLLBACK")
        seconds["led"] = fleet.wait(lambda: fleet.leader() is not None, "leader")
        led = fleet.leader()
        fleet.python("python-2")
        seconds["assigned"] = fleet.wait_until_even(0.0)
        seconds["java follows"] = fleet.wait(lambda: follows("3X_WITH_ROLLBACK"), "change of Java's")  # once a minute
        seconds["assigned to all"] = fleet.wait_until_even(0.0)
        migration.become("2X")
        seconds["java goes back"] = fleet.wait(lambda: follows("2X"), "change of Java's")
        seconds["nobody leads"] = fleet.wait(lambda: fleet.leader() is None, "end of the leader")
        fleet.stop("python-2")
        seconds["taken again"] = fleet.wait_until_even(0.0)
        putting.finish()
        fleet.wait(lambda: putting.acknowledged <= fleet.numbers().keys(), "end of all records")
        repeated = fleet.repeated()
        # A worker of the KCL takes leases in 2.x without a word, and gives up what it holds as little.
        explained = fleet.unfinished_by_python() | fleet.repeated_by_java()
    print(
        f"\nKCL {versions()['kcl']} from 2.x and us, led by {led} in 3.x: {len(putting.acknowledged)} records, 0 lost,"
        f" {len(repeated)} twice, {len(repeated - explained)} of them unexplained; tables {migration.tables}; seconds:"
        f" { ({what: round(after, 1) for what, after in seconds.items()}) }"
    )
    assert len(putting.acknowledged) >= RECORDS
    assert repeated <= explained
