"""`KinesisDatasink`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from ray.data import Datasink
from ray.data.block import BlockAccessor

from ..limits import check_type, listed
from ..producer import ProducerConfig
from ..ranges.core.options import Connection
from ..ranges.shells.clients import Caller, kinesis_of
from ..ranges.shells.putting import MEANINGS, Columns, meaning_of, put_batches

_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_KINDS = {
    "partition_key": (_TEXT, "a string"),
    "data": (_BYTES + _TEXT, "binary or a string"),
    "explicit_hash_key": ((*_TEXT, pa.types.is_null), "a string"),
}


class KinesisDatasink(Datasink):
    """Puts rows into a stream, for ``Dataset.write_datasink``.

    Rows need the columns ``partition_key`` and ``data``; ``explicit_hash_key`` may be there, and others are not put.
    ``partitionKey`` does as well. Each task has a producer, and returns when all of its rows are stored. When one is
    not, the task fails; if Ray runs it again, it puts all of its rows once more: at least once.

    Args:
        stream: the stream's name or ARN.
        config: of the producer; None: the defaults of `ProducerConfig`, but without metrics, as tasks end soon.
        region_name: as boto3 takes it; None: as boto3 finds it, here and on the workers.
        endpoint_url: the same.
        profile_name: the same.

    Raises:
        ValueError, TypeError: an argument makes no sense.
        CallError: the stream is not there, or may not be described.
    """

    def __init__(
        self,
        stream: str,
        *,
        config: ProducerConfig | None = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
    ) -> None:
        self._connection = Connection.of(stream, region_name, endpoint_url, profile_name)
        if config is not None:
            check_type("config", config, ProducerConfig, "a ProducerConfig, or leave it out")
        self._config = ProducerConfig(metrics_level="none") if config is None else config
        Caller(self._connection, kinesis_of(self._connection))("describe_stream_summary", **self._connection.argument)

    def on_write_start(self, schema: Any = None) -> None:
        """Refuse columns that cannot be put, before the first task.

        Raises:
            ValueError: one is missing, there twice, or of another type.
        """
        if isinstance(schema, pa.Schema):
            columns_of(schema)

    def write(self, blocks: Iterable[Any], ctx: Any) -> int:
        """Put the rows of a task.

        Args:
            blocks: of rows.
            ctx: of Ray; not needed.

        Returns:
            How many there were.

        Raises:
            DeliveryError: some are not stored.
            ValueError: a column is missing, there twice, or of another type.
            InvalidRecordError, RecordTooLargeError: a row breaks a rule of the service.
        """
        client = kinesis_of(self._connection)
        return put_batches(self._connection.stream, self._config, client, _batches(blocks), columns_of)


def _batches(blocks: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    for block in blocks:
        yield from BlockAccessor.for_block(block).to_arrow().to_batches()


def columns_of(schema: pa.Schema) -> Columns:
    """Which columns hold what; others are not written.

    Raises:
        ValueError: one is missing, there twice, or of another type.
    """
    found: dict[str, str] = {}
    for field in schema:
        meaning = meaning_of(field.name)
        if meaning is None:
            continue
        if meaning in found:
            raise ValueError(f"the columns {found[meaning]!r} and {field.name!r} both mean {meaning}; drop one")
        kinds, told = _KINDS[meaning]
        if not any(is_kind(field.type) for is_kind in kinds):
            raise ValueError(f"the column {field.name!r} has the type {field.type}; it takes {told}: cast it")
        found[meaning] = field.name
    for meaning in MEANINGS[:2]:
        if meaning not in found:
            raise ValueError(
                f"the rows have no column {meaning}, but {listed(schema.names) or 'none'}; name one so:"
                f' ds.rename_columns({{"...": "{meaning}"}})'
            )
    return found
