"""Models as the commands load them to translate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.checkpoint.model_folder import read_model_config
from mtkit.checkpoint.run_folder import find_config_folder
from mtkit.config.decoding import DecodingSection
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName

if TYPE_CHECKING:
    from mtkit.config.model_folder import ModelFolderConfig
    from mtkit.decoding.glossary import Glossary
    from mtkit.decoding.translator import Translator


def load_translator(
    models: Sequence[Path],
    decoding: DecodingSection,
    device: DeviceName,
    threads: int | None,
    *,
    glossary: Glossary | None = None,
    align: bool = False,
) -> Translator:
    """Load one model, or several as an ensemble, with the utility that `decoding.mbr` names.

    Args:
        models: Model or run folders.
        decoding: Search, batching and precision.
        device: Where to compute.
        threads: CPU threads; None for all cores.
        glossary: See `Translator`.
        align: See `Translator`.

    Raises:
        ModelError: A folder is no model, it is damaged, or the models do not fit together.
        RecipeError: `decoding` asks for what the models cannot do.
        DeviceError: The device is absent.
    """
    from mtkit.runtime.memory import bound_kernel_caches, keep_freed_memory

    bound_kernel_caches()
    keep_freed_memory()
    from mtkit.decoding.translator import Translator

    utility = None
    if decoding.mbr is not None:
        from mtkit.evaluation.utility import find_utility

        utility = find_utility(decoding.mbr, read_config(models[0]).target_language)
    return Translator.load(
        models, device=device, decoding=decoding, threads=threads, glossary=glossary, utility=utility, align=align
    )


def warn_of_missing_tag(model: Path, tag: str | None, flag: str = "--tag ") -> None:
    """Warn where sources have no tag and the model never saw such sources.

    Args:
        model: Model or run folder.
        tag: That stands before them.
        flag: How to give one, up to its name.
    """
    needed = [] if tag is not None else read_config(model).needed_tags
    if needed:
        console.warn(
            f"every source that {model} was trained on began with a tag, and none is given: {flag}'{needed[0]}'"
            + (f" (or {', '.join(needed[1:])})" if needed[1:] else "")
        )


def read_config(path: Path) -> ModelFolderConfig:
    """Return what a model, a run, or a checkpoint of a run tells of its model.

    Raises:
        ModelError: It is none of these.
    """
    return read_model_config(find_config_folder(path))
