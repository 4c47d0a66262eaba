"""Install what is in dist where no compiler is found, and run tests against the installed files.

    python tests/platforms/installed.py tests/test_wire.py ...

Each wheel of this platform gets an empty environment, and so does the sdist, which then has the pure core and says so.
The aarch64 wheels run under qemu, where it and Debian's Python for aarch64 can be had, with the tests that start no
process. No Python for musl can be had.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pythons
from debian import FOLDER, HOUSE, Debian, NotHadError, run

DIST = HOUSE / "dist"
ELSEWHERE = HOUSE / "build" / "installed"
NEEDS = ("arrow", "aws", "cli", "testing")
# The sdist is built, so pip needs what its own metadata names; with an emulated processor, an hour is not a minute.
SHORT = ("tests/wire/test_wire.py", "tests/packing/test_packer.py", "tests/unpacking/test_unpacker.py")
EMULATED = (
    *SHORT,
    "tests/wire/test_native.py",
    "tests/wire/test_kpl_vectors.py",
    "tests/unpacking/test_kcl_vectors.py",
    # A process of its own would need the emulator, too.
    "-k=not can_be_forced and not little_more_memory",
)


def pytest(command: list[str | Path], core: str, tests: list[str], path: str, **more: str) -> bool:
    """Whether they passed; the tests are a copy that has no sources of ours beside it."""
    env = {**os.environ, "PATH": path, "SHARDPACK_NATIVE": core, **more}
    options = ("-q", "-c", str(HOUSE / "pyproject.toml"), "--rootdir", ".", "-p", "no:cacheprovider")
    done = subprocess.run([*command, "-m", "pytest", *options, *tests], cwd=ELSEWHERE, env=env, check=False)
    return done.returncode == 0


def empty(name: str, python: Path) -> Path:
    home = ELSEWHERE / name
    shutil.rmtree(home, ignore_errors=True)
    run(python, "-m", "venv", home)
    run(home / "bin" / "python", "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")
    return home / "bin"


def install(bin_: Path, what: Path) -> str:
    """What pip says, which is what a build says too; in the environment there is no compiler to find."""
    command = (bin_ / "python", "-m", "pip", "install", "-v", f"{what}[{','.join(NEEDS)}]", "--group", "test")
    path = f"{bin_}:/nowhere"
    done = subprocess.run(
        command, cwd=HOUSE, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotHadError(done.stderr.strip()[-600:])
    return done.stdout + done.stderr


def version_of(wheel: Path) -> str:
    found = re.search(r"-cp3(\d+)-cp3\d+(t?)-", wheel.name)
    assert found, wheel.name
    return f"3.{found[1]}{found[2]}"


def try_wheel(wheel: Path, tests: list[str]) -> bool:
    if "musl" in wheel.name:
        raise NotHadError("there is no Python for musl")
    bin_ = empty(wheel.stem, pythons.bring(version_of(wheel)))
    install(bin_, wheel)
    return pytest([bin_ / "python"], "1", tests, os.environ["PATH"])


def try_sdist(sdist: Path) -> bool:
    bin_ = empty("sdist", Path(sys.executable))
    said = install(bin_, sdist)
    line = "Rust (cargo) is not here, so it will run on its pure Python core"
    if line not in said:
        print(f"the build did not say {line!r}", file=sys.stderr)
        return False
    return pytest([bin_ / "python"], "0", list(SHORT), os.environ["PATH"])


def try_emulated(wheel: Path) -> bool:
    version = version_of(wheel)
    if version not in pythons.PACKAGES or version == "3.11":
        raise NotHadError(f"Debian has no Python {version} for aarch64 that is looked at")
    qemu, root = FOLDER / "qemu", FOLDER / f"{version}-arm64"
    if not qemu.exists():
        Debian("trixie").unpack(qemu, "qemu-user-static")
    if not root.exists():
        Debian(pythons.PACKAGES[version], "arm64").unpack(root, f"python{version}")
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")  # where programs for it look for the loader
    site = ELSEWHERE / wheel.stem
    shutil.rmtree(site, ignore_errors=True)
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (28, 17)] + ["--platform=manylinux2014_aarch64"]
    where = ("--target", str(site), "--only-binary=:all:", "--python-version", version, *platforms)
    pip: tuple[str, ...] = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, *where, f"{wheel}[testing]", "pytest>=9", "boto3")
    emulator = next((qemu / "usr" / "bin").glob("qemu-aarch64-static"))
    command: list[str | Path] = [emulator, "-L", root, root / "usr" / "bin" / f"python{version}"]
    return pytest(command, "1", list(EMULATED), os.environ["PATH"], PYTHONPATH=str(site), PYTHONHOME=str(root / "usr"))


def main() -> int:
    shutil.rmtree(ELSEWHERE, ignore_errors=True)
    shutil.copytree(HOUSE / "tests", ELSEWHERE / "tests", ignore=shutil.ignore_patterns("node_modules", "target"))
    results: dict[str, str] = {}
    for made in sorted(DIST.iterdir()):
        print(f"--- {made.name}", flush=True)
        try:
            if made.name.endswith(".tar.gz"):
                good = try_sdist(made)
            elif "aarch64" in made.name:
                good = try_emulated(made)
            else:
                good = try_wheel(made, sys.argv[1:])
        except NotHadError as error:
            results[made.name] = f"not run here: {error}"
            continue
        results[made.name] = "passed" if good else "FAILED"
    for name, result in results.items():
        print(f"{name}: {result}")
    ran = list(results.values())
    return 0 if "passed" in ran and "FAILED" not in ran else 1


if __name__ == "__main__":
    sys.exit(main())
