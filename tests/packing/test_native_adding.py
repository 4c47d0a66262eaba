"""`Packer.add` of the native core against that of the pure one."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.testing import strategies
from shardpack.wire import pure_core as _pure

native = pytest.importorskip("shardpack.wire.native_core", reason="the native core is not built")

from cores import Bytes, Str, answer, with_core  # which needs it, too


def with_packer(core: Any, call: Callable[[sp.Packer], Any], **settings: Any) -> Any:
    return with_core(core, lambda: call(sp.Packer(**settings)))


SHARDS = sp.ShardMap([sp.hashing.Shard(f"s{n}", n << 126, ((n + 1) << 126) - 1) for n in range(4)])
ROUTES: list[dict[str, Any]] = [
    {"by": "any"},
    {"by": "key"},
    {"by": "shard", "shard_map": SHARDS},
    {"by": "shard", "shard_map": SHARDS, "hash_keys": "kpl"},
    {"by": "shard", "shard_map": SHARDS, "lanes": 3},
    {"by": "any", "lookahead": 1},
]


def name_of(route: dict[str, Any]) -> str:
    return " ".join(str(value) for name, value in route.items() if name != "shard_map")


class TestAddingOneByOne:
    @given(
        strategies.user_record_lists(max_size=80),
        st.sampled_from(ROUTES),
        st.sampled_from([300, 1000]),
        st.sampled_from([None, 3]),
    )
    def test_under_every_option(
        self, records: list[sp.UserRecord], route: dict[str, Any], limit: int, count: int | None
    ) -> None:
        def added(packer: sp.Packer) -> list[object]:
            return [*(answer(partial(packer.add, *record)) for record in records), packer.flush()]

        settings = {**route, "limits": sp.Limits(limit, count)}
        assert with_packer(native, added, **settings) == with_packer(_pure, added, **settings)

    @pytest.mark.parametrize("route", ROUTES, ids=name_of)
    @pytest.mark.parametrize(
        ("arguments", "keywords"),
        [
            (("k", b"d", None), {}),
            (("k", b"d", None, ()), {}),
            (("k", b"d", 5), {}),
            (("k", b"d"), {"explicit_hash_key": "5"}),
            (("k", b"d"), {"explicit_hash_key": None, "tags": None}),
            (("k", b"d"), {"tags": []}),
            (("k", b"d"), {"tags": [("tag", None)]}),
            (("k", b"d"), {"tags": iter([("tag", "value")])}),
            (("k",), {"data": b"d"}),
            ((), {"data": b"d", "partition_key": "k"}),
            ((Str("k"), Bytes(b"d")), {}),
            (("k", bytearray(b"d")), {}),
            (("k", memoryview(b"d")), {}),
            (("k", "text"), {}),
            (("k", None), {}),
            (("", b"d"), {}),
            (("x" * 257, b"d"), {}),
            (("\ud800", b"d"), {}),
            ((5, b"d"), {}),
            (([], b"d"), {}),
            ((None, b"d"), {}),
            (("k", b"d", -1), {}),
            (("k", b"d", "no number"), {}),
            (("k", bytes(2000)), {}),
            (("k",), {}),
            (("k", b"d", None, (), 1), {}),
            (("k", b"d"), {"date": b"d"}),
        ],
        ids=lambda one: f"{type(one).__name__} of {len(one)}",
    )
    def test_whatever_is_given(self, route: dict[str, Any], arguments: Any, keywords: dict[str, Any]) -> None:
        tags = list(keywords["tags"]) if keywords.get("tags") else None

        def added(packer: sp.Packer) -> object:
            given = {**keywords, "tags": iter(tags)} if tags else keywords
            packer.add("k", b"before")
            try:
                out = packer.add(*arguments, **given)
            except sp.ShardpackError as error:
                out = [type(error), str(error), vars(error)]  # type: ignore[list-item]
            except TypeError as error:
                out = [type(error)]  # type: ignore[list-item]
            packer.add("k", b"after")
            return out, packer.flush()

        settings = {**route, "limits": sp.Limits(1000)}
        assert with_packer(native, added, **settings) == with_packer(_pure, added, **settings)

    @pytest.mark.parametrize("keys", [10, 70_000])
    def test_more_partition_keys_than_are_remembered(self, keys: int) -> None:
        records = [(f"key-{n % keys}", b"d") for n in range(max(1000, keys))]

        def added(packer: sp.Packer) -> list[sp.PackedRecord]:
            closed = [one for record in records for one in packer.add(*record)]
            return closed + packer.flush()

        def packed(packer: sp.Packer) -> list[sp.PackedRecord]:
            return [*packer.add_all(records), *packer.flush()]

        settings: dict[str, Any] = {"shard_map": SHARDS, "limits": sp.Limits(50_000)}
        expected = with_packer(_pure, added, **settings)
        assert with_packer(native, added, **settings) == expected == with_packer(native, packed, **settings)

    def test_a_shard_map_of_the_application(self) -> None:
        class Last(sp.ShardMap):
            def shard_for_partition_key(self, partition_key: str) -> sp.hashing.Shard:
                return self.shards[-1] if partition_key else self.shards[0]

        packer = sp.Packer(shard_map=Last(SHARDS.shards))
        for n in range(100):
            packer.add(f"k{n}", b"d")
        (packed,) = packer.flush()
        assert packed.shard_id == "s3"

    def test_a_packer_of_the_application(self) -> None:
        class Counting(sp.Packer):
            count = 0

            def add(self, partition_key: str, data: Any, *args: Any, **kwargs: Any) -> list[sp.PackedRecord]:
                self.count += 1
                return super().add(partition_key, data, *args, **kwargs)

        packer = Counting(by="any")
        for n in range(10):
            packer.add("k", b"%d" % n)
        (packed,) = packer.flush()
        assert (packer.count, packed.user_record_count) == (10, 10)

    def test_it_says_the_same_about_itself(self) -> None:
        ours, python = sp.Packer.add, sp.Packer._add_in_python
        assert inspect.getdoc(ours) == inspect.getdoc(python)
        found, expected = (list(inspect.signature(one).parameters.values())[1:] for one in (ours, python))
        assert [(p.name, p.kind, p.default) for p in found] == [(p.name, p.kind, p.default) for p in expected]

    @pytest.mark.parametrize("route", ROUTES[:5], ids=name_of)
    def test_an_empty_packer_can_be_pickled(self, route: dict[str, Any]) -> None:
        packer = pickle.loads(pickle.dumps(sp.Packer(**route)))
        other = sp.Packer(**route)
        for n in range(100):
            assert packer.add(f"k{n % 7}", b"d") == other.add(f"k{n % 7}", b"d")
        assert packer.flush() == other.flush()
