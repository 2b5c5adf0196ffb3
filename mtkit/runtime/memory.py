"""The process's memory: how its allocator is set up for tensor work, how much is left, and when it ran out."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from mtkit.runtime.control_groups import MEMBERSHIP, ROOT, find_control_groups

# Names of <malloc.h>.
_M_MXFAST = 1
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8

# Those of products over all tokens of a batch take megabytes each, and serve again in the layers of the same batch.
BATCH_KERNELS = 8


def keep_freed_memory() -> None:
    """Let glibc keep freed memory, in large pieces, for the next tensor instead of giving it back to the system.

    By default every tensor above 32 MB is mapped anew and its pages are faulted in again, at each use: up to a fifth
    of a training step on a CPU. And small pieces are merged when they are freed: for one product oneDNN allocates some
    170 pieces, and each request for a large one would merge all small ones that were freed before it.

    Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_MXFAST, 0)
        mallopt(_M_ARENA_MAX, 1)  # what one thread has freed serves the others too


def bound_kernel_caches(capacity: int = 128) -> None:
    """Let oneDNN keep fewer of the kernels that it made; call it before torch computes anything.

    It makes one for each shape of a product and by default keeps 1,024, some 350 MB. A translation meets ever new
    shapes and seldom an old one, so that a long stream would fill all of that.

    Args:
        capacity: Kernels to keep; `BATCH_KERNELS` where each batch is computed at once.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):  # oneDNN's own, and torch's before it
        os.environ.setdefault(name, str(capacity))


def available_memory() -> int | None:
    """Return the bytes of main memory that this process may still take; None where that cannot be told.

    What the system has free, or less where the container or control group that the process runs in has a limit.
    """
    free = _free_memory()
    limits = [left for left in (free, _left_in_control_group()) if left is not None]
    return min(limits) if limits else None


def _free_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        values = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        return values["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # macOS tells the whole of it only
    except (AttributeError, ValueError, OSError):
        return None


# Names of the files of a control group, by version of the interface: limit, use, and what of it merely caches files.
_CONTROL_GROUP_NAMES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _left_in_control_group(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Return the least that this process's control group, and those it stands in, leave: limit less use.

    What merely caches files counts as free.
    """
    found = [_left_in(group) for group in find_control_groups("memory", root, membership)]
    return min((left for left in found if left is not None), default=None)


def _left_in(group: Path) -> int | None:
    for limit_name, used_name, cache in _CONTROL_GROUP_NAMES:
        try:
            limit, used = (int((group / name).read_text()) for name in (limit_name, used_name))
            statistics = (group / "memory.stat").read_text().split()
            return max(0, limit - used + int(statistics[statistics.index(cache) + 1]))
        except (OSError, ValueError):
            continue  # no such group, or no limit ("max")
    return None


def is_out_of_memory(exc: BaseException) -> bool:
    """Return whether Python, torch on a GPU, or torch's allocator on the CPU found no memory."""
    if isinstance(exc, MemoryError) or type(exc).__name__ == "OutOfMemoryError":
        return True
    # The CPU's allocator, and Apple's GPU, raise a plain RuntimeError.
    return isinstance(exc, RuntimeError) and any(m in str(exc) for m in ("can't allocate memory", "out of memory"))
