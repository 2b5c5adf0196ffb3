"""The command `mtkit options`."""

from __future__ import annotations


def options() -> None:
    """Not written yet."""
