"""Write what `make fuzz` begins with: the messages of the KCL's vectors, and random bytes for the packer.

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
    for vector in json.loads(VECTORS.read_text()):
        write(folder / "decode" / vector["name"], bytes.fromhex(vector["blob"])[4:-16])
    source = random.Random(0)  # no secret
    for nth in range(20):
        write(folder / "pack" / str(nth), source.randbytes(50 * nth))


def write(path: Path, seed: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
