"""Where the workers of a fleet tell each other who leads, in the tables of the KCL 3.x."""

from __future__ import annotations

import builtins
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ...errors import LeaseStoreError
from ..items import is_lease_item
from ..rows import CONDITION_FAILED, TableRows
from ..table import RefusedError, Table
from .items import (
    CLIENT_VERSION,
    LEADER,
    REPORT_TYPE,
    TABLE_MIGRATION,
    begun_item,
    lock_item,
    lock_of,
    report_change,
    stats_of,
    tables_of,
)
from .states import FleetState, LeaderLock, Survey, Tables, WorkerStats

_MISSING = "ResourceNotFoundException"
_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})
_IS_REPORT = "attribute_exists(lut)"  # as nothing else has it

_log = logging.getLogger("shardpack.consumer")


class FleetTables:
    """The leader's lock and the workers' reports, in the lease table or beside it. A `Fleet`.

    Args:
        table: the lease table.
    """

    def __init__(self, table: Table) -> None:
        self._leases = table
        self._rows = TableRows(table)
        self._states = table.beside("-CoordinatorState")
        self._reports = table.beside("-WorkerMetricStats")
        self._is_told = False  # that a table may not be read
        self._lacks_reports = False  # whether the table for reports was missing when it was last written

    def state(self) -> FleetState:
        """Which way of sharing holds, and which tables are used."""
        tables = self._which_tables()
        item = None
        if tables is not Tables.COMPLETE:
            item = self._get(self._states, "key", CLIENT_VERSION)
        item = item or self._get(self._leases, "leaseKey", CLIENT_VERSION)
        return FleetState(None if item is None else item.get("cv", {}).get("S"), tables)

    def _which_tables(self) -> Tables:
        try:
            item = self._get(self._states, "key", TABLE_MIGRATION, _DENIED | {_MISSING})
        except RefusedError as refused:
            if refused.code != _MISSING and not self._is_told:
                self._is_told = True
                _log.info("%s may not be read, so it is taken for missing: %s", self._states.name, refused.code)
            return Tables.COMPLETE
        if item is None:
            return Tables.INIT
        try:
            return tables_of(item)
        except (KeyError, ValueError) as error:
            raise self._unreadable(self._states, TABLE_MIGRATION, error) from error

    def begin(self, tables: Tables, worker_id: str) -> None:
        """Write down that leases are assigned by a leader, if nothing is written down yet."""
        table, key = (self._states, "key") if tables.has_reports_apart else (self._leases, "leaseKey")
        item = begun_item(key, worker_id, round(time.time() * 1000))
        with suppress(RefusedError):
            table.call(
                "PutItem",
                {CONDITION_FAILED},
                Item=item,
                ConditionExpression="attribute_not_exists(#key)",
                ExpressionAttributeNames={"#key": key},
            )

    def lock(self, tables: Tables) -> LeaderLock | None:
        """Who leads; None: nobody, or the lock was let go."""
        table, key = self._place_of_lock(tables)
        item = self._get(table, key, LEADER)
        if item is None:
            return None
        try:
            return lock_of(item)
        except (KeyError, ValueError) as error:
            raise self._unreadable(table, LEADER, error) from error

    def write_lock(self, tables: Tables, before: LeaderLock | None, lock: LeaderLock) -> bool:
        """Take the lock, or show that one is alive; False if it is not any more as it was `before`."""
        table, key = self._place_of_lock(tables)
        names, values = {"#key": key}, {":released": {"S": "1"}}
        condition = "attribute_not_exists(#key) OR isReleased = :released"
        if before is not None:
            condition = "recordVersionNumber = :version AND ownerName = :owner"
            names, values = {}, {":version": {"S": before.version}, ":owner": {"S": before.owner}}
        more: dict[str, Any] = {"ExpressionAttributeNames": names} if names else {}
        try:
            table.call(
                "PutItem",
                {CONDITION_FAILED},
                Item=lock_item(key, lock),
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
                **more,
            )
        except RefusedError as refused:
            # An attempt whose answer was lost may have taken it; nobody else writes this version.
            return refused.unsure and self.lock(tables) == lock
        return True

    def delete_lock(self, tables: Tables, lock: LeaderLock) -> None:
        """Let the lock go, if it is still this one."""
        table, key = self._place_of_lock(tables)
        with suppress(RefusedError):
            table.call(
                "DeleteItem",
                {CONDITION_FAILED},
                Key={key: {"S": LEADER}},
                ConditionExpression="recordVersionNumber = :version AND ownerName = :owner",
                ExpressionAttributeValues={":version": {"S": lock.version}, ":owner": {"S": lock.owner}},
            )

    def report(self, tables: Tables, stats: WorkerStats) -> None:
        """Write what a worker reports, and the time; nothing where the table for that is not there.

        The KCL's migration tool deletes that table for a rollback, before all workers know of it.

        Raises:
            LeaseStoreError: the table cannot be written, or another item has the worker's name for its key.
        """
        table, key = (self._reports, "wid") if tables.has_reports_apart else (self._leases, "leaseKey")
        change, names, values = report_change(stats, int(time.time()))
        try:
            table.call(
                "UpdateItem",
                {CONDITION_FAILED, _MISSING} if table is self._reports else {CONDITION_FAILED},
                Key={key: {"S": stats.worker_id}},
                UpdateExpression=change,
                ConditionExpression=f"attribute_not_exists({key}) OR {_IS_REPORT}",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except RefusedError as refused:
            if refused.code == CONDITION_FAILED:
                raise LeaseStoreError(
                    f"worker_id is {stats.worker_id!r}, which is the key of another item of the table {table.name!r};"
                    " give the worker another name",
                    retriable=False,
                ) from None
            if not self._lacks_reports:
                _log.info("the table %s is not there, so nothing is reported", table.name)
            self._lacks_reports = True
        else:
            self._lacks_reports = False

    def survey(self, tables: Tables) -> Survey:
        """All leases and all reports, read together, as one scan of the lease table brings both."""
        items = self._scan(self._leases, ConsistentRead=True)
        leases = [self._rows.lease(item) for item in items if is_lease_item(item)]
        reports = [item for item in items if item.get("entityType", {}).get("S") == REPORT_TYPE]
        found = [stats_of(item, "leaseKey") for item in reports]
        if tables is not Tables.COMPLETE:
            found += [stats_of(item, "wid") for item in self._scan_reports()]
        return Survey(leases, [stats for stats in found if stats is not None])

    def forget(self, stats: WorkerStats) -> None:
        """Remove a worker's report, if it is not a newer one; `updated` None: whichever it is."""
        table, key = (self._reports, "wid") if stats.is_apart else (self._leases, "leaseKey")
        more: dict[str, Any] = {"ConditionExpression": _IS_REPORT}
        if stats.updated is not None:
            more = {"ConditionExpression": "lut = :lut", "ExpressionAttributeValues": {":lut": _number(stats.updated)}}
        with suppress(RefusedError):
            table.call("DeleteItem", {CONDITION_FAILED, _MISSING}, Key={key: {"S": stats.worker_id}}, **more)

    def _scan_reports(self) -> builtins.list[Mapping[str, Any]]:
        try:
            return self._scan(self._reports, {_MISSING})
        except RefusedError:  # the KCL 3.5 makes none, and a KCL before it makes it when it starts
            return []

    def _place_of_lock(self, tables: Tables) -> tuple[Table, str]:
        return (self._states, "key") if tables.has_leader_apart else (self._leases, "leaseKey")

    @staticmethod
    def _scan(
        table: Table, expected: frozenset[str] | set[str] = frozenset(), **more: Any
    ) -> builtins.list[Mapping[str, Any]]:
        items: list[Mapping[str, Any]] = []
        start: dict[str, Any] = {}
        while True:
            page = table.call("Scan", expected, **more, **start)
            items += page["Items"]
            if not page.get("LastEvaluatedKey"):
                return items
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    @staticmethod
    def _get(
        table: Table, key: str, value: str, expected: frozenset[str] | set[str] = frozenset()
    ) -> Mapping[str, Any] | None:
        answer = table.call("GetItem", expected, Key={key: {"S": value}}, ConsistentRead=True)
        item: Mapping[str, Any] | None = answer.get("Item")
        return item

    @staticmethod
    def _unreadable(table: Table, name: str, error: Exception) -> LeaseStoreError:
        return LeaseStoreError(
            f"the item {name} of the table {table.name!r} cannot be read ({type(error).__name__}: {error}); the KCL"
            " writes it: correct it, or delete it and let a worker write it anew",
            retriable=False,
        )


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}
