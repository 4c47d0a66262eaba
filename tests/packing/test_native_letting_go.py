"""What the native core holds of others' buffers: they may change, and run code of their own when they are let go."""

from __future__ import annotations

import gc
import mmap
from array import array
from collections.abc import Callable

import pytest

import shardpack as sp
from shardpack.wire.core import Builder, Rows

native = pytest.importorskip("shardpack.wire.native_core", reason="the native core is not built")
if sp.native == "pure":
    pytest.skip("these tests are about the other core", allow_module_level=True)

KEYS = b"kk"
KEY_ENDS = memoryview(array("q", [0, 1, 2])).cast("B")
SIZE = 100  # of a value that is lent


class Owner(bytearray):
    """Memory that tells its end."""

    at_end: Callable[[], None]

    def __del__(self) -> None:
        self.at_end()


def test_what_is_let_go_may_ask_the_builder_that_had_it() -> None:
    packer = sp.Packer()
    packer.add("k", b"")
    builder = packer._open[None].builder
    assert builder is not None
    assert packer._simple is not None
    owner, seen = Owner(2 * SIZE), []
    owner.at_end = lambda: seen.append((builder.size, builder.count))
    ends = memoryview(array("q", [0, SIZE, 2 * SIZE])).cast("B")
    rows = native.rows((memoryview(KEYS), KEY_ENDS), (memoryview(owner), ends))
    assert rows.fill(0, packer._simple) == 2
    size, let_go = builder.size, rows.let_go
    del owner, rows
    gc.collect()
    assert not seen  # the builder has them

    let_go([builder])

    assert seen == [(size, 3)]
    (packed,) = packer.flush()
    assert [len(record.data) for record in sp.unpack(packed)] == [0, SIZE, SIZE]


def lent() -> tuple[array[int], Rows, sp.Packer, Builder]:
    """The ends of two records in columns, which a packer has after one of its own, and that packer's open builder."""
    ends = array("q", [0, SIZE, 2 * SIZE])
    rows = native.rows((memoryview(KEYS), KEY_ENDS), (memoryview(bytes(20 * SIZE)), memoryview(ends).cast("B")))
    packer = sp.Packer()
    packer.add("k", b"before")
    fill_again(rows, packer)
    open_builder = packer._open[None].builder
    assert open_builder is not None
    return ends, rows, packer, open_builder


def fill_again(rows: Rows, packer: sp.Packer) -> None:
    assert packer._simple is not None
    assert rows.fill(0, packer._simple) == 2


@pytest.mark.parametrize("end", [0, SIZE, 2 * SIZE - 1, 2 * SIZE + 1, 3 * SIZE, 10 * SIZE, -1, 2**62])
def test_a_column_that_changes_is_an_error_and_no_more(end: int) -> None:
    ends, _, packer, open_builder = lent()

    ends[2] = end
    with pytest.raises(RuntimeError, match="a column has changed"):
        open_builder.build()
    ends[2] = 2 * SIZE

    (packed,) = packer.flush()
    assert [len(record.data) for record in sp.unpack(packed)] == [6, SIZE, SIZE]


@pytest.mark.parametrize("end", [0, SIZE, 2 * SIZE - 1, 2 * SIZE + 1, 3 * SIZE])
def test_a_column_that_has_changed_when_it_is_let_go_is_an_error_too(end: int) -> None:
    ends, rows, packer, open_builder = lent()
    ends[2] = end
    rows.let_go([open_builder])
    ends[2] = 2 * SIZE
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a column has changed"):
            open_builder.build()
        fill_again(rows, packer)  # what comes behind does not mend it
        rows.let_go([open_builder])


@pytest.mark.parametrize("ends", [[0, 750 << 20], [740 << 20, 741 << 20]], ids=["large", "far"])
def test_columns_that_offsets_of_32_bits_might_not_lead_to_are_refused(ends: list[int]) -> None:
    with mmap.mmap(-1, 760 << 20) as memory:  # of which nothing is ever touched
        view = memoryview(memory)
        with pytest.raises(ValueError, match="more than 715827882 bytes"):
            native.cut([(view, memoryview(array("q", ends)))], True)
        view.release()
