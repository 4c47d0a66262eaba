"""A span for each batch that a handler gets, where OpenTelemetry's API is installed (extra ``otel``).

Names and attributes are those of OpenTelemetry's semantic conventions for messaging. A batch has many senders, so their
spans are links of its span and not its parents, as the conventions say of batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..records import ReceivedRecord

_MOST_LINKS = 128  # what OpenTelemetry's SDK keeps of a span by default
_CARRIED = frozenset({"traceparent", "tracestate"})  # W3C Trace Context


class Spans:
    """Makes spans, or nothing.

    Args:
        stream_name: the stream's name or ARN.
        tracer_provider: an OpenTelemetry ``TracerProvider``; None: the global one.
    """

    def __init__(self, stream_name: str, tracer_provider: Any = None) -> None:
        self._name = stream_name.rpartition("/")[2]
        try:
            from opentelemetry import trace
        except ImportError:
            self._tracer = None
        else:
            self._tracer = trace.get_tracer("shardpack", tracer_provider=tracer_provider)

    @contextmanager
    def of(self, shard_id: str, records: Sequence[ReceivedRecord]) -> Iterator[list[Exception]]:
        """The span of a batch of a shard, while it is handled; what is put into the list has made the handling fail."""
        errors: list[Exception] = []
        if self._tracer is None or not records:
            yield errors
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode

        attributes: dict[str, str | int] = {
            "messaging.system": "aws_kinesis",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": self._name,
            "messaging.destination.partition.id": shard_id,
            "messaging.batch.message_count": len(records),
        }
        with self._tracer.start_as_current_span(
            f"process {self._name}", kind=SpanKind.CONSUMER, attributes=attributes, links=_links(records)
        ) as span:
            yield errors
            for error in errors:
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, str(error)))
                span.set_attribute("error.type", type(error).__qualname__)


def _links(records: Sequence[ReceivedRecord]) -> list[Any]:
    """To the spans in which the records were made, by the `traceparent` among their tags."""
    carriers = dict.fromkeys(carrier for record in records if record.tags and (carrier := _carrier(record)))
    if not carriers:
        return []
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    propagator = TraceContextTextMapPropagator()
    links = []
    for carrier in list(carriers)[:_MOST_LINKS]:
        made_in = get_current_span(propagator.extract(dict(carrier), context=Context())).get_span_context()
        if made_in.is_valid:
            links.append(Link(made_in))
    return links


def _carrier(record: ReceivedRecord) -> tuple[tuple[str, str], ...]:
    carried = [(key.lower(), value) for key, value in record.tags if value is not None]
    found = tuple(sorted((key, value) for key, value in carried if key in _CARRIED))
    return found if any(key == "traceparent" for key, _ in found) else ()
