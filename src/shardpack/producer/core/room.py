"""How much may be on its way at once."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import BufferFullError
from ...records import UserRecord
from ..config import ProducerConfig


class Room:
    """What ``max_outstanding_records`` and ``max_outstanding_bytes`` leave.

    Args:
        config: the producer's settings.
    """

    def __init__(self, config: ProducerConfig) -> None:
        self._records = config.max_outstanding_records
        self._bytes = config.max_outstanding_bytes

    def has(self, records: int, size: int, *, outstanding: int, outstanding_bytes: int) -> bool:
        """Whether so many user records of so many bytes find room; when nothing is on its way, any do."""
        return outstanding == 0 or (outstanding + records <= self._records and outstanding_bytes + size <= self._bytes)

    def error(self, refused: Sequence[UserRecord], outstanding: int, outstanding_bytes: int) -> BufferFullError:
        """The error for user records that find none, and are not to wait."""
        return BufferFullError(
            f"{outstanding:,} user records of {outstanding_bytes:,} bytes are on their way (max_outstanding_records"
            f" {self._records:,}, max_outstanding_bytes {self._bytes:,}); put more slowly, or let put wait",
            records=tuple(refused),
            retriable=True,
        )
