"""The kill test of the Spark source without a JVM: driver and tasks in a process that is killed again and again.

`MiniSpark` does with offsets, commits and batches what Spark does, here on disk. So a kill costs a second and not a
minute. `soak_spark.py` does the same with a real Spark.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import servers
from fault_proxy import FaultProxy, Faults
from fault_services import Kinesis
from mini_spark import MiniSpark, Row
from soak_spark import FAULTS, STREAM, Stream

import shardpack as sp
from shardpack.dedup import RecordDigest
from shardpack.ranges.core.limits import Limits
from shardpack.ranges.shells.driver import NO_LIMITS
from shardpack.testing import SystemClock


class OnDisk(MiniSpark):
    """A query whose checkpoint and sink outlive its process."""

    def __init__(self, client: Any, folder: Path) -> None:
        given = {"initialPosition": "trim_horizon", "minFetchPeriod": "0ms"}
        super().__init__(client, SystemClock(), given, page=1000)
        self.folder = folder
        for name in ("offsets", "sink", "commits"):
            (folder / name).mkdir(exist_ok=True)
        planned = len(list((folder / "offsets").iterdir()))
        self.log = [(folder / "offsets" / str(nth)).read_text() for nth in range(planned)]
        self.committed = len(list((folder / "commits").iterdir()))
        self.batches = {int(path.name): pickle.loads(path.read_bytes()) for path in (folder / "sink").iterdir()}

    def planned(self, batch: int) -> None:
        self._write("offsets", batch, self.log[batch].encode())

    def keep(self, batch: int, rows: list[Row]) -> None:
        super().keep(batch, rows)  # the same as before, if it was there before
        self._write("sink", batch, pickle.dumps(rows))

    def trigger(self, limits: Limits = NO_LIMITS, crash: str | None = None) -> bool:
        found = super().trigger(limits, crash)
        if found:
            self._write("commits", self.committed - 1, b"")
        return found

    def _write(self, kind: str, batch: int, data: bytes) -> None:
        half = self.folder / f"{kind}.half"
        half.write_bytes(data)
        half.rename(self.folder / kind / str(batch))


def query(url: str, folder: Path) -> None:
    """Batch after batch, until there is a file ``finish`` and nothing is left."""
    dice = random.Random()
    this = OnDisk(servers.client("kinesis", url), folder)
    (folder / "up").touch()
    quiet = 0
    while quiet < 3:
        limits = dice.choice([Limits(), Limits(rows=5000), Limits(size=200_000), Limits(time=2000)])
        found = this.trigger(limits)
        quiet = 0 if found or not (folder / "finish").exists() else quiet + 1


def soak(records: int, kills: int, seed: int) -> bool:
    """Whether every user record is in the sink once."""
    dice = random.Random(seed)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="shardpack-source-") as name,
        servers.kinesalite() as server,
        FaultProxy(server, Kinesis(), FAULTS, seed=seed) as proxy,
    ):
        folder = Path(name)
        stream = Stream(server, seed)
        servers.create_stream(stream.kinesis, STREAM, 3)
        for _ in range(kills):
            stream.put(records // (2 * kills + 1))
            stream.reshard()
            process = start(proxy.url, folder)
            stream.put(records // (2 * kills + 1))
            stream.reshard()
            time.sleep(dice.uniform(0, 2))
            process.kill()
            process.wait()
        stream.put(records - stream.digest.count)
        proxy.faults = Faults()
        (folder / "finish").touch()
        code = start(proxy.url, folder).wait()
        rows = [row for path in (folder / "sink").iterdir() for row in pickle.loads(path.read_bytes())]
        batches = len(list((folder / "commits").iterdir()))
        faults = sum(proxy.counts.values())
    digest = RecordDigest()
    for _, _, _, data in rows:
        digest.add(sp.UserRecord(f"key-{int(data[:12]) % 997}", data))
    different = len({data for _, _, _, data in rows})
    is_right = code == 0 and digest == stream.digest
    print(
        f"{stream.digest.count:,} user records, {kills} kills, {stream.reshards} reshards, {faults} faults, {batches}"
        f" batches, {time.monotonic() - began:.0f} s: {stream.digest.count - different} lost,"
        f" {len(rows) - different} twice, digests {'equal' if is_right else 'DIFFERENT'}"
    )
    return is_right


def start(url: str, folder: Path) -> subprocess.Popen[bytes]:
    """A query that is up."""
    (folder / "up").unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, __file__, "--query", url, str(folder)], env=os.environ)
    while not (folder / "up").exists() and process.poll() is None:
        time.sleep(0.02)
    return process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--query", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.query:
        query(arguments.query[0], Path(arguments.query[1]))
    elif not soak(arguments.records, arguments.kills, arguments.seed):
        sys.exit(1)


if __name__ == "__main__":
    main()
