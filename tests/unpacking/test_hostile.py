"""Aggregates made to hurt: memory stays a small multiple of what came in and goes out, and work grows in step with it.

Each runs in a process of its own, which reports how far its memory rose above what it had when the blob was there.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from aggregate_bytes import delimited, frame
from google.protobuf.internal import api_implementation

import shardpack as sp

MIB = 1024 * 1024

CHILD = """
import json, sys
import shardpack as sp

def memory(line):
    with open("/proc/self/status") as status:
        return next(int(text.split()[1]) * 1024 for text in status if text.startswith(line))

sp.decode(bytes.fromhex(sys.argv[2]))
try:  # what explains an error is loaded with the first one: megabytes, and more where it has to be compiled
    sp.decode(bytes.fromhex(sys.argv[3]))
except sp.DecodeError:
    pass
blob = sys.stdin.buffer.read()
before = memory("VmRSS")
records, error = 0, None
try:
    if sys.argv[1] == "decode":
        records = len(sp.decode(blob))
    else:
        for _ in sp.unpack({"Data": blob}, **json.loads(sys.argv[1])):
            records += 1
except sp.DecodeError as caught:
    error = type(caught).__name__
print(json.dumps({"records": records, "error": error, "grew": memory("VmHWM") - before}))
"""

KCL = json.dumps({"on_corrupt": "kcl", "hash_range": [0, 2**128 - 1], "out_of_range": "drop_aggregate"})
RANGE = json.dumps({"hash_range": [0, 2**128 - 1], "out_of_range": "drop_record"})
READERS = pytest.mark.parametrize("reader", ["decode", KCL, RANGE], ids=["decode", "kcl", "hash_range"])

measured = pytest.mark.skipif(
    sys.platform != "linux" or api_implementation.Type() != "upb",
    reason="reads /proc; and protobuf in pure Python takes several times as much",
)


KEY = delimited(1, b"k")
SMALLEST = delimited(3, b"\x08\x00\x1a\x00")
PINNED = delimited(3, b"\x08\x00\x10\x00\x1a\x00")
INSIDE = b"\x08\x00\x1a\x00"


def run(reader: str, body: bytes) -> tuple[int, str | None, int]:
    """Records delivered, the DecodeError if there was one, and bytes by which memory rose."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, reader, frame(KEY + SMALLEST).hex(), frame(KEY + b"\x1a").hex()],
        input=frame(body),
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr.decode()
    answer: dict[str, Any] = json.loads(child.stdout)
    return answer["records"], answer["error"], answer["grew"]


# A UserRecord in a list takes 96 bytes, its data not counted, and protobuf's own record some 50.
PER_RECORD = 160

SOUND: dict[str, tuple[bytes, int]] = {
    "half a million of the smallest records": (KEY + SMALLEST * 500_000, 500_000),
    "a quarter of a million, with an unknown field": (KEY + SMALLEST * 250_000 + b"\x28\x00", 250_000),
    "a key of 1 MB used 100,000 times": (delimited(1, b"k" * MIB) + SMALLEST * 100_000, 100_000),
    "a key of 1 MB that is not UTF-8": (delimited(1, b"\xff" * MIB) + SMALLEST * 100_000, 100_000),
    "a million keys": (delimited(1, b"") * 1_000_000 + SMALLEST, 1_000_000),
    "a million explicit hash keys": (KEY + delimited(2, b"") * 1_000_000 + SMALLEST, 1_000_000),
    "2 MiB of unknown fields": (KEY + SMALLEST + b"\x28\x00" * MIB, 1),
    "2 MiB of unknown fields in a record": (KEY + delimited(3, INSIDE + b"\x28\x00" * MIB), 1),
    "half a million tags": (KEY + delimited(3, INSIDE + delimited(4, delimited(1, b"")) * 500_000), 500_000),
    "an explicit hash key of a million digits": (KEY + delimited(2, b"0" * MIB + b"5") + PINNED * 3, 3),
}


@measured
@READERS
@pytest.mark.parametrize("name", SOUND)
def test_memory_for_what_is_sound(name: str, reader: str) -> None:
    body, objects = SOUND[name]

    records, error, grew = run(reader, body)

    assert (records > 0, error) == (True, None)
    assert grew < 4 * len(body) + PER_RECORD * objects + 8 * MIB


UNSOUND: dict[str, bytes] = {
    "groups five million deep": KEY + SMALLEST + b"\x2b" * 5_000_000,
    "groups half a million deep, all closed": KEY + SMALLEST + b"\x2b" * 500_000 + b"\x2c" * 500_000,
    "a claim of 2 GiB": KEY + b"\x1a\xff\xff\xff\xff\x07",
    "a claim of 2^63 bytes": KEY + SMALLEST + b"\x7a" + b"\xff" * 8 + b"\x7f",
    "unknown fields, then a cut": KEY + SMALLEST + b"\x28\x00" * 500_000 + b"\x28",
    "keys, then a cut": KEY * 300_000 + b"\x0a",
}


@measured
@pytest.mark.parametrize("name", UNSOUND)
def test_memory_for_what_is_not_sound(name: str) -> None:
    _, error, grew = run("decode", UNSOUND[name])

    assert error in ("MalformedError", "TruncatedError")
    assert grew < 24 * len(UNSOUND[name]) + 8 * MIB


@measured
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(KEY + b"\x1a\x00" * 300_000, id="records without anything in them"),
        pytest.param(KEY + SMALLEST * 300_000 + b"\x1a\x04\x08\x01\x1a\x00", id="the last record's index is bad"),
        pytest.param(KEY + SMALLEST * 300_000 + b"\x1a", id="many records, then a cut"),
    ],
)
def test_memory_for_explaining_what_is_wrong_with_many_records(body: bytes) -> None:
    records = body.count(b"\x1a")

    _, error, grew = run("decode", body)

    assert error in ("MalformedError", "TruncatedError")
    # protobuf's own messages, made before it refuses, take some 60 bytes a record.
    assert grew < 4 * len(body) + 128 * records + 8 * MIB


def work(function: Callable[[], object]) -> int:
    """Lines of Python run: what a clock would say, without a clock."""
    lines = 0

    def trace(_frame: object, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before, collects = sys.gettrace(), gc.isenabled()
    gc.disable()  # what the tests before have left behind is no work of this one
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return lines


def unpacking(body: bytes, options: dict[str, Any]) -> Callable[[], object]:
    return lambda: list(sp.unpack({"Data": frame(body)}, **options))


LINEAR: dict[str, Callable[[int], bytes]] = {
    "records": lambda n: KEY + SMALLEST * n,
    "keys": lambda n: b"".join(delimited(1, str(i).encode()) for i in range(n)) + SMALLEST * n,
    "tags": lambda n: KEY + delimited(3, INSIDE + delimited(4, delimited(1, b"")) * n),
    "zeros in one explicit hash key": lambda n: KEY + delimited(2, "\u0660".encode() * n) + PINNED,
    "empty records": lambda n: KEY + b"\x1a\x00" * n,
    "a bad index at the end": lambda n: KEY + SMALLEST * n + b"\x1a\x04\x08\x01\x1a\x00",
    "a cut at the end": lambda n: KEY + SMALLEST * n + b"\x1a",
    "groups": lambda n: KEY + SMALLEST + b"\x2b\x2c" * n + b"\x2c",
    "open groups": lambda n: KEY + SMALLEST + b"\x2b" * n,
}
OPTIONS = pytest.mark.parametrize(
    "options",
    [{}, json.loads(KCL), json.loads(RANGE)],
    ids=["plainly", "kcl", "hash_range"],
)


def grows(many: Callable[[int], bytes], options: dict[str, Any]) -> float:
    """How much more work twice as much is."""
    once, twice = unpacking(many(400), options), unpacking(many(800), options)
    work(twice)  # what is loaded or cached at the first use is no part of it
    return work(twice) / work(once)


@OPTIONS
@pytest.mark.parametrize("name", LINEAR)
def test_twice_as_much_is_at_most_twice_the_work(name: str, options: dict[str, Any]) -> None:
    assert grows(LINEAR[name], options) < 2.2


# 1,000 records with one explicit hash key of 1 MB took 80 s.
def test_a_long_explicit_hash_key_is_read_once_for_all_its_records_as_the_kcl_does() -> None:
    assert grows(lambda n: KEY + delimited(2, "\u0660".encode() * n) + PINNED * n, json.loads(KCL)) < 2.2


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(json.loads(KCL), id="kcl"),
        pytest.param(json.loads(RANGE), id="hash_range"),
    ],
)
def test_a_long_explicit_hash_key_is_read_once_for_all_its_partition_keys(options: dict[str, Any]) -> None:
    def many(n: int) -> bytes:
        keys = b"".join(delimited(1, b"%d" % i) for i in range(n))
        records = b"".join(delimited(3, b"\x08%c%c\x10\x00\x1a\x00" % (i & 127 | 128, i >> 7)) for i in range(n))
        return keys + delimited(2, "\u0660".encode() * n) + records

    assert grows(many, options) < 2.2
