"""What `import shardpack` costs over a bare interpreter, and what the first use of each part adds.

Each command runs in a process of its own, in turn, many times. The best time of each counts, less the bare
interpreter's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

_COMMANDS = {
    "bare interpreter": "pass",
    "import shardpack": "import shardpack",
    "import shardpack.aws_lambda": "import shardpack.aws_lambda",
    "import shardpack.firehose": "import shardpack.firehose",
    "shardpack.unpack of one aggregate": (
        "import shardpack; blob = bytes.fromhex('f3899ac20a016b1a0708001a03616263') ; "
        "import hashlib; blob += hashlib.md5(blob[4:]).digest(); "
        "(r,) = shardpack.unpack({'Data': blob}); assert r.data == b'abc'"
    ),
    "shardpack.pack of two records": (
        "import shardpack; (p,) = shardpack.pack([('k', b'a'), ('k', b'b')]); assert p.user_record_count == 2"
    ),
    "import aws_kinesis_agg.deaggregator": "import aws_kinesis_agg.deaggregator",
    "import aiokpl.aggregation": "import aiokpl.aggregation",
}


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description="What imports cost.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 5 if parser.parse_args().quick else 20
    best = dict.fromkeys(_COMMANDS, float("inf"))
    for _ in range(rounds):
        for name, command in _COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-W", "ignore", "-c", command], check=True)
            best[name] = min(best[name], time.perf_counter() - start)
    bare = best.pop("bare interpreter")
    table = Table("command", title=f"Milliseconds over a bare interpreter ({bare * 1e3:.0f} ms)", title_justify="left")
    table.add_column("ms", justify="right")
    for name, seconds in best.items():
        table.add_row(name, f"{(seconds - bare) * 1e3:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
