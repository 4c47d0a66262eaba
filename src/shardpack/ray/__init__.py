"""Kinesis streams in Ray Data: a data source that reads a stream between two bounds, and a data sink.

May import `ranges`, `producer`, `arrow` and what is below them. Needs Ray and a Kinesis client:
``pip install 'shardpack[ray]'``.
"""

from __future__ import annotations

try:
    import ray.data as _  # noqa: F401  # only whether it is there
except ModuleNotFoundError as error:
    what = f"shardpack.ray needs {error.name}: pip install 'shardpack[ray]'"
    raise ModuleNotFoundError(what, name=error.name) from error

from .sink import KinesisDatasink
from .source import KinesisDatasource

__all__ = ["KinesisDatasink", "KinesisDatasource"]
