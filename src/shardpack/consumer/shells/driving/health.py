"""Whether a consumer works: the answer to a liveness probe."""

from __future__ import annotations

import time

from .driver import Driver

_PATIENCE = 5.0  # seconds; the driver's thread answers within milliseconds


def is_healthy(driver: Driver) -> bool:
    """Whether the driver's thread answers, and its engine is well; one that is not started yet is well."""
    try:
        driver.check()
        return driver.look(lambda engine: engine.is_healthy(time.monotonic()), _PATIENCE)
    except (RuntimeError, TimeoutError):
        return False
