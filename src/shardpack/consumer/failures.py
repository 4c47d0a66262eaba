"""Calls that fail again and again: said quietly at first, and louder when it goes on."""

from __future__ import annotations

import logging
from collections import Counter

_LOUD = 5  # every so many failures of a call in a row are worth a warning

_log = logging.getLogger("shardpack.consumer")


class Failures:
    """How often each kind of call has failed since it last succeeded.

    Args:
        stream_name: for messages.
    """

    def __init__(self, stream_name: str) -> None:
        self._stream_name = stream_name
        self._counts: Counter[str] = Counter()

    def succeeded(self, call: str) -> None:
        """A call did."""
        self._counts.pop(call, None)

    def failed(self, call: str, code: str, error: Exception) -> None:
        """A call did not, and is made again."""
        self._counts[call] += 1
        level = logging.WARNING if self._counts[call] % _LOUD == 0 else logging.INFO
        _log.log(level, "%s: %s failed (%s), trying again: %s", self._stream_name, call, code, error)
