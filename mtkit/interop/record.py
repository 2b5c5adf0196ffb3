"""What an export was made from: `mtkit.json` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mtkit.checkpoint.model_folder import ModelParts
from mtkit.interop.output import refuse_other
from mtkit.runtime.files import hash_file, read_json, write_json
from mtkit.runtime.replacing import refuse_foreign, refuse_guests
from mtkit.version import __version__

RECORD_NAME = "mtkit.json"
EXPORT_FORMAT_VERSION = 1
# Patterns of what is in an export, for CTranslate2 or transformers.
_EXPORT_FILES = (
    RECORD_NAME, "README.md", "config.json", "generation_config.json", "tokenizer_config.json", "model.bin",
    "model.safetensors", "*.spm", "*vocab.json", "*_vocabulary.json",
)  # fmt: skip


def describe_origin(parts: ModelParts, weights: Path, **settings: str) -> dict[str, Any]:
    """Return what an export is made from: hashes of weights and vocabularies, languages, shape, settings."""
    return {
        "weights": hash_file(weights),
        "languages": [parts.config.source_language, parts.config.target_language],
        "model": parts.config.model.model_dump(mode="json"),
        "vocabularies": [parts.source_tokenizer.fingerprint, parts.target_tokenizer.fingerprint],
        **settings,
    }


def stands_there(output: Path, made_from: dict[str, Any], overwrite: bool) -> bool:
    """Return whether the same export stands at `output` already; False too if it is to be written over.

    Raises:
        RecipeError: Another export stands there, and `overwrite` is off.
        OutputError: Something else stands there.
    """
    is_export = (output / RECORD_NAME).is_file()
    refuse_foreign(output, "an export of mtkit", is_export)
    if is_export and overwrite:
        refuse_guests(output, "an export", _EXPORT_FILES)
    if not is_export or overwrite:
        return False
    record = read_record(output)
    if record is None or record.get("made_from") != made_from:
        refuse_other(output, "an export")
    return True


def write_record(folder: Path, parts: ModelParts, made_from: dict[str, Any], **versions: str) -> None:
    """Write the record of an export into its folder.

    Raises:
        OutputError: It cannot be written.
    """
    record = {
        "format_version": EXPORT_FORMAT_VERSION,
        "mtkit_version": __version__,
        **versions,
        "source_language": parts.config.source_language,
        "target_language": parts.config.target_language,
        "tags": parts.config.tags,
        "made_from": made_from,
    }
    write_json(record, folder / RECORD_NAME)


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of an export, None where there is none or it is damaged."""
    try:
        return read_json(folder / RECORD_NAME)
    except (OSError, ValueError):
        return None
