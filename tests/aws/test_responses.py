"""Answers of GetRecords that the native core reads are what botocore alone would make of them."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.aws.responses import read_natively

session = pytest.importorskip("botocore.session")

SHAPE = session.get_session().get_service_model("kinesis").operation_model("GetRecords").output_shape
OTHER_SHAPE = session.get_session().get_service_model("kinesis").operation_model("ListShards").output_shape
only_native = pytest.mark.skipif(sp.native == "pure", reason="the pure core leaves it to botocore")


def response(body: bytes, status: int = 200) -> dict[str, Any]:
    return {"status_code": status, "headers": {"x-amzn-requestid": "7"}, "body": body}


def ours() -> Any:
    return read_natively(session.get_session()).get_component("response_parser_factory").create_parser("json")


def theirs() -> Any:
    return session.get_session().get_component("response_parser_factory").create_parser("json")


def outcome(parser: Any, body: bytes, shape: Any = SHAPE, status: int = 200) -> object:
    try:
        return parser.parse(response(body, status), shape)
    except Exception as error:  # noqa: BLE001  # whatever botocore raises
        return type(error), str(error)


records = st.fixed_dictionaries(
    {"Data": st.binary(max_size=300).map(lambda data: base64.b64encode(data).decode())},
    optional={
        "PartitionKey": st.text(max_size=5),
        "SequenceNumber": st.text("0123456789", max_size=9),
        "ApproximateArrivalTimestamp": st.floats(0, 2e9) | st.just("2024-01-01T00:00:00Z"),
        "EncryptionType": st.sampled_from(["KMS", "NONE", None]),
        "Unknown": st.recursive(st.text('"\\{}[],:Data', max_size=8), lambda one: st.lists(one, max_size=3)),
    },
).flatmap(lambda record: st.permutations(list(record.items())).map(dict))
answers = st.fixed_dictionaries(
    {"Records": st.lists(records, max_size=4)},
    optional={
        "NextShardIterator": st.text(max_size=9) | st.none(),
        "MillisBehindLatest": st.integers(0, 2**40),
        "ChildShards": st.just([{"ShardId": "shardId-1", "ParentShards": ["shardId-0"], "HashKeyRange": {}}]),
    },
).flatmap(lambda answer: st.permutations(list(answer.items())).map(dict))
bodies = st.builds(
    lambda answer, indent, ascii_only: json.dumps(answer, indent=indent, ensure_ascii=ascii_only).encode(
        errors="surrogatepass"
    ),
    answers,
    st.sampled_from([None, None, 0, 3]),
    st.booleans(),
)


@st.composite
def broken_bodies(draw: st.DrawFn) -> bytes:
    """Bodies with something changed, put in, or cut off."""
    body = bytearray(draw(bodies))
    at = draw(st.integers(0, len(body)))
    put_in = draw(st.sampled_from([b"", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"=", b" ", b"\xff", b"Data"]))
    body[at : at + draw(st.integers(0, 3))] = put_in
    return bytes(body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body)


@given(bodies)
@example(b'{"Records":[]}')
@example(b"{}")
@example(b"")
def test_an_answer_is_read_as_botocore_reads_it(body: bytes) -> None:
    assert outcome(ours(), body) == outcome(theirs(), body)


@given(broken_bodies())
@example(b'{"Records":[{"Data":"YWJj"}],"Records":[]}')
@example(b'{"Records":[{"Data":"YWJj","Data":"ZGVm"}]}')
@example(b'{"Records":[{"Data":"YW Jj"}]}')
@example(b'{"Records":[{"Data":"YWJj"},{"Dat\\u0061":"ZGVm"}]}')
@example(b'{"Records":[{"Data":"YWJj"},null]}')
@example(b'{"Records":[{"Data":"YWJj"}],"x":"\\')
@example(b'\xef\xbb\xbf{"Records":[{"Data":"YWJj"}]}')
@example(b'{"Records":[{"Data":"YWJj"}],"x":nullx}')
@example(b'{"Records":[{"Data":"YWJj"}],"Other":"\xff"}')
def test_what_is_no_answer_is_read_or_refused_as_botocore_does(body: bytes) -> None:
    assert outcome(ours(), body) == outcome(theirs(), body)


BODY = json.dumps({"Records": [{"Data": base64.b64encode(b"x" * 100).decode(), "PartitionKey": "k"}] * 3}).encode()


class Watched:
    """Stands for botocore's factory and its parser, and keeps what it is asked to read."""

    def __init__(self) -> None:
        self.read: list[bytes] = []

    def create_parser(self, _protocol: str) -> Watched:
        return self

    def parse(self, answer: dict[str, Any], shape: Any) -> Any:
        self.read.append(answer["body"])
        return theirs().parse(answer, shape)


class WithComponents(dict[str, Any]):
    """A session of botocore's, as far as components go."""

    get_component = dict.__getitem__
    register_component = dict.__setitem__


def watched_reads(body: bytes, shape: Any = SHAPE, status: int = 200, protocol: str = "json") -> list[bytes]:
    watched = Watched()
    factory = read_natively(WithComponents(response_parser_factory=watched))["response_parser_factory"]
    outcome(factory.create_parser(protocol), body, shape, status)
    return watched.read


@only_native
def test_botocore_reads_what_is_left_without_the_data() -> None:
    (rest,) = watched_reads(BODY)

    assert json.loads(rest) == {"Records": [{"Data": "", "PartitionKey": "k"}] * 3}


@only_native
@pytest.mark.parametrize(
    ("named", "last"),
    [
        ({"status": 500}, BODY),
        ({"shape": OTHER_SHAPE}, BODY),
        ({"shape": None}, BODY),
        ({"protocol": "smithy-rpc-v2-cbor"}, BODY),
        ({"body": BODY.replace(b'"Data"', b'"Payload"')}, BODY.replace(b'"Data"', b'"Payload"')),
    ],
    ids=["an error", "another call", "no shape", "another protocol", "other names"],
)
def test_what_does_not_fit_is_left_to_botocore(named: dict[str, Any], last: bytes) -> None:
    assert watched_reads(**{"body": BODY, **named}) == [last]


@only_native
def test_whoever_logs_answers_sees_all_of_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "botocore.parsers"):
        assert watched_reads(BODY) == [BODY]


@pytest.mark.parametrize("made_of_it", [{}, {"Records": [{"Data": b""}]}, {"Records": [{"Data": b"x"}] * 3}, None])
def test_a_botocore_that_makes_something_else_of_it_reads_it_again(made_of_it: object) -> None:
    class Other(Watched):
        def parse(self, answer: dict[str, Any], shape: Any) -> Any:
            whole = super().parse(answer, shape)
            return whole if answer["body"] == BODY else made_of_it

    factory = read_natively(WithComponents(response_parser_factory=Other()))["response_parser_factory"]

    assert outcome(factory.create_parser("json"), BODY) == outcome(theirs(), BODY)


def test_a_session_without_factories_of_parsers_stays_as_it_is() -> None:
    class Bare:
        def get_component(self, name: str) -> Any:
            raise ValueError(f"Unknown component: {name}")

    bare = Bare()
    other = WithComponents(response_parser_factory=object())

    assert read_natively(bare) is bare
    assert read_natively(other) == WithComponents(response_parser_factory=other["response_parser_factory"])


@given(bodies | broken_bodies())
def test_aiobotocore_reads_alike(body: bytes) -> None:
    aiobotocore = pytest.importorskip("aiobotocore.session")
    factory = read_natively(aiobotocore.AioSession()).get_component("response_parser_factory")

    async def parsed(shape: Any) -> object:
        parser = factory.create_parser("json")
        try:
            return await parser.parse(response(body), shape)
        except Exception as error:  # noqa: BLE001  # whatever botocore raises
            return type(error), str(error)

    assert asyncio.run(parsed(SHAPE)) == outcome(theirs(), body)
