"""What a document is to the translation: segments out, translations in, and everything else left as it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

ProtectedKind = Literal["standalone", "open", "close"]


@dataclass(frozen=True)
class Protected:
    """A stretch of a segment that must come back exactly once, as it is: a placeholder, a tag, a piece of code.

    Attributes:
        text: As it stands in the document.
        kind: `standalone`, or one end of a pair that encloses text, as `<b>` and `</b>` do.
        pair: Number of the pair, from 0, within the segment; None for what is standalone.
        shown: What a reader sees in its place, if anything (such as the text of a code span), which may help the
            model; empty for what is not seen.
    """

    text: str
    kind: ProtectedKind = "standalone"
    pair: int | None = None
    shown: str = ""


@dataclass(frozen=True)
class Segment:
    """What is translated at once.

    Attributes:
        parts: Plain text, decoded (no entities, no escapes), with the protected stretches between. No line breaks.
        place: Where it stands in the document, for messages: `line 12`.
        max_width: Longest line in characters, into which the translation is re-flowed; None for one line.
    """

    parts: tuple[str | Protected, ...]
    place: str = ""
    max_width: int | None = None

    @property
    def protected(self) -> tuple[Protected, ...]:
        """The protected stretches, in order."""
        return tuple(part for part in self.parts if isinstance(part, Protected))

    @property
    def text(self) -> str:
        """The segment as it stands in the document, but for the document's own escapes."""
        return "".join(part.text if isinstance(part, Protected) else part for part in self.parts)


# A translated segment: plain text, which the document escapes in its own way, and protected stretches.
TranslatedSegment = tuple[str | Protected, ...]


class Document(Protocol):
    """A document that was read."""

    @property
    def segments(self) -> Sequence[Segment]:
        """What is to be translated, in the document's order."""

    def render(self, translations: Sequence[TranslatedSegment | None]) -> bytes:
        """Return the document with translations in it; a segment whose translation is None keeps its source.

        With all of them None the document comes back byte for byte, or as its library writes what it has read.

        Args:
            translations: Of each segment.
        """


class MarkingDocument:
    """What documents share that mark the segments left untranslated."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._untranslated: frozenset[int] = frozenset()

    @property
    def segments(self) -> Sequence[Segment]:
        """What is to be translated, in the document's order."""
        return self._segments

    def mark_untranslated(self, places: Collection[int]) -> None:
        """Mark these segments, by their index, in what is rendered next as still in need of a translation."""
        self._untranslated = frozenset(places)
