"""The producer's metrics as OpenTelemetry instruments, where its API is installed (extra ``otel``)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from ..core.metrics import Report

_logger = logging.getLogger("shardpack.producer")

# name: (level, kind, unit, what it counts). Names and levels are the KPL's (metrics.md in its repository).
_INSTRUMENTS = {
    "UserRecordsReceived": ("detailed", "counter", "{record}", "User records taken by put."),
    "UserRecordsPending": ("detailed", "up_down_counter", "{record}", "User records on their way."),
    "UserRecordsPut": ("summary", "counter", "{record}", "User records delivered."),
    "UserRecordsDataPut": ("detailed", "counter", "By", "Data of the user records delivered."),
    "KinesisRecordsPut": ("summary", "counter", "{record}", "Kinesis records delivered."),
    "KinesisRecordsDataPut": ("detailed", "counter", "By", "Data of the Kinesis records delivered."),
    "UserRecordExpired": ("summary", "counter", "{record}", "User records that the record_ttl ended."),
    "ErrorsByCode": ("summary", "counter", "{error}", "Failed attempts to store a Kinesis record, by error code."),
    "AllErrors": ("summary", "counter", "{error}", "Failed attempts to store a Kinesis record."),
    "RetriesPerRecord": ("detailed", "histogram", "{retry}", "Calls after the first, for each Kinesis record."),
    "BufferingTime": ("summary", "histogram", "ms", "From put to the first call, for each Kinesis record."),
    "RequestTime": ("detailed", "histogram", "ms", "Duration of PutRecords calls."),
    "UserRecordsPerKinesisRecord": ("detailed", "histogram", "{record}", "User records in a Kinesis record."),
    "DataPerKinesisRecord": ("detailed", "histogram", "By", "Data in a Kinesis record."),
    "KeysAstray": ("detailed", "up_down_counter", "{key}", "Partition keys that do not go home, with ordering."),
    "KinesisRecordsPerPutRecordsRequest": ("detailed", "histogram", "{record}", "Kinesis records in a call."),
    "UserRecordsPerPutRecordsRequest": ("detailed", "histogram", "{record}", "User records in a call."),
}

METRIC_NAMES = tuple(_INSTRUMENTS)
"""The KPL's names of the metrics, and two that it lacks: DataPerKinesisRecord and KeysAstray.

OpenTelemetry's names have no case, and its SDK writes them in small letters.
"""


class MetricsSettings(Protocol):
    """What the settings of a producer or a consumer say about metrics."""

    @property
    def metrics_level(self) -> str:
        """``"none"``, ``"summary"`` or ``"detailed"``."""

    @property
    def metrics_granularity(self) -> str:
        """``"global"``, ``"stream"`` or ``"shard"``."""


def instruments(
    stream_name: str,
    config: MetricsSettings,
    meter_provider: Any = None,
    table: Mapping[str, tuple[str, str, str, str]] = _INSTRUMENTS,
) -> Report | None:
    """Where to report to, or None: by ``metrics_level``, or because OpenTelemetry is not installed.

    Args:
        stream_name: the stream's name or ARN.
        config: the settings.
        meter_provider: an OpenTelemetry ``MeterProvider``; None: the global one.
        table: level, kind, unit and description of each metric, by name.
    """
    if config.metrics_level == "none":
        return None
    try:
        from opentelemetry import metrics
    except ImportError:
        return None
    return _Instruments(metrics.get_meter("shardpack", meter_provider=meter_provider), stream_name, config, table)


class _Instruments:
    def __init__(
        self, meter: Any, stream_name: str, config: MetricsSettings, table: Mapping[str, tuple[str, str, str, str]]
    ) -> None:
        self._granularity = config.metrics_granularity
        name = stream_name.rpartition("/")[2]  # of an ARN
        self._shared = {} if self._granularity == "global" else {"StreamName": name}
        self._adding: dict[str, Any] = {}
        self._recording: dict[str, Any] = {}
        for metric, (level, kind, unit, description) in table.items():
            if level == "summary" or config.metrics_level == "detailed":
                created = getattr(meter, f"create_{kind}")(metric, unit=unit, description=description)
                (self._recording if kind == "histogram" else self._adding)[metric] = created

    def add(self, name: str, amount: int, shard_id: str | None = None, error_code: str | None = None) -> None:
        if name in self._adding:
            try:
                self._adding[name].add(amount, self._attributes(shard_id, error_code))
            except Exception:  # counting must not stop what is counted
                del self._adding[name]
                _logger.exception("OpenTelemetry does not take %s, so it gets no more of it", name)

    def record(self, name: str, value: float, shard_id: str | None = None) -> None:
        if name in self._recording:
            try:
                self._recording[name].record(value, self._attributes(shard_id))
            except Exception:  # as in `add`
                del self._recording[name]
                _logger.exception("OpenTelemetry does not take %s, so it gets no more of it", name)

    def _attributes(self, shard_id: str | None, error_code: str | None = None) -> dict[str, str]:
        attributes = dict(self._shared)
        if shard_id is not None and self._granularity == "shard":
            attributes["ShardId"] = shard_id
        if error_code is not None:
            attributes["ErrorCode"] = error_code
        return attributes
