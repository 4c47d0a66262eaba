"""Files of Kinesis records: of any compression, and of any of the shapes in which such records are kept.

In comes a path or a stream of bytes, out come user records, in constant memory. It imports the codec and the unpacker,
and does no other input or output than reading.
"""

from __future__ import annotations

from ._read import read

__all__ = ["read"]
