"""What stands around the message of an aggregate (KPL: ``KinesisRecord``).

Apart from `format`, because reading a first record needs no more of it, and the rest loads `functools`.
"""

from __future__ import annotations

MAGIC = b"\xf3\x89\x9a\xc2"
CHECKSUM_BYTES = 16
FRAME_BYTES = len(MAGIC) + CHECKSUM_BYTES
