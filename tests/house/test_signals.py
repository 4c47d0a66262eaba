"""The tests mean the same in the background, where a shell has SIGINT ignored, and below nohup."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from heeded_signals import heed_signals

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_tests_start_ends_at_a_signal_that_the_caller_ignores(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        heed_signals()
        code = f"import os, time; os.kill(os.getpid(), {number}); time.sleep(60)"
        ended = subprocess.run([sys.executable, "-S", "-c", code], check=False, stderr=subprocess.DEVNULL).returncode
    finally:
        signal.signal(number, before)

    assert ended == -number


def test_a_hangup_does_not_end_the_tests_themselves_where_it_was_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        heed_signals()
        signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
