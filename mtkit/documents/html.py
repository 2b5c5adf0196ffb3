"""HTML: the text of each block, and the attributes that people read."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from functools import partial

from mtkit.decoding.splitting import UNSPACED
from mtkit.documents.document import Document, Protected
from mtkit.documents.footnotes import join_footnote_marks
from mtkit.documents.html_tokens import (
    Token,
    escape_html,
    find_attributes,
    find_entities,
    iter_html_slots,
    tokenize_html,
)
from mtkit.documents.open_elements import (
    OpenElements,
    has_read_attributes,
    is_code,
    is_inline,
    is_opaque,
    says_no,
)
from mtkit.documents.slots import PairFinder, Slot, collapse_blanks, trim_slots
from mtkit.documents.spans import Block, LineNumbers, SpanDocument, build_block, build_units
from mtkit.documents.text_file import decode_text

_CHARSET = re.compile(rb"""<meta\s[^>]{0,200}?charset\s*=\s*["']?\s*([\w:.+-]+)""", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"""^<\?xml\s[^>]{0,100}?encoding\s*=\s*["']([\w:.+-]+)""")
# Attributes that people read, and translate.
READ_ATTRIBUTES = [
    "alt", "title", "placeholder", "aria-label", "aria-description", "aria-placeholder", "aria-roledescription",
    "aria-valuetext", "label", "summary",
]  # fmt: skip
# A title of more than one word: one alone is a file's name, where an element holds code.
_WORDS = re.compile(rf"\S\s+\S|{UNSPACED.pattern}")
_READ_METADATA = {
    "description", "og:title", "og:description", "og:image:alt", "twitter:title", "twitter:description",
    "twitter:image:alt",
}  # fmt: skip


def read_html(
    content: bytes, language: str | None = None, warn: Callable[[str], None] = lambda problem: None
) -> Document:
    """Read HTML: a page or a fragment, well-formed or not.

    A segment is a sentence of a block, or an attribute that people read. Inline elements are protected stretches of
    their segment. Left as they are: `translate="no"` and class `notranslate`, the content of `code`, `kbd`, `samp`,
    `var`, `pre`, `ruby`, `script`, `style`, `textarea` and other foreign matter, comments, addresses, every other
    attribute, `lang` too.

    Args:
        content: The file. The encoding is that of its byte order mark, else the charset that it declares, else UTF-8.
        language: Of the text, for the ends of sentences.
        warn: Called with a line that says what is left as it is for its broken markup.

    Raises:
        DataError: The bytes are not of that encoding.
        RecipeError: sentencex is not installed.
    """
    head = content[:1024]
    declared = _XML_ENCODING.search(head) or _CHARSET.search(head)
    text, encoding = decode_text(content, None if declared is None else declared[1].decode("ascii", "replace"))
    reader = _Reader(text, language)
    if reader.unended_line is not None:
        warn(f"line {reader.unended_line}: a tag or comment that never ends; what follows it is left as it is")
    return SpanDocument(text, encoding, reader.blocks, errors="xmlcharrefreplace")


def find_html_blocks(text: str, language: str | None = None) -> list[Block]:
    """Return the blocks of HTML that are to be translated.

    Raises:
        RecipeError: sentencex is not installed.
    """
    return _Reader(text, language).blocks


class _Reader:
    def __init__(self, text: str, language: str | None) -> None:
        self.blocks: list[Block] = []
        self._text = text
        self._language = language
        self._lines = LineNumbers(text)
        self._open = OpenElements(is_xhtml=text.startswith(("<?xml", "\ufeff<?xml")))
        self._own_entities = find_entities(text)
        self._run: list[Slot] = []
        self._pairs = PairFinder()
        # An inline element that is kept as one: the depth of its parent, its start and what a reader sees of it.
        self._whole: tuple[int, int] | None = None
        self._shown: list[str] = []
        # Where a tag or comment stands that takes the rest of the text.
        self.unended_line: int | None = None
        for token in tokenize_html(text):
            self._read(token)
            if token.never_ends:
                self.unended_line = self._lines.find_line(token.start)
        self._end_whole(len(text))
        self._end_run()

    @property
    def _entities(self) -> Container[str] | None:
        return self._own_entities if self._open.is_xhtml else None

    def _read(self, token: Token) -> None:
        token.name = self._open.find_name(token)
        match token.kind:
            case "text":
                self._read_text(token)
            case "start":
                self._read_start(token)
            case "end":
                self._read_end(token)
            case _ if self._whole is None and not self._open.is_hidden:
                self._keep(token, Protected(self._text[token.start : token.end]))
        if self._whole is None and self._open.is_hidden:
            self._end_run()  # its slots follow each other without a gap

    def _read_text(self, token: Token) -> None:
        is_marked = token.start == 0 and self._text.startswith("\ufeff")
        start = token.start + is_marked  # the byte order mark is no text
        slots = iter_html_slots(self._text, start, token.end, self._entities)
        if self._whole is not None:
            if not self._open.is_foreign:
                self._shown += [slot.seen for slot in slots]
        elif not self._open.is_hidden:
            self._run += slots

    def _read_start(self, token: Token) -> None:
        if self._open.close_implied(token.name):
            self._leave_whole(token.start)
            if self._whole is None:
                self._end_run()
        was_hidden = self._open.is_hidden
        is_kept = is_opaque(token.name) or says_no(token)
        depth = self._open.depth
        has_content = self._open.push(token)
        is_left = was_hidden and self._open.is_hidden
        is_in_menu = token.name == "track" and not (self._open.is_refused or self._open.is_unseen)  # of a video
        if has_read_attributes(token) and (is_in_menu or not is_left):
            self.blocks += _find_attribute_blocks(self._text, token, self._lines, self._entities)
        if self._whole is not None:
            return
        if not is_inline(token.name):
            self._end_run()
            return
        if is_left:
            return
        if (is_kept or token.name == "picture") and has_content:
            self._whole = (depth, token.start)
            self._shown = []
        elif has_content:
            self._keep(token, Protected(self._text[token.start : token.end], "open", self._pairs.open(token.name)))
        else:
            self._keep(token, Protected(self._text[token.start : token.end]))

    def _read_end(self, token: Token) -> None:
        was_hidden = self._open.is_hidden
        is_closing = self._open.close(token.name)
        if self._whole is not None:
            is_own = self._open.depth == self._whole[0]
            is_inline_end = is_own and is_inline(token.name)
            is_left = self._leave_whole(token.end if is_inline_end else token.start)
            if is_inline_end or not is_left:
                return
        elif was_hidden:
            return
        if not is_inline(token.name):
            self._end_run()
            return
        pair = self._pairs.close(token.name) if is_closing else None
        text = self._text[token.start : token.end]
        self._keep(token, Protected(text) if pair is None else Protected(text, "close", pair))

    def _keep(self, token: Token, protected: Protected) -> None:
        self._run.append(Slot(protected, token.start, token.end))

    def _leave_whole(self, end: int) -> bool:
        """End the element that is kept as one, if it is no longer open; return whether it was ended."""
        if self._whole is None or self._open.depth > self._whole[0]:
            return False
        self._end_whole(end)
        return True

    def _end_whole(self, end: int) -> None:
        if self._whole is None:
            return
        start = self._whole[1]
        shown = collapse_blanks("".join(self._shown)).strip()
        self._run.append(Slot(Protected(self._text[start:end], shown=shown), start, end))
        self._whole = None

    def _end_run(self) -> None:
        run = join_footnote_marks(self._text, self._run)
        escape = partial(_escape, is_xhtml=self._open.is_xhtml)
        block = build_block(self._text, run, self._lines, escape, language=self._language)
        if block is not None:
            self.blocks.append(block)
        self._run = []
        self._pairs = PairFinder()


def find_tag_blocks(tag: str) -> list[Block]:
    """Return the blocks of the attributes that people read of a start tag; none of what is no such tag."""
    tokens = tokenize_html(tag)
    if len(tokens) != 1 or tokens[0].kind != "start":
        return []
    return _find_attribute_blocks(tag, tokens[0], LineNumbers(tag))


def _find_attribute_blocks(
    text: str, token: Token, lines: LineNumbers, entities: Container[str] | None = None
) -> list[Block]:
    attributes = token.attributes
    names = [name for name in READ_ATTRIBUTES if name in attributes]
    if token.name == "meta" and (attributes.get("name") or attributes.get("property", "")).lower() in _READ_METADATA:
        names.append("content")
    if token.name == "input" and attributes.get("type", "").lower() in {"submit", "button", "reset"}:
        names.append("value")
    if not names:
        return []
    blocks = []
    places = find_attributes(text, token)
    for name in names:
        if name not in places or (is_code(token.name) and not _WORDS.search(attributes[name])):
            continue
        place = places[name]
        slots = trim_slots(list(iter_html_slots(text, place.start, place.end, entities)))
        if not any(isinstance(slot.part, str) and any(map(str.isalpha, slot.part)) for slot in slots):
            continue
        quote = place.quote or '"'
        around = "" if place.quote else quote
        escape = partial(_escape, quote=quote, is_xhtml=entities is not None)
        blocks.append(Block(build_units([slots], lines), escape, before=around, after=around))
    return blocks


def _escape(text: str, _is_start: bool, quote: str = "", is_xhtml: bool = False) -> str:
    return escape_html(text, quote, is_xhtml)
