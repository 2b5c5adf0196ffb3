"""What a translator returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mtkit.decoding.splitting import Part, find_spaces, join_translations
from mtkit.errors import MtkitError

# (source word, target word), both from 0; words are what stands between white space.
Links = tuple[tuple[int, int], ...]


def format_links(links: Iterable[tuple[int, int]]) -> str:
    """Return links in Pharaoh format: `0-0 1-2`, sorted."""
    return " ".join(f"{source}-{target}" for source, target in sorted(links))


@dataclass(frozen=True)
class Kept:
    """How many wishes a translation fulfils.

    Attributes:
        kept: Wishes that it fulfils.
        wanted: All wishes.
    """

    kept: int = 0
    wanted: int = 0

    def __add__(self, other: Kept) -> Kept:
        return Kept(self.kept + other.kept, self.wanted + other.wanted)

    def __str__(self) -> str:
        return f"{self.kept:,} of {self.wanted:,}"


@dataclass(frozen=True)
class Alternative:
    """One of the n best translations of a line.

    Attributes:
        text: A single line.
        score: Log-probability after the length penalty; higher is better. Of a line translated in parts, the sum of
            their scores, in whose order the alternatives stay; not what the penalty would make of the whole line.
        log_prob: Natural log-probability, <= 0, EOS included.
        num_tokens: Target tokens, EOS included.
        is_cut: True if the maximum length ended it.
        tokens: Its pieces, EOS included; of a line translated in parts, each part with its EOS.
        token_log_probs: Of each of these pieces, natural, as the model gives it.
        alignment: Links of source and target words; None if they were not asked for.
        constraints: Required groups of phrases of which one appears.
        terms: Glossary terms, found in the source, whose translation appears.
    """

    text: str = ""
    score: float = 0.0
    log_prob: float = 0.0
    num_tokens: int = 0
    is_cut: bool = False
    tokens: tuple[str, ...] = ()
    token_log_probs: tuple[float, ...] = ()
    alignment: Links | None = None
    constraints: Kept = Kept()
    terms: Kept = Kept()


@dataclass(frozen=True)
class Translation:
    """The translation of one line: the best one, and the alternatives to it.

    Attributes:
        source: The line as it was given.
        alternatives: The n best translations, best first, so that the first is the translation itself. An empty line
            has as many, all empty.
        num_parts: Parts that the line was translated in: 0 for an empty line, above 1 for one too long for the model.
        problem: Why the line could not be translated as it was asked for; its translations are then empty.
    """

    source: str
    alternatives: tuple[Alternative, ...]
    num_parts: int
    problem: MtkitError | None = None

    @property
    def text(self) -> str:
        """The best translation; a single line."""
        return self.alternatives[0].text

    @property
    def score(self) -> float:
        """Log-probability after the length penalty; higher is better. Of a line translated in parts, the sum."""
        return self.alternatives[0].score

    @property
    def log_prob(self) -> float:
        """Natural log-probability, <= 0, EOS included."""
        return self.alternatives[0].log_prob

    @property
    def num_tokens(self) -> int:
        """Target tokens, EOS included."""
        return self.alternatives[0].num_tokens

    @property
    def is_cut(self) -> bool:
        """True if the maximum length ended the translation, or one of its parts."""
        return self.alternatives[0].is_cut


def combine_parts(parts: Sequence[Part], found: Sequence[Sequence[Alternative]]) -> tuple[Alternative, ...]:
    """Return the alternatives of a line that was translated in parts.

    The i-th alternative puts the i-th of each part together; of a part that has fewer, its last.

    Args:
        parts: The parts of the line.
        found: The alternatives of each part, best first.
    """
    combined = []
    for rank in range(max(map(len, found))):
        chosen = [alternatives[min(rank, len(alternatives) - 1)] for alternatives in found]
        combined.append(
            Alternative(
                text=join_translations([a.text for a in chosen], parts),
                score=sum(a.score for a in chosen),
                log_prob=sum(a.log_prob for a in chosen),
                num_tokens=sum(a.num_tokens for a in chosen),
                is_cut=any(a.is_cut for a in chosen),
                tokens=tuple(token for a in chosen for token in a.tokens),
                token_log_probs=tuple(log_prob for a in chosen for log_prob in a.token_log_probs),
                alignment=_combine_links(parts, chosen),
                constraints=sum((a.constraints for a in chosen), Kept()),
                terms=sum((a.terms for a in chosen), Kept()),
            )
        )
    return tuple(combined)


def _combine_links(parts: Sequence[Part], chosen: Sequence[Alternative]) -> Links | None:
    """Return the links of the whole line, in which a word that a cut went through is one word."""
    links: list[tuple[int, int]] = []
    num_source = num_target = 0  # words so far
    last_character = ""
    spaces = find_spaces([a.text for a in chosen], parts)
    for part, alternative, has_space in zip(parts, chosen, spaces, strict=True):
        if alternative.alignment is None:
            return None
        first_source = num_source if part.had_space else max(0, num_source - 1)
        seam = last_character + alternative.text[:1]  # a text may begin or end with a space of its own
        first_target = num_target if has_space or seam != seam.strip() else max(0, num_target - 1)
        last_character = alternative.text[-1:] or last_character
        links += [(first_source + source, first_target + target) for source, target in alternative.alignment]
        num_source = first_source + len(part.text.split())
        if words := alternative.text.split():
            num_target = first_target + len(words)
    return tuple(sorted(set(links)))
