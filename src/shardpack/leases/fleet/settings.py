"""What a fleet with a leader can be set to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...limits import shown


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """How a leader shares the leases out, and what each worker tells it.

    The settings are those of the KCL's ``LeaseManagementConfig`` and ``WorkerUtilizationAwareAssignmentConfig``. Those
    of the worker that leads count, so give all workers the same.

    Attributes:
        strategy: What is evened out. ``"worker_utilization_aware"``: the load of the workers.
            ``"lease_count_based"``: how many leases each has.
        worker_metric: What this worker reports of its load. ``"throughput"``: nothing of its own, so that the leader
            reckons with the bytes that are read of the leases, which is what the KCL does where it cannot measure.
            ``"cpu"``: the processor time of this process, in percent of one processor.
        reporting_interval: How many seconds lie between two reports, from 0.5 to 3,600. A leader gives leases to
            workers whose last report is younger than two of its own intervals.
        leader_lease_duration: For how many seconds a leader that is not heard of stays the leader, from 1 to 3,600.
        leader_heartbeat: How many seconds lie between two signs of life of the leader, and between two looks of the
            others at who leads, from 0.2; at most half of ``leader_lease_duration``.
        assignment_interval: How many seconds lie between two rounds in which the leader shares leases out, from 0.2 to
            3,600. None: the failover time.
        balancing_frequency: Leases that nobody has are given away in each round. Once in so many rounds, from 1, leases
            that live workers have are moved too.
        rebalance_threshold: By how many percent a worker's load may differ from the mean before leases move, from 0
            to 100.
        dampening: How many percent of what a worker has too much is moved in one round, from 1 to 100.
        allow_throughput_overshoot: Whether one lease is moved where even the smallest is more than should be moved.
        max_throughput: The most KiB a second that a worker is given leases for, from 1.

    Raises:
        ValueError: A setting is out of its range.
    """

    strategy: Literal["worker_utilization_aware", "lease_count_based"] = "worker_utilization_aware"
    worker_metric: Literal["throughput", "cpu"] = "throughput"
    reporting_interval: float = 30.0
    leader_lease_duration: float = 30.0
    leader_heartbeat: float = 10.0
    assignment_interval: float | None = None
    balancing_frequency: int = 3
    rebalance_threshold: float = 10.0
    dampening: float = 60.0
    allow_throughput_overshoot: bool = True
    max_throughput: float = float("inf")

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if name == "assignment_interval" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise ValueError(f"{name} is {shown(value)}; it takes {least:,} to {most:,}")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} is {shown(value)}; choose {' or '.join(map(repr, choices))}")
        if 2 * self.leader_heartbeat > self.leader_lease_duration:
            raise ValueError(
                f"leader_heartbeat is {self.leader_heartbeat:g}, leader_lease_duration {self.leader_lease_duration:g};"
                " a leader must be heard of twice in that time, so take at most half of it"
            )


_UNBOUNDED = float("inf")
_RANGES: dict[str, tuple[float, float]] = {
    "reporting_interval": (0.5, 3600),
    "leader_lease_duration": (1, 3600),
    "leader_heartbeat": (0.2, 1800),
    "assignment_interval": (0.2, 3600),
    "balancing_frequency": (1, _UNBOUNDED),
    "rebalance_threshold": (0, 100),
    "dampening": (1, 100),
    "max_throughput": (1, _UNBOUNDED),
}
_CHOICES: dict[str, tuple[object, ...]] = {
    "strategy": ("worker_utilization_aware", "lease_count_based"),
    "worker_metric": ("throughput", "cpu"),
    "allow_throughput_overshoot": (True, False),
}
