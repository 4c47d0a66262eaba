"""A span for each batch that the application gets, where OpenTelemetry's API is installed (extra ``otel``).

Names and attributes are those of OpenTelemetry's semantic conventions for messaging. A batch has many senders, so their
spans are links of its span and not its parents, as the conventions say of batches.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..leases.keys import shard_id_of, stream_identifier_of
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
        self._working: _Working | None = None  # of the iteration

    @contextmanager
    def of(self, shard_id: str, records: Sequence[ReceivedRecord]) -> Iterator[list[Exception]]:
        """The span of a batch of a shard, while it is handled; what is put into the list has made the handling fail."""
        errors: list[Exception] = []
        if self._tracer is None or not records:
            yield errors
            return
        from opentelemetry.trace import use_span

        with use_span(self._start(self._tracer, shard_id, records), end_on_exit=True) as span:
            yield errors
            for error in errors:
                _note(span, error)

    def began(self, shard_id: str, records: Sequence[ReceivedRecord]) -> None:
        """The iteration gives a batch; what the application does from now on is about it."""
        if self._tracer is not None and records:
            self._working = _Working(self._start(self._tracer, shard_id, records))

    def ended(self, error: BaseException | None = None) -> None:
        """The application has done with what the iteration gave it last; perhaps this has ended its work."""
        working, self._working = self._working, None
        if working is not None:
            working.end(error)

    def _start(self, tracer: Any, shard_id: str, records: Sequence[ReceivedRecord]) -> Any:
        from opentelemetry.trace import SpanKind

        stream = stream_identifier_of(shard_id)  # of one among several streams: account, name, time of creation
        name = self._name if stream is None else stream.split(":")[-2]
        attributes: dict[str, str | int] = {
            "messaging.system": "aws_kinesis",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": name,
            "messaging.destination.partition.id": shard_id_of(shard_id),
            "messaging.batch.message_count": len(records),
        }
        kind, links = SpanKind.CONSUMER, _links(records)
        return tracer.start_span(f"process {name}", kind=kind, attributes=attributes, links=links)


class _Working:
    """A span that is the current one until the application asks for more."""

    def __init__(self, span: Any) -> None:
        from opentelemetry.context import attach
        from opentelemetry.trace import set_span_in_context

        self._span = span
        self._place = _place()
        self._token = attach(set_span_in_context(span))

    def end(self, error: BaseException | None) -> None:
        from opentelemetry.context import detach
        from opentelemetry.trace import get_current_span

        # The loop may have been left, and go on elsewhere: what is current there is not this span's to say.
        if self._place == _place() and get_current_span() is self._span:
            detach(self._token)
        if error is not None:
            _note(self._span, error)
        self._span.end()


def _place() -> tuple[int, int | None]:
    """The thread and the task that run now: each has its own current span."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), None if task is None else id(task)


def _note(span: Any, error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

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
