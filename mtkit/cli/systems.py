"""The systems that `mtkit evaluate` scores: hypothesis files, and models that translate the source first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.cli.models import load_translator, read_config, warn_of_missing_tag
from mtkit.config.decoding import DecodingSection
from mtkit.corpus.text_files import read_lines, strip_compression
from mtkit.errors import DataError
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName
from mtkit.runtime.files import atomic_file

if TYPE_CHECKING:
    from mtkit.decoding.request import Request

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class System:
    """The translations of one system, one a line.

    Attributes:
        name: As it was given on the command line.
        hypotheses: Its translations.
        target_language: The language of a model; None for a file.
    """

    name: str
    hypotheses: list[str]
    target_language: str | None = None

    @property
    def label(self) -> str:
        """What to call the system in a sentence."""
        return "standard input" if self.name == STANDARD_INPUT else self.name


def read_system(
    name: str, source: Sequence[str] | None, decoding: DecodingSection, device: DeviceName, threads: int | None
) -> System:
    """Read the translations of a system, or let it make them.

    Args:
        name: A hypothesis file, `-` for standard input, or a model or run folder.
        source: What a model translates.
        decoding: How it does so.
        device: Where it computes.
        threads: CPU threads; None for all cores.

    Raises:
        DataError: The file cannot be read, or a model has no source to translate.
        ModelError: The folder is no model.
        DeviceError: The device is absent.
    """
    if name == STANDARD_INPUT:
        return System(name, read_lines(None))
    path = Path(name)
    if not path.is_dir():
        return System(name, read_lines(path))
    language = read_config(path).target_language
    if source is None:
        raise DataError("a model needs text to translate", at=name, fix="add --source FILE")
    warn_of_missing_tag(path, decoding.tag, "--set decoding.tag=")
    return System(name, translate_lines(path, source, decoding, device, threads), language)


def translate_lines(
    model: Path,
    source: Sequence[str | Request],
    decoding: DecodingSection,
    device: DeviceName,
    threads: int | None,
) -> list[str]:
    """Return a model's translation of each line or request.

    Raises:
        ModelError: The folder is no model, it is damaged, or a tag is no piece of its vocabulary.
        RecipeError: `decoding` asks for what the model cannot do.
        DeviceError: The device is absent, or its memory too small.
    """
    translator = load_translator([model], decoding, device, threads)
    with console.progress(f"translating with {model}", total=len(source), unit="lines") as advance:
        return [translation.text for translation in translator.iter_translations(source, advance)]


def write_lines(lines: Sequence[str], path: Path) -> None:
    """Write lines of text, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def save_hypotheses(systems: Sequence[System], folder: Path) -> None:
    """Write the translations of each system to a text file of its own, named after it.

    Raises:
        OutputError: A file cannot be written.
    """
    taken: set[str] = set()
    for system in systems:
        stem = "stdin" if system.name == STANDARD_INPUT else strip_compression(Path(system.name)).as_posix()
        stem = re.sub(r"[^\w.-]+", "_", stem).strip("._") or "system"
        name, count = f"{stem}.txt", 1
        while name in taken:
            count += 1
            name = f"{stem}-{count}.txt"
        taken.add(name)
        write_lines(system.hypotheses, folder / name)
