"""Answers of Kinesis that bring nothing: whether more may follow at once, later, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("botocore")
from shardpack.ranges.core.ends import First, Found, Page
from shardpack.ranges.core.marks import BEGINNING
from shardpack.ranges.core.options import Connection
from shardpack.ranges.shells.clients import Caller
from shardpack.ranges.shells.stream import KinesisStream

RECORD = {"SequenceNumber": "7", "ApproximateArrivalTimestamp": datetime.fromtimestamp(5, UTC), "Data": b""}
NOTHING_YET = {"Records": [], "NextShardIterator": "i", "MillisBehindLatest": 1000}
NOTHING_HERE = {"Records": [], "NextShardIterator": "i", "MillisBehindLatest": 0}
NOTHING_MORE: dict[str, Any] = {"Records": [], "MillisBehindLatest": 0}
ONE = {"Records": [RECORD], "NextShardIterator": "i", "MillisBehindLatest": 0}


class Answering:
    """A client that gives these answers to `GetRecords`, one after the other."""

    def __init__(self, *answers: Mapping[str, Any], is_open: bool) -> None:
        self.answers = [*answers]
        end = {} if is_open else {"EndingSequenceNumber": "9"}
        self.shard = {
            "ShardId": "s",
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"},
            "SequenceNumberRange": {"StartingSequenceNumber": "1", **end},
        }

    def list_shards(self, **_: Any) -> dict[str, Any]:
        return {"Shards": [self.shard]}

    def get_shard_iterator(self, **_: Any) -> dict[str, Any]:
        return {"ShardIterator": "i"}

    def get_records(self, **_: Any) -> Mapping[str, Any]:
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("answers", "is_open", "first", "page"),
    [
        ([NOTHING_YET, NOTHING_YET, ONE], True, First(Found("7", 5000)), Page([RECORD], "tip")),
        ([NOTHING_HERE], True, First(None), Page((), "tip")),
        ([NOTHING_HERE, NOTHING_MORE], False, First(None, is_over=True), Page([], "end")),
        ([NOTHING_HERE, ONE], False, First(Found("7", 5000)), Page([RECORD], "tip")),
        ([NOTHING_MORE], False, First(None, is_over=True), Page([], "end")),
    ],
    ids=["later", "quiet", "over", "closed with more", "over at once"],
)
def test_an_empty_answer_is_asked_again_where_more_can_follow(
    answers: list[dict[str, Any]], is_open: bool, first: First, page: Page
) -> None:
    for method, expected in (("first", first), ("page", page)):
        client = Answering(*answers, is_open=is_open)
        stream = KinesisStream(Caller(Connection("s"), client, sleep=lambda _: None), "s", sleep=lambda _: None)
        stream.shards()
        assert getattr(stream, method)("s", BEGINNING) == expected
        assert not client.answers
