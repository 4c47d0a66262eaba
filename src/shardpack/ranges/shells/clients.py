"""Clients of the AWS SDK by the options of whoever reads or puts, and calls that wait out what passes by itself."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...aws.client import client_settings
from ...aws.errors import PERMANENT, backoff, error_of, is_of_call
from ...aws.responses import read_natively
from ...errors import CallError
from ...limits import shown
from ..core.options import Connection

PATIENCE = 120.0
"""For how many seconds a call is tried again that throttling or an outage keeps from being answered."""

_EXPIRED = frozenset({"ExpiredIteratorException", "ExpiredNextTokenException"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "KMSAccessDeniedException", "NotAuthorized"})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """What the clients of the source wait for."""

    connect_timeout: float = 6.0
    request_timeout: float = 30.0
    max_connections: int = 32


def session_of(connection: Connection) -> Any:
    """A boto3 session with the credentials that the options name; without any, those that the AWS SDK finds."""
    try:
        import boto3
        import botocore.session
    except ModuleNotFoundError as error:
        what = f"a Kinesis client needs {error.name}: pip install '{connection.words.extra}'"
        raise ModuleNotFoundError(what, name=error.name) from None
    session = boto3.session.Session(
        botocore_session=read_natively(botocore.session.get_session()),
        aws_access_key_id=connection.access_key,
        aws_secret_access_key=connection.secret_key,
        aws_session_token=connection.session_token,
        region_name=connection.region,
        profile_name=connection.profile,
    )
    if connection.role_arn is None:
        return session
    return _with_role(session, connection)


def _with_role(session: Any, connection: Connection) -> Any:
    """A session with a role, whose credentials are fetched anew before they expire: queries run longer than those."""
    import boto3
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.session import Session

    def client(*names: str, **arguments: Any) -> Any:
        return session.client(*names, **{**arguments, "endpoint_url": connection.sts_endpoint})

    about = {"RoleSessionName": connection.role_session_name, "ExternalId": connection.role_external_id}
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=client,
        source_credentials=session.get_credentials(),
        role_arn=connection.role_arn,
        extra_args={name: value for name, value in about.items() if value},
    )
    credentials = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)

    class WithRole(Session):
        def get_credentials(self) -> Any:
            return credentials

    return boto3.session.Session(botocore_session=read_natively(WithRole()), region_name=session.region_name)


def kinesis_of(connection: Connection) -> Any:
    """A Kinesis client that leaves retries to who uses it.

    Raises:
        ValueError: a region, a profile or an endpoint is not there, or is none.
        ModuleNotFoundError: boto3 is not installed; the message says what to install.
    """
    try:
        session = session_of(connection)
        from botocore.config import Config  # which is there now

        config = Config(**client_settings(Timeouts()))
        return session.client("kinesis", endpoint_url=connection.endpoint_url, config=config)
    except Exception as error:
        code, message = error_of(error)
        if code == "NoRegionError":
            raise ValueError(connection.words.no_region) from None
        if code == "ProfileNotFound":
            raise ValueError(f"profile_name is {shown(connection.profile)}; {message}") from None
        if message.startswith("Invalid endpoint"):
            what = f"{connection.words.endpoint} is {shown(connection.endpoint_url)}"
            raise ValueError(f"{what}; give a URL with its scheme, such as http://localhost:4566") from None
        raise


@lru_cache(maxsize=8)
def shared_kinesis_of(connection: Connection) -> Any:
    """The same client for all tasks of a process, because to make one takes longer than to read a small range."""
    return kinesis_of(connection)


class Caller:
    """Makes calls about a stream, and makes them again as long as their failure may pass.

    Args:
        connection: which stream.
        client: of Kinesis.
        patience: see `PATIENCE`.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        connection: Connection,
        client: Any,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._stream = f"the stream {connection.stream}"
        self._words = connection.words
        self._patience = patience
        self._sleep = sleep

    def __call__(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        """The answer.

        Raises:
            CallError: the failure does not pass, or has not in time; the message says what to do.
            Exception: what no call raises; it is a bug, of ours or of the client's, and passes through.
        """
        waited, failures = 0.0, 0
        while True:
            try:
                answer: Mapping[str, Any] = getattr(self._client, operation)(**arguments)
            except Exception as error:
                if not is_of_call(error):
                    raise
                code, message = error_of(error)
                if code in PERMANENT or code in _EXPIRED or waited >= self._patience:
                    raise CallError(self._told(operation, code, message, waited), code=code) from None
                failures += 1
                pause = max(0.05, backoff(failures, random.random))
                waited += pause
                self._sleep(pause)
            else:
                return answer

    def _told(self, operation: str, code: str, message: str, waited: float) -> str:
        name = "".join(word.capitalize() for word in operation.split("_"))
        if code in _DENIED:
            return f"kinesis:{name} is not allowed on {self._stream} ({message}); {self._words.allow}"
        if code == "NoCredentialsError":
            return f"there are no AWS credentials for {name} on {self._stream}; {self._words.credentials}"
        if code == "ResourceNotFoundException":
            return f"{name} does not find {self._stream} ({message}); check {self._words.stream}"
        if waited:
            return f"{name} on {self._stream} has failed for {waited:.0f} s, at last with {code}: {message}"
        return f"{name} on {self._stream} failed: {code}: {message}"
