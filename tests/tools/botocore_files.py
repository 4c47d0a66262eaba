"""Let botocore read each of its files once in a process: its sessions share nothing, and parse a megabyte each."""

from __future__ import annotations

import functools

from botocore.loaders import JSONFileLoader, Loader

_files = JSONFileLoader()


class FilesReadOnce:
    """What botocore's own answers, remembered."""

    exists = staticmethod(functools.cache(_files.exists))
    load_file = staticmethod(functools.cache(_files.load_file))


def read_once() -> None:
    """From now on, for all sessions of this process and of those that are forked from it."""
    Loader.FILE_LOADER_CLASS = FilesReadOnce
