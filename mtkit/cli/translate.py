"""The command `mtkit translate`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from mtkit.cli.options import (
    MORE_OPTIONS,
    DecodingRecipeOption,
    DeviceOption,
    LengthPenaltyOption,
    ModelsOption,
    OutputOption,
    PrecisionOption,
    QuietOption,
    SetOption,
    TagOption,
    ThreadsOption,
    gather,
    recipe_option,
    refuse_options,
)
from mtkit.cli.places import check_places, without_standard
from mtkit.errors import RecipeError
from mtkit.runtime import console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtkit.decoding.formats import FormatName
    from mtkit.documents.formats import DocumentFormat

_CONTROL = "Constraints"
_SAMPLING = "Sampling and reranking"
_OUTPUT = "Answers"
_DOCUMENTS = "Documents"
_DRAWS = ("--temperature", "--top-k", "--top-p", "--seed")
# Which documents a wish is for.
_CATALOGS: tuple[DocumentFormat, ...] = ("po", "xliff", "tmx")
_FITTING: dict[str, tuple[DocumentFormat, ...]] = {
    "--fill": _CATALOGS,
    "--no-mark": _CATALOGS,
    "--accelerator": ("po",),
    "--max-width": ("srt", "vtt"),
}


def translate(
    model: ModelsOption,
    file: Annotated[
        Path | None, typer.Argument(help="Text to translate, one sentence a line. [default: standard input]")
    ] = None,
    output: OutputOption = None,
    beam_size: Annotated[int | None, recipe_option("decoding.beam_size", "--beam-size")] = None,
    n_best: Annotated[int | None, recipe_option("decoding.n_best", "--n-best")] = None,
    length_penalty: LengthPenaltyOption = None,
    tag: TagOption = None,
    format_name: Annotated[
        Literal["lines", "jsonl", "tsv", "po", "xliff", "tmx", "html", "markdown", "srt", "vtt", "text"] | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="lines; jsonl: objects with a 'source'; tsv: a table with such a column; or a document, of which only "
            "the text changes: po, xliff, tmx, html, markdown, srt, vtt, text (paragraphs). [default: by suffix, else "
            "lines]",
            show_default=False,
        ),
    ] = None,
    json_output: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Answer each line with a JSON object of all that is known: score, tokens, what was cut and split.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    alignment: Annotated[
        bool,
        typer.Option("--alignment", help="With --json: which words belong together.", rich_help_panel=_OUTPUT),
    ] = False,
    alignment_file: Annotated[
        Path | None,
        typer.Option(
            "--alignment-file",
            help="Also write which words belong together in Pharaoh format, `0-0 1-2`, a line for each translation.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            help="Also write a table of score, log_prob, tokens and cut, a row each.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Stop at a malformed line, where it would be answered with an empty result. What was translated "
            "before it stays written, except to a file of -o, which appears whole or not at all.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    glossary: Annotated[
        Path | None,
        typer.Option(
            "--glossary",
            help="Source terms, a tab, and what they are to become in the lines in which they stand.",
            rich_help_panel=_CONTROL,
        ),
    ] = None,
    expand_prefix: Annotated[
        bool | None, recipe_option("decoding.expand_prefix", "--expand-prefix", panel=_CONTROL)
    ] = None,
    min_length: Annotated[int | None, recipe_option("decoding.min_length", "--min-length", panel=_CONTROL)] = None,
    no_repeat_ngram: Annotated[
        int | None, recipe_option("decoding.no_repeat_ngram", "--no-repeat-ngram", panel=_CONTROL)
    ] = None,
    sampling: Annotated[bool | None, recipe_option("decoding.sampling", "--sampling", panel=_SAMPLING)] = None,
    temperature: Annotated[
        float | None, recipe_option("decoding.temperature", "--temperature", panel=_SAMPLING)
    ] = None,
    top_k: Annotated[int | None, recipe_option("decoding.top_k", "--top-k", panel=_SAMPLING)] = None,
    top_p: Annotated[float | None, recipe_option("decoding.top_p", "--top-p", panel=_SAMPLING)] = None,
    seed: Annotated[int | None, recipe_option("decoding.seed", "--seed", panel=_SAMPLING)] = None,
    mbr: Annotated[Literal["chrf", "bleu"] | None, recipe_option("decoding.mbr", "--mbr", panel=_SAMPLING)] = None,
    fill: Annotated[
        Literal["empty", "fuzzy", "all"],
        typer.Option(
            "--fill",
            help="po, xliff, tmx: translate what has no translation, also what is fuzzy or needs review, or all.",
            rich_help_panel=_DOCUMENTS,
        ),
    ] = "empty",
    mark: Annotated[
        bool,
        typer.Option(
            "--mark/--no-mark",
            help="po, xliff, tmx: mark what was filled as fuzzy, as in need of review, or as made by mtkit.",
            rich_help_panel=_DOCUMENTS,
        ),
    ] = True,
    accelerator: Annotated[
        Literal["_", "&", "~"] | None,
        typer.Option(
            "--accelerator",
            help="po: the mark before an access key, as in _File. [default: X-Accelerator-Marker of the header, else "
            "none]",
            show_default=False,
            rich_help_panel=_DOCUMENTS,
        ),
    ] = None,
    max_width: Annotated[
        int | None,
        typer.Option(
            "--max-width",
            min=10,
            help="srt, vtt: longest line in characters. [default: the document's own]",
            show_default=False,
            rich_help_panel=_DOCUMENTS,
        ),
    ] = None,
    source_language: Annotated[
        str | None,
        typer.Option(
            "--source-language",
            help="Of the document, whose sentences end by its rules. [default: the model's]",
            show_default=False,
            rich_help_panel=_DOCUMENTS,
        ),
    ] = None,
    target_language: Annotated[
        str | None,
        typer.Option(
            "--target-language",
            help="Of the translation, as po, xliff and tmx say it. [default: the model's]",
            show_default=False,
            rich_help_panel=_DOCUMENTS,
        ),
    ] = None,
    batch_size: Annotated[int | None, recipe_option("decoding.batch_size", "--batch-size", panel=MORE_OPTIONS)] = None,
    batch_tokens: Annotated[
        int | None, recipe_option("decoding.batch_tokens", "--batch-tokens", panel=MORE_OPTIONS)
    ] = None,
    precision: PrecisionOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    recipe: DecodingRecipeOption = None,
    set_values: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Translate text, line by line: N lines in, N lines out, in order; an empty line stays empty. Or a document.

    Example: `mtkit translate --model run test.en -o test.hyp --beam-size 5`

    Of a document (gettext PO, XLIFF, TMX, HTML, Markdown, SRT, WebVTT, or text in paragraphs) only what should be
    translated changes; placeholders and tags in it come back exactly once: `mtkit translate --model run messages.po -o
    messages.de.po`

    Standard input is read until it ends; a line that is typed, or that a program writes before it waits, is answered
    at once.

    JSON objects and tables may hold, beside the source, what its translation is held to: a prefix, constraints
    (phrases that must appear), forbidden phrases, and a tag.
    """
    flags = {
        "decoding.beam_size": ("--beam-size", beam_size),
        "decoding.n_best": ("--n-best", n_best),
        "decoding.length_penalty": ("--length-penalty", length_penalty),
        "decoding.tag": ("--tag", tag),
        "decoding.expand_prefix": ("--expand-prefix", expand_prefix),
        "decoding.min_length": ("--min-length", min_length),
        "decoding.no_repeat_ngram": ("--no-repeat-ngram", no_repeat_ngram),
        "decoding.sampling": ("--sampling", sampling),
        "decoding.temperature": ("--temperature", temperature),
        "decoding.top_k": ("--top-k", top_k),
        "decoding.top_p": ("--top-p", top_p),
        "decoding.seed": ("--seed", seed),
        "decoding.mbr": ("--mbr", mbr),
        "decoding.batch_size": ("--batch-size", batch_size),
        "decoding.batch_tokens": ("--batch-tokens", batch_tokens),
        "decoding.precision": ("--precision", precision),
    }
    decoding = gather(recipe, set_values, flags).decoding
    _refuse_draws(decoding.sampling, {name: value for name, value in flags.values() if name in _DRAWS})
    file, output = without_standard(file), without_standard(output)
    if alignment and not json_output:
        raise RecipeError(
            "--alignment is a part of the JSON answers",
            at="--alignment",
            fix="add --json; or --alignment-file FILE writes links as text",
        )
    written = {"-o": output, "--scores": scores, "--alignment-file": alignment_file}
    check_places({"the input": file, "--glossary": glossary}, written)

    document_options = {
        "--fill": fill != "empty",
        "--no-mark": not mark,
        "--accelerator": accelerator is not None,
        "--max-width": max_width is not None,
        "--source-language": source_language is not None,
        "--target-language": target_language is not None,
    }
    document_format = _find_document(format_name, file)
    if document_format is not None:
        from mtkit.cli.documents import translate_file
        from mtkit.documents.options import DocumentOptions

        line_options = {
            "--json": json_output,
            "--alignment-file": alignment_file is not None,
            "--scores": scores is not None,
            "--strict": strict,
            "--n-best": decoding.n_best > 1,
        }
        is_document = f"and the input is a document ({document_format})"
        refuse_options(line_options, f"is for lines, {is_document}", "read the input as lines: --format lines")
        for option, formats in _FITTING.items():
            if document_format not in formats:
                problem = f"is for {', '.join(formats)}, {is_document}"
                fix = f"say what document it is, as in --format {formats[0]}"
                refuse_options({option: document_options[option]}, problem, fix)
        options = DocumentOptions(fill, mark, accelerator, source_language, target_language, max_width)
        translate_file(model, file, output, document_format, options, decoding, device, threads, glossary)
        return

    refuse_options(
        document_options,
        "is for documents, and the input is read as lines",
        "say what document it is, as in --format po",
    )

    from mtkit.decoding.formats import build_format
    from mtkit.decoding.json_output import FullJson
    from mtkit.decoding.output import open_output
    from mtkit.decoding.stream import count_lines, open_file, open_standard_input

    stream = open_standard_input() if file is None else open_file(file)
    kind = _find_line_format(format_name, file)
    line_format = build_format(kind, decoding.n_best)
    if json_output:
        line_format = FullJson(line_format, decoding.n_best)

    from mtkit.cli.models import load_translator, warn_of_missing_tag
    from mtkit.decoding.glossary import read_glossary
    from mtkit.decoding.pipeline import translate_stream

    if kind == "lines":  # the other formats have a place for it on each line
        warn_of_missing_tag(model[0], decoding.tag)
    aligns = alignment or alignment_file is not None
    terms = None if glossary is None else read_glossary(glossary)
    translator = load_translator(model, decoding, device, threads, glossary=terms, align=aligns)
    with ExitStack() as stack:
        answers = stack.enter_context(open_output(output))
        table = None if scores is None else stack.enter_context(open_output(scores))
        links = None if alignment_file is None else stack.enter_context(open_output(alignment_file))
        advance = None
        if file is not None and file.is_file() and console.is_terminal() and not answers.is_terminal:
            advance = stack.enter_context(console.progress("translating", count_lines(file), "lines"))
        summary = translate_stream(
            translator, stream, line_format, answers, scores=table, links=links, strict=strict, advance=advance
        )
    console.say(str(summary))


def _refuse_draws(is_sampled: bool, given: Mapping[str, object]) -> None:
    """Refuse the options of samples where none are drawn."""
    if not is_sampled:
        was_given = {option: value is not None for option, value in given.items()}
        refuse_options(was_given, "is for samples", "add --sampling")


def _find_document(format_name: str | None, file: Path | None) -> DocumentFormat | None:
    """Return the format of a document, by name or else by the suffix of the file; None for lines."""
    from mtkit.corpus.text_files import strip_compression
    from mtkit.documents.formats import DocumentFormat, find_document_format

    if format_name is not None:
        names: tuple[DocumentFormat, ...] = get_args(DocumentFormat)
        return next((name for name in names if name == format_name), None)
    return None if file is None else find_document_format(strip_compression(file))


def _find_line_format(format_name: str | None, file: Path | None) -> FormatName:
    """Return the format of lines, by name or else by the suffix of the file."""
    from mtkit.decoding.formats import FormatName, find_format

    names: tuple[FormatName, ...] = get_args(FormatName)
    return next((name for name in names if name == format_name), None) or find_format(file)
