"""User records in, one aggregate at a time out, as ``aws_kinesis_agg.aggregator`` does it.

What is different on purpose:

* Aggregates are pinned: every sub-record carries the outer explicit hash key. aws-kinesis-agg mixes hash keys under the
  first record's, and the KCL drops such an aggregate whole when one sub-record's hash key is outside the shard that
  holds it: with two shards or more, nearly always (KCL: ``AggregatorUtil``). The pin costs 2 bytes a record and at
  most 41 bytes once. A record's own explicit hash key is kept, never replaced: one that differs from the aggregate's
  does not fit, and starts the next aggregate. Whoever gives every record another one gets aggregates of one record:
  leave the argument out if it need not be kept, or use `shardpack.Packer`, which has an aggregate open for each.
  ``hash_keys="kpl"`` writes what aws-kinesis-agg writes, byte for byte: only for records that all go to one shard, of a
  stream that never reshards.
* `AggRecord.get_contents` always has an explicit hash key, so ``put_record(ExplicitHashKey=...)`` works.
* Sizes are exact, the outer partition key counts towards ``max_size`` as it does for Kinesis (`PutRecord` API
  reference), and a record that fits into no aggregate raises; none is lost near the limit. A call that fails changes
  nothing.
* Callbacks run on the calling thread, unless asked for.
* Keys that Kinesis would refuse are refused here: partition keys of 1 to 256 characters in UTF-8, explicit hash keys
  from 0 to 2^128-1. An empty explicit hash key is none, as before. Keys come back as str, also those given as bytes.
* ``max_size`` may go up to 10 MiB, for streams that take it ("Large records" in the Kinesis developer guide).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeAlias

from ...errors import InvalidRecordError, RecordTooLargeError
from ...hashing import hash_key
from ...limits import MAX_RECORD_BYTES, MIB, check_integer, shown
from ...packing.settings import HashKeys
from ...records import BytesLike, UserRecord, check_user_record
from ...wire.backend import backend
from ...wire.core import Builder
from ...wire.format import FRAME_BYTES

__all__ = ["AggRecord", "RecordAggregator"]


class RecordAggregator:
    """Fills one aggregate after another. Not thread-safe.

    Args:
        max_size: most bytes of an aggregate, its magic and MD5 and its outer partition key included.
        hash_keys: ``"pinned"`` or ``"kpl"``; see the module.

    Attributes:
        max_size: as given.
        current_record: the `AggRecord` that is being filled.
        callbacks: (callback, whether it runs on a new thread) pairs.

    Raises:
        ValueError: a setting is out of its range.
    """

    def __init__(self, max_size: int = MIB, *, hash_keys: HashKeys = "pinned") -> None:
        self.max_size = max_size
        self._hash_keys: HashKeys = hash_keys
        self.current_record = AggRecord(max_size, hash_keys=hash_keys)
        self.callbacks: list[tuple[AggCallback, bool]] = []

    def on_record_complete(self, callback: AggCallback, execute_on_new_thread: bool = False) -> None:
        """Call back with each full aggregate.

        A callback is registered once: giving it again only changes where it runs.

        Args:
            callback: takes an `AggRecord` that nothing changes any more.
            execute_on_new_thread: True: on a thread of its own for each aggregate, which nothing waits for but the
                interpreter's exit, and whose errors reach nobody but ``threading.excepthook``. False: on the thread
                that adds, whose `add_user_record` raises what the callback raises; then nothing was added or closed,
                and adding again calls back again. aws-kinesis-agg's default is True.
        """
        registered = (callback, execute_on_new_thread)
        for place, (known, _) in enumerate(self.callbacks):
            if known == callback:
                self.callbacks[place] = registered
                return
        self.callbacks.append(registered)

    def get_num_user_records(self) -> int:
        """User records in the aggregate that is being filled."""
        return self.current_record.get_num_user_records()

    def get_size_bytes(self) -> int:
        """Bytes of the aggregate that is being filled, as `AggRecord.get_size_bytes`."""
        return self.current_record.get_size_bytes()

    def clear_record(self) -> None:
        """Throw away what is in the aggregate that is being filled."""
        self.current_record = AggRecord(self.max_size, hash_keys=self._hash_keys)

    def clear_callbacks(self) -> None:
        """Forget all callbacks."""
        self.callbacks.clear()

    def clear_and_get(self) -> AggRecord | None:
        """The aggregate so far, or None if nothing is in it; the next record starts a new one.

        Callbacks are not called for it, as in aws-kinesis-agg: send what this returns.
        """
        if not self.get_num_user_records():
            return None
        so_far = self.current_record
        self.clear_record()
        return so_far

    def add_user_record(
        self, partition_key: str | BytesLike, data: str | BytesLike, explicit_hash_key: EHK = None
    ) -> AggRecord | None:
        """Take a user record.

        Args:
            partition_key: 1 to 256 Unicode characters, as str or in UTF-8.
            data: the payload; text is encoded as UTF-8.
            explicit_hash_key: a number from 0 to 2^128-1 in decimal as str or bytes, or as int.

        Returns:
            The aggregate that is now full, to be sent; it was given to the callbacks too. Usually None.

        Raises:
            InvalidRecordError: a field breaks a rule of the service (a ValueError).
            RecordTooLargeError: the record does not fit, even alone (a ValueError). In both cases nothing has changed.
        """
        if self.current_record.add_user_record(partition_key, data, explicit_hash_key):
            return None
        full = self.current_record
        callbacks = list(self.callbacks)
        for callback, on_new_thread in callbacks:
            if not on_new_thread:
                callback(full)
        # Only now: when a callback fails, the full aggregate is still here. Threads get what is never touched again.
        self.clear_record()
        self.current_record.add_user_record(partition_key, data, explicit_hash_key)
        for callback, on_new_thread in callbacks:
            if on_new_thread:
                threading.Thread(target=callback, args=(full,)).start()
        return full


class AggRecord:
    """One aggregate. Not thread-safe.

    Args:
        max_size: most bytes of the aggregate, its magic and MD5 and its outer partition key included.
        hash_keys: ``"pinned"`` or ``"kpl"``; see the module.

    Attributes:
        max_size: as given.

    Raises:
        ValueError: a setting is out of its range.
    """

    def __init__(self, max_size: int = MIB, *, hash_keys: HashKeys = "pinned") -> None:
        check_integer("max_size", max_size)
        if max_size > MAX_RECORD_BYTES:
            raise ValueError(
                f"max_size is {shown(max_size, ',')}; Kinesis takes records of up to {MAX_RECORD_BYTES:,} bytes"
            )
        if hash_keys not in ("pinned", "kpl"):
            raise ValueError(f'hash_keys is {shown(hash_keys)}; choose "pinned" or "kpl"')
        self.max_size = max_size
        self._pinned = hash_keys == "pinned"
        self._builder: Builder | None = None  # from the first record on, whose keys become the outer ones
        self._partition_key = ""
        self._explicit_hash_key = ""

    def get_num_user_records(self) -> int:
        """User records in it."""
        return 0 if self._builder is None else self._builder.count

    def get_size_bytes(self) -> int:
        """Bytes of the aggregate if it were sent now, magic and MD5 included, the partition key beside it not."""
        return FRAME_BYTES if self._builder is None else self._builder.size

    def clear(self) -> None:
        """Throw away what is in it."""
        self._builder = None
        self._partition_key = self._explicit_hash_key = ""

    def get_contents(self) -> tuple[str, str, bytes]:
        """What to put: (partition key, explicit hash key, data). Changes nothing.

        The keys are the first record's. An explicit hash key is always there: where the first record has none, it is
        the hash of the partition key, which routes to the same shard.

        Raises:
            InvalidRecordError: there is no user record in it.
        """
        if self._builder is None:
            raise InvalidRecordError("the aggregate is empty: add a user record before sending it", field="records")
        return self._partition_key, self._explicit_hash_key, self._builder.build()

    def get_partition_key(self) -> str | None:
        """The outer partition key, or None when it is empty."""
        return self._partition_key or None

    def get_explicit_hash_key(self) -> str | None:
        """The outer explicit hash key, or None when it is empty."""
        return self._explicit_hash_key or None

    def add_user_record(
        self, partition_key: str | BytesLike, data: str | BytesLike, explicit_hash_key: EHK = None
    ) -> bool:
        """Take a user record.

        Args:
            partition_key: as `RecordAggregator.add_user_record`.
            data: likewise.
            explicit_hash_key: likewise.

        Returns:
            False, and nothing has changed, if it belongs into another aggregate: this one is too full, or pinned to
            another explicit hash key than the record's own.

        Raises:
            InvalidRecordError: a field breaks a rule of the service (a ValueError).
            RecordTooLargeError: the record does not fit, even alone (a ValueError). In both cases nothing has changed.
        """
        record = _user_record(partition_key, data, explicit_hash_key)
        if self._builder is not None and self._may_join(record) and self._builder.add_any(*record):
            return True
        alone = self._start(record)
        if self._builder is not None:
            return False
        self._builder = alone
        self._partition_key = record.partition_key
        self._explicit_hash_key = _routing_hash_key(record)
        return True

    def _may_join(self, record: UserRecord) -> bool:
        return not self._pinned or record.explicit_hash_key in (None, self._explicit_hash_key)

    def _start(self, record: UserRecord) -> Builder:
        pin = _routing_hash_key(record) if self._pinned else None
        outer_size = len(record.partition_key.encode())
        builder = backend().builder(self.max_size - outer_size, pin)
        if not builder.add_any(*record):
            whole = backend().builder(sys.maxsize, pin)
            whole.add_any(*record)
            size = whole.size + outer_size
            raise RecordTooLargeError(
                f"a user record of {len(record.data):,} bytes takes {size:,} bytes as an aggregate with its partition"
                f" key; max_size is {self.max_size:,}",
                size=size,
                limit=self.max_size,
            )
        return builder


AggCallback: TypeAlias = Callable[[AggRecord], object]
EHK: TypeAlias = str | BytesLike | int | None


def _routing_hash_key(record: UserRecord) -> str:
    return record.explicit_hash_key or str(hash_key(record.partition_key))


def _user_record(partition_key: str | BytesLike, data: str | BytesLike, explicit_hash_key: EHK) -> UserRecord:
    """The record with every field checked and normalised, so that one key given in two types stays one key."""
    if isinstance(data, str):
        try:
            data = data.encode()
        except UnicodeEncodeError as error:
            raise InvalidRecordError(f"data has a lone surrogate at character {error.start}", field="data") from None
    own = None if explicit_hash_key in ("", b"") else explicit_hash_key
    if isinstance(own, bytes | bytearray | memoryview):
        own = _text(own, "explicit_hash_key")
    if isinstance(partition_key, bytes | bytearray | memoryview):
        partition_key = _text(partition_key, "partition_key")
    return check_user_record((partition_key, data, own))


def _text(encoded: BytesLike, field: str) -> str:
    try:
        return bytes(encoded).decode()
    except UnicodeDecodeError as error:
        raise InvalidRecordError(f"{field} is not UTF-8 at byte {error.start}", field=field) from None
