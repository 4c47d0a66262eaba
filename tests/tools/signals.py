"""Ending processes by signals."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress


def ended_by(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """How it ends when it is sent a signal, again and again: Python heeds one late that comes just before it reads."""
    for _ in range(12):
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(10)
    return process.wait(1)
