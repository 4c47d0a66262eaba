"""Make tests/vectors/kpl-<version>/aggregates.json anew: aggregates of the real KPL, and what it was given.

PYTHONPATH=tests python tests/interop/capture_kpl.py, after `make interop`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from java_programs import versions
from kinesis_calls import shards
from test_interop_kpl import STREAM, put_with_kpl, stream, user_records

import shardpack as sp

MOST_BYTES = 30_000  # of each kind, so that the file stays small


def main() -> None:
    rows: list[dict[str, Any]] = []
    for shard_count, max_count in ((1, 2**31), (1, 2), (2, 30), (5, 9)):
        rng = random.Random(shard_count)
        various = user_records(shard_count, 4000)
        given = [sp.UserRecord(r.partition_key, r.data[:150], r.explicit_hash_key) for r in various]
        given += [sp.UserRecord(f"key-{rng.randrange(9)}", bytes([65 + n % 26]) * 3000) for n in range(100)]
        with tempfile.TemporaryDirectory() as temporary, stream(shard_count) as (client, proxy, _):
            put_with_kpl(proxy, given, Path(temporary), buffered_ms=200, max_count=max_count)
            stream_shards = shards(client, STREAM)
        known = set(given)
        size = 0
        for put in proxy.puts:
            if not sp.is_aggregated(put.data) or size > MOST_BYTES or (size and len(put.data) > MOST_BYTES):
                continue
            size += len(put.data)
            records = sp.decode(put.data)
            assert known.issuperset(records)
            rows.append(
                {
                    "data": base64.b64encode(put.data).decode(),
                    "partition_key": put.partition_key,
                    "explicit_hash_key": put.explicit_hash_key,
                    "shard_id": put.shard_id,
                    "shards": stream_shards,
                    "records": [
                        [r.partition_key, r.explicit_hash_key, hashlib.md5(r.data).hexdigest()] for r in records
                    ],
                }
            )
    folder = Path(__file__).parents[1] / "vectors" / f"kpl-{versions()['kpl']}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "aggregates.json").write_text(
        json.dumps(rows, ensure_ascii=True).replace('}, {"data"', '},\n{"data"') + "\n", encoding="utf-8"
    )
    print(f"{len(rows)} aggregates")


if __name__ == "__main__":
    main()
