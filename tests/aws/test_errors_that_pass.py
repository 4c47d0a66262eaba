"""Which failures of a call are worth another try: those that the service or the network can cause."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

import shardpack as sp
from shardpack.aws.errors import error_of, is_mistake, is_of_call, may_pass
from shardpack.consumer import ConsumerConfig
from shardpack.consumer.core.actions import ListShards
from shardpack.consumer.core.engine import Engine
from shardpack.consumer.start import Start
from shardpack.ranges.core.options import Connection
from shardpack.ranges.shells.clients import Caller

boto3 = pytest.importorskip("boto3")
config = pytest.importorskip("botocore.config")
exceptions = pytest.importorskip("botocore.exceptions")
from botocore.awsrequest import AWSResponse
from botocore.credentials import RefreshableCredentials

MISTAKES = [
    TypeError("'NoneType' object is not subscriptable"),
    AttributeError("no such method"),
    KeyError("Records"),
    IndexError(0),
    NameError("x"),
    ZeroDivisionError(),
    RuntimeError("cannot schedule new futures after shutdown"),
    AssertionError(),
    ValueError("Invalid endpoint"),
    ImportError("no module"),
]


class TokenError(Exception):
    """Of some library that a provider of credentials uses."""


def old_credentials() -> Exception:
    """What botocore raises while a provider of credentials, such as a container's agent, hands out expired ones."""
    moment = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    given = {"access_key": "a", "secret_key": "s", "token": "t", "expiry_time": moment}
    with pytest.raises(RuntimeError) as raised:
        RefreshableCredentials.create_from_metadata(given, lambda: given, "test").get_frozen_credentials()
    return raised.value


def passing() -> Iterator[Exception]:
    from urllib3.exceptions import ProtocolError

    for code in ("InternalFailure", "ThrottlingException", "SomethingNew"):
        yield exceptions.ClientError({"Error": {"Code": code, "Message": "later"}}, "GetRecords")
    yield exceptions.ReadTimeoutError(endpoint_url="https://x")
    yield exceptions.EndpointConnectionError(endpoint_url="https://x")
    yield exceptions.CredentialRetrievalError(provider="iam", error_msg="later")
    yield ProtocolError("broken")
    yield old_credentials()
    yield RuntimeError("can't start new thread")
    yield TokenError()
    yield from (ConnectionResetError(), TimeoutError(), ssl.SSLError(), OSError(28, "no space"), EOFError())
    yield MemoryError()
    yield UnicodeDecodeError("utf-8", b"\xff", 0, 1, "what a broken proxy sends")


class Raising:
    """A client whose calls raise."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    def _call(self, **_: Any) -> None:
        self.calls += 1
        raise self.error

    get_records = scan = _call


@pytest.mark.parametrize("error", MISTAKES, ids=lambda error: type(error).__name__)
def test_a_mistake_is_raised_at_once_wherever_calls_are_made(error: Exception) -> None:
    assert is_mistake(error)
    waits: list[float] = []
    client = Raising(error)
    with pytest.raises(type(error)) as raised:
        Caller(Connection("s"), client, sleep=waits.append)("get_records")
    assert raised.value is error  # with its own traceback, and not as something that AWS has said
    assert (waits, client.calls) == ([], 1)

    client = Raising(error)
    with pytest.raises(type(error)):
        sp.DynamoDBLeases("fleet", client=client).list()
    assert client.calls == 1

    engine = Engine("s", "w", ConsumerConfig(), Start.of("TRIM_HORIZON", None), random=Random(1))
    engine.failed(ListShards(), error, error_of(error)[0], 0.0)
    assert engine.fatal is error


@pytest.mark.parametrize("error", list(passing()), ids=lambda error: f"{type(error).__name__} {error_of(error)[0]}")
def test_what_the_service_and_the_network_cause_is_waited_out(error: Exception) -> None:
    assert may_pass(error, error_of(error)[0])
    engine = Engine("s", "w", ConsumerConfig(), Start.of("TRIM_HORIZON", None), random=Random(1))
    engine.failed(ListShards(), error, error_of(error)[0], 0.0)
    assert engine.fatal is None


def test_old_credentials_are_of_the_sdk_though_their_error_is_python_s_own() -> None:
    assert is_of_call(old_credentials())
    assert not is_of_call(RuntimeError("the credentials of the application"))


def an_answer(status: int, body: bytes) -> Any:
    answer = AWSResponse("https://kinesis", status, {}, None)
    answer._content = body  # what it would have read
    return answer


@pytest.mark.parametrize(
    ("status", "body"),
    [*((status, body) for status in (200, 503) for body in (b"null", b'"busy"', b"[]", b"7")), (503, b"<html>")],
)
def test_what_another_answers_in_the_place_of_kinesis_is_waited_out(status: int, body: bytes) -> None:
    """Such as a proxy. Over JSON that is no object, botocore's parser stumbles with errors of Python's own."""
    once = config.Config(retries={"total_max_attempts": 1})
    client = boto3.client("kinesis", "us-east-1", aws_access_key_id="a", aws_secret_access_key="s", config=once)
    answers = iter([an_answer(status, body), an_answer(200, b'{"Shards": []}'), an_answer(status, body)])
    client.meta.events.register("before-send", lambda **_: next(answers))
    waits: list[float] = []
    answer = Caller(Connection("s"), client, sleep=waits.append)("list_shards", StreamName="s")
    assert (answer["Shards"], len(waits)) == ([], 1)

    with pytest.raises(Exception) as raised:  # noqa: PT011 - whichever it is
        client.list_shards(StreamName="s")
    assert may_pass(raised.value, error_of(raised.value)[0])
