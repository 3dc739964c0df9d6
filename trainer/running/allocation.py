"""How this process's memory is kept between uses.

Knows the C library's allocator; does not know tensors.
"""

from __future__ import annotations

import ctypes

_MOST_FROM_HEAP_BYTES = 32 * 2**20
"""Larger blocks have pages of their own; glibc takes no higher threshold than this."""
_KEPT_BYTES = 2**31 - 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed for the next use, instead of giving it back to the system at once.

    A training step frees and takes the same megabytes hundreds of times. By default each time comes with new pages,
    which the system clears one by one. The peak does not change: what is kept is what was needed before.

    Returns:
        Whether the allocator was told: glibc's is, others have no such function.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    told = [mallopt(_M_MMAP_THRESHOLD, _MOST_FROM_HEAP_BYTES), mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)]
    return all(told)
