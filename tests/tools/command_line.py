"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "shardpack"]


def run(
    *arguments: str | Path, stdin: bytes = b"", status: int = 0, environment: Mapping[str, str] | None = None
) -> tuple[bytes, str]:
    """Standard output and standard error."""
    command = [*COMMAND, *map(str, arguments)]
    env = None if environment is None else os.environ | environment
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=120, env=env)
    assert done.returncode == status, done.stderr.decode()
    return done.stdout, done.stderr.decode()


def json_lines(output: bytes) -> list[Any]:
    return [json.loads(line) for line in output.splitlines()]
