"""Firehose's data transformation, user record by user record.

Firehose wants every record that it hands to a function back, once, under its ``recordId``. An aggregate is one such
record with many user records inside: each is transformed, and the results are joined into the one output record.
"""

from __future__ import annotations

from _collections_abc import Mapping  # see `values`
from binascii import b2a_base64

from ..errors import DecodeError
from ..limits import MIB, check_callable, check_integer, check_type, shown
from ..unpacking.unpacker import unpack
from ..values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from ..records import ReceivedRecord
    from ..unpacking.unpacker import OnCorrupt

MAX_RESPONSE_BYTES = 6 * MIB
"""What a synchronous invocation may answer ("Lambda quotas")."""


class Transformed(NamedTuple):
    """A user record as it is to be delivered, with keys for dynamic partitioning.

    Attributes:
        data: the bytes to deliver.
        partition_keys: what ``!{partitionKeyFromLambda:name}`` in the destination's prefix stands for, by name.
    """

    data: bytes
    partition_keys: Mapping[str, str]


Transform: TypeAlias = "Callable[[ReceivedRecord], bytes | Transformed | None]"


def transform(
    event: Mapping[str, Any],
    fn: Transform,
    *,
    delimiter: bytes = b"\n",
    on_corrupt: OnCorrupt = "raw",
    max_response_bytes: int = MAX_RESPONSE_BYTES,
) -> dict[str, list[dict[str, Any]]]:
    """Transform the user records of a Firehose event.

    A record comes back as ``Ok`` with the results for its user records; as ``Dropped`` when there are none; and as
    ``ProcessingFailed``, all of it and with a warning in the log, when it cannot be decoded, when ``fn`` raises for
    one of its user records, when their partition keys differ, or when the answer has no room for it. Firehose writes
    failed records, as they came, below the destination's error prefix ("Handle failure in data transformation").

    Args:
        event: what Firehose hands to the function.
        fn: gives the bytes to deliver for a user record, with partition keys if it returns a `Transformed`, or None
            to drop it.
        delimiter: what stands between the results for one aggregate. After the last there is none: let ``fn`` end each
            result with it and give ``b""`` here, or have Firehose append one (``AppendDelimiterToRecord``).
        on_corrupt: as for `unpack`; with ``"raise"`` a corrupt aggregate is ``ProcessingFailed``.
        max_response_bytes: most bytes of the answer as JSON; Lambda takes 6 MiB.

    Returns:
        The function's answer to Firehose ("Required parameters for data transformation").

    Raises:
        DecodeError: the event is none of Firehose's: no ``records``, or one without a ``recordId`` or with another's.
        TypeError: ``fn`` returned something else, or an argument has the wrong type.
        ValueError: ``on_corrupt`` is none of the above.
    """
    check_callable("fn", fn, "a function that takes a user record")
    check_type("delimiter", delimiter, bytes, "bytes, such as b''")
    check_integer("max_response_bytes", max_response_bytes)
    unpack((), on_corrupt=on_corrupt)  # raises now what it would raise at the first record
    records = _records_of(event)
    # What a failed record takes without its data, which is the least that each must be answered with.
    least = [_size(_failed(record_id)) for record_id in records]
    room = max_response_bytes - len('{"records": []}') - sum(least) + len(", ")  # none after the last
    answers = []
    for (record_id, record), reserved in zip(records.items(), least, strict=True):
        answer = _transform(record_id, record, fn, delimiter, on_corrupt)
        size = _size(answer)
        if size - reserved > room:
            if answer["result"] == "Ok":
                remedy = "lower the buffer size of the transformation (BufferSizeInMBs)"
                _log(record_id, f"its {size:,} bytes do not fit into an answer of {max_response_bytes:,}; {remedy}")
            answer = _failed(record_id) | ({"result": "Dropped"} if answer["result"] == "Dropped" else {})
            size = reserved
        room -= size - reserved
        answers.append(answer)
    return {"records": answers}


def _transform(
    record_id: str, record: Mapping[str, Any], fn: Transform, delimiter: bytes, on_corrupt: OnCorrupt
) -> dict[str, Any]:
    """The answer for one record of the event."""
    results: list[bytes] = []
    partition_keys: dict[str, str] = {}
    try:
        for user_record in unpack(_check(record), on_corrupt=on_corrupt):
            result = fn(user_record)
            if result is None:
                continue
            data, keys = _check_result(result)
            if results and keys != partition_keys:
                _log(record_id, f"its user records have different partition keys: {partition_keys} and {keys}")
                return _failed(record_id) | _data_of(record)
            partition_keys = keys
            results.append(data)
    except _ResultError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever fn raises, Firehose must have its record back
        _log(record_id, "it could not be transformed", error)
        return _failed(record_id) | _data_of(record)
    if not results:
        return {"recordId": record_id, "result": "Dropped"} | _data_of(record)
    answer = {"recordId": record_id, "result": "Ok", "data": _base64(delimiter.join(results))}
    return {**answer, "metadata": {"partitionKeys": partition_keys}} if partition_keys else answer


class _ResultError(TypeError):
    """The function is wrong, whatever the record: this goes to the caller, not into the answer."""


def _check_result(result: object) -> tuple[bytes, dict[str, str]]:
    data, keys = result if isinstance(result, Transformed) else (result, {})
    if not isinstance(data, bytes):
        raise _ResultError(f"fn returned {shown(result)}; give bytes, Transformed(bytes, partition_keys) or None")
    if not isinstance(keys, Mapping) or not all(isinstance(text, str) for pair in keys.items() for text in pair):
        raise _ResultError(f"the partition keys {shown(keys)} are not all str, as Firehose takes them")
    return data, dict(keys)


def _records_of(event: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The records of the event by their record id, in their order."""
    given = event.get("records") if isinstance(event, Mapping) else None
    if not isinstance(given, list | tuple):
        raise DecodeError(
            f"an event of type {type(event).__name__} has no list of 'records', as Firehose's transformation events"
            " have; events from Kinesis, with 'Records', go to shardpack.aws_lambda.process"
        )
    records: dict[str, Mapping[str, Any]] = {}
    for number, record in enumerate(given):
        record_id = record.get("recordId") if isinstance(record, Mapping) else None
        if not isinstance(record_id, str):
            raise DecodeError(f"record {number} of the event has no 'recordId' to answer under: {shown(record)}")
        if record_id in records:
            raise DecodeError(
                f"the event has the recordId {shown(record_id)} twice, so one of them would go unanswered"
            )
        records[record_id] = record
    return records


def _check(record: Mapping[str, Any]) -> Mapping[str, Any]:
    if "data" not in record:
        raise DecodeError(f"a record of the event has no 'data', only {', '.join(map(repr, record))}")
    return record


def _failed(record_id: str) -> dict[str, Any]:
    return {"recordId": record_id, "result": "ProcessingFailed"}


def _data_of(record: Mapping[str, Any]) -> dict[str, str]:
    """The data as it came, for an answer."""
    data = record.get("data")
    return {"data": data} if isinstance(data, str) else {}


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()


def _size(answer: Mapping[str, Any]) -> int:
    """Bytes in the JSON of the whole answer; base64 data is left out of the serialising, because none is escaped."""
    data = answer.get("data")
    if isinstance(data, str) and data.isascii() and answer["result"] == "Ok":
        return _json_size({**answer, "data": ""}) + len(data) + len(", ")
    return _json_size(answer) + len(", ")


def _json_size(value: Any) -> int:
    """``len(json.dumps(value))`` of an answer, or of what it holds."""
    if isinstance(value, Mapping):
        return 2 + sum(_json_size(key) + _json_size(one) + 2 for key, one in value.items()) + 2 * max(len(value) - 1, 0)
    if isinstance(value, str) and value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return len(value) + 2
    import json  # not before something has to be escaped: it loads `re`

    return len(json.dumps(value))


def _log(record_id: str, why: str, error: BaseException | None = None) -> None:
    from logging import getLogger  # not before something goes wrong: it costs more than the rest of the import

    getLogger("shardpack.firehose").warning("ProcessingFailed for record %s: %s", record_id, why, exc_info=error)
