"""Leases in a SQLite file: every kind of wrong file, many processes, forks, and kill -9."""

from __future__ import annotations

import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from lease_steps import created, only, taken

import shardpack as sp
from shardpack.leases.lease import Lease

posix = pytest.mark.skipif(os.name != "posix", reason="signals, forks and limits of POSIX")


def python(source: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", source, *map(str, arguments)]


def run(source: str, *arguments: str | Path) -> str:
    done = subprocess.run(python(source, *arguments), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def used(path: Path) -> sp.SQLiteLeases:
    leases = sp.SQLiteLeases(path)
    leases.create(Lease("s"))
    return leases


def text(path: Path) -> None:
    path.write_text("no database, but long enough to have a header " * 10)


def damaged(path: Path) -> None:
    used(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 2000)


def newer(path: Path) -> None:
    used(path)
    execute(path, "PRAGMA user_version = 3")


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (text, "is not a database.*a file of their own"),
    "damaged": (damaged, "malformed.*damaged"),
    "a folder": (Path.mkdir, "unable to open"),
    "another program's": (lambda path: execute(path, "CREATE TABLE t (x)"), "database of something else"),
    "a newer version's": (newer, "version 3 of the lease schema, and this shardpack knows 2"),
    "in no folder": (lambda _: None, "folder .*nowhere does not exist; make it"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_that_cannot_be_used_is_left_alone(kind: str, tmp_path: Path) -> None:
    make, message = WRONG[kind]
    path = tmp_path / ("nowhere/leases.db" if kind == "in no folder" else "leases.db")
    make(path)
    before = path.read_bytes() if path.is_file() else None
    leases = sp.SQLiteLeases(path)

    calls: list[Callable[[], object]] = [
        leases.prepare,
        leases.list,
        lambda: leases.create(Lease("t")),
        lambda: leases.take(Lease("s"), "me"),
        lambda: leases.release(Lease("s", owner="me")),
    ]
    for call in calls:
        with pytest.raises(sp.LeaseStoreError, match=message) as error:
            call()
        assert str(path) in str(error.value) or kind == "in no folder"
        assert error.value.retriable is False
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_file_of_version_1_is_read_as_it_is_and_brought_up_to_date_by_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    (lease,) = used(path).list()
    for change in ("DROP COLUMN origin", "DROP COLUMN doneUntil"):
        execute(path, f"ALTER TABLE leases {change}")
    execute(path, "PRAGMA user_version = 1")
    before = path.read_bytes()

    assert sp.SQLiteLeases(path, read_only=True).list() == [lease]
    assert path.read_bytes() == before
    leases = sp.SQLiteLeases(path)
    mine = leases.take(replace(lease, origin="clicks/49"), "me")
    assert mine is not None
    assert leases.list() == [mine]
    assert mine.origin == "clicks/49"


def test_memory_is_not_a_file() -> None:
    with pytest.raises(ValueError, match="MemoryLeases"):
        sp.SQLiteLeases(":memory:")


@pytest.mark.parametrize(
    "damage",
    [
        "checkpoint = 'soon'",
        "checkpoint = x'ff'",
        "checkpointSubSequenceNumber = 'x'",
        "parentShardId = 'p'",
        "parentShardId = '3'",
        "parentShardId = '[[\"a\"]]'",
        "parentShardId = '[1]'",
        "parentShardId = '\"ab\"'",
        "parentShardId = '{\"a\": 1}'",
        f"parentShardId = '{'[' * 100_000}'",
        "childShardIds = '[null]'",
        "childShardIds = x'00'",
        "leaseOwner = x'00'",
        "leaseCounter = 'many'",
        "ownerSwitchesSinceCheckpoint = 'x'",
        "checkpointOwner = x'00'",
        "origin = x'00'",
        "doneUntil = 'soon'",
        "doneUntil = -1",
        "doneUntil = 9223372036854775807",
        "startingHashKey = 'x', endingHashKey = 'y'",
        f"startingHashKey = '{'9' * 5000}', endingHashKey = '1'",
    ],
    ids=lambda damage: damage[:40],
)
def test_a_row_that_cannot_be_read_is_named(damage: str, tmp_path: Path) -> None:
    leases = used(tmp_path / "leases.db")
    execute(tmp_path / "leases.db", f"UPDATE leases SET {damage}")

    for call in (leases.list, lambda: leases.take(Lease("s"), "me")):
        with pytest.raises(sp.LeaseStoreError, match=r"row 's' of the lease file .*leases.db is no lease") as error:
            call()
        assert error.value.retriable is False
        assert len(str(error.value)) < 600


# Root may write anywhere, so the rest is done as nobody.
READ_ONLY = """
import os, sys
import shardpack as sp
from shardpack.leases.lease import Lease
import shardpack.leases.sqlite, sqlite3, json

path = sys.argv[1]
leases = sp.SQLiteLeases(path)
leases.create(Lease("s"))
os.chmod(path, 0o444)
os.chmod(os.path.dirname(path), 0o555)
if os.getuid() == 0:
    os.setuid(65534)
try:
    leases.take(Lease("s"), "me")
except sp.LeaseStoreError as error:
    print(error.retriable, error)
"""

# The disk is full as soon as a file would grow beyond the limit.
FULL = """
import resource, signal, sys
import shardpack as sp
from shardpack.leases.lease import Lease

leases = sp.SQLiteLeases(sys.argv[1])
leases.create(Lease("s"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, resource.RLIM_INFINITY))
created = 1
try:
    while True:
        leases.create(Lease(f"{created:04}" * 100))
        created += 1
except sp.LeaseStoreError as error:
    print(error.retriable, error)
assert len(leases.list()) == created > 5
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert leases.create(Lease("room again"))
"""


@posix
def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    folder = tmp_path
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.getuid() and "pytest" in str(parent):
            parent.chmod(0o755)
    try:
        out = run(READ_ONLY, folder / "leases.db")
    finally:
        folder.chmod(0o755)
    assert out.startswith("False the lease file ")
    assert "must be writable" in out


@posix
def test_a_folder_that_may_not_be_entered(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and "pytest" in str(parent):
            parent.chmod(0o755)
    out = run(READ_ONLY.replace("0o555", "0o000"), tmp_path / "leases.db")
    tmp_path.chmod(0o755)
    assert out.startswith("False the lease file ")
    assert "must be writable" in out


@posix
def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    out = run(FULL, tmp_path / "leases.db")

    assert out.startswith("False the lease file ")
    assert "has room" in out


def test_a_lock_that_is_held_too_long_may_pass(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    used(path)
    leases = sp.SQLiteLeases(path, timeout=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sp.LeaseStoreError, match=r"held its lock for more than 0\.05 s") as error:
            leases.list()
        other.execute("ROLLBACK")

    assert error.value.retriable is True
    assert only(leases) == Lease("s")


def test_a_reader_that_stays_does_not_tear_a_write(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    used(path)
    leases = sp.SQLiteLeases(path, timeout=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM leases").fetchall()
        with pytest.raises(sp.LeaseStoreError) as error:  # at COMMIT
            leases.take(Lease("s"), "me")
        reader.execute("ROLLBACK")

    assert error.value.retriable is True
    assert only(leases) == Lease("s")
    assert leases.take(Lease("s"), "me") is not None


def test_two_stores_and_a_pickled_one_share_a_file_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = sp.SQLiteLeases("leases.db")
    second = sp.SQLiteLeases(tmp_path / "leases.db")
    third = pickle.loads(pickle.dumps(first))
    free = created(first, Lease("s"))
    monkeypatch.chdir("/")

    mine = taken(second, free)

    assert first.take(free, "you") is None
    assert third.renew(mine) == only(first) == only(second)
    assert repr(third) == f"SQLiteLeases({str(tmp_path / 'leases.db')!r})"


def test_a_file_is_made_once_by_whoever_is_first(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(
            threads.map(lambda number: sp.SQLiteLeases(tmp_path / "l.db").create(Lease("s", counter=number)), range(8))
        )

    assert sorted(made) == [False] * 7 + [True]


# Each line says what was done, after it was done: "counter worker sub-sequence number".
WORKER = """
import os, random, sys, time
import shardpack as sp
from shardpack.leases.lease import Lease

path, name = sys.argv[1:]
leases = sp.SQLiteLeases(path, timeout=60)
leases.create(Lease("s"))
rng = random.Random(name)
lease = None
while True:
    try:
        if lease is None:
            (seen,) = leases.list()
            lease = leases.take(seen, name)
        elif rng.random() < 0.5:
            lease = leases.renew(lease)
        else:
            done = lease.checkpoint.sub_sequence_number
            lease = leases.checkpoint(lease, sp.Position("1", done + 1))
    except sp.LeaseLostError:
        lease = None
    if lease is not None:
        line = f"{lease.counter} {name} {lease.checkpoint.sub_sequence_number}\\n"
        os.write(1, line.encode())
    if lease is None or rng.random() < 0.1:
        time.sleep(0.005)
"""


@posix
def test_many_processes_that_are_killed(tmp_path: Path) -> None:
    path, rng = tmp_path / "leases.db", random.Random(3)
    logs = [tmp_path / f"log-{number}" for number in range(24)]
    running: list[subprocess.Popen[bytes]] = []
    for number, log in enumerate(logs):
        with log.open("wb") as out:
            running.append(subprocess.Popen(python(WORKER, path, f"w{number}"), stdout=out, stderr=subprocess.PIPE))
        if len(running) == 6:
            deadline = time.monotonic() + 60
            while not log.stat().st_size and time.monotonic() < deadline:  # it has got going
                time.sleep(0.01)
            victim = running.pop(rng.randrange(len(running)))
            victim.send_signal(signal.SIGKILL)
            assert victim.communicate()[1] == b""
    for process in running:
        process.kill()
        assert process.communicate()[1] == b""

    writes = [line.split() for log in logs for line in log.read_text().splitlines()]
    counters = [int(counter) for counter, _, _ in writes]
    last = only(sp.SQLiteLeases(path))
    assert len(set(counters)) == len(counters) > 24
    # A process that was killed between the write and the line leaves a gap; nothing that was told is missing.
    assert max(counters) <= last.counter
    assert last.counter - len(counters) <= len(logs)
    done = [int(sub) for _, _, sub in sorted(writes, key=lambda write: int(write[0]))]
    assert done == sorted(done)
    assert done[-1] <= last.checkpoint.sub_sequence_number <= done[-1] + 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


FORK = """
import os, sys, threading
import shardpack as sp
from shardpack.leases.lease import Lease

leases = sp.SQLiteLeases(sys.argv[1], timeout=60)
stop = threading.Event()
def busy(number):
    lease = Lease(f"thread-{number}")
    leases.create(lease)
    lease = leases.take(lease, "thread")
    while not stop.is_set():
        lease = leases.renew(lease)
threads = [threading.Thread(target=busy, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
children = []
for number in range(8):
    pid = os.fork()
    if not pid:
        lease = Lease(f"child-{number}")
        leases.create(lease)
        lease = leases.take(lease, "child")
        for _ in range(20):
            lease = leases.renew(lease)
        os._exit(0)
    children.append(pid)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
stop.set()
for thread in threads:
    thread.join()
assert codes == [0] * 8, codes
assert [lease.counter for lease in leases.list() if lease.owner == "child"] == [21] * 8
"""


@posix
def test_a_fork_in_the_middle_of_other_threads_work(tmp_path: Path) -> None:
    assert run(FORK, tmp_path / "leases.db") == ""
