"""Write what `make fuzz` begins with: the messages of the KCL's vectors, answers of GetRecords, and random bytes.

python tests/fuzz_seeds.py FOLDER
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

VECTORS = Path(__file__).parents[1] / "vectors" / "kcl" / "3.5.1.json"


def main(folder: Path) -> None:
    """One file for each seed, in a folder for each target."""
    group = b""
    for vector in json.loads(VECTORS.read_text()):
        message = bytes.fromhex(vector["blob"])[4:-16]
        write(folder / "decode" / vector["name"], message)
        if len(message) < 256:
            one = bytes([0, len(message)]) + message  # as the target takes them: how, how long, the message
            write(folder / "columns" / vector["name"], one)
            group += one
    write(folder / "columns" / "all", group)
    record = {"SequenceNumber": "495", "ApproximateArrivalTimestamp": 1.5e9, "Data": "YWJj", "PartitionKey": "k\\"}
    for count in range(4):
        answer = {"NextShardIterator": None, "MillisBehindLatest": 0, "Records": [record] * count, "ChildShards": []}
        write(folder / "json" / f"{count}", json.dumps(answer).encode())
        write(folder / "json" / f"{count} indented", json.dumps(answer, indent=1).encode())
    source = random.Random(0)  # no secret
    for nth in range(20):
        write(folder / "pack" / str(nth), source.randbytes(50 * nth))


def write(path: Path, seed: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
