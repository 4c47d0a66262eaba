"""What passes through the fault proxy: calls, answers, and answers that never arrived."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class Call:
    """What a client asks for.

    Attributes:
        operation: as in ``PutRecords``.
        arguments: the call's, parsed.
        forwarded: the arguments with which the server was asked to do it, if it was.
        is_lost: whether its answer is among those that did not arrive.
    """

    headers: Mapping[str, str]
    prefix: str
    operation: str
    body: bytes
    arguments: dict[str, Any]
    forwarded: dict[str, Any] | None = None
    is_lost: bool = False


@dataclass(frozen=True)
class Answer:
    """What a client gets."""

    status: int
    body: bytes
    request_id: str = "00000000-0000-0000-0000-000000000000"

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Answer:
        """A successful answer."""
        return cls(200, json.dumps(value).encode())

    @classmethod
    def error(cls, status: int, code: str, message: str) -> Answer:
        """An error by the service's name."""
        return cls(status, json.dumps({"__type": code, "message": message}).encode())

    @property
    def value(self) -> dict[str, Any]:
        """What the body says."""
        value: dict[str, Any] = json.loads(self.body or b"{}")
        return value


@dataclass(frozen=True)
class LostAnswer:
    """The server did what it was asked, or may have, and the client was not told, or not the truth.

    Attributes:
        kind: ``reset_after``, ``wrong_count``, ``server_lost`` (it died meanwhile), ``client_gone`` (it had hung
            up), ``late`` (it may have), or ``last`` (it hung up next; it may have done so before the answer came).
        arguments: what the server was asked, without what the proxy refused.
    """

    kind: str
    operation: str
    arguments: dict[str, Any]
