"""Calls of one DynamoDB table: one client per process, one place for retries, and errors that say what to do."""

from __future__ import annotations

import itertools
import logging
import os
import random
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from ..aws.errors import PERMANENT, backoff, error_of, is_mistake
from ..errors import LeaseStoreError

_log = logging.getLogger("shardpack.consumer")

_REQUEST_SECONDS = 3.0  # a few fit into the time for retries; DynamoDB answers in milliseconds
_CREATION_SECONDS = 300.0  # AWS takes seconds; tables that are being deleted must go first
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedOperation"})


class RefusedError(Exception):
    """DynamoDB gave an answer that the caller expected and must judge.

    Attributes:
        code: DynamoDB's error code.
        unsure: whether an earlier attempt may have done what was asked, so that this answer is about its result.
    """

    def __init__(self, code: str, *, unsure: bool) -> None:
        super().__init__(code)
        self.code = code
        self.unsure = unsure


class Table:
    """A table that may be called from any thread, also after a fork or in a process that it was pickled to.

    Args:
        name: the table's name.
        client: a boto3 DynamoDB client, or None to make one for each process.
        session: arguments of boto3's ``Session``.
        endpoint_url: of DynamoDB; None: AWS.
        retry_for: seconds after which a call that may succeed later is not made again.
        kind: what to call it in messages.
    """

    def __init__(
        self,
        name: str,
        client: Any,
        session: Mapping[str, str | None],
        endpoint_url: str | None,
        retry_for: float,
        *,
        kind: str = "lease table",
    ) -> None:
        self.name = name
        self._given = client
        self._session = session
        self._endpoint_url = endpoint_url
        self._retry_for = retry_for
        self._made: tuple[int, Any] | None = None
        self._kind = kind

    def beside(self, suffix: str) -> Table:
        """Another table of the same application.

        Args:
            suffix: what its name has more than this one's.
        """
        return Table(self.name + suffix, self._given, self._session, self._endpoint_url, self._retry_for, kind="table")

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_made": None}

    def call(self, operation: str, expected: Collection[str] = (), **arguments: Any) -> Mapping[str, Any]:
        """What an operation answers, made again while it may succeed: throttling, 5xx, lost connections, the unknown.

        Args:
            operation: as the API names it, such as ``"UpdateItem"``; also the IAM action's name.
            expected: error codes that are answers to the caller.
            arguments: without the table's name.

        Raises:
            RefusedError: the answer is one of `expected`.
            LeaseStoreError: any other failure.
        """
        method = getattr(self._client(), _METHODS[operation])
        deadline = time.monotonic() + self._retry_for
        for failures in itertools.count(1):
            try:
                answer: Mapping[str, Any] = method(TableName=self.name, **arguments)
            except Exception as error:  # botocore lets errors of its dependencies through
                if is_mistake(error):
                    raise
                code, message = error_of(error)
                if code in expected:
                    raise RefusedError(code, unsure=failures > 1 or _was_retried(error)) from None
                wait = backoff(failures, random.random)
                if code in PERMANENT or time.monotonic() + wait > deadline:
                    raise self._failed(operation, code, message, failures) from error
                if failures == 1:
                    _log.info("%s on the %s %s: %s; trying again", operation, self._kind, self.name, code)
                time.sleep(wait)
                if time.monotonic() > deadline + _REQUEST_SECONDS:  # the process stood still; nobody waits any more
                    raise self._failed(operation, code, message, failures) from error
            else:
                return answer
        raise AssertionError("unreachable")

    def prepare(self, settings: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The table's description, once it is there and ready.

        Args:
            settings: what `CreateTable` takes to make it if it is missing; None: it may not be made.

        Raises:
            LeaseStoreError: it is missing and may not be made, or it does not become ready.
        """
        deadline = time.monotonic() + _CREATION_SECONDS
        for looks in itertools.count(1):
            status = "missing"
            try:
                description: Mapping[str, Any] = self.call("DescribeTable", {"ResourceNotFoundException"})["Table"]
                status = description["TableStatus"]
            except RefusedError:
                if settings is None:
                    raise LeaseStoreError(
                        f"the lease table {self.name!r} does not exist and create_table is off; create it with the key"
                        " leaseKey (HASH, type S), or check the name and the region",
                        retriable=False,
                    ) from None
                self._create(settings)
            if status in {"ACTIVE", "UPDATING"}:
                return description
            if status not in {"missing", "CREATING", "DELETING"} or time.monotonic() > deadline:
                raise LeaseStoreError(
                    f"the lease table {self.name!r} is {status}, not ACTIVE; see to it in DynamoDB's console",
                    retriable=False,
                )
            time.sleep(min(1.0, 0.02 * 2.0 ** min(looks, 16)))
        raise AssertionError("unreachable")

    def _create(self, settings: Mapping[str, Any]) -> None:
        with suppress(RefusedError):  # another worker was first
            self.call("CreateTable", {"ResourceInUseException"}, **settings)

    def _client(self) -> Any:
        if self._given is not None:
            return self._given
        made = self._made
        if made is None or made[0] != os.getpid():  # after a fork two processes would write to one socket
            # Two threads may both come here; then one client is made for nothing.
            made = self._made = (os.getpid(), self._new_client())
        return made[1]

    def _new_client(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"DynamoDBLeases needs {error.name}: pip install 'shardpack[aws]'") from None
        config = Config(
            connect_timeout=_REQUEST_SECONDS,
            read_timeout=_REQUEST_SECONDS,
            max_pool_connections=50,
            # A retry behind our back could fail on the condition that its first attempt has changed.
            retries={"total_max_attempts": 1, "mode": "standard"},
        )
        try:
            session = boto3.session.Session(**self._session)
            return session.client("dynamodb", endpoint_url=self._endpoint_url, config=config)
        except Exception as error:  # botocore has no common class for a missing profile, region or endpoint
            raise LeaseStoreError(
                f"no DynamoDB client can be made for the lease table {self.name!r}: {': '.join(error_of(error))}",
                retriable=False,
            ) from error

    def _failed(self, operation: str, code: str, message: str, attempts: int) -> LeaseStoreError:
        what = f"{operation} on the {self._kind} {self.name!r}"
        if code in _DENIED:
            arn = self.name if self.name.startswith("arn:") else f"arn:aws:dynamodb:REGION:ACCOUNT:table/{self.name}"
            remedy = f"this worker's credentials lack the permission dynamodb:{operation}; allow it on {arn}"
            if operation == "CreateTable":
                remedy += ", or create the table beforehand with the key leaseKey (HASH, type S)"
            return LeaseStoreError(f"{what} was denied: {remedy} ({message})", retriable=False)
        if code == "ResourceNotFoundException":
            return LeaseStoreError(f"{what} failed: the table does not exist; call prepare() first", retriable=False)
        return LeaseStoreError(
            f"{what} failed after {attempts} attempt{'s' * (attempts > 1)}: {code}: {message}"
            + ("" if code in PERMANENT else f"; it was tried for {self._retry_for} s, and may be tried again"),
            retriable=code not in PERMANENT,
        )


_METHODS = {
    "CreateTable": "create_table",
    "DeleteItem": "delete_item",
    "DescribeTable": "describe_table",
    "GetItem": "get_item",
    "PutItem": "put_item",
    "Query": "query",
    "Scan": "scan",
    "UpdateItem": "update_item",
}


def _was_retried(error: Exception) -> bool:
    """Whether a client that was handed in had tried before by itself."""
    response = getattr(error, "response", None)
    return isinstance(response, Mapping) and response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0
