"""Where one reader of the application gets its batches."""

from __future__ import annotations

from ...core.holding.delivered import Delivered
from .tickets import Ticket


class Seat:
    """Where one reader of the application gets its batches: one at a time is in its hand.

    Attributes:
        offer: what the engine gave last, and is in hand.
        taken: what the application has got. If an interrupt came before it had, that is not the offer, which is then
            given again: passed over in silence, it would be skipped by the checkpoint of the batch after it.
        ticket: of the reader that waits for the next one, or None.
        is_patient: whether it waits without a limit.
    """

    def __init__(self) -> None:
        self.offer: Delivered | None = None
        self.taken: Delivered | None = None
        self.ticket: Ticket | None = None
        self.is_patient = True
