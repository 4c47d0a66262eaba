"""Signals that a caller has had ignored, heeded again.

A process ignores what the one that started it ignores. A shell has SIGINT ignored in what it starts in the background,
and nohup SIGHUP; what tests start could then not be stopped by either.
"""

from __future__ import annotations

import signal


def heed_signals() -> None:
    """Have processes that this one starts end at SIGINT and SIGHUP, whoever has started this one."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # What is caught is not inherited. So this process still outlives its terminal, as nohup's user wants.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
