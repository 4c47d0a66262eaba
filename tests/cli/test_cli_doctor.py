"""`shardpack doctor`: what it finds with a local server, and what it says of all that may be missing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import servers
from command_line import run

import shardpack as sp
from shardpack.cli.commands.doctor import Doctor, Finding

SUMMARY = {
    "StreamStatus": "ACTIVE",
    "OpenShardCount": 2,
    "RetentionPeriodHours": 24,
    "StreamModeDetails": {"StreamMode": "ON_DEMAND"},
}


class Refused(Exception):  # noqa: N818  # as botocore's ClientError
    def __init__(self, code: str, date: str | None = None) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": "no"}}
        if date is not None:
            self.response["ResponseMetadata"] = {"HTTPHeaders": {"date": date}}  # type: ignore[dict-item]


class Service:
    """Kinesis, DynamoDB and STS in one: answers, or refuses the calls that are named."""

    def __init__(self, refused: Mapping[str, Exception], answers: dict[str, Any]) -> None:
        self._refused = refused
        self._answers = {
            "get_caller_identity": {"Arn": "arn:aws:iam::1:user/x"},
            "describe_stream_summary": {"StreamDescriptionSummary": SUMMARY},
            "list_shards": {"Shards": [{"ShardId": "shardId-0"}]},
            "get_shard_iterator": {"ShardIterator": "x"},
            "get_records": {"Records": []},
            "put_records": {"Records": [{"ShardId": "shardId-0", "SequenceNumber": "7"}]},
            "describe_table": {"Table": {"TableStatus": "ACTIVE", "KeySchema": [{"AttributeName": "leaseKey"}]}},
            "scan": {"Items": [{"leaseOwner": {"S": "w"}}, {}]},
            **answers,
        }
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> Any:
            self.called.append(name)
            if name in self._refused:
                raise self._refused[name]
            date = {"ResponseMetadata": {"HTTPHeaders": {"date": "Sat, 28 Nov 2026 10:00:00 GMT"}}}
            return date | self._answers[name]

        return call


class Session:
    def __init__(self, service: Service, region: str | None = "eu-west-1", credentials: Any = Service) -> None:
        self.region_name = region
        self._service = service
        self._credentials = credentials

    def get_credentials(self) -> Any:
        if self._credentials is not None:
            self._credentials.method = "env"
        return self._credentials

    def client(self, _service: str, **_: Any) -> Service:
        return self._service


def found(
    refused: Mapping[str, Exception] | None = None,
    *,
    here: timedelta = timedelta(),
    put: bool = False,
    answers: dict[str, Any] | None = None,
    **session: Any,
) -> dict[str, Finding]:
    pytest.importorskip("botocore")
    now = datetime(2026, 11, 28, 10, tzinfo=UTC) + here
    service = Service(refused or {}, answers or {})
    doctor = Doctor(Session(service, **session), None, lambda: now)
    findings = {one.check: one for one in doctor.findings("clicks", "fleet", put=put)}
    assert put == ("put_records" in service.called) or refused or session
    return findings


def test_nothing_is_missing() -> None:
    findings = found(put=True)
    assert {one.status for one in findings.values()} - {"warning"} == {"ok"}  # the pure core is warned of
    assert findings["stream"].told == "ACTIVE, ON_DEMAND, 2 open shards, 24 h of retention"
    assert findings["lease table"].told == "ACTIVE, 2 leases, 1 owners"
    assert findings["put"].told == "stored in shardId-0 at 7"


def test_nothing_is_written_unasked() -> None:
    assert found()["put"].status == "skipped"


@pytest.mark.parametrize(
    ("call", "code", "check", "remedy"),
    [
        ("get_caller_identity", "ExpiredToken", "credentials", "log in anew"),
        ("describe_stream_summary", "ResourceNotFoundException", "stream", "look at the name, the region"),
        ("list_shards", "AccessDeniedException", "list shards", "allow the kinesis action"),
        ("get_records", "AccessDeniedException", "read", "allow the kinesis action"),
        ("put_records", "AccessDeniedException", "put", "allow the kinesis action"),
        ("describe_table", "ResourceNotFoundException", "lease table", "look at the name"),
        ("scan", "AccessDeniedException", "lease table", "allow the dynamodb action"),
        ("get_records", "SignatureDoesNotMatch", "read", "look at the clock"),
    ],
)
def test_what_fails_is_told_with_a_remedy(call: str, code: str, check: str, remedy: str) -> None:
    one = found({call: Refused(code)}, put=True)[check]
    assert (one.status, one.told) == ("failed", f"{code}: no")
    assert one.remedy.startswith(remedy)


@pytest.mark.parametrize("name", ["EndpointConnectionError", "ResponseParserError"])
def test_where_sts_is_out_of_reach_the_stream_is_tried_all_the_same(name: str) -> None:
    findings = found({"get_caller_identity": type(name, (Exception,), {})("no way")})
    assert findings["credentials"].status == "warning"
    assert findings["credentials"].told == f"from env; not tried: {name}"
    assert findings["stream"].status == findings["read"].status == "ok"


def test_credentials_that_cannot_be_had_end_it() -> None:
    findings = found({"get_caller_identity": type("TokenRetrievalError", (Exception,), {})("expired")}, put=True)
    assert findings["credentials"].status == "failed"
    assert "stream" not in findings


def test_only_producers_need_the_summary() -> None:
    one = found({"describe_stream_summary": Refused("AccessDeniedException")})["stream"]
    assert one.status == "warning"
    assert "producers" in one.remedy


@pytest.mark.parametrize(("seconds", "status"), [(3, "ok"), (-90, "warning"), (400, "failed")])
def test_a_clock_that_is_wrong(seconds: int, status: str) -> None:
    clock = found(here=timedelta(seconds=seconds))["clock"]
    assert (clock.status, clock.told) == (status, f"{abs(seconds)} s off the service's")


def test_a_time_without_a_zone_is_utc() -> None:
    date = "Sat, 28 Nov 2026 10:00:00 -0000"  # RFC 5322: in UTC, without a word of where the server is
    assert found({"scan": Refused("AccessDeniedException", date)})["clock"].told == "0 s off the service's"


def test_a_refusal_tells_the_time_too() -> None:
    date = "Sat, 28 Nov 2026 10:10:00 GMT"
    refused = {
        name: Refused("RequestExpired", date) for name in ("describe_table", "list_shards", "describe_stream_summary")
    }
    assert found(refused)["clock"].status == "failed"


@pytest.mark.parametrize(("given", "check"), [({"region": None}, "region"), ({"credentials": None}, "credentials")])
def test_without_a_region_or_credentials_it_ends_there(given: dict[str, Any], check: str) -> None:
    findings = found(**given)
    assert findings[check].status == "failed"
    assert "stream" not in findings


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"StreamStatus": "CREATING"}, "failed", "CREATING"),
        ({"RecordDistributionStrategy": "AUTO"}, "warning", "keys are ignored"),
    ],
)
def test_a_stream_that_is_not_as_it_should_be(change: dict[str, str], status: str, told: str) -> None:
    one = found(answers={"describe_stream_summary": {"StreamDescriptionSummary": SUMMARY | change}})["stream"]
    assert one.status == status
    assert told in one.told


def test_a_table_of_something_else() -> None:
    table = {"Table": {"TableStatus": "ACTIVE", "KeySchema": [{"AttributeName": "id"}]}}
    one = found(answers={"describe_table": table})["lease table"]
    assert (one.status, one.told) == ("failed", "its key is id, not leaseKey")


@pytest.fixture(scope="module")
def local() -> Iterator[str]:
    pytest.importorskip("boto3")
    with servers.ministack("kinesis,dynamodb") as url:
        servers.create_stream(servers.client("kinesis", url), "clicks", 2)
        sp.DynamoDBLeases("fleet", client=servers.client("dynamodb", url)).prepare()
        yield url


ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


def test_on_a_local_server(local: str) -> None:
    arguments = ("doctor", "clicks", "--leases", "dynamodb:fleet", "--endpoint-url", local, "--region", "us-east-1")
    out, error = run(*arguments, "--put", "--json", environment=ENVIRONMENT)
    told = {one["check"]: one["status"] for one in map(json.loads, out.splitlines())}
    assert error == ""
    for check in ("region", "credentials", "stream", "list shards", "read", "put", "lease table"):
        assert told[check] == "ok", check
    text = run(*arguments, environment=ENVIRONMENT)[0].decode()
    assert "ok       lease table: ACTIVE, 0 leases, 0 owners" in text
    assert "\x1b" not in text


def test_a_stream_that_is_not_there_ends_with_1(local: str) -> None:
    arguments = ("doctor", "nowhere", "--endpoint-url", local, "--region", "us-east-1")
    out, _ = run(*arguments, status=1, environment=ENVIRONMENT)
    assert b"failed   stream: ResourceNotFoundException" in out
    assert b"look at the name, the region and the account" in out
