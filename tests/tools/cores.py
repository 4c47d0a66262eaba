"""Blobs that no packer writes, and the two cores side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import shardpack as sp


def answer(call: Callable[[], Any]) -> tuple[str, object]:
    """What a call returns, or what it raises, as something to compare."""
    try:
        return "returned", call()
    except sp.ShardpackError as error:
        return type(error).__name__, (str(error), vars(error))


def with_core(core: Any, call: Callable[[], Any]) -> Any:
    """The same call, as if this core ran."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (
            "shardpack.packing.packer",
            "shardpack.unpacking.unpacker",
            "shardpack.unpacking.shapes",
            "shardpack.wire",
        ):
            patch.setattr(f"{module}.backend", lambda: core)
        return call()


class Str(str):
    __slots__ = ()


class Bytes(bytes):
    __slots__ = ()
