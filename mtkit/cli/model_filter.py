"""The models of `corpus.filters.model_score`, as `mtkit prepare` and `mtkit run` hand them to the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.checkpoint.model_folder import CONFIG_NAME, read_model_config
from mtkit.checkpoint.run_folder import find_model
from mtkit.config.corpus import ModelScoreSection
from mtkit.config.decoding import DecodingSection
from mtkit.errors import ModelError
from mtkit.runtime.device import DeviceName

if TYPE_CHECKING:
    from mtkit.corpus.language_tags import Languages
    from mtkit.corpus.model_filter import CrossEntropies, PairModels, Values
    from mtkit.decoding.scoring import Scorer

_FIELD = "corpus.filters.model_score"


def find_pair_models(
    section: ModelScoreSection | None, device: DeviceName = "auto", threads: int | None = None
) -> PairModels | None:
    """Return the models of the filter, to be loaded when they are needed; None where the filter is off.

    Args:
        section: The models, and the tags before their sources.
        device: Where they compute.
        threads: CPU threads; None for all cores.

    Raises:
        ModelError: A folder is no model.
    """
    if section is None:
        return None
    assert section.forward is not None
    assert section.backward is not None
    from mtkit.corpus.model_filter import PairModels

    places = {"forward": find_model(section.forward), "backward": find_model(section.backward)}
    files = {name: _list_files(*place) for name, place in places.items()}

    def load(languages: Languages) -> CrossEntropies:
        for name, wanted, tag in (
            ("forward", languages, section.forward_tag),
            ("backward", languages[::-1], section.backward_tag),
        ):
            if tag is None:  # with a tag, the model may know more directions than the one that it names
                _check_direction(name, places[name][0], wanted)
        # What was found above: while a run trains, its best checkpoint changes.
        forward = _load_scorer(places["forward"][1].parent, section.forward_tag, device, threads)
        backward = _load_scorer(places["backward"][1].parent, section.backward_tag, device, threads)

        def score(sources: Sequence[str], targets: Sequence[str], tag: str | None) -> tuple[Values, Values]:
            known = tag is not None and forward.source_tokenizer.find_symbol(tag) is not None
            head = tag if section.forward_tag is None and known else None
            return _find_entropies(forward, sources, targets, head), _find_entropies(backward, targets, sources, None)

        return score

    return PairModels(files, load)


def _list_files(folder: Path, weights: Path) -> list[Path]:
    """Return the files that decide what a model says."""
    return [folder / CONFIG_NAME, *sorted(folder.glob("*.spm")), *sorted(folder.glob("*vocab.json")), weights]


def _check_direction(name: str, folder: Path, languages: Languages) -> None:
    """Refuse a model that says of itself that it translates between other languages.

    Raises:
        ModelError: It does.
    """
    from mtkit.corpus.language_tags import is_same_direction, show_direction

    config = read_model_config(folder)
    own = (config.source_language, config.target_language)
    if is_same_direction(own, languages):
        return
    hint = "; are the two swapped?" if is_same_direction(own, languages[::-1]) else ""
    raise ModelError(
        f"the model translates {show_direction(own)}, and the filter needs {show_direction(languages)}",
        at=f"{_FIELD}.{name}",
        fix=f"give a model of that direction{hint}",
    )


def _load_scorer(path: Path, tag: str | None, device: DeviceName, threads: int | None) -> Scorer:
    from mtkit.cli.models import load_translator
    from mtkit.decoding.scoring import Scorer

    return Scorer(load_translator([path], DecodingSection(tag=tag), device, threads))


def _find_entropies(scorer: Scorer, sources: Sequence[str], targets: Sequence[str], tag: str | None) -> Values:
    """Return the cross-entropy of each target given its source, `(pairs,)`, in nats a token; NaN for one too long."""
    import numpy as np

    from mtkit.decoding.request import Request

    entropies = np.empty(len(sources), np.float32)
    for first in range(0, len(sources), scorer.window_lines):
        part = slice(first, first + scorer.window_lines)
        pairs = [(Request(source, tag), target) for source, target in zip(sources[part], targets[part], strict=True)]
        entropies[part] = [-score.mean_log_prob for score in scorer.score_window(pairs)]
    return entropies
