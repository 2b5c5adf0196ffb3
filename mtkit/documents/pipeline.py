"""From a document to its translation: what `mtkit translate` does with anything but lines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mtkit.decoding.lines import iter_windows
from mtkit.decoding.request import Request
from mtkit.decoding.translation import Translation
from mtkit.documents.document import Document, TranslatedSegment
from mtkit.documents.protection import Masked, find_made_up, mask_segment, unmask, use_stand_ins
from mtkit.runtime import console

_MORE_TRIES = 2


class WindowTranslator(Protocol):
    """What a document needs of a `mtkit.decoding.translator.Translator`, which gives word links too."""

    @property
    def window_lines(self) -> int:
        """The number of lines that are best translated together."""

    def translate_window(
        self, window: Sequence[str | Request], advance: Callable[[int], None] | None = None
    ) -> Iterator[Translation]:
        """Yield the translation of each line of a window, in order."""


@runtime_checkable
class HasMarks(Protocol):
    """A document that can say of a segment that it still needs a translation."""

    def mark_untranslated(self, places: Collection[int]) -> None:
        """Mark these segments, by their index, in what is rendered next."""


@runtime_checkable
class HasUnwritten(Protocol):
    """A document that may keep the source of a segment although there is a translation."""

    @property
    def unwritten(self) -> Collection[int]:
        """These segments, by their index, in what was rendered last."""

    @property
    def unwritten_because(self) -> str:
        """Why there may be any."""


@dataclass
class DocumentSummary:
    """What was translated.

    Attributes:
        num_segments: Segments of the document that were to be translated.
        num_filled: Those that are translated now.
        num_protected: Segments with protected stretches and words; of these …
        kept_at_once: … so many kept all of them in the first translation, …
        kept_on_second_try: … so many when they were required and others forbidden, …
        left: … and so many lost some again, and were left as they were.
        num_failed: Segments without protected stretches for which there is no translation.
        num_cut: Translations that the maximum length ended.
        elapsed_seconds: Time taken.
    """

    num_segments: int = 0
    num_filled: int = 0
    num_protected: int = 0
    kept_at_once: int = 0
    kept_on_second_try: int = 0
    left: int = 0
    num_failed: int = 0
    num_cut: int = 0
    elapsed_seconds: float = 0.0

    def __str__(self) -> str:
        counts = [
            f"{console.count(self.num_segments, 'segment')}, {self.num_filled:,} translated "
            f"in {self.elapsed_seconds:.1f} s"
        ]
        if self.num_protected:
            counts.append(
                f"{self.num_protected:,} with placeholders or markup: {self.kept_at_once:,} kept at once, "
                f"{self.kept_on_second_try:,} on the second try, {self.left:,} left untranslated"
            )
        if self.num_failed:
            counts.append(f"no translation: {self.num_failed:,}")
        if self.num_cut:
            counts.append(f"translations cut at the maximum length: {self.num_cut:,}")
        return "; ".join(counts)


@dataclass(frozen=True)
class TranslatedDocument:
    """A document's translation.

    Attributes:
        content: The file.
        summary: What was translated.
        left: Where the segments stand for which there is no translation that keeps what it must.
        unwritten: Where those stand whose translation the document could not take …
        unwritten_because: … and why.
    """

    content: bytes
    summary: DocumentSummary
    left: tuple[str, ...]
    unwritten: tuple[str, ...] = ()
    unwritten_because: str = ""


def translate_document(
    document: Document, translator: WindowTranslator, advance: Callable[[int], None] | None = None
) -> TranslatedDocument:
    """Translate a document's segments and put them in.

    A segment whose protected stretches do not come back exactly once is translated again: what the model is shown of
    them must then come exactly so often, and the placeholders that it made up are forbidden (once more, if it made up
    others); then with short stand-ins in their place. Of n-best translations the first that keeps them is taken. If
    none does, the segment is left.

    Args:
        document: Is told, if it can mark them, which segments were left.
        translator: Made with `align=True`, so that tags find their places.
        advance: Called with the number of segments done, now and then.

    Raises:
        DeviceError: The device's memory does not suffice for a single segment.
    """
    started = time.monotonic()
    masked = [mask_segment(segment) for segment in document.segments]
    found: list[TranslatedSegment | None] = [None if m.has_words else m.parts for m in masked]
    summary = DocumentSummary(num_segments=len(masked))
    waiting = [place for place, m in enumerate(masked) if m.has_words]
    if advance is not None:
        advance(len(masked) - len(waiting))
    protected = {place for place in waiting if masked[place].is_protected}
    summary.num_protected = len(protected)
    made_up: dict[int, set[str]] = {}
    requests = (Request(masked[place].text) for place in waiting)
    summary.num_cut = _fill(found, masked, waiting, _translate(requests, translator, advance), made_up)
    kept_at_once = {place for place in protected if found[place] is not None}
    again = [place for place in waiting if found[place] is None and (masked[place].shown or place in made_up)]
    summary.num_cut += _fill_again(found, masked, again, translator, made_up)
    again = [place for place in again if found[place] is None and masked[place].shown]
    for place in again:
        masked[place] = use_stand_ins(masked[place])
    summary.num_cut += _fill_again(found, masked, again, translator, {})
    left = [place for place in waiting if found[place] is None]
    if isinstance(document, HasMarks):
        document.mark_untranslated(left)
    content = document.render(found)
    unwritten = sorted(document.unwritten) if isinstance(document, HasUnwritten) else []
    untranslated = {*left, *unwritten}
    summary.kept_at_once = len(kept_at_once - untranslated)
    summary.left = len(protected & untranslated)
    summary.kept_on_second_try = len(protected) - summary.kept_at_once - summary.left
    summary.num_failed = len(untranslated) - summary.left
    summary.num_filled = len(masked) - len(untranslated)
    summary.elapsed_seconds = time.monotonic() - started
    return TranslatedDocument(
        content,
        summary,
        left=tuple(document.segments[place].place for place in left),
        unwritten=tuple(document.segments[place].place for place in unwritten),
        unwritten_because=document.unwritten_because if isinstance(document, HasUnwritten) else "",
    )


def _fill_again(
    found: list[TranslatedSegment | None],
    masked: Sequence[Masked],
    places: Sequence[int],
    translator: WindowTranslator,
    made_up: dict[int, set[str]],
) -> int:
    """Fill segments under constraints: all that they show exactly once, and nothing that was made up before.

    Takes and returns what `_fill` does.
    """
    num_cut = 0
    for _ in range(_MORE_TRIES):
        forbidden = {place: sorted(made_up.get(place, ())) for place in places}
        requests = (
            Request(
                masked[place].text,
                required=masked[place].names,
                forbidden=forbidden[place],
                at_most=Counter(masked[place].names),
            )
            for place in places
        )
        num_cut += _fill(found, masked, places, _translate(requests, translator, None), made_up)
        # Once more, if there is more to forbid.
        places = [
            place for place in places if found[place] is None and len(made_up.get(place, ())) > len(forbidden[place])
        ]
    return num_cut


def _fill(
    found: list[TranslatedSegment | None],
    masked: Sequence[Masked],
    places: Sequence[int],
    translations: Iterable[Translation],
    made_up: dict[int, set[str]],
) -> int:
    """Fill segments with their translations; return how many of those taken the maximum length cut.

    Args:
        found: Of each segment; those of the places are set.
        masked: The segments.
        places: Of the translated ones.
        translations: Of each of the places.
        made_up: Gets the placeholders made up in translations that could not be taken, by place.
    """
    num_cut = 0
    for place, translation in zip(places, translations, strict=True):
        if translation.problem is not None:
            continue
        for alternative in translation.alternatives:
            if alternative.text == masked[place].text:  # a copy keeps its place to the last blank
                found[place] = masked[place].parts
            else:
                found[place] = unmask(masked[place], alternative.text, alternative.alignment)
            if found[place] is not None:
                num_cut += alternative.is_cut
                break
            if new := find_made_up(masked[place], alternative.text):
                made_up.setdefault(place, set()).update(new)
    return num_cut


def _translate(
    requests: Iterable[Request], translator: WindowTranslator, advance: Callable[[int], None] | None
) -> Iterator[Translation]:
    for window in iter_windows(requests, translator.window_lines):
        yield from translator.translate_window(window, advance)
