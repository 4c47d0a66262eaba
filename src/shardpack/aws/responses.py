"""Answers of `GetRecords`, whose data the native core reads.

botocore reads a whole answer as JSON text, and decodes the base64 in it, in Python's own time. Most of that is data. So
the native core takes the data out first, and botocore reads the little that is left, as it always does. Where anything
does not fit, such as another protocol or JSON that is written in another way, botocore reads the answer as it came.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..limits import shown
from ..wire.backend import backend

_ANSWER = "GetRecordsOutput"  # the shape's name in botocore's model of the service
_LOG = logging.getLogger("botocore.parsers")


def read_natively(session: Any, component: str = "response_parser_factory") -> Any:
    """Have the clients that a botocore session makes from now on read the data of records natively; gives the session.

    It puts itself in front of the factory of parsers, which botocore has as a component of a session.

    Args:
        session: of botocore or aiobotocore.
        component: the name of that component.
    """
    try:
        factory = session.get_component(component)
    except ValueError:  # botocore's answer for a component that it does not have
        return session
    if hasattr(factory, "create_parser"):
        session.register_component(component, _Factory(factory))
    return session


class _Factory:
    """A factory of parsers in front of botocore's own."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def create_parser(self, *arguments: Any, **named: Any) -> Any:
        """The parser of a protocol; for JSON, one that looks for records first."""
        parser = self._factory.create_parser(*arguments, **named)
        if "json" not in arguments or not hasattr(parser, "parse"):
            return parser
        return _AsyncParser(parser) if inspect.iscoroutinefunction(parser.parse) else _Parser(parser)


class _Parser:
    """A parser in front of botocore's own."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def parse(self, response: Mapping[str, Any], shape: Any) -> Any:
        """See `botocore.parsers.ResponseParser.parse`."""
        cut = _cut(response, shape)
        if cut is not None:
            with suppress(Exception):  # whatever botocore says against it, let it say so of the whole
                return _joined(self._parser.parse(cut[0], shape), cut[1])
        return self._parser.parse(response, shape)


class _AsyncParser(_Parser):
    """The same in front of aiobotocore's."""

    async def parse(self, response: Mapping[str, Any], shape: Any) -> Any:
        """See `_Parser.parse`."""
        cut = _cut(response, shape)
        if cut is not None:
            with suppress(Exception):  # see `_Parser`
                return _joined(await self._parser.parse(cut[0], shape), cut[1])
        return await self._parser.parse(response, shape)


def _cut(response: Mapping[str, Any], shape: Any) -> tuple[dict[str, Any], list[bytes]] | None:
    """An answer without the data of its records, and the data; None: botocore has to read it alone."""
    if getattr(shape, "name", None) != _ANSWER or response.get("status_code") != 200:
        return None
    body = response.get("body")
    # Whoever has botocore log what comes wants to see all of it.
    if not isinstance(body, bytes) or _LOG.isEnabledFor(logging.DEBUG):
        return None
    cut = backend().cut_records(body)
    return None if cut is None else ({**response, "body": cut[0]}, cut[1])


def _joined(parsed: Any, data: list[bytes]) -> Any:
    """What botocore has read, with the data in its place.

    Raises:
        Exception: it has read something else than was cut.
    """
    for record, one in zip(parsed["Records"], data, strict=True):
        if record["Data"] != b"":
            raise ValueError(f"a record has data where none was left: {shown(record)}")
        record["Data"] = one
    return parsed
