"""The content of an XML segment as text and protected inline elements, and back."""

from __future__ import annotations

import copy
import re
from collections import Counter, deque
from collections.abc import Sequence
from itertools import takewhile
from typing import Any
from xml.sax.saxutils import escape

from mtkit.corpus.bilingual_xml import local_name
from mtkit.documents.document import Protected, ProtectedKind, TranslatedSegment

# Elements that enclose text of the segment.
_ENCLOSING = frozenset({"g", "mrk", "pc", "hi"})

# Elements that begin and end a stretch, and the attributes that name the stretch.
_STARTS = {"bpt": ("rid", "i", "id"), "bx": ("rid", "id"), "sc": ("id",), "sm": ("id",)}
_ENDS = {"ept": ("rid", "i", "id"), "ex": ("rid", "id"), "ec": ("startRef", "id"), "em": ("startRef",)}
# Of Angular, which names both ends in the id of an `<x>`: `START_TAG_SPAN_1`, `CLOSE_TAG_SPAN`.
_ANGULAR = re.compile(r"(START|CLOSE)_(\w+?)(?:_\d+)?")

_DECLARATION = re.compile(r'\sxmlns(?::[\w.-]+)?="[^"]*"')
# A reference to an entity that XML has not of itself.
_NAME_START = ":A-Z_a-z\xc0-\xd6\xd8-\xf6\xf8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d\u2070-\u218f\u2c00-\u2fef"
_NAME_START += "\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
_ENTITY = re.compile(
    rf"&(?!(?:amp|lt|gt|quot|apos);)([{_NAME_START}][{_NAME_START}.0-9\xb7\u0300-\u036f\u203f\u2040-]*);"
)
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

# Of elements which end of a pair each is, and its number.
_Pairs = dict[Any, tuple[ProtectedKind, int]]


class InlineElement(Protected):
    """A protected stretch that is XML; any other one in such a segment is text."""


def split_inline(element: Any) -> tuple[str | Protected, ...]:
    """Return what an element holds: its text, and its inline elements as protected stretches.

    `<g>`, `<mrk>`, `<pc>` and `<hi>` enclose text; `<bpt>` and `<ept>` (`<bx>` and `<ex>`, `<sc>` and `<ec>`) are the
    ends of a pair if both stand in the segment; everything else stands alone, whole. What is enclosed but not to be
    translated is shown.

    Args:
        element: A `source`, `target` or `seg`.
    """
    parts: list[str | Protected] = []
    _split(element, parts, [0], _find_pairs(element))
    return tuple(part for part in parts if part)


def fill_inline(element: Any, translation: TranslatedSegment) -> None:
    """Replace what an element holds.

    Args:
        element: Its attributes stay.
        translation: Its protected stretches are XML in the namespaces of the element; references to entities in it
            stay references.
    """
    from lxml import etree

    inner = "".join(_write(part) for part in translation)
    declared = "".join(
        f' xmlns{":" + prefix if prefix else ""}="{escape(uri)}"' for prefix, uri in element.nsmap.items()
    )
    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=False)
    # An entity of the file's own has to be declared to be read as a reference, which it stays.
    entities = {name for part in translation if isinstance(part, InlineElement) for name in _ENTITY.findall(part.text)}
    subset = "".join(f"<!ENTITY {name} ''>" for name in sorted(entities))
    doctype = f"<!DOCTYPE holder [{subset}]>" if subset else ""
    holder = etree.fromstring(f"{doctype}<holder{declared}>{inner}</holder>".encode(), parser)
    for child in list(element):
        element.remove(child)
    element.text = holder.text
    for child in list(holder):
        element.append(child)


def _write(part: str | Protected) -> str:
    """Return a part as XML; placeholders of the text are text."""
    if isinstance(part, InlineElement):
        return part.text
    return escape(_NO_XML.sub("", part.text if isinstance(part, Protected) else part))


def _split(element: Any, parts: list[str | Protected], num_pairs: list[int], pairs: _Pairs) -> None:
    parts.append(element.text or "")
    children = deque(element)
    while children:
        child = children.popleft()
        name = local_name(child)
        kept = _find_kept(child, pairs)
        if name in _ENCLOSING and not kept:
            pair = num_pairs[0] + len(pairs)
            num_pairs[0] += 1
            start = _serialize_start(child)
            parts.append(InlineElement(start, "open", pair))
            _split(child, parts, num_pairs, pairs)
            parts.append(InlineElement(f"</{_qualified_name(child)}>", "close", pair))
        elif child in pairs and not kept:
            parts.append(InlineElement(_serialize(child), *pairs[child]))
        else:
            text, shown = _serialize(child), "".join(child.itertext()) if kept else ""
            for _ in kept[1:]:
                before, child = child, children.popleft()
                text += escape(before.tail or "") + _serialize(child)
                shown += (before.tail or "") + "".join(child.itertext())
            parts.append(InlineElement(text, shown=" ".join(shown.split())))
        parts.append(child.tail or "")


def _find_kept(child: Any, pairs: _Pairs) -> list[Any]:
    """Return the element, or those from it on, that hold what is not to be translated; none if there is no such."""
    if child.get("translate") != "no" and child.get("mtype") != "protected":
        return []
    if local_name(child) in _ENCLOSING:
        return [child]
    if local_name(child) != "sm" or child not in pairs:
        return []
    inside = list(takewhile(lambda other: pairs.get(other, child) != ("close", pairs[child][1]), child.itersiblings()))
    ends = Counter(pairs[each][1] for other in inside for each in other.iter() if each in pairs)
    end = (inside or [child])[-1].getnext()
    return [] if end is None or any(number == 1 for number in ends.values()) else [child, *inside, end]


def _find_pairs(element: Any) -> _Pairs:
    """Return what each element is that begins or ends a pair, both ends being there, and the number of the pair."""
    starts: dict[tuple[str, str], list[Any]] = {}
    pairs: _Pairs = {}
    for child in element.iter():
        name = local_name(child)
        angular = _ANGULAR.fullmatch(child.get("id", "")) if name == "x" else None
        if name in _STARTS:
            starts.setdefault(("", _get_first(child, _STARTS[name])), []).append(child)
        elif angular and angular[1] == "START":
            starts.setdefault(("x", angular[2]), []).append(child)
        elif angular or name in _ENDS:
            there = starts.get(("x", angular[2]) if angular else ("", _get_first(child, _ENDS[name])))
            if there:
                pairs[there.pop()], pairs[child] = ("open", number := len(pairs) // 2), ("close", number)
    return pairs


def _get_first(element: Any, names: Sequence[str]) -> str:
    return next((str(element.get(name)) for name in names if element.get(name) is not None), "")


def _qualified_name(element: Any) -> str:
    return f"{element.prefix}:{local_name(element)}" if element.prefix else local_name(element)


def _serialize_start(element: Any) -> str:
    """Return an element's start tag."""
    shallow = copy.copy(element)
    for child in list(shallow):
        shallow.remove(child)
    shallow.text = None
    return _serialize(shallow).removesuffix("/>").removesuffix(f"></{_qualified_name(element)}>") + ">"


def _serialize(element: Any) -> str:
    """Return an element, or an entity or comment, without its tail and without namespaces declared further out."""
    from lxml import etree

    text: str = etree.tostring(element, encoding="unicode", with_tail=False)
    return _DECLARATION.sub("", text) if isinstance(element.tag, str) else text
