"""Which HTML elements are open, and what they mean for the text in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from mtkit.documents.html_tokens import Token

_XHTML = "http://www.w3.org/1999/xhtml"
# Elements that end a line of text, or are a text of their own; every other one is inline, unknown ones as in browsers.
_BREAKING = frozenset({
    "address", "applet", "article", "aside", "audio", "base", "basefont", "bgsound", "blockquote", "body", "button",
    "canvas", "caption", "center", "col", "colgroup", "datalist", "dd", "details", "dialog", "dir", "div", "dl", "dt",
    "embed", "fieldset", "figcaption", "figure", "footer", "form", "frame", "frameset", "h1", "h2", "h3", "h4", "h5",
    "h6", "head", "header", "hgroup", "hr", "html", "iframe", "keygen", "legend", "li", "link", "listing", "main",
    "marquee", "menu", "menuitem", "meta", "nav", "noembed", "noframes", "noscript", "object", "ol", "optgroup",
    "option", "p", "param", "plaintext", "pre", "search", "section", "select", "summary", "table", "tbody", "td",
    "textarea", "tfoot", "th", "thead", "title", "tr", "track", "ul", "video", "xmp",
})  # fmt: skip
_VOID = frozenset({
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "keygen",
    "link", "meta", "param", "source", "track", "wbr",
})  # fmt: skip
# What a computer reads or writes.
_CODE = frozenset({"code", "kbd", "samp", "var", "tt", "pre"})
# What is no text in the document's language; of the first kind, a reader sees what is in it.
# Of ruby that is the base: its reading, which fits no other text, stays with it.
_SEEN_OPAQUE = _CODE | {"textarea", "ruby"}
_FOREIGN = frozenset({
    "script", "style", "svg", "math", "template", "object", "iframe", "noembed", "noframes", "canvas", "audio",
    "video", "xmp", "rp", "rt", "rtc",
})  # fmt: skip
# What XHTML may write with a prefix (`m:math`).
_PREFIXED = frozenset({"svg", "math", "script", "style"})
# What no reader sees: the titles of styles are names.
_UNSEEN = frozenset({"script", "style", "template"})
# Elements that end by themselves where another one starts, and those beyond which they do not.
_ENDS = {
    **dict.fromkeys(["dt", "dd"], (frozenset({"dt", "dd"}), frozenset({"dl"}))),
    "li": (frozenset({"li"}), frozenset({"ul", "ol", "menu"})),
    **dict.fromkeys(["td", "th"], (frozenset({"td", "th"}), frozenset({"tr", "table"}))),
    "tr": (frozenset({"tr"}), frozenset({"table"})),
    **dict.fromkeys(
        ["tbody", "thead", "tfoot"], (frozenset({"tbody", "thead", "tfoot", "caption"}), frozenset({"table"}))
    ),
    "option": (frozenset({"option"}), frozenset({"select", "datalist"})),
    "optgroup": (frozenset({"optgroup"}), frozenset({"select"})),
    **dict.fromkeys(["rb", "rp", "rt", "rtc"], (frozenset({"rb", "rp", "rt"}), frozenset({"ruby", "rtc"}))),
}
_ENDS_PARAGRAPH = frozenset({
    "address", "article", "aside", "blockquote", "center", "details", "dialog", "dir", "div", "dl", "dd", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header",
    "hgroup", "hr", "li", "main", "menu", "nav", "ol", "p", "pre", "search", "section", "summary", "table",
    "ul", "xmp",
})  # fmt: skip


def is_inline(name: str) -> bool:
    """Return whether an element stands within a line of text."""
    return name not in _BREAKING


def is_void(name: str) -> bool:
    """Return whether an element has no content and no end tag."""
    return name in _VOID


def is_opaque(name: str) -> bool:
    """Return whether an element holds no text that is translated."""
    return name in _SEEN_OPAQUE or name in _FOREIGN


def is_foreign(name: str) -> bool:
    """Return whether an element holds no text that a reader sees in a line of text."""
    return name in _FOREIGN


def is_code(name: str) -> bool:
    """Return whether an element holds what a computer reads or writes, of which the title may be a file's name."""
    return name in _CODE


def has_read_attributes(token: Token) -> bool:
    """Return whether people read attributes of an element in the document's language, if its parent is translated."""
    return token.name not in _UNSEEN and not says_no(token)


def says_no(token: Token) -> bool:
    """Return whether a tag's attributes say that it is not to be translated."""
    value = token.attributes.get("translate")
    return (value is not None and value.strip().lower() == "no") or (
        "notranslate" in token.attributes.get("class", "").split()
    )


@dataclass(frozen=True)
class _Element:
    name: str
    is_refused: bool  # for the attributes that say so
    is_locked: bool  # translate="yes" inside does not count
    is_foreign: bool


class OpenElements:
    """The stack of open elements, as far as the translation needs it: broken HTML and left-out end tags included.

    Args:
        is_xhtml: Whether the elements are of XHTML; the tag of the root may say so too.
    """

    def __init__(self, is_xhtml: bool = False) -> None:
        self.is_xhtml = is_xhtml
        self._stack: list[_Element] = []
        # Where on the stack the elements of each name are, and those that are not inline.
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        self._blocks: list[int] = []

    @property
    def depth(self) -> int:
        """Number of open elements."""
        return len(self._stack)

    @property
    def is_hidden(self) -> bool:
        """Whether text here is left as it is."""
        return bool(self._stack) and (self._stack[-1].is_locked or self._stack[-1].is_refused)

    @property
    def is_refused(self) -> bool:
        """Whether attributes say that what is here is not to be translated."""
        return bool(self._stack) and self._stack[-1].is_refused

    @property
    def is_foreign(self) -> bool:
        """Whether text here is not even seen."""
        return bool(self._stack) and self._stack[-1].is_foreign

    @property
    def is_unseen(self) -> bool:
        """Whether this is in an element of which a reader sees nothing, its attributes neither."""
        return self._find_last(_UNSEEN) >= 0

    def find_name(self, token: Token) -> str:
        """Return the name of a tag's element, without a prefix where that says only that it is SVG's or MathML's."""
        name = token.name.rpartition(":")[2]
        return name if self.is_xhtml and name in _PREFIXED else token.name

    def push(self, token: Token) -> bool:
        """Open the element of a start tag; return False if the tag is all of it."""
        if token.name == "html" and token.attributes.get("xmlns") == _XHTML:
            self.is_xhtml = True
        if is_void(token.name) or (token.is_closed and self._is_in_xml(token.name)):
            return False
        above = self._stack[-1] if self._stack else _Element("", False, False, False)
        is_own = is_opaque(token.name)
        is_locked = above.is_locked or is_own or (says_no(token) and is_inline(token.name))
        is_refused = above.is_refused or says_no(token)
        if not is_locked and token.attributes.get("translate", "no").strip().lower() in {"yes", ""}:
            is_refused = False
        is_unseen = above.is_foreign or is_foreign(token.name)
        self._places[token.name].append(self.depth)
        if not is_inline(token.name):
            self._blocks.append(self.depth)
        self._stack.append(_Element(token.name, is_refused, is_locked, is_unseen))
        return True

    def close(self, name: str) -> bool:
        """Close the nearest element of a name and what is open in it; False if an end tag has none."""
        return self._close_up_to([name], None if is_inline(name) else ())

    def close_implied(self, name: str) -> bool:
        """Close what ends by itself where an element starts; return whether something does."""
        closed = False
        if name in _ENDS_PARAGRAPH:
            closed = self._close_up_to(["p"], None)
        if name in _ENDS:
            closed = self._close_up_to(*_ENDS[name]) or closed
        return closed

    def _close_up_to(self, names: Iterable[str], scope: Iterable[str] | None) -> bool:
        """Close the nearest element of some names, unless one of the scope (None: one that is not inline) is nearer."""
        index = self._find_last(names)
        limit = self._find_last(scope) if scope is not None else self._blocks[-1] if self._blocks else -1
        if index < max(limit, 0):
            return False
        while self.depth > index:
            name = self._stack.pop().name
            self._places[name].pop()
            if not is_inline(name):
                self._blocks.pop()
        return True

    def _is_in_xml(self, name: str) -> bool:
        """Return whether `/>` ends an element: in XHTML, SVG and MathML, and not in HTML."""
        return self.is_xhtml or name in {"svg", "math"} or self._find_last(["svg", "math"]) >= 0

    def _find_last(self, names: Iterable[str]) -> int:
        """Return where on the stack the last element of some names is; -1 if none is open."""
        return max((self._places[name][-1] for name in names if self._places[name]), default=-1)
