"""The command `mtkit info`."""

from __future__ import annotations


def info() -> None:
    """Not written yet."""
