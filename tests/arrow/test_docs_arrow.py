"""Every example of the page on Arrow runs, on a real Spark, Polars and DuckDB; Ray's and Flink's as functions."""

from __future__ import annotations

import importlib
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

import shardpack as sp

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq

from shardpack import arrow

PAGE = Path(__file__).parents[2] / "docs" / "arrow.md"
USER_RECORDS = [(f"user-{nth % 7}", b"event %d" % nth) for nth in range(700)]
PACKED = list(sp.pack(USER_RECORDS, limits=sp.Limits(3000)))


def example(containing: str) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (block,) = [block for block in blocks if containing in block]
    return str(block)


def run(containing: str, **names: Any) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "docs", "arrow": arrow, **names}
    code = example(containing).replace('"archive"', repr(str(Path("archive").absolute())))  # Java has its own folder
    exec(compile(code, f"docs/arrow.md, {containing}", "exec"), namespace)
    return namespace


@pytest.fixture(autouse=True)
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The folder of the examples: Kinesis records in Parquet."""
    table = pa.table(
        {
            "data": pa.array([record.data for record in PACKED], pa.binary()),
            "sequence_number": [str(nth) for nth in range(len(PACKED))],
            "shard_id": ["shardId-000000000000"] * len(PACKED),
        }
    )
    (tmp_path / "archive").mkdir()
    pq.write_table(table, tmp_path / "archive" / "1.parquet")
    monkeypatch.chdir(tmp_path)
    return table


class Kinesis:
    def get_records(self, ShardIterator: str) -> dict[str, Any]:  # boto3's name
        assert ShardIterator == "AAA"
        return {"Records": [record.entry for record in PACKED]}


def user_records(table: Any) -> list[tuple[str, bytes]]:
    return [(row["partition_key"], row["data"]) for row in table.to_pylist()]


def test_to_table_and_unpack_batches(capsys: pytest.CaptureFixture[str]) -> None:
    namespace = run("get_records", kinesis=Kinesis(), shard_iterator="AAA")

    assert user_records(namespace["table"]) == USER_RECORDS
    assert capsys.readouterr().out == "700 user records\n"


@pytest.mark.filterwarnings("default")
def test_spark(spark: Any) -> None:
    once = run("mapInArrow", spark=spark)["once"]
    assert sorted((row.partition_key, bytes(row.data)) for row in once.collect()) == sorted(USER_RECORDS)

    users = run("spark.unpacked", df=spark.read.parquet(str(Path("archive").absolute())), shardpack=sp)["users"]
    assert users.count() == 700


def test_polars() -> None:
    pytest.importorskip("polars")

    users = run('read_parquet("archive/*.parquet")')["users"]

    assert list(users.select("partition_key", "data").iter_rows()) == USER_RECORDS
    assert users.group_by("partition_key").len()["len"].to_list() == [100] * 7


def test_duckdb() -> None:
    pytest.importorskip("duckdb")

    assert run("counts = ")["counts"] == [(f"user-{nth}", 100) for nth in range(7)]


def test_a_reader_for_more_than_fits() -> None:
    run("RecordBatchReader", duckdb=pytest.importorskip("duckdb"))

    assert user_records(pq.read_table("users.parquet")) == USER_RECORDS


def travelled(function: Any) -> Any:
    """As engines send functions to workers: by value."""
    cloudpickle = pytest.importorskip("pyspark.cloudpickle")
    return pickle.loads(cloudpickle.dumps(function))


def test_ray(archive: Any) -> None:
    unpack = travelled(run("def unpack(table)")["unpack"])

    assert unpack(archive) == unpack(archive)
    assert user_records(unpack(archive)) == USER_RECORDS
    assert unpack(archive.slice(0, 0)).schema == unpack(archive).schema


def test_flink(archive: Any) -> None:
    unpack_row = travelled(run("def unpack_row")["unpack_row"])

    first = [out for row in archive.to_pylist() for out in unpack_row(row)]

    assert first == [out for row in archive.to_pylist() for out in unpack_row(row)]
    assert [(key, data) for key, data, _, _ in first] == USER_RECORDS
    assert len({(sequence, sub) for _, _, sequence, sub in first}) == 700


def test_pack_batches(capsys: pytest.CaptureFixture[str]) -> None:
    run("Limits.kpl", users=arrow.to_table(PACKED))

    assert capsys.readouterr().out == f"{len(PACKED)} Kinesis records\n"  # pinned, so as before


def test_the_table_of_columns_is_the_schema() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (string|uint32|dictionary|binary|timestamp|bool)", PAGE.read_text("utf-8"), re.MULTILINE
    )

    assert [name for name, _ in rows] == arrow.SCHEMA.names
    assert all(str(arrow.SCHEMA.field(name).type).startswith(kind) for name, kind in rows)


def test_every_example_is_run() -> None:
    assert PAGE.read_text("utf-8").count("```python") == 9
    assert importlib.util.find_spec("shardpack.spark")
