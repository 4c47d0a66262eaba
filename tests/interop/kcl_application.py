"""A Java KCL application as a process: what it does, as it does it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kinesis_calls
import servers
from java_programs import CREDENTIALS, command

import shardpack as sp
from shardpack.consumer.core.shards import listed_shards

Event = dict[str, Any]


class KclApplication:
    """KclRead while it runs.

    Attributes:
        events: what it has printed so far.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.events: list[Event] = []
        self._process = process
        self._log = log
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.events.append(json.loads(line))

    def of_kind(self, kind: str) -> list[Event]:
        """The events of a kind so far, such as ``"record"``."""
        return [event for event in list(self.events) if event["event"] == kind]

    def wait_until(self, done: Callable[[], bool], what: str, *, seconds: float = 400) -> None:
        """Return when something is so, or fail."""
        deadline = time.monotonic() + seconds
        while not done():
            assert self._process.poll() is None, f"the KCL ended before {what}:\n{self.log()}"
            assert time.monotonic() < deadline, f"no {what} within {seconds} s:\n{self.log()}"
            time.sleep(0.05)

    def wait_until_idle(self, *, seconds: float) -> None:
        """Return when it has printed nothing for so long."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < seconds:
            assert self._process.poll() is None, f"the KCL ended:\n{self.log()}"
            if len(self.events) != seen:
                seen, since = len(self.events), time.monotonic()
            time.sleep(0.1)

    def stop(self) -> None:
        """Have it hand in its leases and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._thread.join()
        assert self._process.returncode == 0, self.log()

    def log(self) -> str:
        """The end of what it has logged."""
        return self._log.read_text(errors="replace")[-4000:]

    def has_logged(self, text: str) -> bool:
        """Whether it has logged something like this."""
        return text in self._log.read_text(errors="replace")

    def kill(self) -> None:
        """End it without a word to anyone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._thread.join()


@contextmanager
def kcl_application(
    kinesis: str,
    dynamodb: str,
    stream: str,
    application: str,
    *,
    worker: str = "java",
    **settings: object,
) -> Iterator[KclApplication]:
    """A running KclRead, with its settings; killed on leaving, unless it was stopped."""
    given = {
        "kinesis": kinesis,
        "dynamodb": dynamodb,
        "stream": stream,
        "application": application,
        "worker": worker,
        "stopAfter": 0,
        "strategy": "WORKER_UTILIZATION_AWARE",
        "metric": "throughput",
        "version": "3X",
        **settings,
    }
    with tempfile.TemporaryDirectory(prefix="shardpack-kcl-") as folder:
        log = Path(folder) / "stderr"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                command("KclRead", *(f"{name}={value}" for name, value in given.items())),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",
                env=os.environ | CREDENTIALS,
            )
        running = KclApplication(process, log)
        try:
            yield running
        finally:
            running.kill()


def table_of_ours(dynamodb: str, application: str) -> sp.DynamoDBLeases:
    """A lease table made by us, as the KCL makes it; dynalite cannot add the index that the KCL adds afterwards."""
    leases = sp.DynamoDBLeases(application, client=servers.client("dynamodb", dynamodb))
    leases.prepare()
    return leases


def create_leases(leases: sp.DynamoDBLeases, client: Any, stream: str) -> None:
    """Create what a worker of ours would, if it was the first: the KCL's waits up to 30 s for others to do so."""
    for shard in listed_shards(kinesis_calls.shards(client, stream), stream).values():
        leases.create(shard.lease(sp.Position.TRIM_HORIZON))
