"""`shardpack.files.read`: every compression, every shape, and a clear answer for what is none of them."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import importlib
import io
import json
import lzma
import os
import random
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aggregate_bytes import MAGIC, frame
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.files import _blobs, read
from shardpack.files._blobs import Blobs, end_of_aggregate
from shardpack.testing import strategies


def zstd(data: bytes) -> bytes:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    module: Any = pytest.importorskip(name)
    packed: bytes = module.compress(data)
    return packed


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # without the time of day, which would be in the names of tests


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzipped,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}
ONE = [sp.UserRecord("k", b"one"), sp.UserRecord("k2", b"two\n", "7")]
TWO = [sp.UserRecord("k", b"x" * 1000)] * 50
FIRST, SECOND = sp.encode(ONE), sp.encode(TWO)
ALL = [record.data for record in ONE + TWO]


def page(*blobs: bytes) -> dict[str, Any]:
    records = [
        {"SequenceNumber": str(n), "PartitionKey": "k", "Data": base64.b64encode(blob).decode()}
        for n, blob in enumerate(blobs)
    ]
    return {"Records": records, "MillisBehindLatest": 0}


def text(value: Any, indent: int | None = None) -> bytes:
    return json.dumps(value, indent=indent).encode()


ENCODED = base64.b64encode(FIRST), base64.b64encode(SECOND)
SHAPES = {
    "aggregates with nothing between them": FIRST + SECOND,
    "aggregates with newlines between them": FIRST + b"\n" + SECOND + b"\n",
    "aggregates with CR LF between them": FIRST + b"\r\n" + SECOND + b"\r\n",
    "JSON lines": text(page(FIRST)) + b"\n" + text(page(SECOND)) + b"\n",
    "JSON lines without a newline at the end": text(page(FIRST)) + b"\n" + text(page(SECOND)),
    "JSON lines with CR LF": text(page(FIRST)) + b"\r\n" + text(page(SECOND)) + b"\r\n",
    "JSON lines with empty lines": b"\n\n" + text(page(FIRST)) + b"\n  \n" + text(page(SECOND)) + b"\n\n",
    "one indented document": text(page(FIRST, SECOND), 4),
    "indented documents in a row": text(page(FIRST), 2) + b"\n" + text(page(SECOND), 4) + b"\n",
    "indented documents without a newline between": text(page(FIRST), 2) + text(page(SECOND), 2),
    "indented documents with CR LF": (text(page(FIRST), 2) + b"\n" + text(page(SECOND), 2)).replace(b"\n", b"\r\n"),
    "a document, then JSON lines": text(page(FIRST), 2) + b"\n" + text(page(SECOND)) + b"\n",
    "with a byte order mark": b"\xef\xbb\xbf" + text(page(FIRST, SECOND)),
    "a list of pages": text([page(FIRST), page(SECOND)], 2),
    "base64 lines": ENCODED[0] + b"\n" + ENCODED[1] + b"\n",
    "base64 on one line, as --output text gives it": ENCODED[0] + b"\t" + ENCODED[1] + b"\n",
    "base64 in JSON, as --query 'Records[].Data' gives it": text([one.decode() for one in ENCODED], 4),
    "base64 in JSON lines": b"".join(text(one.decode()) + b"\n" for one in ENCODED),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_in_every_compression(tmp_path: Path, shape: str, compression: str) -> None:
    content = COMPRESSIONS[compression](SHAPES[shape])
    file = tmp_path / "no-name-that-tells"
    file.write_bytes(content)

    assert [record.data for record in read(file)] == ALL
    assert [record.data for record in read(str(file))] == ALL
    with file.open("rb") as stream:
        assert [record.data for record in read(stream)] == ALL
        assert not stream.closed


def test_a_lone_base64_string() -> None:
    assert [record.data for record in read(io.BytesIO(ENCODED[0]))] == [b"one", b"two\n"]


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "plain"])
def test_compressed_parts_one_after_the_other_are_one_file(compression: str) -> None:
    parts = [COMPRESSIONS[compression](blob) for blob in (FIRST, SECOND)]

    assert [record.data for record in read(io.BytesIO(b"".join(parts)))] == ALL


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n", *(pack(b"") for pack in (gzipped, lzma.compress))])
def test_an_empty_file_has_no_records(content: bytes) -> None:
    assert list(read(io.BytesIO(content))) == []


class Dripping(io.RawIOBase):
    """A stream that gives its bytes a few at a time, as a pipe may."""

    def __init__(self, content: bytes, most: int) -> None:
        self._content = io.BytesIO(content)
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._content.read(min(len(buffer), self._most))
        buffer[: len(data)] = data
        return len(data)


class Body:
    """As boto3's StreamingBody: it reads, and that is all."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int | None = None, /) -> bytes:
        return self._content.read(size)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("most", [1, 3, 1000])
def test_however_few_bytes_come_at_a_time(shape: str, compression: str, most: int) -> None:
    content = COMPRESSIONS[compression](SHAPES[shape])

    assert [record.data for record in read(Dripping(content, most))] == ALL
    assert [record.data for record in read(Body(content))] == ALL


def test_a_line_of_a_pipe_is_not_kept_waiting() -> None:
    """What decides about the compression takes no more than it needs."""
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb", buffering=0) as writer, os.fdopen(ours, "rb") as reader:
        records = read(reader)
        for n in range(3):
            writer.write(text({"Data": base64.b64encode(b"%d" % n).decode()}) + b"\n")
            assert next(records).data == b"%d" % n


class TestAggregatesInARow:
    @given(
        st.lists(strategies.user_record_lists(max_size=8).filter(bool).map(sp.encode), max_size=6),
        st.sampled_from([b"", b"\n", b"\r\n"]),
    )
    def test_each_ends_where_it_ends(self, blobs: list[bytes], separator: bytes) -> None:
        whole = b"".join(blob + separator for blob in blobs)

        assert list(Blobs(io.BufferedReader(io.BytesIO(whole)), "x")) == blobs

    def test_data_that_holds_aggregates_is_data(self) -> None:
        inner = FIRST + SECOND
        blobs = [sp.encode([("k", inner), ("k", b"\n" + MAGIC), ("k", MAGIC * 5)]), sp.encode([("k", inner)])]

        got = list(read(io.BytesIO(b"".join(blobs))))

        assert [record.data for record in got] == [inner, b"\n" + MAGIC, MAGIC * 5, inner]

    def test_where_the_trailer_looks_like_fields(self) -> None:
        """One in 100 MD5s begins like a field, so that the walk goes on into what follows."""
        rng = random.Random(5)
        blobs: list[bytes] = []
        while len(blobs) < 50:
            blob = sp.encode([("k", rng.randbytes(12)), ("k", rng.randbytes(3))])
            if blob[-16] in (0x0A, 0x12, 0x1A) and blob[-15] < 60:
                blobs.append(blob)
        for between in (b"", b"\n", b"plain\n"):
            whole = b"".join(blob + between for blob in blobs)
            got = [record.data for record in read(io.BytesIO(whole))]
            assert len(got) == len(blobs) * (3 if between == b"plain\n" else 2)

    def test_unknown_fields_and_groups(self) -> None:
        body = FIRST[4:-16]
        for more in (
            b"\x28\x05",
            b"\x2d1234",
            b"\x2912345678",
            b"\x2b\x28\x01\x2c",
            b"\xaa\x06\x03abc",
            b"\x2a\x81\x01" + b"x" * 129,
        ):
            blob = frame(body + more)
            whole = bytearray(blob + FIRST)
            assert end_of_aggregate(whole, 0, len(whole)) == len(blob)

    def test_records_that_are_no_aggregates_are_lines(self) -> None:
        whole = FIRST + b'\n{"plain": 1}\n' + SECOND + b"\nlast"

        got = list(read(io.BytesIO(whole)))

        plain = [record.data for record in got if not record.aggregated]
        assert plain == [b'{"plain": 1}', b"last"]
        assert len(got) == len(ALL) + 2

    def test_the_place_where_nothing_can_be_told_apart_is_named(self) -> None:
        with pytest.raises(sp.FileError, match=f"^input: at byte {len(FIRST)}: a record that is no aggregate is"):
            list(read(io.BytesIO(FIRST + b"plain" + SECOND)))

    @pytest.mark.parametrize("cut", [1, 10, 20, 60])
    def test_one_that_is_cut_off_is_raw_or_an_error(self, cut: int, caplog: pytest.LogCaptureFixture) -> None:
        whole = FIRST + SECOND[:-cut]

        got = list(read(io.BytesIO(whole)))
        assert [record.data for record in got] == [b"one", b"two\n", SECOND[:-cut]]
        assert f"at byte {len(FIRST)}: it starts like an aggregate and is no sound one" in caplog.text
        with pytest.raises(sp.FileError, match=f"^input: at byte {len(FIRST)}: "):
            list(read(io.BytesIO(whole), on_corrupt="raise"))

    def test_behind_one_that_is_not_sound_no_more_is_taken_than_a_record_has(self) -> None:
        broken = bytearray(SECOND)
        broken[100] ^= 1
        endless = FIRST + bytes(broken) + SECOND * 300

        with pytest.raises(sp.FileError, match="at byte 51: it starts like an aggregate, and no sound one ends within"):
            list(read(io.BytesIO(endless)))

    def test_the_largest_that_there_can_be(self) -> None:
        largest = sp.encode([("k", bytes(10 * 1024 * 1024 - 200))])

        assert sum(1 for _ in read(io.BytesIO(largest + FIRST + largest + largest))) == 5

    def test_memory_stays_and_work_grows_in_step(self) -> None:
        class Endless(io.RawIOBase):
            """So many bytes of aggregates, made when they are read."""

            def __init__(self, blobs: int) -> None:
                self._blobs = iter([SECOND] * blobs)
                self._left = b""

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any, /) -> int:
                data = self._left or next(self._blobs, b"")
                taken = data[: len(buffer)]
                self._left = data[len(taken) :]
                buffer[: len(taken)] = taken
                return len(taken)

        tracemalloc.start()
        try:
            peaks = []
            for blobs in (500, 1500):  # 25 and 75 MB
                tracemalloc.reset_peak()
                assert sum(1 for _ in read(Endless(blobs))) == blobs * 50
                peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert max(peaks) < 64 * 1024 * 1024
        assert peaks[1] < peaks[0] * 1.3


def messages() -> Iterator[tuple[bytes, str]]:
    yield b"hello", "input:1: neither JSON (Expecting value) nor an aggregate, which starts with f3899ac2, or in base64"
    yield b"aGVsbG8=", "input:1: neither JSON"
    yield '{"Data": "eA=="}\n\n'.encode("utf-16"), "input:2: not JSON (it is UTF-16; convert it, as by: iconv"
    yield (
        text(page(FIRST), 2)[:-4],
        "input:1: neither JSON (not closed is 1 of the brackets that are opened from here on)",
    )
    yield b'{"Data": "eA=="}\n{"Data": "e\nA=="}\n', "input:2: not JSON (a string has no end on its line)"
    yield b'{"Data": "eA=="}\n{\n"Data" "eA=="}\n', "input:3: not JSON (Expecting ':' delimiter)"
    yield b'{"Data": "eA=="}\n{"x": 1}', "input:2: a mapping with the keys 'x' is no Kinesis record"
    yield b'["?"]', "input:1: 'Data' of a Kinesis record is not base64"
    yield gzipped(FIRST)[:-9], "input: the gzip data is damaged or cut off after 51 bytes of content"
    yield gzipped(FIRST)[:-1] + b"\x55", "input: the gzip data is damaged"
    yield bz2.compress(FIRST * 9)[:-9], "input: the bzip2 data is damaged or cut off"
    yield bz2.compress(FIRST)[:12] + b"\x00" * 40, "input: the bzip2 data is damaged"
    yield lzma.compress(FIRST)[:-5], "input: the xz data is damaged or cut off"
    yield lzma.compress(FIRST)[:14] + b"\xff" * 90, "input: the xz data is damaged"
    yield b"PK\x03\x04" + b"\x00" * 30, "input: this is a ZIP archive"
    yield bytes(range(256)) * 40, "input:1: neither JSON"
    yield b"[" * 300_000, "input:1: neither JSON (it is nested too deeply)"
    yield b"x" * (20 * 1024 * 1024 + 1), "input:1: the line is longer than 20,971,520 bytes, more than any"


@pytest.mark.parametrize(("content", "message"), list(messages()), ids=lambda value: repr(value[:30]))
def test_what_is_none_of_it_is_told_in_a_line(content: bytes, message: str) -> None:
    with pytest.raises(sp.FileError) as caught:
        list(read(io.BytesIO(content)))

    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 500


def test_damaged_zstd() -> None:
    with pytest.raises(sp.FileError, match=r"^input: the zstd data is damaged or cut off"):
        list(read(io.BytesIO(zstd(FIRST)[:-5])))


def test_without_its_library_zstd_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name, name=name)

    content = zstd(FIRST)
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(sp.FileError, match=r"zstd needs backports\.zstd .* pip install 'shardpack\[zstd\]'"):
        list(read(io.BytesIO(content)))


def test_text_that_only_begins_like_a_compression_is_text() -> None:
    for line in (b"BZh is how bzip2 begins", b"BZh9 is how bzip2 begins", b"PK", b"\x1f\x8b", b"(\xb5/"):
        with pytest.raises(sp.FileError, match=r"^input:1: neither JSON"):
            list(read(io.BytesIO(line)))


@pytest.mark.parametrize("source", [None, 5, b"bytes", io.StringIO("text"), ["a"]])
def test_no_path_and_no_stream(source: Any) -> None:
    with pytest.raises(TypeError, match="give a path, or a file that is opened with"):
        list(read(source))


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(read(tmp_path / "nowhere"))
    with pytest.raises(IsADirectoryError):
        list(read(tmp_path))


def test_options_are_checked_at_once_and_are_those_of_unpack() -> None:
    with pytest.raises(ValueError, match="on_corrupt is 'maybe'"):
        read("nowhere", on_corrupt="maybe")  # type: ignore[arg-type]
    lines = b"".join(text({"SequenceNumber": str(n), "Data": ENCODED[0].decode()}) + b"\n" for n in (1, 2))
    assert [r.data for r in read(io.BytesIO(lines), after=sp.Position("1", 0))] == [b"two\n", b"one", b"two\n"]
    assert [r.data for r in read(io.BytesIO(lines), hash_range=(7, 7), out_of_range="drop_record")] == [b"two\n"] * 2


def test_a_file_is_closed_when_nobody_reads_on(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(SECOND)
    code = "import sys, shardpack.files as f; r = f.read(sys.argv[1]); next(r); del r; print('fine')"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code, str(tmp_path / "log")],
        capture_output=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (b"fine", b"")


def test_a_corrupt_blob_of_tiny_records_costs_one_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each field is looked at once, and no MD5 is made for each."""
    fields = 300_000
    blob = bytearray(MAGIC + b"\x0a\x01k" + b"\x1a\x04\x08\x00\x1a\x00" * fields + b"x" * 16)
    walked, digests = [0], [0]
    step, md5 = _blobs._end_of_field, hashlib.md5

    def counted_step(*arguments: Any) -> int | None:
        walked[0] += 1
        return step(*arguments)

    class CountedMD5:
        def __init__(self, made: Any = None) -> None:
            self._made = made or md5()

        def update(self, data: Any) -> None:
            self._made.update(data)

        def copy(self) -> CountedMD5:
            return CountedMD5(self._made.copy())

        def digest(self) -> bytes:
            digests[0] += 1
            return bytes(self._made.digest())

    monkeypatch.setattr(_blobs, "_end_of_field", counted_step)
    monkeypatch.setattr("shardpack.files._blobs.hashlib.md5", CountedMD5)
    assert end_of_aggregate(blob, 0, len(blob)) is None
    assert walked[0] <= fields + 10
    assert digests[0] <= fields / 4


@pytest.mark.parametrize("records", [1, 100, 70_000])
def test_an_end_is_found_when_something_else_follows_at_once(records: int) -> None:
    """A plain record with no newline before it, behind an aggregate of few and of many records."""
    blob = sp.encode([("k", b"") for _ in range(records)])
    for number in range(3):
        window = bytearray(blob + b"%c%d" % (65 + number, number))
        assert end_of_aggregate(window, 0, len(window)) == len(blob)


def test_the_example_of_the_page(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    namespace: dict[str, Any] = {"__name__": "docs"}
    exec(compile(example, "docs/files.md", "exec"), namespace)
    path = tmp_path / "object"
    path.write_bytes(gzip.compress(sp.encode([("a", b"1"), ("b", b"2")]) + sp.encode([("c", b"3")])))

    assert namespace["keys_in"](path) == ["a", "b", "c"]


def test_a_file_is_closed_when_reading_ends_in_an_error_also_while_somebody_has_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[Any] = []

    def opening(*arguments: Any, **settings: Any) -> Any:
        files.append(open(*arguments, **settings))  # noqa: PTH123, SIM115  # what is tested is who closes it
        return files[-1]

    monkeypatch.setattr("shardpack.files._opening.open", opening, raising=False)
    path = tmp_path / "records"
    path.write_bytes(sp.encode([("k", b"1")]) + MAGIC + bytes(40))
    kept = []
    for options in ({"on_corrupt": "raise"}, {"on_corrupt": "raise", "out_of_range": "raise", "hash_range": (0, 1)}):
        wrong: dict[str, Any] = options
        with pytest.raises(sp.DecodeError) as error:
            list(read(path, **wrong))
        kept.append(error)
    records: Any = read(path)
    kept.append(records)
    assert next(records).data == b"1"
    records.close()
    assert [file.closed for file in files] == [True] * 3
