"""`shardpack doctor`: tries what a producer or a consumer will need, and says what is missing."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Annotated, Any, Literal

import typer

from ... import __version__, native
from ...aws.errors import error_of, is_of_sdk
from ...aws.streams import stream_argument
from ..messages import LONGEST_MESSAGE
from ..options import EndpointURL, Profile, Region
from ..terminal import console, json_text, printable

_PACKAGES = ("boto3", "aiobotocore", "pyarrow", "opentelemetry-api", "protobuf", "xxhash")
_SKEW_WARNED, _SKEW_REFUSED = 60.0, 300.0  # seconds; AWS refuses signatures that are five minutes off
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}

Status = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Attributes:
        check: what.
        status: how it is; only ``"failed"`` makes the exit status 1.
        told: what was found.
        remedy: what to do about it.
    """

    check: str
    status: Status
    told: str
    remedy: str = ""


class Doctor:
    """Tries one thing after the other.

    Args:
        session: a boto3 session.
        endpoint_url: of Kinesis and DynamoDB; None: AWS's.
        now: what time it is here.
    """

    def __init__(
        self, session: Any, endpoint_url: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._session = session
        self._endpoint_url = endpoint_url
        self._now = now
        self._dates: list[tuple[datetime, datetime]] = []  # there and here

    def findings(self, stream: str | None, table: str | None, *, put: bool) -> Iterator[Finding]:
        """All of them, as they come."""
        yield from _installation()
        if not (yield from self._account()):
            return
        if stream is None:
            yield Finding("stream", "skipped", "no stream was named", "shardpack doctor STREAM tries it")
        else:
            yield from self._stream(stream, put=put)
        if table is None:
            yield Finding("lease table", "skipped", "no table was named", "--leases TABLE tries it")
        else:
            yield from self._table(table)
        yield self._clock()

    def _account(self) -> Generator[Finding, None, bool]:
        region = self._session.region_name
        if region is None:
            yield Finding("region", "failed", "none is set", "give --region, AWS_DEFAULT_REGION, or one in a profile")
            return False
        yield Finding("region", "ok", region)
        credentials = self._session.get_credentials()
        if credentials is None:
            remedy = "choose a profile (--profile), set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role"
            yield Finding("credentials", "failed", "none were found", remedy)
            return False
        if self._endpoint_url is not None:
            yield Finding("credentials", "ok", f"from {credentials.method}; not tried, because of --endpoint-url")
            return True
        told = yield from self._call("credentials", lambda: self._identity(), _LOGIN)
        if told is None:
            return False
        if "Arn" in told:
            yield Finding("credentials", "ok", f"{told['Arn']}, from {credentials.method}")
        else:
            yield Finding("credentials", "warning", f"from {credentials.method}; not tried: {told['reason']}", _NO_STS)
        return True

    def _identity(self) -> Mapping[str, Any]:
        """What STS says, or why it says nothing: the stream may answer all the same."""
        try:
            answer: Mapping[str, Any] = self._client("sts").get_caller_identity()
        except Exception as error:
            if type(error).__name__ not in _UNREACHED:
                raise
            return {"reason": type(error).__name__}
        return answer

    def _stream(self, stream: str, *, put: bool) -> Iterator[Finding]:
        kinesis, named = self._client("kinesis"), stream_argument(stream)
        told = yield from self._call("stream", lambda: kinesis.describe_stream_summary(**named), _SUMMARY, "warning")
        if told is not None:
            yield _summary(told["StreamDescriptionSummary"])
        shards = yield from self._call("list shards", lambda: kinesis.list_shards(**named), _permit("kinesis"))
        if not shards or not shards["Shards"]:
            return
        yield Finding("list shards", "ok", "kinesis:ListShards is allowed")
        shard = shards["Shards"][-1]["ShardId"]
        yield from self._read(kinesis, named, shard)
        if not put:
            yield Finding(
                "put", "skipped", "nothing was written", "--put writes a record of one byte, which readers see"
            )
            return
        entry = {"Data": b"\n", "PartitionKey": "shardpack doctor"}
        answer = yield from self._call("put", lambda: kinesis.put_records(Records=[entry], **named), _permit("kinesis"))
        if answer is None:
            return
        (result,) = answer["Records"]
        if result.get("ErrorCode"):
            yield Finding(
                "put", "failed", f"{result['ErrorCode']}: {result.get('ErrorMessage')}", "see docs/operating.md"
            )
        else:
            yield Finding("put", "ok", f"stored in {result['ShardId']} at {result['SequenceNumber']}")

    def _read(self, kinesis: Any, named: Mapping[str, str], shard: str) -> Iterator[Finding]:
        def read() -> Any:
            at = kinesis.get_shard_iterator(ShardId=shard, ShardIteratorType="LATEST", **named)["ShardIterator"]
            return kinesis.get_records(ShardIterator=at, Limit=1)

        if (yield from self._call("read", read, _permit("kinesis"))) is not None:
            yield Finding("read", "ok", "kinesis:GetShardIterator and kinesis:GetRecords are allowed")

    def _table(self, table: str) -> Iterator[Finding]:
        dynamodb = self._client("dynamodb")
        remedy = f"{_permit('dynamodb')}; a consumer makes the table when it starts, if it may"
        told = yield from self._call("lease table", lambda: dynamodb.describe_table(TableName=table), remedy)
        if told is None:
            return
        page = yield from self._call("lease table", lambda: dynamodb.scan(TableName=table), _permit("dynamodb"))
        if page is None:
            return
        keys = [one["AttributeName"] for one in told["Table"]["KeySchema"]]
        if keys != ["leaseKey"]:
            yield Finding("lease table", "failed", f"its key is {', '.join(keys)}, not leaseKey", "name another table")
            return
        owners = {item["leaseOwner"]["S"] for item in page["Items"] if "S" in item.get("leaseOwner", {})}
        more = " or more" if "LastEvaluatedKey" in page else ""
        leases = f"{len(page['Items'])}{more} leases, {len(owners)} owners"
        yield Finding("lease table", "ok", f"{told['Table']['TableStatus']}, {leases}")

    def _clock(self) -> Finding:
        if not self._dates:
            return Finding("clock", "skipped", "no answer has told the time")
        there, here = self._dates[-1]
        skew = abs((here - there).total_seconds())
        told = f"{skew:.0f} s off the service's"
        if skew < _SKEW_WARNED:
            return Finding("clock", "ok", told)
        status: Status = "failed" if skew >= _SKEW_REFUSED else "warning"
        return Finding("clock", status, told, "set it (chrony, systemd-timesyncd); AWS refuses what is 300 s off")

    def _client(self, service: str) -> Any:
        from botocore.config import Config

        settings = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2, "mode": "standard"})
        endpoint_url = None if service == "sts" else self._endpoint_url
        return self._session.client(service, endpoint_url=endpoint_url, config=settings)

    def _call(
        self, check: str, call: Callable[[], Any], remedy: str, denied: Status = "failed"
    ) -> Generator[Finding, None, Any]:
        """What a call answers; None, and a finding, if it fails."""
        try:
            answer = call()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what to tell
            self._see(getattr(error, "response", None))
            code, message = error_of(error)
            status = denied if code.startswith("AccessDenied") else "failed"
            yield Finding(check, status, message if code in message else f"{code}: {message}", _remedy(code, remedy))
            return None
        self._see(answer)
        return answer

    def _see(self, answer: Any) -> None:
        try:
            there = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
            if there.tzinfo is None:  # it says -0000: in UTC, and nothing of where it is
                there = there.replace(tzinfo=UTC)
            self._dates.append((there, self._now()))
        except (KeyError, TypeError, ValueError):
            return  # a local server may not tell


_SUMMARY = "producers ask it for the largest record and whether keys are ignored: allow kinesis:DescribeStreamSummary"
_UNREACHED = {
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "EndpointConnectionError",
    "ReadTimeoutError",
    "ResponseParserError",  # of something that is no STS
}
_NO_STS = "STS is not reached, as from a network with no way to it, or with a local server; it is asked for names alone"
_LOGIN = "log in anew (aws sso login), or choose another profile"


def _permit(service: str) -> str:
    return f"allow the {service} action that the message names (examples/operating/policies has whole policies)"


def _remedy(code: str, usual: str) -> str:
    if code == "ResourceNotFoundException":
        return "look at the name, the region and the account"
    if code in ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError"):
        return "look at the endpoint, the region, the proxy and the security groups"
    if code in ("RequestExpired", "SignatureDoesNotMatch", "InvalidSignatureException"):
        return "look at the clock of this machine and at the secret key"
    return usual


def _summary(summary: Mapping[str, Any]) -> Finding:
    mode = summary.get("StreamModeDetails", {}).get("StreamMode", "PROVISIONED")
    told = f"{summary['StreamStatus']}, {mode}, {summary['OpenShardCount']} open shards,"
    told += f" {summary['RetentionPeriodHours']} h of retention"
    if summary["StreamStatus"] not in ("ACTIVE", "UPDATING"):
        return Finding("stream", "failed", told, "wait until it is ACTIVE")
    if summary.get("RecordDistributionStrategy") == "AUTO":
        return Finding(
            "stream", "warning", f"{told}, keys are ignored", "producers send plain records to such a stream"
        )
    return Finding("stream", "ok", told)


def _installation() -> Iterator[Finding]:
    slow = "the pure core is slower: install a wheel, or build with Rust" if native == "pure" else ""
    status: Status = "warning" if slow else "ok"
    yield Finding("shardpack", status, f"{__version__}, core: {native}, Python {platform.python_version()}", slow)
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version_of(name)}")
        except PackageNotFoundError:
            found.append(f"{name} -")
    yield Finding("packages", "ok", ", ".join(found))


def doctor_command(
    stream: Annotated[str | None, typer.Argument(metavar="[STREAM]", help="The stream's name or ARN.")] = None,
    leases: Annotated[str | None, typer.Option(metavar="TABLE", help="The DynamoDB table of the leases.")] = None,
    put: Annotated[bool, typer.Option("--put", help="Also put a record of one byte, which readers will see.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each thing tried.")] = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointURL = None,
) -> None:
    """Try what a producer or a consumer needs, and say what is missing: credentials, stream, permissions, table, clock.

    Nothing is written, unless you ask for it with --put. The exit status is 1 if something failed.
    """
    table = None if leases is None else leases.removeprefix("dynamodb:")
    failed = False
    out = console()
    for one in _all(stream, table, region, profile, endpoint_url, put=put):
        failed = failed or one.status == "failed"
        if as_json:
            typer.echo(json_text(asdict(one)))
            continue
        out.print(f"{one.status:8}", style=_COLOURS[one.status], end="")
        out.print(f" {one.check}: {printable(one.told, most=LONGEST_MESSAGE)}", soft_wrap=True)
        if one.remedy:
            out.print(f"         {one.remedy}", style="dim", soft_wrap=True)
        sys.stdout.flush()
    if failed:
        raise typer.Exit(1)


def _all(
    stream: str | None,
    table: str | None,
    region: str | None,
    profile: str | None,
    endpoint_url: str | None,
    *,
    put: bool,
) -> Iterator[Finding]:
    try:
        import boto3
    except ModuleNotFoundError as error:
        yield from _installation()
        yield Finding("packages", "failed", f"{error.name} is not installed", "pip install 'shardpack[aws]'")
        return
    try:
        session = boto3.session.Session(profile_name=profile, region_name=region)
    except Exception as error:
        if not is_of_sdk(error):
            raise
        yield Finding("profile", "failed", str(error), "look at the names in ~/.aws/config")
        return
    yield from Doctor(session, endpoint_url).findings(stream, table, put=put)
