"""Where the sentences of a text end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

from mtkit.decoding.splitting import UNSPACED
from mtkit.documents.slots import Slot, cut_slots, has_words, trim_slots
from mtkit.runtime.extras import import_extra

_NOT_BLANK = re.compile(r"\S")


def find_sentence_ends(text: str, language: str | None = None) -> list[int]:
    """Return the places in a text, without its end, before which a sentence ends.

    Segmentation by sentencex (Wikimedia; rules and abbreviations of some 300 languages, nothing to download). A
    sentence has a letter in it, white space after it unless its script has none, and nothing in lower case follows it.

    Args:
        text: One paragraph.
        language: ISO 639-1 code; the rules of English if not given, those of a related language if unknown.

    Raises:
        RecipeError: sentencex is not installed.
    """
    sentencex = import_extra("sentencex", "formats", "splitting a document into sentences")
    sentences = list(sentencex.segment(language or "en", text))
    if "".join(sentences) != text:
        return []
    last_letter = max((place for place, character in enumerate(text) if character.isalpha()), default=-1)
    ends = []
    last = 0
    for end in accumulate(map(len, sentences)):
        has_letter = any(map(str.isalpha, text[last:end]))
        is_boundary = text[end - 1].isspace() or UNSPACED.match(text[end - 1]) is not None
        following = _NOT_BLANK.search(text, end)
        is_start = following is not None and end <= last_letter and not following[0].islower()
        if is_boundary and has_letter and is_start:
            ends.append(end)
            last = end
    return ends


def cut_sentences(slots: Sequence[Slot], language: str | None = None) -> list[list[Slot]]:
    """Return a run of slots as trimmed runs of one sentence, or of more where a cut would part a pair; none is empty.

    Raises:
        RecipeError: sentencex is not installed.
    """
    trimmed = trim_slots(slots)
    if not has_words(trimmed):
        return []
    ends = find_sentence_ends("".join(slot.seen for slot in trimmed), language)
    runs = [trim_slots(run) for run in cut_slots(trimmed, ends)]
    return [run for run in runs if has_words(run)]
