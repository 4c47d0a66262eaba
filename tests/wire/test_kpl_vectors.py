"""Aggregates of the real KPL (tests/vectors/kpl-<version>): we read them, and make the same of what is inside."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import shardpack as sp

ROWS = [
    pytest.param(row, id=f"{file.parent.name}-{nth}")
    for file in sorted(Path(__file__).parents[1].glob("vectors/kpl-*/aggregates.json"))
    for nth, row in enumerate(json.loads(file.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("row", ROWS)
def test_reads_what_the_kpl_wrote(row: dict[str, Any]) -> None:
    records = sp.decode(base64.b64decode(row["data"]))
    got = [[r.partition_key, r.explicit_hash_key, hashlib.md5(r.data).hexdigest()] for r in records]
    assert got == row["records"]


@pytest.mark.parametrize("row", ROWS)
def test_writes_what_the_kpl_wrote(row: dict[str, Any]) -> None:
    blob = base64.b64decode(row["data"])
    records = sp.decode(blob)
    packed = sp.pack(records, by="shard", shard_map=sp.ShardMap(row["shards"]), limits=sp.Limits.kpl(), hash_keys="kpl")
    assert [(p.data, p.partition_key, p.explicit_hash_key, p.shard_id) for p in packed] == [
        (blob, row["partition_key"], row["explicit_hash_key"], row["shard_id"])
    ]
    assert sp.encode(records) == blob


def test_there_are_rows() -> None:
    assert len(ROWS) > 20
