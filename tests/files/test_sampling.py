"""Blocks of lines spread over a file: which they are, that all are counted, and what the stated error is worth."""

from __future__ import annotations

import io
import random

import pytest

from shardpack.files._lines import Lines
from shardpack.files._sampling import SampledLines


def sampled(
    text: bytes, blocks: int = 4, block_lines: int = 3, *, size: int | None = -1
) -> tuple[list[int], SampledLines, Lines]:
    """The numbers of the lines that are given, and what gave them."""
    stream = io.BufferedReader(io.BytesIO(text))
    lines = Lines(stream, "x.log")
    whole = len(text) if size == -1 else size
    one = SampledLines(lines, stream, whole, blocks=blocks, block_lines=block_lines, block_bytes=(1, 1000))
    numbers = []
    for line in one:
        numbers.append(lines.number)
        assert line == text.splitlines()[lines.number - 1]
    return numbers, one, lines


@pytest.mark.parametrize("ending", [b"", b"\n"])
@pytest.mark.parametrize("separator", [b"\n", b"\r\n"])
def test_blocks_are_spread_and_every_line_is_counted(separator: bytes, ending: bytes) -> None:
    text = separator.join(b"%05d" % n for n in range(100)) + ending.replace(b"\n", separator)
    numbers, one, lines = sampled(text)
    assert numbers[:3] == [1, 2, 3]
    starts = [number for number in numbers[3:] if number - 1 not in numbers]
    assert all(abs(start - 100 * (2 * n + 1) / 8) <= 4 for n, start in enumerate(starts))
    assert len(starts) == 4
    assert len(numbers) == one.taken <= 19
    assert one.total == lines.number == 100
    assert (one.is_part, one.block) == (True, 3)


@pytest.mark.parametrize("count", [1, 3, 12, 23])
def test_a_file_that_is_not_large_is_given_whole(count: int) -> None:
    numbers, one, _ = sampled(b"".join(b"%05d\n" % n for n in range(count)))
    assert numbers == list(range(1, count + 1))
    assert (one.is_part, one.total, one.error) == (False, count, 0.0)


def test_so_is_one_of_unknown_size() -> None:
    numbers, one, _ = sampled(b"x\n" * 500, size=None)
    assert (len(numbers), one.is_part) == (500, False)


def test_an_error_names_the_line() -> None:
    text = b"".join(b"%05d\n" % n for n in range(1000))
    stream = io.BufferedReader(io.BytesIO(text))
    lines = Lines(stream, "x.log")
    for line in SampledLines(lines, stream, len(text), blocks=5, block_lines=2, block_bytes=(1, 100)):
        assert str(lines.error("wrong")) == f"x.log:{int(line) + 1}: wrong"


@pytest.mark.parametrize("kind", ["alike", "growing", "bursts"])
def test_the_stated_error_is_kept_by_nearly_all_samples(kind: str) -> None:
    kept = 0
    for seed in range(40):
        source = random.Random(seed)
        sizes = [source.randrange(20, 200) for _ in range(4000)]
        if kind == "growing":
            sizes = [size + n // 20 for n, size in enumerate(sizes)]
        if kind == "bursts":
            large = {source.randrange(80) for _ in range(10)}
            sizes = [size * (10 if n // 50 in large else 1) for n, size in enumerate(sizes)]
        text = b"".join(b"x" * size + b"\n" for size in sizes)
        stream = io.BufferedReader(io.BytesIO(text))
        one = SampledLines(Lines(stream, "x"), stream, len(text), blocks=40, block_lines=25, block_bytes=(2000, 2000))
        given = [len(line) for line in one]
        mean, truth = sum(given) / len(given), sum(sizes) / len(sizes)
        kept += abs(mean - truth) <= one.error * mean
    assert kept >= 36
