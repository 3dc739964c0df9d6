"""Freed memory is used again without new pages, in a process of its own, because the setting is for good."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import ctypes, json, resource
from trainer.running.allocation import keep_freed_memory

def faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        ctypes.memset(block := libc.malloc(8 << 20), 1, 8 << 20)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.mallopt(-1, 128 << 10), libc.mallopt(-3, 128 << 10)  # what it starts with, and without its own adaptation
before = faults()
told = keep_freed_memory()
faults()
print(json.dumps({"told": told, "before": before, "after": faults()}))
"""


def test_blocks_that_are_taken_again_bring_no_new_pages() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["told"]
    assert found["before"] >= 20 * 2048  # 8 MiB are 2,048 pages of 4 KiB, each time
    assert found["after"] < 200
