"""The examples deploy and run as they stand, on a local server; `make check` and `make lint-examples` lint them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
TEMPLATES = sorted(EXAMPLES.glob("*/template.yaml"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("example", "lines"),
    [
        ("orders", ["120 orders by HTTP", "replayed while the rate is missing", "replayed with the rate"]),
        ("firehose", ["200 clicks into the stream"]),
    ],
)
def test_it_runs_on_a_local_server(example: str, lines: list[str]) -> None:
    for needed in ("boto3", "ministack", "samtranslator"):
        if find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed (extra demo, group examples)")
    command = [sys.executable, str(EXAMPLES / "run_local.py"), example]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(lines)
    for printed, expected in zip(done.stdout.splitlines(), lines, strict=True):
        assert printed.startswith(expected)


def test_there_is_a_run_for_each_template() -> None:
    assert [path.parent.name for path in TEMPLATES] == ["firehose", "orders"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.parent.name)
def test_the_functions_that_it_names_are_there_and_so_is_what_they_read(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    handlers = re.findall(r"^ *Handler: (\w+)\.(\w+)$", text, re.MULTILINE)
    assert handlers
    for module, function in handlers:
        source = (template.parent / "src" / f"{module}.py").read_text(encoding="utf-8")
        assert function in {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
        for variable in re.findall(r'os\.environ\["(\w+)"\]', source):
            assert re.search(rf"^ +{variable}: ", text, re.MULTILINE), variable


@pytest.mark.parametrize("script", ["build.sh", "build-image.sh"])
@pytest.mark.parametrize(
    ("arguments", "message"), [([], "give arm64 or x86_64"), (["riscv"], "riscv is no architecture")]
)
def test_a_script_that_is_called_wrongly_says_so(script: str, arguments: list[str], message: str) -> None:
    done = subprocess.run(
        ["bash", str(EXAMPLES / "layer" / script), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert message in done.stderr
