"""The native core: aggregates are read and written in Rust (src/rust), with the answers and the errors of `pure_core`.

protobuf is not loaded, but for tags that are written.
"""

from __future__ import annotations

from ..values import TYPE_CHECKING
from . import _native

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..records import BytesLike, UserRecord
    from .core import Aggregate, Bulk, RawAggregate

builder = _native.Builder
build_many = _native.build_many
bulk: Bulk = _native
cut = _native.cut
cut_records = _native.cut_records
fill = _native.fill
flat = _native.Flat
from_base64 = _native.from_base64
outside = _native.outside
routes = _native.Routes
rows = _native.Rows


def decode(blob: BytesLike) -> list[UserRecord]:
    """See `shardpack.decode`."""
    return _native.read(_flat(blob)).user_records()


def is_aggregated(blob: BytesLike) -> bool:
    """See `shardpack.is_aggregated`."""
    return _native.is_aggregated(_flat(blob))


def read(blob: BytesLike) -> Aggregate:
    """See `core.Core.read`."""
    return _native.read(_flat(blob))


def read_ahead(blobs: Sequence[bytes]) -> Iterable[Aggregate | None]:
    """See `core.Core.read_ahead`."""
    return _native.read_many(blobs)


def _flat(blob: BytesLike) -> bytes:
    return blob if isinstance(blob, bytes) else memoryview(blob).tobytes()


def read_raw(blob: BytesLike) -> RawAggregate:
    """See `core.Core.read_raw`."""
    from .pure_core import read_raw

    return read_raw(blob)
