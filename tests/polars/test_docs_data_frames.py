"""Every example of the page on data frames runs, one after another, on a real local server."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mini_ray
import pytest
import servers
from resharded import resharded

pytest.importorskip("polars")
pytest.importorskip("pyarrow")
pytest.importorskip("boto3")
duckdb = pytest.importorskip("duckdb")
pytest.importorskip("pandas")
from shardpack.ranges.shells import reading

PAGE = Path(__file__).parents[2] / "docs" / "data-frames.md"
BLOCKS = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_examples_read_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "sleep", lambda _: None)
    with resharded() as stream, contextmanager(mini_ray.installed)():
        servers.create_stream(stream.client, "clean", 1)
        monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", stream.url)
        names: dict[str, Any] = {"__name__": "docs"}
        for nth, block in enumerate(BLOCKS.findall(PAGE.read_text("utf-8"))):
            exec(compile(block, f"docs/data-frames.md, {nth}", "exec"), names)
        names["third"] = names["read_on"]()  # after one that had no rows
        put = reading.read_stream("clean", client=stream.client, columns=["data"]).read_all().to_pydict()

    keys = [row["partition_key"] for row in stream.rows]
    assert names["counts"] == [(key, keys.count(key)) for key in sorted(set(keys))]
    assert list(names["df"]["data"]) == [row["data"] for row in stream.rows]
    assert duckdb.sql("SELECT count(*) FROM 'clicks.parquet'").fetchall() == [(360,)]
    assert names["busiest"]["len"].to_list() == sorted((keys.count(key) for key in set(keys)), reverse=True)[:10]
    assert names["first"].to_dicts() == stream.shard("shardId-000000000001")[:100]
    assert names["read"].to_dicts() == stream.rows
    assert names["new"].is_empty()
    assert names["third"].is_empty()
    assert names["dataset"].to_table().to_pylist() == stream.rows
    assert sorted(put["data"]) == sorted(row["data"] for row in stream.rows)
