"""A small model of a producer that keeps order per key: every interleaving of it, one after the other.

It shares no code with the producer. The hash keys are 0, 1 and 2; there are two partition keys, at home at 0 and 2. A
shard is a range of hash keys, and it may be split or merged at any moment. The producer knows the shards as some
listing has shown them. An aggregate is stored as a whole by the shard that then owns its pin. Its call may be refused,
its answer may be lost, so that it is sent again, and it may be given up.

`Model.explore` walks through all states that can be reached. A rule can be left out of the model; then a promise must
break.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, pairwise
from typing import NamedTuple

KEYS = (0, 1)
HOME = (0, 2)
"""The hash key of each partition key."""
LAST_HASH_KEY = 2

RULES = {
    "one": "a shard has at most one unacknowledged aggregate, which is sent again before anything younger",
    "wait": "a key with a record in an unacknowledged aggregate waits, whatever a new map says",
    "pin": "a key keeps its pin when its last record is stored on another shard than its home",
    "descend": "a pin is left only for one whose owner is the shard of the last record or a descendant of it",
    "unknown": "a key whose last outcome is unknown keeps its pin until the shards are listed again",
}


class Shard(NamedTuple):
    """A range of hash keys, with its parents by their numbers."""

    first: int
    last: int
    parents: tuple[int, ...] = ()


class World:
    """The shards after some splits and merges, and the worlds that one more would lead to.

    Attributes:
        number: its own.
        shards: all that there have been in it, by their numbers.
        owners: the open shard of each hash key.
        following: the worlds that may come next.
    """

    def __init__(self, shards: tuple[Shard, ...], reshards: int, worlds: list[World]) -> None:
        self.number = len(worlds)
        worlds.append(self)
        self.shards = shards
        closed = {parent for shard in shards for parent in shard.parents}
        self.open = [number for number in range(len(shards)) if number not in closed]
        self.owners = [
            next(one for one in self.open if shards[one].first <= hash_key <= shards[one].last)
            for hash_key in range(LAST_HASH_KEY + 1)
        ]
        self.following = [World((*shards, *new), reshards - 1, worlds).number for new in self._new() if reshards]

    def descends(self, one: int, other: int) -> bool:
        """Whether a shard is another one or descends from it."""
        return one == other or any(self.descends(parent, other) for parent in self.shards[one].parents)

    def _new(self) -> Iterator[tuple[Shard, ...]]:
        for one in self.open:
            first, last, _ = self.shards[one]
            for middle in range(first, last):
                yield Shard(first, middle, (one,)), Shard(middle + 1, last, (one,))
            for other in self.open:
                if self.shards[other].first == last + 1:
                    yield (Shard(first, self.shards[other].last, (one, other)),)


class Parcel(NamedTuple):
    """An unacknowledged aggregate.

    Attributes:
        lane: the shard for which it was filled.
        pin: the hash key by which it is stored.
        records: of each key in it, the number of its record.
        copies: where in `State.stored` they are, once they are stored and until the answer is known.
        unsure: whether an answer was lost, so that nobody knows whether they are stored already.
    """

    lane: int
    pin: int
    records: tuple[tuple[int, int], ...]
    copies: tuple[int, ...] = ()
    unsure: bool = False


class Kept(NamedTuple):
    """Why a key is not sent home: the pin that it keeps, and the shard of its last record, or None when unknown."""

    pin: int
    last: int | None


class Left(NamedTuple):
    """How much may still go wrong."""

    losses: int = 0
    refusals: int = 0
    given_up: int = 0
    ghosts: int = 0


class State(NamedTuple):
    """Service and producer together.

    Attributes:
        world: the shards as they are.
        known: the shards as the producer knows them.
        listing: the shards in an answer that is on its way to the producer; None: none is.
        listing_is_old: whether an outcome has become unknown since that was asked for.
        parcels: the unacknowledged aggregates.
        ghosts: calls that the producer has given up and that the service will carry out all the same.
        kept: of each key.
        following: the number of each key's next record.
        stored: of each key, the copies of its records in the order in which they were stored: number and shard.
        acknowledged: of each key, the places in `stored` that the producer was told of, in that order.
    """

    world: int
    known: int
    left: Left
    listing: int | None = None
    listing_is_old: bool = False
    parcels: tuple[Parcel, ...] = ()
    ghosts: tuple[Parcel, ...] = ()
    kept: tuple[Kept | None, ...] = (None, None)
    following: tuple[int, ...] = (0, 0)
    stored: tuple[tuple[tuple[int, int], ...], ...] = ((), ())
    acknowledged: tuple[tuple[int, ...], ...] = ((), ())


@dataclass(frozen=True)
class Result:
    """What `Model.explore` has found: the first broken promise, if there is one, and how many states it has seen."""

    broken: str | None
    states: int


class Model:
    """What may happen, and by which rules the producer goes.

    Args:
        shards: those that are there at first.
        reshards: how many splits and merges there may be.
        left: what else may go wrong.
        without: the rule of `RULES` that the producer does not keep.
        records: how many each key has.
        pin_last: whether the pin of a shard is the last hash key of its range, and not the first.
    """

    def __init__(
        self,
        shards: tuple[Shard, ...],
        reshards: int,
        left: Left,
        *,
        without: str | None = None,
        records: tuple[int, int] = (1, 2),
        pin_last: bool = False,
    ) -> None:
        self._worlds: list[World] = []
        World(shards, reshards, self._worlds)
        self._rules = RULES.keys() - {without}
        self._records = records
        self._pin_last = pin_last
        self._start = State(0, 0, left)

    def explore(self) -> Result:
        """Walk through all states."""
        seen, todo = {self._start}, deque([self._start])
        while todo:
            state = todo.popleft()
            for following in self._steps(state):
                if following not in seen:
                    if broken := self._broken(following):
                        return Result(f"{broken}: {following}", len(seen))
                    seen.add(following)
                    todo.append(following)
        return Result(None, len(seen))

    def _steps(self, state: State) -> Iterator[State]:
        """Each state that may come next."""
        yield from self._sendings(state)
        for nth, parcel in enumerate(state.parcels):
            yield from self._fates(state, nth, parcel)
        for nth, ghost in enumerate(state.ghosts):
            yield self._store(state, ghost)[0]._replace(ghosts=_without(state.ghosts, nth))
        for world in self._worlds[state.world].following:
            yield state._replace(world=world)
        if state.listing is not None:
            yield self._listed(state)
        elif state.world != state.known or any(kept and kept.last is None for kept in state.kept):
            yield state._replace(listing=state.world, listing_is_old=False)

    # The producer.

    def _sendings(self, state: State) -> Iterator[State]:
        known = self._worlds[state.known]
        for lane in known.open:
            mine = [key for key in KEYS if known.owners[self._pin(state, key)] == lane]
            if not all(self._may_join(state, key, lane) for key in mine):
                continue
            ready = [
                key
                for key in mine
                if state.following[key] < self._records[key]
                and not any(self._holds_up(parcel, lane, key) for parcel in state.parcels)
            ]
            for keys in chain.from_iterable(combinations(ready, count) for count in (1, 2)):
                records = tuple((key, state.following[key]) for key in keys)
                following = tuple(number + (key in keys) for key, number in enumerate(state.following))
                parcel = Parcel(lane, self._pin_of(state, lane), records)
                yield state._replace(parcels=(*state.parcels, parcel), following=following)

    def _holds_up(self, parcel: Parcel, lane: int, key: int) -> bool:
        """Whether a key must wait for an unacknowledged aggregate before it is sent on a lane."""
        if parcel.lane == lane:
            return "one" in self._rules
        return "wait" in self._rules and any(key == other for other, _ in parcel.records)

    def _pin(self, state: State, key: int) -> int:
        kept = state.kept[key]
        return HOME[key] if kept is None else kept.pin

    def _pin_of(self, state: State, lane: int) -> int:
        first, last, _ = self._worlds[state.known].shards[lane]
        return last if self._pin_last else first

    def _may_join(self, state: State, key: int, lane: int) -> bool:
        """Whether the pin of a lane may take the place of the one that a key keeps."""
        kept = state.kept[key]
        if kept is None or kept.pin == self._pin_of(state, lane) or "descend" not in self._rules:
            return True
        return self._descends(state, lane, kept.last)

    def _is_home(self, state: State, key: int, kept: Kept) -> bool:
        """Whether a key may go where its own hash key says."""
        return "descend" not in self._rules or self._descends(
            state, self._worlds[state.known].owners[HOME[key]], kept.last
        )

    def _descends(self, state: State, one: int, other: int | None) -> bool:
        """Whether the producer knows that a shard is another one or descends from it."""
        known = self._worlds[state.known]
        return other is not None and other < len(known.shards) and known.descends(one, other)

    def _listed(self, state: State) -> State:
        if state.listing is None:
            return state
        state, is_old = state._replace(known=state.listing, listing=None), state.listing_is_old
        kept = list(state.kept)
        for key, why in enumerate(state.kept):
            if why is None:
                continue
            # Whoever has stored it, the owner of the pin is the same shard now, or descends from it.
            owner = self._worlds[state.known].owners[why.pin]
            found = Kept(why.pin, owner) if why.last is None and not is_old else why
            kept[key] = None if self._is_home(state, key, found) else found
        return state._replace(kept=tuple(kept))

    # The service, and what the producer makes of its answers.

    def _fates(self, state: State, nth: int, parcel: Parcel) -> Iterator[State]:
        left, rest = state.left, _without(state.parcels, nth)
        again = (*rest[:nth], parcel._replace(copies=(), unsure=True), *rest[nth:])
        if parcel.copies:
            yield self._acknowledge(state._replace(parcels=rest), parcel)
        else:
            stored, copies = self._store(state, parcel)
            yield stored._replace(parcels=(*rest[:nth], parcel._replace(copies=copies), *rest[nth:]))
            if left.refusals:  # for good; so it is known not to be stored, unless an answer was lost before
                refused = state._replace(parcels=rest, left=left._replace(refusals=left.refusals - 1))
                yield self._give_up(refused, parcel) if parcel.unsure else refused
            if left.ghosts:
                less = left._replace(ghosts=left.ghosts - 1)
                yield state._replace(parcels=again, ghosts=(*state.ghosts, parcel), left=less)
        if left.losses and parcel.copies:
            yield state._replace(parcels=again, left=left._replace(losses=left.losses - 1))
        if left.given_up:
            less = left._replace(given_up=left.given_up - 1)
            yield self._give_up(state._replace(parcels=rest, left=less), parcel)

    def _store(self, state: State, parcel: Parcel) -> tuple[State, tuple[int, ...]]:
        shard = self._worlds[state.world].owners[parcel.pin]
        stored = list(state.stored)
        copies = tuple(len(stored[key]) for key, _ in parcel.records)
        for key, number in parcel.records:
            stored[key] = (*stored[key], (number, shard))
        return state._replace(stored=tuple(stored)), copies

    def _acknowledge(self, state: State, parcel: Parcel) -> State:
        acknowledged, kept = list(state.acknowledged), list(state.kept)
        for (key, _), copy in zip(parcel.records, parcel.copies, strict=True):
            acknowledged[key] = (*acknowledged[key], copy)
            why = Kept(parcel.pin, state.stored[key][copy][1])
            kept[key] = None if "pin" not in self._rules or self._is_home(state, key, why) else why
        return state._replace(kept=tuple(kept), acknowledged=tuple(acknowledged))

    def _give_up(self, state: State, parcel: Parcel) -> State:
        if "unknown" not in self._rules:
            return state
        kept = list(state.kept)
        for key, _ in parcel.records:
            kept[key] = Kept(parcel.pin, None)
        return state._replace(kept=tuple(kept), listing_is_old=state.listing is not None)

    # The promise.

    def _broken(self, state: State) -> str | None:
        """Which promise a state breaks.

        What a reader sees first of each record is in order too, given up or not, unless the service carries out a call
        long after the producer has given it up.
        """
        for key in KEYS:
            told = [place for _, place in sorted((state.stored[key][at][0], at) for at in state.acknowledged[key])]
            if not self._is_path(state, key, told):
                return "acknowledged records are not in order"
            if not self._start.left.ghosts:
                firsts = {number: place for place, (number, _) in reversed([*enumerate(state.stored[key])])}
                if not self._is_path(state, key, [firsts[number] for number in sorted(firsts)]):
                    return "the first copies of records are not in order"
        return None

    def _is_path(self, state: State, key: int, places: list[int]) -> bool:
        world, stored = self._worlds[state.world], state.stored[key]
        return all(
            before < after and world.descends(stored[after][1], stored[before][1]) for before, after in pairwise(places)
        )


def _without(parcels: tuple[Parcel, ...], nth: int) -> tuple[Parcel, ...]:
    return (*parcels[:nth], *parcels[nth + 1 :])
