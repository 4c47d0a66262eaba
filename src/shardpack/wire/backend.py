"""The one place that decides which core reads and writes aggregates."""

from __future__ import annotations

import os

from ..values import TYPE_CHECKING

if TYPE_CHECKING:
    from .core import Core


def _chosen() -> str:
    """What SHARDPACK_NATIVE allows.

    "0" means the pure core alone, "1" the native one alone, and the name of a way to make checksums the native one with
    that way alone. Without it, the better core there is runs. With SHARDPACK_KEEP_MEMORY=0, it keeps no memory.
    """
    keep = os.environ.get("SHARDPACK_KEEP_MEMORY", "")
    if keep not in ("", "0", "1"):
        raise ImportError(f'SHARDPACK_KEEP_MEMORY is {keep!r}; choose "0" or "1", or leave it out')
    wish = os.environ.get("SHARDPACK_NATIVE", "")
    if wish == "0":
        return "pure"
    try:
        from . import _native
    except ImportError:
        if wish:
            raise
        return "pure"
    if keep == "0":
        _native.keep_nothing()
    path = _native.path()
    if wish not in ("", "1", path):
        raise ImportError(
            f"SHARDPACK_NATIVE is {wish!r}, and this machine or this build has no such instructions; choose"
            f' "0", "1", "scalar" or {path!r}, or leave it out'
        )
    return path


native: str = _chosen()
"""The core that runs: "pure", or how the native one makes checksums: "avx512", "avx2", "sse2", "neon", "portable" (by
other vectors of four lanes) or "scalar"."""

if TYPE_CHECKING or native == "pure":
    Adding = object
else:
    from . import _native

    Adding = _native.Adding  # has an `add` for `Packer`, because a call in Python costs more than all that it does


_loaded: list[Core] = []  # one at most; `functools.cache` would load what reading does without


def backend() -> Core:
    """The core, loaded at the first use."""
    if not _loaded:
        if native == "pure":
            from . import pure_core

            _loaded.append(pure_core)
        else:
            from . import native_core

            _loaded.append(native_core)
    return _loaded[0]
