"""What a leader's lock and a worker's report look like in DynamoDB.

Attributes and types are those of the KCL 3.5.1: its ``WorkerMetricStats``, ``MigrationState`` and
``TableMigrationState``, and the ``AmazonDynamoDBLockClient`` 1.4.0 that holds its leader's lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from .states import LED, LeaderLock, Tables, WorkerStats

Item: TypeAlias = Mapping[str, Any]
"""An item as DynamoDB's API gives it. Those of a fleet hold lists and maps."""

LEADER = "Leader"
CLIENT_VERSION = "Migration3.0"
TABLE_MIGRATION = "TableMigration3.5"
REPORT_TYPE = "WORKER_METRIC_STATS"


def lock_item(key: str, lock: LeaderLock) -> dict[str, Any]:
    """The item of a leader's lock.

    Args:
        key: the name of the table's key.
        lock: the lock.
    """
    return {
        key: {"S": LEADER},
        "entityType": {"S": "LEADER"},
        "ownerName": {"S": lock.owner},
        "leaseDuration": {"S": str(round(lock.duration * 1000))},
        "recordVersionNumber": {"S": lock.version},
    }


def lock_of(item: Item) -> LeaderLock | None:
    """The lock that an item is; None: it was let go.

    Raises:
        KeyError, ValueError: it is none.
    """
    if "isReleased" in item:
        return None
    return LeaderLock(item["ownerName"]["S"], item["recordVersionNumber"]["S"], int(item["leaseDuration"]["S"]) / 1000)


def begun_item(key: str, worker_id: str, millis: int) -> dict[str, Any]:
    """The item that says that a leader assigns the leases, as the KCL writes it for a new application."""
    return {
        key: {"S": CLIENT_VERSION},
        "entityType": {"S": "CLIENT_VERSION_MIGRATION"},
        "cv": {"S": LED},
        "mb": {"S": worker_id},
        "mts": {"N": str(millis)},
    }


def tables_of(item: Item) -> Tables:
    """Which tables are used, as an item says.

    Raises:
        KeyError, ValueError: it does not say so.
    """
    return Tables(item["tm"]["S"])


def report_change(stats: WorkerStats, seconds: int) -> tuple[str, dict[str, str], dict[str, Any]]:
    """What ``UpdateItem`` takes to write a report: expression, names and values. What others wrote there stays.

    The support code ``sup`` is left out: it would say that this worker follows the migration to one table, and the
    fleet moves on when every worker says so.
    """
    names = {"#type": "entityType", "#lut": "lut", "#sts": "sts", "#opr": "opr"}
    values = {
        ":type": {"S": REPORT_TYPE},
        ":lut": {"N": str(seconds)},
        ":sts": {"M": {name: _numbers(values, "%.6f") for name, values in stats.metrics.items()}},
        ":opr": {"M": {name: _numbers(values, "%d") for name, values in stats.limits.items()}},
    }
    return "SET #type = :type, #lut = :lut, #sts = :sts, #opr = :opr", names, values


def stats_of(item: Item, key: str) -> WorkerStats | None:
    """The report that an item is; None: it cannot be read, and its worker gets no leases.

    Args:
        item: the item.
        key: the name of the table's key.
    """
    try:
        updated = item.get("lut", {}).get("N")
        return WorkerStats(
            item[key]["S"],
            None if updated is None else int(updated),
            _values(item.get("sts", {})),
            _values(item.get("opr", {})),
            is_apart=key == "wid",
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _numbers(values: tuple[float, ...], form: str) -> dict[str, Any]:
    return {"L": [{"N": form % value} for value in values]}


def _values(attribute: Item) -> dict[str, tuple[float, ...]]:
    found = attribute["M"] if attribute else {}
    return {name: tuple(float(one["N"]) for one in of["L"]) for name, of in found.items()}
