"""Which formats of documents there are, by name and by suffix."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from mtkit.documents.document import Document
from mtkit.documents.options import DocumentOptions
from mtkit.errors import DataError, RecipeError
from mtkit.runtime import console

DocumentFormat = Literal["po", "xliff", "tmx", "html", "markdown", "srt", "vtt", "text"]

_BY_SUFFIX: dict[str, DocumentFormat] = {
    ".po": "po",
    ".pot": "po",
    ".xlf": "xliff",
    ".xliff": "xliff",
    ".sdlxliff": "xliff",
    ".mqxliff": "xliff",
    ".tmx": "tmx",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".md": "markdown",
    ".markdown": "markdown",
    ".srt": "srt",
    ".vtt": "vtt",
}


def find_document_format(path: Path) -> DocumentFormat | None:
    """Return the format that a file's name tells; None if it tells none of a document.

    Args:
        path: Without a suffix of compression.
    """
    return _BY_SUFFIX.get(path.suffix.lower())


def read_document(
    content: bytes, format_name: DocumentFormat, name: str | Path = "document", options: DocumentOptions | None = None
) -> Document:
    """Return a document of a format.

    Args:
        content: Of the file, not compressed.
        format_name: Its format.
        name: Of the file, for messages.
        options: Wishes; each format heeds those that it knows.

    Raises:
        DataError: The file is damaged.
        RecipeError: Its package is missing.
    """
    try:
        return _read(content, format_name, name, options or DocumentOptions())
    except (DataError, RecipeError) as exc:
        number = re.fullmatch(r"line (\d+)", exc.at or "")
        exc.at = f"{name}:{number[1]}" if number else exc.at or str(name)
        raise


def _read(content: bytes, format_name: DocumentFormat, name: str | Path, options: DocumentOptions) -> Document:
    match format_name:
        case "po":
            from mtkit.documents.po import read_po

            return read_po(content, name, options)
        case "xliff":
            from mtkit.documents.xliff import read_xliff

            return read_xliff(content, name, options)
        case "tmx":
            from mtkit.documents.tmx import read_tmx

            return read_tmx(content, name, options)
        case "html":
            from mtkit.documents.html import read_html

            return read_html(content, options.source_language, lambda problem: console.warn(f"{name}: {problem}"))
        case "markdown":
            from mtkit.documents.markdown import read_markdown

            return read_markdown(content, options.source_language)
        case "srt":
            from mtkit.documents.subtitles import read_srt

            return read_srt(content, options.source_language, options.max_width)
        case "vtt":
            from mtkit.documents.subtitles import read_vtt

            return read_vtt(content, options.source_language, options.max_width)
        case "text":
            from mtkit.documents.paragraphs import read_paragraphs

            return read_paragraphs(content, options.source_language)
