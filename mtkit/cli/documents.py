"""Documents for `mtkit translate`: read whole, translated, written whole."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.cli.models import load_translator, read_config, warn_of_missing_tag
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName

if TYPE_CHECKING:
    from mtkit.config.decoding import DecodingSection
    from mtkit.config.model_folder import ModelFolderConfig
    from mtkit.documents.formats import DocumentFormat
    from mtkit.documents.options import DocumentOptions

# So many places of segments that were left untranslated are named.
_SHOWN_PLACES = 10


def translate_file(
    models: Sequence[Path],
    file: Path | None,
    output: Path | None,
    format_name: DocumentFormat,
    options: DocumentOptions,
    decoding: DecodingSection,
    device: DeviceName,
    threads: int | None,
    glossary: Path | None = None,
) -> None:
    """Translate a document, and say what was done.

    Args:
        models: Model or run folders.
        file: The document; None for standard input.
        output: Where to write; None for standard output.
        format_name: Of the document.
        options: Wishes. Languages that it leaves out are those of the model.
        decoding: Search, batching and precision.
        device: Where to compute.
        threads: CPU threads; None for all cores.
        glossary: Terms and their translations.

    Raises:
        MtkitError: The document is damaged, the model does not fit it, or the result cannot be written.
    """
    from dataclasses import replace

    from mtkit.documents.formats import read_document

    config = read_config(models[0])
    warn_of_missing_tag(models[0], decoding.tag)
    _compare_languages(options, config)
    options = replace(
        options,
        source_language=options.source_language or config.source_language,
        target_language=options.target_language or config.target_language,
    )
    name = file or "standard input"
    document = read_document(_read(file), format_name, name, options)

    from mtkit.decoding.glossary import read_glossary
    from mtkit.decoding.output import open_output
    from mtkit.documents.pipeline import translate_document

    terms = None if glossary is None else read_glossary(glossary)
    if not decoding.sampling and decoding.mbr is None:
        # Of the other hypotheses one may have kept a placeholder that the best one lost.
        decoding = decoding.model_copy(update={"n_best": decoding.beam_size})
    translator = load_translator(models, decoding, device, threads, glossary=terms, align=True)
    shows = console.is_terminal() and not (output is None and sys.stdout is not None and sys.stdout.isatty())
    with open_output(output) as result:  # a place that cannot be written is told now, not after the translation
        with console.progress("translating", len(document.segments), "segments") if shows else nullcontext() as advance:
            translated = translate_document(document, translator, advance)
        result.write(translated.content)
    _warn_of_left(f"{name}: left untranslated", translated.left)
    _warn_of_left(f"{name}: left untranslated, {translated.unwritten_because}", translated.unwritten)
    console.say(str(translated.summary))


def _warn_of_left(problem: str, places: Sequence[str]) -> None:
    if places:
        more = ", …" if len(places) > _SHOWN_PLACES else ""
        console.warn(f"{problem}: {', '.join(dict.fromkeys(places[:_SHOWN_PLACES]))}{more}")


def _compare_languages(options: DocumentOptions, config: ModelFolderConfig) -> None:
    """Warn if a person says another language than the model, of which files may say their own varieties."""
    from mtkit.corpus.language_tags import is_same_language

    for name, wanted, own, direction in (
        ("--source-language", options.source_language, config.source_language, "from"),
        ("--target-language", options.target_language, config.target_language, "into"),
    ):
        if not is_same_language(wanted, own):
            console.warn(f"{name} is {wanted}, but the model says that it translates {direction} {own}")


def _read(file: Path | None) -> bytes:
    from mtkit.corpus.text_files import open_bytes

    with open_bytes(file) as (stream, _):
        return stream.read()
