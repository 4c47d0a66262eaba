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


@pytest.mark.parametrize("seconds", [0.1, 3.0, 60.0])
@pytest.mark.parametrize("ahead", [0.0, 0.9, -0.9, 30.0, -30.0])
def test_a_slow_answer_is_not_taken_for_another_clock(seconds: float, ahead: float) -> None:
    """Were now a moment that has passed, what was put last would be missing from what is read up to now."""
    clock = ManualClock(1_795_000_000.5)

    def call(_: str, **__: Any) -> dict[str, Any]:
        date = format_datetime(datetime.fromtimestamp(int(clock.now() - ahead), UTC), usegmt=True)
        clock.advance(seconds)
        return {"StreamDescriptionSummary": SUMMARY, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}

    stream: Any = KinesisStream(call, "s", clock=clock, sleep=clock.wait)  # type: ignore[arg-type]
    stream.identity()
    ours, of_service = clock.now() * 1000, (clock.now() - ahead) * 1000
    assert min(ours, of_service) - 1 <= stream.now() <= max(ours, of_service) + 1
    assert abs(stream.now() - of_service) <= 1000 + seconds * 1000 + 1  # what the answer does not tell
