"""The models of a server: one for each direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from mtkit.corpus.language_tags import choose_language
from mtkit.decoding.request import Request
from mtkit.decoding.translation import Translation
from mtkit.decoding.translator import Translator
from mtkit.errors import ModelError
from mtkit.serving.fair_queue import Kind
from mtkit.serving.language_names import name_language
from mtkit.serving.refusal import RefusedError

# Of usual text; so many, or more.
_CHARACTERS_A_TOKEN = 3


@dataclass
class ServedModel:
    """A model and its direction.

    Attributes:
        source: Language code.
        target: Language code.
        path: Where it was loaded from, for messages.
        translator: Translates as the command line does.
    """

    source: str
    target: str
    path: Path
    translator: Translator
    _variants: dict[tuple[int, bool], Translator] = field(default_factory=dict)

    @property
    def max_alternatives(self) -> int:
        """Alternatives to the best translation that the beam has room for."""
        return self.translator.decoding.num_hypotheses - 1

    def translate(self, kind: Kind, lines: Sequence[Request]) -> Iterator[Translation]:
        """Yield the translation of each line, in order, with as many alternatives and links as `kind` says."""
        yield from self._find_translator(kind.n_best, kind.align).translate_window(lines)

    def _find_translator(self, n_best: int, align: bool) -> Translator:
        """Return a translator of the same model, with other answers."""
        base = self.translator
        if n_best == 1 and not align:
            return base
        if (n_best, align) not in self._variants:
            decoding = base.decoding.model_copy(update={"n_best": max(n_best, base.decoding.n_best)})
            self._variants[n_best, align] = Translator(
                base.model, base.source_tokenizer, base.target_tokenizer, decoding, align=align
            )
        return self._variants[n_best, align]


class Models:
    """All models of a server.

    Args:
        models: At least one, of different directions.

    Raises:
        ModelError: Two have the same direction.
    """

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self.models = tuple(models)
        check_directions([(model.source, model.target, model.path) for model in models])

    def translate(self, kind: Kind, lines: Sequence[Request]) -> Iterator[Translation]:
        """Yield the translations of lines of one kind; see `Engine`."""
        yield from self.models[kind.model].translate(kind, lines)

    @property
    def window_lines(self) -> int:
        """Lines that are best translated together: a batch for each thread of the CPU."""
        return max(model.translator.decoding.batch_size for model in self.models) * self._num_batches

    @property
    def window_characters(self) -> int:
        """About how many characters these batches hold."""
        tokens = max(model.translator.decoding.batch_tokens for model in self.models)
        return tokens * _CHARACTERS_A_TOKEN * self._num_batches

    @property
    def _num_batches(self) -> int:
        on_cpu = any(model.translator.model.device.type == "cpu" for model in self.models)
        return torch.get_num_threads() if on_cpu else 1

    @property
    def sources(self) -> list[str]:
        """Languages that can be translated, in the order of the models."""
        return list(dict.fromkeys(model.source for model in self.models))

    def list_targets(self, source: str) -> list[str]:
        """Return the languages into which one can be translated."""
        return [model.target for model in self.models if model.source == source]

    def describe(self) -> list[dict[str, object]]:
        """Return what LibreTranslate's `/languages` tells: code, name and targets of each language."""
        codes = dict.fromkeys([*self.sources, *(model.target for model in self.models)])
        return [{"code": code, "name": name_language(code), "targets": self.list_targets(code)} for code in codes]

    def find(self, source: str, target: str) -> int:
        """Return the number of the model that translates from one language into another.

        Args:
            source: Language code; `auto` where the target leaves but one. `de-DE` and `DE` mean `de` where there is
                nothing nearer.
            target: Language code.

        Raises:
            RefusedError: There is none, or `auto` leaves several.
        """
        targets = [model.target for model in self.models]
        source = choose_language(source, self.sources) or source
        target = choose_language(target, targets) or target
        known = {*self.sources, *targets}
        unknown = [code for code in (source, target) if code not in known]
        if source == "auto":
            unknown = [code for code in (target,) if code not in targets]
        if unknown:
            raise RefusedError(400, f"{unknown[0]} is not supported")
        fitting = [n for n, one in enumerate(self.models) if one.target == target and source in ("auto", one.source)]
        if not fitting:
            origin = "any language" if source == "auto" else f"{name_language(source)} ({source})"
            raise RefusedError(
                400, f"{name_language(target)} ({target}) is not available as a target language from {origin}"
            )
        if len(fitting) > 1:
            codes = ", ".join(self.models[number].source for number in fitting)
            raise RefusedError(400, f"this server does not guess languages: give source as one of {codes}")
        return fitting[0]


def check_directions(directions: Sequence[tuple[str, str, Path]]) -> None:
    """Refuse two models of one direction.

    Args:
        directions: Source language, target language and place of each model.

    Raises:
        ModelError: Two have the same direction.
    """
    places: dict[tuple[str, str], Path] = {}
    for source, target, path in directions:
        if (source, target) in places:
            raise ModelError(
                f"two models translate from {source} to {target}",
                at=f"{places[source, target]} and {path}",
                fix="give one model for each direction; of several, mtkit translate makes an ensemble",
            )
        places[source, target] = path
