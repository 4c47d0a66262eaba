"""What has become of the lines of `shardpack put`, and the file that keeps those that were not delivered."""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from ..aws.errors import PERMANENT
from ..errors import DeliveryError
from ..records import UserRecord
from . import reading
from .reading import InputError

if TYPE_CHECKING:
    from ..producer import Delivery

# Which say nothing of a single record, and do not pass by themselves: when the first record of all ends with one of
# them, those behind it would too.
_OF_ONE_RECORD = frozenset(
    {
        "InvalidArgumentException",
        "ParamValidationError",
        "SerializationException",
        "ValidationError",
        "ValidationException",
    }
)
_HOPELESS = (PERMANENT - _OF_ONE_RECORD) | {
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "ConnectionError",
    "CredentialRetrievalError",
    "EndpointConnectionError",
    "HTTPClientError",
    "ProxyConnectionError",
    "ReadTimeoutError",
    "SSLError",
}
_SHOWN_LINE = 1000  # bytes that are kept of a line that is too long for any record


@dataclass
class Tally:
    """What has become of the lines.

    Attributes:
        put: user records that the producer has taken.
        delivered: those that are stored.
        failed: those that are not.
        reasons: {error codes: (how many failed so, the first one's message)}.
        skipped: lines that are no user record, or none that Kinesis takes.
        first_skipped: what is wrong with the first of them.
        unsaved: failed and skipped ones that could not be written to the file for them.
        error: why reading has stopped before the end, or None.
        signal: what has stopped it, or None.
    """

    put: int = 0
    delivered: int = 0
    failed: int = 0
    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)
    skipped: int = 0
    first_skipped: str | None = None
    unsaved: int = 0
    error: BaseException | None = None
    signal: int | None = None

    @property
    def status(self) -> int:
        """The exit status: 128 and the signal's number, as shells have it, or whether all is well."""
        if self.signal is not None:
            return 128 + self.signal
        return 1 if self.failed or self.skipped or self.error else 0


class FailedFile:
    """Keeps what is not delivered, each at once, in lines that ``--user-records`` reads; called on any thread.

    Args:
        name: of the file; None: nothing is kept.
        tally: counts what comes.
        source: the input's name, which may not be the same.

    Attributes:
        error: what keeps the file from being written, or None.
        hopeless: why nothing can be delivered, or None: nothing was, and the reason is none of a single record.
    """

    def __init__(self, name: str | None, tally: Tally, source: str) -> None:
        self._source = source
        self._tally = tally
        self._lock = threading.Lock()
        self._name = name
        self._out: IO[bytes] | None = None
        self._is_torn = False
        self.error: InputError | None = None
        self.hopeless: str | None = None

    def __enter__(self) -> Self:
        if self._name is not None:
            try:
                self._check_is_not_input(Path(self._name))
                # To what is there already, which may be all there is; readable, to see how that ends.
                self._out = Path(self._name).open("ab", buffering=0)
                self._is_torn = _ends_inside_a_line(Path(self._name))
            except OSError as error:
                raise InputError(f"{self._name}: {error.strerror or error}") from None
        return self

    def __exit__(self, *_error: object) -> None:
        if self._out is not None:
            self._out.close()

    def _check_is_not_input(self, path: Path) -> None:
        """Refuse to add to what is being read, which would never end."""
        if not path.is_file():
            return
        source = sys.stdin.fileno() if self._source == "-" else self._source
        if os.path.samestat(path.stat(), os.stat(source)):  # noqa: PTH116  # either a number or a name
            raise InputError(f"--failed {self._name} is the input itself; name another file")

    def settled(self, future: Future[Delivery]) -> None:
        """A user record is delivered, or has failed."""
        error = future.exception()
        with self._lock:
            if error is None:
                self._tally.delivered += 1
            elif isinstance(error, DeliveryError):
                self._failed(error)

    def skip(self, line: bytes, record: UserRecord | None, error: Exception) -> None:
        """A line is no user record, or one that Kinesis does not take.

        Args:
            line: as it was read.
            record: what it says, if it could be read.
            error: what is wrong with it.
        """
        told = {"error": str(error), "retriable": False}
        with self._lock:
            self._tally.skipped += 1
            self._tally.first_skipped = self._tally.first_skipped or str(error)
            self._save(_input_line(line, told) if record is None else reading.user_record_line(record, **told))

    def skip_long(self, head: bytes, error: Exception) -> None:
        """A line is longer than any record; only its beginning is there."""
        told = {"error": str(error), "retriable": False, "truncated": True}
        with self._lock:
            self._tally.skipped += 1
            self._tally.first_skipped = self._tally.first_skipped or str(error)
            self._save(_input_line(head[:_SHOWN_LINE], told))

    def _failed(self, error: DeliveryError) -> None:
        tally = self._tally
        tally.failed += 1
        reason = _reason(error)
        count, message = tally.reasons.get(reason, (0, str(error)))
        tally.reasons[reason] = count + 1, message
        if not tally.delivered and self.hopeless is None and _last_code(error) in _HOPELESS:
            self.hopeless = message if message.startswith(reason) else f"{reason}: {message}"
        for record in error.records:
            self._save(reading.user_record_line(record, error=str(error), retriable=error.retriable))

    def _save(self, line: bytes) -> None:
        if self._out is None:
            return
        whole = b"\n" + line if self._is_torn else line
        before, written = -1, 0
        try:
            before = os.fstat(self._out.fileno()).st_size
            while written < len(whole):  # without a buffer, a disk that is nearly full takes a part
                written += self._out.write(whole[written:]) or 0
            self._is_torn = False
        except OSError as problem:
            self._tally.unsaved += 1
            self.error = InputError(f"{self._name}: {problem.strerror}")
            if written:
                self._is_torn = not self._took_back(self._out, before, written) or self._is_torn

    def _took_back(self, out: IO[bytes], before: int, written: int) -> bool:
        """Whether the part of a line that was written is gone again; if not, the next line begins on a new one."""
        try:
            if os.fstat(out.fileno()).st_size != before + written:
                return False  # another process adds to it, too
            os.ftruncate(out.fileno(), before)
        except OSError:
            return False  # no file that can be cut
        return True


def _ends_inside_a_line(path: Path) -> bool:
    """Whether a file's last line has no end, because a disk was full or a process was killed."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as written:
        written.seek(-1, os.SEEK_END)
        return written.read() != b"\n"


def _input_line(line: bytes, told: dict[str, object]) -> bytes:
    try:
        fields = {"input": line.decode()}
    except UnicodeDecodeError:
        fields = {"input_base64": base64.b64encode(line).decode()}
    return json.dumps(fields | told).encode() + b"\n"


def _reason(error: DeliveryError) -> str:
    """The error codes that ended a record, such as "Expired (ProvisionedThroughputExceededException)"."""
    codes = [attempt.error_code for attempt in error.attempts if attempt.error_code is not None]
    if not codes:
        return "not sent" if not error.retriable else "not finished"
    before = _last_code(error)
    return f"Expired ({before})" if codes[-1] == "Expired" and before else codes[-1]


def _last_code(error: DeliveryError) -> str | None:
    codes = (attempt.error_code for attempt in reversed(error.attempts))
    return next((code for code in codes if code not in (None, "Expired")), None)
