"""The old name of `shardpack.multilang`, which goes with the next release."""

from __future__ import annotations

import warnings

from .multilang import Batch, Checkpointer, RecordProcessor, run, run_each, run_processor

__all__ = ["Batch", "Checkpointer", "RecordProcessor", "run", "run_each", "run_processor"]

warnings.warn(
    "shardpack.kcl is now shardpack.multilang, and its old name goes with the next release; change the import",
    DeprecationWarning,
    stacklevel=2,
)
