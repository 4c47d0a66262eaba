"""Fingerprints of user records, and digests of many that do not depend on their order (xxHash)."""

from __future__ import annotations

from _thread import RLock  # `threading` is slow to import, and has the same
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Literal, Protocol, TypeAlias

from xxhash import xxh3_128_intdigest

from .limits import check_callable, check_integer, check_iterable, check_number, check_type, shown
from .records import ReceivedRecord, UserRecord

Duplicate: TypeAlias = Literal["redelivery", "reproduction"]
_MODULUS = 2**128


class HasKeyAndData(Protocol):
    """A user record as it was sent (`UserRecord`) or received (`ReceivedRecord`)."""

    @property
    def partition_key(self) -> str | None:
        """The partition key; None where the source of the record did not say it."""

    @property
    def data(self) -> bytes:
        """The payload."""


class RecordDigest:
    """What a set of user records adds up to, in whatever order they come.

    Two digests are equal when the same records went in, each as many times: for checking that everything that was sent
    has arrived, across shards, processes and machines. The explicit hash key does not count, because a pinned
    aggregate gives a record one on its way.

    The digest is the sum, modulo 2^128, of each record's xxh3-128 (seed 0) over its partition key's length in eight
    bytes, its partition key in UTF-8, and its data. It finds accidents, not forgeries.

    Threads may share one.
    """

    def __init__(self) -> None:
        self._totals = 0, 0, 0  # in one object, so that an interrupt finds all three or none
        self._lock = RLock()

    @property
    def count(self) -> int:
        """Records that went in."""
        return self._totals[0]

    @property
    def data_bytes(self) -> int:
        """Bytes of their data."""
        return self._totals[1]

    def add(self, record: HasKeyAndData) -> None:
        """Take one record in.

        Raises:
            TypeError: it has no partition key and data.
        """
        _check_record(record)
        key = (record.partition_key or "").encode()
        digest = xxh3_128_intdigest(len(key).to_bytes(8, "little") + key + record.data)
        self._add(1, len(record.data), digest)

    def update(self, records: Iterable[HasKeyAndData]) -> None:
        """Take many records in.

        Raises:
            TypeError: ``records`` is no iterable, or holds something without partition key and data.
        """
        check_iterable("records", records, "user records")
        for record in records:
            self.add(record)

    def merge(self, other: RecordDigest) -> None:
        """Take in all that went into another digest, for instance another worker's.

        Raises:
            TypeError: it is none.
        """
        check_type("other", other, RecordDigest, "a RecordDigest")
        self._add(*other._totals)

    def _add(self, count: int, data_bytes: int, digest: int) -> None:
        with self._lock:
            before = self._totals
            self._totals = before[0] + count, before[1] + data_bytes, (before[2] + digest) % _MODULUS

    def __getstate__(self) -> tuple[int, int, int]:
        return self._totals

    def __setstate__(self, state: tuple[int, int, int]) -> None:
        self._totals = state
        self._lock = RLock()

    def hexdigest(self) -> str:
        """The sum as 32 hexadecimal digits."""
        return f"{self._totals[2]:032x}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RecordDigest):
            return NotImplemented
        return self._totals == other._totals

    __hash__ = None  # type: ignore[assignment]  # it changes as records go in

    def __repr__(self) -> str:
        return f"<RecordDigest {self.hexdigest()} of {self.count:,} records, {self.data_bytes:,} bytes>"


class Deduplicator:
    """Which user records were seen before, within a window of the latest.

    Looking and remembering are two steps, so that a record whose handling fails is not taken for its own duplicate::

        if not deduplicator.seen(record):
            handle(record)
            deduplicator.add(record)

    A record is known by the xxh3-128 (seed 0) of its partition key, explicit hash key and data, each after its length
    in eight bytes, or of what ``key`` picks. Two records that are really the same event are only told from two events
    that happen to be equal when the event has an id: pick that. Of n different records in the window, two share a
    fingerprint by accident with a probability of about n^2 / 2^129; it is no protection against forgeries.

    It remembers in this process alone. What it cannot do: see duplicates that went to another process, another Lambda
    execution environment or a restarted one, or that come later than the window reaches; make handling and remembering
    one step (a crash between the two lets the record run again). Threads may share one, but two that look for the same
    record at once may both find that it was not seen.

    Args:
        max_count: most user records to remember, 1 or more; the one seen longest ago is forgotten first.
        max_age: seconds to remember a user record since it was last added; None: without limit.
        key: picks what makes a user record the same, such as an event id, as ``str`` or ``bytes``.
        explicit_hash_key: whether the explicit hash key counts. A pinned aggregate gives its records one, which is
            another each time they are put, so leave it out where producers pin, as shardpack's do by default.

    Raises:
        ValueError: ``max_count`` or ``max_age`` is out of its range.
        TypeError: a setting has the wrong type.
    """

    def __init__(
        self,
        *,
        max_count: int = 100_000,
        max_age: float | None = None,
        key: Callable[[ReceivedRecord | UserRecord], str | bytes] | None = None,
        explicit_hash_key: bool = False,
    ) -> None:
        check_integer("max_count", max_count)
        if max_age is not None:
            check_number("max_age", max_age)
        if key is not None:
            check_callable("key", key, "a function that picks a record's id, or None")
        if max_count < 1:
            raise ValueError(f"max_count is {shown(max_count)}; give at least 1 user record to remember")
        if max_age is not None and not max_age > 0:
            raise ValueError(f"max_age is {shown(max_age)}; give seconds, more than 0, or None for no limit")
        self._max_count = max_count
        self._max_age = max_age
        self._key = key
        self._explicit_hash_key = explicit_hash_key
        self._now = float("-inf")
        self._lock = RLock()
        # Fingerprints, and fingerprints with positions, each with the time it was last added at; oldest first.
        self._records: OrderedDict[int, float] = OrderedDict()
        self._deliveries: OrderedDict[int, float] = OrderedDict()

    def seen(self, record: ReceivedRecord | UserRecord, now: float | None = None) -> Duplicate | None:
        """What a user record repeats, if anything; it is not remembered by that.

        Args:
            record: received from a stream, or not.
            now: the time in seconds, on a clock of your choice that is always the same. None: the record's arrival
                timestamp, so that age is the stream's own time and a replay gives the same answers. Time that goes
                backwards, as between shards, is taken to stand still.

        Returns:
            ``"redelivery"``: the same record at the same position, delivered again, for instance after a failed batch.
            ``"reproduction"``: the same record at another position, put again by a producer. None: not seen.

        Raises:
            ValueError: there is a ``max_age``, and neither ``now`` nor an arrival timestamp.
            TypeError: it is no user record, ``now`` is no number, or ``key`` picked something other than ``str`` or
                ``bytes``.
        """
        _check_record(record, now)
        fingerprint = self._fingerprint(record)
        with self._lock:
            self._advance(record, now)
            if fingerprint not in self._records:
                return None
            return "redelivery" if _delivery(record, fingerprint) in self._deliveries else "reproduction"

    def add(self, record: ReceivedRecord | UserRecord, now: float | None = None) -> None:
        """Remember a user record, once it is handled.

        Args:
            record: as for `seen`.
            now: as for `seen`.

        Raises:
            ValueError: as `seen`.
            TypeError: as `seen`.
        """
        _check_record(record, now)
        fingerprint = self._fingerprint(record)
        delivery = _delivery(record, fingerprint)
        with self._lock:
            self._advance(record, now)
            self._remember(self._records, fingerprint)
            if delivery is not None:
                self._remember(self._deliveries, delivery)

    def __len__(self) -> int:
        """Different user records that are remembered."""
        with self._lock:
            return len(self._records)

    def __getstate__(self) -> dict[str, object]:
        with self._lock:
            windows = {"_records": self._records.copy(), "_deliveries": self._deliveries.copy()}
            return {name: value for name, value in vars(self).items() if name != "_lock"} | windows

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._lock = RLock()

    def _remember(self, window: OrderedDict[int, float], digest: int) -> None:
        window[digest] = self._now
        window.move_to_end(digest)
        while len(window) > self._max_count:
            window.popitem(last=False)

    def _advance(self, record: ReceivedRecord | UserRecord, now: float | None) -> None:
        if self._max_age is None:
            return
        if now is None:
            arrival = record.approximate_arrival_timestamp if isinstance(record, ReceivedRecord) else None
            if arrival is None:
                raise ValueError("max_age needs a time: the record has no arrival timestamp, so give now, in seconds")
            now = arrival.timestamp()
        self._now = max(self._now, now)
        for window in (self._records, self._deliveries):
            while window and next(iter(window.values())) <= self._now - self._max_age:
                window.popitem(last=False)

    def _fingerprint(self, record: ReceivedRecord | UserRecord) -> int:
        if self._key is not None:
            picked = self._key(record)
            if not isinstance(picked, str | bytes):
                raise TypeError(f"key picked {shown(picked)}; give what identifies the record as str or bytes")
            # Lone surrogates cannot be put into a stream, but a key may have them.
            return xxh3_128_intdigest(picked.encode(errors="surrogatepass") if isinstance(picked, str) else picked)
        explicit_hash_key = record.explicit_hash_key if self._explicit_hash_key else None
        fields = ((record.partition_key or "").encode(), (explicit_hash_key or "").encode(), record.data)
        return xxh3_128_intdigest(b"".join(len(field).to_bytes(8, "little") + field for field in fields))


def _check_record(record: object, now: float | None = None) -> None:
    key, data = getattr(record, "partition_key", 0), getattr(record, "data", None)
    if not isinstance(key, str | None) or not isinstance(data, bytes):
        raise TypeError(
            f"record is {shown(record)}; give a user record, with a partition key in text and data in bytes"
        )
    if now is not None:
        check_number("now", now)


def _delivery(record: ReceivedRecord | UserRecord, fingerprint: int) -> int | None:
    """What a record and its position add up to; None without a position."""
    if not isinstance(record, ReceivedRecord) or record.sequence_number is None:
        return None
    position = f"{record.shard_id}:{record.sequence_number}:{record.sub_sequence_number}:{fingerprint:x}"
    return xxh3_128_intdigest(position.encode())
