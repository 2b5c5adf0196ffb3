"""HTML as a sequence of tokens with their places, by the parser of Python's standard library.

`html.parser` is chosen because it tells where each token stands, reads broken HTML as browsers do and never gives up;
lxml and selectolax build trees that have lost the bytes.
"""

from __future__ import annotations

import html
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from html.entities import html5
from html.parser import HTMLParser
from typing import Literal

from mtkit.documents.document import Protected
from mtkit.documents.slots import Slot, iter_text_slots

TokenKind = Literal["start", "end", "text", "other"]
_REFERENCE = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);?")
# The name of an entity may hold a few marks in XML, that of HTML none.
_XML_REFERENCE = re.compile(rf"&(?P<name>[^\W\d][\w.-]*);|{_REFERENCE.pattern}")
_ENTITY = re.compile(r"""<!ENTITY\s+([^\W\d][\w.-]*)\s+(?:"([^"]*)"|'([^']*)')?""")
# What stands in a tag, up to its end or, where a quote or the tag is never closed, to that of the text.
_IN_TAG = re.compile(r"""(?:[^>"'=]+|=\s*(?:"[^"]*(?:"|\Z)|'[^']*(?:'|\Z))?|["'])*""")
# Stands for "&" while the parser reads: of what it takes for a broken reference, it makes the rest text, tags too.
_AMPERSAND = "\ufdd0"
_ATTRIBUTE = re.compile(r"""[\s/]*([^\s/>=][^\s/>=]*)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s>"'][^\s>]*)?)?""")


@dataclass(frozen=True)
class Attribute:
    """An attribute with the place of its value.

    Attributes:
        start: First character of the value, within quotes.
        end: The character after its last.
        quote: The quotes around it, if any.
    """

    start: int
    end: int
    quote: str


@dataclass
class Token:
    """A tag, a text, or something else (comment, declaration).

    Attributes:
        kind: What it is.
        start: Its first character.
        end: The character after its last.
        name: Of a tag, in lower case.
        attributes: Of a start tag, decoded; the first of each name.
        is_closed: Whether a start tag ends with `/>`.
        never_ends: Whether it is a tag or comment without an end, so that it takes the rest of the text.
    """

    kind: TokenKind
    start: int
    end: int
    name: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    is_closed: bool = False
    never_ends: bool = False


class _Tokenizer(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self.tokens: list[Token] = []
        # The parser counts lines by "\n".
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.feed(text.replace("&", _AMPERSAND))
        self.close()

    def _add(self, kind: TokenKind, length: int = 0, name: str = "") -> Token:
        line, column = self.getpos()
        start = self._line_starts[line - 1] + column
        self.tokens.append(Token(kind, start, start + length, name))
        return self.tokens[-1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        token = self._add("start", name=tag)
        for name, value in attrs:
            token.attributes.setdefault(name, html.unescape((value or "").replace(_AMPERSAND, "&")))
        token.is_closed = (self.get_starttag_text() or "").endswith("/>")

    def handle_endtag(self, tag: str) -> None:
        self._add("end", name=tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self._add("text", len(data))

    def parse_starttag(self, i: int) -> int:
        end = super().parse_starttag(i)
        if end < 0 and (match := _IN_TAG.match(self.rawdata, i)) and match.end() < len(self.rawdata):
            return end  # it ends, but is damaged
        return self._end_at_last(end)

    def parse_endtag(self, i: int) -> int:
        return self._end_at_last(super().parse_endtag(i))

    def parse_comment(self, i: int, report: bool = True) -> int:
        return self._end_at_last(super().parse_comment(i, report))

    def parse_pi(self, i: int) -> int:
        return self._end_at_last(super().parse_pi(i))

    def parse_html_declaration(self, i: int) -> int:
        return self._end_at_last(super().parse_html_declaration(i))

    def _end_at_last(self, end: int) -> int:
        """Return where markup ends; one that never does takes the rest of the text, as in browsers.

        The parsers of some Python versions would try each later mark too, and read to the text's end for each.
        """
        if end >= 0 or self.cdata_elem is not None:
            return end
        self._add("other").never_ends = True
        return len(self.rawdata)

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        # The parser of some Python versions raises for one without a known name.
        closing = "]]>" if self.rawdata.startswith("<![CDATA[", i) else ">"
        end = self.rawdata.find(closing, i)
        if end < 0:
            return -1
        self._add("other")
        return end + len(closing)

    def handle_comment(self, data: str) -> None:
        self._add("other")

    def handle_decl(self, decl: str) -> None:
        self._add("other")

    def handle_pi(self, data: str) -> None:
        self._add("other")

    def unknown_decl(self, data: str) -> None:
        self._add("other")


def tokenize_html(text: str) -> list[Token]:
    """Return the tokens of HTML; together they cover it from the first character to the last, whatever it is."""
    found = _Tokenizer(text).tokens
    tokens: list[Token] = []
    place = 0
    for index, token in enumerate(found):
        following = found[index + 1].start if index + 1 < len(found) else len(text)
        if token.start > place:
            tokens.append(Token("other", place, token.start))
        if token.kind != "text":
            token.end = following
        if tokens and token.kind == tokens[-1].kind == "text" and tokens[-1].end == token.start:
            tokens[-1].end = token.end
        else:
            tokens.append(token)
        place = token.end
    if place < len(text):
        tokens.append(Token("other", place, len(text)))
    return tokens


def find_attributes(text: str, token: Token) -> dict[str, Attribute]:
    """Return where the values of a start tag's attributes stand; of those of one name, the first counts."""
    found: dict[str, Attribute] = {}
    for match in _ATTRIBUTE.finditer(text, token.start + 1 + len(token.name), token.end):
        value = match[2]
        if value is None or match.end() > token.end:
            continue
        quote = value[0] if value[0] in "\"'" else ""
        start, end = match.span(2)
        name = match[1].lower()
        if name not in found:
            found[name] = Attribute(start + len(quote), end - len(quote), quote)
    return found


def find_entities(text: str) -> set[str]:
    """Return the names of the entities that a document of XML declares itself; not those that mean what HTML's do."""
    found = _ENTITY.finditer(text)
    # Such a value is expanded twice: `<` is declared as `&#38;#60;`.
    return {
        match[1]
        for match in found
        if html.unescape(html.unescape(match[2] or match[3] or "")) != html5.get(f"{match[1]};")
    }


def iter_html_slots(text: str, start: int, end: int, entities: Container[str] | None = None) -> Iterator[Slot]:
    """Yield the slots of HTML text: character references decoded, blanks as single spaces, addresses protected.

    Args:
        text: The document.
        start: First character of the text.
        end: The character after its last.
        entities: Those that a document of XHTML declares; they, and what HTML does not know, are protected. None for
            HTML.
    """
    place = start
    for match in (_REFERENCE if entities is None else _XML_REFERENCE).finditer(text, start, end):
        is_own = entities is not None and (
            match["name"] is not None and (match["name"] in entities or f"{match['name']};" not in html5)
        )
        decoded = html.unescape(match[0])
        if decoded == match[0] and not is_own:
            continue
        yield from iter_text_slots(text, place, match.start())
        if is_own:
            yield Slot(Protected(match[0], shown=match[0]), *match.span())
        else:
            yield Slot(" " if decoded.isspace() and decoded != "\xa0" else decoded, *match.span())
        place = match.end()
    yield from iter_text_slots(text, place, end)


def escape_html(text: str, quote: str = "", is_xhtml: bool = False) -> str:
    """Return text as HTML, as browsers serialize it, or XHTML, which knows no `&nbsp;`.

    Inside an attribute its quotes are escaped.
    """
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = escaped.replace("\xa0", "&#160;" if is_xhtml else "&nbsp;")
    return escaped.replace(quote, "&quot;" if quote == '"' else "&#39;") if quote else escaped
