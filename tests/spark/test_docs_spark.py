"""The examples of the page run, on a Spark that only writes down what it is asked; its options are checked by ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("pyspark.sql.datasource")
from shardpack.spark.core.options import sink_options, source_options

PAGE = Path(__file__).parents[2] / "docs" / "spark.md"
EXAMPLES = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Recorder:
    """Stands for a session, and for what its calls give: readers, writers and data frames."""

    def __init__(self, asked: list[str], way: str = "spark") -> None:
        self._asked = asked
        self._way = way
        self._options: dict[str, str] = {}
        self._format = ""

    def __getattr__(self, name: str) -> Recorder:
        if name.startswith("_"):
            raise AttributeError(name)
        return Recorder(self._asked, f"{self._way}.{name}")

    def __call__(self, *arguments: Any) -> Recorder:
        self._asked.append(f"{self._way}{arguments}")
        return Recorder(self._asked, self._way)

    def format(self, name: str) -> Recorder:
        self._format = name
        return self

    def option(self, name: str, value: str) -> Recorder:
        self._options[name] = value
        return self

    def options(self, **given: str) -> Recorder:
        self._options |= given
        return self

    def load(self) -> Recorder:
        assert self._format == "kinesis"
        options = source_options(self._options, is_stream=self._way == "spark.readStream")
        self._asked.append(f"{self._way} of {options.connection.stream}")
        return Recorder(self._asked, "rows")

    def toTable(self, name: str) -> Recorder:  # noqa: N802  # Spark's name
        assert set(self._options) == {"checkpointLocation"}
        self._asked.append(f"to the table {name}")
        return self

    def start(self) -> Recorder:
        assert self._format == "kinesis"
        self._asked.append(f"to the stream {sink_options(self._options).connection.stream}")
        return self


def test_a_stream_is_read_into_a_table_which_is_put_into_another_stream() -> None:
    asked: list[str] = []
    run(0, asked)
    assert asked[1] == "spark.readStream of clicks"
    assert "to the table clicks" in asked
    assert asked[-1] == "to the stream clean"


def test_a_range_is_read() -> None:
    asked: list[str] = []
    run(1, asked)
    assert asked == ["spark.read of clicks"]


def run(number: int, asked: list[str]) -> None:
    code = EXAMPLES.findall(PAGE.read_text("utf-8"))[number]
    exec(compile(code, f"docs/spark.md, {number}", "exec"), {"spark": Recorder(asked)})
