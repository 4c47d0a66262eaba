"""Steps that the tests of every store of leases take."""

from __future__ import annotations

from shardpack.leases.lease import Lease, Leases

LONG = "49590338271490256608559692538361571095921575989136588898"  # 56 digits, as Kinesis gives them


def only(leases: Leases) -> Lease:
    (lease,) = leases.list()
    return lease


def created(leases: Leases, lease: Lease) -> Lease:
    assert leases.create(lease) is True
    return lease


def taken(leases: Leases, lease: Lease, owner: str = "me") -> Lease:
    got = leases.take(lease, owner)
    assert got is not None
    return got
