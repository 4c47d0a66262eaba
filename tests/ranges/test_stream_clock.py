"""What time it is for a stream: by our clock, unless the service's is known to differ."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

pytest.importorskip("pyarrow")
from shardpack.ranges.shells.stream import KinesisStream
from shardpack.testing import ManualClock

CREATED = datetime(2026, 7, 21, tzinfo=UTC)
SUMMARY = {"StreamARN": "arn", "StreamName": "s", "RetentionPeriodHours": 24, "StreamCreationTimestamp": CREATED}


def times(*, ahead: float = 0.0, stale: float = 0.0, takes: float = 0.1) -> tuple[float, float, float]:
    """Now by our clock, by the service's, and as it is taken to be, in seconds.

    Args:
        ahead: by how much our clock is before the service's.
        stale: how old the date in its answer is.
        takes: how long the answer takes.
    """
    clock = ManualClock(1_795_000_000.5)

    def call(_: str, **__: Any) -> dict[str, Any]:
        date = format_datetime(datetime.fromtimestamp(int(clock.now() - ahead - stale), UTC), usegmt=True)
        clock.advance(takes)
        return {"StreamDescriptionSummary": SUMMARY, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}

    stream: Any = KinesisStream(call, "s", clock=clock, sleep=clock.wait)  # type: ignore[arg-type]
    stream.identity()
    return clock.now(), clock.now() - ahead, stream.now() / 1000


@pytest.mark.parametrize("takes", [0.1, 3.0, 60.0])
@pytest.mark.parametrize("stale", [0.0, 4.0])
def test_a_slow_answer_or_an_old_date_is_not_taken_for_another_clock(takes: float, stale: float) -> None:
    """Were now a moment that has passed, what was put last would be missing from what is read up to now."""
    ours, _, taken = times(stale=stale, takes=takes)
    assert taken == ours


@pytest.mark.parametrize("takes", [0.1, 3.0])
@pytest.mark.parametrize("ahead", [-1.5, -30.0, 30.0])
def test_a_clock_that_differs_is_known(ahead: float, takes: float) -> None:
    _, of_service, taken = times(ahead=ahead, takes=takes)
    assert abs(taken - of_service) <= 1 + takes
