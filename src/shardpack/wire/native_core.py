"""The native core: Rust (src/rust) reads and writes what packers write, `pure_core` what is unusual or unsound.

So there is one truth about the unusual, and both cores raise the same errors; protobuf is loaded only then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..records import BytesLike, UserRecord
from . import _native

if TYPE_CHECKING:
    from .core import Aggregate, RawAggregate

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
    from .pure_core import decode

    return decode(blob)


def is_aggregated(blob: BytesLike) -> bool:
    """See `shardpack.is_aggregated`."""
    if isinstance(blob, bytes):
        return _native.is_aggregated(blob)
    from .pure_core import is_aggregated

    return is_aggregated(blob)


def read(blob: BytesLike) -> Aggregate:
    """See `core.Core.read`."""
    if isinstance(blob, bytes):
        aggregate = _native.read(blob)
        if aggregate is not None:
            return aggregate
    from .pure_core import read

    return read(blob)


def read_ahead(blobs: Sequence[bytes]) -> Iterable[Aggregate | None]:
    """See `core.Core.read_ahead`."""
    return _native.read_many(blobs)


def read_raw(blob: BytesLike) -> RawAggregate:
    """See `core.Core.read_raw`."""
    from .pure_core import read_raw

    return read_raw(blob)
