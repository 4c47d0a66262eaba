"""The native core, where it can be built; everything else is in pyproject.toml.

SHARDPACK_BUILD_NATIVE=yes makes a build that cannot have it fail, =no leaves it out.
"""

from __future__ import annotations

import os
import shutil
import sys

from setuptools import setup

WISHES = ("yes", "no", "")


def rust_extensions() -> list[object]:
    """The native core, if it is wished for or can be built; SHARDPACK_BUILD_NATIVE says which."""
    wish = os.environ.get("SHARDPACK_BUILD_NATIVE", "")
    if wish not in WISHES:
        sys.exit(f'SHARDPACK_BUILD_NATIVE is {wish!r}; choose "yes" or "no", or leave it out')
    if wish == "no":
        return []
    missing = None
    try:
        from setuptools_rust import Binding, RustExtension
    except ImportError:
        missing = "setuptools-rust"
    if not shutil.which("cargo"):
        missing = "Rust (cargo)"
    if missing:
        if wish == "yes":
            sys.exit(f"SHARDPACK_BUILD_NATIVE=yes, but {missing} is not here")
        print(f"shardpack: {missing} is not here, so it will run on its pure Python core", file=sys.stderr)  # noqa: T201  # pip shows it
        return []
    return [
        RustExtension(
            "shardpack.wire._native",
            path="src/rust/Cargo.toml",
            binding=Binding.PyO3,
            debug=False,
            args=["--locked"],
            optional=wish != "yes",  # without network, say, or with a Rust that is too old
        )
    ]


setup(rust_extensions=rust_extensions())
