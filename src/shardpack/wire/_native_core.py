"""The native core: what packers write is read and written in Rust (src/rust), the unusual and the unsound by `_pure`.

So there is one truth about the unusual, and both cores raise the same errors; protobuf is loaded only then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .. import _native
from ..records import BytesLike, UserRecord

if TYPE_CHECKING:
    from ._backend import Aggregate, RawAggregate

builder = _native.Builder
build_many = _native.build_many
cut = _native.cut
fill = _native.fill
from_base64 = _native.from_base64
routes = _native.Routes


def decode(blob: BytesLike) -> list[UserRecord]:
    """See `shardpack.decode`."""
    if isinstance(blob, bytes):
        aggregate = _native.read(blob)
        if aggregate is not None:
            return aggregate.user_records()
    from ._pure import decode

    return decode(blob)


def is_aggregated(blob: BytesLike) -> bool:
    """See `shardpack.is_aggregated`."""
    if isinstance(blob, bytes):
        return _native.is_aggregated(blob)
    from ._pure import is_aggregated

    return is_aggregated(blob)


def read(blob: BytesLike) -> Aggregate:
    """See `_backend.Core.read`."""
    if isinstance(blob, bytes):
        aggregate = _native.read(blob)
        if aggregate is not None:
            return aggregate
    from ._pure import read

    return read(blob)


def read_ahead(blobs: Sequence[bytes]) -> Iterable[Aggregate | None]:
    """See `_backend.Core.read_ahead`."""
    return _native.read_many(blobs)


def read_raw(blob: BytesLike) -> RawAggregate:
    """See `_backend.Core.read_raw`."""
    from ._pure import read_raw

    return read_raw(blob)
