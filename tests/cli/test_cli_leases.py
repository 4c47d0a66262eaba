"""`shardpack leases`, as a user's shell runs it, on a file and on a local DynamoDB."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import servers
from command_line import json_lines, run, started_warm
from lease_steps import LONG as SEQUENCE_NUMBER
from lease_steps import created, only, taken

import shardpack as sp
from shardpack.cli.commands.leases import check, lag
from shardpack.cli.commands.leases import commands as cli
from shardpack.cli.commands.leases.reset import reset_command
from shardpack.cli.commands.leases.watching import Watching
from shardpack.cli.reading import InputError
from shardpack.leases.lease import Lease, Leases
from shardpack.testing import FakeKinesis, ManualClock

NAMES = iter(f"fleet-{n}" for n in range(1000))
Store: TypeAlias = tuple[Leases, list[str]]  # and how the command line names it

SPLIT = Lease(
    "shardId-000000000000",
    owner="worker-1",
    counter=7,
    checkpoint=sp.Position.SHARD_END,
    children=("shardId-000000000001", "shardId-000000000002"),
)
CHILD = Lease(
    "shardId-000000000001",
    checkpoint=sp.Position(SEQUENCE_NUMBER, 12),
    owner_switches=3,
    parents=("shardId-000000000000",),
    hash_range=(0, 2**127 - 1),
)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[str]:
    pytest.importorskip("boto3")
    with servers.dynalite() as url:
        yield url


@pytest.fixture(params=["sqlite", "dynamodb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        made: Leases = sp.SQLiteLeases(tmp_path / "app.db")
        made.prepare()
        return made, [f"sqlite:{tmp_path / 'app.db'}"]
    url, name = request.getfixturevalue("dynamodb"), next(NAMES)
    made = sp.DynamoDBLeases(name, client=servers.client("dynamodb", url))
    made.prepare()
    return made, [f"dynamodb:{name}", "--endpoint-url", url, "--region", "us-east-1"]


def leases_command(command: str, store: Store, *arguments: str, status: int = 0) -> tuple[str, str]:
    name, *where = store[1]
    out, error = run("leases", command, name, *arguments, *where, status=status)
    return out.decode(), error


@contextmanager
def renewing(leases: Leases, lease: Lease) -> Iterator[list[Exception]]:
    """A worker that is alive; what it met in the end."""
    stop, met = threading.Event(), list[Exception]()

    def work() -> None:
        held = lease
        while not stop.wait(0.05):
            try:
                held = leases.renew(held)
            except sp.LeaseLostError as error:
                met.append(error)
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield met
    finally:
        stop.set()
        thread.join()


class TestShow:
    def test_a_table(self, store: Store) -> None:
        for lease in (CHILD, SPLIT, Lease("s", owner="new", checkpoint_owner="old")):
            created(store[0], lease)

        out, error = leases_command("show", store)

        assert error == ""
        assert [line.split() for line in out.splitlines()] == [
            ["shard", "owner", "counter", "checkpoint", "sub", "switches", "parents", "children"],
            ["s", "new", "(from", "old)", "0", "TRIM_HORIZON", "0", "0", "-", "-"],
            [SPLIT.key, "worker-1", "7", "SHARD_END", "0", "0", "-", *SPLIT.children],
            [CHILD.key, "-", "0", SEQUENCE_NUMBER, "12", "3", *CHILD.parents, "-"],
        ]

    def test_json(self, store: Store) -> None:
        created(store[0], CHILD)

        out, _ = leases_command("show", store, "--json")

        assert json_lines(out.encode()) == [
            {
                "shard": CHILD.key,
                "owner": None,
                "counter": 0,
                "checkpoint": SEQUENCE_NUMBER,
                "sub_sequence_number": 12,
                "owner_switches": 3,
                "parents": [SPLIT.key],
                "children": [],
                "hash_range": ["0", str(2**127 - 1)],
                "checkpoint_owner": None,
                "origin": None,
                "done_until": None,
            }
        ]

    def test_how_far_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = ManualClock(1_800_000_000.0)
        kinesis = FakeKinesis(streams={"clicks": 1}, clock=clock)
        shard = "shardId-000000000000"
        for _ in range(3):
            kinesis.put_record(StreamName="clicks", PartitionKey="k", Data=b"d")
            clock.advance(60)
        numbers = [record["SequenceNumber"] for record in kinesis.records(shard)]
        first = kinesis.list_shards(StreamName="clicks")["Shards"][0]["SequenceNumberRange"]["StartingSequenceNumber"]
        monkeypatch.setattr(lag, "kinesis_client", lambda *_: kinesis)

        def behind(checkpoint: sp.Position, key: str = shard) -> int | str | None:
            lease = Lease(key, checkpoint=checkpoint, origin=f"clicks/{first}")
            return lag.millis_behind("clicks", [lease], None, None)[key]

        # As Kinesis counts: from now back to the record that comes next.
        assert behind(sp.Position.TRIM_HORIZON) == 180_000
        assert behind(sp.Position(numbers[0], 5)) == 120_000
        assert behind(sp.Position(numbers[2])) == behind(sp.Position.SHARD_END) == 0
        assert behind(sp.Position.LATEST) is None
        assert behind(sp.Position.TRIM_HORIZON, "shardId-000000000009") is None

    def test_a_stream_is_asked(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("botocore", minversion="1.31", reason="AWS_ENDPOINT_URL_KINESIS is not known before")
        created(store[0], Lease("shardId-000000000000"))
        with servers.kinesalite() as url:
            servers.create_stream(servers.client("kinesis", url), "clicks", 1)
            monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", url)
            stream = ("--stream", "clicks", "--region", "us-east-1")
            out, _ = leases_command("show", store, *stream)
            assert out.splitlines()[0].split()[-1] == "behind"
            assert out.splitlines()[1].split()[-1] == "0:00:00"
            (told,) = json_lines(leases_command("show", store, "--json", *stream)[0].encode())
            assert told["millis_behind_latest"] == 0
            if store[1][0].startswith("sqlite:"):  # a file may be named by its path alone; the region is the stream's
                by_path = store[0], [store[1][0].removeprefix("sqlite:")]
                assert leases_command("show", by_path, *stream)[0] == out
            out, error = leases_command("show", store, "--stream", "no-such", "--region", "us-east-1", status=1)
            assert "no-such" in error
            assert SPLIT.key in out, "the leases are worth a look all the same"

    def test_a_lease_of_a_stream_that_is_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kinesis = FakeKinesis(streams={"clicks": 3})
        monkeypatch.setattr(lag, "kinesis_client", lambda *_: kinesis)
        kinesis.put_record(StreamName="clicks", PartitionKey="k", Data=b"d", ExplicitHashKey=str(2**128 - 1))
        of_shard_2 = kinesis.records("shardId-000000000002")[0]["SequenceNumber"]
        leases = [
            Lease("shardId-000000000000", checkpoint=sp.Position("1")),
            Lease("shardId-000000000001", checkpoint=sp.Position(of_shard_2)),
            Lease("shardId-000000000002", checkpoint=sp.Position(of_shard_2)),
        ]
        behind = lag.millis_behind("clicks", leases, None, None)
        assert [behind[lease.key] for lease in leases] == [lag.OF_ANOTHER, lag.OF_ANOTHER, 0]

    @pytest.mark.parametrize(
        ("raised", "told", "what"),
        [
            (KeyError("Shards"), KeyError, "Shards"),
            (ValueError("Invalid endpoint: x"), InputError, "Invalid endpoint: x"),
            (ConnectionError("reset"), InputError, "the stream clicks .*: ConnectionError: reset"),
        ],
    )
    def test_what_is_no_answer_of_the_stream(
        self, raised: Exception, told: type[Exception], what: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Broken:
            def list_shards(self, **_more: object) -> None:
                raise raised

        for module in (lag, check):
            monkeypatch.setattr(module, "kinesis_client", lambda *_: Broken())
        with pytest.raises(told, match=what):
            lag.millis_behind("clicks", [], None, None)
        with pytest.raises(told, match=what):
            check.doubt_about(sp.Position("1"), "shardId-000000000000", "clicks", None, None)

    def test_changes_nothing(self, store: Store) -> None:
        mine = taken(store[0], created(store[0], CHILD))
        leases_command("show", store)
        assert only(store[0]) == mine


class TestSet:
    @pytest.mark.parametrize(
        ("text", "position"),
        [
            ("TRIM_HORIZON", sp.Position.TRIM_HORIZON),
            ("LATEST", sp.Position.LATEST),
            ("SHARD_END", sp.Position.SHARD_END),
            (SEQUENCE_NUMBER, sp.Position(SEQUENCE_NUMBER)),
            (f"{SEQUENCE_NUMBER}:7", sp.Position(SEQUENCE_NUMBER, 7)),
        ],
    )
    def test_a_free_lease(self, store: Store, text: str, position: sp.Position) -> None:
        created(store[0], CHILD)

        out, _ = leases_command("set", store, CHILD.key, text, "--yes")

        after = dataclasses.replace(CHILD, checkpoint=position, counter=3, owner_switches=0)
        assert only(store[0]) == after
        number = f"{text}:0" if text == SEQUENCE_NUMBER else text
        assert out.splitlines() == [
            f"before: owner nobody, counter 0, checkpoint {SEQUENCE_NUMBER}:12",
            f"after:  owner nobody, counter 3, checkpoint {number}",
        ]

    def test_of_a_worker_that_is_dead(self, store: Store) -> None:
        mine = taken(store[0], created(store[0], CHILD), "dead")

        leases_command("set", store, CHILD.key, "TRIM_HORIZON", "--yes", "--watch", "0.3")

        assert (only(store[0]).owner, only(store[0]).checkpoint) == (None, sp.Position.TRIM_HORIZON)
        with pytest.raises(sp.LeaseLostError):  # it was only asleep
            store[0].checkpoint(mine, sp.Position("9"))

    def test_of_a_worker_that_is_alive_is_refused(self, store: Store) -> None:
        mine = taken(store[0], created(store[0], CHILD), "worker-1")
        with renewing(store[0], mine) as met:
            out, error = leases_command("set", store, CHILD.key, "LATEST", "--yes", "--watch", "20", status=1)

        assert (met, out) == ([], "")
        assert error.startswith(f"shardpack: worker-1 is alive and renews the lease of {CHILD.key}, so nothing")
        assert error.count("\n") == 1
        assert (only(store[0]).owner, only(store[0]).checkpoint) == ("worker-1", CHILD.checkpoint)

    def test_of_a_worker_that_is_alive_by_force(self, store: Store) -> None:
        mine = taken(store[0], created(store[0], CHILD), "worker-1")
        with renewing(store[0], mine) as met:
            leases_command("set", store, CHILD.key, "LATEST", "--yes", "--force")
            while not met:
                time.sleep(0.01)

        assert isinstance(met[0], sp.LeaseLostError)
        assert (only(store[0]).owner, only(store[0]).checkpoint) == (None, sp.Position.LATEST)

    @pytest.mark.parametrize("text", ["", "soon", "AT_TIMESTAMP", "1:", "1:x", "1:-1", ":1", "1:2:3", "-5", "٣"])
    def test_a_position_that_is_none(self, store: Store, text: str) -> None:
        created(store[0], CHILD)
        name, *where = store[1]
        _, error = run("leases", "set", *where, name, CHILD.key, "--", text, status=2)
        assert "POSITION is" in error
        assert only(store[0]) == CHILD


class TestSetIsChecked:
    """By the stream where one is named, else by whoever types it."""

    @pytest.fixture
    def kinesis(self, monkeypatch: pytest.MonkeyPatch) -> FakeKinesis:
        kinesis = FakeKinesis(streams={"clicks": 2, "other": 2})
        monkeypatch.setattr(check, "kinesis_client", lambda *_: kinesis)
        return kinesis

    def put(self, kinesis: FakeKinesis, stream: str) -> tuple[str, str]:
        """Shard and sequence number of an aggregate of three."""
        blob = sp.encode([("k", b"0"), ("k", b"1"), ("k", b"2")])
        answer = kinesis.put_record(StreamName=stream, Data=blob, PartitionKey="k")
        return answer["ShardId"], answer["SequenceNumber"]

    def doubt(self, shard: str, number: str, sub: int = 0, stream: str = "clicks") -> str | None:
        return check.doubt_about(sp.Position(number, sub), shard, stream, None, None)

    def test_what_the_stream_has(self, kinesis: FakeKinesis) -> None:
        shard, number = self.put(kinesis, "clicks")
        for sub in (0, 1, 2):
            assert self.doubt(shard, number, sub) is None
        assert self.doubt(shard, "TRIM_HORIZON") is None
        assert self.doubt(shard, "LATEST") is None

    def test_what_it_has_not(self, kinesis: FakeKinesis) -> None:
        shard, number = self.put(kinesis, "clicks")
        with pytest.raises(InputError, match="has 3 user records; the last one's sub-sequence number is 2, not 3"):
            self.doubt(shard, number, 3)
        with pytest.raises(InputError, match="has no shard 'shardId-000000000009'; it has 2: "):
            self.doubt("shardId-000000000009", number)
        with pytest.raises(InputError, match="is open, so SHARD_END would skip"):
            self.doubt(shard, "SHARD_END")
        with pytest.raises(InputError, match="whose sequence numbers run from"):
            self.doubt(shard, "5")
        with pytest.raises(InputError, match=r"cannot say whether it has the sequence number .*ResourceNotFound"):
            self.doubt(shard, number, stream="nowhere")
        assert "has no record with the sequence number" in str(self.doubt(shard, str(int(number) + 1)))

    def test_the_end_of_a_shard_that_has_ended(self, kinesis: FakeKinesis) -> None:
        shard, number = self.put(kinesis, "clicks")
        middle = 2**126 if shard.endswith("0") else 2**127 + 2**126
        kinesis.split_shard(StreamName="clicks", ShardToSplit=shard, NewStartingHashKey=str(middle))
        assert self.doubt(shard, "SHARD_END") is None
        assert self.doubt(shard, number, 2) is None

    def test_a_sequence_number_of_another_stream_changes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By a real local server."""
        pytest.importorskip("botocore", minversion="1.31", reason="AWS_ENDPOINT_URL_KINESIS is not known before")
        path = tmp_path / "app.db"
        leases = sp.SQLiteLeases(path)
        leases.prepare()
        with servers.kinesalite() as url:
            client = servers.client("kinesis", url)
            numbers = {}
            for stream in ("clicks", "other"):
                servers.create_stream(client, stream, 1)
                answer = client.put_record(StreamName=stream, PartitionKey="k", Data=b"d")
                numbers[stream] = answer["SequenceNumber"]
                time.sleep(1.1)  # kinesalite tells streams apart by the second in which they were made
            shard = answer["ShardId"]
            good = Lease(shard, checkpoint=sp.Position(numbers["clicks"]))
            created(leases, good)
            monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", url)
            where = ["--stream", "clicks", "--region", "us-east-1"]
            _, error = run("leases", "set", f"sqlite:{path}", shard, numbers["other"], *where, "--yes", status=1)
            assert error.startswith(f"shardpack: the sequence number {numbers['other']} is none of {shard} of clicks")
            assert only(leases) == good
            run("leases", "set", f"sqlite:{path}", shard, numbers["clicks"], *where)
            assert only(leases).checkpoint == good.checkpoint
            assert only(leases).counter > good.counter

    def test_without_a_stream_it_wants_a_yes(self, store: Store) -> None:
        created(store[0], CHILD)
        _, error = leases_command("set", store, CHILD.key, "LATEST", status=1)
        assert error == (
            f"shardpack: {CHILD.key} has owner nobody, counter 0, checkpoint {SEQUENCE_NUMBER}:12, which LATEST would"
            " overwrite, and no --stream was named to check it; to do it all the same, add --yes\n"
        )
        assert only(store[0]) == CHILD

    @pytest.mark.parametrize(("answer", "position"), [(b"y\n", sp.Position.LATEST), (b"n\n", CHILD.checkpoint)])
    def test_at_a_terminal_it_asks(self, tmp_path: Path, answer: bytes, position: sp.Position) -> None:
        leases = sp.SQLiteLeases(tmp_path / "app.db")
        created(leases, CHILD)
        ours, theirs = os.openpty()
        command = [*started_warm(), "leases", "set", f"sqlite:{tmp_path / 'app.db'}", CHILD.key, "LATEST"]
        with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            os.write(ours, answer)
            out, _ = process.communicate(timeout=60)
        os.close(ours)
        os.close(theirs)
        assert b"Do it all the same?" in out
        assert only(leases).checkpoint == position
        assert process.returncode == (0 if position == sp.Position.LATEST else 1)


class TestOnlyLooking:
    def test_an_empty_file_stays_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "empty.log"
        path.touch()
        commands = (
            ["show"],
            ["set", "s", "LATEST", "--yes"],
            ["release", "s"],
            ["delete", "s"],
            ["delete", "s", "--yes"],
        )
        for command, *arguments in commands:
            _, error = run("leases", command, f"sqlite:{path}", *arguments, status=1)
            assert error.startswith(f"shardpack: {path} is empty, no lease file yet; give the one that")
            assert path.read_bytes() == b""
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("command", [["show"], ["show", "--json"], ["delete", CHILD.key]])
    def test_a_file_that_nobody_may_write(self, tmp_path: Path, command: list[str]) -> None:
        """Not a byte and not a time of it changes, and nothing appears beside it."""
        folder = tmp_path / "folder"
        folder.mkdir()
        leases = sp.SQLiteLeases(folder / "app.db")
        created(leases, CHILD)
        before = (folder / "app.db").read_bytes(), (folder / "app.db").stat().st_mtime_ns
        (folder / "app.db").chmod(0o444)
        folder.chmod(0o555)
        try:
            out, error = run(
                "leases", command[0], f"sqlite:{folder / 'app.db'}", *command[1:], status=int(command[0] == "delete")
            )
        finally:
            folder.chmod(0o755)
        assert CHILD.key in out.decode() + error
        assert ((folder / "app.db").read_bytes(), (folder / "app.db").stat().st_mtime_ns) == before
        assert [one.name for one in folder.iterdir()] == ["app.db"]

    def test_while_a_worker_writes(self, tmp_path: Path) -> None:
        leases = sp.SQLiteLeases(tmp_path / "app.db")
        with renewing(leases, taken(leases, created(leases, CHILD))) as met:
            for _ in range(3):
                assert run("leases", "show", f"sqlite:{tmp_path / 'app.db'}")[1] == ""
        assert met == []

    def test_what_would_write_is_refused(self, tmp_path: Path) -> None:
        created(sp.SQLiteLeases(tmp_path / "app.db"), CHILD)
        looking = sp.SQLiteLeases(tmp_path / "app.db", read_only=True)
        assert only(looking) == CHILD
        with pytest.raises(sp.LeaseStoreError, match="opened to look only"):
            looking.take(CHILD, "me")


class TestRelease:
    def test_keeps_the_checkpoint(self, store: Store) -> None:
        taken(store[0], created(store[0], CHILD))

        out, _ = leases_command("release", store, CHILD.key)

        assert only(store[0]) == dataclasses.replace(CHILD, counter=2)
        assert out.startswith("before: owner me, counter 1, ")
        assert "\nafter:  owner nobody, counter 2, " in out
        out, _ = leases_command("release", store, CHILD.key)
        assert out == f"{CHILD.key} is nobody's already\n"

    def test_a_worker_that_is_alive_is_told(self, store: Store) -> None:
        mine = taken(store[0], created(store[0], CHILD))
        with renewing(store[0], mine) as met:
            leases_command("release", store, CHILD.key)
            while not met:
                time.sleep(0.01)
        assert only(store[0]).owner is None


class TestDelete:
    def test_only_when_one_means_it(self, store: Store) -> None:
        created(store[0], CHILD)

        _, error = leases_command("delete", store, CHILD.key, status=1)
        assert f"{CHILD.key} has owner nobody, counter 0, checkpoint {SEQUENCE_NUMBER}:12; to delete" in error
        assert only(store[0]) == CHILD

        out, _ = leases_command("delete", store, CHILD.key, "--yes")
        assert out.startswith(f"deleted {CHILD.key}: owner nobody")
        assert store[0].list() == []

    def test_of_a_worker_that_is_alive_only_by_force(self, store: Store) -> None:
        mine = taken(store[0], created(store[0], CHILD))
        with renewing(store[0], mine):
            leases_command("delete", store, CHILD.key, "--yes", status=1)
            assert only(store[0]).owner == "me"
            with suppress(AssertionError):  # it may be refused while the worker is quick
                leases_command("delete", store, CHILD.key, "--yes", "--force")
                assert store[0].list() == []


class TestWatch:
    def test_what_has_changed_between_two_looks(self) -> None:
        now = [1_800_000_100.0]
        watching = Watching(lambda: now[0])
        mine = Lease("a", owner="me", counter=5, checkpoint=sp.Position("7", 2), done_until=1_800_000_000)
        java = Lease("b", owner="java", counter=1, checkpoint=sp.Position("9"))
        assert watching.rows([mine, java], {"a": 61_000, "b": None}) == [
            ["a", "me", "-", "7:2", "0:01:40", "0:01:01"],
            ["b", "java", "-", "9:0", "> 0:00:00", "-"],
        ]
        now[0] += 10
        mine = dataclasses.replace(mine, counter=8, done_until=1_800_000_109, checkpoint=sp.Position("8"))
        assert watching.rows([mine, java], None) == [
            ["a", "me", "3", "8:0", "0:00:01"],
            ["b", "java", "0", "9:0", "> 0:00:10"],
        ]

    def test_on_the_command_line(self, store: Store) -> None:
        mine = taken(store[0], created(store[0], CHILD))
        out, _ = leases_command("show", store, "--watch", "--every", "0.1", "--looks", "2")
        lines = out.splitlines()
        assert [line.split()[:2] for line in lines if CHILD.key in line] == [[CHILD.key, "me"]] * 2
        assert "renewals" in lines[1]
        assert only(store[0]) == mine
        _, error = leases_command("show", store, "--watch", "--json", status=2)
        assert "choose one of" in error


class TestReset:
    @pytest.fixture(autouse=True)
    def kinesis(self, monkeypatch: pytest.MonkeyPatch) -> FakeKinesis:
        kinesis = FakeKinesis(streams={"clicks": 2})
        monkeypatch.setattr(lag, "kinesis_client", lambda *_: kinesis)
        return kinesis

    def fill(self, path: Path, kinesis: FakeKinesis) -> tuple[sp.SQLiteLeases, Lease]:
        """A lease of the stream, one of the stream that it was before, and one of a shard that it has no more."""
        leases = sp.SQLiteLeases(path)
        leases.claim("clicks")
        first = kinesis.list_shards(StreamName="clicks")["Shards"][1]["SequenceNumberRange"]["StartingSequenceNumber"]
        good = created(leases, Lease("shardId-000000000001", checkpoint=sp.Position(first), origin=f"clicks/{first}"))
        created(leases, Lease("shardId-000000000000", checkpoint=sp.Position("1"), origin="clicks/1"))
        created(leases, Lease("shardId-000000000007", checkpoint=sp.Position("1")))
        return leases, good

    def test_of_a_stream_that_was_made_again(
        self, tmp_path: Path, kinesis: FakeKinesis, capsys: pytest.CaptureFixture[str]
    ) -> None:
        leases, good = self.fill(tmp_path / "app.db", kinesis)
        store = f"sqlite:{tmp_path / 'app.db'}"
        with pytest.raises(InputError, match=r"to delete 2 leases, .* add --yes"):
            reset_command(store, "clicks")
        assert len(leases.list()) == 3
        assert "shardId-000000000000: owner nobody, counter 0, checkpoint 1:0" in capsys.readouterr().out
        reset_command(store, "clicks", yes=True)
        assert leases.list() == [good]
        reset_command(store, "clicks", yes=True)
        assert "there is no lease to delete" in capsys.readouterr().out
        assert leases.list() == [good]

    def test_of_everything_also_gives_the_file_free_for_another_stream(
        self, tmp_path: Path, kinesis: FakeKinesis
    ) -> None:
        leases, _ = self.fill(tmp_path / "app.db", kinesis)
        with pytest.raises(sp.LeaseStoreError, match=r"'clicks'.*'orders'"):
            leases.claim("orders")
        reset_command(f"sqlite:{tmp_path / 'app.db'}", yes=True)
        assert leases.list() == []
        leases.claim("orders")

    def test_a_worker_that_is_alive_keeps_all(self, tmp_path: Path, kinesis: FakeKinesis) -> None:
        leases, good = self.fill(tmp_path / "app.db", kinesis)
        store = f"sqlite:{tmp_path / 'app.db'}"
        with renewing(leases, taken(leases, good)) as lost:
            with pytest.raises(InputError, match="me is alive and renews the lease of shardId-000000000001"):
                reset_command(store, yes=True, watch=0.5)
            assert len(leases.list()) == 3
            assert not lost

    def test_on_the_command_line(self, store: Store) -> None:
        created(store[0], CHILD)
        _, error = leases_command("reset", store, status=1)
        assert "to delete 1 lease, checkpoints and all, add --yes" in error
        assert only(store[0]) == CHILD
        out, _ = leases_command("reset", store, "--yes")
        assert "deleted 1 lease" in out
        assert store[0].list() == []


class TestErrors:
    def test_a_shard_without_a_lease(self, store: Store) -> None:
        for key in "abcd":
            created(store[0], Lease(key))
        for command in (["set", "x", "LATEST"], ["release", "x"], ["delete", "x", "--yes"]):
            _, error = leases_command(command[0], store, *command[1:], status=1)
            assert error == "shardpack: there is no lease 'x'; there are 4: a, b, c, ...\n"

    @pytest.mark.parametrize("name", ["app.db", "sqlite:", "redis:x", ""])
    def test_a_store_of_no_kind(self, name: str) -> None:
        _, error = run("leases", "show", name, status=2)
        assert "give sqlite:PATH or" in error

    def test_a_file_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        _, error = run("leases", "show", f"sqlite:{tmp_path / 'none.db'}", status=1)

        remedy = "give the one that the consumer's SQLiteLeases have"
        assert error == f"shardpack: {tmp_path / 'none.db'}: no such file; {remedy}\n"
        assert list(tmp_path.iterdir()) == []

    def test_a_file_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("text " * 100)
        _, error = run("leases", "show", f"sqlite:{tmp_path / 'text'}", status=1)
        assert "a file of their own" in error
        assert error.count("\n") == 1

    def test_options_that_do_not_belong(self, tmp_path: Path) -> None:
        _, error = run("leases", "show", f"sqlite:{tmp_path / 'x'}", "--region", "us-east-1", status=2)
        assert "are for" in error

    def test_a_table_that_is_not_there_is_not_made(self, dynamodb: str) -> None:
        where = ["--endpoint-url", dynamodb, "--region", "us-east-1"]
        _, error = run("leases", "show", "dynamodb:none", *where, status=1)
        assert error.startswith("shardpack: the lease table 'none' does not exist")
        assert error.count("\n") == 1
        client: Any = servers.client("dynamodb", dynamodb)
        assert "none" not in client.list_tables()["TableNames"]

    def test_no_region(self) -> None:
        _, error = run("leases", "show", "dynamodb:none", status=1)
        assert "NoRegionError" in error
        assert error.count("\n") == 1

    def test_without_boto3(self) -> None:
        source = "import sys; sys.modules['boto3'] = None; from shardpack.cli import main; main()"
        command = [sys.executable, "-c", source, "leases", "show", "dynamodb:none"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (
            1,
            "shardpack: DynamoDBLeases needs boto3: pip install 'shardpack[aws]'\n",
        )


class Quick(sp.MemoryLeases):
    """Leases whose worker renews between an operator's reading and writing, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        taken(self, created(self, CHILD), "worker-1")

    def list(self) -> list[Lease]:
        listed = super().list()
        if self.times:
            self.times -= 1
            self.renew(listed[0])
        return listed


@pytest.mark.parametrize("times", [0, 1, 3, 100])
@pytest.mark.parametrize("command", ["set", "release", "delete"])
def test_a_worker_that_is_always_quicker(command: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Quick(times)
    monkeypatch.setattr(cli, "opened", lambda *_, **__: store)
    commands: dict[str, Callable[[], None]] = {
        "set": lambda: cli.set_command("x", CHILD.key, "LATEST", force=True, yes=True),
        "release": lambda: cli.release_command("x", CHILD.key),
        "delete": lambda: cli.delete_command("x", CHILD.key, yes=True, force=True),
    }

    if times == 100:
        with pytest.raises(InputError, match="worker-1 is alive"):
            commands[command]()
    else:
        commands[command]()
    store.times = 0
    left = [lease.owner for lease in store.list()]
    assert left == (["worker-1"] if times == 100 else [] if command == "delete" else [None])


def test_a_worker_that_wakes_up_at_the_last_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Quick(1)
    monkeypatch.setattr(cli, "opened", lambda *_, **__: store)

    commands: list[Callable[[], None]] = [
        lambda: cli.set_command("x", CHILD.key, "LATEST", watch=0.0, yes=True),
        lambda: cli.delete_command("x", CHILD.key, yes=True, watch=0.0),
    ]
    for command in commands:
        store.times = 1
        with pytest.raises(InputError, match="worker-1 is alive"):
            command()
    assert only(store).checkpoint == CHILD.checkpoint


def test_a_consumer_reads_on_from_where_it_is_set(tmp_path: Path) -> None:
    kinesis = FakeKinesis(streams={"clicks": 1})
    blob = sp.encode([("k", b"0"), ("k", b"1"), ("k", b"2")])
    number = kinesis.put_record(StreamName="clicks", Data=blob, PartitionKey="k")["SequenceNumber"]
    path = tmp_path / "app.db"

    def read(most: int) -> list[bytes]:
        got: list[bytes] = []
        with sp.Consumer("clicks", client=kinesis, leases=sp.SQLiteLeases(path)) as consumer:
            while len(got) < most:
                batch = consumer.next_batch()
                assert batch is not None
                got += [record.data for record in batch]
                batch.checkpoint()
        return got

    assert read(3) == [b"0", b"1", b"2"]
    for position, rest in [("TRIM_HORIZON", [b"0", b"1", b"2"]), (number, [b"1", b"2"]), (f"{number}:1", [b"2"])]:
        run("leases", "set", f"sqlite:{path}", "shardId-000000000000", position, "--yes")
        assert read(len(rest)) == rest


def test_a_checkpoint_that_was_set_says_nothing_of_when_all_was_done(tmp_path: Path) -> None:
    """Else a consumer took what has expired since the new checkpoint for read, and told of no loss."""
    leases = sp.SQLiteLeases(tmp_path / "leases.db")
    created(leases, Lease("s", checkpoint=sp.Position("9", 1), done_until=1_800_000_000))
    for position, known in (("9:1", 1_800_000_000), ("5", None)):
        run("leases", "set", f"sqlite:{tmp_path / 'leases.db'}", "s", position, "--yes", "--watch", "0")
        assert only(leases).done_until == known


@pytest.mark.parametrize("seconds", ["inf", "1e308", "nan", "-1", "86401"])
def test_a_wait_that_no_clock_can_wait_is_refused(seconds: str, tmp_path: Path) -> None:
    created(sp.SQLiteLeases(tmp_path / "leases.db"), Lease("s"))
    store = f"sqlite:{tmp_path / 'leases.db'}"
    for more in (
        ("show", store, "--watch", "--looks", "2", "--every", seconds),
        ("reset", store, "--yes", "--watch", seconds),
        ("delete", store, "s", "--yes", "--watch", seconds),
        ("set", store, "s", "LATEST", "--yes", "--watch", seconds),
    ):
        run("leases", *more, status=2)
    assert [lease.key for lease in sp.SQLiteLeases(tmp_path / "leases.db").list()] == ["s"]
