"""What a document says that has to do with a failed batch: a stretch of a shard, an object that says more, or records.

A document is what Lambda writes to an on-failure destination, as it comes out of SQS, SNS or S3, with whatever these
have put around it; the event of a notification about an S3 object; or anything that holds Kinesis records itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from ...errors import DecodeError
from ...limits import shown
from .events import is_message, is_of_s3, records_of, text_in
from .stretch import Stretch, stretch_of

_MOST_ENVELOPES = 8  # a record of a topic, in a message of a queue, in a page of messages: half of it at most


class ObjectName(NamedTuple):
    """An object in S3 that a notification is about.

    Attributes:
        bucket: the bucket's name.
        key: the object's key, as the notification has it.
        version_id: which version of it; None: the newest.
        is_quoted: whether the key is written as in a URL ("Event message structure": S3 does so, EventBridge does not).
    """

    bucket: str
    key: str
    version_id: str | None
    is_quoted: bool


class Records(NamedTuple):
    """Kinesis records that the document holds itself, of any shape that `unpack` reads."""

    records: list[Any]


Part: TypeAlias = Stretch | ObjectName | Records


def parts_of_text(text: str | bytes) -> Iterator[Part]:
    """What the text of a message says; see `parts_of`.

    Raises:
        DecodeError: it is no JSON, or says nothing of the kind.
    """
    yield from parts_of(_json(text, "the text of a message"))


def parts_of(document: Any, depth: int = 0) -> Iterator[Part]:
    """The parts of a document, in their order; none of a message by which a service only tries the way.

    Raises:
        DecodeError: it says nothing of the kind.
    """
    if depth > _MOST_ENVELOPES:
        raise DecodeError(f"a message is wrapped in more than {_MOST_ENVELOPES} others, and none holds records")
    inside = text_in(document)
    if inside is not None:
        yield from parts_of(_json(inside, "the text of a message"), depth + 1)
    elif not isinstance(document, Mapping):
        yield from _parts_of_list(records_of(document), depth)
    elif _is_discarded(document):
        yield _discarded(document)
    elif "kinesis" in document or "Data" in document:
        yield Records([document])
    elif is_of_s3(document):
        yield from _objects_of(document)
    elif document.get("Event") == "s3:TestEvent":
        return  # which S3 sends when notifications are turned on
    else:
        messages = document.get("Messages")  # the answer of ReceiveMessage
        yield from _parts_of_list(messages if isinstance(messages, list) else records_of(document), depth)


def _parts_of_list(items: list[Any], depth: int) -> Iterator[Part]:
    if not any(is_message(item) or _is_discarded(item) for item in items):
        yield Records(items)
        return
    for item in items:
        yield from parts_of(item, depth + 1)


def _is_discarded(document: Any) -> bool:
    """Whether it is what Lambda writes of a batch of a stream."""
    return isinstance(document, Mapping) and ("KinesisBatchInfo" in document or "DDBStreamBatchInfo" in document)


def _discarded(document: Mapping[str, Any]) -> Stretch | Records:
    """SQS and SNS get the ends of the batch; S3 gets the event beside them, in which the records are."""
    payload = document.get("payload")
    if isinstance(payload, str) and payload:
        payload = _json(payload, "the 'payload' of an on-failure record")
    records = records_of(payload) if payload else []
    return Records(records) if records else stretch_of(document)


def _objects_of(document: Mapping[str, Any]) -> Iterator[ObjectName]:
    if isinstance(document.get("s3"), Mapping):
        where, kind, is_new = document["s3"], "eventName", "ObjectCreated"
    else:
        where, kind, is_new = document.get("detail"), "detail-type", "Object Created"
    happened = document.get(kind)
    # Up to version 2.0 of the event, SNS and SQS had "s3:" before it; hand-written test events leave it out.
    if happened is not None and not str(happened).removeprefix("s3:").startswith(is_new):
        return  # an object that was deleted, or tagged
    bucket, found = (where.get(name) for name in ("bucket", "object")) if isinstance(where, Mapping) else (None, None)
    name = bucket.get("name") if isinstance(bucket, Mapping) else None
    key, version = (found.get("key"), _version(found)) if isinstance(found, Mapping) else (None, None)
    if not isinstance(name, str) or not name or not isinstance(key, str) or not key:
        raise DecodeError(
            f"a notification of S3 names no object: 'bucket' is {shown(bucket)} and 'object' is {shown(found)}"
        )
    yield ObjectName(name, key, version, is_quoted="s3" in document)


def _version(found: Mapping[str, Any]) -> str | None:
    version = found.get("versionId", found.get("version-id"))
    return version if isinstance(version, str) and version else None


def _json(text: str | bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DecodeError(
            f"{what} is no JSON ({error}): {shown(text)}; expected Kinesis records, or what Lambda writes of a batch"
            " that it gave up"
        ) from None
