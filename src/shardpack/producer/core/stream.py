"""What the producer knows of its stream: shards, the largest record, whether keys count."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from ...aws.errors import PERMANENT
from ...hashing import Shard, ShardMap
from ...limits import KIB, MIB
from .actions import Action, DescribeStream, ListShards

_log = logging.getLogger("shardpack.producer")

_FIRST_WAIT, _WAIT_FACTOR, _LONGEST_WAIT = 1.0, 1.5, 30.0  # between tries to list shards: the KPL's ShardMap

_LIMIT_HOLDS = 60.0  # before a record that was refused for its size makes the producer ask again

# When this share of so many answers names another shard than predicted, though the map is fresh, keys may not count
# any more: RecordDistributionStrategy can be switched to AUTO at any time, and takes effect at once.
_SAMPLE, _SUSPICIOUS_SHARE = 40, 0.25


class StreamWatch:
    """The producer's view of its stream, refreshed when answers contradict it.

    Attributes:
        shard_map: the open shards as last listed, or None.
        is_stale: whether an answer has shown that the map is out of date.
        max_record_bytes: the largest Kinesis record that the stream takes, or None while that is unknown.
        ignores_keys: whether Kinesis places records without regard to their keys (``AUTO``).
        listings: how many times it has begun to list the shards.
        is_described: whether `DescribeStreamSummary` has answered, or failed, at least once.

    Args:
        stream_name: for messages.
        with_closed: whether to list closed shards too, so that `descends` knows the lineage.
    """

    def __init__(self, stream_name: str, *, with_closed: bool = False) -> None:
        self._stream_name = stream_name
        self._with_closed = with_closed
        self._lineage = _Lineage()
        self.is_described = False
        self.shard_map: ShardMap | None = None
        self.is_stale = True
        self.max_record_bytes: int | None = None
        self.ignores_keys = False
        self.listings = 0
        self._limit_is_in_doubt = False
        self._described_at = float("-inf")
        self._seen: dict[str, Shard] = {}
        self._listed_at = float("-inf")
        self._listing = _Call()
        self._describing = _Call()
        self._wrong: deque[bool] = deque(maxlen=_SAMPLE)

    def actions(self, now: float) -> list[Action]:
        """The calls to make now."""
        actions: list[Action] = []
        if self._listing.begin(now):
            self.listings += 1
            actions.append(ListShards(with_closed=self._with_closed))
        if self._limit_is_in_doubt and now >= self._described_at + _LIMIT_HOLDS:
            self._describing.request(now)
        if self._describing.begin(now):
            actions.append(DescribeStream())
        return actions

    @property
    def deadline(self) -> float | None:
        """When there may be a call to make, or None."""
        dues = [call.due for call in (self._listing, self._describing) if call.due is not None]
        if self._limit_is_in_doubt and self._describing.is_at_rest:
            dues.append(self._described_at + _LIMIT_HOLDS)
        return min(dues, default=None)

    def shard(self, shard_id: str) -> Shard | None:
        """A shard that was open at some time."""
        return self._seen.get(shard_id)

    def list_again(self, now: float) -> None:
        """List the shards, unless that is under way."""
        self._listing.request(now)

    def descends(self, shard_id: str, ancestor: str) -> bool:
        """Whether a shard is known to be another one, or to descend from it."""
        return self._lineage.descends(shard_id, ancestor)

    def shards_listed(self, shards: Iterable[Mapping[str, Any]], now: float) -> bool:
        """`ListShards` answered; whether that made sense."""
        try:
            shards = [*shards]
            shard_map = ShardMap(shards)
            self._lineage.learn(shards, shard_map)
        except ValueError as error:  # caught in the middle of a reshard
            self.list_shards_failed("InvalidShards", str(error), now)
            return False
        self.shard_map = shard_map
        self.is_stale = False
        self._listed_at = now
        self._seen |= {shard.shard_id: shard for shard in shard_map.shards}
        self._listing.succeeded()
        return True

    def list_shards_failed(self, code: str, message: str, now: float) -> None:
        """`ListShards` failed; it is tried again after a while, and puts go on without it."""
        if self._listing.failed(now) == 1:
            _log.warning("%s: ListShards failed (%s: %s); trying again", self._stream_name, code, message)

    def doubt_limit(self) -> None:
        """A record was refused for its size: ask again for the stream's limit, which can be raised at any time."""
        self._limit_is_in_doubt = True

    def described(self, summary: Mapping[str, Any], now: float) -> None:
        """`DescribeStreamSummary` answered."""
        self.is_described = True
        self._describing.succeeded()
        self._described_at, self._limit_is_in_doubt = now, False
        self._wrong.clear()
        self.max_record_bytes = KIB * int(summary.get("MaxRecordSizeInKiB") or MIB // KIB)
        ignores_keys = summary.get("RecordDistributionStrategy") == "AUTO"
        if ignores_keys and not self.ignores_keys:
            _log.warning(
                "%s has RecordDistributionStrategy AUTO, under which aggregates may be dropped: records go out plain",
                self._stream_name,
            )
        self.ignores_keys = ignores_keys

    def describe_failed(self, code: str, message: str, now: float) -> None:
        """`DescribeStreamSummary` failed: for good if it is not allowed, else it is tried again."""
        self.is_described = True
        if code not in PERMANENT:
            self._describing.failed(now)
            return
        self._describing.succeeded()
        self._described_at, self._limit_is_in_doubt = now, False
        if self.max_record_bytes is None:
            self.max_record_bytes = MIB
            _log.warning(
                "%s: DescribeStreamSummary failed (%s: %s). Records up to 1 MiB are taken, and whether the stream"
                " ignores keys shows only in where they land",
                self._stream_name,
                code,
                message,
            )
        elif self._is_suspicious:
            self.ignores_keys = True
            _log.warning("%s: records land on other shards than predicted, so they go out plain", self._stream_name)

    def landed(self, predicted: str | None, actual: str, started: float, now: float) -> None:
        """A Kinesis record was stored by a call that started then."""
        if predicted is None or started < self._listed_at:
            return  # predicted by an older map than today's
        self._wrong.append(predicted != actual)
        if predicted != actual and not self.is_stale:
            self.is_stale = True
            self._listing.request(now)
        if self._is_suspicious and not self.ignores_keys:
            self._describing.request(now)

    @property
    def _is_suspicious(self) -> bool:
        return len(self._wrong) == _SAMPLE and sum(self._wrong) > _SUSPICIOUS_SHARE * _SAMPLE


class _Lineage:
    """The parents of all shards that were ever listed; those of a shard that is not listed any more stay known."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, ...]] = {}
        self._closed: set[str] = set()

    def learn(self, shards: Iterable[Mapping[str, Any]], shard_map: ShardMap) -> None:
        """Take a list of shards.

        Raises:
            ValueError: the list is older than one before; a shard that has children cannot be open.
        """
        parents = {shard["ShardId"]: tuple(shard[name] for name in _PARENTS if shard.get(name)) for shard in shards}
        closed = self._closed.union(*parents.values())
        if open_again := [shard.shard_id for shard in shard_map.shards if shard.shard_id in closed]:
            raise ValueError(f"{open_again[0]} has children, and is listed as open: the list is out of date")
        self._parents |= parents
        self._closed = closed

    def descends(self, shard_id: str, ancestor: str) -> bool:
        """See `StreamWatch.descends`."""
        seen, look = {shard_id}, [shard_id]
        while look:
            one = look.pop()
            if one == ancestor:
                return True
            new = [parent for parent in self._parents.get(one, ()) if parent not in seen]
            seen.update(new)
            look += new
        return False


_PARENTS = ("ParentShardId", "AdjacentParentShardId")


class _Call:
    """One kind of call: due or not, under way or not, and how long to wait after failures."""

    def __init__(self) -> None:
        self.due: float | None = float("-inf")
        self._under_way = False
        self._failures = 0

    @property
    def is_at_rest(self) -> bool:
        """Whether it is neither under way nor about to be."""
        return self.due is None and not self._under_way

    def request(self, now: float) -> None:
        """Have it made, unless it is about to be."""
        if self.is_at_rest:
            self.due = now

    def begin(self, now: float) -> bool:
        """Whether to make it now; then it is under way."""
        if self.due is None or self.due > now:
            return False
        self.due, self._under_way = None, True
        return True

    def succeeded(self) -> None:
        self._under_way, self._failures = False, 0

    def failed(self, now: float) -> int:
        """How many times in a row it has failed now."""
        self._under_way = False
        self._failures += 1
        self.due = now + min(_LONGEST_WAIT, _FIRST_WAIT * _WAIT_FACTOR ** (self._failures - 1))
        return self._failures
