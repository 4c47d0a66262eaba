"""Shards split and merge while workers of the real KCL and of ours read them, with a leader of either kind."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import kinesis_calls
import pytest
import servers
from java_programs import versions
from kcl_application import create_leases
from mixed_fleet import RECORDS, MixedFleet, Putting, early_children, many_connections, only_at_length
from stream_check import Resharder

import shardpack as sp
from shardpack.consumer import Lease

SHARDS = 4


@pytest.fixture(scope="module")
def kinesis() -> Iterator[str]:
    with servers.kinesis_local() as url:  # kinesalite names no children, and the KCL wants to know them
        yield url


class Watch:
    """Looks at the leases again and again.

    Attributes:
        ended: the leases of shards that are at their ends, as they were last seen.
        revived: the keys of leases that were gone, and were there again.
        enders: how many shards' ends workers of each kind have recorded.
    """

    def __init__(self, leases: sp.DynamoDBLeases) -> None:
        self._leases = leases
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.ended: dict[str, Lease] = {}
        self.revived: set[str] = set()
        self.enders: Counter[str] = Counter()
        self._seen: dict[str, Lease] = {}
        self._now: set[str] = set()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self._look()

    def _look(self) -> None:
        leases = {lease.key: lease for lease in self._leases.list()}
        self.revived |= (leases.keys() & self._seen.keys()) - self._now
        for key, lease in leases.items():
            if lease.checkpoint == sp.Position.SHARD_END:
                if key not in self.ended:
                    owner = lease.owner or self._seen[key].owner or "?"
                    self.enders[owner.partition("-")[0]] += 1
                self.ended[key] = lease
        self._seen |= leases
        self._now = set(leases)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def shards_of(client: Any, stream: str) -> tuple[set[str], dict[str, tuple[str, ...]]]:
    """The open shards, and the parents of each."""
    listed = kinesis_calls.shards(client, stream)
    names = "ParentShardId", "AdjacentParentShardId"
    parents = {one["ShardId"]: tuple(one[name] for name in names if one.get(name)) for one in listed}
    return {one["ShardId"] for one in listed if "EndingSequenceNumber" not in one["SequenceNumberRange"]}, parents


@only_at_length
@pytest.mark.parametrize("leads", ["java", "python"])
def test_shards_split_and_merge_while_both_read(leads: str, kinesis: str, dynamodb: str, tmp_path: Path) -> None:
    client, stream = many_connections(kinesis), f"reshards-led-by-{leads}"
    servers.create_stream(client, stream, SHARDS)
    began = time.monotonic()
    with MixedFleet(kinesis, dynamodb, stream, tmp_path, strategy="LEASE_COUNT_BASED") as fleet:
        create_leases(fleet.leases, client, stream)
        if leads == "java":
            fleet.java("java-1")
        else:
            fleet.python("python-1", "leader")
        fleet.wait(lambda: fleet.leader() == f"{leads}-1", "leader")
        for name in {"java-1", "java-2", "python-1", "python-2"} - fleet.workers.keys():
            fleet.java(name) if name.startswith("java") else fleet.python(name)
        fleet.wait_until_even(0.0)
        with Watch(fleet.leases) as watch, Putting(client, stream, pause=0.5) as putting:
            with Resharder(client, stream, pause=2) as resharder:
                counts = resharder.counts
                fleet.wait(lambda: counts["splits"] >= 2 and counts["merges"] >= 2, "splits and merges")
            still_open, parents = shards_of(client, stream)

            def are_gone() -> bool:
                return {lease.key for lease in fleet.leases.list()} == still_open

            gone_after = fleet.wait(are_gone, "end of the finished leases", 120)
            putting.finish()
            fleet.wait(lambda: putting.acknowledged <= fleet.numbers().keys(), "end of all records")
            time.sleep(8)  # both kinds have looked at the shards and the leases meanwhile
            assert are_gone()
            assert fleet.leader() == f"{leads}-1"
        given, repeated = fleet.given(), fleet.repeated()
    children = {key: {child for child in parents if key in parents[child]} for key in watch.ended}
    print(
        f"\nKCL {versions()['kcl']} and us, led by {leads}: {len(putting.acknowledged)} records, {dict(counts)},"
        f" 0 lost, {len(repeated)} twice; ended by {dict(watch.enders)}; finished leases gone {gone_after:.1f} s after"
        f" the last; {time.monotonic() - began:.0f} s"
    )
    assert len(putting.acknowledged) >= RECORDS
    assert not repeated
    assert not early_children(given, parents)
    assert {key: set(lease.children) for key, lease in watch.ended.items()} == children
    assert not watch.revived
