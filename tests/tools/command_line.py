"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "shardpack"]


def run(*arguments: str | Path, stdin: bytes = b"", status: int = 0) -> tuple[bytes, str]:
    """Standard output and standard error."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], input=stdin, capture_output=True, check=False, timeout=120)
    assert done.returncode == status, done.stderr.decode()
    return done.stdout, done.stderr.decode()


def json_lines(output: bytes) -> list[Any]:
    return [json.loads(line) for line in output.splitlines()]
