"""Translation memories (TMX) as pairs, read unit by unit: a large one need not fit into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtkit.corpus.bilingual_xml import (
    Pair,
    check_tmx,
    explain_syntax_error,
    find_child,
    find_variants,
    get_language,
    get_text,
    import_etree,
    iter_named,
    local_name,
)
from mtkit.corpus.language_tags import Languages, is_same_language, primary_language
from mtkit.corpus.text_files import open_bytes
from mtkit.errors import DataError


def find_tmx_languages(path: Path) -> Languages:
    """Return the languages of a translation memory: that of its header, and the only other one.

    Raises:
        DataError: The file is missing, damaged, or no TMX.
    """
    source = None
    found: set[str] = set()
    for unit, default in _iter_units(path):
        source = default
        found.update(get_language(variant) for variant in iter_named(unit, "tuv"))
    if source == "*all*":
        return None, None
    others = {language for language in found if source is None or not is_same_language(language, source)}
    if len(others) > 1:  # `DE`, `de` and `de-AT`, of several programs
        others = {primary_language(language) for language in others}
    return source, others.pop() if len(others) == 1 else None


def iter_tmx_pairs(path: Path, languages: Languages, left_out: Counter[str]) -> Iterator[Pair]:
    """Yield the pairs of a translation memory; of several variants in a language the first.

    Args:
        path: The file.
        languages: Source and target language; None for those that the file tells: the source language of its header,
            and the only other one.
        left_out: Is added to: units that lack one of the languages, or whose translation mtkit made.

    Raises:
        DataError: The file is missing, damaged, no TMX, or does not tell which two of its languages are wanted.
    """
    if None in languages:
        _refuse_several_languages(path)
    for unit, default in _iter_units(path):
        source, target = find_variants(unit, *languages, default)
        if source is None or target is None:
            left_out["without one of the languages"] += 1
            continue
        pair = get_text(find_child(source, "seg")), get_text(find_child(target, "seg"))
        if not all(pair):
            left_out["untranslated"] += 1
        elif _is_made_here(source) or _is_made_here(target):
            left_out["translated by a machine"] += 1
        else:
            yield pair


def _is_made_here(variant: Any) -> bool:
    """Return whether mtkit filled a variant, and nobody changed it since."""
    return bool(variant.get("creationtool") == "mtkit" and not variant.get("changeid"))


def _refuse_several_languages(path: Path) -> None:
    units = (unit for unit, _ in _iter_units(path))
    tags = {get_language(variant) for unit in units for variant in iter_named(unit, "tuv")}
    found = sorted(set(map(primary_language, tags)))
    if len(found) > 2:
        raise DataError(
            f"the file has several languages: {', '.join(found)}",
            at=path,
            fix="say which two, with --source-language and --target-language",
        )


def _iter_units(path: Path) -> Iterator[tuple[Any, str | None]]:
    """Yield each translation unit, and the source language that the header names; a unit is gone after its turn."""
    etree = import_etree(path)
    default = None
    with open_bytes(path) as (stream, _):
        try:
            events = etree.iterparse(
                stream,
                events=("start", "end"),
                tag=("{*}header", "{*}tu"),
                strip_cdata=False,
                resolve_entities=False,
                no_network=True,
            )
            for event, element in events:
                if local_name(element) == "header":
                    default = element.get("srclang")
                elif event == "end":
                    yield element, default
                    element.clear()
                    while element.getprevious() is not None:
                        del element.getparent()[0]
            check_tmx(events.root.getroottree(), path)
        except etree.XMLSyntaxError as exc:
            raise explain_syntax_error(exc, path) from exc
