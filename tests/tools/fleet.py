"""A fleet of engines on a fake Kinesis and one store of leases, which workers join and leave at any moment.

Calls take effect at once or some moments later, batches stay in hand for a while, and the stream splits and merges.
Everything that happens is decided by one seed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Any

from consumer_bench import STREAM, Stream, Worker

import shardpack as sp
from shardpack.aws.streams import ALL_SHARDS, list_shards
from shardpack.consumer import Leases
from shardpack.consumer.core.actions import ReleaseLease
from shardpack.consumer.core.holding.delivered import Delivered

_LONGEST_CALL = 1.5  # seconds; far from the failover time, so that no lease expires
_LONGEST_BATCH = 6.0


@dataclass(eq=False)
class Member:
    """A worker, and what its application has in hand until when."""

    worker: Worker
    in_hand: list[tuple[float, Delivered]] = field(default_factory=list)
    is_leaving: bool = False


class Fleet:
    """Workers that share a stream.

    Args:
        seed: of all chance.
        shards: how many the stream has.
        leases: the store; None: one in memory.
        settings: of the workers.

    Attributes:
        handled: (shard id, position) of every user record that an application was given, in that order.
        handed_over: how many leases were let go for somebody who had asked, or were given away.
        excused: of the user records that a killed worker had handled and not checkpointed.
    """

    def __init__(self, seed: int, shards: int = 4, leases: Leases | None = None, **settings: Any) -> None:
        self.dice = Random(seed)
        self.stream = Stream(shards)
        if leases is not None:
            leases.prepare()
            self.stream.leases = leases
        self.members: list[Member] = []
        self.handled: list[tuple[str, sp.Position]] = []
        self.excused: set[tuple[str, sp.Position]] = set()
        self.was_killed = False
        self.handed_over = 0
        self.count = 0
        self.put_count = 0
        self.settings = settings

    # What happens.

    def join(self) -> Member:
        self.count += 1
        settings = {"batch_max_records": self.dice.choice([3, 50, 10_000]), **self.settings}
        worker = self.stream.worker(f"worker-{self.count:03}", **settings)
        worker.holds_back = lambda _: self.dice.random() < 0.2
        member = Member(worker)
        self.members.append(member)
        return member

    def leave(self, member: Member) -> None:
        """As SIGTERM has it: the batches in hand are finished, and the consumer is closed."""
        member.is_leaving = True

    def kill(self, member: Member) -> None:
        """As `kill -9` has it: its calls may have had their effect, or not."""
        self.was_killed = True
        self.members.remove(member)
        checkpoints = {lease.key: lease.checkpoint for lease in self.stream.leases.list()}
        for shard_id, position in self.handled:
            if shard_id in {hold.lease.key for hold in member.worker.engine.holds} and position > checkpoints[shard_id]:
                self.excused.add((shard_id, position))

    def put(self, count: int) -> None:
        for _ in range(count):
            self.put_count += 1
            hash_key = self.dice.randrange(2**128)
            self.stream.put(b"%d" % self.put_count, hash_key=hash_key)

    def reshard(self) -> None:
        is_open = [one for one in self._listing() if "EndingSequenceNumber" not in one["SequenceNumberRange"]]
        is_open.sort(key=lambda one: int(one["HashKeyRange"]["StartingHashKey"]))
        at = self.dice.randrange(len(is_open))
        if len(is_open) < 6:
            self.stream.kinesis.autoscale(is_open[at]["ShardId"])
        elif at + 1 < len(is_open):
            left, right = (one["ShardId"] for one in is_open[at : at + 2])
            self.stream.kinesis.merge_shards(**STREAM, ShardToMerge=left, AdjacentShardToMerge=right)

    def pass_time(self, seconds: float, step: float = 0.25) -> None:
        until = self.stream.now + seconds
        while self.stream.now < until:
            self.stream.clock.advance(step)
            for member in self.dice.sample(self.members, len(self.members)):
                self._look(member)

    def finish(self, patience: float = 300.0) -> None:
        """Let everybody work until everything is handled, and then leave."""
        if all(member.is_leaving for member in self.members):
            self.join()
        until = self.stream.now + patience
        while len(set(self.handled)) < self.put_count or any(member.is_leaving for member in self.members):
            assert self.stream.now < until, f"{self.put_count - len(set(self.handled))} are not handled"
            self.pass_time(1.0)
        for member in self.members:
            self.leave(member)
        while self.members:
            assert self.stream.now < until + 60, "a worker does not end"
            self.pass_time(1.0)

    # What must be so.

    def check(self) -> None:
        """Everything once and in order, but for what killed workers had not checkpointed."""
        counts = Counter(self.handled)
        stored = {(str(one.shard_id), one.position) for one in sp.unpack(self.stream.kinesis.records()) if one.position}
        assert set(counts) == stored
        assert {one for one, count in counts.items() if count > 1} <= self.excused
        first = {one: place for place, one in reversed(list(enumerate(self.handled)))}
        by_shard: defaultdict[str, list[sp.Position]] = defaultdict(list)
        for shard_id, position in sorted(first, key=lambda one: first[one]):
            by_shard[shard_id].append(position)
        assert all(positions == sorted(positions) for positions in by_shard.values()), "out of order"
        for one in self._listing():
            for name in ("ParentShardId", "AdjacentParentShardId"):
                self._check_parent(one["ShardId"], one.get(name), first)
        left = [
            lease for lease in self.stream.leases.list() if lease.owner and lease.checkpoint != sp.Position.SHARD_END
        ]
        assert not left or self.was_killed, "leases are left to workers that have ended"

    def _check_parent(self, child: str, parent: str | None, first: dict[tuple[str, sp.Position], int]) -> None:
        of_parent = [place for (shard_id, _), place in first.items() if shard_id == parent]
        of_child = [place for (shard_id, _), place in first.items() if shard_id == child]
        assert not of_parent or not of_child or max(of_parent) < min(of_child), "a child was begun before its parent"

    def counts(self) -> list[int]:
        """How many leases each worker holds."""
        return sorted(len(member.worker.held) for member in self.members)

    # One worker's turn.

    def _look(self, member: Member) -> None:
        worker, now = member.worker, self.stream.now
        worker.step()
        assert worker.engine.fatal is None, worker.engine.fatal
        if self.dice.random() < 0.25 / _LONGEST_CALL * 2:
            worker.release()
        for due, delivered in list(member.in_hand):
            if due <= now or member.is_leaving:
                member.in_hand.remove((due, delivered))
                self._finish(worker, delivered)
        if not member.is_leaving:
            self._take(member, now)
        elif not member.in_hand:
            worker.engine.close()
        worker.step()
        if worker.engine.is_closed:
            self.members.remove(member)
            self.handed_over += self._let_go(worker)

    def _let_go(self, worker: Worker) -> int:
        releases = [action for _, action in worker.calls if isinstance(action, ReleaseLease)]
        return sum(action.to is not None or action.lease.checkpoint_owner is not None for action in releases)

    def _take(self, member: Member, now: float) -> None:
        while len(member.in_hand) < 3 and (delivered := member.worker.engine.next_batch(now)) is not None:
            shard_id = delivered.hold.lease.key
            self.handled += [(shard_id, record.position) for record in delivered.records if record.position]
            seconds = self.dice.choice([0.0, 0.0, 0.5, _LONGEST_BATCH])
            member.in_hand.append((now + seconds, delivered))

    def _finish(self, worker: Worker, delivered: Delivered) -> None:
        if delivered.records and delivered.hold in worker.engine.holds:
            worker.engine.checkpoint(delivered.hold, delivered.hold.delivered or sp.Position.TRIM_HORIZON, None)
        worker.engine.done(delivered.hold)

    def _listing(self) -> list[dict[str, Any]]:
        return list_shards(self.stream.kinesis, STREAM, ALL_SHARDS)


def run(
    seed: int,
    *,
    kills: bool,
    moments: int = 40,
    shards: int = 4,
    leases: Leases | None = None,
    leaves_some: bool = False,
) -> Fleet:
    """A fleet's life of so many events, checked; whether leases may be left to a worker that could not give them up."""
    fleet = Fleet(seed, shards, leases)
    fleet.was_killed = leaves_some
    return live(fleet, kills=kills, moments=moments)


def live(fleet: Fleet, *, kills: bool, moments: int) -> Fleet:
    """The same of a fleet that is there already."""
    dice = fleet.dice
    fleet.join()
    for _ in range(moments):
        staying = [member for member in fleet.members if not member.is_leaving]
        event = dice.choice(["join", "leave", "put", "put", "reshard", "wait", "wait", "kill"])
        if event == "join" and len(staying) < 4:
            fleet.join()
        elif event == "leave" and staying:
            fleet.leave(dice.choice(staying))
        elif event == "kill" and kills and fleet.members:
            fleet.kill(dice.choice(fleet.members))
        elif event == "reshard":
            fleet.reshard()
        elif event == "put":
            fleet.put(dice.randrange(1, 30))
        fleet.pass_time(dice.choice([0.25, 1.0, 5.0, 15.0]))
    fleet.finish()
    fleet.check()
    return fleet
