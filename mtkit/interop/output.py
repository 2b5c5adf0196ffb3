"""Model folders and exports that a person asked for: what is the same already, and what may be written over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.checkpoint.model_folder import (
    CONFIG_NAME,
    MODEL_FILES,
    WEIGHTS_NAME,
    ModelParts,
    read_parts,
    write_model_folder,
)
from mtkit.checkpoint.weights import read_tensors
from mtkit.errors import MtkitError, RecipeError
from mtkit.runtime.replacing import refuse_foreign, refuse_guests

if TYPE_CHECKING:
    from torch import Tensor

# What of `config.json` makes a model another one.
_COMPARED = ("source_language", "target_language", "tags", "model")


def refuse_other(output: Path, kind: str) -> None:
    """Refuse to replace what mtkit made unless a person says so.

    Raises:
        RecipeError: Always.
    """
    raise RecipeError(
        f"{kind} of other weights or settings stands there",
        at=output,
        fix="add --overwrite to replace it, or choose another folder with -o",
    )


def is_model_folder(path: Path) -> bool:
    """Return whether a model folder stands at `path`; it may be damaged."""
    return (path / CONFIG_NAME).is_file() and (path / WEIGHTS_NAME).is_file()


def write_plain_model(
    output: Path, parts: ModelParts, weights: Mapping[str, Tensor], card: str, *, overwrite: bool = False
) -> bool:
    """Write a model folder that a person asked for; return False if the same model stands there already.

    Args:
        output: The folder to write, whole or not at all.
        parts: Configuration and vocabularies.
        weights: By name.
        card: The text of its README.
        overwrite: Replace a model folder that stands there. Anything else is never replaced.

    Raises:
        RecipeError: Another model stands there.
        OutputError: Something else stands there, or the folder cannot be written.
    """
    is_ours = is_model_folder(output)
    refuse_foreign(output, "a model folder", is_ours)
    if is_ours and not overwrite:
        if not _holds(output, parts, weights):
            refuse_other(output, "a model")
        return False
    if is_ours:
        refuse_guests(output, "a model folder", MODEL_FILES)
    write_model_folder(output, parts, dict(weights), card)
    return True


def _holds(folder: Path, parts: ModelParts, weights: Mapping[str, Tensor]) -> bool:
    try:
        there, tensors = read_parts(folder), read_tensors(folder / WEIGHTS_NAME)
    except MtkitError:
        return False
    return (
        all(getattr(there.config, name) == getattr(parts.config, name) for name in _COMPARED)
        and there.source_tokenizer.fingerprint == parts.source_tokenizer.fingerprint
        and there.target_tokenizer.fingerprint == parts.target_tokenizer.fingerprint
        and tensors.keys() == weights.keys()
        and all(tensor.equal(weights[name]) for name, tensor in tensors.items())
    )
