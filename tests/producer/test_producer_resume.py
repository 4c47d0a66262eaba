"""A key that was halted by a failure, in both shells."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from producer_client import Client
from soak_interrupts import AsyncClient

import shardpack as sp

HALTING = sp.ProducerConfig(ordering="key", on_failure="halt_key", record_max_buffered_time=0.01)


def refuse_first(call: int, records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first call's records fail for good."""
    if call > 1:
        return None
    return {"Records": [{"ErrorCode": "KMSDisabledException", "ErrorMessage": "off"}] * len(records)}


def test_a_key_is_halted_until_it_is_resumed() -> None:
    client = Client(refuse_first)
    with sp.Producer("stream", HALTING, client=client) as producer:
        with pytest.raises(sp.DeliveryError, match="KMSDisabledException"):
            producer.put("k", b"1").result()
        assert producer.put("other", b"2").result().shard_id == "s"
        with pytest.raises(sp.DeliveryError, match="resume"):
            producer.put("k", b"3").result()
        before = producer.put("k", b"4")
        producer.resume("k")
        after = producer.put("k", b"5")

        assert isinstance(before.exception(), sp.DeliveryError), "what was put before still fails"
        assert after.result().shard_id == "s"
    assert client.received() == [b"2", b"5"]
    with pytest.raises(RuntimeError, match="closed"):
        producer.resume("k")


def test_a_key_is_halted_until_it_is_resumed_in_asyncio() -> None:
    client = Client(refuse_first)

    async def main() -> None:
        async with sp.AsyncProducer("stream", HALTING, client=AsyncClient(client)) as producer:
            with pytest.raises(sp.DeliveryError, match="KMSDisabledException"):
                await (await producer.put("k", b"1"))
            before = await producer.put("k", b"4")
            producer.resume("k")
            after = await producer.put("k", b"5")

            with pytest.raises(sp.DeliveryError, match="resume"):
                await before
            assert (await after).shard_id == "s"

    asyncio.run(main())
    assert client.received() == [b"5"]


def test_the_key_to_resume_is_checked() -> None:
    with sp.Producer("stream", HALTING, client=Client()) as producer, pytest.raises(sp.InvalidRecordError):
        producer.resume("")
