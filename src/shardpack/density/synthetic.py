"""Made-up user records, for those who have no data at hand."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from ..limits import MAX_RECORD_BYTES
from ..records import UserRecord

_KIND = re.compile(r"([^:,\s]+):([0-9]{1,9})(?:-([0-9]{1,9}))?")
_BLOCK = 1 << 16


def synthetic(spec: str, count: int, *, keys: int = 5000, seed: int = 0) -> Iterator[UserRecord]:
    """User records of random bytes, the same each time.

    Args:
        spec: kinds of events and their sizes in bytes, as likely as each other: ``"login:50-100"``, or
            ``"click:80-200,purchase:900"``.
        count: how many.
        keys: how many partition keys share them, at random.
        seed: for other ones.

    Raises:
        ValueError: the spec is none.
    """
    kinds = _kinds(spec)
    source = random.Random(seed)  # no secret
    block = source.randbytes(_BLOCK)
    for _ in range(count):
        name, least, most = kinds[source.randrange(len(kinds))]
        size = source.randint(least, most)
        start = source.randrange(_BLOCK)
        data = (name.encode() + block[start : start + size])[:size]
        data += (block * (1 + (size - len(data)) // _BLOCK))[: size - len(data)]
        yield UserRecord(f"user-{source.randrange(keys)}", data)


def _kinds(spec: str) -> list[tuple[str, int, int]]:
    kinds = []
    for kind in spec.split(","):
        found = _KIND.fullmatch(kind.strip())
        least, most = (int(found[2]), int(found[3] or found[2])) if found else (1, 0)
        if not found or not least <= most <= MAX_RECORD_BYTES:
            raise ValueError(
                f"{kind.strip()!r} is no kind of event; give NAME:LEAST-MOST in bytes, up to {MAX_RECORD_BYTES:,},"
                ' such as "login:50-100"'
            )
        kinds.append((found[1], least, most))
    return kinds
