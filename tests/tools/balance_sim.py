"""Many leases and many workers on a fake clock: how long until all have their shares, and what it costs.

``python tests/tools/balance_sim.py --leases 10000 --workers 100`` prints it, for workers that take leases and for
workers that are led. Each worker is a `Coordinator`, which decides on taking, asking, assigning and finding; the
holders' part (to renew, and to let go when they are asked) is played here. The calls are counted as DynamoDB bills
them: a write unit for each write, a read unit for each 4 KiB that is read consistently, and half of one for each 4 KiB
of the index.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from led_leases import LedLeases

import shardpack as sp
from shardpack.consumer import ConsumerConfig, FleetConfig, Lease
from shardpack.consumer.core.actions import (
    Action,
    FindLeases,
    GetLease,
    LeaseAction,
    ListLeases,
    ListShards,
)
from shardpack.consumer.core.fleet.actions import MemberAction, ReadLock, ReadState, SurveyFleet
from shardpack.consumer.core.fleet.member import Member
from shardpack.consumer.core.sharing.coordinator import Coordinator
from shardpack.consumer.shells.driving.calls import call_leases
from shardpack.consumer.start import Start

_ITEM_BYTES = 400
_INDEX_BYTES = 100
_PAGE = 4096


@dataclass(eq=False)
class Player:
    """A worker: its decisions, and the leases that it holds."""

    name: str
    coordinator: Coordinator
    held: dict[str, Lease] = field(default_factory=dict)


class Balance:
    """The store, the clock, and the workers.

    Attributes:
        now: seconds.
        units: read and write units, by what for.
        moves: how often each lease has come to another worker.
    """

    def __init__(self, leases: int, config: ConsumerConfig, seed: int = 0) -> None:
        self.config = config
        self.now = 0.0
        self.units: defaultdict[str, float] = defaultdict(float)
        self.moves: Counter[str] = Counter()
        self.players: list[Player] = []
        self._random = Random(seed)
        self._store = sp.MemoryLeases() if config.lease_assignment == "take" else LedLeases(lambda: self.now)
        self._names = itertools.count()
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        for number in range(leases):
            self._store.create(Lease(f"shardId-{number:012}"))

    def join(self) -> Player:
        name = f"worker-{next(self._names):04}"
        random = Random(self._random.random())
        member = Member(name, self.config, random) if isinstance(self._store, LedLeases) else None
        player = Player(name, Coordinator("s", name, self.config, Start(), random, member))
        self.players.append(player)
        self._at(self.now + self._random.random(), lambda: self._look(player))
        self._at(self.now + self._random.random(), lambda: self._renew(player))
        return player

    def kill(self, player: Player) -> None:
        self.players.remove(player)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            self.now, _, what = heapq.heappop(self._due)
            what()
        self.now = until

    def spread(self) -> tuple[int, int]:
        """The fewest and the most leases that a worker holds."""
        counts = [len(player.held) for player in self.players]
        return min(counts), max(counts)

    def until_even(self, leases: int, most: float) -> float:
        """Seconds until everything is held, and evenly."""
        began = self.now
        while sum(len(player.held) for player in self.players) != leases or self.spread()[1] - self.spread()[0] > 1:
            assert self.now - began < most, f"after {most:g} s the workers hold {self.spread()}"
            self.run(1.0)
        return self.now - began

    def _at(self, moment: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._due, (moment, next(self._order), what))

    def _look(self, player: Player) -> None:
        if player not in self.players:
            return
        for _ in range(50):
            actions = player.coordinator.poll(self.now)
            if not actions:
                break
            for action in actions:
                self._do(player, action)
        deadline = player.coordinator.deadline()
        self._at(max(self.now + 0.05, self.now + 1.0 if deadline is None else deadline), lambda: self._look(player))

    def _do(self, player: Player, action: Action) -> None:
        coordinator = player.coordinator
        if isinstance(action, ListShards):
            coordinator.shards_listed([], self.now)
            return
        assert isinstance(action, LeaseAction)
        answer: Any = call_leases(self._store, action, self.now)
        self._bill(action, answer)
        if isinstance(action, GetLease):
            coordinator.seen(action.key, answer, self.now)
        else:
            coordinator.answered(action, answer, self.now)
        if isinstance(answer, Lease) and answer.owner == player.name and answer.checkpoint_owner is None:
            self._hold(player, answer)

    def _hold(self, player: Player, lease: Lease) -> None:
        if lease.key not in player.held and lease.counter > 0:
            self.moves[lease.key] += 1
            player.held[lease.key] = lease
            player.coordinator.held.add(lease.key)

    def _bill(self, action: Action, answer: Any) -> None:
        if isinstance(action, ListLeases | SurveyFleet):
            items = len(answer) if isinstance(action, ListLeases) else len(answer.leases) + len(answer.workers)
            self.units["reads to list"] += -(-items * _ITEM_BYTES // _PAGE)
        elif isinstance(action, FindLeases):
            self.units["reads to find"] += max(1, -(-len(answer) * _INDEX_BYTES // _PAGE)) / 2
        elif isinstance(action, GetLease):
            self.units["reads to find"] += 1
        elif isinstance(action, ReadState | ReadLock):
            self.units["reads to agree"] += 2 if isinstance(action, ReadState) else 1
        elif isinstance(action, MemberAction):
            self.units["writes to agree"] += 1
        else:
            self.units["writes to move"] += 1

    def _renew(self, player: Player) -> None:
        if player not in self.players:
            return
        for key in list(player.held):
            row = self._store.get(key)
            self.units["writes to renew"] += 1
            if row is not None and row.checkpoint_owner == player.name:
                self._store.release(row)
            elif row is not None and row.owner == player.name:
                player.held[key] = self._store.renew(row)
                continue
            del player.held[key]
            player.coordinator.held.discard(key)
        self._at(self.now + self.config.failover_time / 3, lambda: self._renew(player))


def report(what: str, balance: Balance, leases: int) -> None:
    """Print how long it takes until all have their shares, and what the minute after that costs."""
    seconds = balance.until_even(leases, 2 * balance.config.shard_sync_interval)
    moves = balance.moves.total()
    balance.moves.clear()
    balance.units.clear()
    balance.run(60)
    units = ", ".join(f"{name} {count / 60:,.1f}" for name, count in sorted(balance.units.items()))
    quiet = "nothing moves" if not balance.moves else f"{balance.moves.total()} MOVE"
    print(f"{what:<32} even after {seconds:4.0f} s, {moves:,} moves; then {quiet}; units a second: {units}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leases", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--assignment", choices=["take", "leader"], action="append")
    arguments = parser.parse_args()
    tenth = max(1, arguments.workers // 10)
    for assignment in arguments.assignment or ["take", "leader"]:
        config = ConsumerConfig(lease_assignment=assignment, fleet=FleetConfig(strategy="lease_count_based"))
        balance, began = Balance(arguments.leases, config), time.perf_counter()
        print(f"lease_assignment={assignment!r}, {arguments.leases:,} leases, {arguments.workers} workers")
        for _ in range(arguments.workers):
            balance.join()
        report("all begin at once", balance, arguments.leases)
        for _ in range(tenth):
            balance.join()
        report("a tenth joins", balance, arguments.leases)
        leads = [player for player in balance.players if player.coordinator.member.is_leader(balance.now)]
        for player in [*leads, *(one for one in balance.players if one not in leads)][:tenth]:
            balance.kill(player)
        report("as many are killed, who leads too", balance, arguments.leases)
        print(f"{balance.now:,.0f} simulated seconds in {time.perf_counter() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
