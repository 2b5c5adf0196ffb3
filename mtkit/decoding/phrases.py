"""Phrases in words to phrases in tokens, as they stand inside a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from mtkit.corpus.tokenizer import Tokenizer
from mtkit.decoding.guidance import Phrase
from mtkit.decoding.splitting import UNSPACED
from mtkit.errors import DataError

# A character that no vocabulary has (Unicode's private use): it stays by itself, so that what follows it is segmented
# as in the middle of a sentence without a space before it.
_ANCHOR = "\ue000"


def encode_phrases(tokenizer: Tokenizer, groups: Sequence[Sequence[str]]) -> tuple[tuple[Phrase, ...], ...]:
    """Return groups of alternative phrases as token ids of the target.

    A phrase gets its tokens at the beginning of a sentence, which are those behind a space too. If it can follow
    another character without a space, its tokens there become an alternative: if it begins with a character of a script
    that is written without spaces, or with neither letter nor digit. Other phrases get no such alternative, though they
    can follow a bracket or a hyphen: it would also be met in the middle of a word.

    The tokens are SentencePiece's first choice: a translation that spells the phrase with other pieces does not meet
    it. A phrase that the vocabulary cannot spell is left out where it can spell another one of the group.

    Args:
        tokenizer: Of the target.
        groups: Groups of alternative phrases.

    Raises:
        DataError: A group or a phrase is empty, or the vocabulary can spell no phrase of a group: it has no piece for a
            character and no byte fallback.
    """
    return tuple(_encode_group(tokenizer, group) for group in groups)


def _encode_group(tokenizer: Tokenizer, group: Sequence[str]) -> tuple[Phrase, ...]:
    if not group:
        raise DataError("a group of phrases without a phrase", fix="give one or more, or leave the group out")
    phrases = tuple(dict.fromkeys(phrase for text in group for phrase in _encode_phrase(tokenizer, text)))
    if not phrases:
        quoted = "' or '".join(group)
        raise DataError(
            f"the model's vocabulary cannot spell the phrase '{quoted}'",
            fix="use characters of the text it was trained on, or train a vocabulary with byte_fallback",
        )
    return phrases


def _encode_phrase(tokenizer: Tokenizer, text: str) -> list[Phrase]:
    """Return a phrase at the beginning of a sentence, and without a space before it; none if it cannot be spelled."""
    behind_space, anchor, behind_anchor = map(tuple, tokenizer.encode([text, _ANCHOR, _ANCHOR + text], threads=1))
    if not text.strip() or not behind_space:
        raise DataError("an empty phrase", fix="write the phrase, or leave it out")
    if tokenizer.unk_id in behind_space:
        return []
    phrases = [behind_space]
    first = text.strip()[0]
    is_glued = UNSPACED.match(first) is not None or not first.isalnum()
    if is_glued and anchor and behind_anchor[: len(anchor)] == anchor and len(behind_anchor) > len(anchor):
        phrases.append(behind_anchor[len(anchor) :])
    return phrases
