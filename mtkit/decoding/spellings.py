"""Phrases that must not appear, as text: whatever pieces a translation would spell them with.

A word has many spellings (`▁Hund`, `▁H` + `und`, `▁Hu` + `n` + `d`, …), and a phrase too many to list. They are the
paths through a graph whose nodes are the places in the phrase, and whose edges are the pieces that lead from one to
another. A hypothesis stands at all the nodes that its newest tokens lead to, and what would lead to the end is ruled
out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from mtkit.corpus.tokenizer import Tokenizer
from mtkit.decoding.glossary import is_word_edge
from mtkit.decoding.guidance import ANYWHERE, AT_WORD, END, Phrase, Spellings
from mtkit.decoding.prefix_memory import PrefixMemory
from mtkit.errors import DataError

_SPACE = "\u2581"
_UNKNOWN = b" \xe2\x81\x87 "  # what an unknown token is decoded to
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_LETTER = "a"  # any one of a script that has spaces
_NO_TOKENS: frozenset[int] = frozenset()


class Speller:
    """Finds the spellings of phrases.

    A phrase begins where a word does; if its first character is no letter or digit, or is of a script that is written
    without spaces, anywhere. It ends where a piece ends, or, within a piece, where a word does: `Hund` is spelled by
    `▁Hund`, also where `e` follows, but not by a piece `▁Hunde`.

    Args:
        tokenizer: Of the target.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._texts = _read_pieces(tokenizer)
        whole: dict[bytes, list[int]] = {}
        tails: dict[bytes, list[int]] = {}  # what begins within a piece, where a word may begin, and ends with it
        openers = set()
        for token_id, piece in enumerate(self._texts):
            if piece:
                whole.setdefault(piece, []).append(token_id)
            text = piece.decode(errors="replace")
            if text and is_word_edge(text + _LETTER, len(text)):
                openers.add(token_id)
            for place in range(1, len(text)):
                if is_word_edge(text, place):
                    tails.setdefault(text[place:].encode(), []).append(token_id)
        self._whole, self._tails = _Index(whole), _Index(tails)
        self._openers = frozenset(openers)

    def find(self, phrase: str) -> Spellings:
        """Return the spellings of a phrase.

        Raises:
            DataError: The phrase is empty, or the vocabulary has no piece for a character and no byte fallback.
        """
        token_ids = self._tokenizer.encode([phrase], threads=1)[0]
        if self._tokenizer.unk_id in token_ids:
            raise DataError(
                f"the model's vocabulary cannot spell the phrase '{phrase}'",
                fix="use characters of the text it was trained on, or train a vocabulary with byte_fallback",
            )
        # Of its pieces, so that it is normalised as the vocabulary does.
        text = b"".join(self._texts[token_id] for token_id in token_ids).decode(errors="replace").strip()
        if not text:
            raise DataError("an empty phrase", fix="write the phrase, or leave it out")
        return Spellings(tuple(dict.fromkeys(self._iter_edges(text))), self._openers)

    def _iter_edges(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Yield the edges of a phrase; the node of its place k, in bytes, is AT_WORD + k."""
        phrase = text.encode()
        yield from _iter_edges_from(ANYWHERE, text, 0, self._tails)
        yield from _iter_edges_from(ANYWHERE if is_word_edge(_LETTER + text, 1) else AT_WORD, text, 0, self._whole)
        for place in range(1, len(phrase)):
            yield from _iter_edges_from(AT_WORD + place, text, place, self._whole)


class _Index:
    """Tokens by the bytes that they stand for."""

    def __init__(self, tokens: dict[bytes, list[int]]) -> None:
        self._tokens = tokens
        self._sorted = sorted(tokens)

    def find(self, key: bytes) -> Sequence[int]:
        """Return the tokens that stand for these bytes."""
        return self._tokens.get(key, ())

    def iter_longer(self, key: bytes) -> Iterator[bytes]:
        """Yield the keys that begin with this one, and go on."""
        for place in range(bisect_right(self._sorted, key), len(self._sorted)):
            if not self._sorted[place].startswith(key):
                break
            yield self._sorted[place]


def _iter_edges_from(node: int, text: str, place: int, index: _Index) -> Iterator[tuple[int, int, int]]:
    """Yield the edges that lead from a node, which stands at this place of the phrase, in bytes."""
    rest = text.encode()[place:]
    for size in range(1, len(rest) + 1):
        target = END if size == len(rest) else AT_WORD + place + size
        yield from ((node, token_id, target) for token_id in index.find(rest[:size]))
    for longer in index.iter_longer(rest):
        if is_word_edge(text + longer[len(rest) :].decode(), len(text)):
            yield from ((node, token_id, END) for token_id in index.find(longer))


def _read_pieces(tokenizer: Tokenizer) -> list[bytes]:
    """Return what each token is decoded to; nothing for those that vanish."""
    pieces = tokenizer.pieces(range(len(tokenizer)))
    has_bytes = "<0x00>" in pieces
    texts = [
        bytes([int(piece[3:5], 16)]) if has_bytes and _BYTE.fullmatch(piece) else piece.replace(_SPACE, " ").encode()
        for piece in pieces
    ]
    texts = [b" " if text in {b"\n", b"\r"} else text for text in texts]  # a translation is one line
    for token_id in (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id):
        texts[token_id] = b""
    texts[tokenizer.unk_id] = _UNKNOWN
    return texts


class SpellingTracker:
    """Follows forbidden phrases through hypotheses.

    Args:
        forbidden: Tokens in their order, or all spellings of a text.
        allowed: How often one of them may end before it is forbidden.
    """

    def __init__(self, forbidden: Sequence[Phrase | Spellings], allowed: int = 0) -> None:
        self._allowed = allowed
        self._onward: dict[tuple[int, int], set[int]] = {}  # from a node, by a token
        self._last: dict[int, set[int]] = {}  # the tokens by which a phrase would end
        self._openers: frozenset[int] = _NO_TOKENS
        num_nodes = AT_WORD + 1
        for one in forbidden:
            spellings = one if isinstance(one, Spellings) else _spell(one)
            self._openers |= spellings.openers
            for origin, token_id, target in spellings.edges:
                # Each phrase has its own nodes, but for the first two, which mean the same in all.
                node = origin if origin <= AT_WORD else origin + num_nodes
                if target == END:
                    self._last.setdefault(node, set()).add(token_id)
                else:
                    self._onward.setdefault((node, token_id), set()).add(target + num_nodes)
            num_nodes += max((node for edge in spellings.edges for node in edge[::2]), default=0)
        self._memory = PrefixMemory((frozenset({ANYWHERE, AT_WORD}), 0))

    def find_last(self, prefix: Phrase) -> set[int]:
        """Return the tokens that would end a phrase behind these, where it may end no more."""
        nodes, count = self._memory.follow(prefix, self._advance)
        return set() if count < self._allowed else self._find_ends(nodes)

    def _find_ends(self, nodes: frozenset[int]) -> set[int]:
        return set().union(*(self._last.get(node, ()) for node in nodes))

    def _advance(self, known: tuple[frozenset[int], int], token_id: int) -> tuple[frozenset[int], int]:
        """Return the nodes behind one more token, and how many phrases have ended by then."""
        nodes, count = known
        reached = {ANYWHERE, AT_WORD} if token_id in self._openers else {ANYWHERE}
        onward = frozenset(reached.union(*(self._onward.get((node, token_id), ()) for node in nodes)))
        return onward, count + (self._allowed > 0 and token_id in self._find_ends(nodes))


def _spell(phrase: Phrase) -> Spellings:
    """Return the one spelling of a phrase that is given as tokens."""
    nodes = [ANYWHERE, *range(AT_WORD + 1, AT_WORD + len(phrase)), END]
    return Spellings(tuple(zip(nodes, phrase, nodes[1:], strict=False)) if phrase else ())
