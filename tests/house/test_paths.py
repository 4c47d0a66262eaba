"""Every path under which the README and the guides import something stays valid."""

from __future__ import annotations

import importlib
import inspect
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import shardpack as sp

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FROM = re.compile(r"^\s*from (shardpack[\w.]*) import \(?([\w, ]+)\)?", re.MULTILINE)
NAMED = re.compile(r"`(shardpack(?:\.\w+)+)")

PUBLIC = [
    *(
        (f"shardpack.{module}", name)
        for module, names in {
            "arrow": "PACKED_SCHEMA SCHEMA pack_batches to_table unpack_batches unpacked_schema",
            "aws_lambda": "DynamoDBProgress InvokeFunction Progress PutAgain SQLiteProgress process replay",
            "compat.aws_kinesis_agg": "AggRecord RecordAggregator deaggregate_records iter_deaggregate_records",
            "compat.aws_kinesis_agg.aggregator": "AggRecord RecordAggregator",
            "compat.aws_kinesis_agg.deaggregator": "deaggregate_records iter_deaggregate_records",
            "consumer": "AsyncBatch AsyncConsumer Batch Consumer ConsumerConfig DynamoDBLeases Lease Leases"
            " MemoryLeases SQLiteLeases",
            "dedup": "Deduplicator RecordDigest",
            "density": "Measurement Overhead Prices Row Spread Strategy measure usual_strategies",
            "errors": "ShardpackError",
            "firehose": "Transformed transform",
            "hashing": "Shard ShardMap hash_key",
            "leases": "DynamoDBLeases Lease Leases MemoryLeases SQLiteLeases",
            "limits": "Limits",
            "multilang": "Batch Checkpointer RecordProcessor run run_each run_processor",
            "producer": "METRIC_NAMES AsyncProducer Attempt Delivery Producer ProducerConfig ProducerStats Statistics",
            "records": "PackedRecord Position ReceivedRecord UserRecord",
            "spark": "SCHEMA register unpack unpacked",
            "testing": "AsyncFakeKinesis Call Clock FakeKinesis ManualClock Script SystemClock strategies",
            "wire": "decode encode is_aggregated",
        }.items()
        for name in names.split()
    ),
    *(("shardpack", name) for name in sp.__all__),
]


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_a_public_name_can_be_imported(module: str, name: str) -> None:
    if module in ("shardpack.arrow", "shardpack.spark"):
        pytest.importorskip("pyarrow")
    if name in ("AsyncFakeKinesis", "FakeKinesis"):
        pytest.importorskip("botocore")
    if name == "register":
        pytest.importorskip("pyspark")
    assert getattr(importlib.import_module(module), name) is not None


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_a_public_name_says_what_it_means(module: str, name: str) -> None:
    """ruff's D1 asks the same of modules, but not of private ones, from which some public names come."""
    if module in ("shardpack.arrow", "shardpack.spark"):
        pytest.importorskip("pyarrow")
    if name in ("AsyncFakeKinesis", "FakeKinesis"):
        pytest.importorskip("botocore")
    if name == "register":
        pytest.importorskip("pyspark")
    value = getattr(importlib.import_module(module), name)
    if not inspect.isclass(value) and not inspect.isroutine(value):
        return  # a constant
    silent = [] if inspect.getdoc(value) else [name]
    for member in filter(lambda member: not member.startswith("_"), dir(value) if inspect.isclass(value) else ()):
        found = getattr(value, member)
        if (inspect.isroutine(found) or isinstance(found, property)) and not inspect.getdoc(found):
            silent.append(f"{name}.{member}")
    assert not silent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_imports_or_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for module, names in FROM.findall(text):
        for name in filter(None, re.split(r"[,\s]+", names)):
            # A module inside is there whether or not another test has loaded it.
            is_there = hasattr(importlib.import_module(module), name) or find_spec(f"{module}.{name}") is not None
            assert is_there, (module, name)
    for dotted in NAMED.findall(text):
        at: object = sp
        module = "shardpack"
        for part in dotted.split(".")[1:]:
            module = f"{module}.{part}"
            if not hasattr(at, part):
                importlib.import_module(module)
            at = getattr(at, part)


def test_the_old_name_of_multilang_warns_and_works_for_one_release() -> None:
    import sys

    sys.modules.pop("shardpack.kcl", None)
    with pytest.warns(DeprecationWarning, match=r"shardpack\.multilang"):
        old = importlib.import_module("shardpack.kcl")
    new = importlib.import_module("shardpack.multilang")
    assert old.__all__ == new.__all__
    assert all(getattr(old, name) is getattr(new, name) for name in old.__all__)
