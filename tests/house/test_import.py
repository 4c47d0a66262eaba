"""What importing costs, and what it touches."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import shardpack as sp
from shardpack import aws_lambda

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
OF_FIREHOSE = "event = {'records': [{'recordId': '1', 'data': '84mawgoBaxoHCAAaA2FiY7FkUeEwEiBNy5lUQbXWix0='}]}; "
# What a first event may load, on any Python that is claimed: each cold start of a Lambda function pays for it.
# `collections`, `functools`, `typing`, `re`, `enum`, `dataclasses`, `json` and `hashlib` would multiply it.
READING = {"__future__", "_collections", "_datetime", "itertools", "math"}  # of the standard library
READING_OURS = {
    "shardpack",
    "errors",
    "limits",
    "records",
    "unpacking",
    "unpacking.shapes",
    "unpacking.unpacker",
    "values",
    "wire",
    "wire._native",
    "wire.backend",
    "wire.frame",
    "wire.native_core",
}
PROCESSING_OURS = {
    "aws_lambda",
    "aws_lambda._batch",
    "aws_lambda._process",
    "aws_lambda._record",
    "aws_lambda._settings",
    "replay",
    "replay.core",
    "replay.core.events",
}
FIRST_EVENTS = {
    "unpack": (
        EVENT + "import shardpack; (r,) = shardpack.unpack(event); assert r.data == b'abc'",
        READING,
        READING_OURS,
    ),
    "process": (
        EVENT + "from shardpack.aws_lambda import process; seen = [];"
        " assert process(event, seen.append) == {'batchItemFailures': []}; assert seen[0].data == b'abc'",
        READING,
        READING_OURS | PROCESSING_OURS,
    ),
    "transform": (
        OF_FIREHOSE + "from shardpack.firehose import transform;"
        " assert transform(event, lambda r: r.data)['records'] == [{'recordId': '1', 'result': 'Ok', 'data': 'YWJj'}]",
        READING | {"binascii"},
        READING_OURS | {"firehose", "firehose.transformation"},
    ),
}


class TestCost:
    @pytest.mark.skipif(sp.native == "pure", reason="the pure core needs protobuf")
    @pytest.mark.parametrize("entry_point", FIRST_EVENTS)
    def test_a_first_event_loads_no_more_than_it_needs(self, entry_point: str) -> None:
        code, standard, ours = FIRST_EVENTS[entry_point]

        loaded = loaded_by(code)

        assert {name for name in loaded if not name.startswith("shardpack")} - standard == set()
        assert {name.removeprefix("shardpack.") for name in loaded if name.startswith("shardpack")} == ours

    @pytest.mark.skipif(sp.native == "pure", reason="the pure core needs protobuf")
    def test_a_layer_without_protobuf_and_xxhash_reads_packs_and_says_what_it_lacks(self) -> None:
        without = "import sys; sys.modules.update({name: None for name in ('google.protobuf', 'xxhash')})\n"
        first_events = "\n".join(code for code, _, _ in FIRST_EVENTS.values())
        pack = "import shardpack as sp; (packed,) = sp.pack([('k', b'', '7')] * 2); sp.decode(packed.data)"
        lanes = (
            "sp.Packer(by='shard', shard_map=sp.ShardMap.single(), lanes=2).add('k', b'd')",
            "list(sp.unpack(event, on_corrupt='kcl'))",
        )
        lacks = "\n".join(
            f"try: {call}\nexcept ModuleNotFoundError as error: lacks.append(error.name)" for call in lanes
        )

        lacking = run(f"{without}{first_events}\n{pack}\nlacks = []\n{lacks}\nimport json; print(json.dumps(lacks))")

        assert lacking == ["xxhash", "google.protobuf.message"]

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
    @pytest.mark.parametrize("module", [sp, aws_lambda], ids=["shardpack", "aws_lambda"])
    def test_every_public_name_is_there_and_listed(self, module: ModuleType) -> None:
        names = run(
            f"import json, {module.__name__} as sp\n"
            "listed = dir(sp)\n"
            "print(json.dumps([[name, name in listed, getattr(sp, name, None) is not None] for name in sp.__all__]))"
        )

        assert names == [[name, True, True] for name in module.__all__]
        assert list(module.__all__) == sorted(set(module.__all__))

    def test_a_name_is_found_once_and_stays(self) -> None:
        assert sp.Packer is sp.Packer
        assert "Packer" in vars(sp)

    @pytest.mark.parametrize("module", [sp, aws_lambda], ids=["shardpack", "aws_lambda"])
    @pytest.mark.parametrize("name", ["Paker", "_missing", "__missing__"])
    def test_an_unknown_name_is_an_attribute_error_that_names_it(self, name: str, module: ModuleType) -> None:
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute '{name}'"):
            getattr(module, name)
        assert not hasattr(module, name)

    def test_an_unknown_name_cannot_be_imported(self) -> None:
        with pytest.raises(ImportError, match="Paker"):
            from shardpack import Paker  # noqa: F401  # it is not there

    @pytest.mark.parametrize("module", [sp, aws_lambda], ids=["shardpack", "aws_lambda"])
    def test_type_checkers_see_the_same_names(self, module: ModuleType) -> None:
        tree = ast.parse(Path(str(module.__file__)).read_text())
        (block,) = [
            node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ]
        seen = [alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]

        assert sorted(seen) == list(module.__all__)


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
        # So each is imported in a process of its own, forked from one that has imported its package and no other. What
        # others have made comes first and once: which of our modules comes first does not change it.
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
                            os._exit(missing.name not in ("matplotlib", "polars", "pyspark", "ray"))  # useless without
                        except BaseException:
                            traceback.print_exc()
                            os._exit(1)
                        os._exit(0)
            for name in ("boto3", "hypothesis", "matplotlib.figure", "pyarrow", "pyspark.sql", "rich.table", "typer"):
                try:
                    importlib.import_module(name)
                except ModuleNotFoundError:
                    continue
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
