"""The processors that this process may use, and how its threads wait for each other."""

from __future__ import annotations

import math
import os
from pathlib import Path

from mtkit.runtime.control_groups import MEMBERSHIP, ROOT, find_control_groups

# Turns of the loop in which a thread of GNU OpenMP waits awake, some 130 microseconds: longer than it takes from the
# last operation of a step to the first of the next.
_TURNS = 10_000


def wait_awake_briefly() -> None:
    """Let torch's threads sleep soon when they wait for each other; call it before torch is imported.

    By default they stay awake for milliseconds, so that where other work has a core, each operation of a step waits
    through the time that the system gives to that work. Does nothing where the environment says how to wait, or where
    OpenMP is another one.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(_TURNS))


def processor_limit(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Return how many processors' time this process may take, rounded up; None for no limit.

    Such is the limit of a container (`docker run --cpus`, a limit of Kubernetes), which sees all processors.
    """
    found = [_limit_of(group) for group in find_control_groups("cpu", root, membership)]
    limit = min((limit for limit in found if limit is not None), default=None)
    return None if limit is None else max(1, math.ceil(limit))


def _limit_of(group: Path) -> float | None:
    for read in (_read_version_2, _read_version_1):
        try:
            quota, period = read(group)
            return quota / period if quota > 0 and period > 0 else None
        except (OSError, ValueError):
            continue  # no such group, or no limit ("max")
    return None


def _read_version_2(group: Path) -> tuple[int, int]:
    quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
    return int(quota), int(period)


def _read_version_1(group: Path) -> tuple[int, int]:
    quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
    return int(quota), int(period)
