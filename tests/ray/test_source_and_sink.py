"""What Ray calls of the source and the sink, on a real local server, with as much of Ray as that takes (`mini_ray`)."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from resharded import NAME, Resharded, resharded

pa = pytest.importorskip("pyarrow")
pytest.importorskip("boto3")
import mini_ray
import servers

import shardpack as sp
from shardpack.ranges.shells import reading


@pytest.fixture(scope="module")
def stream() -> Iterator[Resharded]:
    with resharded() as made:
        yield made


@pytest.fixture(autouse=True)
def _ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(reading, "sleep", lambda _: None)
    yield from mini_ray.installed()


def source(stream: Resharded, **options: Any) -> Any:
    from shardpack.ray import KinesisDatasource

    return KinesisDatasource(**stream.where, **options)


def test_each_shard_is_a_task_and_all_rows_are_read(stream: Resharded) -> None:
    made = source(stream)
    tasks = made.get_read_tasks(200)
    assert len(tasks) == 5
    assert made.estimate_inmemory_data_size() is None
    assert mini_ray.read_datasource(made).to_table().to_pylist() == stream.rows
    for task in tasks:
        tables = list(task())
        assert {table.schema for table in tables} == {task.schema}
        assert len({row["shard_id"] for table in tables for row in table.to_pylist()}) == 1


def test_columns_bounds_and_a_limit_are_kept_to(stream: Resharded) -> None:
    row = stream.rows[33]
    after = {row["shard_id"]: sp.Position(row["sequence_number"], row["sub_sequence_number"])}
    made = source(stream, columns=["data"], after=after, max_records_per_fetch=3)
    found = [one["data"] for one in mini_ray.read_datasource(made).to_table().to_pylist()]
    assert found == [
        one["data"] for one in stream.rows if one["shard_id"] != row["shard_id"] or one in stream.rows[34:]
    ]
    for task in made.get_read_tasks(1, per_task_row_limit=5):
        assert task.per_task_row_limit == 5  # Ray itself cuts what is beyond
        assert len(list(task())) <= 2


def test_a_task_that_finds_nothing_after_a_position_has_no_rows_but_columns(stream: Resharded) -> None:
    after = {
        row["shard_id"]: sp.Position(row["sequence_number"], row["sub_sequence_number"]) for row in stream.rows
    }  # the last of each shard
    tasks = source(stream, columns=["data"], after=after).get_read_tasks(1)
    tables = [table for task in tasks for table in task()]
    assert [(table.num_rows, table.schema.names) for table in tables] == [(0, ["data"])] * len(tasks)


def test_a_stream_without_records_has_no_rows_but_columns(stream: Resharded) -> None:
    kinesis = stream.client
    servers.create_stream(kinesis, "empty", 1)
    from shardpack.ray import KinesisDatasource

    table = mini_ray.read_datasource(
        KinesisDatasource(**{**stream.where, "stream": "empty"}, columns=["data"])
    ).to_table()
    assert (table.num_rows, table.schema.names) == (0, ["data"])


def test_rows_are_put_and_keep_their_keys(stream: Resharded) -> None:
    from shardpack.ray import KinesisDatasink

    servers.create_stream(stream.client, "clean", 2)
    where = {**stream.where, "stream": "clean"}
    mini_ray.read_datasource(source(stream)).write_datasink(KinesisDatasink(**where))
    put = reading.read_stream(**where).read_all().to_pylist()
    assert sorted((row["partition_key"], row["data"]) for row in put) == sorted(
        (row["partition_key"], row["data"]) for row in stream.rows
    )
    assert all(row["aggregated"] for row in put)


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"data": [b"1"]}, r"no column partition_key, but data; name one so: ds.rename_columns"),
        ({"partitionKey": ["k"]}, "no column data, but partitionKey"),
        (
            {"partition_key": ["k"], "partitionKey": ["k"], "data": [b"1"]},
            "'partition_key' and 'partitionKey' both mean",
        ),
        ({"partition_key": [1], "data": [b"1"]}, "'partition_key' has the type int64; it takes a string: cast it"),
    ],
)
def test_columns_that_cannot_be_put_are_named_before_the_first_task(
    stream: Resharded, columns: dict[str, Any], what: str
) -> None:
    from shardpack.ray import KinesisDatasink

    with pytest.raises(ValueError, match=what):
        KinesisDatasink(**stream.where).on_write_start(pa.table(columns).schema)


def test_what_is_wrong_is_told_at_once(stream: Resharded) -> None:
    from shardpack.ray import KinesisDatasink, KinesisDatasource

    where = {**stream.where, "stream": "none"}
    for kind in (KinesisDatasink, KinesisDatasource):
        with pytest.raises(sp.CallError, match=r"does not find the stream none .*; check stream, region_name"):
            kind(**where)
    with pytest.raises(ValueError, match="start is 'LATEST'"):
        source(stream, start="LATEST")
    with pytest.raises(TypeError, match="config is 'any'"):
        KinesisDatasink(NAME, config="any")  # type: ignore[arg-type]


def test_without_ray_the_extra_is_named() -> None:
    code = "import sys; sys.modules['ray'] = None\nimport shardpack.ray"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "shardpack.ray needs ray" in done.stderr
    assert "pip install 'shardpack[ray]'" in done.stderr


def test_all_ways_to_read_between_bounds_spell_their_arguments_alike() -> None:
    pytest.importorskip("polars")
    from shardpack.arrow import read_stream
    from shardpack.polars import scan_kinesis
    from shardpack.ray import KinesisDatasource

    def arguments(way: Any) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(way).parameters)

    by_arrow, by_polars, by_ray = map(arguments, (read_stream, scan_kinesis, KinesisDatasource))
    shared = by_arrow.keys() & by_ray.keys() - {"columns", "client"}
    assert len(shared) == 10
    for name in shared:
        assert by_arrow[name] == by_polars[name] == by_ray[name]
    assert by_arrow["client"] == by_polars["client"]
    assert by_arrow["columns"] == by_ray["columns"]
    assert by_polars["on_corrupt"] == by_ray["on_corrupt"]
