"""Forks, and the ends of processes and event loops: an error at once or a warning, and never a hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PRELUDE = f"""
import asyncio, logging, os, signal, sys, threading, time
sys.path[:0] = [{str(Path(__file__).parents[1] / "tools")!r}]
import shardpack as sp
from soak_interrupts import AsyncClient
from producer_client import Client
client = Client()
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def run(script: str, *, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRELUDE + script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


@needs_fork
def test_every_method_fails_at_once_in_a_child_whatever_other_threads_did_at_the_fork() -> None:
    done = run("""
producer = sp.Producer("s", client=client)
over = threading.Event()

def put():
    while not over.is_set():
        producer.put("k", b"x" * 50)
        producer.stats()

threads = [threading.Thread(target=put) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(30):
    time.sleep(0.005)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends a child that hangs
        refused = 0
        for method in (lambda: producer.put("k", b""), lambda: producer.put_many([("k", b"")]), producer.flush,
                       producer.stats):
            try:
                method()
            except RuntimeError as error:
                refused += "after a fork" in str(error)
        producer.close()
        os._exit(refused)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
over.set()
for thread in threads:
    thread.join()
producer.close()
stats = producer.stats()
assert stats.user_records_put == stats.user_records_received == len(client.received()), stats
""")

    assert done.stdout.split() == ["4"] * 30


@needs_fork
def test_one_for_asyncio_is_refused_in_a_child_too() -> None:
    done = run("""
async def refused(producer):
    count = 0
    for call in (lambda: producer.put("k", b""), lambda: producer.put_many([("k", b"")]), producer.flush):
        try:
            await call()
        except RuntimeError as error:
            count += "after a fork" in str(error)
    try:
        producer.stats()
    except RuntimeError as error:
        count += "after a fork" in str(error)
    await producer.close()
    return count

async def main():
    async with sp.AsyncProducer("s", client=AsyncClient(client)) as producer:
        await producer.put("k", b"data")
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(await refused(producer))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

asyncio.run(main())
assert client.received() == [b"data"]
""")

    assert done.stdout.split() == ["4"]


def test_an_asyncio_producer_that_is_left_delivers_and_says_so() -> None:
    done = run("""
futures = []

async def main():
    producer = sp.AsyncProducer("s", sp.ProducerConfig(record_max_buffered_time=60), client=AsyncClient(client))
    for n in range(1000):
        futures.append(await producer.put("k", b"%d" % n))

asyncio.run(main())
print(len(client.received()), sum(future.result().shard_id == "s" for future in futures))
""")

    assert done.stdout.split() == ["1000", "1000"]
    assert "the event loop ends with 1000 user records not delivered" in done.stderr


def test_one_whose_loop_is_closed_without_a_word_says_what_is_lost() -> None:
    done = run("""
async def main():
    producer = sp.AsyncProducer("s", client=AsyncClient(client))
    for n in range(10):
        await producer.put("k", b"secret")

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
""")

    assert "10 user records not delivered" in done.stderr
    assert "secret" not in done.stderr


def test_an_asyncio_producer_whose_client_is_gone_does_not_keep_the_loop() -> None:
    done = run("""
class Gone(AsyncClient):
    async def put_records(self, **arguments):
        await asyncio.sleep(3600)

async def main():
    producer = sp.AsyncProducer("s", sp.ProducerConfig(request_timeout=0.3), client=Gone(client))
    futures.append(await producer.put("k", b""))

futures = []
asyncio.run(main())
print(type(futures[0].exception()).__name__)
""")

    assert done.stdout.split() == ["DeliveryError"]


def test_an_exit_in_the_middle_of_calls_has_nothing_else_to_say() -> None:
    done = run("""
def slow(_call, _records):
    time.sleep(0.02)
    return {"Records": [{"ErrorCode": "InternalFailure", "ErrorMessage": ""}] * len(_records)}

producer = sp.Producer("s", sp.ProducerConfig(aggregation_max_count=1, collection_max_count=1), client=Client(slow))
for n in range(200):
    producer.put("k", b"")
time.sleep(0.1)
""")

    assert done.stderr.strip() == (
        "the interpreter exits with 200 user records not delivered; close the producer, or use it in a with block"
    )
