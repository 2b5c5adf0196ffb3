"""Segmentations drawn at random, the same on every machine: BPE-dropout, and sampling from a unigram model.

SentencePiece draws them too, but the version at hand (0.2.3) salts every seed with something that differs from one
process to the next, so that a resumed run would be another run, and two processes would not agree.
"""

from __future__ import annotations

import heapq
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import accumulate, chain, repeat
from random import Random

from mtkit.corpus.spm_file import ModelKind, PieceKind, SpmFile

# What is known of a word is kept for so many words, then forgotten.
_CACHED_WORDS = 50_000

_UNKNOWN_PENALTY = 10.0  # as in SentencePiece: under the worst piece
_SPACE = "\u2581"

Uniform = Callable[[], float]
Draw = Callable[[Uniform], list[int]]


class RandomSegmenter:
    """Segments lines at random. What comes out is a function of the line and the seed.

    Words are segmented each by itself, which gives the distribution of SentencePiece wherever no piece reaches over a
    space, as is its default. Symbols that the user defined stay whole.

    Args:
        model: The vocabulary.
        strength: With bpe, the chance that a merge is left out (Provilkov et al. 2020, arXiv:1910.13267); with unigram,
            the exponent of the probability of a segmentation (Kudo 2018, arXiv:1804.10959).
        normalize: SentencePiece's normalisation of a line.

    Raises:
        ValueError: The model is neither bpe nor unigram.
    """

    def __init__(self, model: SpmFile, strength: float, normalize: Callable[[str], str]) -> None:
        self.strength = strength
        self._normalize = normalize
        self._vocabulary = _Vocabulary(model)
        symbols = [piece.text for piece in model.pieces if piece.kind is PieceKind.USER_DEFINED]
        # The longest symbol is tried first, as SentencePiece does.
        choices = [re.escape(symbol) for symbol in sorted(symbols, key=len, reverse=True)]
        self._split_symbols = re.compile("(" + "|".join(choices) + ")").split if symbols else None
        word = f"[^{_SPACE}]*{_SPACE}|[^{_SPACE}]+" if model.is_space_behind else f"{_SPACE}[^{_SPACE}]*|[^{_SPACE}]+"
        self._find_words = re.compile(word).findall
        self._is_symbol = frozenset(symbols).__contains__
        self._draws: dict[str, Draw] = {}
        self._build: Callable[[str, _Vocabulary, float], Draw]
        match model.kind:
            case ModelKind.BPE:
                self._build = _build_bpe
            case ModelKind.UNIGRAM:
                self._build = _build_unigram
            case kind:
                raise ValueError(f"a {kind.name.lower()} model has but one segmentation")

    def segment(self, line: str, seed: int) -> list[int]:
        """Return the token ids of a line, without begin and end of sentence."""
        uniform = Random(seed).random
        token_ids: list[int] = []
        for word in self._split(self._normalize(line)):
            draw = self._draws.get(word) or self._remember(word)
            token_ids += draw(uniform)
        return token_ids

    def _split(self, text: str) -> list[str]:
        """Return the words and symbols of a normalised line."""
        if self._split_symbols is None:
            return self._find_words(text)
        words: list[str] = []
        for index, part in enumerate(self._split_symbols(text)):
            words += [part] if index % 2 else self._find_words(part)
        return words

    def _remember(self, word: str) -> Draw:
        """Return what draws the segmentations of a word that has not been met before."""
        if len(self._draws) >= _CACHED_WORDS:
            self._draws.clear()
        if self._is_symbol(word):
            ids = [self._vocabulary.symbols[word]]
            draw: Draw = lambda uniform: ids  # noqa: E731
        else:
            draw = self._build(word, self._vocabulary, self.strength)
        self._draws[word] = draw
        return draw


class _Vocabulary:
    """Pieces by their text."""

    def __init__(self, model: SpmFile) -> None:
        places = list(enumerate(model.pieces))
        self.ids = {piece.text: i for i, piece in places if piece.kind is PieceKind.NORMAL}
        self.scores = {piece.text: piece.score for piece in model.pieces if piece.kind is PieceKind.NORMAL}
        self.symbols = {piece.text: i for i, piece in places if piece.kind is PieceKind.USER_DEFINED}
        self.bytes = {piece.text: i for i, piece in places if piece.kind is PieceKind.BYTE}
        self.unk_id = next(i for i, piece in places if piece.kind is PieceKind.UNKNOWN)
        self.longest = max(map(len, self.ids), default=1)
        self.unknown_score = min(self.scores.values(), default=0.0) - _UNKNOWN_PENALTY

    def to_ids(self, pieces: list[str]) -> list[int]:
        """Return the ids of pieces; unknown ones as bytes where there are such pieces, else a run of them as one."""
        ids: list[int] = []
        for piece in pieces:
            if (token_id := self.ids.get(piece)) is not None:
                ids.append(token_id)
            elif self.bytes:
                ids += [self.bytes[f"<0x{byte:02X}>"] for byte in piece.encode()]
            elif ids[-1:] != [self.unk_id]:
                ids.append(self.unk_id)
        return ids


def _build_bpe(word: str, vocabulary: _Vocabulary, chance: float) -> Draw:
    """Return what draws the segmentations of a word in which each merge is left out with a chance."""
    whole = _merge(word, vocabulary.scores, lambda: False)
    best = vocabulary.to_ids(whole)
    # keeps[n]: how likely it is that none of n + 1 merges is left out. Most often none of a word's is.
    keeps = list(accumulate([1 - chance] * (len(word) - len(whole)), lambda a, b: a * b))
    falling = [-keep for keep in keeps]

    def draw(uniform: Uniform) -> list[int]:
        value = uniform()
        if not keeps or value < keeps[-1]:
            return best
        # The first that is left out is the one at whose turn `keeps` falls to the value; those behind it are as may be.
        first = bisect_left(falling, -value)
        fates = chain(repeat(False, first), (True,), (uniform() < chance for _ in repeat(None)))
        return vocabulary.to_ids(_merge(word, vocabulary.scores, fates.__next__))

    return draw


def _merge(word: str, scores: dict[str, float], is_left_out: Callable[[], bool]) -> list[str]:
    """Return the pieces of a word after all merges, the best first, but for those that are left out at their turn."""
    pieces = list(word)
    before = list(range(-1, len(pieces) - 1))
    behind = [*range(1, len(pieces)), -1]
    agenda: list[tuple[float, int, int, str]] = []
    for left, right in enumerate(behind[:-1]):
        merged = pieces[left] + pieces[right]
        if merged in scores:
            agenda.append((-scores[merged], left, right, merged))
    heapq.heapify(agenda)
    while agenda:
        _, left, right, merged = heapq.heappop(agenda)
        # Either side may have been merged with another since.
        if not pieces[left] or not pieces[right] or len(pieces[left]) + len(pieces[right]) != len(merged):
            continue
        if is_left_out():
            continue
        pieces[left], pieces[right] = merged, ""
        behind[left] = following = behind[right]
        if following >= 0:
            before[following] = left
        for first, second in ((before[left], left), (left, following)):
            if first >= 0 and second >= 0 and (wider := pieces[first] + pieces[second]) in scores:
                heapq.heappush(agenda, (-scores[wider], first, second, wider))
    return [piece for piece in pieces if piece]


def _build_unigram(word: str, vocabulary: _Vocabulary, exponent: float) -> Draw:
    """Return what draws the segmentations of a word by probability ** exponent: forward sums, backward draws."""
    totals = [0.0]
    ways: list[tuple[list[float], list[int]]] = [([], [])]  # for each end: cumulated chances of the starts of pieces
    for end in range(1, len(word) + 1):
        weights, starts = [], []
        for start in range(max(0, end - vocabulary.longest), end):
            piece = word[start:end]
            score = vocabulary.scores.get(piece, vocabulary.unknown_score if len(piece) == 1 else None)
            if score is not None:
                weights.append(totals[start] + exponent * score)
                starts.append(start)
        largest = max(weights)
        chances = list(accumulate(math.exp(weight - largest) for weight in weights))
        totals.append(largest + math.log(chances[-1]))
        ways.append(([chance / chances[-1] for chance in chances[:-1]], starts))

    def draw(uniform: Uniform) -> list[int]:
        pieces = []
        end = len(word)
        while end:
            chances, starts = ways[end]
            start = starts[bisect_right(chances, uniform())]
            pieces.append(word[start:end])
            end = start
        return vocabulary.to_ids(pieces[::-1])

    return draw
