"""One worker of a fleet, as its own process: handles user records by writing them down, until SIGTERM or kill -9."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from dataclasses import replace

import servers

import shardpack as sp
from shardpack.consumer import FleetConfig, Leases

QUICK = FleetConfig(
    strategy="lease_count_based",
    reporting_interval=5,
    leader_lease_duration=12,
    leader_heartbeat=2,
    assignment_interval=2,
    balancing_frequency=1,
)
"""A fleet in which a dead leader is found out within seconds, and a new worker too."""


def leases_of(store: str, application: str) -> Leases:
    """A store of leases by its kind and place: ``sqlite:PATH`` or ``dynamodb:URL``."""
    kind, _, where = store.partition(":")
    if kind == "sqlite":
        return sp.SQLiteLeases(where)
    return sp.DynamoDBLeases(application, client=servers.client("dynamodb", where))


def line_of(record: sp.ReceivedRecord) -> str:
    """What is written down of a user record: its place, what its data begins with, which is a number, and the time."""
    number = record.data.partition(b":")[0].decode()
    return f"{record.shard_id} {record.sequence_number} {record.sub_sequence_number} {number} {time.time():.3f}\n"


def write_down_losses(path: str) -> None:
    """Write down each lease that is lost: shard, and the checkpoint from which somebody else reads it now."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(shard_id)s %(sequence_number)s %(sub_sequence_number)s"))
    handler.addFilter(lambda record: "is not held any more" in record.getMessage())
    logger = logging.getLogger("shardpack.consumer")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)


CONFIG = sp.ConsumerConfig(max_leases_to_steal_at_one_time=4, batch_max_records=100, idle_time_between_reads=0.2)


def work(arguments: argparse.Namespace, config: sp.ConsumerConfig, log: int) -> None:
    """With threads, on boto3."""
    client = servers.client("kinesis", arguments.kinesis, max_pool_connections=config.max_connections)
    with sp.Consumer(
        None if arguments.streams else arguments.stream,
        streams=arguments.streams,
        leases=leases_of(arguments.store, arguments.application),
        worker_id=arguments.worker_id,
        config=config,
        client=client,
    ) as consumer:
        signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # see soak_consumer

        def handle(batch: sp.Batch) -> None:
            os.write(log, "".join(map(line_of, batch)).encode())  # at once, so that a kill leaves whole lines

        consumer.run(handler=handle, workers=2)


async def work_async(arguments: argparse.Namespace, config: sp.ConsumerConfig, log: int) -> None:
    """In an event loop, on aiobotocore."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    async with sp.AsyncConsumer(
        None if arguments.streams else arguments.stream,
        streams=arguments.streams,
        leases=leases_of(arguments.store, arguments.application),
        worker_id=arguments.worker_id,
        config=config,
        region_name="us-east-1",
        endpoint_url=arguments.kinesis,
    ) as consumer:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

        async def handle(batch: sp.AsyncBatch) -> None:
            os.write(log, "".join(map(line_of, batch)).encode())

        await consumer.run(handle, workers=2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--stream", "--kinesis", "--store", "--worker-id", "--log"):
        parser.add_argument(name, required=True)
    parser.add_argument("--failover-time", type=float, required=True)
    parser.add_argument("--application", default="soak")
    parser.add_argument("--lease-assignment", choices=("auto", "take", "leader"), default="take")
    parser.add_argument("--streams", nargs="+", help="several streams in the place of one")
    parser.add_argument("--worker-metric", choices=("throughput", "cpu"), default="throughput")
    parser.add_argument("--shell", choices=("threads", "asyncio"), default="threads")
    arguments = parser.parse_args()
    config = replace(CONFIG, failover_time=arguments.failover_time, lease_assignment=arguments.lease_assignment)
    if config.lease_assignment != "take":
        config = replace(config, shard_sync_interval=5, fleet=replace(QUICK, worker_metric=arguments.worker_metric))
    write_down_losses(f"{arguments.log}.lost")
    log = os.open(arguments.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if arguments.shell == "asyncio":
        asyncio.run(work_async(arguments, config, log))
    else:
        work(arguments, config, log)
    return 0


if __name__ == "__main__":
    sys.exit(main())
