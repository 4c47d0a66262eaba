"""What an older botocore cannot send: for the tests with the lowest versions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest


def knows(operation: str, member: str) -> bool:
    """Whether a Kinesis call may have a parameter."""
    return member in _model(operation).members


def wants(operation: str, member: str) -> bool:
    """Whether botocore refuses a Kinesis call without a parameter."""
    return member in _model(operation).required_members


def sends_fractions() -> bool:
    """Whether it sends times to the millisecond, and not to the second."""
    from botocore.serialize import Serializer

    moment = datetime(2026, 1, 1, microsecond=500_000, tzinfo=UTC)
    return bool(Serializer()._timestamp_unixtimestamp(moment) % 1)  # no other way to ask


def _model(operation: str):  # type: ignore[no-untyped-def]  # noqa: ANN202  # of botocore, which has no types
    session = pytest.importorskip("botocore.session").Session()
    return session.get_service_model("kinesis").operation_model(operation).input_shape
