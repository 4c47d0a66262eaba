"""What leases cost in DynamoDB: 1,000 of them and three workers on a real table, counted in the units that AWS bills.

``python tests/tools/lease_cost.py`` prints, for workers that take leases and for workers that are led, how long it
takes until all have their shares, and how many units a second that and the quiet time after it cost, beside what a
fleet of KCL 3.5.1 costs by its source. The workers are whole `Consumer`s, the table is DynamoDB Local's, and Kinesis is
played here: a stream whose shards hold nothing.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import servers

import shardpack as sp
from shardpack.consumer import ConsumerConfig, FleetConfig, Lease
from shardpack.limits import MAX_HASH_KEY

_MONTH = 30 * 86_400
_DOLLARS = {"reads": 0.125e-6, "writes": 0.625e-6}  # a request unit on demand, us-east-1, since November 2024
_READS = {"Scan", "Query", "GetItem", "DescribeTable"}
_MOST = 120.0  # seconds until all must have their shares


class Bill:
    """The units that calls of DynamoDB cost, as the server tells them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.units: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()

    def count(self, client: Any) -> None:
        """Count what this client does from now on."""
        client.meta.events.register("provide-client-params.dynamodb", self._ask)
        client.meta.events.register("after-call.dynamodb", self._note)

    def take(self) -> tuple[Mapping[str, float], Counter[str]]:
        """Units and calls by operation since this was last asked."""
        with self._lock:
            taken = self.units, self.calls
            self.units, self.calls = defaultdict(float), Counter()
        return taken

    def _ask(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if "ReturnConsumedCapacity" in model.input_shape.members:
            params["ReturnConsumedCapacity"] = "TOTAL"

    def _note(self, model: Any, parsed: dict[str, Any], **_: Any) -> None:
        with self._lock:
            self.calls[model.name] += 1
            # A write whose condition fails is billed too, and the answer does not tell it.
            units = parsed.get("ConsumedCapacity", {}).get("CapacityUnits")
            self.units[model.name] += units if units is not None else float("Error" in parsed)


class EmptyStream:
    """A Kinesis client whose stream has many shards, and nothing in them."""

    def __init__(self, shards: int) -> None:
        width = (MAX_HASH_KEY + 1) // shards
        self._shards = [
            {
                "ShardId": f"shardId-{number:012}",
                "HashKeyRange": {
                    "StartingHashKey": str(number * width),
                    "EndingHashKey": str(MAX_HASH_KEY if number == shards - 1 else (number + 1) * width - 1),
                },
                "SequenceNumberRange": {
                    "StartingSequenceNumber": f"{49_590_338_271_490_256_608_559 + number}" + "0" * 33
                },
            }
            for number in range(shards)
        ]

    def list_shards(self, **_: Any) -> dict[str, Any]:
        return {"Shards": self._shards}

    def get_shard_iterator(self, **_: Any) -> dict[str, Any]:
        return {"ShardIterator": "here"}

    def get_records(self, **_: Any) -> dict[str, Any]:
        return {"Records": [], "NextShardIterator": "here", "MillisBehindLatest": 0}


class Fleet:
    """The workers, and what they cost.

    Attributes:
        workers: by name.
    """

    def __init__(
        self, url: str, table: str, shards: int, assignment: Literal["take", "leader"], failover: float
    ) -> None:
        self.bill = Bill()
        self.workers: dict[str, sp.Consumer] = {}
        self._url = url
        self._table = table
        self._shards = shards
        self._config = ConsumerConfig(
            failover_time=failover,
            lease_assignment=assignment,
            fleet=FleetConfig(strategy="lease_count_based"),
            idle_time_between_reads=10.0,  # nothing is read, and this machine is to count
        )
        self._most = max(_MOST, 10 * failover)
        self._dead: set[str] = set()

    def join(self, name: str) -> None:
        """A worker begins."""
        client = servers.client("dynamodb", self._url, max_pool_connections=10)
        self.bill.count(client)
        client.meta.events.register("before-call.dynamodb", lambda **_: self._check_alive(name))
        leases = sp.DynamoDBLeases(self._table, client=client, retry_for=1.0)
        stream: Any = EmptyStream(self._shards)
        worker = sp.Consumer("s", leases=leases, client=stream, worker_id=name, config=self._config)
        self.workers[name] = worker
        threading.Thread(target=worker.next_batch, daemon=True).start()

    def leave(self, name: str) -> None:
        """A worker ends in order."""
        self.workers.pop(name).close()

    def kill(self, name: str) -> None:
        """A worker is cut off from the table, which is all that a kill is to the others."""
        self._dead.add(name)
        threading.Thread(target=self.workers.pop(name).close, daemon=True).start()

    def close(self) -> None:
        """All are cut off, which takes no time."""
        for name in list(self.workers):
            self.kill(name)

    def counts(self) -> list[int]:
        """How many leases each holds."""
        return [len(worker.millis_behind_latest) for worker in self.workers.values()]

    def until_even(self) -> float:
        """Seconds until every lease is held, and evenly."""
        began = time.monotonic()
        while sum(counts := self.counts()) != self._shards or max(counts) - min(counts) > 1:
            if time.monotonic() - began > self._most:
                raise TimeoutError(f"after {self._most:g} s the workers hold {counts}")
            time.sleep(0.1)
        return time.monotonic() - began

    def settle(self) -> None:
        """Let everybody look at all leases once more, and count nothing of it."""
        time.sleep(1.5 * self._config.failover_time)
        self.bill.take()

    def _check_alive(self, name: str) -> None:
        if name in self._dead:
            raise ConnectionError("cut off")


def cost(units: Mapping[str, float], seconds: float) -> tuple[float, float]:
    """Read and write units a second."""
    reads = sum(count for name, count in units.items() if name in _READS)
    return reads / seconds, (sum(units.values()) - reads) / seconds


def line(what: str, seconds: float, units: Mapping[str, float], calls: Counter[str]) -> str:
    """One row of what is printed."""
    reads, writes = cost(units, seconds)
    named = ", ".join(
        f"{name} {count / seconds:.1f}" for name, count in sorted(calls.items()) if count / seconds >= 0.05
    )
    return f"  {what:<34} {seconds:5.1f} s  {reads:7.1f} reads/s {writes:7.1f} writes/s   calls a second: {named}"


def kcl_3_5_1(leases: int, workers: int, item_bytes: float, failover: float, *, is_led: bool) -> tuple[float, float]:
    """Read and write units a second of a fleet of the KCL that is quiet, by its source, at its other defaults.

    Every worker renews each of its leases in a third of the failover time less 25 ms
    (``getRenewerTakerIntervalMillis``). Where it takes, every worker scans the table in twice that time and 50 ms
    (``takerIntervalMillis``). Where it is led, the leader scans in twice that time (``leaseAssignmentIntervalMillis``),
    every worker asks the index for its leases once in it (``leaseDiscovererIntervalMillis``) and writes its metrics
    each 30 s, as the leader writes its heartbeat. In both, the leader scans once more each 120 s
    (``PeriodicShardSyncManager``). Scans and the index are not read consistently.
    """
    scan = leases * item_bytes / 4096 / 2
    index = -(-leases / workers * 80 // 4096) / 2
    writes = leases / (failover / 3 - 0.025)
    reads = scan / 120
    if not is_led:
        return reads + workers * scan / (2 * failover + 0.05), writes
    return reads + scan / (2 * failover) + workers * index / (failover - 0.025), writes + (workers + 1) / 30


def units_of_calls(url: str, leases: int, workers: int) -> dict[str, float]:
    """What a call of each kind costs, with so many leases of so many workers in the table."""
    client = servers.client("dynamodb", url)
    store = sp.DynamoDBLeases("units", client=client)
    position = sp.Position("49590338271490256608559692538361571095921575989136588898", 7)
    store.prepare()
    for number, shard in enumerate(EmptyStream(leases).list_shards()["Shards"]):
        whole = (int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"]))
        made = Lease(shard["ShardId"], owner=f"worker-{number % workers}", hash_range=whole, origin=f"s/{'4' * 56}")
        store.create(replace(made, checkpoint=position, done_until=1_795_876_354, throughput=123.456789))
    (lease,) = store.list()[:1]
    bill, found = Bill(), dict[str, float]()
    bill.count(client)
    calls: dict[str, Callable[[], object]] = {
        "listing all leases": store.list,
        "finding a worker's leases": lambda: store.assigned("worker-0"),
        "renewing one": lambda: store.renew(lease),
        "a checkpoint": lambda: store.checkpoint(store.list()[0], position),  # its list is not counted below
    }
    for name, call in calls.items():
        call()
        found[name] = sum(count for operation, count in bill.take()[0].items() if name[0] != "a" or operation != "Scan")
    return found


def ours(leases: int, workers: int, units: Mapping[str, float], config: ConsumerConfig) -> tuple[float, float]:
    """Read and write units a second of a quiet fleet of this, by its settings and by what the calls cost."""
    writes = leases * units["renewing one"] / (config.failover_time / 3)
    reads = workers * units["finding a worker's leases"] / config.lease_discovery_interval
    if config.lease_assignment == "take":
        return reads + workers * units["listing all leases"] / config.failover_time, writes
    fleet = config.fleet
    reads += units["listing all leases"] / (fleet.assignment_interval or config.failover_time)
    reads += workers * (1 / fleet.leader_heartbeat + 2 / config.shard_sync_interval)  # the lock, and the two states
    return reads, writes + workers / fleet.reporting_interval + 1 / fleet.leader_heartbeat


def tell_cost(costs: Mapping[str, tuple[float, float]]) -> None:
    """Print what quiet fleets cost."""
    for who, (read, written) in costs.items():
        dollars = _MONTH * (read * _DOLLARS["reads"] + written * _DOLLARS["writes"])
        print(f"    {who:<28} {read:6.1f} reads/s {written:6.1f} writes/s: ${dollars:,.0f} in 30 days on demand")


def measure(url: str, assignment: Literal["take", "leader"], arguments: argparse.Namespace) -> None:
    """Print one way of sharing."""
    leases, workers, failover = arguments.leases, arguments.workers, arguments.failover_time
    fleet = Fleet(url, f"leases-{assignment}", leases, assignment, failover)
    print(f"{leases:,} leases, {workers} workers, lease_assignment={assignment!r}, failover_time={failover:g}")
    for number in range(workers):
        fleet.join(f"worker-{number}")
    print(line("all begin at once, on no table", fleet.until_even(), *fleet.bill.take()))
    fleet.settle()
    before = fleet.counts()
    time.sleep(arguments.quiet)
    units, calls = fleet.bill.take()
    print(line("quiet" if fleet.counts() == before else "NOT QUIET", arguments.quiet, units, calls))
    table = servers.client("dynamodb", url).describe_table(TableName=f"leases-{assignment}")["Table"]
    item_bytes = table["TableSizeBytes"] / max(1, table["ItemCount"])
    each = 60 * calls.total() / arguments.quiet / leases
    print(f"    an item has {item_bytes:.0f} bytes; calls for a lease in a minute: {each:.1f}")
    tell_cost({"as it was counted": cost(units, arguments.quiet)})
    if not arguments.short:
        fleet.join("late")
        print(line("one joins", fleet.until_even(), *fleet.bill.take()))
        fleet.settle()
        began = time.monotonic()
        fleet.leave("worker-0")
        fleet.until_even()
        print(line("one leaves in order", time.monotonic() - began, *fleet.bill.take()))
        fleet.settle()
        fleet.kill("worker-1")
        print(line("one is killed", fleet.until_even(), *fleet.bill.take()))
    fleet.close()


def tell_settings(url: str, arguments: argparse.Namespace) -> None:
    """Print what calls cost, and so a quiet fleet whose calls come when they should."""
    leases, workers, failover = arguments.leases, arguments.workers, arguments.failover_time
    units = units_of_calls(url, leases, workers)
    print(f"units of a call with {leases:,} leases: " + ", ".join(f"{name} {count:g}" for name, count in units.items()))
    item_bytes = 4096 * units["listing all leases"] / leases
    ways: tuple[Literal["take", "leader"], ...] = ("take", "leader")
    for assignment in ways:
        config = ConsumerConfig(lease_assignment=assignment, failover_time=failover)
        theirs = kcl_3_5_1(leases, workers, item_bytes, failover, is_led=assignment == "leader")
        print(f"quiet, {workers} workers, lease_assignment={assignment!r}, by the settings and these units")
        tell_cost({"this": ours(leases, workers, units, config), "KCL 3.5.1": theirs})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leases", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--failover-time", type=float, default=10.0)
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds to count in while nothing happens")
    parser.add_argument("--assignment", choices=["take", "leader"], action="append")
    parser.add_argument("--short", action="store_true", help="begin and be quiet, and let nobody come or go")
    parser.add_argument("--settings", action="store_true", help="only what calls cost, and what follows from it")
    parser.add_argument("--server", choices=["dynamodb-local", "dynalite"], default="dynamodb-local")
    arguments = parser.parse_args()
    logging.getLogger("shardpack.consumer").setLevel(logging.CRITICAL)  # who is cut off says so
    server = servers.dynalite if arguments.server == "dynalite" else servers.dynamodb_local
    with server() as url:
        tell_settings(url, arguments)
        if arguments.settings:
            return 0
        for assignment in arguments.assignment or ["take", "leader"]:
            measure(url, assignment, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
