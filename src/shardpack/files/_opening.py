"""A file or stream of bytes, opened and decompressed by what its first bytes say."""

from __future__ import annotations

import importlib
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Protocol

from ..errors import FileError

_BUFFER = 256 * 1024
_PI, _SQUARE_ROOT = bytes.fromhex("314159265359"), bytes.fromhex("177245385090")

# bzip2: the level, then a block or the end, so that text which starts with "BZh" is none. zstd: a frame, or one that
# is to be skipped.
_MAGICS = {
    b"\x1f\x8b\x08": "gzip",
    **{b"BZh%d" % level + then: "bzip2" for level in range(1, 10) for then in (_PI, _SQUARE_ROOT)},
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    **{bytes([kind]) + b"\x2a\x4d\x18": "zstd" for kind in range(0x50, 0x60)},
    b"PK\x03\x04": "zip",
}


class ReadableBytes(Protocol):
    """What a stream must have: boto3's ``StreamingBody`` has no more."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


class Opened:
    """An input, ready to read.

    Attributes:
        name: for messages.
        stream: the bytes, decompressed.
        compression: ``"gzip"``, ``"bzip2"``, ``"xz"`` or ``"zstd"``; None: there is none.
    """

    def __init__(self, name: str, stream: io.BufferedIOBase, compression: str | None) -> None:
        self.name = name
        self.stream = stream
        self.compression = compression


@contextmanager
def opened(
    source: str | os.PathLike[str] | ReadableBytes,
    name: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Opened]:
    """Open a path, or take a stream, which stays open.

    Args:
        source: the path, or the stream of bytes.
        name: for messages; None: what the source says.
        progress: told how many bytes have been read from the disk, now and then.

    Raises:
        OSError: the path cannot be opened.
        FileError: it is compressed in a way that cannot be read here.
        TypeError: it is neither a path nor a stream of bytes.
    """
    with ExitStack() as stack:
        given: Any = source
        if isinstance(source, str | os.PathLike):
            given = stack.enter_context(open(source, "rb", buffering=0))  # noqa: PTH123  # a path as a text, too
            name = name or os.fspath(source)
        if not hasattr(given, "read") or isinstance(given, io.TextIOBase):
            raise TypeError(
                f"{type(source).__name__} is no path and no stream of bytes; give a path, or a file that is opened with"
                ' mode "rb"'
            )
        name = name or _name_of(given)
        raw = _Counted(given, name, progress)
        kind = raw.compression()
        stream: io.BufferedIOBase = stack.enter_context(io.BufferedReader(raw, _BUFFER))
        if kind is not None:
            inner = stack.enter_context(_decompressor(kind, name)(stream))
            stream = stack.enter_context(io.BufferedReader(_Decompressed(inner, name, kind), _BUFFER))
        yield Opened(name, stream, kind)


def _name_of(stream: Any) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "input"


class _Counted(io.RawIOBase):
    """The bytes of a stream, counted; those by which its compression is told come first."""

    def __init__(self, source: Any, name: str, progress: Callable[[int], None] | None) -> None:
        # A pipe gives what is there, and is not waited for until there is more.
        self._read: Callable[[int], Any] = getattr(source, "read1", source.read)
        self._name = name
        self._progress = progress
        self._count = 0
        self._head = b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def compression(self) -> str | None:
        """Which one the first bytes tell; no more of them are read than that takes."""
        head = b""
        while any(magic.startswith(head) and len(head) < len(magic) for magic in _MAGICS):
            more = self._some(_BUFFER)
            if not more:
                break
            head += more
        self._head = head
        return next((kind for magic, kind in _MAGICS.items() if head.startswith(magic)), None)

    def readinto(self, buffer: Any, /) -> int:
        """See `io.RawIOBase`."""
        data = self._head or self._some(len(buffer))
        taken = data[: len(buffer)]
        self._head = data[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def _some(self, size: int) -> bytes:
        try:
            data = self._read(size)
        except OSError as error:
            error.filename = error.filename or self._name
            raise
        if not isinstance(data, bytes):
            kind = "nothing, as if it did not block" if data is None else type(data).__name__
            raise TypeError(f"{self._name}: reading gives {kind}; give a file that is opened with mode 'rb'")
        self._count += len(data)
        if self._progress is not None:
            self._progress(self._count)
        return data


class _Decompressed(io.RawIOBase):
    """What a decompressor gives; what it says is wrong names the file."""

    def __init__(self, inner: Any, name: str, kind: str) -> None:
        self._inner = inner
        self._name = name
        self._kind = kind
        self._count = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """See `io.RawIOBase`."""
        try:
            size: int = (
                self._inner.readinto1(buffer) if hasattr(self._inner, "readinto1") else _fill(self._inner, buffer)
            )
        except Exception as error:
            if isinstance(error, FileError) or getattr(error, "errno", None) is not None:
                raise  # of the file below
            if not isinstance(error, EOFError | OSError | ValueError | zlib.error) and not _is_of(error, self._kind):
                raise
            raise FileError(
                f"{self._name}: the {self._kind} data is damaged or cut off after {self._count:,} bytes of content"
                f" ({error or type(error).__name__})"
            ) from error
        self._count += size
        return size


def _fill(inner: Any, buffer: Any) -> int:
    data = inner.read1(len(buffer))
    buffer[: len(data)] = data
    return len(data)


def _is_of(error: Exception, kind: str) -> bool:
    return type(error).__name__ in {"xz": {"LZMAError"}, "zstd": {"ZstdError"}}.get(kind, set())


def _decompressor(kind: str, name: str) -> Callable[[Any], Any]:
    if kind == "zip":
        raise FileError(
            f"{name}: this is a ZIP archive, which may hold many files; unpack it first, as by: unzip -p {name}"
        )
    if kind == "zstd":
        with suppress(ModuleNotFoundError):
            module = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
            return module.ZstdFile  # type: ignore[no-any-return]
        raise FileError(f"{name}: zstd needs backports.zstd before Python 3.14: pip install 'shardpack[zstd]'")
    module = importlib.import_module({"gzip": "gzip", "bzip2": "bz2", "xz": "lzma"}[kind])
    made: Callable[..., Any] = getattr(module, {"gzip": "GzipFile", "bzip2": "BZ2File", "xz": "LZMAFile"}[kind])
    return (lambda stream: made(fileobj=stream)) if kind == "gzip" else made
