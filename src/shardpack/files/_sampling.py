"""Some of the lines of a large file: blocks of neighbours, spread evenly over it.

The blocks are as long in bytes as each other, because then each line is as likely to begin in one as any other. Blocks
of as many lines would find long lines more often, as they take up more of the file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from math import sqrt

from ._lines import Lines

BLOCKS = 40
BLOCK_LINES = 1250
_PIECE = 1 << 20
_DEVIATIONS = 1.96  # within which 95 of 100 lie
_LARGE = 2  # times what is sampled: a smaller file is read whole
_LEAST, _MOST = 1 << 16, 1 << 21  # bytes of a block, whatever the first lines are like


class SampledLines:
    """The lines to look at, and how many there are in all; those between are only counted.

    Args:
        lines: of the file.
        stream: that they come from; what lies between blocks is read from it.
        size: of the file in bytes, where it is known and not compressed; None: every line is given.
        blocks: how many.
        block_lines: how many of the first lines are as long as a block shall be.
        block_bytes: the least and the most bytes of one.

    Attributes:
        total: lines that have gone by.
        taken: lines that were given.
        block: the number of the block that is being given, from 0.
        is_part: whether some lines are left out.
    """

    def __init__(
        self,
        lines: Lines,
        stream: io.BufferedIOBase,
        size: int | None,
        *,
        blocks: int = BLOCKS,
        block_lines: int = BLOCK_LINES,
        block_bytes: tuple[int, int] = (_LEAST, _MOST),
    ) -> None:
        self._lines = lines
        self._stream = stream
        self._size = size
        self._blocks, self._block_lines, self._block_bytes = blocks, block_lines, block_bytes
        self._read = 0
        self._counted: list[tuple[int, int]] = []  # lines and bytes of each block
        self.total = self.taken = self.block = 0
        self.is_part = False

    def __iter__(self) -> Iterator[bytes]:
        given = iter(self._lines)
        yield from self._given(islice(given, self._block_lines), None)
        least, most = self._block_bytes
        block_bytes = min(max(self._read, least), most)
        if self._size is None or block_bytes * _LARGE * self._blocks > self._size:
            yield from self._given(given, None)
            return
        self.is_part = True
        for block in range(self._blocks):
            start = self._size * (2 * block + 1) // (2 * self._blocks)
            if self._read < start:
                self._skip(start)
                self.block = block
                yield from self._given(given, start + block_bytes)
        self._skip(None)

    @property
    def error(self) -> float:
        """How far bytes for each line may be off in 95 of 100 such samples, as a part of them."""
        blocks = self._counted[1:]  # the first lines are there whatever they are like
        count, lines = len(blocks), sum(lines for lines, _ in blocks)
        if not self.is_part or count < 2 or not lines:
            return 0.0
        mean = sum(size for _, size in blocks) / lines
        apart = sum((size - mean * number) ** 2 for number, size in blocks) / (count - 1)
        left_out = 1 - self.taken / self.total if self.total else 1.0
        return _DEVIATIONS * sqrt(apart / count * left_out) / (mean * lines / count) if mean else 0.0

    def _given(self, lines: Iterator[bytes], until: int | None) -> Iterator[bytes]:
        """Lines up to a place in the file, or all of them."""
        count = size = 0
        while until is None or self._read < until:
            line = next(lines, None)
            if line is None:
                break
            count += 1
            size += len(line)
            self._read += len(line) + 1
            self.total += 1
            self.taken += 1
            yield line
        self._counted.append((count, size))

    def _skip(self, until: int | None) -> None:
        """Pass over the bytes up to a place and the rest of the line there, or to the end; lines are counted."""
        passed = 0
        last = b"\n"
        while until is None or self._read < until:
            piece = self._stream.read(_PIECE if until is None else min(_PIECE, until - self._read))
            if not piece:
                break
            self._read += len(piece)
            passed += piece.count(b"\n")
            last = piece[-1:]
        if last != b"\n":
            rest = self._stream.readline()
            self._read += len(rest)
            passed += 1  # with or without its end
        self._lines.number += passed
        self.total += passed
