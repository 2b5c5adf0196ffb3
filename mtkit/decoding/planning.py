"""From requests to what the model is given: parts of lines as token ids, and what their translations are held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from xxhash import xxh3_64_intdigest

from mtkit.config.decoding import DecodingSection
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.decoding.glossary import Glossary
from mtkit.decoding.guidance import Guidance, Phrase
from mtkit.decoding.lengths import max_target_length
from mtkit.decoding.lines import clean_source
from mtkit.decoding.phrases import encode_phrases
from mtkit.decoding.request import PhraseGroups, Request
from mtkit.decoding.sources import SourceLine, SourceReader
from mtkit.decoding.spellings import Speller
from mtkit.decoding.splitting import Part
from mtkit.errors import DataError, MtkitError
from mtkit.runtime import console


@dataclass(frozen=True)
class Segment:
    """What the model translates at once: a line, or a part of a long one.

    Attributes:
        line: Index of the line in its window.
        part: Index of the part in its line.
        text: The source.
        token_ids: Source tokens, the tag and EOS included.
        num_tags: Tokens before those of the text.
        guidance: What the translation is held to.
        num_constraints: So many of the guidance's required groups, the first ones, are the request's own.
        terms: Translations of the glossary's terms that stand in the text.
    """

    line: int
    part: int
    text: str
    token_ids: list[int]
    num_tags: int = 0
    guidance: Guidance = field(default_factory=Guidance)
    num_constraints: int = 0
    terms: PhraseGroups = ()


@dataclass(frozen=True)
class Plan:
    """How a line is translated.

    Attributes:
        request: What was asked.
        parts: Of the line; none if it is empty, or cannot be translated as it was asked.
        segments: Of each part.
        problem: Why it cannot be.
    """

    request: Request
    parts: Sequence[Part] = ()
    segments: Sequence[Segment] = ()
    problem: MtkitError | None = None


class Planner:
    """Turns requests into segments.

    A line that is too long is cut into parts. Its prefix goes to the first one and what is forbidden to all; a glossary
    term to the parts in which it stands. A required phrase that stands itself in the source, as a name does, goes to
    the part where it does so; others are spread over the parts in the order in which they were given.

    Args:
        source_tokenizer: Of the source side.
        target_tokenizer: Of the target side.
        decoding: The longest part, the tag, whether to sample.
        max_length: Longest source and target in tokens, EOS included, that the model takes; None for no limit.
        glossary: Terms and their translations.

    Raises:
        ModelError: `decoding.tag` is no piece of the source vocabulary.
    """

    def __init__(
        self,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        decoding: DecodingSection,
        max_length: int | None = None,
        glossary: Glossary | None = None,
    ) -> None:
        self.target_tokenizer = target_tokenizer
        self.decoding = decoding
        self.max_length = max_length
        self.glossary = glossary
        self._reader = SourceReader(source_tokenizer, decoding, max_length)
        self._encoded_terms: dict[tuple[str, ...], tuple[Phrase, ...]] = {}

    def plan(self, requests: Sequence[Request]) -> list[Plan]:
        """Return how the lines of a window are translated."""
        lines = self._reader.read([request.source for request in requests])
        plans = []
        for number, (request, line) in enumerate(zip(requests, lines, strict=True)):
            try:
                plans.append(self._plan_line(number, request, line))
            except MtkitError as problem:
                # Its traceback would hold this list, and so all plans until the garbage collector finds them.
                plans.append(Plan(request, problem=problem.with_traceback(None)))
        return plans

    def _plan_line(self, number: int, request: Request, line: SourceLine) -> Plan:
        """Return how a line, the source of a request, is translated.

        Raises:
            ModelError: The tag is no piece of the source vocabulary.
            DataError: The vocabulary cannot spell a phrase, the prefix is too long, or samples cannot be constrained.
        """
        head = self._reader.find_head(line, request.tag)
        cut = self._reader.cut(line, head)
        parts = [part for part, _ in cut]
        wishes = self._encode_wishes(request)
        if wishes.prefix and cut:
            self._check_prefix(wishes.prefix, len(cut[0][1]))
        places = [_find_part(phrases, i, request.groups, parts) for i, phrases in enumerate(request.groups)]
        segments = []
        for place, (part, ids) in enumerate(cut):
            required = [group for group, of_group in zip(wishes.required, places, strict=True) if of_group == place]
            terms = self.glossary.find(part.text) if self.glossary is not None else ()
            guidance = Guidance(
                prefix=wishes.prefix if place == 0 else (),
                required=_add_terms(required, self._encode_terms(terms)),
                forbidden=wishes.forbidden,
                limited=wishes.limited,
                seed=self._find_seed(ids),
            )
            segments.append(Segment(number, place, part.text, ids, len(head), guidance, len(required), terms))
        return Plan(request, parts, segments)

    def _encode_wishes(self, request: Request) -> Guidance:
        """Return the wishes of a request as target tokens.

        Raises:
            DataError: The vocabulary cannot spell one of them, or samples cannot be constrained.
        """
        if not (request.prefix or request.required or request.forbidden or request.at_most):
            return Guidance()
        if request.required and self.decoding.sampling:
            raise DataError(
                "samples cannot be held to required phrases", fix="turn decoding.sampling off, or leave the phrases out"
            )
        prefix: Phrase = ()
        if request.prefix and (text := clean_source(request.prefix)):
            prefix = tuple(self.target_tokenizer.encode([text], threads=1)[0])
            if self.target_tokenizer.unk_id in prefix:
                raise DataError(
                    f"the model's vocabulary cannot spell the prefix '{text}'", fix="change it, or leave it out"
                )
        required = self._encode_phrases(request.groups)
        forbidden = tuple(self._speller.find(clean_source(phrase)) for phrase in request.forbidden)
        limited = tuple((self._speller.find(clean_source(phrase)), count) for phrase, count in request.at_most.items())
        return Guidance(prefix, required, forbidden, limited)

    @cached_property
    def _speller(self) -> Speller:
        return Speller(self.target_tokenizer)

    def _encode_phrases(self, groups: Sequence[Sequence[str]]) -> tuple[tuple[Phrase, ...], ...]:
        """Return groups of phrases as target tokens.

        Raises:
            DataError: The vocabulary can spell no phrase of a group.
        """
        if not groups:
            return ()
        cleaned = [[clean_source(phrase) for phrase in group] for group in groups]
        return encode_phrases(self.target_tokenizer, cleaned)

    def _encode_terms(self, terms: PhraseGroups) -> list[tuple[Phrase, ...]]:
        """Return the glossary's terms as target tokens, without those that the vocabulary cannot spell."""
        for term in terms:
            if term not in self._encoded_terms:
                self._encoded_terms[term] = self._encode_term(term)
        return [group for term in terms if (group := self._encoded_terms[term])]

    def _encode_term(self, term: Sequence[str]) -> tuple[Phrase, ...]:
        """Return the alternatives of a term that the vocabulary can spell, and warn of the others."""
        phrases: list[Phrase] = []
        for text in term:
            try:
                phrases += self._encode_phrases([[text]])[0]
            except DataError as exc:
                console.warn(f"glossary: {exc.message}; it is not applied")
        return tuple(phrases)

    def _check_prefix(self, prefix: Phrase, source_length: int) -> None:
        """Refuse a prefix that leaves no room for a translation; `source_length` counts tokens, EOS included.

        Raises:
            DataError: It is longer than the translation may become.
        """
        longest = max_target_length(source_length - 1, self.decoding, self.max_length)
        if len(prefix) >= longest:
            raise DataError(
                f"the prefix has {len(prefix):,} tokens, and the translation may have {longest - 1:,}",
                fix="shorten the prefix, or raise decoding.max_length_extra",
            )

    def _find_seed(self, token_ids: list[int]) -> int:
        """Return the seed of a source's samples: a function of its tokens alone."""
        return xxh3_64_intdigest(np.asarray(token_ids, "<i4").tobytes()) if self.decoding.sampling else 0


def _add_terms(
    required: Sequence[tuple[Phrase, ...]], terms: Sequence[tuple[Phrase, ...]]
) -> tuple[tuple[Phrase, ...], ...]:
    """Return required groups, and behind them those of the glossary that are not among them, each once.

    A group that stands there twice would have to be met at two places.
    """
    present = set(map(frozenset, required))
    added = {frozenset(group): group for group in terms}
    return (*required, *(group for key, group in added.items() if key not in present))


def _find_part(phrases: Sequence[str], index: int, groups: PhraseGroups, parts: Sequence[Part]) -> int:
    """Return the part that a required group of phrases goes to: one in which a phrase stands, or its share."""
    for number, part in enumerate(parts):
        if any(phrase in part.text for phrase in phrases):
            return number
    return index * len(parts) // len(groups)
