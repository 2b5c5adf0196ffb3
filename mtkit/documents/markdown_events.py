"""Markdown as runs of inline text with their places, by pyromark (pulldown-cmark).

pyromark is chosen because it follows CommonMark exactly and gives the byte range of every block and inline element;
markdown-it-py and mistune place blocks by lines only, and have no places for what is inline.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from mtkit.documents.document import Protected
from mtkit.documents.footnotes import join_footnote_marks
from mtkit.documents.html_tokens import tokenize_html
from mtkit.documents.open_elements import has_read_attributes, is_foreign, is_opaque, is_void, says_no
from mtkit.documents.slots import PairFinder, Slot, collapse_blanks, iter_text_slots
from mtkit.runtime.extras import import_extra

_INLINE = {"Emphasis", "Strong", "Strikethrough", "Superscript", "Subscript", "Link", "Image"}
_MARKS = {"Emphasis": 1, "Strong": 2, "Superscript": 1, "Subscript": 1}
_MARGIN = re.compile(r"[ \t>]*")
_TAG = re.compile(r"<(/?)([a-zA-Z][\w:-]*)[^>]*?(/?)>\Z", re.DOTALL)
# A picture is one with the image in it, of which the description is translated.
_PICTURE = re.compile(r"<picture[\s>]", re.IGNORECASE)

# A line that is only a mark of an extension: of a container, an admonition, a template, attributes.
_MARK_LINE = re.compile(
    r""":{3,}.* | (?:!!!|\?\?\?\+?) [ \t]+ [a-z][\w-]* (?:[ \t]+"[^"]*")?
    | \{% [^{}]* %\} | \{\{ [<%] [^{}]* [>%] \}\} | \{: [^{}]* \}""",
    re.VERBOSE,
)


@dataclass
class Run:
    """The inline content of a block.

    Attributes:
        kind: The block: `Paragraph`, `Heading`, `TableCell`, `Item` and others; `Html` for a block of HTML.
        slots: What it is made of; empty for HTML.
        start: Its first character.
        end: The character after its last.
        alts: Slots of the descriptions of images in it.
        tags: The start tags of HTML in it, each with its first character, but for those whose attributes are left.
        html: Of a block of HTML its text. In this one as in those of tags, spaces stand in place of quote marks.
    """

    kind: str
    slots: list[Slot] = field(default_factory=list)
    start: int = 0
    end: int = 0
    alts: list[list[Slot]] = field(default_factory=list)
    tags: list[tuple[int, str]] = field(default_factory=list)
    html: str = ""


@dataclass(frozen=True)
class _Event:
    kind: str
    name: str
    value: Any
    start: int
    end: int


def read_runs(text: str) -> list[Run]:
    """Return the runs of Markdown in order.

    CommonMark with GitHub's tables, task lists, footnotes, strikethrough and math.

    Raises:
        RecipeError: pyromark is not installed.
    """
    runs: list[Run] = []
    blocks: list[str] = []
    inline: list[_Event] = []
    html: list[_Event] = []

    def end_run() -> None:
        if inline:
            runs.append(_build_run(text, blocks[-1] if blocks else "", inline))
            inline.clear()

    for event in _iter_events(text):
        if event.kind in {"Start", "End"} and event.name not in _INLINE:
            end_run()
            if event.kind == "Start":
                blocks.append(event.name)
            else:
                blocks.pop()
                if event.name == "HtmlBlock":
                    found = _read_html(text, event, html)
                    runs.append(Run("Html", start=event.start, end=event.end, html=found))
                    html.clear()
        elif event.kind == "Rule":
            end_run()
        elif event.kind == "Html":
            html.append(event)
        elif not blocks or blocks[-1] not in {"CodeBlock", "HtmlBlock", "MetadataBlock"}:
            inline.append(event)
    end_run()
    return runs


def _iter_events(text: str) -> Iterator[_Event]:
    pyromark = import_extra("pyromark", "formats", "Markdown")
    options = pyromark.Options
    skipped = 1 if text.startswith("\ufeff") else 0
    parsed = pyromark.events_with_range(
        text[skipped:],
        options=options.ENABLE_TABLES
        | options.ENABLE_FOOTNOTES
        | options.ENABLE_STRIKETHROUGH
        | options.ENABLE_TASKLISTS
        | options.ENABLE_HEADING_ATTRIBUTES
        | options.ENABLE_YAML_STYLE_METADATA_BLOCKS
        | options.ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
        | options.ENABLE_MATH
        | options.ENABLE_GFM,
    )
    characters = _find_characters(text[skipped:])
    for event, places in parsed:
        start, end = characters[places["start"]] + skipped, characters[places["end"]] + skipped
        if isinstance(event, str):
            yield _Event(event, "", None, start, end)
            continue
        ((kind, value),) = event.items()
        if kind in {"Start", "End"} and isinstance(value, dict):
            ((name, value),) = value.items()
        elif kind in {"Start", "End"}:
            name, value = value, None
        else:
            name = ""
        yield _Event(kind, name, value, start, end)


def _find_characters(text: str) -> Sequence[int]:
    """Return the character of each byte of the text as UTF-8."""
    if text.isascii():
        return range(len(text) + 1)
    places = array("L")
    for place, character in enumerate(text):
        places.extend([place] * len(character.encode()))
    places.append(len(text))
    return places


def _read_html(text: str, block: _Event, events: Sequence[_Event]) -> str:
    """Return the text of a block of HTML with spaces in place of the quote marks at the starts of its lines."""
    found = ""
    place = block.start
    for event in events:
        found += text[place : event.start].replace(">", " ") + text[event.start : event.end]
        place = event.end
    return found + text[place : block.end].replace(">", " ")


def _hide_marks(source: str, value: str) -> str:
    """Return the source of inline HTML with spaces in place of the quote marks at the starts of its lines.

    Args:
        source: As it stands in the document.
        value: Without what stands there before its lines.
    """
    lines, own = source.split("\n"), value.split("\n")
    if len(lines) != len(own):
        return source
    margins = [
        len(line.removesuffix("\r")) - len(kept.removesuffix("\r")) for line, kept in zip(lines, own, strict=True)
    ]
    return "\n".join(line[:n].replace(">", " ") + line[n:] for line, n in zip(lines, margins, strict=True))


def _build_run(text: str, kind: str, events: list[_Event]) -> Run:
    builder = _RunBuilder(text)
    builder.read(events)
    slots = join_footnote_marks(text, builder.slots, with_links=False)
    slots = _join_mark_lines(text, slots) if kind in {"Paragraph", "Item"} else slots
    start, end = (slots[0].start, slots[-1].end) if slots else (events[0].start, events[-1].end)
    return Run(kind, slots, start, max(end, events[-1].end), builder.alts, builder.tags)


def _join_mark_lines(text: str, slots: Sequence[Slot]) -> list[Slot]:
    """Return slots in which a line that is only a mark of an extension is one that no reader sees."""
    joined: list[Slot] = []
    for is_break, group in groupby(slots, lambda slot: slot.part in {" ", ""} and "\n" in text[slot.start : slot.end]):
        line = list(group)
        start, end = line[0].start, line[-1].end
        is_mark = not is_break and _MARK_LINE.fullmatch(text[start:end].strip())
        joined += [Slot(Protected(text[start:end]), start, end)] if is_mark else line
    return joined


class _RunBuilder:
    def __init__(self, text: str) -> None:
        self.slots: list[Slot] = []
        self.alts: list[list[Slot]] = []
        self.tags: list[tuple[int, str]] = []
        self._text = text
        self._pairs = PairFinder()
        self._place = 0

    def read(self, events: list[_Event]) -> None:
        self._place = events[0].start
        if events[0].kind == "Text" and self._text.endswith("\\", 0, self._place):
            self._place -= 1  # an escape starts the run
        tag_ends = _find_tag_ends(events)
        index = 0
        while index < len(events):
            event = events[index]
            if event.start > self._place:
                self._read_gap(event)
            if event.kind == "Start" and (event.name == "Image" or _is_autolink(event)):
                last = next(i for i in range(index, len(events)) if _ends(events[i], event))
                self._read_whole(event, events[index + 1 : last])
                index = last
            elif index in tag_ends:
                last = tag_ends[index]
                shown = _find_shown(events[index:last])
                whole = Protected(self._text[event.start : events[last].end], shown=shown)
                self._keep(whole, event.start, events[last].end)
                if not _is_refused(event.value):
                    self._find_tags(events[index:last] if _PICTURE.match(event.value) else [event])
                index = last
            else:
                self._read_event(event)
            index += 1

    def _read_gap(self, event: _Event) -> None:
        """Place what stands between two events: the backslash of an escape, or blanks at a line's end."""
        gap = self._text[self._place : event.start]
        blanks = len(gap) - len(gap.lstrip())
        if gap.strip() == "\\" and gap.endswith("\\") and event.kind == "Text":
            if blanks:
                self._add_blank(self._place, self._place + blanks)
            self.slots.append(Slot(self._text[event.start], self._place, event.start + 1))
            self._place = event.start + 1
        elif not gap.strip():
            self._add_blank(self._place, event.start)
        else:
            self._keep(Protected(gap), self._place, event.start)

    def _read_event(self, event: _Event) -> None:
        match event.kind:
            case "Start":
                width = _MARKS.get(event.name, 1)
                if event.name == "Strikethrough":
                    width = 2 if self._text.startswith("~~", event.start) else 1
                mark = self._text[event.start : event.start + width]
                self._keep(Protected(mark, "open", self._pairs.open(event.name)), event.start, event.start + width)
            case "End":
                self._read_end(event)
            case "Text":
                self._read_text(event)
            case "SoftBreak":
                self._add_blank(event.start, self._skip_margin(event.end))
            case "InlineHtml":
                self._read_tag(event)
            case "HardBreak":
                end = self._skip_margin(event.end)
                self._keep(Protected(self._text[event.start : end]), event.start, end)
            case "Code":
                shown = collapse_blanks(event.value).strip()
                self._keep(Protected(self._text[event.start : event.end], shown=shown), event.start, event.end)
            case _:  # math, footnote marks, task marks
                self._keep(Protected(self._text[event.start : event.end]), event.start, event.end)

    def _read_text(self, event: _Event) -> None:
        start = self._place
        source = self._text[start : event.end]
        if not source:
            return
        if source == event.value[max(0, start - event.start) :]:
            self.slots += iter_text_slots(self._text, start, event.end)
            self._place = event.end
        elif source.startswith("&"):
            self.slots.append(Slot(collapse_blanks(event.value), start, event.end))
            self._place = event.end
        else:
            self._keep(Protected(source, shown=event.value), start, event.end)

    def _read_end(self, event: _Event) -> None:
        end = event.end
        if event.name == "Link" and self._text[self._place : end] == "]" and self._text.startswith("[]", end):
            end += 2  # a collapsed reference, whose range leaves the brackets out
        mark = self._text[self._place : end]
        pair = self._pairs.close(event.name)
        written = None
        if event.name == "Link" and event.value is None and mark in {"]", "][]"}:
            written = self._name_reference(pair, mark, event)
        protected = Protected(mark) if pair is None else Protected(mark, "close", pair)
        self.slots.append(Slot(protected, self._place, end, written))
        self._place = end

    def _name_reference(self, pair: int | None, mark: str, event: _Event) -> str | None:
        """Return the end of a link whose text is the name of its address, so that the text can be another."""
        for slot in reversed(self.slots):
            if isinstance(slot.part, Protected) and slot.part.pair == pair and slot.part.text == "[":
                name = re.sub(r"[\s>]*\n[\s>]*", " ", self._text[slot.end : self._place])
                return f"][{name}]"
        return None

    def _read_tag(self, event: _Event) -> None:
        text = self._text[event.start : event.end]
        match = _TAG.match(event.value)
        protected = Protected(text)
        if match and match[1]:
            pair = self._pairs.close("<" + match[2].lower())
            protected = protected if pair is None else Protected(text, "close", pair)
        elif match and not match[3] and not is_void(match[2].lower()):
            protected = Protected(text, "open", self._pairs.open("<" + match[2].lower()))
        self._find_tags([event])
        self._keep(protected, event.start, event.end)

    def _find_tags(self, events: list[_Event]) -> None:
        """Note the start tags whose attributes people read."""
        for event in events:
            match = _TAG.match(event.value) if event.kind == "InlineHtml" else None
            if match and not match[1] and has_read_attributes(tokenize_html(event.value)[0]):
                self.tags.append((event.start, _hide_marks(self._text[event.start : event.end], event.value)))

    def _read_whole(self, event: _Event, inside: list[_Event]) -> None:
        """Read an image or an autolink, with what a reader sees of it."""
        end = inside[-1].end if inside else event.start
        end = max(end, event.end)
        shown = "".join(part.value for part in inside if part.kind in {"Text", "Code"})
        if event.name == "Image":
            is_own = event.value["link_type"] in {"Inline", "Reference"}  # not the name of the address too
            if inside and is_own and not any(part.name == "Image" for part in inside):
                self.alts.append(_read_alt(self._text, inside))
            shown = ""
        self._keep(Protected(self._text[event.start : end], shown=shown), event.start, end)

    def _skip_margin(self, place: int) -> int:
        match = _MARGIN.match(self._text, place)
        return match.end() if match else place

    def _add_blank(self, start: int, end: int) -> None:
        if self.slots and self.slots[-1].part == " " and self.slots[-1].end == start:
            start = self.slots.pop().start
        self.slots.append(Slot(" ", start, end))
        self._place = end

    def _keep(self, protected: Protected, start: int, end: int) -> None:
        self.slots.append(Slot(protected, start, end))
        self._place = end


def _read_alt(text: str, events: list[_Event]) -> list[Slot]:
    builder = _RunBuilder(text)
    builder.read(events)
    return builder.slots


def _is_autolink(event: _Event) -> bool:
    return event.name == "Link" and event.value["link_type"] in {"Autolink", "Email"}


def _ends(event: _Event, start: _Event) -> bool:
    return event.kind == "End" and event.name == start.name and (event.start, event.end) == (start.start, start.end)


def _find_tag_ends(events: list[_Event]) -> dict[int, int]:
    """Return of the tags that are protected with their content, by their index in the events, the end tag of each."""
    opened: dict[str, list[int]] = {}
    ends = {}
    for index, event in enumerate(events):
        match = _TAG.match(event.value) if event.kind == "InlineHtml" else None
        if match is None:
            continue
        there = opened.setdefault(match[2].lower(), [])
        if not match[1]:
            there.append(index)
        elif there:
            tag = events[start := there.pop()].value
            if _is_kept(tag, match[2].lower()) or _PICTURE.match(tag):
                ends[start] = index
    return ends


def _find_shown(events: list[_Event]) -> str:
    """Return what a reader sees of HTML that is left as it is."""
    shown = ""
    depth = 0  # of elements whose text is not seen
    for event in events:
        match = _TAG.match(event.value) if event.kind == "InlineHtml" else None
        if match and not match[3] and is_foreign(match[2].lower()):
            depth += -1 if match[1] else 1
        elif event.kind in {"Text", "Code"} and not depth:
            shown += event.value
    return collapse_blanks(shown).strip()


def _is_kept(tag: str, name: str) -> bool:
    return is_opaque(name) or _is_refused(tag)


def _is_refused(tag: str) -> bool:
    return "translate" in tag.lower() and says_no(tokenize_html(tag)[0])
