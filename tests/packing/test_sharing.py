"""What threads share, and what an interrupt breaks into, stays whole."""

from __future__ import annotations

import gc
import os
import pickle
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest

import shardpack as sp
from shardpack.dedup import Deduplicator, RecordDigest
from shardpack.packing.route import Route
from shardpack.wire.flat import Flat

HITS = int(os.environ.get("INTERRUPT_TRIALS", "60"))
MOST_TRIALS = 50 * HITS  # on a fast machine, the work is often done before the signal comes
THREADS = 4

SHARDS = sp.ShardMap.single("shardId-0")
PACKERS: dict[str, Callable[[], sp.Packer]] = {
    "any": lambda: sp.Packer(limits=sp.Limits(2000)),
    "count": lambda: sp.Packer(limits=sp.Limits(2000, 7)),
    "key": lambda: sp.Packer(by="key", limits=sp.Limits(2000)),
    "shard": lambda: sp.Packer(shard_map=SHARDS, limits=sp.Limits(2000)),
    "lookahead": lambda: sp.Packer(limits=sp.Limits(2000), lookahead=2),
}


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[int], None]) -> None:
    """Let some threads do it at once, and raise what one of them raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def one(nth: int) -> None:
        try:
            start.wait()
            work(nth)
        except BaseException as error:  # noqa: BLE001  # raised below
            errors.append(error)

    threads = [threading.Thread(target=one, args=(nth,)) for nth in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


def user_records(packed: list[sp.PackedRecord]) -> Counter[bytes]:
    assert all(sum(1 for _ in sp.unpack(one)) == one.user_record_count for one in packed)
    assert all(one.size <= 2000 for one in packed)
    return Counter(record.data for record in sp.unpack(packed, on_corrupt="raise"))


def numbers(begun: list[int]) -> Iterator[int]:
    for number in range(1500):
        begun[0] = number + 1
        yield number


def one_by_one(packer: sp.Packer, packed: list[sp.PackedRecord], begun: list[int]) -> None:
    for number in numbers(begun):
        packed += packer.add(f"key {number % 3}", b"%d " % number + bytes(20))
        if number % 400 == 0:
            packed += packer.flush()


def in_bulk(packer: sp.Packer, packed: list[sp.PackedRecord], begun: list[int]) -> None:
    for one in packer.add_all((f"key {number % 3}", b"%d " % number + bytes(20)) for number in numbers(begun)):
        packed += (one,)


def sent(count: int) -> list[bytes]:
    """The data of the records of `of_a_list` up to there."""
    return [b"%d %d " % divmod(nth, 50) + bytes(20) for nth in range(count)]


def of_a_list(packer: sp.Packer, packed: list[sp.PackedRecord], _begun: list[int]) -> None:
    data = sent(1500)
    for number in range(30):
        records = [(f"key {nth % 3}", one) for nth, one in enumerate(data[50 * number : 50 * number + 50])]
        for one in packer.add_all(records):
            packed += (one,)


ADDING = {"one by one": one_by_one, "in bulk": in_bulk, "of a list": of_a_list}


class TestThreads:
    @pytest.mark.parametrize("kind", PACKERS)
    def test_share_a_packer(self, kind: str) -> None:
        packer, each = PACKERS[kind](), 3000
        packed: list[sp.PackedRecord] = []

        def add(nth: int) -> None:
            for number in range(each):
                packed.extend(packer.add(f"key {number % 5}", b"%d %d " % (nth, number) + bytes(20)))
                if number % 500 == 0:
                    packed.extend(packer.flush())

        together(add)
        packed += packer.flush()
        assert user_records(packed) == {
            b"%d %d " % (nth, number) + bytes(20): 1 for nth in range(THREADS) for number in range(each)
        }

    @pytest.mark.parametrize("kind", PACKERS)
    def test_share_a_packer_in_bulk(self, kind: str) -> None:
        packer, each = PACKERS[kind](), 3000
        packed: list[sp.PackedRecord] = []

        def add(nth: int) -> None:
            records = [(f"key {number % 5}", b"%d %d " % (nth, number) + bytes(20)) for number in range(each)]
            packed.extend(packer.add_all(records if nth % 2 else iter(records)))

        together(add)
        packed += packer.flush()
        assert user_records(packed).total() == len(user_records(packed)) == THREADS * each

    def test_share_an_iterator_of_unpack(self) -> None:
        blob = sp.encode([("key", b"%d" % number) for number in range(50)])
        kinds = [blob, b"plain", blob[:-1]]
        records = ({"Data": kinds[nth % 3], "SequenceNumber": str(nth), "PartitionKey": "p"} for nth in range(600))
        unpacked = sp.unpack(records)
        taken: list[sp.ReceivedRecord] = []
        together(lambda _nth: taken.extend(unpacked))
        assert len(taken) == 200 * 52
        assert len({(record.sequence_number, record.sub_sequence_number) for record in taken}) == len(taken)

    def test_share_an_iterator_of_pack(self) -> None:
        packed = sp.pack(((f"key {number}", b"%d" % number) for number in range(20_000)), limits=sp.Limits(2000))
        taken: list[sp.PackedRecord] = []
        together(lambda _nth: taken.extend(packed))
        assert user_records(taken) == {b"%d" % number: 1 for number in range(20_000)}

    def test_an_iterator_that_asks_itself_says_so(self) -> None:
        def records() -> Iterator[object]:
            yield {"Data": b"first", "PartitionKey": "p"}
            next(unpacked)

        unpacked = sp.unpack(records())
        assert next(unpacked).data == b"first"
        with pytest.raises((RuntimeError, ValueError), match=r"already executing|while it was looking"):
            next(unpacked)

    def test_share_a_deduplicator_and_a_digest(self) -> None:
        deduplicator, digest = Deduplicator(max_count=500), RecordDigest()
        alone = RecordDigest()

        def add(nth: int) -> None:
            for number in range(2000):
                record = sp.UserRecord("key", b"%d %d" % (nth, number))
                assert deduplicator.seen(record) is None
                deduplicator.add(record)
                assert len(deduplicator) <= 500
                digest.add(record)

        together(add)
        for nth in range(THREADS):
            alone.update(sp.UserRecord("key", b"%d %d" % (nth, number)) for number in range(2000))
        assert len(deduplicator) == 500
        assert digest == alone

    def test_a_deduplicator_is_pickled_while_others_may_not_change_it(self) -> None:
        deduplicator: Any = Deduplicator(max_count=500)
        for number in range(500):
            deduplicator.add(sp.UserRecord("key", b"%d" % number))
        changed = [b""]

        def change() -> None:
            changed.append(pickle.dumps(deduplicator))
            deduplicator.add(sp.UserRecord("key", b"another"))

        other = threading.Thread(target=change)
        with deduplicator._lock:
            other.start()
            before = pickle.dumps(deduplicator)
            other.join(0.05)
            assert changed == [b""]  # it waits
        other.join()
        assert changed == [b"", before]

    def test_a_packer_that_is_pickled_has_a_lock_of_its_own(self) -> None:
        packer = pickle.loads(pickle.dumps(sp.Packer(limits=sp.Limits(2000))))
        packer.add("key", b"data")
        assert user_records(packer.flush()) == {b"data": 1}


class Interrupt(BaseException):
    pass


class Interrupting:
    """A lock after which, once, another thread gets its turn, and then an interrupt comes.

    Args:
        lock: what it stands for.
        meanwhile: the other thread's turn; None: an interrupt comes while it is waited for.
        error: what the interrupt raises.
    """

    def __init__(
        self, lock: Any, meanwhile: Callable[[], object] | None, error: type[BaseException] = Interrupt
    ) -> None:
        self._lock = lock
        self._meanwhile = meanwhile
        self._error = error
        self._is_over = False

    def __enter__(self) -> None:
        if self._meanwhile is None and not self._is_over:
            self._is_over = True
            raise self._error
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._is_over = True
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
            raise self._error


SOON = 0.00002


def interrupted(work: Callable[[], None], seconds: float) -> bool:
    """Do some work into which a signal breaks after a while, while something of shardpack runs; whether it did."""

    is_over = False

    def interrupt(_signal: int, frame: FrameType | None) -> None:
        if is_over:
            return
        frames = []
        while frame:
            frames.append(frame.f_code)
            frame = frame.f_back
        # Not where the application has it: what it does with what it was given is its own affair. And not at the end of
        # an object, where Python ignores what is raised.
        is_ours = any(os.sep + "shardpack" + os.sep in code.co_filename for code in frames)
        if is_ours and not any(code.co_name == "__del__" for code in frames):
            raise Interrupt
        signal.setitimer(signal.ITIMER_REAL, SOON)

    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # likewise in its callbacks, of which others in this process have some
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        work()
    except Interrupt:
        return True
    finally:
        is_over = True
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return False


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that interrupts")
class TestInterrupts:
    """A real signal at a random moment, so at any place of ours where Python lets one come."""

    @pytest.mark.parametrize("kind", PACKERS)
    @pytest.mark.parametrize("way", ["one by one", "in bulk", "of a list"])
    def test_leave_a_packer_whole(self, kind: str, way: str) -> None:
        choice = random.Random(f"{kind} {way}")
        hits = trials = 0
        while hits < HITS and trials < MOST_TRIALS:
            trials += 1
            packer, packed, begun = PACKERS[kind](), list[sp.PackedRecord](), [0]
            hits += interrupted(partial(ADDING[way], packer, packed, begun), choice.uniform(0.00005, 0.002))
            found = user_records(packed + packer.flush())
            assert max(found.values(), default=1) == 1
            if way == "of a list":  # of which nobody knows how far it was read
                assert sorted(found) == sorted(sent(found.total()))
            else:
                assert begun[0] - found.total() in (0, 1)  # one may have been on its way
            assert packer.flush() == []
            assert packer.add("key", b"more") == []
            assert user_records(packer.flush()) == {b"more": 1}
        assert hits == HITS

    @pytest.mark.parametrize("interrupted", [False, True])
    def test_leave_nobody_an_aggregate_that_has_gone_out(
        self, monkeypatch: pytest.MonkeyPatch, *, interrupted: bool
    ) -> None:
        """Without a GIL, a thread may have found it open, and add to it only when it is gone."""
        packer, close = sp.Packer(), Route.close

        def closed(route: Route) -> None:
            close(route)
            monkeypatch.undo()
            raise Interrupt

        packer.add("k", b"1")
        builder = packer._open[None].builder
        assert builder is not None
        if interrupted:
            monkeypatch.setattr(Route, "close", closed)
            with pytest.raises(Interrupt):
                packer.flush()
        assert user_records(packer.flush()) == {b"1": 1}
        assert not builder.add("k", b"2")

    @pytest.mark.parametrize("error", [Interrupt, TimeoutError])  # the handler of an alarm raises what it likes
    def test_give_back_what_was_on_its_way_out_of_an_iterator_and_no_more(self, error: type[BaseException]) -> None:
        """Though another thread has gone on."""
        records = [("k", b"%d" % number + bytes(20)) for number in range(400)]
        packing: Any = sp.pack(records, limits=sp.Limits(2000))
        taken = [next(packing)]
        packing._lock = Interrupting(packing._lock, lambda: taken.append(next(packing)), error)
        with pytest.raises(error):
            next(packing)
        taken += packing
        assert user_records(taken) == {data: 1 for _, data in records}

    def test_give_back_to_the_packer_what_was_on_its_way_out_of_an_iterator_that_is_given_up(self) -> None:
        packer = sp.Packer(limits=sp.Limits(2000))
        records = [("k", b"%d" % number + bytes(20)) for number in range(400)]
        packing: Any = packer.add_all(records)
        taken = [next(packing)]
        packing._lock = Interrupting(packing._lock, lambda: taken.append(next(packing)))
        with pytest.raises(Interrupt):
            next(packing)
        packing._lock = None  # which refers to it
        packing = None
        gc.collect()
        found = user_records(taken + packer.flush())
        assert found == {data: 1 for _, data in records[: found.total()]}

    def test_of_one_that_waits_for_its_turn_cut_nothing_short(self) -> None:
        records = [("k", b"%d" % number + bytes(20)) for number in range(400)]
        packing: Any = sp.pack(records, limits=sp.Limits(2000))
        taken = [next(packing)]
        packing._lock = Interrupting(packing._lock, None)
        with pytest.raises(Interrupt):
            next(packing)
        taken += packing
        assert user_records(taken) == {data: 1 for _, data in records}

    @pytest.mark.parametrize("error", [Interrupt, TimeoutError])
    @pytest.mark.parametrize("waits", [False, True])
    def test_take_nothing_from_an_iterator_of_unpack(self, error: type[BaseException], *, waits: bool) -> None:
        """The pure core's, which an interrupt may break into anywhere."""
        flat: Any = Flat([range(10), range(10, 20)])
        taken = [next(flat)]
        flat._lock = Interrupting(flat._lock, None if waits else lambda: taken.append(next(flat)), error)
        with pytest.raises(error):
            next(flat)
        taken += flat
        assert sorted(taken) == [*range(20)]
        assert next(flat, None) is None

    def test_of_what_is_packed_say_that_it_was_cut_short(self) -> None:
        def records() -> Iterator[tuple[str, bytes]]:
            yield "k", bytes(1500)
            yield "k", bytes(1500)
            raise Interrupt

        packing = sp.pack(records(), limits=sp.Limits(2000))
        assert next(packing).user_record_count == 1
        with pytest.raises(Interrupt):
            next(packing)
        with pytest.raises(RuntimeError, match="cut short by an interrupt"):
            next(packing)

    def test_leave_an_iterator_that_says_that_it_was_cut_short(self) -> None:
        def records() -> Iterator[object]:
            yield {"Data": b"first", "PartitionKey": "p"}
            raise Interrupt

        unpacked = sp.unpack(records())
        assert next(unpacked).data == b"first"
        with pytest.raises(Interrupt):
            next(unpacked)
        with pytest.raises(RuntimeError, match="cut short by an interrupt"):
            next(unpacked)
