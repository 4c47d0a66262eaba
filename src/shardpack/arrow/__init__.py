"""Record batches of Kinesis records in, of user records out, and the way back: for Spark, Polars and DuckDB.

Needs pyarrow: ``pip install 'shardpack[arrow]'``. docs/arrow.md shows each engine.
"""

from __future__ import annotations

try:
    import pyarrow as _  # noqa: F401, ICN001  # only whether it is there
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"shardpack.arrow needs {error.name}: pip install 'shardpack[arrow]'", name=error.name
    ) from error

from typing import TYPE_CHECKING, Any

from ._pack import PACKED_SCHEMA, pack_batches
from ._schema import SCHEMA, unpacked_schema
from ._unpack import to_table, unpack_batches

if TYPE_CHECKING:
    from ..ranges.shells.reading import read_stream

__all__ = ["PACKED_SCHEMA", "SCHEMA", "pack_batches", "read_stream", "to_table", "unpack_batches", "unpacked_schema"]


def __getattr__(name: str) -> Any:
    # It stands in a room above this one, which columns themselves know nothing of (see pyproject.toml).
    if name == "read_stream":
        from ..ranges.shells.reading import read_stream

        return read_stream
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
