"""Which size of the vocabulary a text can give, where the one asked for is too large."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import Tokenizer, VocabularySizeError
from mtkit.errors import RecipeError

Learn = Callable[[VocabularySection], Tokenizer]

_MIN_SIZE = 16  # as the field `vocabulary.size` has it

# A text that cannot give so many pieces gets as many as it can: most of them are characters.
_SMALL_TEXT = 400


def explain_size(vocabulary: VocabularySection, learners: Mapping[str, Learn]) -> RecipeError:
    """Return the error of a size that is too large, with a remedy that has been tried on all texts.

    Args:
        vocabulary: What was asked for.
        learners: By side (`source` and `target`, or `both`), what learns its vocabulary.

    Raises:
        RecipeError: On one side the size is too small.
    """
    size = vocabulary.size
    most = {side: _find_size(vocabulary, size, [learn]) for side, learn in learners.items()}
    short = [side for side, largest in most.items() if largest < size]
    if len(short) == 2:
        problem = f"the texts cannot give vocabularies of {size:,} pieces: {most['source']:,} are the most of the "
        problem += f"source, {most['target']:,} of the target"
    else:
        name = "this" if short == ["both"] else f"the {short[0]}"
        problem = f"{name} text cannot give a vocabulary of {size:,} pieces: {most[short[0]]:,} is the most"
    return RecipeError(
        f"{problem}, and fewer are better: what occurs once teaches nothing",
        at="vocabulary.size",
        fix=_suggest(vocabulary, min(most.values()), list(learners.values())),
    )


def _find_size(vocabulary: VocabularySection, size: int, learners: Sequence[Learn]) -> int:
    """Return the largest size up to this one that all texts have been seen to give.

    What SentencePiece says is the most is so for the size that it was asked for, and the other texts may give less: so
    it is asked for in its turn.

    Raises:
        RecipeError: There is no room for the characters of a text.
    """
    while True:
        try:
            for learn in learners:
                learn(vocabulary.model_copy(update={"size": size}))
        except VocabularySizeError as exc:
            size = exc.largest
        else:
            return size


def _suggest(vocabulary: VocabularySection, largest: int, learners: Sequence[Learn]) -> str:
    """Say how a vocabulary can be had from texts that are too small for the one asked for."""
    for size in [largest] if largest < _SMALL_TEXT else [largest // 4, largest]:
        with suppress(RecipeError):
            good = _find_size(vocabulary, size, learners)
            return f"--vocab-size {good}{_suggest_bpe(vocabulary, learners)}" if good >= _MIN_SIZE else "give more text"
    return "--set vocabulary.separate=false: one side has more characters than the other can give pieces"


def _suggest_bpe(vocabulary: VocabularySection, learners: Sequence[Learn]) -> str:
    """Return the other kind as a second remedy, where it gives what was asked for."""
    if vocabulary.type == "bpe":
        return ""
    other = vocabulary.model_copy(update={"type": "bpe"})
    gives_all = _find_size(other, vocabulary.size, learners) == vocabulary.size
    return ", or --set vocabulary.type=bpe, which finds more pieces" if gives_all else ""
