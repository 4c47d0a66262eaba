"""Where `shardpack tail --until` ends, and what `--stats` counts, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import typer

import shardpack as sp
from shardpack.cli.commands.tail.hot import Hot
from shardpack.cli.commands.tail.line_format import chosen, line_format
from shardpack.cli.commands.tail.until import Until
from shardpack.leases.lease import Lease

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def record(number: int, key: str = "k", shard_id: str = "a") -> sp.ReceivedRecord:
    at = NOON + timedelta(seconds=number)
    return sp.ReceivedRecord(key, b"data", None, str(number), 0, True, at, shard_id)


def test_what_arrived_at_the_moment_is_left_out_and_all_that_follows() -> None:
    until = Until(NOON + timedelta(seconds=2), {})
    assert [r.sequence_number for r in until.cut("a", [record(n) for n in range(4)])] == ["0", "1"]
    assert until.cut("a", [record(9)]) == []
    assert until.cut("b", [record(1)]) == [record(1)]


def test_it_is_over_when_every_shard_is_at_its_end_or_beyond_or_waits_for_such_a_one() -> None:
    until = Until(NOON + timedelta(seconds=2), {})
    leases = [Lease("a"), Lease("b"), Lease("child", parents=("a",))]
    assert not until.is_reached([], ["a", "b"])
    assert not until.is_reached(leases, ["a"])
    until.cut("b", [record(5)])
    assert until.is_reached(leases, ["a"])
    leases[0] = Lease("a", checkpoint=sp.Position.SHARD_END)
    assert not until.is_reached(leases, []), "the child's turn has come"
    assert until.is_reached(leases, ["child"])


def test_before_the_moment_no_shard_is_at_its_end() -> None:
    until = Until(datetime.now(UTC) + timedelta(days=1), {})
    assert not until.is_reached([Lease("a")], ["a"])


def test_the_hottest_keys_are_found_among_many_in_bounded_memory() -> None:
    random = Random(1)
    keys = ["hot"] * 900 + ["warm"] * 400 + [f"key-{n}" for n in range(3000)]
    random.shuffle(keys)
    hot = Hot(most_keys=100)
    for start in range(0, len(keys), 10):
        hot.add([record(1, key) for key in keys[start : start + 10]])
        assert len(hot._keys) <= 100
    assert [key for key, _ in hot.keys[:2]] == ["hot", "warm"]
    assert 0 < hot.too_low_by <= len(keys) / 100
    for (_, count), true in zip(hot.keys, (900, 400), strict=False):
        assert true - hot.too_low_by <= count <= true
    assert hot.total == len(keys)


@pytest.mark.parametrize("pattern", ["[", "a{99999999999999}", "(" * 5000], ids=["open", "too many", "too deep"])
def test_what_is_no_regular_expression_is_refused(pattern: str) -> None:
    with pytest.raises(typer.BadParameter, match="which is no regular expression"):
        chosen([], pattern)


def test_a_key_that_no_encoding_has_is_written_all_the_same() -> None:
    odd = record(0, "a\ud800b")
    assert line_format(r"%k %s\n")(odd) == b"a?b data\n"
    hot = Hot()
    hot.add([odd])
    assert hot.keys == [("a\ud800b", 1)]
