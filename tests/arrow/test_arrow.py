"""Arrow in, Arrow out: the same user records as `unpack` gives, whatever comes in, in batches of bounded size."""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from aggregate_bytes import MAGIC, frame
from hypothesis import given, settings
from hypothesis import strategies as st

import shardpack as sp
from shardpack.testing import strategies
from shardpack.wire import pure_core as _pure

pa = pytest.importorskip("pyarrow")

from shardpack import arrow  # needs pyarrow
from shardpack.arrow import _cut, _expand, _unpack
from shardpack.arrow._blobs import ArrayBlobs

EVERYTHING = (0, 2**128 - 1)
HALF = (0, 2**127 - 1)
TIME = datetime(2026, 7, 21, 12, 30, 15, 250_000, UTC)


def kinesis_record(data: bytes, nth: int = 1) -> dict[str, Any]:
    return {
        "SequenceNumber": str(10**55 + nth),
        "ApproximateArrivalTimestamp": TIME,
        "Data": data,
        "PartitionKey": "outer",
        "ShardId": f"shardId-{nth % 2:012}",
    }


def batch(*blobs: bytes | None, **columns: Any) -> Any:
    return pa.RecordBatch.from_pydict({"data": pa.array(blobs, pa.binary()), **columns})


def rows(batches: Iterable[Any]) -> list[dict[str, Any]]:
    return [row for one in batches for row in one.to_pylist()]


def as_received(table: Any) -> list[sp.ReceivedRecord]:
    table.validate(full=True)
    return [
        sp.ReceivedRecord(**{name: value for name, value in row.items() if name != "fault"})
        for row in table.to_pylist()
    ]


def to_the_millisecond(records: Iterable[sp.ReceivedRecord]) -> list[sp.ReceivedRecord]:
    """`unpack`'s answer as columns can hold it: a time in milliseconds, and no tags."""
    out = []
    for record in records:
        time = record.approximate_arrival_timestamp
        if time is not None:
            time = time.replace(microsecond=time.microsecond // 1000 * 1000)
        out.append(record._replace(approximate_arrival_timestamp=time, tags=()))
    return out


def outcome(call: Any) -> Any:
    """What a call gives, or what it raises."""
    try:
        return call()
    except sp.DecodeError as error:
        return type(error), str(error)


@st.composite
def damaged(draw: st.DrawFn, blobs: st.SearchStrategy[bytes]) -> bytes:
    """Aggregates that were cut, changed, or changed and given a right checksum again."""
    blob = draw(blobs)
    kind = draw(st.sampled_from(["cut", "changed", "inside"]))
    if kind == "cut":
        return blob[: draw(st.integers(0, len(blob)))]
    if kind == "changed":
        place = draw(st.integers(0, max(len(blob) - 1, 0)))
        return blob[:place] + draw(st.binary(max_size=3)) + blob[place + 1 :]
    body = bytearray(blob[4:-16])
    for _ in range(draw(st.integers(1, 3))):
        if body:
            body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return frame(bytes(body))


AGGREGATES = strategies.aggregates().map(lambda aggregate: aggregate[0])
PACKED = st.lists(
    st.tuples(st.sampled_from(["a", "b", "\u00e9", "k" * 200]), strategies.data(max_size=400)), min_size=1, max_size=40
).flatmap(
    lambda records: st.sampled_from(
        [
            sp.encode(records),  # nobody has an explicit hash key
            sp.encode([(*record, "7") for record in records]),  # all have the same
            sp.encode([(*record, str(nth % 3)) for nth, record in enumerate(records)]),
            sp.encode([record if nth % 2 else (*record, "7") for nth, record in enumerate(records)]),
        ]
    )
)
DATA = st.one_of(PACKED, AGGREGATES, damaged(PACKED), damaged(AGGREGATES), strategies.data(max_size=200), PACKED)
POLICIES = st.fixed_dictionaries(
    {
        "on_corrupt": st.sampled_from(["raw", "raw", "raise", "kcl"]),
        "hash_range": st.sampled_from([None, None, EVERYTHING, HALF, (7, 7), sp.Shard("s", 0, 9)]),
        "out_of_range": st.sampled_from(["keep", "drop_record", "drop_aggregate", "raise"]),
    }
)
LIMITS = st.fixed_dictionaries({"max_rows": st.integers(1, 50), "max_bytes": st.integers(1, 5000)})


class TestEqualToUnpack:
    @pytest.mark.parametrize("policy", ["keep", "drop_record", "drop_aggregate"])
    @pytest.mark.parametrize("own", [None, "5", str(2**127)])
    def test_in_one_aggregate_some_have_an_explicit_hash_key_and_others_none(
        self, policy: Any, own: str | None
    ) -> None:
        blob = sp.encode([("@", b"without"), ("@", b"with", own)])  # the hash key of "@" is in the lower half
        options = {"hash_range": (0, 2**127 - 1), "out_of_range": policy}
        response = {"Records": [kinesis_record(blob, 0)]}

        expected = to_the_millisecond(sp.unpack(response, **options))

        assert as_received(arrow.to_table(response, **options)) == expected
        assert len(expected) == (
            2 if own != str(2**127) or policy == "keep" else ["drop_aggregate", "drop_record"].index(policy)
        )

    @settings(max_examples=3 * settings().max_examples)
    @given(blobs=st.lists(DATA, max_size=6), policy=POLICIES, limits=st.just({}) | LIMITS)
    def test_for_generated_corrupt_and_truncated_input(
        self, blobs: list[bytes], policy: dict[str, Any], limits: dict[str, int]
    ) -> None:
        response = {"Records": [kinesis_record(blob, nth) for nth, blob in enumerate(blobs)]}

        expected = outcome(lambda: to_the_millisecond(sp.unpack(response, **policy)))
        actual = outcome(lambda: as_received(arrow.to_table(response, **policy, **limits)))

        assert actual == expected

    @given(
        source=strategies.get_records_responses(data=DATA) | strategies.lambda_events(data=DATA),
        on_corrupt=st.sampled_from(["raw", "kcl"]),
    )
    def test_for_responses_and_events(self, source: dict[str, Any], on_corrupt: Any) -> None:
        table = arrow.to_table(source, on_corrupt=on_corrupt)

        assert as_received(table) == to_the_millisecond(sp.unpack(source, on_corrupt=on_corrupt))

    @given(blobs=st.lists(DATA, max_size=6), by_batch=st.booleans(), limits=st.just({}) | LIMITS)
    def test_batches_are_read_alike(self, blobs: list[bytes], by_batch: bool, limits: dict[str, Any]) -> None:
        batches = [batch(blob) for blob in blobs] if by_batch else [batch(*blobs)]

        got = rows(arrow.unpack_batches(batches, **limits))

        expected = [
            (r.partition_key, r.data, r.explicit_hash_key, r.sub_sequence_number, r.aggregated)
            for r in sp.unpack([{"Data": blob} for blob in blobs])
        ]
        assert [
            (r["partition_key"], r["data"], r["explicit_hash_key"], r["sub_sequence_number"], r["aggregated"])
            for r in got
        ] == expected

    @pytest.mark.parametrize("cut_at", ["start", "end"])
    def test_at_every_byte(self, cut_at: str) -> None:
        blob = sp.encode([("k", b"one", "5"), ("l", b"two" * 50, "5"), ("k", b"", "5")])
        cuts = [blob[:nth] if cut_at == "end" else blob[nth:] for nth in range(len(blob) + 1)]
        cuts += [frame(blob[4 : 4 + nth]) for nth in range(len(blob) - 20)]
        response = [kinesis_record(one) for one in cuts]

        assert as_received(arrow.to_table(response)) == to_the_millisecond(sp.unpack(response))

    def test_every_byte_changed_to_anything(self) -> None:
        body = sp.encode([("k", b"one", "5"), ("l", b"t" * 130, "5")])[4:-16]
        spoilt = [
            kinesis_record(frame(body[:place] + bytes([value]) + body[place + 1 :]))
            for place in range(len(body) - 130)
            for value in range(256)
        ]

        assert as_received(arrow.to_table(spoilt)) == to_the_millisecond(sp.unpack(spoilt))


class TestCut:
    """By Arrow's kernels, as without a native core."""

    @pytest.fixture(autouse=True)
    def pure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_cut, "backend", lambda: _pure)

    @staticmethod
    def cut(*blobs: bytes) -> Any:
        return _cut.cut([ArrayBlobs(pa.array(blobs, pa.large_binary()))])[0]

    @pytest.mark.parametrize(
        "sizes",
        [
            pytest.param([3], id="one size"),
            pytest.param([0, 1, 2, 3, 4], id="tiny"),
            pytest.param([*range(115, 130)], id="a length takes a second byte"),
            pytest.param([*range(16_370, 16_386), 40_000], id="a length takes a third byte"),
        ],
    )
    @pytest.mark.parametrize("explicit", [(), ("5",), ("340282366920938463463374607431768211455",)])
    @pytest.mark.parametrize("keys", [1, 2, 128, 129, 300])
    def test_sizes_and_keys(self, sizes: list[int], explicit: tuple[str, ...], keys: int) -> None:
        records: list[Any] = [
            (f"key-{nth % keys}", b"x" * sizes[nth % len(sizes)], *explicit) for nth in range(keys + 10)
        ]
        result = self.cut(sp.encode(records), b"plain", sp.encode(records[::-1]))

        expected = records + records[::-1]
        if keys > 128 and explicit and max(sizes) > 16_383:  # what stands before the data is more than eight bytes
            assert keys < 300 or result is None
            return
        assert result.counts == {0: len(records), 2: len(records)}
        assert result.columns["partition_key"].to_pylist() == [record[0] for record in expected]
        assert result.columns["data"].to_pylist() == [record[1] for record in expected]
        assert result.columns["explicit_hash_key"].to_pylist() == [
            record[2] if explicit else None for record in expected
        ]

    def test_the_dictionary_is_the_key_table_without_repetition(self) -> None:
        result = self.cut(sp.encode([("a", b""), ("b", b"")]), sp.encode([("b", b""), ("c", b"")]))

        assert result.columns["partition_key"].dictionary.to_pylist() == ["a", "b", "c"]

    def test_one_unusual_aggregate_leaves_the_others(self) -> None:
        usual, unusual = sp.encode([("a", b"x")] * 3), sp.encode([("a", b"x"), ("a", b"x", None, [("tag", "1")])])

        assert self.cut(usual, unusual, usual).counts == {0: 3, 2: 3}
        assert self.cut(unusual, b"plain", b"") is None

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"\x0a\x01k\x1a\x05\x08\x01\x1a\x01x", id="index outside the table"),
            pytest.param(b"\x0a\x01k\x1a\x07\x08\x00\x10\x00\x1a\x01x", id="no table for the explicit hash key"),
            pytest.param(b"\x0a\x01k\x12\x01\x35\x1a\x07\x08\x00\x10\x01\x1a\x01x", id="explicit index outside"),
            pytest.param(b"\x0a\x01k\x12\x01\x35\x1a\x05\x08\x00\x1a\x01x", id="explicit hash key not used"),
            pytest.param(b"\x0a\x01k\x1a\x05\x1a\x01x\x08\x00", id="another order"),
            pytest.param(b"\x0a\x01k\x1a\x02\x08\x00", id="no data"),
            pytest.param(b"\x0a\x01k\x1a\x03\x1a\x01x", id="no index"),
            pytest.param(b"\x0a\x01k\x1a\x00", id="empty record"),
            pytest.param(b"\x0a\x01k", id="no record"),
            pytest.param(b"\x48\x00", id="an unknown field and nothing else"),
            pytest.param(b"\x1a\x05\x08\x00\x1a\x01x\x0a\x01k", id="the table comes last"),
            pytest.param(b"\x0a\x01k\x1a\x05\x08\x00\x1a\x01x\x48\x00", id="an unknown field comes last"),
            pytest.param(b"\x0a\x01k\x1a\x85\x00\x08\x00\x1a\x01x", id="a length that takes too many bytes"),
            pytest.param(b"\x0a\x01k" + b"\x48\x00".join([b"\x1a\x05\x08\x00\x1a\x01x"] * 3), id="fields between"),
            pytest.param(b"\x0a\x01k" + b"\x1a\x05\x08\x00\x1a\x01x\x0a\x00" * 2, id="tables between"),
            pytest.param(
                b"\x0a\x01k\x1a\x05\x08\x00\x1a\x01x\x4a\x05\x08\x00\x1a\x01?\x1a\x05\x08\x00\x1a\x01x",
                id="an unknown field looks like a record",
            ),
            pytest.param(b"\x1a\x05\x08\x00\x1a\x01x", id="no tables"),
            pytest.param(b"\x0a\x01k\x1a\x05\x08\x00\x1a\x02x", id="data cut short"),
            pytest.param(b"\x0a\x01k\x1a\x06\x08\x00\x1a\x01xy", id="something after the data"),
            pytest.param(b"\x0a\x01k\x1a\x08\xff\xff\xff\xff\xff\xff\xff\xff", id="all ones"),
        ],
    )
    def test_what_is_not_cut(self, body: bytes) -> None:
        assert self.cut(frame(body)) is None
        assert self.cut(frame(body), sp.encode([("k", b"")])).counts == {1: 1}

    def test_a_part_of_an_array(self) -> None:
        blobs = pa.array([b"before", *[sp.encode([(str(nth), b"x")]) for nth in range(3)]], pa.large_binary())

        result: Any = _cut.cut([ArrayBlobs(blobs.slice(2, 1))])[0]

        assert (result.counts, result.columns["partition_key"].to_pylist()) == ({0: 1}, ["1"])

    @pytest.mark.parametrize("explicit", [True, False])
    def test_what_the_awslabs_aggregator_writes(self, explicit: bool) -> None:
        aggregator = pytest.importorskip("aws_kinesis_agg.aggregator").RecordAggregator()
        for nth in range(100):
            aggregator.add_user_record(f"k{nth}", b"%d" % nth, str(nth) if explicit else None)
        aggregated = aggregator.clear_and_get()

        result = self.cut(aggregated.get_contents()[2])

        assert result.columns["data"].to_pylist() == [b"%d" % nth for nth in range(100)]

    def test_keys_that_are_not_utf8(self) -> None:
        result = self.cut(frame(b"\x0a\x02k\xff\x1a\x05\x08\x00\x1a\x01x"))

        assert result.columns["partition_key"].to_pylist() == ["k\ufffd"]

    @pytest.mark.parametrize("on_corrupt", ["raw", "kcl"])
    def test_an_encoded_surrogate_is_one_replacement_character_for_the_kcl_only(self, on_corrupt: Any) -> None:
        blob = frame(b"\x0a\x03\xed\xa0\x80\x1a\x05\x08\x00\x1a\x01x")

        (row,) = rows(arrow.unpack_batches([batch(blob)], on_corrupt=on_corrupt))

        assert row["partition_key"] == "\ufffd" * (1 if on_corrupt == "kcl" else 3)


@pytest.mark.skipif(sp.native == "pure", reason="only the native core reads them all at once")
class TestOddOnesNatively:
    """What the native core has read once is not read again: that is most of what odd aggregates cost."""

    @pytest.fixture(autouse=True)
    def once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def read(*_: Any) -> Any:
            raise AssertionError("it was read one by one")

        monkeypatch.setattr(_expand, "reader", lambda *_: read)

    def test_tags(self) -> None:
        tagged = [sp.UserRecord("a", b"x", None, (("tag", "1"), ("tag", None))), sp.UserRecord("b", b"y")]
        blobs = frame(b"\x0a\x01k\x1a\x0a\x08\x00\x1a\x01x\x22\x03\x0a\x01\xff"), sp.encode(tagged)

        got = rows(arrow.unpack_batches(batch(*blobs)))

        assert [(row["partition_key"], row["data"], row["fault"]) for row in got] == [
            ("k", b"x", None),
            ("a", b"x", None),
            ("b", b"y", None),
        ]

    def test_keys_that_are_not_utf8(self) -> None:
        records = b"\x1a\x05\x08\x00\x1a\x01x\x1a\x05\x08\x01\x1a\x01y"

        table = arrow.unpack_batches(batch(frame(b"\x0a\x02k\xff\x0a\x02k\xfe" + records)))

        (keys,) = (one.column("partition_key") for one in table)
        assert (keys.to_pylist(), keys.dictionary.to_pylist()) == (["k\ufffd"] * 2, ["k\ufffd"])

    @pytest.mark.parametrize("hash_range", [None, (0, 6)])
    def test_what_is_not_sound(self, hash_range: Any) -> None:
        good = sp.encode([("k", b"x", "5")])
        blobs = good[:-1] + b"?", frame(b"\x0a\x05k"), frame(b"\x0a\x01k"), good

        got = rows(arrow.unpack_batches(batch(*blobs), hash_range=hash_range))

        assert [(row["data"], row["fault"]) for row in got] == [
            (blobs[0], "checksum_mismatch"),
            (blobs[1], "truncated"),
            (blobs[2], "malformed"),
            (b"x", None),
        ]

    def test_nothing_that_is_sound(self) -> None:
        (row,) = rows(arrow.unpack_batches(batch(frame(b"\x0a\x01k"))))

        assert row["fault"] == "malformed"


@pytest.mark.parametrize("hash_range", [None, EVERYTHING, (0, 6)])
def test_both_cores_cut_alike(monkeypatch: pytest.MonkeyPatch, hash_range: Any) -> None:
    aggregate = sp.encode([("k", b"one", "5"), ("\u00e9", b"two", "7")])
    blobs = (aggregate, b"plain", aggregate, aggregate, MAGIC, sp.encode([("k", b"")]), sp.encode([("k", b"")] * 300))
    source = [kinesis_record(blob) for blob in blobs]
    table = arrow.to_table(source, hash_range=hash_range)
    assert as_received(table) == to_the_millisecond(sp.unpack(source))
    monkeypatch.setattr(_cut, "backend", lambda: _pure)
    assert arrow.to_table(source, hash_range=hash_range).equals(table)


class TestColumns:
    def test_the_schema(self) -> None:
        assert {field.name: str(field.type) for field in arrow.SCHEMA} == {
            "shard_id": "dictionary<values=string, indices=int32, ordered=0>",
            "sequence_number": "dictionary<values=string, indices=int32, ordered=0>",
            "sub_sequence_number": "uint32",
            "partition_key": "dictionary<values=string, indices=int32, ordered=0>",
            "explicit_hash_key": "dictionary<values=string, indices=int32, ordered=0>",
            "data": "binary",
            "approximate_arrival_timestamp": "timestamp[ms, tz=UTC]",
            "aggregated": "bool",
            "fault": "string",
        }

    @pytest.mark.parametrize(
        "names",
        [
            ["shard_id", "sequence_number", "partition_key", "approximate_arrival_timestamp"],
            ["shardId", "sequenceNumber", "partitionKey", "approximateArrivalTimestamp"],
            ["ShardId", "SequenceNumber", "PartitionKey", "ApproximateArrivalTimestamp"],
        ],
    )
    def test_metadata_is_known_by_every_spelling(self, names: list[str]) -> None:
        values = [["s"], ["1"], ["outer"], pa.array([TIME], pa.timestamp("us", "UTC"))]
        source = batch(sp.encode([("k", b"x")]), **dict(zip(names, values, strict=True)), stream=["clicks"])

        (row,) = rows(arrow.unpack_batches([source]))

        assert row == {
            "shard_id": "s",
            "sequence_number": "1",
            "sub_sequence_number": 0,
            "partition_key": "k",
            "explicit_hash_key": None,
            "data": b"x",
            "approximate_arrival_timestamp": TIME,
            "aggregated": True,
            "fault": None,
            "stream": "clicks",
        }

    @pytest.mark.parametrize(
        "kind",
        [
            *(pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int8(), pa.binary())),
        ],
        ids=str,
    )
    def test_data_of_every_binary_type(self, kind: Any) -> None:
        blob = sp.encode([("k", b"x")])
        source = pa.RecordBatch.from_pydict({"payload": pa.array([blob, None, b"plain"], pa.binary()).cast(kind)})

        assert [row["data"] for row in rows(arrow.unpack_batches([source], data="payload"))] == [b"x", None, b"plain"]

    @pytest.mark.parametrize(
        "kind",
        [
            *(pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int16(), pa.string())),
        ],
        ids=str,
    )
    def test_text_of_every_type(self, kind: Any) -> None:
        source = batch(
            b"x", b"y", sequence_number=pa.array(["5", None]).cast(kind), stream=pa.array(["a", "b"]).cast(kind)
        )

        for repeated in ("dictionary", "plain"):
            got = arrow.to_table(source, repeated=repeated)

            assert got["sequence_number"].to_pylist() == ["5", None]
            assert got["stream"].to_pylist() == ["a", "b"]
            assert got.schema == arrow.unpacked_schema(source.schema, repeated=repeated)

    @pytest.mark.parametrize(
        "kind", [pa.timestamp("ns"), pa.timestamp("s", "UTC"), pa.timestamp("us", "Europe/Berlin")], ids=str
    )
    def test_times_of_every_type(self, kind: Any) -> None:
        time = TIME.replace(microsecond=0)
        source = batch(
            b"x",
            approximateArrivalTimestamp=pa.array([time])
            .cast(pa.timestamp("us"))
            .cast(pa.timestamp("us", "UTC"))
            .cast(kind, safe=False)
            if kind.tz
            else pa.array([time.replace(tzinfo=None)], kind),
        )

        assert rows(arrow.unpack_batches([source]))[0]["approximate_arrival_timestamp"] == time

    def test_other_columns_of_any_type_are_repeated(self) -> None:
        source = batch(
            sp.encode([("k", b"x"), ("k", b"y")]),
            b"plain",
            tags=pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
            size=[5, None],
            offset=[[1, 2], []],
        )

        got = rows(arrow.unpack_batches([source]))

        assert [(row["tags"], row["size"], row["offset"]) for row in got] == [
            *[([("a", 1)], 5, [1, 2])] * 2,
            (None, None, []),
        ]

    def test_sub_sequence_numbers_of_the_input_stay_with_plain_records(self) -> None:
        source = batch(b"x", sp.encode([("k", b"y")]), MAGIC, subSequenceNumber=[7, 8, 9])

        assert [row["sub_sequence_number"] for row in rows(arrow.unpack_batches([source]))] == [7, 0, 9]

    @pytest.mark.parametrize(
        ("columns", "error", "message"),
        [
            ({"data": pa.array(["eA=="])}, TypeError, "'data' has the type string; expected binary; decode base64"),
            ({"blob": pa.array([b"x"])}, ValueError, "no column 'data' among 'blob'"),
            (
                {"data": pa.array([b"x"]), "aggregated": pa.array([True])},
                ValueError,
                "a column 'aggregated' of its own",
            ),
            (
                {"data": pa.array([b"x"]), "shardId": pa.array(["s"]), "shard_id": pa.array(["s"])},
                ValueError,
                "both mean",
            ),
            (
                {"data": pa.array([b"x"]), "sequence_number": pa.array([5])},
                TypeError,
                "'sequence_number' has the type int",
            ),
            (
                {"data": pa.array([b"x"]), "approximate_arrival_timestamp": pa.array([5])},
                TypeError,
                "has the type int64; expected a timestamp",
            ),
        ],
    )
    def test_columns_that_do_not_suit(self, columns: dict[str, Any], error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            list(arrow.unpack_batches([pa.RecordBatch.from_pydict(columns)]))


class TestFaults:
    @staticmethod
    def faults(blob: bytes, **policy: Any) -> list[str | None]:
        return [row["fault"] for row in rows(arrow.unpack_batches([batch(blob)], **policy))]

    def test_what_is_delivered_whole_says_why(self) -> None:
        blob = sp.encode([("k", b"x")])

        assert self.faults(blob) == [None]
        assert self.faults(b"plain") == [None]
        assert self.faults(blob[:-1] + b"?") == ["checksum_mismatch"]
        assert self.faults(MAGIC) == ["truncated"]
        assert self.faults(frame(b"\x0a\x05k")) == ["truncated"]
        assert self.faults(frame(b"\x0a\x01k")) == ["malformed"]
        assert self.faults(frame(b"\x0a\x01k"), on_corrupt="kcl") == []  # tables alone are nothing, says the KCL
        assert self.faults(blob[:-1] + b"?", on_corrupt="kcl") == ["checksum_mismatch"]

    def test_what_is_kept_out_of_range_says_so(self) -> None:
        blob = sp.encode([("k", b"x", "5"), ("k", b"y", "6"), ("k", b"z", "7")])
        no_number = frame(b"\x0a\x01k\x12\x01?\x1a\x07\x08\x00\x10\x00\x1a\x01x")

        assert self.faults(blob, hash_range=(5, 7)) == [None] * 3
        assert self.faults(blob, hash_range=(6, 6)) == ["out_of_range", None, "out_of_range"]
        assert self.faults(blob, hash_range=(6, 6), out_of_range="drop_record") == [None]
        assert self.faults(blob, hash_range=(6, 6), out_of_range="drop_aggregate") == []
        assert self.faults(no_number, hash_range=(6, 6)) == ["out_of_range"]
        assert self.faults(no_number, hash_range=(6, 6), on_corrupt="raise") == ["out_of_range"]
        assert self.faults(no_number, hash_range=(6, 6), out_of_range="drop_record") == ["malformed"]

    @pytest.mark.parametrize(
        ("hash_range", "faults"),
        [
            ((0, 2**128 - 1), [None, None]),
            ((sp.hash_key("a"), sp.hash_key("b")), [None, None]),
            ((sp.hash_key("a") + 1, 2**128 - 1), ["out_of_range", None]),
            ((0, sp.hash_key("b") - 1), [None, "out_of_range"]),
        ],
    )
    def test_both_ends_of_a_hash_range_count(self, hash_range: tuple[int, int], faults: list[str | None]) -> None:
        assert sp.hash_key("a") < sp.hash_key("b")

        assert self.faults(sp.encode([("a", b"x"), ("b", b"x")]), hash_range=hash_range) == faults

    @pytest.mark.parametrize("core", ["native", "pure"])
    def test_an_explicit_hash_key_decides_also_where_others_have_none(
        self, monkeypatch: pytest.MonkeyPatch, core: str
    ) -> None:
        if core == "pure":
            monkeypatch.setattr(_cut, "backend", lambda: _pure)
        both = sp.encode([("a", b"x"), ("a", b"x", "5")])
        own = sp.hash_key("a")

        assert self.faults(both, hash_range=(own, own)) == [None, "out_of_range"]
        assert self.faults(both, hash_range=(5, own)) == [None, None]

    def test_every_shard_has_its_hash_range(self) -> None:
        blob = sp.encode([("k", b"x", "5")])
        source = batch(blob, blob, shard_id=["a", "b"])
        ranges: dict[str, sp.Shard | tuple[int, int]] = {"a": sp.Shard("a", 0, 5), "b": (6, 9)}

        got = rows(arrow.unpack_batches([source], hash_range=ranges))
        assert [row["fault"] for row in got] == [None, "out_of_range"]
        with pytest.raises(ValueError, match="hash_range has no shard 'b', only a;"):
            list(arrow.unpack_batches([source], hash_range={"a": (0, 1)}))

    @pytest.mark.parametrize(
        "options",
        [
            {"on_corrupt": "ignore"},
            {"out_of_range": "no"},
            {"hash_range": (2, 1)},
            {"hash_range": {"a": (2, 1)}},
            {"max_rows": 0},
            {"max_bytes": 0},
            {"max_bytes": 2**31},
            {"max_key_characters": 0},
            {"repeated": "often"},
        ],
    )
    def test_options_are_checked_before_anything_is_read(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(options))):
            arrow.unpack_batches([], **options)

    def test_something_else_than_batches(self) -> None:
        with pytest.raises(TypeError, match="for Kinesis records, use to_table"):
            list(arrow.unpack_batches({"Records": []}))


class TestLongKeys:
    long, short = sp.encode([("k" * 200, b"x")] * 2), sp.encode([("k", b"x")])
    explicit = frame(b"\x0a\x01k\x12" + bytes([100]) + b"7" * 100 + b"\x1a\x06\x08\x00\x10\x00\x1a\x00")

    @pytest.mark.parametrize("core", ["native", "pure"])
    @pytest.mark.parametrize("on_corrupt", ["raw", "kcl"])
    def test_an_aggregate_with_one_comes_whole_and_takes_no_other_with_it(
        self, monkeypatch: pytest.MonkeyPatch, core: str, on_corrupt: Any
    ) -> None:
        if core == "pure":
            monkeypatch.setattr(_cut, "backend", lambda: _pure)
        blobs = [self.short, self.long, self.explicit, self.short]

        got = rows(arrow.unpack_batches(batch(*blobs), max_key_characters=99, on_corrupt=on_corrupt))

        assert [(row["data"], row["fault"]) for row in got] == [
            (b"x", None),
            (self.long, "long_key"),
            (self.explicit, "long_key"),
            (b"x", None),
        ]
        assert [row["fault"] for row in rows(arrow.unpack_batches(batch(*blobs), max_key_characters=200))] == [None] * 5

    def test_it_raises_if_that_is_asked_for(self) -> None:
        with pytest.raises(sp.MalformedError, match="a partition key of 200 characters, more than max_key_characters"):
            list(arrow.unpack_batches(batch(self.long), max_key_characters=199, on_corrupt="raise"))

    @pytest.mark.parametrize(("name", "most"), [("sequence_number", 129), ("shard_id", 128)])
    def test_what_kinesis_never_writes_so_long_is_not_written_out_in_each_row(self, name: str, most: int) -> None:
        fits, long = (batch(self.short, None, **{name: pa.array(["1" * n, None])}) for n in (most, most + 1))

        assert arrow.to_table(fits, repeated="plain")[name].to_pylist() == ["1" * most, None]
        assert arrow.to_table(long)[name].to_pylist() == ["1" * (most + 1), None]
        with pytest.raises(ValueError, match=f"the column {name} has a text of {most + 1} characters"):
            arrow.to_table(long, repeated="plain")

    @pytest.mark.parametrize("character", ["7", "8"])
    def test_one_character_may_be_a_partition_key_here_and_an_explicit_hash_key_there(self, character: str) -> None:
        unknown = frame(sp.encode([(character, b"a"), ("k", b"b", "7")])[4:-16] + b"\x28\x00")  # read one by one

        table = arrow.to_table(batch(unknown), hash_range=(0, 99), out_of_range="drop_record")

        assert table["data"].to_pylist() == [b"b"]

    @pytest.mark.parametrize("repeated", ["dictionary", "plain"])
    def test_keys_that_are_equal_are_one_entry(self, repeated: Any) -> None:
        """Both cores, and what neither core cuts."""
        odd = frame(b"\x0a\x01k" * 2 + b"\x1a\x04\x08\x00\x1a\x00" + b"\x1a\x04\x08\x01\x1a\x00" + b"\x28\x00")

        table = arrow.to_table(batch(self.short, odd, self.short), repeated=repeated)

        assert table["partition_key"].to_pylist() == ["k"] * 4
        if repeated == "dictionary":
            assert table["partition_key"].combine_chunks().dictionary.to_pylist() == ["k"]
        else:
            assert table.schema.field("partition_key").type == pa.string()


class TestBounds:
    @given(blobs=st.lists(DATA, max_size=4), max_rows=st.integers(1, 30), max_bytes=st.integers(1, 3000))
    def test_no_batch_is_larger(self, blobs: list[bytes], max_rows: int, max_bytes: int) -> None:
        for one in arrow.unpack_batches([batch(*blobs)], max_rows=max_rows, max_bytes=max_bytes, repeated="plain"):
            assert 1 <= len(one) <= max_rows
            data = sum(len(row["data"]) + len(row["partition_key"] or "") for row in one.to_pylist())
            assert data <= max_bytes or len(one) == 1

    @pytest.mark.parametrize(("explicit_hash_key", "note"), [(500_000, 0), (1, 500_000)])
    def test_an_aggregate_that_grows_is_handed_out_in_parts(self, explicit_hash_key: int, note: int) -> None:
        """An explicit hash key, or another column, of 500 kB for each of 1,000 records."""
        body = b"\x0a\x01k\x12" + _varint(explicit_hash_key) + b"9" * explicit_hash_key
        body += b"\x1a\x06\x08\x00\x10\x00\x1a\x00" * 1000
        source = batch(frame(body), notes=["n" * note])

        batches = arrow.unpack_batches([source], max_bytes=10_000_000, repeated="plain")
        largest = max(one.get_total_buffer_size() for one in batches)

        assert largest < 40_000_000

    def test_a_batch_of_short_texts_is_bounded_by_its_data_alone(self) -> None:
        """The key of 3,000 characters stands in the dictionary, once."""
        source = batch(sp.encode([("k", b"x" * 68)] * 3), stream=["s" * 3000])

        assert [len(one) for one in arrow.unpack_batches(source, max_bytes=200)] == [2, 1]
        assert [len(one) for one in arrow.unpack_batches(source, max_bytes=7000, repeated="plain")] == [2, 1]

    def test_data_that_no_column_can_hold_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_unpack, "_LARGEST_VALUE", 10)

        with pytest.raises(ValueError, match="record 1 of the batch has 11 bytes of data, more than the 10"):
            list(arrow.unpack_batches(batch(b"x" * 10, b"x" * 11)))

    @pytest.mark.parametrize("core", ["native", "pure"])
    def test_an_aggregate_too_large_for_the_offsets_of_its_keys_comes_whole(
        self, monkeypatch: pytest.MonkeyPatch, core: str
    ) -> None:
        if core == "pure":
            monkeypatch.setattr(_cut, "backend", lambda: _pure)
        blob = sp.encode([("k", b"x")])
        for module in (_cut, _expand):
            monkeypatch.setattr(module, "LARGEST", len(blob) - 1)

        (row,) = rows(arrow.unpack_batches(batch(blob)))

        assert (row["data"], row["aggregated"], row["fault"]) == (blob, False, "malformed")

    def test_it_reads_no_more_than_it_is_asked_for(self) -> None:
        read = []

        def batches() -> Iterable[Any]:
            for nth in range(3):
                read.append(nth)
                yield batch(sp.encode([("k", b"x")]))

        unpacked = arrow.unpack_batches(batches())
        assert read == []
        next(iter(unpacked))
        assert read == [0]

    def test_what_is_expanded_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_unpack, "_GROUP_BYTES", 10)

        def groups(*sizes: int, max_rows: int = 100) -> list[tuple[int, int]]:
            return list(_unpack._groups(sizes, max_rows))

        assert groups() == []
        assert groups(100) == [(0, 1)]
        assert groups(5, 5, 1, 20, 9, 1) == [(0, 2), (2, 1), (3, 1), (4, 2)]
        assert groups(5, 5, 1, 4) == [(0, 4)]  # a rest of half a group, and not more, goes with what is before it
        assert groups(5, 5, 1, 5) == [(0, 2), (2, 2)]
        assert groups(0, 0, 0, 0, 0, max_rows=2) == [(0, 2), (2, 2), (4, 1)]

    def test_a_batch_may_be_full_to_the_byte(self) -> None:
        source = batch(b"x" * 68, b"x" * 68, b"x" * 69)

        assert [len(one) for one in arrow.unpack_batches(source, max_bytes=200)] == [2, 1]

    def test_many_groups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_unpack, "_GROUP_BYTES", 100)
        blobs = [sp.encode([(f"k{nth}", os.urandom(10))] * (nth % 5 + 1)) for nth in range(50)] + [b"p"] * 50
        source = [kinesis_record(blob, nth) for nth, blob in enumerate(blobs)]

        assert as_received(arrow.to_table(source)) == to_the_millisecond(sp.unpack(source))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


class TestSources:
    blob = sp.encode([("k", b"x")])

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda one: one,
            lambda one: [one],
            lambda one: iter([one]),
            lambda one: pa.Table.from_batches([one]),
            lambda one: [pa.Table.from_batches([one])],
            lambda one: pa.RecordBatchReader.from_batches(one.schema, [one]),
        ],
        ids=["batch", "list", "iterator", "table", "list of tables", "reader"],
    )
    def test_whatever_exports_arrow(self, wrap: Any) -> None:
        assert [row["data"] for row in rows(arrow.unpack_batches(wrap(batch(self.blob))))] == [b"x"]

    def test_nothing(self) -> None:
        assert list(arrow.unpack_batches([])) == []
        assert list(arrow.unpack_batches([batch()])) == []
        assert arrow.to_table([]).schema == arrow.SCHEMA
        assert arrow.to_table({"Records": []}).num_rows == 0
        assert arrow.to_table(batch(stream=pa.array([], pa.string()))).schema.names == [*arrow.SCHEMA.names, "stream"]

    def test_it_can_be_pickled_and_keeps_nothing(self) -> None:
        unpack = pickle.loads(pickle.dumps(functools.partial(arrow.unpack_batches, max_rows=2, hash_range=EVERYTHING)))
        source = batch(self.blob, b"plain")

        assert rows(unpack([source])) == rows(unpack([source])) == rows(arrow.unpack_batches([source]))


class TestPack:
    @given(
        records=strategies.user_record_lists(tags=st.just(()), data=strategies.data(max_size=300)),
        max_rows=st.integers(1, 5),
        max_bytes=st.integers(1, 2000),
        limit=st.integers(2000, 3000),
    )
    def test_the_same_as_pack(self, records: list[sp.UserRecord], max_rows: int, max_bytes: int, limit: int) -> None:
        columns = {
            name: [getattr(record, name) for record in records] for name in ("partition_key", "explicit_hash_key")
        }
        source = batch(
            *[record.data for record in records], **{name: pa.array(c, pa.string()) for name, c in columns.items()}
        )

        packed = list(arrow.pack_batches([source], limits=sp.Limits(limit), max_rows=max_rows, max_bytes=max_bytes))

        assert [sp.PackedRecord(**row) for row in rows(packed)] == list(sp.pack(records, limits=sp.Limits(limit)))
        assert all(one.schema == arrow.PACKED_SCHEMA for one in packed)
        for one in packed:
            assert len(one) <= max_rows
            assert len(one) == 1 or sum(len(row["data"]) for row in one.to_pylist()) <= max_bytes

    def test_there_and_back(self) -> None:
        records = [(f"k{nth % 7}", os.urandom(nth)) for nth in range(200)]
        table = arrow.to_table(sp.pack(records))

        again = arrow.to_table(pa.Table.from_batches(arrow.pack_batches(table)))

        assert [(row["partition_key"], row["data"]) for row in again.to_pylist()] == records
        assert [(row["partition_key"], row["data"]) for row in table.to_pylist()] == records

    def test_columns_by_other_names(self) -> None:
        source = pa.table({"user": ["k"], "event": [b"x"]})

        (row,) = rows(arrow.pack_batches(source, data="event", partition_key="user"))

        assert (row["partition_key"], row["data"], row["user_record_count"]) == ("k", b"x", 1)

    def test_what_cannot_be_packed(self) -> None:
        with pytest.raises(ValueError, match="no column 'partition_key' among 'data'"):
            list(arrow.pack_batches(batch(b"x")))
        with pytest.raises(sp.InvalidRecordError, match="data is of type NoneType"):
            list(arrow.pack_batches(batch(None, partition_key=["k"])))
        with pytest.raises(ValueError, match="max_rows"):
            arrow.pack_batches([], max_rows=0)
