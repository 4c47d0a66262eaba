"""User records as the command line writes them."""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from ..records import ReceivedRecord
from . import reading
from .terminal import json_text


@contextmanager
def standard_output() -> Iterator[IO[bytes]]:
    """Standard output for bytes, with a buffer in any case; flushed at the end.

    With PYTHONUNBUFFERED, as many containers have it, Python's own has none: where a disk is nearly full, or a signal
    comes, it writes a part of what it is given and says nothing.
    """
    out = sys.stdout.buffer
    if isinstance(out, io.RawIOBase):
        with open(sys.stdout.fileno(), "wb", closefd=False) as buffered:  # a number
            yield buffered
    else:
        yield out
        out.flush()


@contextmanager
def output_may_end() -> Iterator[None]:
    """Where nobody reads standard output any more, as after `| head`: what is left of it goes nowhere, without a word.

    Python would complain of what is left in the buffer when it ends, so that goes to the null device.
    """
    try:
        yield
    except SystemExit as ending:  # which rich makes of it, after it has done the same
        if not isinstance(ending.__context__, BrokenPipeError):
            raise
        raise SystemExit(0) from None
    except BrokenPipeError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def json_line(record: ReceivedRecord) -> bytes:
    """Everything about a user record, as JSON."""
    arrival = record.approximate_arrival_timestamp
    out: dict[str, Any] = {
        "partition_key": record.partition_key,
        "explicit_hash_key": record.explicit_hash_key,
        "sequence_number": record.sequence_number,
        "sub_sequence_number": record.sub_sequence_number,
        "aggregated": record.aggregated,
        "approximate_arrival_timestamp": arrival.isoformat() if arrival else None,
        "shard_id": record.shard_id,
    }
    if record.tags:
        out["tags"] = record.tags
    return json_text(out | reading.data_field(record.data)).encode()


def data_of(record: ReceivedRecord) -> bytes:
    """Its data as it is."""
    return record.data


def base64_line(record: ReceivedRecord) -> bytes:
    """Its data in base64."""
    return base64.b64encode(record.data)
