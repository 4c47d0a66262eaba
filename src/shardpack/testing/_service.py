"""What stands between a call and a stream: the service's rules for parameters, and botocore's shapes and errors.

botocore is imported inside functions: only who makes a FakeKinesis needs it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

from ..limits import MAX_PARTITION_KEY_CHARACTERS, MAX_RECORD_BYTES, MAX_REQUEST_RECORDS

OPERATIONS = {
    "create_stream": "CreateStream",
    "delete_stream": "DeleteStream",
    "describe_stream_summary": "DescribeStreamSummary",
    "list_shards": "ListShards",
    "put_record": "PutRecord",
    "put_records": "PutRecords",
    "get_shard_iterator": "GetShardIterator",
    "get_records": "GetRecords",
    "split_shard": "SplitShard",
    "merge_shards": "MergeShards",
    "update_max_record_size": "UpdateMaxRecordSize",
    "update_stream_record_distribution_strategy": "UpdateStreamRecordDistributionStrategy",
}
THROTTLED = "ProvisionedThroughputExceededException"

# Parameters that older versions of botocore have not heard of, and that work here all the same.
_RECENT = {"StreamARN", "MaxRecordSizeInKiB", "RecordDistributionStrategy", "StreamModeDetails"}
_SERVER_FAULTS = {"InternalFailure": 500, "InternalFailureException": 500, "ServiceUnavailable": 503}
_CONNECTION_ERRORS = (
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "EndpointConnectionError",
    "ReadTimeoutError",
)


class ServiceError(Exception):
    """An answer with an error code; becomes a botocore ``ClientError`` before a caller sees it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class _Rule:
    """What the service takes for a parameter: the constraints that the API reference prints beside it."""

    low: int | None = None
    high: int | None = None
    pattern: str | None = None
    values: tuple[str, ...] = ()

    def broken_by(self, value: Any) -> str | None:
        size, noun = (value, "value") if isinstance(value, int) else (len(value), "length")
        if self.low is not None and size < self.low:
            return f"Member must have {noun} greater than or equal to {self.low}"
        if self.high is not None and size > self.high:
            return f"Member must have {noun} less than or equal to {self.high}"
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            return f"Member must satisfy regular expression pattern: {self.pattern}"
        if self.values and value not in self.values:
            return f"Member must satisfy enum value set: [{', '.join(self.values)}]"
        return None


_NAME = _Rule(1, 128, r"[a-zA-Z0-9_.-]+")
_RULES = {
    "StreamName": _NAME,
    "StreamARN": _Rule(1, 2048, r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+"),
    "ShardId": _NAME,
    "ShardToSplit": _NAME,
    "ShardToMerge": _NAME,
    "AdjacentShardToMerge": _NAME,
    "ExclusiveStartShardId": _NAME,
    "ShardCount": _Rule(1),
    "MaxRecordSizeInKiB": _Rule(1024, MAX_RECORD_BYTES // 1024),
    "RecordDistributionStrategy": _Rule(values=("AUTO", "USER_PARTITION_KEY")),
    "StreamMode": _Rule(values=("PROVISIONED", "ON_DEMAND")),
    "Data": _Rule(0, MAX_RECORD_BYTES),
    "PartitionKey": _Rule(1, MAX_PARTITION_KEY_CHARACTERS),
    "ExplicitHashKey": _Rule(pattern=r"0|([1-9]\d{0,38})"),
    "NewStartingHashKey": _Rule(pattern=r"0|([1-9]\d{0,38})"),
    "StartingSequenceNumber": _Rule(pattern=r"0|([1-9]\d{0,128})"),
    "SequenceNumberForOrdering": _Rule(pattern=r"0|([1-9]\d{0,128})"),
    "Records": _Rule(1, MAX_REQUEST_RECORDS),
    "Limit": _Rule(1, 10_000),
    "MaxResults": _Rule(1, 10_000),
    "NextToken": _Rule(1, 1_048_576),
    "ShardIterator": _Rule(1, 512),
    "ShardIteratorType": _Rule(
        values=("AFTER_SEQUENCE_NUMBER", "AT_SEQUENCE_NUMBER", "AT_TIMESTAMP", "LATEST", "TRIM_HORIZON")
    ),
    "Type": _Rule(
        values=(
            "AFTER_SHARD_ID",
            "AT_LATEST",
            "AT_TIMESTAMP",
            "AT_TRIM_HORIZON",
            "FROM_TIMESTAMP",
            "FROM_TRIM_HORIZON",
        )
    ),
}


def check(parameters: Mapping[str, Any], path: str = "") -> None:
    """Check the service's own constraints, which boto3 leaves to it.

    Raises:
        ServiceError: ``ValidationException``; the wording is the service's.
    """
    for name, value in parameters.items():
        where = f"{path}{name[0].lower()}{name[1:]}"
        rule = _RULES.get(name)
        broken = None if rule is None else rule.broken_by(value)
        if broken is not None:
            shown = "" if isinstance(value, bytes | list) else f" '{value}'"
            raise ServiceError(
                "ValidationException",
                f"1 validation error detected: Value{shown} at '{where}' failed to satisfy constraint: {broken}",
            )
        if name == "Tags":
            continue  # names of the caller's own
        if name == "Records":
            for number, entry in enumerate(value, 1):
                check(entry, f"{where}.{number}.member.")
        elif isinstance(value, Mapping):
            check(value, f"{where}.")


@functools.cache
def botocore_exceptions() -> ModuleType:
    """The module ``botocore.exceptions``.

    Raises:
        ModuleNotFoundError: botocore is not installed; the message says how to install it.
    """
    try:
        import botocore.exceptions
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "shardpack.testing.FakeKinesis needs botocore: pip install 'shardpack[aws]'", name=error.name
        ) from error
    module: ModuleType = botocore.exceptions
    return module


@functools.cache
def service_model() -> Any:
    """The model of Kinesis in botocore, which every boto3 client carries too."""
    botocore_exceptions()
    import botocore.loaders
    import botocore.model

    description = botocore.loaders.create_loader().load_service_model("kinesis", "service-2")
    return botocore.model.ServiceModel(description, service_name="kinesis")


@functools.cache
def client_exceptions() -> Any:
    """What boto3 has as ``client.exceptions``."""
    botocore_exceptions()
    import botocore.errorfactory

    return botocore.errorfactory.ClientExceptionsFactory().create_client_exceptions(service_model())


def client_meta() -> SimpleNamespace:
    """What simple code asks of ``client.meta``."""
    return SimpleNamespace(
        region_name="us-east-1",
        endpoint_url="https://kinesis.us-east-1.amazonaws.com",
        partition="aws",
        service_model=service_model(),
        method_to_api_mapping=dict(OPERATIONS),
    )


def normalised(operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a call as the service gets them, checked by boto3's own rules.

    Raises:
        ParamValidationError: botocore's, for a parameter that is unknown, missing or of a wrong type.
    """
    from botocore.validate import ParamValidator

    model = service_model()
    if (name := OPERATIONS[operation]) in model.operation_names:
        shape = model.operation_model(name).input_shape
        known = {key: value for key, value in parameters.items() if key in shape.members or key not in _RECENT}
        report = ParamValidator().validate(known, shape)
        if report.has_errors():
            raise botocore_exceptions().ParamValidationError(report=report.generate_report())
    return {
        name: [_with_bytes(entry) for entry in value] if name == "Records" else value
        for name, value in _with_bytes(parameters).items()
    }


def _with_bytes(fields: Mapping[str, Any]) -> dict[str, Any]:
    fields = dict(fields)
    if "Data" in fields:
        data = fields["Data"]
        data = data.read() if hasattr(data, "read") else data
        fields["Data"] = data.encode() if isinstance(data, str) else bytes(data)
    return fields


def seconds(timestamp: Any) -> float:
    """A timestamp in any form that boto3 takes (datetime, seconds, text), as seconds since the epoch, in whole ms."""
    from botocore.utils import parse_to_aware_datetime

    moment: datetime = parse_to_aware_datetime(timestamp)
    return whole_milliseconds(moment.timestamp())


def whole_milliseconds(moment: float) -> float:
    """A moment with the precision of the service's timestamps; not rounded up, as nothing arrives in the future."""
    # First microseconds: whoever asks by a datetime has no more. Then a few on top, for what a clock's steps lose.
    at = datetime.fromtimestamp(moment, UTC) + timedelta(microseconds=50)
    return at.replace(microsecond=at.microsecond // 1000 * 1000).timestamp()


def client_error(code: str, message: str, operation: str) -> BaseException:
    """What boto3 raises for an error code: a ``ClientError``, of the modeled class where there is one."""
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": response_metadata(_SERVER_FAULTS.get(code, 400)),
        "message": message,
    }
    error: BaseException = client_exceptions().from_code(code)(response, OPERATIONS[operation])
    return error


def scripted_error(error: str | BaseException, operation: str, endpoint_url: str) -> BaseException:
    """The error that a script asks for: by its code, by the name of a connection error of botocore, or ready made."""
    if isinstance(error, BaseException):
        return error
    if error in _CONNECTION_ERRORS:
        made: BaseException = getattr(botocore_exceptions(), error)(endpoint_url=endpoint_url, error="scripted")
        return made
    return client_error(error, f"scripted: {error}", operation)


def paginator(operation: str, method: Any) -> Any:
    """What boto3 has as ``client.get_paginator(operation)``, over a method.

    Raises:
        OperationNotPageableError: botocore's.
    """
    import botocore.loaders
    import botocore.paginate

    pages = botocore.loaders.create_loader().load_service_model("kinesis", "paginators-1")["pagination"]
    name = OPERATIONS.get(operation)
    if name not in pages:
        raise botocore_exceptions().OperationNotPageableError(operation_name=operation)
    return botocore.paginate.Paginator(method, pages[name], service_model().operation_model(name))


def response_metadata(status: int = 200) -> dict[str, Any]:
    """The ``ResponseMetadata`` of every response."""
    return {"RequestId": "fake-kinesis", "HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": 0}
