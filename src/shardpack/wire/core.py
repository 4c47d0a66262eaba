"""What a core offers: the interface that the pure and the native core both have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

T = TypeVar("T")
NamedTuple5 = TypeVar("NamedTuple5", bound=tuple[Any, Any, int, Any, Any])

if TYPE_CHECKING:
    from datetime import datetime

    from ..records import BytesLike, ReceivedRecord, Tags, UserRecord, UserRecordLike


class Aggregate(Protocol):
    """One parsed aggregate by columns, as long as its user records are many; a core makes them as cheaply as it can."""

    @property
    def partition_keys(self) -> Sequence[str]:
        """The partition key of each."""

    @property
    def data(self) -> Sequence[bytes]:
        """The payload of each."""

    @property
    def explicit_hash_keys(self) -> Sequence[str | None]:
        """The explicit hash key of each as it was sent; None where it has none."""

    @property
    def tags(self) -> Sequence[Tags]:
        """The tags of each."""

    def received(
        self, sequence_number: str | None, timestamp: datetime | None, shard_id: str | None
    ) -> Iterable[ReceivedRecord]:
        """The sub-records, with what they share with the Kinesis record that held them."""


class RawAggregate(Protocol):
    """One parsed aggregate as it is on the wire: tables, and indices that may point anywhere."""

    @property
    def partition_key_table(self) -> Sequence[bytes]:
        """The partition keys, as bytes that need not be UTF-8."""

    @property
    def explicit_hash_key_table(self) -> Sequence[bytes]:
        """The explicit hash keys, as bytes that need not be numbers."""

    @property
    def records(self) -> Iterator[tuple[int, int | None, bytes]]:
        """Of each sub-record: the index of its partition key, that of its explicit hash key or None, and its data."""


class Builder(Protocol):
    """One aggregate being filled. Sizes are those of the finished aggregate, magic and MD5 included."""

    capacity: int
    """Most bytes that it may grow to; may be raised, and set to 0, so that nothing more is taken."""

    @property
    def count(self) -> int:
        """How many user records it holds."""

    @property
    def size(self) -> int:
        """How many bytes the aggregate would have if it were finished now."""

    def add(self, partition_key: str, data: bytes) -> bool:
        """Take a record without explicit hash key and tags.

        Returns:
            False, and nothing has changed, if it does not fit.

        Raises:
            InvalidRecordError: the partition key breaks a rule of the service.
        """

    def add_any(self, partition_key: str, data: bytes, explicit_hash_key: str | None, tags: Tags) -> bool:
        """The same for any record; in a pinned aggregate the pin takes the place of its explicit hash key."""

    def repin(self, pin: str) -> None:
        """Have another explicit hash key in place of the one that all records have.

        Raises:
            ValueError: the aggregate has none.
        """

    def build(self) -> bytes:
        """The finished aggregate."""


class HasBuilder(Protocol):
    """What may have an open builder: a route."""

    @property
    def builder(self) -> Builder | None:
        """The aggregate that is open; None: there is none."""


class Routes(Protocol):
    """How a core finds the route of a record without an explicit hash key; to be made by `Core.routes`."""


class NewRoutes(Protocol):
    """Makes `Routes` from what the caller goes on changing."""

    def __call__(
        self,
        for_all: HasBuilder | None,
        by_partition_key: dict[str, Any],
        ends: Sequence[int],
        by_shard: Sequence[HasBuilder],
        most: int,
    ) -> Routes:
        """The route of all records, or else that of their partition key, or else that of their shard.

        Args:
            for_all: None: there is none.
            by_partition_key: those known; those found by shard are put there.
            ends: the last hash key of each shard, in their order; empty: nothing is found by shard.
            by_shard: the routes of the shards.
            most: so many user records an aggregate may get this way.
        """


class Fill(Protocol):
    """Take user records for as long as it is simple: no explicit hash key, no tags, and a builder that has room."""

    def __call__(self, records: Iterator[UserRecordLike], routes: Routes) -> tuple[UserRecordLike] | None:
        """Fill the open builders of the records' routes.

        Returns:
            The first record for which it was not, in a tuple; None when there are no more records.
        """


class Rows(Protocol):
    """Partition keys and data of user records without explicit hash keys and tags, in columns."""

    def fill(self, start: int, routes: Routes) -> int:
        """Fill the open builders of the rows' routes, from a row on.

        Returns:
            The first row that is not simple, or has no builder, or does not fit; how many rows there are, if all did.
        """

    def let_go(self, builders: Sequence[Builder]) -> None:
        """Have builders copy what they only refer to, so that no columns are kept alive for them."""


class NewRows(Protocol):
    """Makes `Rows` of two columns: all values, one after the other, and where each begins and the last ends."""

    def __call__(self, keys: tuple[memoryview, memoryview], data: tuple[memoryview, memoryview]) -> Rows:
        """See `NewRows`."""


class ShardEnds(Protocol):
    """The last hash key of each shard, in their order; to be made by `Bulk.Ends`."""


class NewEnds(Protocol):
    """Makes `ShardEnds`."""

    def __call__(self, ends: Sequence[int]) -> ShardEnds:
        """See `ShardEnds`."""


class Bulk(Protocol):
    """What a core does faster with many user records at once than Python does one by one."""

    @property
    def Ends(self) -> NewEnds:  # noqa: N802  # a class in the native core
        """Makes `ShardEnds`."""

    def checked(self, user_records: Iterable[UserRecordLike]) -> list[UserRecord]:
        """`records.check_user_record` of each."""

    def measured(self, records: Sequence[UserRecord]) -> tuple[int, int, int]:
        """Their bytes with partition keys, those of the largest, and those of the data alone."""

    def divided(self, records: Sequence[UserRecord], ends: ShardEnds) -> dict[int, list[int]] | None:
        """The places of the records that go to each shard; None if one has an explicit hash key."""

    def counted_on(self, first: NamedTuple5, count: int) -> list[NamedTuple5]:
        """As many named tuples of five fields: the first, and others in which the third field counts on."""


class NewFlat(Protocol):
    """Makes one iterator over the members of groups, one group after the other."""

    def __call__(self, groups: Iterable[Iterable[T]]) -> Iterator[T]:
        """Threads may share it: each member goes to one of them.

        Raises (when it is asked for the next):
            RuntimeError: an interrupt has cut it short, so that what comes next is not known.
        """


class Core(Protocol):
    """What a core offers."""

    @property
    def flat(self) -> NewFlat:
        """Makes one iterator over the members of groups, which threads may share."""

    @property
    def fill(self) -> Fill | None:
        """None: there is no faster way than record by record."""

    @property
    def routes(self) -> NewRoutes | None:
        """None with `fill`."""

    @property
    def rows(self) -> NewRows | None:
        """None with `fill`."""

    @property
    def bulk(self) -> Bulk | None:
        """None: Python does it one by one."""

    def decode(self, blob: BytesLike) -> list[UserRecord]:
        """See `shardpack.decode`, whose errors it raises."""

    def is_aggregated(self, blob: BytesLike) -> bool:
        """See `shardpack.is_aggregated`."""

    def outside(self, partition_keys: Sequence[str], first: int, last: int) -> list[int]:
        """The places of those whose hash key is not from `first` to `last`, which are from 0 to 2^128-1."""

    def read(self, blob: BytesLike) -> Aggregate:
        """`decode` by columns, with its errors."""

    def read_ahead(self, blobs: Sequence[bytes]) -> Iterable[Aggregate | None]:
        """Several, in their order; None for what is no sound aggregate: `read` says why, which may take longer."""

    def read_raw(self, blob: BytesLike) -> RawAggregate:
        """What protobuf's rules alone give; raises only for what they refuse."""

    def from_base64(self, text: str) -> bytes | None:
        """What base64 stands for; None where the core has no faster way than Python, or it is not strictly base64."""

    def cut_records(self, body: bytes) -> tuple[bytes, list[bytes]] | None:
        """The JSON of an answer of `GetRecords`, with empty texts in place of the records' data, and the data.

        Returns:
            None where the core has no faster way than Python, the JSON is not written as usual, or some data is not
            strictly base64.
        """

    def builder(self, capacity: int, pin: str | None) -> Builder:
        """A builder for at most `capacity` bytes; `pin` is every record's explicit hash key, if there is one."""

    def build_many(self, builders: Sequence[Builder]) -> list[bytes]:
        """`Builder.build` of each."""
