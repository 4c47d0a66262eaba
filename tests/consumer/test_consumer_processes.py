"""Worker processes over real HTTP, killed while they work: a short `make soak-consumer` with each store of leases."""

from __future__ import annotations

import pytest
from soak_consumer import STORES, Soak, run


@pytest.mark.parametrize("store", STORES)
def test_every_user_record_is_handled(store: str) -> None:
    report = run(Soak(store=store, records=4000, rate=800, workers=2, kills=3, pause=1.0, failover_time=1.0))

    assert not report.missing
    assert not report.disordered
    assert not report.unclean
    assert not report.held
    assert len(report.rebalanced) == 2
