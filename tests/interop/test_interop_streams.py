"""A multi-stream application: workers of the real KCL and of ours take it over from each other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import servers
from java_programs import versions
from mixed_fleet import RECORDS, MixedFleet, Putting, many_connections, only_at_length

STREAMS = "clicks", "orders"


def identifier(client: Any, stream: str) -> str:
    """As an application of the KCL names a stream among several, with the second in which it was made."""
    summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    account = summary["StreamARN"].split(":")[4]
    return f"{account}:{stream}:{int(summary['StreamCreationTimestamp'].timestamp())}"


@only_at_length
def test_a_multi_stream_application_goes_to_us_and_back(kinesis: str, dynamodb: str, tmp_path: Path) -> None:
    client, began = many_connections(kinesis), time.monotonic()
    for stream in STREAMS:
        servers.create_stream(client, stream, 2)
    clicks, orders = (identifier(client, stream) for stream in STREAMS)
    orders = orders.rpartition(":")[0] + ":12345"  # it may be any number, which Python must be told then
    identifiers = [clicks, orders]
    shares: dict[str, Counter[str | None]] = {}
    settings = {"stream": ",".join(identifiers), "strategy": "LEASE_COUNT_BASED"}
    with (
        MixedFleet(kinesis, dynamodb, "shop", tmp_path, **settings) as fleet,
        Putting(client, *STREAMS) as putting,
    ):
        keys = {f"{one}:shardId-{number:012}" for one in identifiers for number in range(2)}

        def then(what: str, is_so: Callable[[], bool]) -> None:
            fleet.wait(is_so, what)
            before = fleet.numbers().total()
            fleet.wait(lambda: fleet.numbers().total() > before + 200, f"records after {what}")
            shares[what] = fleet.shares()

        fleet.java("java-1")
        then("java alone", lambda: fleet.shares() == {"java-1": 4})
        assert {lease.key for lease in fleet.leases.list()} == keys
        fleet.python("python-1", "auto", "--streams", "clicks", orders)
        then("python joined", lambda: fleet.shares() == {"java-1": 2, "python-1": 2})
        fleet.stop("java-1")
        then("python alone", lambda: fleet.shares() == {"python-1": 4})
        fleet.java("java-2")
        then("java joined", lambda: fleet.shares() == {"java-2": 2, "python-1": 2})
        fleet.stop("python-1")
        then("java alone again", lambda: fleet.shares() == {"java-2": 4})
        putting.finish()
        fleet.wait(lambda: putting.acknowledged <= fleet.numbers().keys(), "end of all records")
        given, repeated = fleet.given(), fleet.repeated()
        known = {lease.key for lease in fleet.leases.list()}
    print(
        f"\nKCL {versions()['kcl']} and us, two streams: {len(putting.acknowledged)} records, 0 lost, {len(repeated)}"
        f" twice; {len(given)} given; { ({what: dict(share) for what, share in shares.items()}) };"
        f" {time.monotonic() - began:.0f} s"
    )
    assert len(putting.acknowledged) >= RECORDS
    assert not repeated
    assert known == keys
