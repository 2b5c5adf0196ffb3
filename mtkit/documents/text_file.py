"""The bytes of a document as text, so that the text can be written back as the same bytes."""

from __future__ import annotations

import codecs
import re

from mtkit.errors import DataError

_LATIN_1 = {"iso-8859-1", "iso8859-1", "latin-1", "latin1", "us-ascii", "ascii"}
# What is no character in Latin-1.
_WINDOWS_1252 = re.compile(rb"[\x80-\x9f]")
_BOMS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def decode_text(content: bytes, declared: str | None = None) -> tuple[str, str]:
    """Return the text of a document, a byte order mark included, and the encoding that gives the same bytes again.

    Args:
        content: The whole file.
        declared: Encoding that the document names; a byte order mark counts more. UTF-8 if there is neither.

    Raises:
        DataError: The encoding is unknown, the bytes are not of it, or a NUL character stands in the text.
    """
    encoding = next((name for mark, name in _BOMS.items() if content.startswith(mark)), None)
    encoding = encoding or _find_codec(declared or "utf-8", content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise DataError(
            f"byte 0x{content[exc.start]:02x} is not {encoding.upper()}",
            at=f"line {line}",
            fix=f"convert the file to UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8{_hint(declared)}",
        ) from exc
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            "NUL character in the text",
            at=f"line {line}",
            fix="remove it; UTF-16 without a byte order mark is not read",
        )
    if text.encode(encoding, "replace") != content:
        raise DataError(
            f"the text does not come back as the same bytes in {encoding.upper()}", fix="convert the file to UTF-8"
        )
    return text, encoding


def _hint(declared: str | None) -> str:
    return "" if declared is None else ", and correct the charset that it declares"


def _find_codec(declared: str, content: bytes) -> str:
    label = declared.strip().lower()
    if label.endswith("ascii") and content.isascii():
        return "ascii"
    # What browsers do (WHATWG Encoding Standard): Latin-1 means Windows-1252, and text that can be read as ASCII up to
    # this declaration is not UTF-16. XML takes Latin-1 at its word, so no file becomes Windows-1252 here.
    if label in _LATIN_1:
        return "windows-1252" if _WINDOWS_1252.search(content) else "iso-8859-1"
    if label.startswith("utf-16"):
        return "utf-8"
    try:
        name = codecs.lookup(label).name
        "".encode(name)
    except (LookupError, ValueError) as exc:
        raise DataError(
            f"unknown charset '{declared[:40]}'", fix="correct the charset that the document declares, or make it UTF-8"
        ) from exc
    return name
