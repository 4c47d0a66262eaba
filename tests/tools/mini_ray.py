"""As much of Ray Data as a source and a sink meet, in this process: tasks are pickled and run one after another."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import pytest


class ReadTask:
    """See ``ray.data.ReadTask``."""

    def __init__(
        self, read_fn: Callable[[], Iterable[Any]], metadata: Any, schema: Any = None, per_task_row_limit: Any = None
    ) -> None:
        self._read = read_fn
        self.metadata = metadata
        self.schema = schema
        self.per_task_row_limit = per_task_row_limit

    def __call__(self) -> Iterable[Any]:
        return self._read()


class BlockMetadata:
    """See ``ray.data.block.BlockMetadata``."""

    def __init__(self, **known: Any) -> None:
        self.known = known


class BlockAccessor:
    """See ``ray.data.block.BlockAccessor``."""

    def __init__(self, block: Any) -> None:
        self._block = block

    @staticmethod
    def for_block(block: Any) -> BlockAccessor:
        return BlockAccessor(block)

    def to_arrow(self) -> Any:
        return self._block


class Dataset:
    """See ``ray.data.Dataset``; its blocks are tables, one task's after another's."""

    def __init__(self, tasks: list[list[Any]]) -> None:
        self._tasks = tasks

    def to_table(self) -> Any:
        import pyarrow as pa

        return pa.concat_tables([block for blocks in self._tasks for block in blocks])

    def write_datasink(self, sink: Any) -> None:
        sink.on_write_start(self._tasks[0][0].schema)
        for blocks in self._tasks:
            pickle.loads(pickle.dumps(sink)).write(iter(blocks), None)


def read_datasource(source: Any) -> Dataset:
    """See ``ray.data.read_datasource``."""
    tasks = source.get_read_tasks(2)
    return Dataset([list(pickle.loads(pickle.dumps(task))()) for task in tasks])


def installed() -> Iterator[None]:
    """In the place of Ray, for as long as a fixture goes on."""
    made = {name: ModuleType(name) for name in ("ray", "ray.data", "ray.data.block")}
    data: Any = made["ray.data"]
    data.Datasource = data.Datasink = object
    data.ReadTask, data.read_datasource = ReadTask, read_datasource
    block: Any = made["ray.data.block"]
    block.BlockMetadata, block.BlockAccessor = BlockMetadata, BlockAccessor
    root: Any = made["ray"]
    root.data, data.block = data, block
    ours = ("shardpack.ray", "shardpack.ray.source", "shardpack.ray.sink")
    with pytest.MonkeyPatch.context() as patch:
        for name in ours:
            patch.delitem(sys.modules, name, raising=False)
        for name, module in made.items():
            patch.setitem(sys.modules, name, module)
        yield
        for name in ours:
            sys.modules.pop(name, None)
        vars(sys.modules["shardpack"]).pop("ray", None)
