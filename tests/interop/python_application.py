"""A Python worker of a KCL application as a process: what it has handled, as it has written it down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from java_programs import CREDENTIALS

import shardpack as sp

WORKER = Path(__file__).parents[1] / "tools" / "consumer_worker.py"


class PythonWorker:
    """A worker while it runs.

    Attributes:
        name: its worker id.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    def lines(self) -> list[list[str]]:
        """The user records that it has handled so far, as consumer_worker writes them down."""
        return [line.split() for line in self._log.read_text().splitlines()] if self._log.exists() else []

    def lost(self) -> dict[str, sp.Position]:
        """From where each lease that it has lost is read on, at the earliest."""
        log = self._log.with_name(f"{self._log.name}.lost")
        found: dict[str, sp.Position] = {}
        for shard_id, number, sub in map(str.split, log.read_text().splitlines() if log.exists() else ()):
            position = sp.Position(number, int(sub) if sub.isdigit() else 0)
            found[shard_id] = min(found.get(shard_id, position), position)
        return found

    def stop(self) -> None:
        """Have it hand in its leases and end."""
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(timeout=60) == 0

    def kill(self) -> None:
        """End it without a word to anyone."""
        self._process.kill()
        self._process.wait()


@contextmanager
def python_worker(
    kinesis: str, dynamodb: str, stream: str, application: str, name: str, folder: Path, *more: str
) -> Iterator[PythonWorker]:
    """A running worker, with more of consumer_worker's arguments; killed on leaving, unless it was stopped."""
    log = folder / name
    arguments = {
        "--stream": stream,
        "--application": application,
        "--kinesis": kinesis,
        "--store": f"dynamodb:{dynamodb}",
        "--worker-id": name,
        "--log": str(log),
        "--failover-time": "3",
    }
    process = subprocess.Popen(
        [sys.executable, str(WORKER), *(part for pair in arguments.items() for part in pair), *more],
        env=os.environ | CREDENTIALS,
    )
    worker = PythonWorker(name, process, log)
    try:
        yield worker
    finally:
        worker.kill()
