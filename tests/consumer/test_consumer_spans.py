"""A span for each batch, linked to the spans in which its records were made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aggregate_bytes import frame
from consumer_setup import consumer, fake

import shardpack as sp
from shardpack.consumer import Batch
from shardpack.consumer.spans import Spans
from shardpack.testing import FakeKinesis, SystemClock
from shardpack.wire._generated import kpl_pb2

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
processors = pytest.importorskip("opentelemetry.sdk.trace.export")

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def traced() -> tuple[Any, Callable[[], list[Any]]]:
    """A tracer provider, and what it has finished."""
    exporter = export.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(processors.SimpleSpanProcessor(exporter))
    return provider, exporter.get_finished_spans


def with_tags() -> FakeKinesis:
    """A stream with an aggregate of three user records, of which two were made in one span, as the KPL tags them."""
    kinesis = FakeKinesis(streams={"s": 1}, clock=SystemClock())
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=tagged(PARENT, PARENT, None, "nonsense"))
    return kinesis


def tagged(*parents: str | None) -> bytes:
    message = kpl_pb2.AggregatedRecord(partition_key_table=[b"k"])
    for parent in parents:
        record = message.records.add(partition_key_index=0, data=b"x")
        if parent is not None:
            record.tags.add(key=b"traceparent", value=parent.encode())
    return frame(message.SerializeToString())


def test_a_batch_has_a_span_with_the_names_of_the_conventions(traced: Any) -> None:
    provider, finished = traced
    with consumer(with_tags(), tracer_provider=provider) as reading:
        reading.run(lambda _: reading.stop())
    (span,) = finished()
    assert (span.name, span.kind.name, span.status.is_ok) == ("process s", "CONSUMER", True)
    assert dict(span.attributes) == {
        "messaging.system": "aws_kinesis",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "s",
        "messaging.destination.partition.id": "shardId-000000000000",
        "messaging.batch.message_count": 4,
    }
    (link,) = span.links
    assert (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") == (TRACE, SPAN)
    assert span.parent is None


def test_a_span_tells_of_the_handler_s_failure(traced: Any) -> None:
    provider, finished = traced

    def fail(_: object) -> None:
        reading.stop()
        raise KeyError("it")

    with consumer(fake(1, b"a"), tracer_provider=provider) as reading, pytest.raises(ExceptionGroup):
        reading.run_each(fail)
    (span,) = finished()
    assert span.attributes["error.type"] == "KeyError"
    assert span.status.status_code.name == "ERROR"
    assert [event.name for event in span.events] == ["exception"]
    assert span.links == ()


def test_what_the_handler_begins_is_the_span_s_child_in_asyncio_too(traced: Any) -> None:
    provider, finished = traced
    kinesis = with_tags()

    async def read() -> None:
        arguments: dict[str, Any] = {"client": kinesis.aio, "tracer_provider": provider}
        async with sp.AsyncConsumer("s", leases=sp.MemoryLeases(), **arguments) as reading:

            async def handle(_: object) -> None:
                with provider.get_tracer("test").start_as_current_span("inner"):
                    await asyncio.sleep(0)
                reading.stop()

            await reading.run(handle)

    asyncio.run(read())
    inner, outer = finished()
    assert (inner.name, outer.name) == ("inner", "process s")
    assert inner.parent.span_id == outer.context.span_id
    assert len(outer.links) == 1


def test_in_the_iteration_a_span_lasts_until_the_next_batch_is_asked_for(traced: Any) -> None:
    provider, finished = traced
    tracer = provider.get_tracer("test")
    with consumer(with_tags(), tracer_provider=provider) as reading:
        for _ in reading:
            with tracer.start_as_current_span("inner"):
                assert finished() == ()
            reading.stop()
        inner, outer = finished()
        with tracer.start_as_current_span("after"):
            pass
    *_, after = finished()
    assert (inner.name, outer.name, len(outer.links)) == ("inner", "process s", 1)
    assert inner.parent.span_id == outer.context.span_id
    assert outer.status.is_ok
    assert after.parent is None


def test_a_span_of_the_iteration_tells_what_has_ended_the_loop(traced: Any) -> None:
    provider, finished = traced

    def read() -> None:
        with consumer(fake(1, b"a"), tracer_provider=provider) as reading:
            for _ in reading:
                raise KeyError("it")

    with pytest.raises(KeyError):
        read()
    (span,) = finished()
    assert span.attributes["error.type"] == "KeyError"
    assert not span.status.is_ok


def test_a_loop_that_is_left_within_a_span_of_the_application_s_leaves_nothing_current(traced: Any) -> None:
    provider, finished = traced
    tracer = provider.get_tracer("test")
    reading = consumer(fake(1, b"a"), tracer_provider=provider)
    with tracer.start_as_current_span("outer"):
        assert reading.next_batch() is not None
    reading.close()
    with tracer.start_as_current_span("after"):
        pass
    by_name = {span.name: span for span in finished()}
    assert by_name["process s"].parent.span_id == by_name["outer"].context.span_id
    assert by_name["after"].parent is None


def test_in_the_iteration_of_asyncio_too(traced: Any) -> None:
    provider, finished = traced

    async def read() -> None:
        arguments: dict[str, Any] = {"client": with_tags().aio, "tracer_provider": provider}
        async with sp.AsyncConsumer("s", leases=sp.MemoryLeases(), **arguments) as reading:
            async for _ in reading:
                with provider.get_tracer("test").start_as_current_span("inner"):
                    await asyncio.sleep(0)
                reading.stop()

    asyncio.run(read())
    inner, outer = finished()
    assert inner.parent.span_id == outer.context.span_id


def test_one_of_several_streams_is_named(traced: Any) -> None:
    provider, finished = traced
    record = next(iter(sp.unpack(with_tags().records())))
    spans = Spans("multi-stream", provider)
    spans.began("123456789012:clicks:1700000000:shardId-000000000007", [record])
    spans.ended()
    (span,) = finished()
    assert span.name == "process clicks"
    assert span.attributes["messaging.destination.name"] == "clicks"
    assert span.attributes["messaging.destination.partition.id"] == "shardId-000000000007"


def test_without_opentelemetry_there_are_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry", None)
    read: list[Batch] = []
    with consumer(fake(1, b"a")) as reading:

        def handle(batch: Batch) -> None:
            read.append(batch)
            reading.stop()

        reading.run(handle)
    assert len(read) == 1
