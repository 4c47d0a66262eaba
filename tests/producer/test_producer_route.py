"""`ProducerConfig(route=...)`: which user records share an aggregate, and to which shard it goes."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from typing import Any

import pytest
from driven_engine import HALF, ONE, THROTTLED, TWO, Driven, shard

import shardpack as sp
from shardpack.aws.streams import OPEN_SHARDS, list_shards
from shardpack.limits import MAX_HASH_KEY, MIB
from shardpack.producer import ProducerConfig
from shardpack.producer.core.actions import DescribeStream, ListShards
from shardpack.testing import FakeKinesis


def equal_shards(count: int) -> list[dict[str, Any]]:
    bounds = [(MAX_HASH_KEY + 1) * nth // count for nth in range(count + 1)]
    return [shard(f"shard-{nth}", bounds[nth], bounds[nth + 1] - 1) for nth in range(count)]


def put_all(driven: Driven) -> list[sp.PackedRecord]:
    """Everything that is open or waits, as the calls have it."""
    driven.engine.flush(driven.now)
    packed: list[sp.PackedRecord] = []
    while driven.engine.outstanding_records:
        put = driven.until_put()
        packed += put.request.records
        driven.answered(put, [{"ShardId": one.shard_id or "s", "SequenceNumber": "1"} for one in put.request.records])
    return packed


class TestAny:
    @pytest.mark.parametrize("shards", [1, 3, 1000])
    def test_aggregates_are_as_full_whatever_the_number_of_shards(self, shards: int) -> None:
        driven = Driven(equal_shards(shards), route="any")
        driven.engine.put([sp.UserRecord(f"user-{nth % 5000}", bytes(100)) for nth in range(4000)], "all", driven.now)
        packed = [one for action in driven.engine.poll(driven.now) for one in action.request.records]  # type: ignore[union-attr]
        driven.engine.flush(driven.now)
        packed += [one for action in driven.engine.poll(driven.now) for one in action.request.records]  # type: ignore[union-attr]

        assert sum(one.user_record_count for one in packed) == 4000
        assert all(51_200 - 200 < one.size <= 51_200 for one in packed[:-1])

    def test_each_goes_to_the_shard_with_the_most_budget_left(self) -> None:
        driven = Driven(equal_shards(10), route="any", aggregation_max_count=10)
        for nth in range(400):
            driven.put(nth, "one hot key")
        packed = put_all(driven)

        assert Counter(one.shard_id for one in packed) == {f"shard-{nth}": 4 for nth in range(10)}
        assert [one.user_record_count for one in packed] == [10] * 40

    def test_so_do_those_that_one_put_fills_together(self) -> None:
        driven = Driven(equal_shards(10), route="any", aggregation_max_count=10)
        driven.engine.put([sp.UserRecord("one hot key", b"data")] * 400, "all", driven.now)
        driven.engine.flush(driven.now)
        (put,) = driven.puts()

        assert Counter(one.shard_id for one in put.request.records) == {f"shard-{nth}": 4 for nth in range(10)}

    def test_large_ones_count_for_more(self) -> None:
        driven = Driven(equal_shards(2), route="any", aggregation_max_size=MIB)
        driven.put("large", data=bytes(MIB - 100))
        for nth in range(80):
            driven.put(nth, data=bytes(10_000))
            driven.engine.flush(driven.now)
        (large, *small) = put_all(driven)

        assert {one.shard_id for one in small[:70]} == {"shard-1"} - {large.shard_id} or {"shard-0"} - {large.shard_id}
        assert Counter(one.shard_id for one in small)[large.shard_id] < 10

    def test_what_is_pinned_lies_in_the_shard_and_is_what_every_record_carries(self) -> None:
        driven = Driven(equal_shards(7), route="any", aggregation_max_count=3)
        for nth in range(60):
            driven.put(nth, f"user-{nth}")
        ranges = sp.ShardMap(equal_shards(7))
        for one in put_all(driven):
            assert ranges.shard_for(int(one.explicit_hash_key or "")).shard_id == one.shard_id
            assert {record.explicit_hash_key for record in sp.unpack(one)} == {one.explicit_hash_key}

    def test_lone_records_spread_too_and_keep_their_partition_key(self) -> None:
        driven = Driven(equal_shards(4), route="any", aggregation_enabled=False)
        for nth in range(40):
            driven.put(nth, "one hot key")
        packed = put_all(driven)

        assert {(one.partition_key, one.data) for one in packed} == {("one hot key", b"data")}
        assert Counter(one.shard_id for one in packed) == {f"shard-{nth}": 10 for nth in range(4)}

    def test_an_explicit_hash_key_is_kept(self) -> None:
        driven = Driven(TWO, route="any")
        for nth in range(20):
            driven.put(nth, f"user-{nth}", hash_key="7" if nth % 2 else None)
        mine, others = sorted(put_all(driven), key=lambda one: one.explicit_hash_key != "7")

        assert (mine.explicit_hash_key, mine.shard_id, mine.user_record_count) == ("7", "low", 10)
        assert others.user_record_count == 10

    def test_a_shard_that_throttles_gets_less(self) -> None:
        driven = Driven(TWO, route="any", aggregation_max_count=1)
        driven.put("first")
        put = driven.until_put()
        (first,) = put.request.records
        driven.answered(put, [{"ErrorCode": THROTTLED}])
        other = {"low": "high", "high": "low"}[str(first.shard_id)]
        for nth in range(3):
            driven.put(nth)
        assert Counter(one.shard_id for one in put_all(driven))[other] >= 2

    def test_before_the_shards_are_known_any_hash_key_will_do(self) -> None:
        driven = Driven(route="any")
        driven.poll()
        driven.put(1, "a")
        driven.put(2, "b")
        (packed,) = driven.until_put().request.records
        assert (packed.shard_id, packed.explicit_hash_key) == (None, str(MAX_HASH_KEY))  # drawn with 1.0
        assert {record.explicit_hash_key for record in sp.unpack(packed)} == {str(MAX_HASH_KEY)}

    def test_after_a_reshard_the_new_shards_are_used(self) -> None:
        driven = Driven(ONE, route="any", aggregation_max_count=2)
        driven.put(1)
        driven.put(2)
        put = driven.until_put()
        driven.stored(put, "elsewhere")
        assert ListShards() in driven.poll()
        driven.engine.answered(ListShards(), TWO, driven.now)
        for nth in range(3, 11):
            driven.put(nth)
        assert Counter(one.shard_id for one in put_all(driven)) == {"low": 2, "high": 2}

    def test_where_kinesis_ignores_keys_records_go_plain_and_no_shard_is_chosen(self) -> None:
        driven = Driven(TWO, route="any")
        driven.engine.answered(DescribeStream(), {"RecordDistributionStrategy": "AUTO"}, driven.now)
        driven.poll()
        for nth in range(10):
            driven.put(nth)
        packed = put_all(driven)
        assert [one.user_record_count for one in packed] == [1] * 10
        assert {(one.shard_id, one.explicit_hash_key) for one in packed} == {(None, None)}

    def test_a_budget_that_is_spent_holds_back(self) -> None:
        driven = Driven(ONE, route="any", aggregation_max_size=MIB, rate_limit=100)
        for nth in range(13):
            driven.put(nth, data=bytes(MIB - 100))
        sizes = [len(put.request.records) for after in (0.0, 0.2) for put in driven.puts(after)]
        assert sum(sizes) == 10  # the burst of 10 MiB that a rested shard takes
        assert sum(len(put.request.records) for put in driven.puts(after=1.5)) >= 1


class TestManyShards:
    def test_every_page_of_them_is_listed(self) -> None:
        fake = FakeKinesis()
        fake.add_stream("s", shards=2500)
        shards = list_shards(fake, {"StreamName": "s"}, OPEN_SHARDS)

        assert len(sp.ShardMap(shards).shards) == 2500

    def test_memory_for_each_is_bounded(self) -> None:
        """The budget of each included, once it has been used."""
        given = equal_shards(3000)
        records = [sp.UserRecord(f"user-{nth}", b"data") for nth in range(3000)]
        tracemalloc.start()
        driven = Driven(given, route="any", aggregation_max_count=1)
        driven.engine.put(records, "all", driven.now)
        driven.engine.flush(driven.now)
        packed = {one.shard_id for put in driven.puts() for one in put.request.records}
        with_records = tracemalloc.get_traced_memory()[0]
        driven.engine.abandon()
        tracemalloc.stop()

        assert len(packed) > 400
        assert len(driven.engine._outbox.budget._buckets) == 3000
        assert with_records / 3000 < 4000  # its record on the way included


class TestKey:
    @pytest.mark.parametrize("hash_keys", ["pinned", "kpl"])
    def test_only_equal_partition_keys_share_an_aggregate_and_it_has_theirs(self, hash_keys: str) -> None:
        driven = Driven(TWO, route="key", hash_keys=hash_keys)
        for nth in range(30):
            driven.put(nth, f"user-{nth % 3}")
        packed = put_all(driven)

        assert sorted(one.partition_key for one in packed) == ["user-0", "user-1", "user-2"]
        for one in packed:
            assert (one.user_record_count, one.explicit_hash_key) == (10, None)
            assert {(record.partition_key, record.explicit_hash_key) for record in sp.unpack(one)} == {
                (one.partition_key, None)
            }
            assert one.shard_id == ("low" if sp.hash_key(one.partition_key) < HALF else "high")

    def test_wherever_it_lands_it_is_delivered(self) -> None:
        driven = Driven(TWO, route="key", hash_keys="kpl")
        driven.put(1)
        driven.put(2)
        driven.stored(driven.until_put(), "a shard that nobody has listed")
        assert driven.delivery(1).aggregated
        assert driven.delivery(2).shard_id == "a shard that nobody has listed"

    def test_lone_records_have_their_shard_s_budget(self) -> None:
        driven = Driven(ONE, route="key", aggregation_enabled=False)
        driven.put(1)
        (packed,) = driven.until_put().request.records
        assert packed == sp.PackedRecord(b"data", "k", None, 1, "s")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"route": "random"}, 'route is \'random\'; choose "shard", "key" or "any"'),
        ({"route": None}, 'route is None; choose "shard", "key" or "any"'),
        ({"route": "any", "ordering": "key"}, 'ordering is "key" and route is "any".*Choose route="shard"'),
        ({"route": "key", "ordering": "key"}, 'ordering is "key" and route is "key".*Choose route="shard"'),
        ({"route": "any", "hash_keys": "kpl"}, 'loses records.*Choose hash_keys="pinned", or route="shard" or "key"'),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ProducerConfig(**settings)
