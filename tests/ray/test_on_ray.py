"""A real local Ray reads and writes a real local Kinesis; `make test-ray` brings it. The rest is in the other file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from resharded import Resharded, resharded

data: Any = pytest.importorskip("ray.data")
pytest.importorskip("boto3")
import servers

import ray
import shardpack as sp
from shardpack.arrow import read_stream
from shardpack.ray import KinesisDatasink, KinesisDatasource

# What Ray and pandas warn of is not ours to judge.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def stream() -> Iterator[Resharded]:
    with resharded() as made:
        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
        yield made
        ray.shutdown()


def place(row: dict[str, Any]) -> tuple[str, sp.Position]:
    return row["shard_id"], sp.Position(row["sequence_number"], row["sub_sequence_number"])


def test_a_stream_is_read_and_put_into_another(stream: Resharded) -> None:
    clicks = data.read_datasource(KinesisDatasource(**stream.where))
    rows = clicks.take_all()
    assert sorted(rows, key=place) == stream.rows

    servers.create_stream(stream.client, "clean", 2)
    where = {**stream.where, "stream": "clean"}
    shouted = clicks.map_batches(lambda table: table, batch_format="pyarrow").select_columns(["partition_key", "data"])
    shouted.write_datasink(KinesisDatasink(**where))
    put = read_stream(**where, columns=["partition_key", "data"]).read_all().to_pylist()
    assert sorted((row["partition_key"], row["data"]) for row in put) == sorted(
        (row["partition_key"], row["data"]) for row in stream.rows
    )


def test_the_first_rows_are_taken(stream: Resharded) -> None:
    clicks = data.read_datasource(KinesisDatasource(**stream.where, columns=["shard_id", "data"]))
    assert len(clicks.limit(7).take_all()) == 7
    assert clicks.count() == 360


def test_an_empty_stream_has_no_rows(stream: Resharded) -> None:
    servers.create_stream(stream.client, "empty", 1)
    assert data.read_datasource(KinesisDatasource(**{**stream.where, "stream": "empty"})).take_all() == []


def test_what_cannot_be_put_is_told(stream: Resharded) -> None:
    numbers = data.range(3)
    with pytest.raises(Exception, match="no column partition_key, but id"):
        numbers.write_datasink(KinesisDatasink(**stream.where))
