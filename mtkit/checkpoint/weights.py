"""Weights on disk: safetensors only, which is data and can run no code."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.errors import ModelError, writing

if TYPE_CHECKING:
    from torch import Tensor, nn


def unique_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's weights by name, a matrix that is shared under its first name only."""
    return dict(model.named_parameters(remove_duplicate=True))


def write_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors.

    Raises:
        OutputError: The file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with writing(path):
        path.touch()
        mode = path.stat().st_mode  # as the user's umask has it; safetensors would leave the file to its owner alone
        try:
            save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path, metadata)
        except SafetensorError as exc:
            raise _name_refusal(str(exc)) from exc
        path.chmod(mode)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        ModelError: The file is missing, truncated, or not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError("no weights here", at=path, fix="copy the folder again, whole")
    try:
        return dict(load_file(path))
    except SafetensorError as exc:
        raise _not_safetensors(path, str(exc)) from exc


def read_shapes(path: Path) -> dict[str, list[int]]:
    """Return the shape of each tensor in a safetensors file, from its header alone.

    Raises:
        ModelError: The file is missing or not safetensors.
    """
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(size, 100_000_000)))
        return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    except FileNotFoundError as exc:
        raise ModelError("no weights here", at=path, fix="copy the folder again, whole") from exc
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise _not_safetensors(path, str(exc)) from exc


def load_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy tensors that were read from `path` into a model.

    Raises:
        ModelError: Names or shapes are not those of the model.
    """
    import torch

    check_weights(model, tensors, path)
    with torch.no_grad():
        for name, parameter in unique_weights(model).items():
            parameter.copy_(tensors[name])


def check_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors that were read from `path` and are not those of a model.

    Raises:
        ModelError: Names or shapes are not those of the model.
    """
    wanted = unique_weights(model)
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or extra:
        what = f"lacks '{missing[0]}'" if missing else f"has '{extra[0]}', which the model lacks"
        raise ModelError(
            f"the weights do not fit config.json: the file {what}", at=path, fix="use the files of one model"
        )
    for name, parameter in wanted.items():
        if parameter.shape != tensors[name].shape:
            raise ModelError(
                f"the weights do not fit config.json: '{name}' is {list(tensors[name].shape)}, "
                f"not {list(parameter.shape)}",
                at=path,
                fix="use the files of one model",
            )


def _name_refusal(text: str) -> OSError:
    """Return the refusal of the system that safetensors speaks of, with its number where that is one of errno's."""
    found = re.search(r"([^:]+) \(os error (\d+)\)", text)
    if found is None or os.name == "nt":
        return OSError(None, text)
    return OSError(int(found[2]), found[1].strip())


def _not_safetensors(path: Path, reason: str) -> ModelError:
    with path.open("rb") as stream:
        start = stream.read(2)
    if start in (b"PK", b"\x80\x02", b"\x80\x04"):
        return ModelError(
            "this is a pickle, which can run code, and mtkit reads safetensors only",
            at=path,
            fix="convert it with the tool that made it, or ask its author for safetensors",
        )
    return ModelError(
        f"truncated or not safetensors ({reason})", at=path, fix="copy the file again, or use an earlier checkpoint"
    )
