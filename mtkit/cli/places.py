"""Files that a command reads and writes: `-` for standard input and output, and no place for two things."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mtkit.errors import RecipeError

STANDARD = Path("-")


def without_standard(path: Path | None) -> Path | None:
    """Return None, which stands for standard input or output, for `-`."""
    return None if path == STANDARD else path


def check_places(read: Mapping[str, Path | None], written: Mapping[str, Path | None]) -> None:
    """Refuse to write over what is read, or to write two things to one place.

    Args:
        read: By what a person calls them, files; None for standard input, or for what was not given.
        written: The same of what is written.

    Raises:
        RecipeError: Two of the places are the same file.
    """
    given = [
        (name, path.resolve())
        for name, path in (*read.items(), *written.items())
        if path is not None and not path.is_char_device()
    ]
    for i, (name, path) in enumerate(given):
        for other, other_path in given[i + 1 :]:
            if path == other_path and other in written:
                raise RecipeError(f"{name} and {other} are the same file", at=path, fix=f"give {other} another name")
