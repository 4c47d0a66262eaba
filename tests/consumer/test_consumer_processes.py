"""Worker processes over real HTTP, killed while they work: a short `make soak-consumer` with each store of leases."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec

import pytest
from soak_consumer import STORES, Soak, run

# How many user records, and how many kills; `make test-deep` runs the long one.
SIZE = {"short": (2000, 2), "long": (8000, 6)}


@pytest.mark.long
@pytest.mark.parametrize("store", STORES)
def test_every_user_record_is_handled(store: str) -> None:
    records, kills = SIZE[os.environ.get("HYPOTHESIS_PROFILE", "short")]
    shell = "mixed" if store == "sqlite" and find_spec("aiobotocore") else "threads"
    soak = Soak(store=store, shell=shell, records=records, rate=800, workers=2, kills=kills, pause=1.0)
    report = run(replace(soak, failover_time=2.0))

    assert not report.missing
    assert not report.disordered
    assert not report.unclean
    assert not report.held
    assert len(report.rebalanced) == 2
