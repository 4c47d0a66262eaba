"""The plan of the house: which room may import which, and how large one may grow. The rules are in pyproject.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "shardpack"
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if "_generated" not in path.parts]
ROOMS = sorted({path.parent for path in MODULES})
TOP = {"__init__", "__main__", "dedup", "errors", "hashing", "inspection", "kcl", "limits", "records", "values"}
ASKS = {"now", "utcnow", "today", "environ", "getenv"}
CORES = ["producer/core", "consumer/core", "replay/core", "ranges/core", "spark/core"]
WITHOUT_A_CLOCK = ["arrow", "firehose", "packing", "spark", "unpacking", "wire", *CORES]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", "pyproject.toml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


needs_linter = pytest.mark.skipif(
    not Path(sys.executable).with_name("lint-imports").exists(), reason="import-linter is not here: not `make test`"
)


@needs_linter
def test_imports_point_one_way_and_never_in_a_circle() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@needs_linter
@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("wire/format.py", "from ..packing import packer", "Who stands lower"),
        ("packing/route.py", "import threading", "The codec opens nothing"),
        ("producer/core/pending.py", "from ..shells import producer", "A core knows nothing"),
        ("consumer/core/actions.py", "def f():\n    from . import engine", "No two modules import each other"),
        ("limits.py", "from .leases import Lease", "Who stands lower"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, module: str, line: str, broken: str) -> None:
    for path in (*MODULES, SOURCE / "py.typed", *SOURCE.rglob("_generated/*.py")):
        copy = tmp_path / "src" / path.relative_to(ROOT / "src")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    changed = tmp_path / "src" / "shardpack" / module
    changed.write_text(f"{changed.read_text(encoding='utf-8')}\n\n{line}\n", encoding="utf-8")

    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert any(row.startswith(broken) and " BROKEN" in row for row in done.stdout.splitlines())


def test_the_root_has_no_private_module_and_every_room_says_what_it_is_for() -> None:
    assert {path.stem for path in SOURCE.glob("*.py*")} == TOP
    for room in ROOMS:
        doc = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8")))
        assert doc, room


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(SOURCE)))
def test_no_room_has_more_than_twelve_files_and_no_file_more_than_400_lines(room: Path) -> None:
    files = [path for path in MODULES if path.parent == room]
    assert len(files) <= 12
    assert {path.name: lines for path in files if (lines := len(path.read_text("utf-8").splitlines())) > 400} == {}


def test_a_function_fits_a_screen() -> None:
    """Without its arguments and its docstring; ruff bounds how many statements it has, and how many ways through."""
    long = {
        f"{path.relative_to(SOURCE)}:{node.name}": lines
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := lines_of(node)) > 50
    }
    assert long == {}


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[1:2] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - first[0].lineno + 1 if first else 0


@pytest.mark.parametrize("room", WITHOUT_A_CLOCK)
def test_what_decides_does_not_ask_what_time_it_is(room: str) -> None:
    for path in (SOURCE / room).rglob("*.py"):
        if "shells" in path.relative_to(SOURCE).parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        asked = ASKS & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if path == SOURCE / "wire" / "backend.py":  # SHARDPACK_NATIVE chooses the core
            asked.discard("environ")
        assert not asked, path
