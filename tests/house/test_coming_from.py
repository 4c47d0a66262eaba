"""The pages on coming from another library: what is ours in them runs, and their tables of settings are right."""

from __future__ import annotations

import inspect
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import servers
from lambda_model import aggregate, event, record
from peer_defaults import AIOKPL, ASYNC_KINESIS, KCL, KPL, KPL_WITHOUT_COUNTERPART, Default
from producer_client import read_all

import shardpack as sp
from shardpack.compat.aws_kinesis_agg import RecordAggregator, deaggregate_records
from shardpack.leases import Leases

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs" / "coming-from").glob("*.md"))}
CLICKS = sorted((f"user-{n % 7}", b'{"page": %d}' % n) for n in range(1000))
MOST_LINES = 120  # two screens

PRODUCER: dict[str, Default] = asdict(sp.ProducerConfig())
CONSUMER: dict[str, Default] = {
    **asdict(sp.ConsumerConfig()),
    "start": inspect.signature(sp.Consumer).parameters["start"].default,
}


def examples(page: str, *, before: bool = False) -> list[str]:
    """The Python of a page: the other library's, which is below the heading "Before", or all the rest."""
    sections = re.split(r"^## ", PAGES[page], flags=re.MULTILINE)
    chosen = [section for section in sections if section.startswith("Before\n") == before]
    return re.findall(r"^```python\n(.*?)^```$", "".join(chosen), re.DOTALL | re.MULTILINE)


def run(page: str, number: int, *, before: bool = False, **names: Any) -> dict[str, Any]:
    """What an example leaves behind, with these names in place of the built-in ones."""
    namespace: dict[str, Any] = {"__name__": "docs", **names}
    source = examples(page, before=before)[number]
    exec(compile(source, f"docs/coming-from/{page}, example {number}", "exec"), namespace)
    return namespace


def collector(out: list[Any], enough: Callable[[], None] | None = None) -> Callable[..., None]:
    """A `print` that keeps what it is given, and ends an example that goes on: when it has given a thousand."""

    def see(*values: Any) -> None:
        out.append(values)
        if enough is not None and len(out) == len(CLICKS):
            enough()

    return see


def run_consumer(page: str, number: int, out: list[Any]) -> dict[str, Any]:
    """What an example leaves behind whose consumer is stopped once it has printed all of `CLICKS`."""
    namespace: dict[str, Any] = {"__name__": "docs"}
    namespace["print"] = collector(out, lambda: namespace["consumer"].stop())
    exec(compile(examples(page)[number], f"docs/coming-from/{page}, example {number}", "exec"), namespace)
    return namespace


def checkpointed(leases: Leases) -> bool:
    """Whether something of a shard is checkpointed, and no worker holds one."""
    found = leases.list()
    return any(one.checkpoint > sp.Position.LATEST for one in found) and {one.owner for one in found} == {None}


@pytest.fixture(scope="module")
def kinesis() -> Iterator[Any]:
    """What the examples find when they make their clients: a local Kinesis and a local DynamoDB."""
    boto3 = pytest.importorskip("boto3")
    with servers.ministack("kinesis,dynamodb") as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        yield servers.client("kinesis", url)


@pytest.fixture
def clicks(kinesis: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """With an empty stream "clicks" of two shards."""
    monkeypatch.chdir(tmp_path)
    servers.create_stream(kinesis, "clicks", 2)
    yield kinesis
    kinesis.delete_stream(StreamName="clicks")


def received(client: Any) -> list[tuple[str | None, bytes]]:
    """What a fleet of KCL workers would be given."""
    return sorted(((record.partition_key, record.data) for _, record in read_all(client, "clicks")), key=repr)


def test_there_is_a_test_for_each_example() -> None:
    assert {page: len(examples(page)) for page in PAGES} == {
        "aiokpl.md": 2,
        "async-kinesis.md": 2,
        "aws_kinesis_agg.md": 4,
        "boto3.md": 3,
        "kcl.md": 1,
        "kpl.md": 1,
    }


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("kcl.md", "kpl.md")])
def test_what_it_was_before_is_python(page: str) -> None:
    (source,) = examples(page, before=True)
    compile(source, page, "exec")


def test_kpl(clicks: Any) -> None:
    printed: list[Any] = []
    run("kpl.md", 0, print=collector(printed))

    ((shard_id, sequence_number, attempts),) = printed
    assert shard_id.startswith("shardId-")
    assert sequence_number.isdecimal()
    assert attempts == 1
    assert received(clicks) == [("user-7", b'{"page": 1}')]


def test_kcl(clicks: Any) -> None:
    for packed in sp.pack(CLICKS, by="key"):
        clicks.put_record(StreamName="clicks", **packed.entry)
    printed: list[Any] = []
    handler = signal.getsignal(signal.SIGTERM)
    try:
        leases = run_consumer("kcl.md", 0, printed)["leases"]
    finally:
        signal.signal(signal.SIGTERM, handler)

    assert sorted(printed) == CLICKS
    assert checkpointed(leases)


def test_unpacking_with_another_import_gives_what_aws_kinesis_agg_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    lambda_event = event(record(7, b'{"page": 0}', "user-0"), aggregate(8, [("user-1", b'{"page": 1}'), ("k", b"x")]))
    printed: list[list[Any]] = [[], [], []]

    for number in (0, 1):
        handler = run("aws_kinesis_agg.md", number, print=collector(printed[number]))["handler"]
        assert handler(lambda_event, None) in (None, {"batchItemFailures": []})
    assert printed[0] == printed[1] == [("user-0", b'{"page": 0}'), ("user-1", b'{"page": 1}'), ("k", b"x")]

    monkeypatch.setattr(sys, "path", list(sys.path))  # aws_kinesis_agg puts folders in front
    pytest.importorskip("aws_kinesis_agg.deaggregator")
    run("aws_kinesis_agg.md", 0, before=True, print=collector(printed[2]))["handler"](lambda_event, None)
    assert printed[2] == printed[0]


def test_packing_with_another_import_and_with_the_producer(clicks: Any) -> None:
    run("aws_kinesis_agg.md", 2)
    assert received(clicks) == CLICKS
    run("aws_kinesis_agg.md", 3)
    assert received(clicks) == sorted(CLICKS * 2)


def test_aiokpl(clicks: Any) -> None:
    pytest.importorskip("aiobotocore")
    printed: list[Any] = []
    for number in range(2):
        run("aiokpl.md", number, print=collector(printed))

    assert [values[0][:8] for values in printed] == ["shardId-"] * 2
    assert received(clicks) == [("user-7", b'{"page": 1}')] * 2


def test_aiokpl_when_a_record_fails(clicks: Any) -> None:
    pytest.importorskip("aiobotocore")
    clicks.delete_stream(StreamName="clicks")
    printed: list[Any] = []
    run("aiokpl.md", 0, print=collector(printed))
    servers.create_stream(clicks, "clicks", 2)

    assert printed == [("failed:", "ResourceNotFoundException")]


@pytest.mark.usefixtures("clicks")
def test_async_kinesis(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiobotocore")
    made: list[sp.AsyncConsumer] = []

    class Kept(sp.AsyncConsumer):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            made.append(self)

    monkeypatch.setattr(sp, "AsyncConsumer", Kept)
    printed: list[Any] = []
    run("async-kinesis.md", 0)
    run("async-kinesis.md", 1, print=collector(printed, lambda: made[0].stop()))

    assert sorted(message["page"] for (message,) in printed) == list(range(1000))
    assert checkpointed(sp.DynamoDBLeases("dashboard"))


def test_boto3(clicks: Any) -> None:
    run("boto3.md", 1)
    read = run("boto3.md", 0)["read"]
    shards = [shard["ShardId"] for shard in clicks.list_shards(StreamName="clicks")["Shards"]]
    assert sorted((record.partition_key, record.data) for shard in shards for record in read(shard)) == CLICKS

    printed: list[Any] = []
    run_consumer("boto3.md", 2, printed)
    assert sorted(printed) == CLICKS
    assert checkpointed(sp.SQLiteLeases("clicks.db"))


def settings(page: str) -> list[tuple[str, str, str, str]]:
    """The rows of a table of settings: theirs, its default, ours, its default."""
    found = re.findall(r"^\| `(\w+)` \| ([^|]+) \| `(\w+)`[^|]* \| ([^|]+) \|$", PAGES[page], re.MULTILINE)
    return [(theirs, default, ours, our_default) for theirs, default, ours, our_default in found]


def told(cell: str) -> Default:
    """A default as a table tells it, without its unit."""
    text = cell.strip("`")
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.startswith('"'):
        return text.strip('"')
    return float(text.replace(",", "").removesuffix(" ms").removesuffix(" s"))


@pytest.mark.parametrize(
    ("page", "theirs", "ours"),
    [
        ("kpl.md", KPL, PRODUCER),
        ("kcl.md", KCL, CONSUMER),
        ("aiokpl.md", AIOKPL, PRODUCER),
        ("async-kinesis.md", ASYNC_KINESIS, {**CONSUMER, **PRODUCER}),
    ],
)
def test_the_tables_of_settings_tell_both_defaults(
    page: str, theirs: Mapping[str, Default], ours: Mapping[str, Default]
) -> None:
    rows = settings(page)
    assert {name: told(default) for name, default, _, _ in rows} == theirs
    assert {name: told(default) for _, _, name, default in rows} == {name: ours[name] for _, _, name, _ in rows}
    for theirs_name, default, name, our_default in rows:
        assert our_default.endswith(" s") == isinstance(ours[name], float), name
        assert default.endswith((" s", " ms")) == isinstance(ours[name], float), theirs_name


def test_the_defaults_are_the_kpls() -> None:
    for name, default, _, our_default in settings("kpl.md"):
        in_milliseconds = default.endswith(" ms")
        theirs = told(default)
        assert told(our_default) == (float(theirs) / 1000 if in_milliseconds else theirs), name


def test_every_setting_of_the_kpl_and_of_the_producer_is_there() -> None:
    named = set(re.findall(r"`(\w+)`", PAGES["kpl.md"]))
    assert named >= KPL.keys() | KPL_WITHOUT_COUNTERPART
    assert named >= PRODUCER.keys()


@pytest.mark.parametrize("page", PAGES)
def test_an_argument_that_the_text_names_is_there(page: str) -> None:
    takers = (sp.Producer, sp.ProducerConfig, sp.Consumer, sp.ConsumerConfig, sp.Consumer.run, sp.DynamoDBLeases)
    more = (Future.result, RecordAggregator, deaggregate_records)
    ours = {name for taker in (*takers, *more) for name in inspect.signature(taker).parameters}
    text = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"\b([a-z_]+)=", " ".join(re.findall(r"`([^`]+)`", text))))
    assert named - ours <= {"success", "retries", "total_max_attempts"}  # aiokpl's and botocore's


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_two_screens_and_is_found_from_the_readme(page: str) -> None:
    assert len(PAGES[page].splitlines()) <= MOST_LINES
    assert f"](docs/coming-from/{page})" in (ROOT / "README.md").read_text("utf-8")
    for heading in ("Before", "What changes", "What to measure", "How to go back"):
        assert re.search(rf"^## {heading}", PAGES[page], re.MULTILINE), heading
