"""The command `mtkit export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mtkit.cli.options import OverwriteOption, QuietOption
from mtkit.errors import RecipeError
from mtkit.runtime import console

Quantization = Literal[
    "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32"
]


def export(
    model: Annotated[Path, typer.Argument(help="Run, model folder, or checkpoint of a run.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    to: Annotated[
        Literal["ctranslate2", "transformers", "safetensors"],
        typer.Option(
            "--to",
            help="ctranslate2, transformers: for the engine of that name. safetensors: a plain model folder.",
        ),
    ],
    quantization: Annotated[
        Quantization | None,
        typer.Option("--quantization", help="How CTranslate2 stores the weights. [default: float32]"),
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a model for another engine, or the model of a run as a folder of its own.

    A run stands for its finished model or, before the end, for its best checkpoint.

    Example: `mtkit export run -o run-ct2 --to ctranslate2 --quantization int8`
    """
    from mtkit.checkpoint.run_folder import find_model

    chosen = find_model(model)[1].parent  # once: while a run trains, its best checkpoint changes
    if to == "ctranslate2":
        from mtkit.interop.ctranslate2 import export_model

        is_new = export_model(chosen, output, quantization, overwrite=overwrite)
    elif quantization is not None:
        raise RecipeError(
            "only CTranslate2 quantizes", at="--quantization", fix="add --to ctranslate2, or leave it out"
        )
    elif to == "transformers":
        from mtkit.interop.marian_export import export_transformers

        is_new = export_transformers(chosen, output, _find_card(chosen), overwrite=overwrite)
    else:
        is_new = _export_safetensors(chosen, output, overwrite)
    if not is_new:
        console.say(f"{output} is up to date (same weights, same settings): not exported again")
        return
    size = sum(file.stat().st_size for file in output.iterdir())
    console.say(f"{model} exported to {output}: {to}, {size / 1e6:,.1f} MB")


def _export_safetensors(path: Path, output: Path, overwrite: bool) -> bool:
    from mtkit.checkpoint.model_folder import read_parts
    from mtkit.checkpoint.run_folder import find_model
    from mtkit.checkpoint.weights import check_weights, read_tensors
    from mtkit.interop.output import write_plain_model
    from mtkit.model.transformer import build_model

    folder, weights_path = find_model(path)
    parts = read_parts(folder)
    weights = read_tensors(weights_path)
    check_weights(build_model(parts.config.model, is_drawn=False), weights, weights_path)
    return write_plain_model(output, parts, weights, _find_card(path), overwrite=overwrite)


def _find_card(path: Path) -> str:
    """Return the model card of a model folder, or that of a checkpoint."""
    from mtkit.checkpoint.run_folder import RunFolder, find_model
    from mtkit.checkpoint.weights import read_tensors

    folder, weights_path = find_model(path)
    if weights_path.parent == folder:
        return _read_card(folder)
    from mtkit.cli.average import build_card

    return build_card(RunFolder(folder), [weights_path.parent], read_tensors(weights_path))


def _read_card(folder: Path) -> str:
    from mtkit.checkpoint.model_folder import CARD_NAME

    path = folder / CARD_NAME
    return path.read_text(encoding="utf-8") if path.is_file() else "# Translation model\n"
