"""Record batches of Kinesis records in, of user records out, and the way back: for Spark, Polars and DuckDB.

Needs pyarrow: ``pip install 'shardpack[arrow]'``. docs/arrow.md shows each engine.
"""

from __future__ import annotations

try:
    import pyarrow as _  # noqa: F401, ICN001
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"shardpack.arrow needs {error.name}: pip install 'shardpack[arrow]'", name=error.name
    ) from error

from ._pack import PACKED_SCHEMA, pack_batches
from ._schema import SCHEMA, unpacked_schema
from ._unpack import to_table, unpack_batches

__all__ = ["PACKED_SCHEMA", "SCHEMA", "pack_batches", "to_table", "unpack_batches", "unpacked_schema"]
