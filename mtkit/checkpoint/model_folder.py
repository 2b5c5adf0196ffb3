"""The model folder: everything that translating needs, in one place that can be copied.

```
config.json          format version, languages, special ids, shape (mtkit.config.model_folder)
model.safetensors    weights
shared.spm           SentencePiece model of both sides, or source.spm and target.spm
vocab.json           ids of their pieces, in imported models of the Marian family (and target_vocab.json, if it differs)
README.md            model card
```
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mtkit.checkpoint.weights import load_weights, read_tensors, write_tensors
from mtkit.config.model_folder import MODEL_FORMAT_VERSION, ModelFolderConfig
from mtkit.corpus.tokenizer import Tokenizer, load_tokenizers, save_tokenizers
from mtkit.errors import ModelError, writing
from mtkit.runtime.files import atomic_folder, read_json
from mtkit.version import __version__

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mtkit.model.transformer import Transformer

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
_CTRANSLATE2_WEIGHTS = "model.bin"
# Patterns of what is in a model folder.
MODEL_FILES = (CONFIG_NAME, WEIGHTS_NAME, CARD_NAME, "*.spm", "*vocab.json")
RUN_FOLDER = "run"  # inside the folder that `mtkit run` makes


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to translate, with its vocabularies."""

    model: Transformer
    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    source_language: str | None
    target_language: str | None
    path: Path


@dataclass(frozen=True)
class ModelParts:
    """What a model folder holds besides weights."""

    config: ModelFolderConfig
    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer


def write_parts(folder: Path, parts: ModelParts) -> None:
    """Write `config.json` and the vocabularies into a folder.

    Raises:
        OutputError: A file cannot be written.
    """
    with writing(folder):
        save_tokenizers(parts.source_tokenizer, parts.target_tokenizer, folder)
        text = json.dumps(parts.config.model_dump(mode="json"), indent=2)
        (folder / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")


def write_model_folder(folder: Path, parts: ModelParts, weights: dict[str, Tensor], card: str) -> None:
    """Write a model folder, whole or not at all; one that stands there is replaced.

    Raises:
        OutputError: The folder cannot be written.
    """
    with atomic_folder(folder) as temporary:
        write_parts(temporary, parts)
        write_tensors(weights, temporary / WEIGHTS_NAME)
        (temporary / CARD_NAME).write_text(card, encoding="utf-8")


def read_model_config(folder: Path) -> ModelFolderConfig:
    """Read `config.json` of a model folder.

    Raises:
        ModelError: It is missing, damaged, or of a newer format than this version knows.
    """
    path = folder / CONFIG_NAME
    try:
        raw = read_json(path)
        version = raw["format_version"]
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise no_model_folder(folder) from exc
    except (OSError, ValueError, KeyError) as exc:
        refuse_ctranslate2(folder)
        raise ModelError("config.json is damaged or not mtkit's", at=path, fix="copy the folder again, whole") from exc
    if isinstance(version, int) and version > MODEL_FORMAT_VERSION:
        raise ModelError(
            f"the model has format {version}, and mtkit {__version__} knows formats up to {MODEL_FORMAT_VERSION}",
            at=path,
            fix="update mtkit",
        )
    try:
        return ModelFolderConfig.model_validate(raw)
    except ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ModelError(f"config.json: {field}: {first['msg']}", at=path, fix="copy the folder again, whole") from exc


def refuse_ctranslate2(folder: Path) -> None:
    """Refuse a folder that holds the weights of CTranslate2.

    Raises:
        ModelError: It does.
    """
    if (folder / _CTRANSLATE2_WEIGHTS).is_file():
        raise ModelError(
            "this is a model for CTranslate2, which mtkit writes and does not read",
            at=folder,
            fix="translate with CTranslate2, or give the run or model that it was made from",
        )


def no_model_folder(path: Path) -> ModelError:
    """Return the error for what is no model folder: where there is one inside, with its name."""
    if path.is_file():
        problem = "this is a file, not a model folder"
    else:
        problem = "not a model folder" if path.exists() else "no such model folder"
    inside = (path / RUN_FOLDER / CONFIG_NAME).is_file()
    fix = f"give {path / RUN_FOLDER}" if inside else "give a run or a model folder that mtkit train made"
    return ModelError(problem, at=path, fix=fix)


def read_parts(folder: Path) -> ModelParts:
    """Read what a model folder holds besides weights.

    Raises:
        ModelError: Anything is missing or damaged.
    """
    config = read_model_config(folder)
    source_tokenizer, target_tokenizer = load_tokenizers(folder)
    for side, tokenizer, size in (
        ("source", source_tokenizer, config.model.src_vocab_size),
        ("target", target_tokenizer, config.model.tgt_vocab_size),
    ):
        if not tokenizer.fits(size):
            raise ModelError(
                f"the {side} vocabulary has {len(tokenizer):,} pieces, and the model {size:,}",
                at=folder,
                fix="copy the folder again, whole: this vocabulary is another model's",
            )
    return ModelParts(config, source_tokenizer, target_tokenizer)


def load_model(path: str | Path, device: torch.device) -> LoadedModel:
    """Load a model for translation, in evaluation mode.

    Args:
        path: A model folder, or a run: its finished model or, before the end, its best checkpoint.
        device: Where to put it.

    Raises:
        ModelError: There is no model, or it is damaged.
    """
    from mtkit.checkpoint.run_folder import find_model
    from mtkit.model.transformer import build_model

    folder, weights = find_model(Path(path))
    parts = read_parts(folder)
    tensors = read_tensors(weights)
    model = build_model(parts.config.model, is_drawn=False)
    load_weights(model, tensors, weights)
    model.to(device).eval()
    return LoadedModel(
        model,
        parts.source_tokenizer,
        parts.target_tokenizer,
        parts.config.source_language,
        parts.config.target_language,
        folder,
    )
