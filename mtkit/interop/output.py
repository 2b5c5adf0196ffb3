"""What may be written over: a folder that mtkit made of the same kind, if a person says so, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.checkpoint.model_folder import CONFIG_NAME, WEIGHTS_NAME, ModelParts, read_parts, write_model_folder
from mtkit.checkpoint.weights import read_tensors
from mtkit.errors import MtkitError, OutputError, RecipeError

if TYPE_CHECKING:
    from torch import Tensor

# What of `config.json` makes a model another one.
_COMPARED = ("source_language", "target_language", "tags", "model")


def refuse_foreign(output: Path, kind: str, is_ours: bool) -> None:
    """Refuse to replace anything but what mtkit made, or an empty folder.

    Args:
        output: The folder to write.
        kind: What mtkit would write there, for the message.
        is_ours: Whether such a thing stands there.

    Raises:
        OutputError: Something else stands there.
    """
    if is_ours or not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    raise OutputError(
        f"something else than {kind} stands there, and is left alone", at=output, fix="choose another folder with -o"
    )


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
