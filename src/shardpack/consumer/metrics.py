"""What a consumer has done, in numbers, under the KCL's names (its ``ProcessTask``, ``DynamoDBLeaseRenewer``, ...)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..leases.balance import Look
from ..leases.fleet.assigning import Round
from ..leases.lease import Lease
from ..producer.core.metrics import Report, Statistics
from ..records import ReceivedRecord
from .loss import DataLoss

_NOTHING = Statistics()
_MOST_LOSSES = 100

# name: (level, kind, unit, what it counts), as the producer's instruments have them. The names are the KCL's.
INSTRUMENTS = {
    "RecordsProcessed": ("summary", "counter", "{record}", "User records handed to the application."),
    "DataBytesProcessed": ("summary", "counter", "By", "Data of the user records handed to the application."),
    "MillisBehindLatest": ("summary", "histogram", "ms", "How far behind the stream's newest record each batch was."),
    "CurrentLeases": ("summary", "up_down_counter", "{lease}", "Leases held."),
    "TakenLeases": ("summary", "counter", "{lease}", "Leases taken."),
    "LostLeases": ("summary", "counter", "{lease}", "Leases that another worker took, or that could not be renewed."),
    "ProcessTask.Time": ("summary", "histogram", "ms", "For how long the application had each batch."),
    "KinesisDataFetcher.getRecords.Time": ("detailed", "histogram", "ms", "Duration of GetRecords calls."),
    "KinesisDataFetcher.getRecords.Failures": ("summary", "counter", "{call}", "GetRecords calls that failed."),
    "ExpiredIterator": ("summary", "counter", "{call}", "GetRecords calls whose iterator was too old."),
    "RenewLease.Time": ("detailed", "histogram", "ms", "Duration of renewals of leases."),
    "TakeLeases.TotalLeases": ("detailed", "up_down_counter", "{lease}", "Leases, when all were last looked at."),
    "TakeLeases.ExpiredLeases": ("summary", "up_down_counter", "{lease}", "Those that their workers do not renew."),
    "TakeLeases.VeryOldLeases": ("summary", "up_down_counter", "{lease}", "Those of them for three failover times."),
    "TakeLeases.LeasesToTake": ("detailed", "up_down_counter", "{lease}", "Leases that this worker lacks."),
    "TakeLeases.LeaseSpillover": (
        "summary",
        "up_down_counter",
        "{lease}",
        "Leases beyond max_leases_for_worker.",
    ),
    "TakeLeases.NumWorkers": ("summary", "up_down_counter", "{worker}", "Workers that have leases."),
    "TakeLeases.ListLeases.Time": ("detailed", "histogram", "ms", "Duration of listing all leases."),
    "LeaseAssignmentManager.TotalLeases": ("summary", "up_down_counter", "{lease}", "Leases, as the leader sees them."),
    "LeaseAssignmentManager.NumWorkers": (
        "summary",
        "up_down_counter",
        "{worker}",
        "Workers that the leader may give leases to.",
    ),
    "LeaseAssignmentManager.ExpiredLeases": (
        "summary",
        "up_down_counter",
        "{lease}",
        "Leases that nobody has, or whose worker is dead.",
    ),
    "LeaseAssignmentManager.LeaseSpillover": (
        "summary",
        "up_down_counter",
        "{lease}",
        "Those of them that no worker may have besides what it has.",
    ),
    "LeaseAssignmentManager.NumOfLeasesReassignment": (
        "summary",
        "counter",
        "{lease}",
        "Leases of live workers that the leader moves.",
    ),
    "LeaseAssignmentManager.FailedAssignmentCount": (
        "detailed",
        "counter",
        "{lease}",
        "Assignments that failed, or that somebody else was faster than.",
    ),
    "LeaseAssignmentManager.NumWorkersWithInvalidEntry": (
        "summary",
        "up_down_counter",
        "{worker}",
        "Reports of workers that cannot be used.",
    ),
    "LeaseAssignmentManager.NumWorkersWithFailingWorkerMetric": (
        "summary",
        "up_down_counter",
        "{worker}",
        "Workers that could not measure how busy they are.",
    ),
    "LeaderDecider.IsLeader": ("detailed", "up_down_counter", "{worker}", "1 while this worker leads, else 0."),
    "DataLosses": ("summary", "counter", "{loss}", "Times that records had expired before they were read."),
    "RenewLease.Failures": ("summary", "counter", "{call}", "Writes of leases that failed."),
}


@dataclass(frozen=True, slots=True)
class ConsumerStats:
    """What a consumer has done since it was made: a snapshot that does not change any more.

    The names are those of the KCL's metrics.

    Attributes:
        records_processed: user records handed to the application.
        data_bytes_processed: their bytes of data.
        millis_behind_latest: by shard that is held, how far behind its reading is; None: not known yet.
        current_leases: leases that are held.
        taken_leases: leases that were taken, since the start.
        lost_leases: leases that another worker took, or that could not be renewed; those handed over do not count.
        total_leases: leases in the store, as this worker last saw them.
        num_workers: workers that have one of them, this one counted.
        process_task_time: seconds for which the application had a batch.
        get_records_time: seconds that `GetRecords` calls took.
        get_records_failures: calls that failed, and were made again.
        expired_iterator: those of them whose iterator was too old.
        renew_lease_time: seconds that renewals took.
        renew_lease_failures: writes of leases that failed, and were made again.
        data_losses: what has expired unread, the last hundred times.
        expired_leases: leases that their workers did not renew, when all leases were last looked at.
        very_old_leases: those of them that nobody has renewed or taken for three failover times.
        leases_to_take: leases that this worker was to take, or to ask for, when all leases were last looked at.
        lease_spillover: leases by which its share is more than its `ConsumerConfig.max_leases_for_worker`.
        list_leases_time: seconds that listing all leases took.
        is_leader: whether this worker shares the leases out to the others.
        leases_reassigned: leases of live workers that it has moved since the start, so that the load is even.
        failed_assignments: leases that it could not assign, or that somebody else was faster with.
        workers_with_invalid_entry: reports that it could not use, in its last round.
        workers_with_failing_worker_metric: workers that could not measure how busy they are, in its last round.
    """

    records_processed: int = 0
    data_bytes_processed: int = 0
    millis_behind_latest: Mapping[str, int | None] = field(default_factory=dict)
    current_leases: int = 0
    taken_leases: int = 0
    lost_leases: int = 0
    total_leases: int = 0
    num_workers: int = 0
    process_task_time: Statistics = _NOTHING
    get_records_time: Statistics = _NOTHING
    get_records_failures: int = 0
    expired_iterator: int = 0
    renew_lease_time: Statistics = _NOTHING
    renew_lease_failures: int = 0
    data_losses: tuple[DataLoss, ...] = ()
    expired_leases: int = 0
    very_old_leases: int = 0
    leases_to_take: int = 0
    lease_spillover: int = 0
    list_leases_time: Statistics = _NOTHING
    is_leader: bool = False
    leases_reassigned: int = 0
    failed_assignments: int = 0
    workers_with_invalid_entry: int = 0
    workers_with_failing_worker_metric: int = 0


class Metrics:
    """Counts what the engine tells it: once for each batch or call, never for each user record.

    Args:
        report: who is told of it too.
    """

    def __init__(self, report: Report | None = None) -> None:
        self._report = report
        self._counts: Counter[str] = Counter()
        self._taken: dict[str, Statistics] = {}
        self._losses: deque[DataLoss] = deque(maxlen=_MOST_LOSSES)

    def snapshot(self, millis_behind_latest: Mapping[str, int | None], leases: Collection[Lease]) -> ConsumerStats:
        """What there is to tell, with these leases in the store."""
        counts, taken = self._counts, self._taken
        return ConsumerStats(
            records_processed=counts["RecordsProcessed"],
            data_bytes_processed=counts["DataBytesProcessed"],
            millis_behind_latest=millis_behind_latest,
            current_leases=counts["CurrentLeases"],
            taken_leases=counts["TakenLeases"],
            lost_leases=counts["LostLeases"],
            total_leases=len(leases),
            num_workers=len({lease.owner for lease in leases} - {None}),
            process_task_time=taken.get("ProcessTask.Time", _NOTHING),
            get_records_time=taken.get("KinesisDataFetcher.getRecords.Time", _NOTHING),
            get_records_failures=counts["KinesisDataFetcher.getRecords.Failures"],
            expired_iterator=counts["ExpiredIterator"],
            renew_lease_time=taken.get("RenewLease.Time", _NOTHING),
            renew_lease_failures=counts["RenewLease.Failures"],
            data_losses=tuple(self._losses),
            expired_leases=counts["TakeLeases.ExpiredLeases"],
            very_old_leases=counts["TakeLeases.VeryOldLeases"],
            leases_to_take=counts["TakeLeases.LeasesToTake"],
            lease_spillover=counts["TakeLeases.LeaseSpillover"],
            list_leases_time=taken.get("TakeLeases.ListLeases.Time", _NOTHING),
            is_leader=bool(counts["LeaderDecider.IsLeader"]),
            leases_reassigned=counts["LeaseAssignmentManager.NumOfLeasesReassignment"],
            failed_assignments=counts["LeaseAssignmentManager.FailedAssignmentCount"],
            workers_with_invalid_entry=counts["LeaseAssignmentManager.NumWorkersWithInvalidEntry"],
            workers_with_failing_worker_metric=counts["LeaseAssignmentManager.NumWorkersWithFailingWorkerMetric"],
        )

    def delivered(self, shard_id: str, records: Sequence[ReceivedRecord], millis: int | None) -> None:
        """A batch was handed to the application."""
        self.count("RecordsProcessed", len(records), shard_id)
        self.count("DataBytesProcessed", sum([len(record.data) for record in records]), shard_id)
        if millis is not None and self._report is not None:
            self._report.record("MillisBehindLatest", millis, shard_id)

    def taken(self, shard_id: str) -> None:
        """A lease was taken."""
        self.count("TakenLeases", 1, shard_id)
        self.count("CurrentLeases", 1, shard_id)

    def looked(self, look: Look | None) -> None:
        """All leases were looked at; None: they are none of this worker's business any more."""
        if look is None:
            return
        for name, value in (
            ("TotalLeases", look.total),
            ("ExpiredLeases", look.expired),
            ("VeryOldLeases", look.very_old),
            ("LeasesToTake", look.to_take),
            ("LeaseSpillover", look.spillover),
            ("NumWorkers", look.workers),
        ):
            self._set(f"TakeLeases.{name}", value)
        self.took("TakeLeases.ListLeases.Time", look.seconds, None)

    def leads(self, *, is_leader: bool) -> None:
        """Whether this worker leads now; what only a leader tells is 0 when it does not."""
        if bool(self._counts["LeaderDecider.IsLeader"]) != is_leader:
            self._set("LeaderDecider.IsLeader", int(is_leader))
            if not is_leader:
                self._set_round(Round([], *[0] * 7))

    def assigned(self, done: Round | None) -> None:
        """This worker has assigned leases, as their leader."""
        if done is not None and self._counts["LeaderDecider.IsLeader"]:
            self._set_round(done)
            self.count("LeaseAssignmentManager.NumOfLeasesReassignment", done.reassigned, None)

    def _set_round(self, done: Round) -> None:
        for name, value in (
            ("TotalLeases", done.total),
            ("NumWorkers", done.workers),
            ("ExpiredLeases", done.expired),
            ("LeaseSpillover", done.spillover),
            ("NumWorkersWithInvalidEntry", done.invalid_reports),
            ("NumWorkersWithFailingWorkerMetric", done.failing_reports),
        ):
            self._set(f"LeaseAssignmentManager.{name}", value)

    def _set(self, name: str, value: int) -> None:
        self.count(name, value - self._counts[name], None)

    def lost(self, loss: DataLoss) -> None:
        """Records have expired unread."""
        self._losses.append(loss)
        self.count("DataLosses", 1, loss.shard_id)

    def read_failed(self, shard_id: str, *, is_expired: bool) -> None:
        """A read has failed, perhaps because its iterator was too old."""
        self.count("KinesisDataFetcher.getRecords.Failures", 1, shard_id)
        self.count("ExpiredIterator", int(is_expired), shard_id)

    def count(self, name: str, amount: int, shard_id: str | None) -> None:
        """Something has happened so many times."""
        self._counts[name] += amount
        if self._report is not None and amount:
            self._report.add(name, amount, shard_id)

    def took(self, name: str, seconds: float, shard_id: str | None) -> None:
        """Something has taken so long."""
        known = self._taken.get(name)
        self._taken[name] = (
            Statistics(1, seconds, seconds, seconds)
            if known is None
            else Statistics(
                known.count + 1,
                known.total + seconds,
                min(known.minimum, seconds),
                max(known.maximum, seconds),
            )
        )
        if self._report is not None:
            self._report.record(name, seconds * 1000, shard_id)
