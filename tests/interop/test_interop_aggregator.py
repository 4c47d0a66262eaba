"""``unpack(on_corrupt="kcl")`` against the KCL's own AggregatorUtil, as its jar has it."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from typing import Any

from aggregate_cases import Case, cases
from java_programs import answers

import shardpack as sp

CASES = int(os.environ.get("INTEROP_CASES", "20000"))
SEED = int(os.environ.get("INTEROP_SEED", "7"))


def ours(case: Case) -> list[Any]:
    delivered = sp.unpack(
        {"Data": case.data, "PartitionKey": "outer", "SequenceNumber": "1"},
        on_corrupt="kcl",
        hash_range=(case.starting, case.ending),
        out_of_range="drop_aggregate",
    )
    return [
        [
            r.partition_key,
            r.explicit_hash_key,
            r.sub_sequence_number,
            r.aggregated,
            base64.b64encode(r.data).decode("ascii"),
        ]
        for r in delivered
    ]


def theirs(generated: list[Case], *, jaxb: bool) -> list[Any]:
    lines = (f"{base64.b64encode(case.data).decode('ascii')} {case.starting} {case.ending}\n" for case in generated)
    answered = [json.loads(line) for line in answers("Deaggregate", lines="".join(lines), jaxb=jaxb)]
    assert len(answered) == len(generated)
    return answered


def test_delivers_what_the_kcl_delivers() -> None:
    generated = list(cases(SEED, CASES))

    outcomes: Counter[str] = Counter()
    for case, expected in zip(generated, theirs(generated, jaxb=True), strict=True):
        assert ours(case) == expected, f"seed {SEED}: {case.data.hex()} in {case.starting} to {case.ending}"
        outcomes[outcome(expected)] += 1
    print(f"{CASES:,} aggregates, seed {SEED}: {dict(outcomes)}")
    assert min(outcomes[kind] for kind in ("raw", "expanded", "nothing")) > CASES // 20


def test_differs_only_where_the_kcl_cannot_write_its_log() -> None:
    # With the KCL's own dependencies alone, on Java 11 or later, a bad index or explicit hash key throws an Error.
    generated = list(cases(SEED + 1, CASES // 4))
    without, with_jaxb = theirs(generated, jaxb=False), theirs(generated, jaxb=True)

    thrown = 0
    for case, expected, logged in zip(generated, without, with_jaxb, strict=True):
        if isinstance(expected, dict):
            assert expected["thrown"] == "java.lang.NoClassDefFoundError: javax/xml/bind/DatatypeConverter"
            thrown += 1
        else:
            assert expected == logged == ours(case)
    print(f"{len(generated):,} aggregates without JAXB, {thrown} of which throw NoClassDefFoundError")
    assert thrown


def outcome(delivered: list[Any]) -> str:
    if not delivered:
        return "nothing"
    return "expanded" if delivered[0][3] else "raw"
