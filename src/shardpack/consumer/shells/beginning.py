"""What the two consumers begin with: arguments that are checked, and an engine."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from ...aws.streams import stream_argument
from ...leases.fleet.states import HasFleet
from ...leases.lease import Leases
from ...limits import check_callable, check_optional, shown
from ...producer.shells.otel import instruments
from ..config import ConsumerConfig
from ..core.engine import Engine
from ..core.fleet.member import Member
from ..metrics import INSTRUMENTS, Metrics
from ..reading.directory import Directory, checked_names
from ..start import Start

Streams: TypeAlias = Iterable[str] | Callable[[], Iterable[str]]


def check_arguments(stream_name: str, leases: object, worker_id: object, config: object) -> None:
    """Refuse what is of another type than it must be, with TypeError, and no stream's name, with ValueError."""
    stream_argument(stream_name)
    if not all(callable(getattr(leases, name, None)) for name in ("list", "create", "take", "renew", "checkpoint")):
        raise TypeError(
            f"leases is {shown(leases)}, of type {type(leases).__name__}; give a store, such as DynamoDBLeases,"
            " SQLiteLeases or MemoryLeases"
        )
    check_optional("worker_id", worker_id, str)
    check_optional("config", config, ConsumerConfig)


def check_hook(on_data_loss: object) -> None:
    """Refuse what cannot be called."""
    if on_data_loss is not None:
        check_callable("on_data_loss", on_data_loss, "a function that takes a DataLoss")


def name_of(stream: Mapping[str, str]) -> str:
    """A stream's name, by how calls name it."""
    return next(iter(stream.values())).rpartition("/")[2]


def directory_of(stream_name: str | None, streams: Streams | None, fan_out: str | None) -> Directory | None:
    """The streams that an application names; None: it names one.

    Raises:
        TypeError, ValueError: it names none, one in two ways, or what is no stream.
    """
    if streams is None:
        if stream_name is None:
            raise TypeError("give the name of a stream, or streams=[...] to read several")
        return None
    if stream_name is not None:
        raise ValueError("stream_name and streams are both given; give one of them")
    if fan_out is not None:
        raise ValueError("fan_out reads one stream; leave it out, or use a consumer for each stream")
    if callable(streams):
        return Directory(streams)
    names = checked_names(streams)  # once, because it may be an iterator
    if not names:
        raise ValueError("streams is empty; name the streams to read, or give a function that finds them")
    return Directory(lambda: names)


def engine_for(
    stream_name: str,
    worker_id: str | None,
    config: ConsumerConfig,
    start: str | datetime,
    start_at: Mapping[str, tuple[str, str]] | None,
    meter_provider: Any,
    leases: Leases,
) -> Engine:
    """An engine for what an application says; a worker without a name gets one that nobody else has.

    Raises:
        ValueError: `start` or `start_at` is no starting position, or the store cannot do what the settings say.
    """
    worker_id = worker_id or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    offset = time.time() - time.monotonic()
    metrics = Metrics(instruments(stream_name, config, meter_provider, INSTRUMENTS))
    start_of = Start.of(start, start_at)
    member = _member(worker_id, config, leases, offset)
    return Engine(stream_name, worker_id, config, start_of, wall_clock_offset=offset, metrics=metrics, member=member)


def _member(worker_id: str, config: ConsumerConfig, leases: Leases, offset: float) -> Member | None:
    if config.lease_assignment == "take":
        return None
    if isinstance(leases, HasFleet):
        return Member(worker_id, config, None, time.process_time, offset)
    if config.lease_assignment == "leader":
        raise ValueError(
            f'lease_assignment is "leader", and {type(leases).__name__} has no place for a leader; use DynamoDBLeases,'
            ' or "take"'
        )
    return None
