"""The site of this commit as `latest`, and of each release below its tag: python docs/versions.py FOLDER.

A release's pages are made from its own sources by the Sphinx that runs this.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REDIRECT = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><title>shardpack</title><meta http-equiv="refresh" content="0; url=latest/">
</html>
"""


def releases(root: Path) -> list[str]:
    """Tags such as v1.2.3 whose tree has the site's sources, the newest first."""
    listed = ["git", "tag", "--list", "v*", "--sort=-version:refname"]
    told = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True)
    return [tag for tag in told.stdout.split() if _has_pages(root, tag)]


def _has_pages(root: Path, tag: str) -> bool:
    command = ["git", "cat-file", "-e", f"{tag}:docs/conf.py"]
    return subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 0


def build(sources: Path, out: Path, versions: list[str]) -> None:
    """One version; a warning is an error."""
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    environment = os.environ | {
        "SHARDPACK_DOCS_VERSIONS": " ".join(versions),
        "PYTHONPATH": str(sources / "src"),  # the docstrings of that version
    }
    subprocess.run([*sphinx, sources / "docs", out], env=environment, check=True)


def build_all(root: Path, out: Path) -> list[str]:
    """Every version below `out`, and a page that leads to the latest."""
    tags = releases(root)
    versions = ["latest", *tags]
    build(root, out / "latest", versions)
    for tag in tags:
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / tag
            subprocess.run(["git", "worktree", "add", "--detach", "--quiet", tree, tag], cwd=root, check=True)
            try:
                build(tree, out / tag, versions)
            finally:
                subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=root, check=True)
    (out / "index.html").write_text(REDIRECT, encoding="utf-8")
    (out / ".nojekyll").touch()
    return versions


if __name__ == "__main__":
    build_all(ROOT, Path(sys.argv[1]).resolve())
