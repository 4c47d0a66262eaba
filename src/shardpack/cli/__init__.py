"""The command line: a thin layer that parses, calls and prints."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the ``shardpack`` command."""
    try:
        from .app import run
        from .interrupts import end

        end(run())
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"shardpack: the command line needs {error.name}: pip install 'shardpack[cli]'")
    except KeyboardInterrupt:  # while it loads, or ends; the commands see to it in between
        sys.exit(130)
