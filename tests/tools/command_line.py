"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import warm_python

COMMAND = [sys.executable, "-m", "shardpack"]


def started_warm() -> list[str]:
    """What stands for COMMAND in a process of one's own that begins warm; see `warm_python.for_shells`."""
    return [*warm_python.for_shells(), "-m", "shardpack"]


def run(
    *arguments: str | Path, stdin: bytes = b"", status: int = 0, environment: Mapping[str, str] | None = None
) -> tuple[bytes, str]:
    """Standard output and standard error."""
    ended, out, error = warm_python.run([*COMMAND[1:], *map(str, arguments)], stdin, environment)
    assert ended == status, error.decode()
    return out, error.decode()


def json_lines(output: bytes) -> list[Any]:
    return [json.loads(line) for line in output.splitlines()]
