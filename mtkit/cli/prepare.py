"""The command `mtkit prepare`."""

from __future__ import annotations


def prepare() -> None:
    """Not written yet."""
