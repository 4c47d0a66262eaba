"""What importing costs, and what it touches."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import shardpack as sp

SOURCE = Path(sp.__file__).parent
HEAVY = {"boto3", "botocore", "google.protobuf", "xxhash", "asyncio", "hypothesis", "typer", "rich", "opentelemetry"}


def run(code: str) -> Any:
    """What a fresh interpreter that runs the code prints, read as JSON."""
    # Peers warn about themselves; what we warn about fails in the other tests.
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def loaded_by(statement: str) -> set[str]:
    """The modules that a statement loads, beyond what the interpreter starts with."""
    return set(
        run(
            "import sys, json; before = set(sys.modules)\n"
            f"{statement}\n"
            "print(json.dumps(sorted(set(sys.modules) - before)))"
        )
    )


EVENT = (
    "event = {'Records': [{'eventID': 'shardId-0:1', 'eventSource': 'aws:kinesis', 'kinesis': {'partitionKey': 'k',"
    " 'sequenceNumber': '1', 'data': '84mawgoBaxoHCAAaA2FiY7FkUeEwEiBNy5lUQbXWix0=',"
    " 'approximateArrivalTimestamp': 1.5}}]}; "
)
# What reading a first event may load of the standard library, on any Python that is claimed: each cold start of a
# Lambda function pays for it. `typing`, `re`, `enum`, `dataclasses` and `hashlib` would double it.
READING = {
    "__future__",
    "_bisect",
    "_collections",
    "_datetime",
    "_functools",
    "_operator",
    "bisect",
    "collections",
    "collections.abc",
    "datetime",
    "functools",
    "importlib",
    "importlib._bootstrap",
    "importlib._bootstrap_external",
    "itertools",
    "keyword",
    "math",
    "operator",
    "reprlib",
    "types",
    "warnings",
    "_typing",
    "_weakrefset",
    "_abc",
    "abc",
}


class TestCost:
    @pytest.mark.skipif(sp.native == "pure", reason="the pure core needs protobuf")
    def test_reading_a_first_event_loads_no_more_than_it_needs(self) -> None:
        loaded = loaded_by(EVENT + "import shardpack; (r,) = shardpack.unpack(event); assert r.data == b'abc'")

        assert {name for name in loaded if not name.startswith("shardpack")} - READING == set()
        assert {name.removeprefix("shardpack.") for name in loaded if name.startswith("shardpack")} == {
            "shardpack",
            "errors",
            "hashing",
            "limits",
            "records",
            "unpacking",
            "unpacking.shapes",
            "unpacking.unpacker",
            "values",
            "wire",
            "wire._native",
            "wire.backend",
            "wire.format",
            "wire.native_core",
        }

    def test_importing_the_package_loads_the_package_alone(self) -> None:
        ours = loaded_by("import shardpack")

        assert not HEAVY & ours
        assert {name for name in ours if name.startswith("shardpack")} == {"shardpack"}

    def test_the_codec_loads_no_client_no_event_loop_and_nothing_to_calculate_with(self) -> None:
        loaded = loaded_by("from shardpack import Packer, Limits, ShardMap, UserRecord, decode, put_requests, unpack")

        assert not (HEAVY | {"socket", "threading", "subprocess"}) & loaded

    def test_reading_loads_protobuf_only_for_the_pure_core_and_no_xxhash(self) -> None:
        loaded = loaded_by("import shardpack; list(shardpack.unpack(list(shardpack.pack([('k', b'd')] * 2))))")

        assert ("google.protobuf" in loaded) == (sp.native == "pure")
        assert not {"xxhash", "boto3", "botocore", "asyncio"} & loaded

    def test_opentelemetry_is_loaded_only_for_a_producer_that_meters(self) -> None:
        make = "import shardpack as sp; sp.Producer('s', sp.ProducerConfig({}), client=object()).stats()"

        assert "opentelemetry" not in loaded_by(make.format("metrics_level='none'"))
        assert "opentelemetry" in loaded_by(make.format(""))

    def test_a_lambda_function_loads_no_client_no_event_loop_and_no_protobuf(self) -> None:
        loaded = loaded_by("from shardpack.aws_lambda import DynamoDBProgress, SQLiteProgress, process")

        assert not (HEAVY | {"sqlite3", "logging", "threading", "concurrent.futures", "aws_lambda_powertools"}) & loaded

    def test_a_firehose_function_loads_no_client_no_event_loop_and_no_protobuf(self) -> None:
        assert not (HEAVY | {"logging", "threading"}) & loaded_by("from shardpack.firehose import transform")


class TestNames:
    def test_every_public_name_is_there_and_listed(self) -> None:
        names = run(
            "import json, shardpack as sp\n"
            "listed = dir(sp)\n"
            "print(json.dumps([[name, name in listed, getattr(sp, name, None) is not None] for name in sp.__all__]))"
        )

        assert names == [[name, True, True] for name in sp.__all__]
        assert list(sp.__all__) == sorted(set(sp.__all__))

    def test_a_name_is_found_once_and_stays(self) -> None:
        assert sp.Packer is sp.Packer
        assert "Packer" in vars(sp)

    @pytest.mark.parametrize("name", ["Paker", "_missing", "__missing__"])
    def test_an_unknown_name_is_an_attribute_error_that_names_it(self, name: str) -> None:
        with pytest.raises(AttributeError, match=f"module 'shardpack' has no attribute '{name}'"):
            getattr(sp, name)
        assert not hasattr(sp, name)

    def test_an_unknown_name_cannot_be_imported(self) -> None:
        with pytest.raises(ImportError, match="Paker"):
            from shardpack import Paker  # noqa: F401

    def test_type_checkers_see_the_same_names(self) -> None:
        tree = ast.parse((SOURCE / "__init__.py").read_text())
        (block,) = [
            node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ]
        seen = [alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]

        assert sorted(seen) == list(sp.__all__)


def modules() -> dict[str, Path]:
    """Every module by its dotted name."""
    return {
        ".".join(("shardpack", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in sorted(SOURCE.rglob("*.py"))
        if path.name != "__main__.py"  # which runs the command line
    }


def first_of_all() -> list[str]:
    """The modules that may be imported before any other: the old name of a room warns, a core may not be built."""
    left_out = {"shardpack.kcl", *(["shardpack.wire.native_core"] if sp.native == "pure" else [])}
    return [name for name in modules() if name not in left_out]


class TestAlone:
    def test_every_module_can_be_the_first_that_is_imported(self) -> None:
        # Whoever imports a module imports the packages above it first, and what those load cannot be first any more.
        # So each is imported in a process of its own, forked from one that has imported its package and no other.
        failed = run(
            f"""if True:
            import importlib, json, os, sys, traceback
            failures, report = os.pipe()
            def look_below(package):
                for name in {first_of_all()!r}:
                    if name.rpartition(".")[0] != package:
                        continue
                    if name in sys.modules:
                        look_below(name)
                    elif child := os.fork():
                        if os.waitpid(child, 0)[1]:
                            os.write(report, name.encode() + b" ")
                    else:
                        try:
                            importlib.import_module(name)
                            look_below(name)
                        except ModuleNotFoundError as missing:
                            os._exit(missing.name != "matplotlib")  # the one extra that a module is nothing without
                        except BaseException:
                            traceback.print_exc()
                            os._exit(1)
                        os._exit(0)
            importlib.import_module("shardpack")
            look_below("shardpack")
            os.close(report)
            print(json.dumps(os.fdopen(failures).read().split()))
            """
        )

        assert failed == []

    def test_importing_changes_nothing_around_it(self) -> None:
        before, after = run(
            """if True:
            import json, logging, os, signal, sys, threading, warnings
            def around():
                return [
                    dict(os.environ), sys.path, os.getcwd(), [str(one) for one in warnings.filters],
                    len(logging.root.handlers), logging.root.level, threading.active_count(), sys.getrecursionlimit(),
                    str(signal.getsignal(signal.SIGINT)), str(sys.excepthook), sys.get_int_max_str_digits(),
                ]
            before = json.loads(json.dumps(around()))
            import shardpack
            for name in shardpack.__all__:
                getattr(shardpack, name)
            print(json.dumps([before, around()]))
            """
        )

        assert before == after

    @pytest.mark.parametrize(
        "imports",
        [
            "import shardpack as sp, aws_kinesis_agg.aggregator as peer",
            "import aws_kinesis_agg.aggregator as peer, shardpack as sp",
        ],
    )
    @pytest.mark.parametrize("first", ["ours()", "theirs()"])
    def test_works_next_to_aws_kinesis_agg_in_either_order(self, imports: str, first: str) -> None:
        """Protobuf refuses a second file of the same name or with the same messages, so ours has its own."""
        got = run(
            f"""if True:
            import json
            {imports}
            def ours():
                return sp.encode([("k", b"one"), ("k2", b"two")])
            def theirs():
                aggregate = peer.RecordAggregator()
                aggregate.add_user_record("k", b"one")
                aggregate.add_user_record("k2", b"two")
                return aggregate.clear_and_get().get_contents()[2]
            {first}
            read = [sp.decode(one()) for one in (ours, theirs)]
            print(json.dumps([[(record.partition_key, record.data.decode()) for record in one] for one in read]))
            """
        )

        assert got == [[["k", "one"], ["k2", "two"]]] * 2
