"""Whether a stream is there: asked before anything is read or written, so that a mistyped name costs one line."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from random import random
from typing import Any

from ...aws.client import ClientSettings, kinesis_client
from ...aws.errors import PERMANENT, REMEDIES, backoff, error_of, is_of_call, is_of_sdk
from ...aws.streams import stream_argument
from ...consumer.config import ConsumerConfig
from ..messages import report
from ..reading import InputError

_TRIES = 5

# After which nothing can be put. A permission to list shards is not among them: a producer does without it.
_HOPELESS = frozenset(
    {
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NoCredentialsError",
        "ResourceNotFoundException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


@dataclass(frozen=True)
class _Hasty:
    """Settings of a client that is asked once: who does not answer in time is asked by the producer, in its own."""

    connect_timeout: float = 2.0
    request_timeout: float = 2.0
    max_connections: int = 1


def check_stream(stream: str, where: Mapping[str, Any]) -> None:
    """See whether user records can be put into a stream at all.

    Raises:
        InputError: they cannot. That there is no answer, or no permission to ask, does not mean that.
        ValueError: no stream has such a name.
    """
    client = _client(_Hasty(), where)
    name = stream_argument(stream)
    try:
        client.list_shards(**name, MaxResults=1)
    except Exception as error:
        if not is_of_call(error):
            raise
        if error_of(error)[0] in _HOPELESS:
            raise refusal(stream, error, client) from None


def reached_client(stream: str, where: Mapping[str, Any]) -> Any:
    """A client whose first call has been answered.

    Once the stream was there, it may be away for as long as it likes. Before, it is more likely that the user has named
    another, and waiting for ever would hide that.

    Raises:
        InputError: it has not answered after some tries, or refuses what no retry mends.
    """
    client = _client(ConsumerConfig(), where)
    name = stream_argument(stream)
    for failures in range(1, _TRIES + 1):
        try:
            client.list_shards(**name, MaxResults=1)
        except Exception as error:
            if not is_of_call(error):
                raise
            code, message = error_of(error)
            if code in PERMANENT:
                raise refusal(stream, error, client) from None
            if failures == _TRIES:
                raise InputError(
                    f"{stream}: not reached in {_TRIES} tries ({code}: {message}); check the endpoint, the region and"
                    " the network"
                ) from None
            if failures == 1:
                report(f"{stream}: not reached ({code}: {message}), trying again")
            time.sleep(backoff(failures, random))
        else:
            return client
    raise AssertionError("unreachable")


def refusal(stream: str, error: Exception, client: Any) -> InputError:
    """What a service has against a call, in one sentence with the remedy; of a stream that is not there, where."""
    code, message = error_of(error)
    if code in REMEDIES:
        return InputError(message)
    if code == "ResourceNotFoundException":
        place = f"in {client.meta.region_name} at {client.meta.endpoint_url}"
        return InputError(
            f"{stream}: there is no such stream {place} ({code}); check the name, --region and --endpoint-url"
        )
    return InputError(f"{stream}: {code}: {message}")


def _client(settings: ClientSettings, where: Mapping[str, Any]) -> Any:
    try:
        return kinesis_client(settings, where["region_name"], where["endpoint_url"], where["profile_name"])
    except ModuleNotFoundError as error:
        raise InputError(error) from None
    except Exception as error:
        if not is_of_sdk(error):
            raise
        raise InputError(error_of(error)[1]) from None  # no region, no such profile
