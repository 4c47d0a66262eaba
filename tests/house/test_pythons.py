"""A Python's source comes from Debian's release, or from its pool, and then only with the checksum that we know."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import debian
import pytest
import pythons

CONTENT = b"a tarball"
FILE = "main/p/python9.9/python9.9_9.9.6.orig.tar.xz"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class NoRelease:
    """What `Debian` is where no release's source is served."""

    def __init__(self, release: str) -> None:
        self._release = release

    def get(self, *_: str, cwd: Path) -> NoReturn:
        raise debian.NotHadError(f"404 for {self._release} in {cwd.name}")


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder behind a mirror that serves one file of a pool; for its Python, no release has the source."""
    file = tmp_path / "mirror" / "pool" / FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    handler = partial(Quiet, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(debian, "MIRROR", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(pythons, "Debian", NoRelease)
        monkeypatch.setitem(pythons.SOURCES, "9.9", ("forky", "sid"))
        monkeypatch.setitem(pythons.POOLED, "9.9", (FILE, hashlib.sha256(CONTENT).hexdigest()))
        yield file
        server.shutdown()


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_what_no_release_serves_comes_from_the_pool(pool: Path, scratch: Path) -> None:
    found = pythons.source("9.9", scratch)

    assert found == scratch / pool.name
    assert found.read_bytes() == CONTENT


def test_another_file_than_the_known_one_is_refused(pool: Path, scratch: Path) -> None:
    pool.write_bytes(CONTENT + b" that somebody has changed")

    with pytest.raises(debian.NotHadError, match=r"404 for forky.*404 for sid.*has the SHA-256 [0-9a-f]{64}, and not"):
        pythons.source("9.9", scratch)
    assert not list(scratch.iterdir())


def test_a_pool_that_has_it_no_more_says_so(pool: Path, scratch: Path) -> None:
    pool.unlink()

    with pytest.raises(debian.NotHadError, match=r"404 for sid.*python9\.9_9\.9\.6\.orig\.tar\.xz: HTTP Error 404"):
        pythons.source("9.9", scratch)


def test_a_python_that_nobody_has_is_named_with_a_reason() -> None:
    with pytest.raises(debian.NotHadError, match="no release of Debian that is looked at has its source"):
        pythons.source("9.8", Path("nowhere"))


def test_checksums_are_those_of_sha_256() -> None:
    for path, sha256 in pythons.POOLED.values():
        assert path.startswith("main/p/python")
        assert len(bytes.fromhex(sha256)) == hashlib.sha256().digest_size
