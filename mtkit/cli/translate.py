"""The command `mtkit translate`."""

from __future__ import annotations


def translate() -> None:
    """Not written yet."""
