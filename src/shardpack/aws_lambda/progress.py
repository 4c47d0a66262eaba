"""Which user records of a batch are done, kept where the next invocation finds it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from ..limits import check_number, shown

DEFAULT_TTL = 604_800.0
"""Seconds: a week, which is also the most that ``MaximumRecordAgeInSeconds`` of an event source mapping takes."""
_MOST_IN_A_WRITE = 25  # BatchWriteItem API reference


class Progress(Protocol):
    """A store of what is done, for `process`.

    What is done of a Kinesis record is a bitmap: the user record with sub-sequence number n is done when bit n is set,
    counted from the lowest bit of the first byte. So a Kinesis record's progress is one small item, however many user
    records it holds, and a sub-record costs no more than a bit. A bitmap that is saved replaces the one before it.

    An error of either method keeps user records from being taken for done, never the other way around.
    """

    def load(self, shard: str, first: str, last: str) -> Mapping[str, bytes]:
        """The bitmaps of a shard's Kinesis records with keys from first to last, both inclusive, in ASCII order."""

    def save(self, shard: str, done: Mapping[str, bytes]) -> None:
        """Keep the bitmaps of some of a shard's Kinesis records, by key."""


class SQLiteProgress:
    """Progress in a SQLite file: for tests, and for functions that share a file system.

    Args:
        path: the file, or ``":memory:"``.
        consumer: who reads; functions that read the same stream must not share one. None: the name of the Lambda
            function (``AWS_LAMBDA_FUNCTION_NAME``).
        ttl: seconds until what was saved is forgotten; longer than Lambda goes on sending a batch again.
    """

    def __init__(self, path: str | os.PathLike[str], *, consumer: str | None = None, ttl: float = DEFAULT_TTL) -> None:
        import sqlite3

        self._ttl = _check_ttl(ttl)
        self._consumer = _consumer(consumer)
        # Every statement commits by itself; `process` never saves from two threads at a time.
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS progress (shard TEXT, record TEXT, done BLOB NOT NULL,"
                " expires_at REAL NOT NULL, PRIMARY KEY (shard, record))"
            )
            self._connection.execute("DELETE FROM progress WHERE expires_at <= ?", (time.time(),))
        except BaseException:
            self._connection.close()
            raise

    def load(self, shard: str, first: str, last: str) -> dict[str, bytes]:
        """See `Progress`."""
        rows = self._connection.execute(
            "SELECT record, done FROM progress WHERE shard = ? AND record BETWEEN ? AND ? AND expires_at > ?",
            (f"{self._consumer}/{shard}", first, last, time.time()),
        )
        return dict(rows)

    def save(self, shard: str, done: Mapping[str, bytes]) -> None:
        """See `Progress`."""
        expires_at = time.time() + self._ttl
        rows = [(f"{self._consumer}/{shard}", record, bitmap, expires_at) for record, bitmap in done.items()]
        self._connection.executemany("INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DynamoDBProgress:
    """Progress in a DynamoDB table with the string keys ``shard`` (partition) and ``record`` (sort).

    One ``Query`` a batch reads, and each save writes one item for each Kinesis record that it is about. It needs
    ``dynamodb:Query``, ``dynamodb:PutItem`` and ``dynamodb:BatchWriteItem`` on the table.

    Args:
        table_name: the table's name or ARN.
        client: a boto3 DynamoDB client; None: one is made, at the first use.
        consumer: who reads; functions that read the same stream must not share one. None: the name of the Lambda
            function (``AWS_LAMBDA_FUNCTION_NAME``).
        ttl: seconds until what was saved is forgotten; longer than Lambda goes on sending a batch again. Items carry
            the time in ``expires_at``, for the table's time to live; those that DynamoDB has not deleted yet are
            passed over.
    """

    def __init__(
        self, table_name: str, client: Any = None, *, consumer: str | None = None, ttl: float = DEFAULT_TTL
    ) -> None:
        self._table_name = table_name
        self._made_client = client
        self._consumer = _consumer(consumer)
        self._ttl = _check_ttl(ttl)

    @property
    def _client(self) -> Any:
        if self._made_client is None:
            try:
                import boto3
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(
                    f"DynamoDBProgress needs {error.name}: pip install 'shardpack[aws]'"
                ) from None
            self._made_client = boto3.client("dynamodb")
        return self._made_client

    def create_table(self) -> None:
        """Create the table, billed per request, with its time to live; returns when it can be used.

        It needs ``dynamodb:CreateTable``, ``dynamodb:DescribeTable`` and ``dynamodb:UpdateTimeToLive``.
        """
        self._client.create_table(
            TableName=self._table_name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("shard", "record")],
            KeySchema=[
                {"AttributeName": "shard", "KeyType": "HASH"},
                {"AttributeName": "record", "KeyType": "RANGE"},
            ],
        )
        self._client.get_waiter("table_exists").wait(TableName=self._table_name, WaiterConfig={"Delay": 1})
        self._client.update_time_to_live(
            TableName=self._table_name,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"},
        )

    def load(self, shard: str, first: str, last: str) -> dict[str, bytes]:
        """See `Progress`."""
        now = time.time()
        question: dict[str, Any] = {
            "TableName": self._table_name,
            "ConsistentRead": True,  # a batch is sent again within a second
            "KeyConditionExpression": "#shard = :shard AND #record BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#shard": "shard", "#record": "record"},  # "shard" is reserved
            "ExpressionAttributeValues": {
                ":shard": {"S": f"{self._consumer}/{shard}"},
                ":first": {"S": first},
                ":last": {"S": last},
            },
        }
        done: dict[str, bytes] = {}
        while True:
            page = self._client.query(**question)
            done |= {
                item["record"]["S"]: item["done"]["B"] for item in page["Items"] if float(item["expires_at"]["N"]) > now
            }
            if not page.get("LastEvaluatedKey"):
                return done
            question["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def save(self, shard: str, done: Mapping[str, bytes]) -> None:
        """See `Progress`."""
        expires_at = str(int(time.time() + self._ttl))
        items = [
            {
                "shard": {"S": f"{self._consumer}/{shard}"},
                "record": {"S": record},
                "done": {"B": bitmap},
                "expires_at": {"N": expires_at},
            }
            for record, bitmap in done.items()
        ]
        for start in range(0, len(items), _MOST_IN_A_WRITE):
            self._write(items[start : start + _MOST_IN_A_WRITE])

    def _write(self, items: list[dict[str, Any]]) -> None:
        if len(items) > 1:
            requests = {self._table_name: [{"PutRequest": {"Item": item}} for item in items]}
            left = self._client.batch_write_item(RequestItems=requests).get("UnprocessedItems") or {}
            items = [request["PutRequest"]["Item"] for rest in left.values() for request in rest]
        for item in items:  # what a throttled batch left goes one by one: the client waits, tries again, and raises
            self._client.put_item(TableName=self._table_name, Item=item)


def _consumer(consumer: str | None) -> str:
    return os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "") if consumer is None else consumer


_MOST_TTL = 1_000_000_000  # 31 years; beyond any moment that a table could hold lies nothing of use


def _check_ttl(ttl: float) -> float:
    check_number("ttl", ttl)
    if not 0 < ttl <= _MOST_TTL:
        raise ValueError(
            f"ttl is {shown(ttl)}; give the seconds, more than 0 and no more than 10^9, that progress is to be kept"
        )
    return ttl
