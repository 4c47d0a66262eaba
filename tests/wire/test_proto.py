"""The generated classes are what the schema says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = Path("src/shardpack/wire/_generated")


@pytest.mark.skipif(
    not (Path(sys.executable).parent / "protoc").exists(), reason="no protoc: not the venv of make test"
)
def test_make_proto_would_change_nothing(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    (tmp_path / GENERATED).mkdir(parents=True)
    # The command of the Makefile, as it stands there.
    (command,) = (
        line.strip() for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "$(BIN)/protoc" in line
    )
    subprocess.run(
        command.replace("$(BIN)", str(Path(sys.executable).parent)).split(), cwd=tmp_path, check=True, timeout=60
    )

    made = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / GENERATED).iterdir()}
    committed = {
        path.name: path.read_text(encoding="utf-8")
        for path in (ROOT / GENERATED).iterdir()
        if path.name != "__init__.py" and path.is_file()
    }
    assert made == committed
