"""What fits into one PutRecords call, what is left after a partial failure, and what fits into a second."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.limits import MIB


def record(size: int, shard_id: str | None = None, key: str = "k") -> sp.PackedRecord:
    """A Kinesis record of so many bytes, partition key counted."""
    packed = sp.PackedRecord(bytes(size - len(key.encode())), key, None, 1, shard_id)
    assert packed.size == size
    return packed


def sizes(requests: Iterator[sp.PutRequest]) -> list[list[int]]:
    return [[packed.size for packed in request.records] for request in requests]


class TestGrouping:
    @given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 8), st.integers(1, 100))
    def test_is_in_order_within_the_limits_and_leaves_no_room_for_the_next(
        self, wanted: list[int], max_records: int, max_bytes: int
    ) -> None:
        records = [record(size) for size in wanted]
        requests = list(sp.put_requests(records, max_records=max_records, max_bytes=max_bytes))

        assert [one for request in requests for one in request.records] == records
        for request in requests:
            assert 1 <= len(request.records) <= max_records
            assert request.size == sum(one.size for one in request.records)
            assert request.size <= max_bytes or len(request.records) == 1
        for request, following in itertools.pairwise(requests):
            assert len(request.records) == max_records or request.size + following.records[0].size > max_bytes

    def test_takes_500_records(self) -> None:
        assert [len(request.records) for request in sp.put_requests([record(1)] * 1001)] == [500, 500, 1]

    @pytest.mark.parametrize("key", ["k", "k" * 256, "\U0001f600" * 256])
    def test_takes_five_mib_with_partition_keys_to_the_byte(self, key: str) -> None:
        exact = [record(MIB, key=key)] * 5

        assert sizes(sp.put_requests(exact)) == [[MIB] * 5]
        assert sizes(sp.put_requests([*exact[:4], record(MIB + 1, key=key)])) == [[MIB] * 4, [MIB + 1]]
        assert sizes(sp.put_requests([*exact, record(1)])) == [[MIB] * 5, [1]]

    def test_takes_ten_mib_when_asked(self) -> None:
        assert sizes(sp.put_requests([record(MIB)] * 11, max_bytes=10 * MIB)) == [[MIB] * 10, [MIB]]

    @pytest.mark.parametrize("large", [5 * MIB + 1, 10 * MIB])
    def test_sends_a_larger_record_alone(self, large: int) -> None:
        records = [record(1), record(1), record(large), record(1), record(1)]

        assert sizes(sp.put_requests(records)) == [[1, 1], [large], [1, 1]]

    @pytest.mark.parametrize("max_bytes", [1, 5 * MIB, 10 * MIB])
    def test_refuses_a_record_that_no_call_takes(self, max_bytes: int) -> None:
        requests = sp.put_requests([record(10 * MIB + 1)], max_bytes=max_bytes)

        with pytest.raises(ValueError, match="10,485,761 bytes"):
            next(requests)

    def test_takes_only_what_it_needs_for_the_next_request(self) -> None:
        numbers = iter(range(1, 100))
        requests = sp.put_requests((record(10) for _ in numbers), max_records=3)

        assert [len(next(requests).records), len(next(requests).records)] == [3, 3]
        assert next(numbers) == 8

    def test_of_nothing_is_nothing(self) -> None:
        assert list(sp.put_requests([])) == []

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"max_records": 0}, "max_records is 0"),
            ({"max_records": 501}, "max_records is 501"),
            ({"max_bytes": 0}, "max_bytes is 0"),
            ({"max_bytes": 10 * MIB + 1}, "max_bytes is 10,485,761"),
        ],
    )
    def test_refuses_limits_beyond_the_service_s_at_once(self, arguments: dict[str, int], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            sp.put_requests([], **arguments)

    @pytest.mark.parametrize("name", ["max_records", "max_bytes"])
    def test_refuses_limits_that_are_no_int(self, name: str) -> None:
        """With 2.5 records, which no count ever equals, there would be no limit."""
        with pytest.raises(TypeError, match=f"{name} is 2.5, of type float; give an int"):
            sp.put_requests([], **{name: 2.5})  # type: ignore[arg-type]

    def test_of_what_pack_gives_makes_boto3_s_entries_in_order(self) -> None:
        packed = list(sp.pack([("k", b"1"), ("k", b"2", "7")]))
        (request,) = sp.put_requests(packed)

        assert request.entries == [
            {"Data": b"1", "PartitionKey": "k"},
            {"Data": b"2", "PartitionKey": "k", "ExplicitHashKey": "7"},
        ]


STORED: dict[str, Any] = {"SequenceNumber": "1", "ShardId": "shardId-000000000000"}
FAILED: dict[str, Any] = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"}


def answer(*results: dict[str, Any]) -> dict[str, Any]:
    return {"FailedRecordCount": sum("ErrorCode" in result for result in results), "Records": list(results)}


class TestRetry:
    request = sp.PutRequest(tuple(record(size) for size in (1, 2, 3)))

    def test_is_nothing_when_all_was_stored(self) -> None:
        assert self.request.retry(answer(STORED, STORED, STORED)) is None

    def test_takes_an_error_code_of_none_for_success(self) -> None:
        none = {**STORED, "ErrorCode": None, "ErrorMessage": None}

        assert self.request.retry(answer(none, STORED, none)) is None

    def test_is_what_failed_in_its_order(self) -> None:
        again = self.request.retry(answer(FAILED, STORED, {"ErrorCode": "InternalFailure"}))

        assert again is not None
        assert again.records == (self.request.records[0], self.request.records[2])

    def test_goes_by_the_results_not_by_their_count(self) -> None:
        again = self.request.retry({"FailedRecordCount": 0, "Records": [STORED, FAILED, STORED]})

        assert again is not None
        assert again.records == (self.request.records[1],)

    @pytest.mark.parametrize(
        "response",
        [{}, {"Records": None}, {"Records": []}, answer(STORED), answer(STORED, FAILED), answer(*[STORED] * 4)],
    )
    def test_of_an_answer_that_does_not_match_says_which_records_are_in_doubt(self, response: dict[str, Any]) -> None:
        with pytest.raises(sp.DeliveryError, match="for 3 records") as caught:
            self.request.retry(response)

        assert caught.value.records == self.request.records
        assert caught.value.retriable
        assert list(caught.value.attempts) == []

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.data())
    def test_repeated_stores_each_record_exactly_once(self, wanted: list[int], drawn: st.DataObject) -> None:
        records = [sp.PackedRecord(b"%d" % nth, "k" * size, None, 1) for nth, size in enumerate(wanted)]
        stored: Counter[bytes] = Counter()
        for request in sp.put_requests(records, max_records=7):
            again: sp.PutRequest | None = request
            for attempt in itertools.count():
                if again is None:
                    break
                succeed = drawn.draw(st.lists(st.booleans(), min_size=len(again.records), max_size=len(again.records)))
                succeed = [success or attempt > 5 for success in succeed]
                stored.update(one.data for one, success in zip(again.records, succeed, strict=True) if success)
                again = again.retry(answer(*(STORED if success else FAILED for success in succeed)))
        assert stored == Counter(one.data for one in records)


# Seconds since the call before, bytes, shard.
calls = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.001, 0.3, 1.0, 5.0]), st.integers(1, 3000), st.sampled_from(["a", "b", None])
    ),
    max_size=80,
)


def put_times(budget: sp.ShardBudget, given_calls: Sequence[tuple[float, int, str | None]]) -> dict[Any, list[Any]]:
    """For each shard, when its records are put, and of what size they are."""
    now = 1000.0
    puts: dict[Any, list[tuple[float, int]]] = defaultdict(list)
    for elapsed, size, shard_id in given_calls:
        now += elapsed
        wait = budget.wait_for(record(size, shard_id), now)
        assert wait >= 0
        puts[shard_id].append((now + wait, size))
    return puts


def check_windows(puts: list[tuple[float, int]], burst: float, rate: float, costs: list[int]) -> None:
    """No window takes more than a burst and what came in meanwhile, except one record larger than a burst."""
    for first in range(len(puts)):
        total = 0
        for last in range(first, len(puts)):
            total += costs[last]
            debt = max(0.0, max(costs[first : last + 1]) - burst)
            assert total <= burst + rate * (puts[last][0] - puts[first][0]) + debt + 1e-3


class TestShardBudget:
    @given(calls, st.integers(1000, 4000), st.sampled_from([0.001, 0.002, 0.5]))
    def test_no_window_takes_more_bytes_than_a_burst_and_the_rate(
        self, given_calls: list[tuple[float, int, str | None]], burst: int, rate_limit: float
    ) -> None:
        budget = sp.ShardBudget(rate_limit=rate_limit, burst_bytes=burst)
        for puts in put_times(budget, given_calls).values():
            assert puts == sorted(puts, key=lambda put: put[0])
            check_windows(puts, burst, MIB * rate_limit, [size for _, size in puts])

    @pytest.mark.parametrize("rate_limit", [0.5, 1.0, 1.5])
    def test_takes_1000_records_at_once_and_1000_a_second_from_there(self, rate_limit: float) -> None:
        budget = sp.ShardBudget(rate_limit=rate_limit)
        waits = [budget.wait_for(record(1), 5.0) for _ in range(3000)]

        assert waits[:1000] == [0.0] * 1000
        assert waits[1000:] == pytest.approx([nth / 1000 / rate_limit for nth in range(1, 2001)])

    @pytest.mark.parametrize("rate_limit", [0.5, 1.0, 1.5])
    def test_takes_one_mib_at_once_and_one_mib_a_second_from_there(self, rate_limit: float) -> None:
        budget = sp.ShardBudget(rate_limit=rate_limit)
        waits = [budget.wait_for(record(MIB // 4), 5.0) for _ in range(12)]

        assert waits[:4] == [0.0] * 4
        assert waits[4:] == pytest.approx([nth / 4 / rate_limit for nth in range(1, 9)])

    def test_fills_up_again_and_no_further_than_full(self) -> None:
        for rest in (1.0, 1000.0):
            budget = sp.ShardBudget()
            assert budget.wait_for(record(MIB), 5.0) == 0.0
            assert budget.wait_for(record(MIB), 5.0 + rest) == 0.0
            assert budget.wait_for(record(MIB), 5.0 + rest) == pytest.approx(1.0)

    def test_counts_partition_keys(self) -> None:
        budget = sp.ShardBudget(burst_bytes=10)
        assert budget.wait_for(sp.PackedRecord(b"12345", "\u00e9\u00e9x", None, 1), 0.0) == 0.0
        assert budget.wait_for(sp.PackedRecord(b"", "k", None, 1), 0.0) == pytest.approx(1 / MIB)

    def test_a_user_record_inside_an_aggregate_costs_no_record(self) -> None:
        budget = sp.ShardBudget()
        packed = sp.PackedRecord(b"", "a", None, 1000)

        assert [budget.wait_for(packed, 0.0) for _ in range(1000)] == [0.0] * 1000

    def test_one_shard_does_not_hold_up_another(self) -> None:
        budget = sp.ShardBudget()
        for shard_id in ("a", "b", None):
            assert budget.wait_for(record(MIB, shard_id), 0.0) == 0.0
        for shard_id in ("a", "b", None):
            assert budget.wait_for(record(MIB, shard_id), 0.0) == pytest.approx(1.0)

    def test_a_record_larger_than_a_burst_waits_until_the_bucket_is_full_and_others_until_it_is_paid(self) -> None:
        budget = sp.ShardBudget()
        assert budget.wait_for(record(MIB // 2), 0.0) == 0.0
        assert budget.wait_for(record(10 * MIB), 0.0) == pytest.approx(0.5)
        assert budget.wait_for(record(MIB // 2), 0.0) == pytest.approx(0.5 + 9.5)
        assert sp.ShardBudget().wait_for(record(10 * MIB), 0.0) == 0.0

    def test_a_larger_burst_is_taken_at_once(self) -> None:
        budget = sp.ShardBudget(burst_bytes=10 * MIB)
        assert [budget.wait_for(record(MIB), 0.0) for _ in range(10)] == [0.0] * 10
        assert budget.wait_for(record(MIB), 0.0) == pytest.approx(1.0)

    def test_time_that_goes_backwards_is_the_latest_seen(self) -> None:
        budget = sp.ShardBudget()
        assert budget.wait_for(record(MIB), 100.0) == 0.0
        assert budget.wait_for(record(MIB), 40.0) == pytest.approx(60.0 + 1.0)
        assert budget.wait_for(record(MIB), 100.0) == pytest.approx(2.0)

    def test_time_that_goes_backwards_brings_no_tokens(self) -> None:
        budget = sp.ShardBudget()
        assert budget.wait_for(record(MIB // 2), 100.0) == 0.0
        assert budget.wait_for(record(MIB // 2), 40.0) >= 0.0
        assert budget.wait_for(record(MIB // 2), 100.0) == pytest.approx(0.5)

    @pytest.mark.parametrize(
        "arguments", [{"burst_bytes": 0}, *({"rate_limit": rate} for rate in (0, -1.0, float("nan"), float("inf")))]
    )
    def test_refuses_settings_that_let_nothing_through_or_everything(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(arguments))):
            sp.ShardBudget(**arguments)

    @pytest.mark.parametrize("small_first", [True, False])
    def test_waiting_for_one_limit_does_not_break_the_other(self, small_first: bool) -> None:
        small, large = [record(1, "a")] * 10_000, [record(MIB, "a")] * 10
        budget = sp.ShardBudget()
        ordered = small + large if small_first else large + small
        times = [budget.wait_for(packed, 0.0) for packed in ordered]

        for second in range(20):
            puts = [one.size for one, time in zip(ordered, times, strict=True) if second <= time < second + 0.5]
            assert sum(puts) <= 2 * MIB
            assert len(puts) <= 2000
