"""Debian's packages without installing them: downloaded, checked by apt's signatures, and unpacked into a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("SHARDPACK_PYTHONS") or HOUSE / ".pythons").absolute()
MIRROR = "http://deb.debian.org/debian"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


class NotHadError(Exception):
    """It does not come this way; the message says why."""


def run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What the command prints."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=None if env is None else {**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout or "it wrote no more than that").strip().splitlines()
        error = next(
            (line for line in said if line.startswith("E: ")), said[-1]
        )  # apt-get's first is the one that tells
        raise NotHadError(f"{Path(command[0]).name} ended with {done.returncode}: {error}")
    return done.stdout


def pooled(path: str, sha256: str, folder: Path) -> Path:
    """A file of Debian's pool, which keeps some that no release names any more, and so no signature vouches for."""
    address = f"{MIRROR}/pool/{path}"
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        error.close()
        raise NotHadError(f"{address}: {error}") from error
    except OSError as error:
        raise NotHadError(f"{address}: {error}") from error
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise NotHadError(f"{address} has the SHA-256 {found}, and not {sha256}")
    file = folder / path.rpartition("/")[2]
    file.write_bytes(content)
    return file


class Debian:
    """One release of Debian, looked at by an apt that knows nothing of this machine's packages."""

    def __init__(self, release: str, architecture: str = "amd64") -> None:
        if not shutil.which("apt-get"):
            raise NotHadError("apt-get is not here")
        self._architecture = architecture
        self.apt = FOLDER / "apt" / f"{release}-{architecture}"
        (self.apt / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        (self.apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (self.apt / "status").touch()
        where = f"[signed-by={KEYS}] {MIRROR} {release} main"
        (self.apt / "sources.list").write_text(f"deb {where}\ndeb-src {where}\n")
        self.get(
            "update", "-o", "Acquire::Languages=none", "-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"
        )

    def get(self, *arguments: str, cwd: Path | None = None) -> None:
        settings = {
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::Languages": "none",
            "APT::Architecture": self._architecture,
            "APT::Architectures": self._architecture,
            "APT::Sandbox::User": "root",  # the folder may be one that the user _apt cannot enter
            "Dir::Cache": self.apt,
            "Dir::Cache::Archives": self.apt / "archives",
            "Dir::Etc::SourceList": self.apt / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State": self.apt,
            "Dir::State::Lists": self.apt / "lists",
            "Dir::State::status": self.apt / "status",
        }
        run("apt-get", "-q", *(f"-o{key}={value}" for key, value in settings.items()), *arguments, cwd=cwd)

    def unpack(self, root: Path, *packages: str) -> None:
        """These packages, and all that they depend on, below an empty folder."""
        self.get("clean")
        self.get("install", "--yes", "--download-only", "--no-install-recommends", *packages)
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        for package in sorted((self.apt / "archives").glob("*.deb")):
            run("dpkg-deb", "--extract", package, root)
        self.get("clean")
