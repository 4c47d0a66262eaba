"""What all threads of a process share is not changed under them by a test.

Threads of other people's are there when they please: py4j's, of a Spark that another test has used, sleeps in a loop.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
CHANGED = re.compile(r"""setattr\((?:time, "(?:sleep|monotonic)"|"time\.(?:sleep|monotonic)"|threading, "Thread")""")


def test_nobody_changes_how_the_whole_process_sleeps() -> None:
    changing = [path.name for path in TESTS.rglob("*.py") if CHANGED.search(path.read_text(encoding="utf-8"))]
    assert not changing, f"{changing} change time or threading for every thread; change the module that is tested"


def test_one_that_does_would_be_found() -> None:
    assert CHANGED.search("monkeypatch." + "setattr(" + 'time, "sleep", lambda _: None)')


def test_no_folder_of_tests_stands_for_a_package_that_is_missing() -> None:
    """`import ray` would find tests/ray where Ray is missing, if pytest put tests among the places of packages."""
    assert TESTS not in [Path(place).resolve() for place in sys.path]
