"""TMX and XLIFF as XML: parsed safely, with the languages and the text of what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from mtkit.corpus.language_tags import Languages, is_same_direction, is_same_language, show_direction
from mtkit.errors import DataError
from mtkit.runtime.extras import import_extra

# A text and its translation.
Pair = tuple[str, str]

XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

# What the versions of lxml say of a text of more than 10 MB.
_TOO_LONG = ("Text node too long", "huge text node")
# How deep elements may lie in each other, as lxml has it by itself.
_MAX_DEPTH = 256

# Elements whose content is no text of the segment but code, or a text of its own.
CODE = frozenset({"bpt", "ept", "ph", "it", "ut", "sub", "bx", "ex", "x"})


def parse_xml(content: bytes, name: str | Path) -> Any:
    """Return an `lxml` element tree. Nothing is fetched, and no entity of the file's own is resolved.

    Raises:
        DataError: The file is no well-formed XML.
        RecipeError: lxml is missing.
    """
    etree = import_etree(name)
    try:
        return _parse(etree, content)
    except (etree.XMLSyntaxError, ValueError) as exc:
        if not any(said in str(exc) for said in _TOO_LONG):
            raise explain_syntax_error(exc, name) from exc
    # Such as the document in an XLIFF file that it was made of.
    try:
        tree = _parse(etree, content, huge_tree=True)
    except (etree.XMLSyntaxError, ValueError) as exc:
        raise explain_syntax_error(exc, name) from exc
    depth = 0
    for event, element in etree.iterwalk(tree, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > _MAX_DEPTH:
            error = f"elements lie in each other more than {_MAX_DEPTH} deep"
            raise DataError(error, at=f"{name}:{element.sourceline}", fix="correct the file")
    return tree


def _parse(etree: Any, content: bytes, **options: bool) -> Any:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, remove_blank_text=False, strip_cdata=False, **options
    )
    return etree.fromstring(content, parser).getroottree()


def import_etree(name: str | Path) -> Any:
    """Return `lxml.etree`.

    Raises:
        RecipeError: lxml is missing.
    """
    return import_extra("lxml.etree", "formats", "reading XLIFF and TMX", name)


def explain_syntax_error(exc: Exception, name: str | Path) -> DataError:
    """Return the error of a file that lxml cannot read, with the line."""
    line = getattr(exc, "lineno", None)
    message = str(getattr(exc, "msg", None) or exc).split(", line ")[0]
    return DataError(f"not well-formed XML: {message}", at=f"{name}:{line}" if line else name, fix="correct the file")


def local_name(element: Any) -> str:
    """Return an element's name without its namespace; empty for comments, instructions and entities."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def iter_named(element: Any, *names: str) -> Iterator[Any]:
    """Yield the descendants of these names, in any namespace, in the document's order."""
    return (inner for inner in element.iter() if local_name(inner) in names)


def find_child(element: Any, name: str) -> Any:
    """Return the first child of this name, in any namespace; None if there is none."""
    return next((child for child in element if local_name(child) == name), None)


def get_text(element: Any) -> str:
    """Return the text of a segment without the codes in it, on one line."""
    return " ".join("".join(_iter_text(element)).split())


def find_direction(own: Languages, languages: Languages, name: str | Path) -> bool:
    """Return whether a file's sides are to be swapped for a corpus of these languages.

    Args:
        own: Source and target language of the file; None for what it does not tell.
        languages: Those of the corpus.
        name: Of the file, for messages.

    Raises:
        DataError: The file is in other languages.
    """
    # What fits only because nothing is known of it says nothing of the direction.
    if _is_told_alike(own, languages[::-1]) and not _is_told_alike(own, languages):
        return True
    if is_same_direction(own, languages):
        return False
    raise DataError(
        f"the file is {show_direction(own)}, the corpus {show_direction(languages)}",
        at=name,
        fix="leave the file out, or correct corpus.source_language and corpus.target_language",
    )


def _is_told_alike(one: Languages, other: Languages) -> bool:
    """Return whether two directions may be one, and a side of both is known."""
    return is_same_direction(one, other) and any(None not in pair for pair in zip(one, other, strict=True))


def find_xliff_version(tree: Any, name: str | Path) -> int:
    """Return 1 for XLIFF 1.2 (and 1.0, 1.1), 2 for XLIFF 2.0 to 2.2.

    Raises:
        DataError: It is neither.
    """
    root = tree.getroot()
    version = root.get("version", "")
    if local_name(root) != "xliff" or version[:2] not in ("1.", "2."):
        found = f"<{local_name(root)}>" if local_name(root) != "xliff" else f"version {version or 'not given'}"
        raise DataError(f"no XLIFF 1.2 or 2.0: {found}", at=name, fix="give another file, or another --format")
    return int(version[0])


def check_tmx(tree: Any, name: str | Path) -> Any:
    """Return the root of a TMX file.

    Raises:
        DataError: It is none.
    """
    root = tree.getroot()
    if local_name(root) != "tmx":
        raise DataError(f"no TMX: <{local_name(root)}>", at=name, fix="give another file, or another --format")
    return root


def find_variants(unit: Any, source: str | None, target: str | None, default: str | None) -> tuple[Any, Any]:
    """Return the variants of a translation unit in two languages, of which each may be None.

    Args:
        unit: A `tu`.
        source: The source language; None for that of the unit, else of the file.
        target: The target language; None for the first that is not the source.
        default: The source language that the file's header names.
    """
    variants = [v for v in unit if local_name(v) == "tuv" and find_child(v, "seg") is not None]
    own = unit.get("srclang") or default
    source = source or (own if own != "*all*" else None)
    first = next((v for v in variants if is_same_language(get_language(v), source)), None)
    others = (v for v in variants if v is not first)
    if target is None:
        return first, next(others, None)
    return first, next((v for v in others if is_same_language(get_language(v), target)), None)


def get_language(variant: Any) -> str:
    """Return the language of a `tuv`; older files have it in `lang`."""
    return str(variant.get(XML_LANG) or variant.get("lang") or "")


def iter_segments(element: Any) -> Iterator[Any]:
    """Yield the segments that a `seg-source` or `target` of XLIFF 1.2 is divided into."""
    return (mark for mark in iter_named(element, "mrk") if mark.get("mtype") == "seg")


def find_segments(element: Any) -> dict[str, Any]:
    """Return the segments of a `seg-source` or `target`, by number; none, if one lacks its number or shares it."""
    segments = list(iter_segments(element))
    numbered = {mark.get("mid"): mark for mark in segments}
    return numbered if None not in numbered and len(numbered) == len(segments) else {}


def has_content(element: Any) -> bool:
    """Return whether an element holds text or inline elements other than segments and what encloses these."""
    if (element.text or "").strip():
        return True
    return any(
        next(iter_segments(child), None) is None or has_content(child) or (child.tail or "").strip()
        for child in element
    )


def is_undivided(target: Any, segmented: Any) -> bool:
    """Return whether a target is translated as a whole, and not segment by segment as its `seg-source` is divided.

    So it is if it lacks one of these segments or has nothing in them, and has text outside that its source does not
    have there. Numbers and punctuation between segments may differ.
    """
    there = _find_shared(target, segmented)
    if len(there) == len(find_segments(segmented)) and any(has_content(mark) for mark in there):
        return False
    if has_other_segments(target, segmented):
        return True
    sources = frozenset(iter_segments(segmented))
    outside = (" ".join(_iter_text(*side)).split() for side in ((target, there), (segmented, sources)))
    words, source_words = (Counter(w for w in side if not there or any(map(str.isalpha, w))) for side in outside)
    return not words <= source_words


def has_other_segments(target: Any, segmented: Any) -> bool:
    """Return whether a target has text in segments that its `seg-source` does not have, as one that was split."""
    there = _find_shared(target, segmented)
    return any(mark not in there and has_content(mark) for mark in iter_segments(target))


def _find_shared(target: Any, segmented: Any) -> frozenset[Any]:
    """Return the segments of a target that its `seg-source` has too."""
    mids = find_segments(segmented)
    return frozenset(mark for mid, mark in find_segments(target).items() if mid in mids)


def is_untranslatable(element: Any) -> bool:
    """Return whether an element, or the nearest one around it that says so, is not to be translated."""
    while element is not None:
        if element.get("translate") in ("yes", "no"):
            return bool(element.get("translate") == "no")
        element = element.getparent()
    return False


def _iter_text(element: Any, skipped: Collection[Any] = ()) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        if isinstance(child.tag, str):
            if local_name(child) not in CODE and child not in skipped:
                yield from _iter_text(child, skipped)
        elif callable(child.tag) and (child.text or "").startswith("&"):
            yield child.text
        yield child.tail or ""
