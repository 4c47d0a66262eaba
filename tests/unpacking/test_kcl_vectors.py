"""KCL 3.5.1's own answers, row by row (tests/vectors/kcl/3.5.1.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import shardpack as sp

ROWS = json.loads((Path(__file__).parents[1] / "vectors" / "kcl" / "3.5.1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_delivers_what_the_kcl_delivers(row: dict[str, Any]) -> None:
    blob = bytes.fromhex(row["blob"])
    hash_range = int(row["starting_hash_key"]), int(row["ending_hash_key"])

    delivered = list(
        sp.unpack(
            {"Data": blob, "PartitionKey": "outer", "SequenceNumber": "1"},
            on_corrupt="kcl",
            hash_range=hash_range,
            out_of_range="drop_aggregate",
        )
    )

    if row["delivered"] == "raw":
        assert [(r.data, r.partition_key, r.sub_sequence_number, r.aggregated) for r in delivered] == [
            (blob, "outer", 0, False)
        ]
    else:
        assert [
            {
                "partition_key": r.partition_key,
                "explicit_hash_key": r.explicit_hash_key,
                "sub_sequence_number": r.sub_sequence_number,
                "aggregated": r.aggregated,
                "data": r.data.hex(),
            }
            for r in delivered
        ] == row["delivered"]


def test_there_are_rows() -> None:
    assert len(ROWS) == 51
