"""The command `mtkit import`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtkit.cli.options import OverwriteOption, QuietOption
from mtkit.config.corpus import LANGUAGE_PATTERN
from mtkit.errors import ModelError, RecipeError
from mtkit.runtime import console

if TYPE_CHECKING:
    from mtkit.interop.marian_import import Imported

_SHOWN = 5


def import_model(
    model: Annotated[str, typer.Argument(help="Folder of a MarianMT model, or its name on the hub: owner/name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to write.")],
    allow_bin: Annotated[
        bool,
        typer.Option(
            "--allow-bin",
            help="Convert pytorch_model.bin, a pickle, through torch's restricted loader, where there is nothing else.",
        ),
    ] = False,
    revision: Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit on the hub.")] = None,
    source_language: Annotated[
        str | None, typer.Option("--source-language", help="BCP-47. [default: as the model says]")
    ] = None,
    target_language: Annotated[
        str | None, typer.Option("--target-language", help="BCP-47. [default: as the model says]")
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a model folder of a model of the Marian family, such as those of OPUS-MT.

    Example: `mtkit import Helsinki-NLP/opus-mt-en-de -o opus-en-de`
    """
    for flag, language in (("--source-language", source_language), ("--target-language", target_language)):
        if language is not None and not re.search(LANGUAGE_PATTERN, language):
            raise RecipeError(
                f"'{language}' is no language code", at=flag, fix="give a code of BCP-47, such as de or pt-BR"
            )
    folder = _find_folder(model, revision, allow_bin)
    from mtkit.interop.marian_import import import_marian

    imported = import_marian(
        folder,
        output,
        model,
        allow_pickle=allow_bin,
        source_language=source_language,
        target_language=target_language,
        overwrite=overwrite,
    )
    _tell(imported, model, output)


def _find_folder(model: str, revision: str | None, allow_bin: bool) -> Path:
    """Return the folder of a model, which is fetched from the hub where there is no such folder here."""
    from mtkit.interop.hub import fetch_model, is_hub_name

    path = Path(model)
    if path.is_dir():
        if revision is not None:
            raise RecipeError("a folder here has no revisions", at="--revision", fix="leave it out")
        return path
    if path.exists():
        raise ModelError("this is a file, not a folder", at=path, fix="give the folder that it stands in")
    if not is_hub_name(model):
        raise ModelError(
            "no such folder", at=path, fix="check the path, or give the name of a model on the hub: owner/name"
        )
    return fetch_model(model, revision, allow_pickle=allow_bin)


def _tell(imported: Imported, model: str, output: Path) -> None:
    config = imported.config
    if not imported.is_new:
        console.say(f"{output} is up to date (same weights, same settings): not imported again")
    else:
        languages = f"{config.source_language or '?'}-{config.target_language or '?'}"
        shape = (
            f"{config.model.num_encoder_layers}+{config.model.num_decoder_layers} layers, {config.model.d_model} wide"
        )
        console.say(f"{model} imported to {output}: {languages}, {shape}")
    if imported.tags:
        shown = ", ".join(imported.tags[:_SHOWN]) + (", …" if len(imported.tags) > _SHOWN else "")
        console.say(f"several target languages: choose one with --tag '{imported.tags[0]}' ({shown})")
    if imported.never:
        pieces = ", ".join(imported.never[:_SHOWN]) + (", …" if len(imported.never) > _SHOWN else "")
        console.warn(
            f"the model's files forbid pieces that mtkit does not: name them in decoding.suppressed ({pieces})"
        )
