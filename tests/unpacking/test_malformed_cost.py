"""An aggregate that is not sound costs about what a sound one does, wherever nobody is told what is wrong with it.

The work is counted in calls. What happens inside of one call is timed by test_hostile_corpus.py and `make hostile`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from aggregate_bytes import frame
from hostile_readers import calls

import shardpack as sp
from shardpack.aws_lambda import process
from shardpack.wire import diagnosis as _diagnosis

arrow = pytest.importorskip("shardpack.arrow", reason="pyarrow is not here")

KEY = b"\x0a\x01k"
RECORD = b"\x1a\x05\x08\x00\x1a\x01d"
COUNT = 2**16 // len(RECORD)
MOST_TIMES = 3


SOUND = frame(KEY + RECORD * COUNT)
LAST = {
    "a wrong index": b"\x1a\x05\x08\x07\x1a\x01d",
    "a wrong explicit index": b"\x1a\x07\x08\x00\x10\x00\x1a\x01d",
    "cut": b"\x1a\x05\x08\x00\x1a\x02d",
    "no data": b"\x1a\x02\x08\x00",
    "no index": b"\x1a\x03\x1a\x01d",
    "a group that did not begin": b"\x4c",
    "a tag without a key": b"\x1a\x07\x08\x00\x1a\x01d\x22\x00",
    "an odd tag": b"\x07",
}
MALFORMED = {
    **{f"{name} at the end": frame(KEY + RECORD * COUNT + last) for name, last in LAST.items()},
    **{f"{name} at the beginning": frame(KEY + first + RECORD * COUNT) for name, first in LAST.items()},
    "no keys": frame(RECORD * COUNT),
    "no records": frame(KEY * (2**16 // len(KEY))),
    "groups": frame(b"\x4b" * 50 + RECORD * COUNT),
    "a wrong checksum": SOUND[:-1] + bytes([SOUND[-1] ^ 1]),
    "no end": SOUND[: -len(RECORD)],
}


def objects(blob: bytes) -> None:
    for _ in sp.unpack([{"Data": blob, "PartitionKey": "a", "SequenceNumber": "1"}]):
        pass


def columns(blob: bytes) -> None:
    arrow.to_table([{"Data": blob, "PartitionKey": "a", "SequenceNumber": "1"}])


def in_lambda(blob: bytes) -> None:
    kinesis = {"data": base64.b64encode(blob).decode(), "partitionKey": "a", "sequenceNumber": "1"}
    process({"Records": [{"kinesis": kinesis, "eventID": "shardId-000000000000:1"}]}, lambda _record: None)


READERS: dict[str, Callable[[bytes], None]] = {"objects": objects, "Lambda": in_lambda}
if sp.native != "pure":  # which walks the bytes in Python for the message that each batch of columns has of them
    READERS["columns"] = columns


@pytest.mark.skipif(sp.native == "pure", reason="most of its work is in protobuf, where there are no calls to count")
@pytest.mark.parametrize("reader", READERS)
def test_it_costs_no_more_than_a_few_sound_ones(reader: str) -> None:
    read = READERS[reader]
    for name in ("a wrong index at the end", "no data at the end", "no records", "a wrong checksum"):  # warm up
        read(MALFORMED[name])
    most = MOST_TIMES * calls(read, SOUND)
    dear = {name: count for name, blob in MALFORMED.items() if (count := calls(read, blob)) > most}
    assert not dear


@pytest.mark.parametrize("reader", READERS)
def test_nobody_looks_for_what_nobody_is_told(reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_arguments: Any) -> None:
        raise AssertionError("the bytes were walked in Python")

    monkeypatch.setattr(_diagnosis, "_check", look)
    for blob in MALFORMED.values():
        READERS[reader](blob)


def test_somebody_is_told() -> None:
    for name, blob in MALFORMED.items():
        with pytest.raises(sp.DecodeError):
            objects_or_error(blob)
        (record,) = sp.unpack([{"Data": blob, "PartitionKey": "a"}])
        assert record.data == blob, name


def objects_or_error(blob: bytes) -> None:
    for _ in sp.unpack([{"Data": blob, "PartitionKey": "a"}], on_corrupt="raise"):
        pass
