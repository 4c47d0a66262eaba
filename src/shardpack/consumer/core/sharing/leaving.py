"""How a worker ends in order: its leases go to live workers, each of which must come for what it was given.

Decisions only. A lease that was given to a worker that does not come, because it has died or is ending too, is made
nobody's, so that no lease waits for the failover time under the name of a worker that is gone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from ....leases.balance import LeaseView
from ....leases.lease import Lease
from ...config import ConsumerConfig
from ..actions import Action, GetLease, ListLeases, ReleaseLease, TakeBack

_LOOKS = 4  # at a lease that was given, in the time in which its new owner looks once
_PATIENCE = 3  # times in which its new owner looks, or half of the failover time, after which a lease is free anyway


@dataclass(slots=True)
class _Given:
    lease: Lease
    due: float | None  # when to look again; None: a call is under way
    until: float


class Leaving:
    """What becomes of the leases of a worker that ends.

    Args:
        config: the settings.
        view: the leases as this worker last saw them.

    Attributes:
        is_ready: whether it is known to whom leases may be given, so that they can be let go.
    """

    def __init__(self, config: ConsumerConfig, view: LeaseView) -> None:
        longest = config.failover_time / 2  # closing takes no longer than twice that
        self._interval = min(config.lease_discovery_interval, longest)
        self._patience = min(_PATIENCE * self._interval, longest)
        self._is_asking = config.graceful_lease_handoff_timeout > 0
        self._view = view
        self._peers: Counter[str] = Counter()
        self._chosen: dict[str, str] = {}
        self._given: dict[str, _Given] = {}
        self._listing: bool | None = None  # None: not begun; whether it is under way
        self.is_ready = False

    def poll(self, now: float) -> list[Action]:
        """The calls to make now."""
        actions: list[Action] = []
        if self._listing is None:
            self._listing = self._is_asking and (self._view.is_partial or bool(self._view.peers(now)))
            self.is_ready = not self._listing
            actions += [ListLeases()] * self._listing
        for given in self._given.values():
            if given.due is not None and given.due <= now:
                actions.append(TakeBack(given.lease) if now >= given.until else GetLease(given.lease.key))
                given.due = None
        return actions

    def deadline(self) -> float | None:
        """When there may be a call to make, or None."""
        if self._listing is None:
            return float("-inf")
        return min((given.due for given in self._given.values() if given.due is not None), default=None)

    def listed(self, now: float) -> None:
        """The leases were listed, or could not be, and the view shows them."""
        self._peers = self._view.peers(now)
        self._listing, self.is_ready = False, True

    def directed(self, action: Action) -> Action:
        """An action; if it lets a lease go, to the worker that should have it."""
        if not isinstance(action, ReleaseLease) or action.lease.checkpoint_owner is not None:
            return action
        return replace(action, to=self.successor(action.lease.key))

    def successor(self, key: str) -> str | None:
        """The worker that should have a lease: the one that has fewest; None: there is none.

        It stays the same when the lease is given once more, because the first time may have had its effect.
        """
        if key not in self._chosen and self._peers:
            worker = min(self._peers, key=lambda peer: (self._peers[peer], peer))
            self._peers[worker] += 1
            self._chosen[key] = worker
        return self._chosen.get(key)

    def given(self, lease: Lease, now: float) -> None:
        """A lease was given to a worker, which is now to come for it."""
        self._given[lease.key] = _Given(lease, now + self._interval / _LOOKS, now + self._patience)

    def is_watching(self, key: str) -> bool:
        """Whether a lease was given, and nobody has come for it yet."""
        return key in self._given

    def seen(self, key: str, lease: Lease | None, now: float) -> None:
        """How a lease that was given is now."""
        given = self._given[key]
        if lease is None or (lease.counter, lease.owner) != (given.lease.counter, given.lease.owner):
            del self._given[key]
        else:
            given.due = min(now + self._interval / _LOOKS, given.until)

    def failed(self, key: str, now: float) -> None:
        """A look at a lease that was given has failed, or taking it back."""
        given = self._given[key]
        given.due = now + self._interval
        if now > given.until + self._patience:
            del self._given[key]  # it expires by itself

    def taken_back(self, key: str) -> None:
        """Nobody has come for a lease, and it is nobody's now; or somebody came in the last moment."""
        self._given.pop(key, None)

    @property
    def is_over(self) -> bool:
        """Whether every lease that was given has come to somebody, or is nobody's."""
        return self._listing is False and not self._given
