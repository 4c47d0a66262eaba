"""Kinesis streams in Polars: a stream between two bounds as a lazy frame of its user records.

May import `ranges`, `arrow` and what is below them. Needs polars and a Kinesis client:
``pip install 'shardpack[polars]'``.
"""

from __future__ import annotations

try:
    import pyarrow as __  # noqa: F401, ICN001  # only whether it is there

    import polars as _  # noqa: F401, ICN001  # the same
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"shardpack.polars needs {error.name}: pip install 'shardpack[polars]'", name=error.name
    ) from error

from .scanning import scan_kinesis

__all__ = ["scan_kinesis"]
