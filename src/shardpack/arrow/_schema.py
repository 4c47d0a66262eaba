"""The columns that go in and come out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias, get_args

import pyarrow as pa
import pyarrow.compute as pc

from ..limits import MAX_SEQUENCE_NUMBER_CHARACTERS, MAX_SHARD_ID_CHARACTERS, check_type, shown
from ._blobs import ArrayBlobs, Blobs

Repeated: TypeAlias = Literal["dictionary", "plain"]
"""How texts that user records of one aggregate share come out."""

TEXTS = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("shard_id", TEXTS),
        pa.field("sequence_number", TEXTS),
        pa.field("sub_sequence_number", pa.uint32(), nullable=False),
        pa.field("partition_key", TEXTS),
        pa.field("explicit_hash_key", TEXTS),
        pa.field("data", pa.binary()),
        pa.field("approximate_arrival_timestamp", pa.timestamp("ms", "UTC")),
        pa.field("aggregated", pa.bool_(), nullable=False),
        pa.field("fault", pa.string()),
    ]
)
"""The columns of user records; other columns of the input follow them.

They mean what the fields of `shardpack.ReceivedRecord` mean. ``fault`` is null where all is well, and else says what is
not: ``checksum_mismatch``, ``truncated`` or ``malformed`` for something that starts like an aggregate and is delivered
whole because it is not a sound one, ``long_key`` where it is one that ``max_key_characters`` refuses; ``out_of_range``
for a sub-record that is kept though its hash key is outside the hash range.
"""

# What a Kinesis record has besides its data, as the expansion reads it.
ROW_FIELDS = [
    pa.field("shard_id", pa.string()),
    pa.field("sequence_number", pa.string()),
    pa.field("sub_sequence_number", pa.uint32()),
    pa.field("partition_key", pa.string()),
    pa.field("explicit_hash_key", pa.string()),
    pa.field("approximate_arrival_timestamp", pa.timestamp("ms", "UTC")),
]
_REPEATED = {  # of these, for each user record; and how many characters Kinesis's have
    "shard_id": MAX_SHARD_ID_CHARACTERS,
    "sequence_number": MAX_SEQUENCE_NUMBER_CHARACTERS,
}
_BY_FOLDED_NAME = {field.name.replace("_", ""): field for field in ROW_FIELDS}


class Rows(NamedTuple):
    """A batch of Kinesis records.

    Attributes:
        data: the data of each.
        metadata: the columns of `ROW_FIELDS`, by name.
        others: the columns that are none of ours, to be repeated for each user record.
        other_fields: their fields in the output.
    """

    data: Blobs
    metadata: dict[str, pa.Array]
    others: list[pa.Array]
    other_fields: list[pa.Field]

    def encoded(self) -> Rows:
        """With texts as dictionary arrays, so that to repeat one repeats a number."""
        return self._replace(
            metadata={
                name: _encoded(column) if name in _REPEATED else column for name, column in self.metadata.items()
            },
            others=[_encoded(column) for column in self.others],
            other_fields=[_as_dictionary(field) for field in self.other_fields],
        )

    def check_repeated_texts(self) -> None:
        """Refuse, with ValueError, what is longer than Kinesis's ever are and would be written out in each row."""
        for name, most in _REPEATED.items():
            longest = pc.max(pc.utf8_length(self.metadata[name])).as_py() or 0
            if longest > most:
                raise ValueError(
                    f"the column {name} has a text of {longest:,} characters, and Kinesis's have at most {most}; it"
                    ' would be written out for each user record: with repeated="dictionary" it is there once'
                )

    def slice(self, start: int, length: int) -> Rows:
        """Some of them, without a copy."""
        return Rows(
            self.data.slice(start, length),
            {name: column.slice(start, length) for name, column in self.metadata.items()},
            [column.slice(start, length) for column in self.others],
            self.other_fields,
        )


def unpacked_schema(
    schema: pa.Schema, *, data: str = "data", repeated: Repeated = "dictionary", views: bool = False
) -> pa.Schema:
    """The schema that `unpack_batches` gives to what it makes of batches with this one: `SCHEMA` and the other columns.

    Args:
        schema: of the batches of Kinesis records.
        data: the name of the column with their data.
        repeated: see `unpack_batches`.
        views: likewise.

    Raises:
        ValueError: there is no such column, two columns would have the same name in the output, or ``repeated`` is
            none of those.
        TypeError: a column has a type that does not suit its name.
    """
    check_type("schema", schema, pa.Schema, "a pyarrow.Schema")
    check_type("data", data, str, "the name of a column")
    check_repeated(repeated)
    _, others = _places(schema, data)
    return output_schema([_plain(schema.field(place)) for place in others], repeated, views)


def output_schema(others: Iterable[pa.Field], repeated: Repeated = "dictionary", views: bool = False) -> pa.Schema:
    """`SCHEMA` and other columns."""
    ours = [field.with_type(pa.binary_view()) if views and field.name == "data" else field for field in SCHEMA]
    if repeated == "dictionary":
        return pa.schema([*ours, *map(_as_dictionary, others)])
    return pa.schema([*(field.with_type(pa.string()) if field.type == TEXTS else field for field in ours), *others])


def check_repeated(repeated: object) -> None:
    """Refuse what is none of the choices, with ValueError."""
    if repeated not in get_args(Repeated):
        raise ValueError(f'repeated is {shown(repeated)}; choose "dictionary" or "plain"')


def _as_dictionary(field: pa.Field) -> pa.Field:
    return field.with_type(pa.dictionary(pa.int32(), field.type)) if has_length(field.type) else field


def _encoded(column: pa.Array) -> pa.Array:
    return column.dictionary_encode() if has_length(column.type) else column


def has_length(kind: pa.DataType) -> bool:
    """Whether it is a type of texts or bytes, of any length each."""
    types = pa.types
    return any(
        is_type(kind) for is_type in (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    )


def rows_of(batch: pa.RecordBatch, data: str) -> Rows:
    """The Kinesis records of a batch, whatever types and spellings its columns have. Errors: see `unpacked_schema`."""
    known, others = _places(batch.schema, data)
    metadata = {}
    for field in ROW_FIELDS:
        place = known.get(field.name)
        column = pa.nulls(len(batch), field.type) if place is None else _cast(batch.column(place), field.type)
        metadata[field.name] = column
    metadata["sub_sequence_number"] = metadata["sub_sequence_number"].fill_null(0)
    other_fields = [_plain(batch.schema.field(place)) for place in others]
    return Rows(
        ArrayBlobs(_cast(batch.column(_place(batch.schema, data)), pa.large_binary())),
        metadata,
        [_cast(batch.column(place), field.type) for place, field in zip(others, other_fields, strict=True)],
        other_fields,
    )


def _places(schema: pa.Schema, data: str) -> tuple[dict[str, int], list[int]]:
    """Where the columns are that we know, by our names for them, and where the others are."""
    _place(schema, data)
    known: dict[str, int] = {}
    others = []
    for place, field in enumerate(schema):
        if field.name == data:
            _check_type(field, pa.large_binary())
            continue
        ours = _known(field.name)
        if ours is None:
            if field.name in SCHEMA.names:
                raise ValueError(f"the output has a column {field.name!r} of its own; rename or drop the input's")
            others.append(place)
        elif ours.name in known:
            first = schema.field(known[ours.name]).name
            raise ValueError(f"the columns {first!r} and {field.name!r} both mean {ours.name}; drop one")
        else:
            _check_type(field, ours.type)
            known[ours.name] = place
    return known, others


def is_other(name: str, data: str) -> bool:
    """Whether a column is none of ours, and is repeated for each user record."""
    return name != data and _known(name) is None


def _known(name: str) -> pa.Field | None:
    """Which of `ROW_FIELDS` a column is, by whatever spelling."""
    return _BY_FOLDED_NAME.get(name.replace("_", "").lower())


def column_of(batch: pa.RecordBatch, name: str, wanted: pa.DataType) -> pa.Array:
    """A column by its name, as that type.

    Raises:
        ValueError: it is not there, or there twice.
        TypeError: its type does not suit.
    """
    place = _place(batch.schema, name)
    _check_type(batch.schema.field(place), wanted)
    return _cast(batch.column(place), wanted)


def _place(schema: pa.Schema, name: str) -> int:
    if schema.names.count(name) != 1:
        raise ValueError(
            f"there is {'more than one' if name in schema.names else 'no'} column {shown(name)} among"
            f" {', '.join(map(repr, schema.names)) or 'none'}; give the name of the column that is meant"
        )
    return int(schema.get_field_index(name))


def _check_type(field: pa.Field, wanted: pa.DataType) -> None:
    given = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    suits, remedy = _SUITABLE[wanted]
    if not pa.types.is_null(given) and not any(is_type(given) for is_type in suits):
        raise TypeError(f"column {field.name!r} has the type {field.type}; {remedy}")


_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
_SUITABLE = {
    pa.large_binary(): (_BINARY, "expected binary; decode base64 before it comes here"),
    pa.string(): (_TEXT, "expected a string"),
    pa.uint32(): ((pa.types.is_integer,), "expected an integer"),
    pa.timestamp("ms", "UTC"): (
        (pa.types.is_timestamp,),
        "expected a timestamp, such as pyarrow's timestamp('ms', 'UTC')",
    ),
}


def _plain(field: pa.Field) -> pa.Field:
    """Views are read, and given back as what every engine can read."""
    if pa.types.is_string_view(field.type):
        return field.with_type(pa.string())
    if pa.types.is_binary_view(field.type):
        return field.with_type(pa.binary())
    return field


def _cast(column: pa.Array, to: pa.DataType) -> pa.Array:
    if column.type == to:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    if pa.types.is_timestamp(to):
        if column.type.tz is None:  # Kinesis knows no other zone
            column = column.cast(pa.timestamp(column.type.unit, "UTC"))
        return column.cast(to, safe=False)  # to the millisecond, as Kinesis counts
    return column.cast(to)
