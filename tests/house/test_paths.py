"""Every path under which the README and the guides import something stays valid."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import mini_ray
import pytest
from public_names import PUBLIC

import shardpack as sp

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FROM = re.compile(r"^\s*from (shardpack[\w.]*) import \(?([\w, ]+)\)?", re.MULTILINE)
WHAT_NEEDS = {
    "shardpack.arrow": "pyarrow",
    "shardpack.polars": "polars",
    "shardpack.ray": "pyarrow",
    "shardpack.spark": "pyarrow",
}
NAMED = re.compile(r"`(shardpack(?:\.\w+)+)")


@pytest.fixture(autouse=True)
def _ray() -> Iterator[None]:
    """It is too large to be installed for this."""
    yield from mini_ray.installed()


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_a_public_name_can_be_imported(module: str, name: str) -> None:
    if module in WHAT_NEEDS:
        pytest.importorskip(WHAT_NEEDS[module])
    if name in ("AsyncFakeKinesis", "FakeKinesis"):
        pytest.importorskip("botocore")
    assert getattr(importlib.import_module(module), name) is not None


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_a_public_name_says_what_it_means(module: str, name: str) -> None:
    """ruff's D1 asks the same of modules, but not of private ones, from which some public names come."""
    if module in WHAT_NEEDS:
        pytest.importorskip(WHAT_NEEDS[module])
    if name in ("AsyncFakeKinesis", "FakeKinesis"):
        pytest.importorskip("botocore")
    value = getattr(importlib.import_module(module), name)
    if not inspect.isclass(value) and not inspect.isroutine(value):
        return  # a constant
    silent = [] if inspect.getdoc(value) else [name]
    for member in filter(lambda member: not member.startswith("_"), dir(value) if inspect.isclass(value) else ()):
        found = getattr(value, member)
        if (inspect.isroutine(found) or isinstance(found, property)) and not inspect.getdoc(found):
            silent.append(f"{name}.{member}")
    assert not silent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_imports_or_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for module, needed in WHAT_NEEDS.items():
        if module in text:
            pytest.importorskip(needed)
    for module, names in FROM.findall(text):
        for name in filter(None, re.split(r"[,\s]+", names)):
            # A module inside is there whether or not another test has loaded it.
            is_there = hasattr(importlib.import_module(module), name) or find_spec(f"{module}.{name}") is not None
            assert is_there, (module, name)
    for dotted in NAMED.findall(text):
        at: object = sp
        module = "shardpack"
        for part in dotted.split(".")[1:]:
            module = f"{module}.{part}"
            if not hasattr(at, part):
                importlib.import_module(module)
            at = getattr(at, part)


def test_the_old_name_of_multilang_warns_and_works_for_one_release() -> None:
    import sys

    sys.modules.pop("shardpack.kcl", None)
    with pytest.warns(DeprecationWarning, match=r"shardpack\.multilang"):
        old = importlib.import_module("shardpack.kcl")
    new = importlib.import_module("shardpack.multilang")
    assert old.__all__ == new.__all__
    assert all(getattr(old, name) is getattr(new, name) for name in old.__all__)
