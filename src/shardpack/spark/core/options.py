"""The options of the source and of the sink: names, values, defaults, and what is wrong with them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ...aws.streams import stream_argument
from ...limits import KPL_AGGREGATION_MAX_SIZE, MAX_RECORD_BYTES, MIN_RECORD_BYTES, shown
from ...ranges.core.options import MAX_RECORDS, Connection, SourceOptions, Start
from .words import SPARK


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """What rows are put with; docs/spark.md has the table."""

    connection: Connection
    aggregation: bool = True
    route: Literal["shard", "key", "any"] = "shard"
    ordering: Literal["none", "key"] = "none"
    aggregation_max_size: int = KPL_AGGREGATION_MAX_SIZE
    record_ttl: float = 300.0


def source_options(given: Mapping[str, str], *, is_stream: bool | None) -> SourceOptions:
    """The options of ``spark.readStream``, or of ``spark.read``; of either, where it is not known which one it will be.

    Raises:
        ValueError: an option is not known, has a wrong value, or is missing; the message names it and the remedy.
    """
    of_kind = {*(() if is_stream is False else _STREAM), *(() if is_stream else _BATCH)}
    options = _Given(given, _CONNECTION | _SOURCE | of_kind, "read")
    read = SourceOptions(
        connection=_connection(options),
        initial=options.get("initialPosition", position, Start("latest" if is_stream else "trim_horizon")),
        final=options.get("endPosition", position, Start("latest")),
        consumer_mode=options.get("consumerMode", _choice("polling", "efo"), "polling"),
        consumer_name=options.get("consumerName", _text, ""),
        max_records_per_fetch=options.get("maxRecordsPerFetch", _whole(1, MAX_RECORDS), MAX_RECORDS),
        max_fetch_rate=options.get("maxFetchRate", _decimal(0.01, 2.0), 2.0),
        min_fetch_period=options.get("minFetchPeriod", duration, 200) / 1000,
        shard_fetch_interval=options.get("shardFetchInterval", duration, 1000) / 1000,
        fail_on_data_loss=options.get("failOnDataLoss", _flag, True),
        max_rows=options.get("maxRowsPerTrigger", _whole(1, 2**62), None),
        max_bytes=options.get("maxBytesPerTrigger", _whole(1, 2**62), None),
        max_time=options.get("maxTimePerTrigger", duration, None),
        slice_time=options.get("sliceTime", duration, None),
        on_corrupt=options.get("onCorrupt", _choice("raw", "raise", "kcl"), "raw"),
        dynamodb_endpoint=options.get("dynamodbEndpointUrl", _text, None),
    )
    if read.consumer_mode == "efo" and not read.consumer_name:
        raise ValueError('consumerMode is "efo" and there is no consumerName; name the stream consumer to read as')
    if read.final.kind in ("trim_horizon", "leases"):
        raise ValueError(f"endPosition is {shown(given_text(given, 'endPosition'))}; {_WHERE_TO_END}")
    return read


def sink_options(given: Mapping[str, str]) -> SinkOptions:
    """The options of ``df.writeStream`` and ``df.write``.

    Raises:
        ValueError: as `source_options`.
    """
    options = _Given(given, _CONNECTION | {*_SINK}, "write")
    sink = SinkOptions(
        connection=_connection(options),
        aggregation=options.get("aggregation", _flag, True),
        route=options.get("route", _choice("shard", "key", "any"), "shard"),
        ordering=options.get("ordering", _choice("none", "key"), "none"),
        aggregation_max_size=options.get(
            "aggregationMaxSize", _whole(MIN_RECORD_BYTES, MAX_RECORD_BYTES), KPL_AGGREGATION_MAX_SIZE
        ),
        record_ttl=options.get("recordTtl", _lifetime, 300_000) / 1000,
    )
    if sink.ordering == "key" and sink.route == "any":
        raise ValueError(
            "ordering is key and route is any; the records of a key have no order when they go to any shard. Choose"
            " route shard or key, or ordering none"
        )
    return sink


def given_text(given: Mapping[str, str], name: str) -> str | None:
    """An option as it was given, whatever the case of its name."""
    return next((value for key, value in given.items() if key.lower() == name.lower()), None)


_CONNECTION = {
    "streamName",
    "streamARN",
    "region",
    "endpointUrl",
    "awsAccessKey",
    "awsSecretKey",
    "sessionToken",
    "roleArn",
    "roleSessionName",
    "roleExternalId",
    "stsEndpoint",
}
_SOURCE = {
    "initialPosition",
    "consumerMode",
    "consumerName",
    "maxRecordsPerFetch",
    "maxFetchRate",
    "minFetchPeriod",
    "failOnDataLoss",
    "onCorrupt",
    "dynamodbEndpointUrl",
}
_STREAM = ("shardFetchInterval", "maxRowsPerTrigger", "maxBytesPerTrigger", "maxTimePerTrigger")
_BATCH = ("endPosition", "sliceTime")
_SINK = ("aggregation", "route", "ordering", "aggregationMaxSize", "recordTtl")
_OTHER_NAMES = {"awsaccesskeyid": "awsAccessKey", "endpoint": "endpointUrl", "awssessiontoken": "sessionToken"}
_OF_SPARK = {"checkpointlocation", "path", "queryname"}  # Spark hands them over with ours
_WITHOUT_EFFECT = {
    name.lower(): why
    for names, why in {
        "maxFetchDuration fetchBufferSize": "a task reads what its batch has, and hands it on as it comes",
        "shardsPerTask": "a task reads one shard",
        "maxShardsPerDescribe": "shards are listed by the thousand",
        "reuseKinesisClient clientRetries": "a task has one client, and waits out what passes",
        "coalesceThresholdBlockSize coalesce coalesceBinSize": "nothing is kept in blocks",
        "registerConsumerTimeoutInterval consumerRefreshInterval requireConsumerDeregistration consumerNamePrefix": (
            "the stream consumer is the one that consumerName says, and stays registered"
        ),
    }.items()
    for name in names.split()
}


class _Given:
    """The options that were given, checked for unknown ones."""

    def __init__(self, given: Mapping[str, str], known: set[str], use: str) -> None:
        by_name = {name.lower(): name for name in known}
        self._values: dict[str, str] = {}
        for key, value in given.items():
            name = by_name.get(_OTHER_NAMES.get(key.lower(), key).lower())
            if name is not None:
                self._values[name] = value
            elif key.lower() not in _OF_SPARK:
                raise ValueError(_unknown(key, by_name, use))

    def get(self, name: str, parse: Callable[[str], Any], default: Any) -> Any:
        value = self._values.get(name)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError as error:
            raise ValueError(f"the option {name} is {shown(value)}; {error}") from None


def _unknown(key: str, by_name: Mapping[str, str], use: str) -> str:
    if key.lower() in _WITHOUT_EFFECT:
        return f"the option {key} has no meaning here: {_WITHOUT_EFFECT[key.lower()]}. Leave it out"
    everything = {name.lower() for name in (*_CONNECTION, *_SOURCE, *_STREAM, *_BATCH, *_SINK)}
    if key.lower() in everything:
        return f"the option {key} is not one of this {use}; it goes with {_belongs(key.lower())}. Leave it out"
    close = difflib.get_close_matches(key.lower(), by_name, 1)
    hint = f"did you mean {by_name[close[0]]}?" if close else f"the options are {', '.join(sorted(by_name.values()))}"
    return f"there is no option {shown(key)}; {hint}"


def _belongs(key: str) -> str:
    if key in {name.lower() for name in _SINK}:
        return "df.write and df.writeStream"
    if key in {name.lower() for name in _BATCH}:
        return "spark.read"
    return "spark.readStream" if key in {name.lower() for name in _STREAM} else "spark.read and spark.readStream"


def _connection(options: _Given) -> Connection:
    name, arn = options.get("streamName", _text, None), options.get("streamARN", _text, None)
    if name is None and arn is None:
        raise ValueError('there is no option streamName; give the name of the stream: .option("streamName", "clicks")')
    if arn is not None and not arn.startswith("arn:"):
        raise ValueError(
            f"the option streamARN is {shown(arn)}; an ARN begins with arn:, and a name goes in streamName"
        )
    if name is not None and "," in name:
        raise ValueError(
            f"the option streamName is {shown(name)}; a query reads one stream. Read each, and unite them with df.union"
        )
    access_key, secret_key = (options.get(option, _text, None) for option in ("awsAccessKey", "awsSecretKey"))
    if (access_key is None) != (secret_key is None):
        raise ValueError("of the options awsAccessKey and awsSecretKey there is one; give both, or neither of them")
    try:
        stream_argument(arn or str(name))
    except ValueError as error:
        raise ValueError(f"the option {'streamARN' if arn else 'streamName'}: {error}") from None
    return Connection(
        stream=arn or str(name),
        region=options.get("region", _text, None),
        endpoint_url=options.get("endpointUrl", _text, None),
        access_key=access_key,
        secret_key=secret_key,
        session_token=options.get("sessionToken", _text, None),
        role_arn=options.get("roleArn", _text, None),
        role_session_name=options.get("roleSessionName", _text, "shardpack-spark"),
        role_external_id=options.get("roleExternalId", _text, None),
        sts_endpoint=options.get("stsEndpoint", _text, None),
        words=SPARK,
    )


# What a value means. Each raises ValueError with what to give.

_WHERE = (
    "give latest, trim_horizon, earliest, a time such as 2026-07-21T12:30:00Z,"
    ' {"at_timestamp": "2026-07-21T12:30:00Z"}, leases:<DynamoDB table>, or an offset out of Spark\'s checkpoint'
)
_WHERE_TO_END = (
    'give latest, a time such as 2026-07-21T12:30:00Z, {"at_timestamp": "2026-07-21T12:30:00Z"}, or an offset out of'
    " Spark's checkpoint"
)


def position(text: str) -> Start:
    """Where to start or to end."""
    folded = text.strip().lower()
    if folded in ("latest", "trim_horizon"):
        return Start(folded)
    if folded == "earliest":
        return Start("trim_horizon")
    if folded == "at_timestamp":
        raise ValueError('say which time: {"at_timestamp": "2026-07-21T12:30:00Z"}')
    if folded.startswith("leases:") and text.strip()[7:]:
        return Start("leases", table=text.strip()[7:])
    if text.lstrip().startswith("{"):
        return _position_of_json(text)
    return Start("at_timestamp", time=_moment(text))


def _position_of_json(text: str) -> Start:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(_WHERE) from None
    if "shards" in told:
        return Start("offset", offset=told)
    if told.keys() == {"at_timestamp"}:
        return Start("at_timestamp", time=_moment(told["at_timestamp"]))
    raise ValueError(f"times are in ISO 8601, without a format of their own; {_WHERE}" if "format" in told else _WHERE)


_LAST_MOMENT = 253_402_300_799_999  # milliseconds; the end of the year 9999


def _moment(told: object) -> int:
    if isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= _LAST_MOMENT:
        return told
    try:
        moment = datetime.fromisoformat(str(told).strip())
    except ValueError:
        raise ValueError(_WHERE) from None
    if moment.tzinfo is None:
        raise ValueError("it has no time zone; write 2026-07-21T12:30:00Z, or +02:00 in place of the Z")
    return max(0, int(moment.timestamp() * 1000))


_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LEAST_TTL = 100  # milliseconds, of ProducerConfig.record_ttl
_DURATION = re.compile(r"(\d{1,12})\s*(ms|s|m|h|d|milliseconds?|seconds?|minutes?|hours?|days?)")


def duration(text: str) -> int:
    """Milliseconds of a text such as ``10 minutes``, ``30s`` or ``400ms``."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError("give a time such as 400ms, 30s, 10 minutes, 1h or 2 days")
    unit = found[2]
    return int(found[1]) * _UNITS["ms" if unit.startswith(("ms", "milli")) else unit[0]]


def _lifetime(text: str) -> int:
    milliseconds = duration(text)
    if milliseconds < _LEAST_TTL:
        raise ValueError(f"give at least {_LEAST_TTL} ms, or the rows would have failed before they are put")
    return milliseconds


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("give a text that is not empty, or leave it out")
    return text.strip()


def _flag(text: str) -> bool:
    if text.strip().lower() not in ("true", "false"):
        raise ValueError("give true or false")
    return text.strip().lower() == "true"


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip().lower() not in choices:
            raise ValueError(f"choose {', '.join(choices[:-1])} or {choices[-1]}")
        return text.strip().lower()

    return parse


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,19}", text.strip()) or not least <= int(text) <= most:
            raise ValueError(f"give a whole number from {least:,} to {most:,}")
        return int(text)

    return parse


def _decimal(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text.strip()) or not least <= float(text) <= most:
            raise ValueError(f"give a number from {least:g} to {most:g}")
        return float(text)

    return parse
