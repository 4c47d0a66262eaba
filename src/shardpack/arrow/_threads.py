"""Work on what an iterator gives, by several threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """The work's result for each item, in their order; as many items are taken ahead as there are threads.

    Raises what the work raises, when the turn of its item has come.
    """
    left = iter(items)  # asked by this thread alone
    with ThreadPoolExecutor(threads, "shardpack-columns") as pool:
        running: deque[Future[R]] = deque(pool.submit(work, item) for item in islice(left, threads))
        try:
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(work, item) for item in islice(left, 1))
                yield result
        finally:
            for future in running:
                future.cancel()
