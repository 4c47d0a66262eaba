"""The native core has the C library keep memory, unless SHARDPACK_KEEP_MEMORY says that it is not to."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

import shardpack as sp

# glibc takes what is larger than its threshold from the system in a piece of its own, which it counts. It raises the
# threshold to the largest such piece that was given up, which here is a Kinesis record of 1 MiB and a half: without
# what the native core does, 8 MiB are above it.
CODE = """
import ctypes
import shardpack as sp

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype, libc.malloc.restype, libc.malloc.argtypes = Info, ctypes.c_void_p, [ctypes.c_size_t]
for packed in sp.pack(iter([("k", bytes(500_000))] * 12), limits=sp.Limits(1_500_000)):
    assert sp.decode(packed.data)
before = libc.mallinfo2().hblks
assert libc.malloc(8 << 20)
print(libc.mallinfo2().hblks - before)
"""


def run(code: str, keep: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    environment.pop("SHARDPACK_KEEP_MEMORY", None)
    if keep is not None:
        environment["SHARDPACK_KEEP_MEMORY"] = keep
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.skipif(sp.native == "pure", reason="this is about the other core")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer has an allocator of its own")
@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or tuple(map(int, platform.libc_ver()[1].split("."))) < (2, 33),
    reason="glibc counts so from 2.33 on, and others do not",
)
@pytest.mark.parametrize(("keep", "own_pieces"), [(None, 0), ("1", 0), ("0", 1)])
def test_glibc_is_left_alone_where_it_is_wished(keep: str | None, own_pieces: int) -> None:
    done = run(CODE, keep)
    assert (done.stdout.strip(), done.returncode) == (str(own_pieces), 0), done.stderr[-1000:]


def test_another_wish_is_an_error() -> None:
    done = run("import shardpack; shardpack.native", "no")
    assert 'SHARDPACK_KEEP_MEMORY is \'no\'; choose "0" or "1", or leave it out' in done.stderr
