"""The translation of a batch of segments: search, or samples, and what is made of the hypotheses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from mtkit.config.decoding import DecodingSection
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.decoding import alignment
from mtkit.decoding.constraints import count_met, find_met
from mtkit.decoding.ensemble import Ensemble
from mtkit.decoding.expansion import expand, next_tokens
from mtkit.decoding.filters import build_filters
from mtkit.decoding.glossary import count_kept
from mtkit.decoding.guidance import Guidance
from mtkit.decoding.hypothesis import Hypothesis
from mtkit.decoding.inference import inferring, pad_ids
from mtkit.decoding.lengths import max_target_length
from mtkit.decoding.lines import make_one_line
from mtkit.decoding.minimum_bayes_risk import Utility, choose_by_risk, weigh_by_log_probs
from mtkit.decoding.planning import Segment
from mtkit.decoding.search import search
from mtkit.decoding.translation import Alternative, Kept
from mtkit.errors import RecipeError
from mtkit.model.transformer import Transformer
from mtkit.runtime import console
from mtkit.runtime.device import resolve_inference_precision


class SegmentTranslator:
    """Translates segments, a batch at a time.

    Args:
        model: One, or an ensemble.
        source_tokenizer: Of the source side.
        target_tokenizer: Of the target side.
        decoding: Search or sampling, and precision.
        utility: How alike two translations are, for `decoding.mbr`.
        align: Whether to link words.

    Raises:
        RecipeError: `decoding.suppressed` names no piece, there is no utility for `decoding.mbr`, or the model has no
            `decoding.alignment_layer`.
    """

    def __init__(
        self,
        model: Transformer | Ensemble,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        decoding: DecodingSection,
        *,
        utility: Utility | None = None,
        align: bool = False,
    ) -> None:
        self.model = model
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.decoding = decoding
        self._utility = utility
        self._aligns = align
        if decoding.mbr is not None and utility is None:
            raise RecipeError(
                "minimum Bayes risk needs a utility, and none was given",
                at="decoding.mbr",
                fix="give Translator one, such as mtkit.evaluation.utility.find_utility('chrf')",
            )
        self._precision = resolve_inference_precision(decoding.precision, model.device)
        self._suppressed_ids = find_pieces(decoding.suppressed, target_tokenizer)
        self._replaces = decoding.replace_unknown and not _has_byte_fallback(target_tokenizer)
        if decoding.replace_unknown and not self._replaces:
            console.warn("decoding.replace_unknown has no effect: the vocabulary spells unknown characters as bytes")
        alignment.check_layer(decoding.alignment_layer, model.config.num_decoder_layers)

    def translate(self, batch: Sequence[Segment]) -> list[tuple[Alternative, ...]]:
        """Return the translations of each segment, best first."""
        token_ids = [segment.token_ids for segment in batch]
        src_ids = pad_ids(token_ids, self.source_tokenizer.pad_id, self.model.device)  # (batch, src_len)
        with inferring(self.model, self._precision):
            found = self._search(batch, src_ids)
            texts = iter(self.target_tokenizer.decode_batch([h.token_ids for n_best in found for h in n_best]))
            translations = []
            for place, segment in enumerate(batch):
                described = [self._describe(segment, hypothesis, next(texts)) for hypothesis in found[place]]
                chosen = self._choose(described)
                found[place] = [found[place][rank] for rank in chosen]
                translations.append(tuple(described[rank] for rank in chosen))
            if self._aligns or self._replaces:
                return self._link_words(batch, src_ids, found, translations)
        return translations

    def _search(self, batch: Sequence[Segment], src_ids: Tensor) -> list[list[Hypothesis]]:
        guidance = [segment.guidance for segment in batch]
        if self.decoding.mbr is not None:
            count = self.decoding.mbr_candidates
            candidates = self.decoding.model_copy(update={"beam_size": count, "n_best": count})
            return self._find(src_ids, candidates, guidance)
        if self.decoding.expand_prefix:
            return self._expand(batch, src_ids, guidance)
        return self._find(src_ids, self.decoding, guidance)

    def _find(self, src_ids: Tensor, decoding: DecodingSection, guidance: Sequence[Guidance]) -> list[list[Hypothesis]]:
        """Return what a search finds.

        A sentence for which it finds no way to meet all that is required is searched again without the rest: for that,
        the first search has put off the end of the translation to its maximum length.
        """
        found = search(self.model, src_ids, decoding, guidance, self._suppressed_ids)
        met = [find_met(one.required, best.token_ids) for one, (best, *_) in zip(guidance, found, strict=True)]
        again = [place for place, one in enumerate(guidance) if len(met[place]) < len(one.required)]
        if again:
            others = [replace(guidance[place], required=met[place]) for place in again]
            second = search(self.model, src_ids[again], decoding, others, self._suppressed_ids)
            for place, hypotheses in zip(again, second, strict=True):
                if count_met(met[place], hypotheses[0].token_ids) == len(met[place]):
                    found[place] = hypotheses
        return found

    def _expand(self, batch: Sequence[Segment], src_ids: Tensor, guidance: list[Guidance]) -> list[list[Hypothesis]]:
        """Return the best hypothesis with each of the likeliest tokens behind the prefix; of later parts just one.

        Those that meet more of what is required come first, as they do in a search.
        """
        filters = build_filters(self.decoding, self.model.config, guidance, self._suppressed_ids)
        prefixes = [held_to.prefix for held_to in guidance]
        found = next_tokens(self.model, src_ids, prefixes, self.decoding.n_best, filters, guidance)
        options = [
            expand(segment.guidance, tokens)
            if segment.part == 0 and tokens and self._has_room(segment)
            else [segment.guidance]
            for segment, tokens in zip(batch, found, strict=True)
        ]
        owners = [place for place, of_one in enumerate(options) for _ in of_one]
        each = self.decoding.model_copy(update={"n_best": 1, "expand_prefix": False})
        expanded = [held_to for of_one in options for held_to in of_one]
        best = self._find(src_ids[owners], each, expanded)
        by_segment: list[list[Hypothesis]] = [[] for _ in batch]
        for owner, (hypothesis,) in zip(owners, best, strict=True):
            by_segment[owner].append(hypothesis)
        return [
            sorted(hypotheses, key=lambda h: (count_met(held_to.required, h.token_ids), h.score), reverse=True)
            for hypotheses, held_to in zip(by_segment, guidance, strict=True)
        ]

    def _has_room(self, segment: Segment) -> bool:
        """Return whether a token and EOS fit behind the prefix."""
        longest = max_target_length(len(segment.token_ids) - 1, self.decoding, self.model.max_length)
        return len(segment.guidance.prefix) + 2 <= longest

    def _choose(self, alternatives: list[Alternative]) -> list[int]:
        """Return which alternatives are given back, best first: by risk, if so decided, after what they keep."""
        if self.decoding.mbr is None or self._utility is None:
            return list(range(len(alternatives)))
        weights = None if self.decoding.sampling else weigh_by_log_probs([a.log_prob for a in alternatives])
        order, _ = choose_by_risk([a.text for a in alternatives], self._utility, weights)
        kept = [(a.constraints + a.terms).kept for a in alternatives]
        return sorted(order, key=lambda place: -kept[place])[: self.decoding.n_best]

    def _link_words(
        self,
        batch: Sequence[Segment],
        src_ids: Tensor,
        found: Sequence[Sequence[Hypothesis]],
        translations: Sequence[Sequence[Alternative]],
    ) -> list[tuple[Alternative, ...]]:
        """Return the translations with their alignments, and unknown words replaced by those aligned to them."""
        owners = [place for place, hypotheses in enumerate(found) for _ in hypotheses]
        targets = [hypothesis.token_ids for hypotheses in found for hypothesis in hypotheses]
        num_tags = [batch[owner].num_tags for owner in owners]
        layer, step = self.decoding.alignment_layer, self.decoding.alignment_step
        weights = iter(alignment.weigh(self.model, src_ids[owners], targets, layer, num_tags, step))
        linked = []
        for segment, hypotheses, alternatives in zip(batch, found, translations, strict=True):
            pairs = zip(hypotheses, alternatives, strict=True)
            linked.append(tuple(self._add_links(segment, h.token_ids, next(weights), a) for h, a in pairs))
        return linked

    def _add_links(
        self, segment: Segment, token_ids: Sequence[int], weights: Tensor, alternative: Alternative
    ) -> Alternative:
        surfaces = self.source_tokenizer.surfaces(segment.text)
        unknown: dict[int, str] = {}
        if self._replaces and self.model.config.unk_id in token_ids:
            source_ids = segment.token_ids[segment.num_tags : -1]
            links = alignment.link(weights)
            unknown = alignment.find_replacements(token_ids, links, surfaces, source_ids, self.model.config.unk_id)
            text = alignment.decode_with_replacements(self.target_tokenizer, token_ids, unknown)
            alternative = replace(alternative, text=make_one_line(text))
        if not self._aligns:
            return alternative
        source_words = alignment.find_words(surfaces)
        target_words = alignment.find_words(alignment.spell(self.target_tokenizer, token_ids, unknown))
        return replace(alternative, alignment=tuple(alignment.link_words(weights, source_words, target_words)))

    def _describe(self, segment: Segment, hypothesis: Hypothesis, text: str) -> Alternative:
        """Return what is known of a hypothesis; `text` is its decoded one."""
        text = make_one_line(text)
        own = segment.guidance.required[: segment.num_constraints]
        return Alternative(
            text=text,
            score=hypothesis.score,
            log_prob=hypothesis.log_prob,
            num_tokens=hypothesis.num_tokens,
            is_cut=hypothesis.is_cut,
            tokens=tuple(self.target_tokenizer.pieces([*hypothesis.token_ids, self.target_tokenizer.eos_id])),
            token_log_probs=hypothesis.token_log_probs,
            constraints=Kept(count_met(own, hypothesis.token_ids), len(own)) if own else Kept(),
            terms=Kept(count_kept(text, segment.terms), len(segment.terms)) if segment.terms else Kept(),
        )


def find_pieces(pieces: Sequence[str], tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the ids of `decoding.suppressed`.

    Raises:
        RecipeError: One is no piece of the vocabulary, or ends a translation.
    """
    if not pieces:
        return ()
    known = {piece: token_id for token_id, piece in enumerate(tokenizer.pieces(range(len(tokenizer))))}
    for piece in pieces:
        if piece not in known:
            raise RecipeError(
                f"'{piece}' is no piece of the target vocabulary",
                at="decoding.suppressed",
                fix="name pieces as the vocabulary has them: '▁' (U+2581) stands for the space before a word",
            )
        if known[piece] == tokenizer.eos_id:
            raise RecipeError(
                f"without '{piece}' no translation can end",
                at="decoding.suppressed",
                fix="leave it out; decoding.min_length makes translations longer",
            )
    return tuple(known[piece] for piece in pieces)


def _has_byte_fallback(tokenizer: Tokenizer) -> bool:
    return "<0x00>" in tokenizer.pieces(range(len(tokenizer)))
