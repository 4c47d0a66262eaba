"""Deployment packages for functions on a local server."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import shardpack as sp

ROLE = "arn:aws:iam::000000000000:role/lambda-role"
_SOURCE = Path(sp.__file__).parent


def package(function: str) -> bytes:
    """A deployment package: the function, and shardpack as it stands here; protobuf is the layer below."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("function.py", function)
        for path in [*_SOURCE.rglob("*.py"), *(_SOURCE.rglob("_native*.so") if sp.native != "pure" else ())]:
            archive.write(path, Path("shardpack") / path.relative_to(_SOURCE))
    return out.getvalue()
