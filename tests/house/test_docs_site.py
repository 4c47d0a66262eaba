"""The site of the pages: every page has its place, every public name its entry, and every command line its options."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import docs_blocks
import pytest
import versions
from public_names import PUBLIC
from typer.main import get_command

from shardpack.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
CONSTANTS = {"METRIC_NAMES", "PACKED_SCHEMA", "SCHEMA", "native", "strategies"}


def blocks(page: Path, *languages: str) -> list[str]:
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def commands() -> list[tuple[str, list[str]]]:
    """Each command line of the pages that calls us, with the page it is from."""
    found = []
    for page in PAGES:
        for block in blocks(page, "console", "sh", "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"[|;]|&&|\$\(", line.removeprefix("$ ")):
                    words = shlex.split(part.split(" > ")[0].split(" < ")[0].split(" >> ")[0], comments=True)
                    if words[:1] == ["shardpack"]:
                        found.append((page.name, words[1:]))
    return found


def parse(command: Any, words: list[str]) -> None:
    """As far as click goes before it calls the command."""
    context = command.make_context("shardpack", list(words), resilient_parsing=False)
    while hasattr(context.command, "commands"):
        left: list[str] = [*context._protected_args, *context.args]
        context = context.command.commands[left[0]].make_context(left[0], left[1:], parent=context)


def test_every_page_has_one_place_on_the_site() -> None:
    placed: list[str] = []
    for index in (DOCS / "index.md", DOCS / "api" / "index.md"):
        folder = index.parent.relative_to(DOCS)
        for tree in blocks(index, r"\{toctree\}"):
            placed += [(folder / line).as_posix() for line in tree.splitlines() if line and not line.startswith(":")]
    pages = [path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")]
    assert sorted([*placed, "index"]) == sorted(pages)


def test_every_public_name_is_in_the_reference() -> None:
    lines = [line for page in (DOCS / "api").glob("*.md") for line in page.read_text("utf-8").splitlines()]
    entries = {line.split()[-1] for line in lines if line.startswith(".. auto")}
    assert {f"{module}.{name}" for module, name in PUBLIC if name not in entries | CONSTANTS} == set()


def test_a_command_line_of_a_page_has_options_that_there_are() -> None:
    command = get_command(app)
    wrong = []
    for page, words in commands():
        try:
            parse(command, words)
        except Exception as error:  # noqa: BLE001  # typer has click's errors from click, or from a copy of its own
            wrong.append(f"{page}: shardpack {' '.join(words)}: {error}")
    assert wrong == []


def test_a_wrong_option_would_be_found() -> None:
    assert len(commands()) > 25
    with pytest.raises(Exception, match="No such option"):
        parse(get_command(app), ["leases", "show", "clicks.db", "--no-such-option"])


def test_documents_are_documents() -> None:
    found = [json.loads(block) for page in PAGES for block in blocks(page, "json")]
    found += [ET.fromstring(block) for page in PAGES for block in blocks(page, "xml")]
    assert len(found) >= 3


def test_an_example_that_goes_on_and_on_ends_with_ctrl_c() -> None:
    endless = re.compile(r"for batch in consumer\b|consumer\.run(_each)?\(")
    found = [(page, block) for page in PAGES for block in blocks(page, "python") if endless.search(block)]
    assert len(found) >= 9
    for page, block in found:
        assert re.search(r"SIGINT|SIGTERM|break|is_caught_up", block), f"{page}: {block}"


def test_an_example_is_known_by_more_than_its_texts() -> None:
    ours, theirs = (
        'for one in read("clicks", 5):\n    print(one)\n',
        "for one in read('/tmp/x', 500):\n    print(one)\n",
    )
    assert docs_blocks.lines_of(ours) == docs_blocks.lines_of(theirs)
    (fan_out,) = blocks(DOCS / "fan-out.md", "python")
    others = [docs_blocks.lines_of(block) for page in PAGES for block in blocks(page, "python") if block != fan_out]
    assert [one for one in docs_blocks.not_seen(others) if "fan-out" in one]


def test_an_example_that_nothing_runs_is_named() -> None:
    everything = [docs_blocks.lines_of(block) for page in PAGES for block in blocks(page, "python")]
    of_the_producer = docs_blocks.lines_of(blocks(DOCS / "producer.md", "python")[2])
    everything.remove(of_the_producer)
    assert docs_blocks.not_seen(everything) == ["docs/producer.md, example 2: import shardpack as sp"]
    assert docs_blocks.not_seen([*everything, of_the_producer]) == []


def test_each_release_with_pages_gets_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "repository"

    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false", *arguments]
        subprocess.run(command, cwd=repository, check=True, capture_output=True)

    (repository / "docs").mkdir(parents=True)
    git("init", "--quiet")
    git("commit", "--allow-empty", "-m", "before there were pages")
    git("tag", "v0.1.0")
    (repository / "docs" / "conf.py").touch()
    git("add", ".")
    git("commit", "-m", "pages")
    for tag in ("v0.9.0", "v0.10.0", "other"):
        git("tag", tag)
    built: list[tuple[bool, str, list[str]]] = []
    monkeypatch.setattr(
        versions,
        "build",
        lambda sources, out, named: built.append(((sources / "docs/conf.py").exists(), out.name, named)),
    )
    out = tmp_path / "out"
    out.mkdir()

    assert versions.build_all(repository, out) == ["latest", "v0.10.0", "v0.9.0"]
    assert built == [(True, name, ["latest", "v0.10.0", "v0.9.0"]) for name in ("latest", "v0.10.0", "v0.9.0")]
    assert "latest/" in (out / "index.html").read_text("utf-8")
    assert len(list(repository.parent.glob("*"))) == 2
