"""Linux's control groups, by which containers, SLURM's jobs and services are held to limits."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def find_control_groups(controller: str, root: Path = ROOT, membership: Path = MEMBERSHIP) -> set[Path]:
    """Return the folders of a controller's groups, of version 2 and 1, from this process's up to the root.

    A limit of each of them holds. In a container the groups begin at `root`, whatever `membership` says.

    Args:
        controller: `memory` or `cpu`.
        root: Where the groups are mounted.
        membership: Tells the groups of this process.
    """
    groups = {root, root / controller}
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return groups
    for line in lines:
        _, controllers, path = line.split(":", 2)
        top = root if not controllers else root / controller if controller in controllers.split(",") else None
        if top is not None:
            own = top / path.lstrip("/")
            groups.update(group for group in (own, *own.parents) if group.is_relative_to(top))
    return groups
