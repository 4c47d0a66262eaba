"""Leases in one file, for the processes of one machine.

Every operation opens the file, works in one transaction and closes it again, which takes about a millisecond. So
nothing is open when a process forks (SQLite forbids carrying a connection across), any thread may call, and whatever
kills a process at whatever moment leaves the last committed state, which SQLite's rollback journal restores. A
write-ahead log would be faster only with connections that stay open.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ..errors import LeaseStoreError
from ..records import Position
from .lease import Lease, moment_of
from .local import LocalLeases

_APPLICATION_ID = 0x5350_6C73  # "SPls": tells our files from other people's
_SCHEMA_VERSION = 2  # 1 had neither origin nor doneUntil, and is brought up to date by who writes
# The KCL's attributes, so that `sqlite3 FILE 'select * from leases'` reads like its table. The order counts below.
_CREATE = """
CREATE TABLE leases (
    leaseKey TEXT PRIMARY KEY,
    leaseOwner TEXT,
    leaseCounter INTEGER NOT NULL,
    ownerSwitchesSinceCheckpoint INTEGER NOT NULL,
    checkpoint TEXT NOT NULL,
    checkpointSubSequenceNumber INTEGER NOT NULL,
    parentShardId TEXT NOT NULL,
    childShardIds TEXT NOT NULL,
    startingHashKey TEXT,
    endingHashKey TEXT,
    checkpointOwner TEXT,
    origin TEXT,
    doneUntil INTEGER
)
"""
_ADD_TO_VERSION_1 = ("ALTER TABLE leases ADD COLUMN origin TEXT", "ALTER TABLE leases ADD COLUMN doneUntil INTEGER")

# Beside the leases, and made when it is missing: files of before have none, and who does not know it passes it over.
_CREATE_ABOUT = "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL)"

# One operation at a time in this process, and none while it forks: SQLite's own locks count per process, and a child
# that inherited them in mid-operation would take them for its own.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class SQLiteLeases(LocalLeases):
    """Leases in a file that the processes and threads of one machine share. A `Leases`.

    The file is made at the first use. It may be moved or copied while nothing runs; a network file system, where locks
    are not reliable, is no place for it. The object may be pickled and survives a fork.

    Args:
        path: the file; its folder must exist, and the processes must be allowed to write to both.
        timeout: seconds to wait while other processes write.
        read_only: only look: nothing is made or changed, and what would is refused.

    Raises:
        ValueError: the path is SQLite's ``":memory:"``; `MemoryLeases` are in memory.
        LeaseStoreError: by every method: the file cannot be used, or is no lease file of this version.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 10.0, read_only: bool = False) -> None:
        if os.fspath(path) == ":memory:":  # which each operation would open anew, and find empty
            raise ValueError("path is ':memory:'; SQLiteLeases need a file, and MemoryLeases are in memory")
        # Absolute, so that it stays the same file when the process changes its folder.
        self._path = Path(path).absolute()
        self._timeout = timeout
        self._read_only = read_only

    def __repr__(self) -> str:
        return f"SQLiteLeases({str(self._path)!r})"

    @contextmanager
    def _rows(self) -> Iterator[_Rows]:
        try:
            with _lock, closing(self._connect()) as connection:
                # A reader that would write later could meet another such one, and neither could go on: lock at once.
                connection.execute("BEGIN" if self._read_only else "BEGIN IMMEDIATE")
                self._check(connection)
                yield _Rows(connection, self._path)
                connection.execute("COMMIT")  # without it, closing rolls back
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _connect(self) -> sqlite3.Connection:
        if not self._read_only:
            return sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None)
        return sqlite3.connect(f"{self._path.as_uri()}?mode=ro", timeout=self._timeout, isolation_level=None, uri=True)

    def _check(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if (application, version) == (_APPLICATION_ID, _SCHEMA_VERSION):
            return
        if (application, version) == (_APPLICATION_ID, 1):
            if not self._read_only:
                for change in _ADD_TO_VERSION_1:
                    connection.execute(change)
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            return
        if application == _APPLICATION_ID:
            raise LeaseStoreError(
                f"{self._path} has version {version} of the lease schema, and this shardpack knows {_SCHEMA_VERSION};"
                " use the shardpack that wrote it, or another file",
                retriable=False,
            )
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise LeaseStoreError(
                f"{self._path} is a SQLite database of something else; give the leases a file of their own",
                retriable=False,
            )
        if self._read_only:
            raise LeaseStoreError(
                f"{self._path} is empty, no lease file yet; give the one that the consumer's SQLiteLeases have",
                retriable=False,
            )
        connection.execute(_CREATE)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    def _failed(self, error: sqlite3.Error) -> LeaseStoreError:
        reason = str(error)
        retriable = "locked" in reason or "busy" in reason
        if retriable:
            remedy = f"another process has held its lock for more than {self._timeout} s; end what keeps it"
        elif _is_missing(self._path.parent):
            remedy = f"the folder {self._path.parent} does not exist; make it"
        elif self._read_only and "readonly" in reason:
            remedy = (
                "it was opened to look only; if nothing was to be changed, a process was killed while it wrote: let a"
                " worker use it, which puts it right"
            )
        elif self._read_only and "unable to open" in reason:
            remedy = "it must be there, and readable"
        elif "unable to open" in reason or "readonly" in reason:
            remedy = "the file and its folder must be writable, because SQLite keeps its journal beside the file"
        elif "not a database" in reason or "malformed" in reason:
            remedy = "it is no SQLite database, or a damaged one; give the leases a file of their own"
        else:
            remedy = "see that the disk is local, has room and works"
        return LeaseStoreError(f"the lease file {self._path} cannot be used: {reason}: {remedy}", retriable=retriable)


def _is_missing(folder: Path) -> bool:
    try:
        return not stat.S_ISDIR(folder.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # it may be there, where we may not look
        return False


class _Rows:
    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def get(self, key: str) -> Lease | None:
        row = self._connection.execute("SELECT * FROM leases WHERE leaseKey = ?", (key,)).fetchone()
        return None if row is None else self._lease(row)

    def all(self) -> list[Lease]:
        return [self._lease(row) for row in self._connection.execute("SELECT * FROM leases ORDER BY leaseKey")]

    def keys_of(self, owner: str) -> list[str]:
        rows = self._connection.execute("SELECT leaseKey FROM leases WHERE leaseOwner = ?", (owner,))
        return [str(row[0]) for row in rows]

    def put(self, lease: Lease) -> None:
        self._connection.execute("REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _row(lease))

    def remove(self, key: str) -> None:
        self._connection.execute("DELETE FROM leases WHERE leaseKey = ?", (key,))

    def stream(self) -> str | None:
        self._connection.execute(_CREATE_ABOUT)
        row = self._connection.execute("SELECT value FROM about WHERE name = 'stream'").fetchone()
        return None if row is None else str(row[0])

    def set_stream(self, stream: str) -> None:
        self._connection.execute("REPLACE INTO about VALUES ('stream', ?)", (stream,))

    def forget_stream(self) -> None:
        self._connection.execute(_CREATE_ABOUT)
        self._connection.execute("DELETE FROM about WHERE name = 'stream'")

    def _lease(self, row: tuple[Any, ...]) -> Lease:
        try:
            return _lease(*row)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            raise LeaseStoreError(
                f"the row {row[0]!r:.100} of the lease file {self._path} is no lease ({type(error).__name__}:"
                f" {error!s:.200}); correct it, or delete it",
                retriable=False,
            ) from error


def _row(lease: Lease) -> tuple[str | int | None, ...]:
    starting, ending = map(str, lease.hash_range) if lease.hash_range else (None, None)
    return (
        lease.key,
        lease.owner,
        lease.counter,
        lease.owner_switches,
        lease.checkpoint.sequence_number,
        lease.checkpoint.sub_sequence_number,
        json.dumps(lease.parents),
        json.dumps(lease.children),
        starting,
        ending,
        lease.checkpoint_owner,
        lease.origin,
        lease.done_until,
    )


def _lease(
    key: str,
    owner: str | None,
    counter: int,
    owner_switches: int,
    checkpoint: str,
    sub_sequence_number: int,
    parents: str,
    children: str,
    starting: str | None,
    ending: str | None,
    checkpoint_owner: str | None,
    origin: str | None = None,
    done_until: int | None = None,
) -> Lease:
    for name, value, kind in (
        ("leaseKey", key, str),
        ("leaseOwner", owner, str | None),
        ("leaseCounter", counter, int),
        ("ownerSwitchesSinceCheckpoint", owner_switches, int),
        ("checkpointOwner", checkpoint_owner, str | None),
        ("origin", origin, str | None),
        ("doneUntil", done_until, int | None),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name} is {value!r:.60}, of type {type(value).__name__}")
    return Lease(
        key,
        owner=owner,
        counter=counter,
        checkpoint=Position(checkpoint, sub_sequence_number),
        owner_switches=owner_switches,
        parents=_shard_ids("parentShardId", parents),
        children=_shard_ids("childShardIds", children),
        hash_range=None if starting is None or ending is None else (int(starting), int(ending)),
        checkpoint_owner=checkpoint_owner,
        origin=origin,
        done_until=None if done_until is None else moment_of(done_until),
    )


def _shard_ids(name: str, text: str) -> tuple[str, ...]:
    """The ids in a JSON list.

    Raises:
        TypeError, ValueError, RecursionError: it is none.
    """
    ids = json.loads(text)
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise TypeError(f"{name} is {text!r:.60}; expected a JSON list of shard ids")
    return tuple(ids)
