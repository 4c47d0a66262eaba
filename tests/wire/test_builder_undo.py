"""An interrupt at any bytecode of taking a record leaves the pure builder with the record, or without it, and whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

import shardpack as sp
from shardpack.wire.builder import AggregateBuilder
from shardpack.wire.pure_core import decode

Record = tuple[str, bytes, str | None, tuple[tuple[str, str | None], ...]]
BEFORE: list[Record] = [("old", b"0", "7", ()), ("old", b"1", None, ())]
AFTER: list[Record] = [
    ("old", b"2", "7", ()),
    ("new", b"3", "8", ()),
    ("newest", b"4", "9", ()),
    ("new", b"555", None, ()),
]
STRUCK: dict[str, Record] = {
    "nothing new": ("old", b"x", "7", ()),
    "a new partition key": ("new", b"x", None, ()),
    "a new explicit hash key": ("old", b"x", "8", ()),
    "both new": ("new", b"x", "8", ()),
    "tags": ("new", b"x", "8", (("t", None),)),
}


class Interrupt(BaseException):
    pass


@contextmanager
def interrupt(at: int) -> Iterator[list[str]]:
    """Raise once at the n-th bytecode of `AggregateBuilder._take`; yields where, if there are so many."""
    left = at
    struck: list[str] = []

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if frame.f_code is not AggregateBuilder._take.__code__ or struck:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                struck.append(f"line {frame.f_lineno}")
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield struck
    except Interrupt:
        pass
    finally:
        sys.settrace(before)


def add(builder: AggregateBuilder, record: Record) -> None:
    key, data, explicit_hash_key, tags = record
    if explicit_hash_key is None and not tags:
        assert builder.add(key, data)
    else:
        assert builder.add_any(key, data, explicit_hash_key, tags)


def built(records: list[Record]) -> bytes:
    builder = AggregateBuilder(10_000, None)
    for record in records:
        add(builder, record)
    return builder.build()


@pytest.mark.parametrize("what", STRUCK)
def test_an_interrupt_takes_a_record_whole_or_not_at_all(what: str) -> None:
    with interrupt(sys.maxsize):  # Python 3.12 tells of a function's bytecodes from its second call on
        add(AggregateBuilder(10_000, None), STRUCK[what])
    kept = 0
    for at in range(1, 1000):
        builder = AggregateBuilder(10_000, None)
        for record in BEFORE:
            add(builder, record)
        with interrupt(at) as struck:
            add(builder, STRUCK[what])
        taken = builder.count - len(BEFORE)
        there = [*BEFORE, *[STRUCK[what]] * taken]

        assert taken in (0, 1), struck
        assert builder.size == len(builder.build()), struck
        assert builder.build() == built(there), struck
        for record in AFTER:  # what it remembers of keys is as whole as what it has written
            add(builder, record)
        assert builder.size == len(builder.build()), struck
        assert builder.build() == built([*there, *AFTER]), struck
        assert decode(builder.build()) == [sp.UserRecord(*record) for record in [*there, *AFTER]], struck
        if not struck:
            break
        kept += taken

    assert at > 40, "there are not so few bytecodes"
    assert kept < at // 2
