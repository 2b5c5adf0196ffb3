"""Packages that the core goes without: each comes with an extra of mtkit, and is imported where it is used."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from mtkit.errors import RecipeError, first_line

Extra = Literal["zstd", "ct2", "plot", "formats", "serve"]


def import_extra(name: str, extra: Extra, user: str, at: str | Path | None = None) -> Any:
    """Return a module of a package that may be missing.

    Args:
        name: Of the module.
        extra: The extra that brings the package.
        user: What needs it, as the beginning of a sentence: "reading .zst".
        at: Where that was asked for.

    Raises:
        RecipeError: The package is not installed, or cannot be loaded.
    """
    package = name.partition(".")[0]
    fix = f'install it: pip install "mtkit[{extra}]"'
    try:
        import_module(package)
        return import_module(name)
    except ModuleNotFoundError as exc:
        problem = "is not installed"
        if exc.name is not None and exc.name.partition(".")[0] != package:
            problem = f"lacks {exc.name}"
            fix = f"install that too, or {package} anew: pip install --force-reinstall {package}"
        cause: Exception = exc
    except (ImportError, OSError) as exc:  # a library of the system's is missing, say
        problem, cause = f"cannot be loaded ({first_line(exc)})", exc
        fix = f"install it anew: pip install --force-reinstall {package}"
    raise RecipeError(f"{user} needs the package {package}, which {problem}", at=at, fix=fix) from cause
