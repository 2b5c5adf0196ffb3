"""The filter by model score: dual conditional cross-entropy (Junczys-Dowmunt 2018, arXiv:1809.00197).

Two models, one of each direction, must find a pair likely, and equally so. The models come from outside, as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mtkit.config.corpus import ModelScoreSection
from mtkit.corpus.language_tags import Languages
from mtkit.corpus.splitting import Judge, Mask
from mtkit.corpus.spool import Spool
from mtkit.corpus.tags import Tags
from mtkit.errors import RecipeError
from mtkit.runtime import console

Values = npt.NDArray[np.float32]

SETTING = "corpus.filters.model_score"
LOW_SCORE = "low model score"
NOT_SCORED = "too long for the models of the filter"

_SHOWN_SHARES = (10, 25, 50, 75, 90)

# Sources, targets and the tag of their corpus to two cross-entropies of each pair, `(pairs,)` in nats a token, EOS
# included: of the target given the source, and of the source given the target. NaN where a model cannot take the pair.
CrossEntropies = Callable[[Sequence[str], Sequence[str], str | None], tuple[Values, Values]]


@dataclass(frozen=True)
class PairModels:
    """The two models of the filter, loaded when they are needed.

    Attributes:
        files: Of `forward` and `backward`, the files that decide what the model says. Their content is a part of what
            a prepared corpus was asked to be.
        load: Loads the models, for a corpus of these languages.
    """

    files: Mapping[str, Sequence[Path]]
    load: Callable[[Languages], CrossEntropies]


def find_dual_cross_entropy(forward: Values, backward: Values) -> Values:
    """Return |forward - backward| + (forward + backward) / 2 of each pair; its score is exp of minus that.

    Junczys-Dowmunt 2018 (arXiv:1809.00197), section 3.1.

    Args:
        forward: `(pairs,)`, cross-entropy of the target given the source, in nats a token.
        backward: `(pairs,)`, that of the source given the target.
    """
    dual: Values = np.abs(forward - backward) + (forward + backward) / 2
    return dual


def find_model_files(section: ModelScoreSection | None, models: PairModels | None) -> dict[str, Sequence[Path]]:
    """Return the files of the models by the recipe fields that name them; nothing without the filter.

    Raises:
        RecipeError: The filter is on and has no models.
    """
    if section is None:
        return {}
    return {f"{SETTING}.{name}": files for name, files in _require(models).files.items()}


def build_judge(
    section: ModelScoreSection | None, models: PairModels | None, spool: Spool, tags: Tags, languages: Languages
) -> Judge | None:
    """Return what drops pairs for their score; None without the filter.

    Memory is 4 bytes a pair, and what the models need for a chunk of the text.

    Args:
        section: What is kept.
        models: Both.
        spool: The pairs.
        tags: Of each corpus.
        languages: Of the corpus.

    Raises:
        RecipeError: The filter is on and has no models.
        ModelError: A model cannot be used.
    """
    if section is None:
        return None
    score = _require(models).load(languages)

    def judge(alive: Mask) -> dict[str, Mask]:
        scores = _score_pairs(spool, alive, tags, score)
        not_scored = alive & np.isnan(scores)
        rows = np.flatnonzero(alive & ~not_scored)
        kept = rows[choose(scores[rows], section)]
        low = alive.copy()
        low[kept] = False
        _tell(scores[rows], scores[kept])
        return {NOT_SCORED: not_scored, LOW_SCORE: low}

    return judge


def choose(scores: Values, section: ModelScoreSection) -> npt.NDArray[np.int64]:
    """Return which pairs are kept, `(kept,)`: of equal scores at the edge of a share, the first ones.

    Args:
        scores: `(pairs,)`.
        section: The lowest score, or the share.
    """
    if section.keep_share is None:
        return np.flatnonzero(scores >= np.float32(section.min_score or 0))
    count = round(section.keep_share * len(scores))
    if count in (0, len(scores)):
        return np.arange(count)
    edge = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = np.flatnonzero(scores > edge)
    return np.sort(np.concatenate([above, np.flatnonzero(scores == edge)[: count - len(above)]]))


def _require(models: PairModels | None) -> PairModels:
    if models is None:
        raise RecipeError("the filter by model score has no models", at=SETTING, fix="pass `models` to prepare_corpus")
    return models


def _score_pairs(spool: Spool, alive: Mask, tags: Tags, score: CrossEntropies) -> Values:
    """Return the score of each pair that is True in a mask, `(pairs,)`; NaN for the others."""
    scores = np.full(len(alive), np.nan, np.float32)
    with console.progress("scoring", total=int(np.count_nonzero(alive))) as advance:
        for first, batch in spool.iter_chunks():
            chosen = alive[first : first + len(batch)]
            kept = batch.filter(pa.array(chosen))
            if len(kept) == 0:
                continue
            tag = tags[kept["corpus"][0].as_py()]  # a chunk is of one corpus
            forward, backward = score(kept["source"].to_pylist(), kept["target"].to_pylist(), tag)
            scores[first : first + len(batch)][chosen] = np.exp(-find_dual_cross_entropy(forward, backward))
            advance(len(kept))
    return scores


def _tell(scores: Values, kept: Values) -> None:
    """Say how the scores are spread, so that a person can choose where to cut."""
    if len(scores) == 0:
        return
    spread = ", ".join(
        f"{share} % up to {value:.3g}"
        for share, value in zip(_SHOWN_SHARES, np.percentile(scores, _SHOWN_SHARES), strict=True)
    )
    lowest = f"; the lowest that is kept: {kept.min():.3g}" if len(kept) else ""
    console.say(f"model scores of {len(scores):,} pairs: {spread}{lowest}")
