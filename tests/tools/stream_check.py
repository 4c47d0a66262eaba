"""What became of user records in a real stream: a resharder, a reader by the KCL's rule, and a verdict."""

from __future__ import annotations

import base64
import hashlib
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Self

import servers
from fault_calls import LostAnswer

import shardpack as sp
from shardpack.producer import Delivery


class Stored(NamedTuple):
    """A Kinesis record, with the user records that the KCL delivers from it.

    Attributes:
        fingerprint: of its partition key and data.
    """

    shard_id: str
    sequence_number: str
    fingerprint: bytes
    records: list[sp.ReceivedRecord]


class Resharder:
    """Splits and merges a stream's shards at random while it is entered; waits until it is ACTIVE each time.

    Args:
        client: of the server itself, so that no fault leaves the stream half way.
        pause: seconds between two reshards.
        most_shards: how many may be open.
        seed: for the dice.

    Attributes:
        active: held while the stream is UPDATING.
    """

    def __init__(self, client: Any, stream_name: str, *, pause: float, most_shards: int = 8, seed: int = 0) -> None:
        self._client = client
        self._stream_name = stream_name
        self._pause = pause
        self._most_shards = most_shards
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resharder", daemon=True)
        self._error: Exception | None = None
        self.active = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.open_shards = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        from botocore.exceptions import ConnectionClosedError

        try:
            while not self._stop.wait(self._pause):
                with self.active:
                    try:
                        self._reshard()
                    except ConnectionClosedError:  # a server ends connections that have rested for some seconds
                        self.counts["calls lost"] += 1
                    servers.wait_until_active(self._client, self._stream_name)
        except Exception as error:  # noqa: BLE001  # raised on leaving
            self._error = error

    def _reshard(self) -> None:
        shards = sp.ShardMap(self._client.list_shards(StreamName=self._stream_name)["Shards"]).shards
        self.open_shards = len(shards)
        is_split = len(shards) == 1 or (len(shards) < self._most_shards and self._random.random() < 0.5)
        which = self._random.randrange(len(shards) if is_split else len(shards) - 1)
        shard = shards[which]
        if is_split:
            middle = (shard.starting_hash_key + shard.ending_hash_key) // 2
            if shard.ending_hash_key - shard.starting_hash_key < 1000:
                return
            self._client.split_shard(
                StreamName=self._stream_name, ShardToSplit=shard.shard_id, NewStartingHashKey=str(middle)
            )
        else:
            self._client.merge_shards(
                StreamName=self._stream_name,
                ShardToMerge=shard.shard_id,
                AdjacentShardToMerge=shards[which + 1].shard_id,
            )
        self.counts["splits" if is_split else "merges"] += 1


def read_stream(client: Any, stream_name: str) -> Iterator[Stored]:
    """Everything in a stream, parents before their children, as a fleet of KCL workers delivers it."""
    shards = {shard["ShardId"]: shard for shard in client.list_shards(StreamName=stream_name)["Shards"]}
    for shard_id in _parents_first(shards):
        hash_range = shards[shard_id]["HashKeyRange"]
        bounds = int(hash_range["StartingHashKey"]), int(hash_range["EndingHashKey"])
        for record in _read_shard(client, stream_name, shard_id):
            delivered = sp.unpack(record, on_corrupt="kcl", hash_range=bounds, out_of_range="drop_aggregate")
            fingerprint = _fingerprint(record["PartitionKey"], record["Data"])
            yield Stored(shard_id, record["SequenceNumber"], fingerprint, list(delivered))


def _parents_first(shards: Mapping[str, Mapping[str, Any]]) -> list[str]:
    ordered: dict[str, None] = {}

    def visit(shard_id: str) -> None:
        for key in ("ParentShardId", "AdjacentParentShardId"):
            parent = shards[shard_id].get(key)
            if parent is not None and parent in shards and parent not in ordered:
                visit(parent)
        ordered[shard_id] = None

    for shard_id in sorted(shards):
        visit(shard_id)
    return list(ordered)


def _read_shard(client: Any, stream_name: str, shard_id: str) -> Iterator[dict[str, Any]]:
    iterator = client.get_shard_iterator(StreamName=stream_name, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")[
        "ShardIterator"
    ]
    while iterator:
        page = client.get_records(ShardIterator=iterator, Limit=1000)
        yield from page["Records"]
        iterator = page.get("NextShardIterator")
        if not page["Records"] and page.get("MillisBehindLatest", 0) == 0:
            return


def _fingerprint(partition_key: str, data: bytes) -> bytes:
    return hashlib.blake2b(partition_key.encode() + b"\0" + data, digest_size=16).digest()


Outcome = Delivery | sp.DeliveryError


@dataclass
class Verdict:
    """What became of user records that are known by a number.

    Attributes:
        acknowledged: how many futures had a result.
        missing: acknowledged, and not read.
        misplaced: acknowledged, and not where the `Delivery` says, or not as they were put.
        unknown: how many records were read that nobody put.
        duplicates: user records read once more than once, each time.
        unexplained: Kinesis records that were delivered, are nobody's acknowledgement, and whose answer was not lost.
        explained: Kinesis records stored without acknowledgement, by how their answer was lost; or ``unlisted_shard``,
            when the producer could not judge them by the KCL's rule and said so.
        failed: user records by the error code of their last attempt but an expiry.
        failed_but_stored: how many of them were read none the less.
        dropped: Kinesis records from which the KCL delivers nothing.
        overtaken: how often a user record came after a younger one of its key, copies aside. An explicit hash key that
            a record was put with takes its partition key's place.
        off_path: how often a user record's shard is neither that of the one before of its key, nor a descendant of it.
    """

    acknowledged: int = 0
    missing: list[int] = field(default_factory=list)
    misplaced: list[int] = field(default_factory=list)
    unknown: int = 0
    duplicates: int = 0
    unexplained: list[str] = field(default_factory=list)
    explained: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    failed_but_stored: int = 0
    dropped: int = 0
    overtaken: int = 0
    off_path: int = 0
    kinesis_records: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether the producer has kept its promise."""
        return not (self.missing or self.misplaced or self.unknown or self.unexplained)

    def explain(self, stored: Stored, lost_kinds: list[str], outcomes: Mapping[int, Outcome]) -> None:
        """Find the lost answer that left a Kinesis record without acknowledgement; each explains one."""
        # Told by the producer itself first: the same bytes may also have been lost, and be stored, elsewhere.
        if all(_was_not_judged(outcomes.get(_number(record)), stored.shard_id) for record in stored.records):
            self.explained["unlisted_shard"] += 1
        elif lost_kinds:
            # The last answers of connections are read as a rule: what was surely lost explains more.
            kind = next((kind for kind in lost_kinds if kind != "last"), "last")
            lost_kinds.remove(kind)
            self.explained[kind] += 1
        else:
            number = _number(stored.records[0])
            errors = [(attempt.error_code, attempt.error_message) for attempt in outcomes[number].attempts]
            where = f"{stored.shard_id} {stored.sequence_number}"
            self.unexplained.append(f"{where} has {number} and {len(stored.records) - 1} more, tried: {errors}")

    def compare(self, outcomes: Mapping[int, Outcome], read: AbstractSet[int], placed: AbstractSet[int]) -> None:
        """Count what the producer said of each user record, and keep those that are not where it said.

        Args:
            outcomes: of each user record, by its number.
            read: the numbers of those that the stream holds.
            placed: the numbers of those that are where the producer said.
        """
        for number, outcome in outcomes.items():
            if isinstance(outcome, sp.DeliveryError):
                self.failed[_reason(outcome)] += 1
                self.failed_but_stored += number in read
                continue
            self.acknowledged += 1
            if number not in read:
                self.missing.append(number)
            elif number not in placed:
                self.misplaced.append(number)


def judge(
    stored: Iterable[Stored],
    outcomes: Mapping[int, Outcome],
    put: Callable[[int], sp.UserRecord],
    lost: Iterable[LostAnswer],
    parents: Mapping[str, Sequence[str]] | None = None,
) -> Verdict:
    """Compare what the producer said with what a stream holds.

    Args:
        stored: what `read_stream` gives.
        outcomes: of each user record, by its number.
        put: the user record with a number; its data begin with the number and a colon.
        lost: the answers that did not reach the producer.
        parents: of each shard; None: nobody asks whether the shards of a key form a path.
    """
    verdict = Verdict()
    read: Counter[int] = Counter()
    placed: set[int] = set()
    acknowledged = {(o.shard_id, o.sequence_number) for o in outcomes.values() if isinstance(o, Delivery)}
    lost_kinds = _lost_kinds(lost)
    latest: defaultdict[str | None, int] = defaultdict(lambda: -1)
    ways: defaultdict[str | None, list[tuple[int, str]]] = defaultdict(list)
    for one in stored:
        verdict.kinesis_records += 1
        verdict.dropped += not one.records
        if one.records and (one.shard_id, one.sequence_number) not in acknowledged:
            verdict.explain(one, lost_kinds[one.fingerprint], outcomes)
        for record in one.records:
            number = _number(record)
            outcome, sent = outcomes.get(number), put(number)
            if outcome is None or (record.partition_key, record.data) != (sent.partition_key, sent.data):
                verdict.unknown += 1
                continue
            place = one.shard_id, record.position
            if isinstance(outcome, Delivery) and (outcome.shard_id, outcome.position) == place:
                placed.add(number)
            if number not in read:
                key = sent.partition_key if sent.explicit_hash_key is None else f"= {sent.explicit_hash_key}"
                verdict.overtaken += number < latest[key]
                latest[key] = max(number, latest[key])
                ways[key].append((number, one.shard_id))
            read[number] += 1
    verdict.duplicates = sum(read.values()) - len(read)
    if parents is not None:
        for way in ways.values():
            verdict.off_path += sum(
                not _descends(parents, after, before) for (_, before), (_, after) in pairwise(sorted(way))
            )
    verdict.compare(outcomes, read.keys(), placed)
    return verdict


def parents_of_shards(client: Any, stream_name: str) -> dict[str, list[str]]:
    """The parents of each shard of a stream."""
    shards = client.list_shards(StreamName=stream_name)["Shards"]
    names = "ParentShardId", "AdjacentParentShardId"
    return {shard["ShardId"]: [shard[name] for name in names if shard.get(name)] for shard in shards}


def _descends(parents: Mapping[str, Sequence[str]], shard_id: str, ancestor: str) -> bool:
    look, seen = [shard_id], {shard_id}
    while look:
        one = look.pop()
        if one == ancestor:
            return True
        new = [parent for parent in parents.get(one, ()) if parent not in seen]
        seen.update(new)
        look += new
    return False


def _number(record: sp.ReceivedRecord) -> int:
    return int(record.data.partition(b":")[0])


def _was_not_judged(outcome: Outcome | None, shard_id: str) -> bool:
    """Whether an attempt stored it in a shard that came and went between two lists (``hash_keys="kpl"`` alone)."""
    messages = [str(attempt.error_message) for attempt in outcome.attempts] if outcome else []
    return any(f"stored in {shard_id}, which is not listed" in message for message in messages)


def _lost_kinds(lost: Iterable[LostAnswer]) -> defaultdict[bytes, list[str]]:
    kinds: defaultdict[bytes, list[str]] = defaultdict(list)
    for answer in lost:
        if answer.operation == "PutRecords":
            for entry in answer.arguments["Records"]:
                kinds[_fingerprint(entry["PartitionKey"], base64.b64decode(entry["Data"]))].append(answer.kind)
    for of_record in kinds.values():
        of_record.sort(key=lambda kind: kind != "last")  # which is taken from the end: what is certain goes first
    return kinds


def _reason(error: sp.DeliveryError) -> str:
    codes = [str(attempt.error_code) for attempt in error.attempts]
    if codes and codes[-1] == "Expired":
        return f"Expired after {codes[-2]}" if len(codes) > 1 else "Expired before a call"
    return codes[-1] if codes else str(error)
