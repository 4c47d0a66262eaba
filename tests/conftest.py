"""What tests share: how hard hypothesis looks, signals that arrive, and a local Spark.

HYPOTHESIS_PROFILE=long, which `make test-deep` sets, looks a hundred times as hard.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from heeded_signals import heed_signals
from hypothesis import HealthCheck, settings

# No deadline: nothing timed is asserted, because test machines are noisy. How much of what is drawn is thrown away says
# nothing of the code. `make test` looks at the same examples every time, so that it fails for a change and not by
# chance; `make test-deep` looks at new ones.
NO_CHECK = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("short", deadline=None, max_examples=20, derandomize=True, suppress_health_check=NO_CHECK)
settings.register_profile("long", deadline=None, max_examples=2000, suppress_health_check=NO_CHECK)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

with suppress(ModuleNotFoundError):  # botocore: an extra
    import_module("botocore_files").read_once()

# Tests send signals to processes that they start, and those would ignore what this one ignores.
heed_signals()

# They need Java, Maven and minutes: `make interop` runs them.
collect_ignore = ["interop"]
HERE = Path(__file__).parent


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Keep long bytes out of test names: gzip writes the time into them, and the workers must agree on names."""
    return argname if isinstance(val, bytes) and len(val) > 20 else None


def pytest_configure(config: pytest.Config) -> None:
    """Let each worker begin to collect in another place.

    In a fresh clone nothing is compiled yet, and pytest's part in that takes seconds. Workers that walk together each
    do all of it; from places of their own, each finds compiled what another has passed.
    """
    worker = getattr(config, "workerinput", None)
    asked = [Path(argument) for argument in config.args]
    if worker is None or not all(path.exists() for path in asked):  # as for one test of a file
        return
    files = [str(path) for path in files_in(asked)]
    begin = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    config.args[:] = files[begin:] + files[:begin]


def files_in(asked: list[Path]) -> list[Path]:
    """The files of tests that pytest finds in what it was asked for; what it ignores counts where it is asked for."""

    def is_ignored(path: Path) -> bool:
        return any(path.resolve().is_relative_to(HERE / one) for one in collect_ignore)

    return [
        path
        for above in asked
        for path in (sorted(above.rglob("test_*.py")) if above.is_dir() else [above])
        if is_ignored(above) or not is_ignored(path)
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests in one order for all workers, which xdist asks for.

    Those that need Spark come first: neighbours go to one worker, and so only one Java starts. Then come those
    that take long, so that no worker begins with one when the others have ended.
    """
    items.sort(key=lambda item: (_rank(item), item.path))


def _rank(item: pytest.Item) -> int:
    if "spark" in getattr(item, "fixturenames", ()):
        return 0
    return 1 if item.get_closest_marker("long") else 2


@pytest.fixture(scope="session", autouse=True)
def _no_terminal_of_the_user_s() -> Iterator[None]:
    """What commands print is compared, and these change its colours and breaks."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "PYTHON_COLORS", "TTY_COMPATIBLE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that any local server takes, and a region."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Spark of two workers in a Java of its own, which ends with the tests."""
    sql = pytest.importorskip("pyspark.sql")
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("Spark needs Java")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        session = (
            sql.SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.memory", "1g")
            # It lives for seconds: what a compiler makes of it in them is never paid back, and it needs no collector
            # with threads of its own.
            .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto")
            .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("tables")))
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.session.timeZone", "UTC")
            # A query that waits for the test asks its source five times a second, not a hundred times.
            .config("spark.sql.streaming.pollingDelay", "200ms")
            .config("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
            .getOrCreate()
        )
        yield session
        session.stop()
