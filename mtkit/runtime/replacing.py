"""What may be written over: a folder that mtkit made of the same kind and that holds nothing else; and only that."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

from mtkit.errors import OutputError, writing

# What a kill leaves in a folder; see `mtkit.runtime.files`.
_LEFTOVERS = (".*.partial", ".*.replaced")
_SHOWN = 5


def refuse_foreign(output: Path, kind: str, is_ours: bool) -> None:
    """Refuse to replace anything but what mtkit made, or an empty folder.

    Args:
        output: The folder to write.
        kind: What mtkit would write there, for the message.
        is_ours: Whether such a thing stands there.

    Raises:
        OutputError: Something else stands there.
    """
    with writing(output):
        if is_ours or not output.exists() or (output.is_dir() and not any(output.iterdir())):
            return
    raise OutputError(
        f"something else than {kind} stands there, and is left alone", at=output, fix="choose another folder with -o"
    )


def refuse_guests(output: Path, kind: str, owned: Collection[str]) -> None:
    """Refuse to replace a folder of mtkit's in which somebody keeps other things.

    Args:
        output: The folder that is to be replaced.
        kind: What it is, for the message.
        owned: Patterns of what mtkit writes in such a folder; what is further down is not looked at.

    Raises:
        OutputError: Something else is in it.
    """
    with writing(output):
        names = sorted(item.name for item in output.iterdir())
    guests = [name for name in names if not any(fnmatch(name, pattern) for pattern in (*owned, *_LEFTOVERS))]
    if guests:
        more = len(guests) - _SHOWN
        raise OutputError(
            f"what is not of {kind} stands there too, and would be lost: {', '.join(guests[:_SHOWN])}"
            + (f" and {more} more" if more > 0 else ""),
            at=output,
            fix="move it elsewhere, or choose another folder with -o",
        )
