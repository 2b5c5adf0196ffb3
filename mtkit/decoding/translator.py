"""Text in, translations out: the Python interface to a trained model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from mtkit.config.decoding import DecodingSection
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.decoding.batches import WINDOW_BATCHES, Batcher
from mtkit.decoding.ensemble import Ensemble, build_ensemble
from mtkit.decoding.glossary import Glossary
from mtkit.decoding.inference import load_for_inference
from mtkit.decoding.lines import iter_windows
from mtkit.decoding.minimum_bayes_risk import Utility
from mtkit.decoding.planning import Plan, Planner, Segment
from mtkit.decoding.processes import Loading
from mtkit.decoding.request import Request, to_request
from mtkit.decoding.segments import SegmentTranslator
from mtkit.decoding.translation import Alternative, Kept, Translation, combine_parts
from mtkit.decoding.workers import ProcessPool, Workers
from mtkit.errors import RecipeError
from mtkit.model.transformer import Transformer
from mtkit.runtime.device import DeviceName
from mtkit.runtime.memory import available_memory

# Batches of a window for each thread, at least: whoever has done the last of his waits for the others.
BATCHES_PER_THREAD = 8

# A window of so many batches starts processes: a second of work for each, which shorter texts would not earn back.
PROCESSES_FROM_BATCHES = 12


class Translator:
    """Translates lines of text.

    ```python
    translator = mtkit.Translator.load("run")
    translator.translate(["A dog runs."])  # one translation for each line, in order
    ```

    Args:
        model: One, or an ensemble.
        source_tokenizer: Of the source side.
        target_tokenizer: Of the target side; often the same.
        decoding: Search, batching and precision.
        glossary: Terms, and what they are to become in each line in which they stand.
        utility: How alike two translations are, for `decoding.mbr`.
        align: Whether to find out which words of source and translation belong together.

    Raises:
        ModelError: `decoding.tag` is no piece of the source vocabulary.
        RecipeError: `decoding` asks for what this model, or this call, cannot do.
    """

    def __init__(
        self,
        model: Transformer | Ensemble,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        decoding: DecodingSection | None = None,
        *,
        glossary: Glossary | None = None,
        utility: Utility | None = None,
        align: bool = False,
    ) -> None:
        self.model = model
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.decoding = decoding or DecodingSection()
        if glossary is not None and self.decoding.sampling:
            raise RecipeError(
                "samples cannot be held to a glossary", at="decoding.sampling", fix="turn it off, or give no glossary"
            )
        self._planner = Planner(source_tokenizer, target_tokenizer, self.decoding, model.max_length, glossary)
        self.segments = SegmentTranslator(
            model, source_tokenizer, target_tokenizer, self.decoding, utility=utility, align=align
        )
        self._pool: ProcessPool | None = None
        self._batcher = Batcher[Segment](
            self.decoding,
            model.device,
            lambda segment: (len(segment.token_ids),),
            name="sentence",
            fix="lower decoding.beam_size or decoding.max_source_tokens, or use --device cpu",
        )

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path],
        *,
        device: DeviceName = "auto",
        decoding: DecodingSection | None = None,
        threads: int | None = None,
        glossary: Glossary | None = None,
        utility: Utility | None = None,
        align: bool = False,
    ) -> Translator:
        """Load a model folder, or the best model so far of a run folder.

        Args:
            path: The folder; several for an ensemble of models with one vocabulary.
            device: Where to compute; `auto` takes a GPU if there is one.
            decoding: Search, batching and precision.
            threads: CPU threads; None for all cores.
            glossary: See `Translator`.
            utility: See `Translator`.
            align: See `Translator`.

        Raises:
            ModelError: There is no model, it is damaged, the vocabularies differ, or `decoding.tag` is no piece of the
                source vocabulary.
            RecipeError: `decoding` asks for what this model, or this call, cannot do.
            DeviceError: The device is absent.
        """
        decoding = decoding or DecodingSection()
        paths = [path] if isinstance(path, str | Path) else path
        loaded = [load_for_inference(one, device, decoding.precision, threads) for one in paths]
        model = loaded[0].model if len(loaded) == 1 else build_ensemble(loaded, decoding.ensemble).eval()
        tokenizers = loaded[0].source_tokenizer, loaded[0].target_tokenizer
        translator = cls(model, *tokenizers, decoding, glossary=glossary, utility=utility, align=align)
        if model.device.type == "cpu":
            translator._pool = ProcessPool(Loading(paths, decoding, utility, align))
        return translator

    def start_processes(self) -> None:
        """Start the processes that translate beside this one, and wait until they have loaded the model.

        Of a model that was loaded to the CPU there is one for each thread but the first, as far as half of the free
        memory allows. A longer text (a window of `PROCESSES_FROM_BATCHES` batches) starts them by itself, and does not
        wait for them.
        """
        self._start_processes()
        if self._pool is not None:
            self._pool.wait()

    def _start_processes(self) -> None:
        if self._pool is not None and not self._pool.is_started:
            free = available_memory()
            room = torch.get_num_threads() - 1
            self._pool.start(room if free is None else min(room, free // 2 // self._pool.loading.num_bytes))

    @property
    def window_lines(self) -> int:
        """Number of lines that are best read ahead and translated together."""
        return max(WINDOW_BATCHES, BATCHES_PER_THREAD * self._num_threads) * self.decoding.batch_size

    def translate(self, lines: Iterable[str | Request]) -> list[str]:
        """Return the translation of each line, in order.

        An empty line gives an empty translation. A translation is a single line, whatever the model does.

        Args:
            lines: Lines of text, or requests: lines with wishes for their translations.

        Raises:
            DeviceError: The device's memory does not suffice for a single sentence.
            ModelError: A request's tag is no piece of the source vocabulary.
            DataError: A request's prefix or phrase cannot be produced.
        """
        return [translation.text for translation in self.iter_translations(lines)]

    def iter_translations(
        self, lines: Iterable[str | Request], advance: Callable[[int], None] | None = None
    ) -> Iterator[Translation]:
        """Yield the translation of each line, in order, with its score and alternatives.

        Reads ahead by a bounded window, so that an endless input takes no more memory than a long one.

        Args:
            lines: Lines of text, or requests.
            advance: Called with the number of lines done, after each batch.

        Raises:
            DeviceError: The device's memory does not suffice for a single sentence.
            ModelError: A request's tag is no piece of the source vocabulary.
            DataError: A request's prefix or phrase cannot be produced.
        """
        if isinstance(lines, str):
            raise TypeError("give lines, such as a list of str: a single str would be taken for lines of one character")
        for window in iter_windows(lines, self.window_lines):
            for translation in self.translate_window(window, advance):
                if translation.problem is not None:
                    raise translation.problem
                yield translation

    def translate_window(
        self, window: Sequence[str | Request], advance: Callable[[int], None] | None = None
    ) -> Iterator[Translation]:
        """Yield the translation of each line of a window, in order, each as soon as those before it are known.

        A request that cannot be fulfilled is answered with empty translations and its problem.

        Args:
            window: Lines to translate together: sorted by length, in batches.
            advance: Called with the number of lines done, after each batch.

        Raises:
            DeviceError: The device's memory does not suffice for a single sentence.
        """
        plans = self._planner.plan([to_request(line) for line in window])
        found: list[list[tuple[Alternative, ...]]] = [[()] * len(plan.parts) for plan in plans]
        missing = [len(plan.parts) for plan in plans]
        next_line = 0
        if advance is not None:
            advance(missing.count(0))
        # The empty batch lets the lines out that wait for no segment.
        for batch in itertools.chain([[]], self._iter_translated([s for plan in plans for s in plan.segments])):
            num_done = 0
            for segment, alternatives in batch:
                found[segment.line][segment.part] = alternatives
                missing[segment.line] -= 1
                num_done += not missing[segment.line]
            if advance is not None:
                advance(num_done)
            while next_line < len(plans) and not missing[next_line]:
                yield self._assemble(plans[next_line], found[next_line])
                next_line += 1

    def _iter_translated(self, segments: Sequence[Segment]) -> Iterator[list[tuple[Segment, tuple[Alternative, ...]]]]:
        """Yield segments with their translations, in batches, the longest first."""
        batches = self._batcher.cut(segments)
        with self._open_workers(len(batches)) as workers:
            # A single batch has all threads.
            translate = self._translate if workers.count > 1 else self.segments.translate
            for batch, alternatives in workers.map(partial(self._batcher.run, translate), batches):
                yield list(zip(batch, alternatives, strict=True))

    def _open_workers(self, num_batches: int) -> Workers:
        """Return those who translate so many batches: one for each batch, at most a thread each."""
        if num_batches >= PROCESSES_FROM_BATCHES:
            self._start_processes()
        return Workers(min(num_batches, self._num_threads))

    @property
    def _num_threads(self) -> int:
        """How many batches may be translated side by side; a GPU, and a model that is being trained, take one."""
        return torch.get_num_threads() if self.model.device.type == "cpu" and self.model.is_prepared else 1

    def _translate(self, batch: Sequence[Segment]) -> list[tuple[Alternative, ...]]:
        """Return the translations of a batch, from a process that is free, else from here."""
        found = None if self._pool is None else self._pool.try_call(batch)
        return self.segments.translate(batch) if found is None else found

    def _assemble(self, plan: Plan, found: Sequence[tuple[Alternative, ...]]) -> Translation:
        """Return the translation of a line from those of its parts."""
        match len(plan.parts):
            case 0:
                unmet = Alternative(constraints=Kept(0, len(plan.request.required)))
                alternatives = (unmet,) * self.decoding.n_best
            case 1:
                alternatives = found[0]
            case _:
                alternatives = combine_parts(plan.parts, found)
        return Translation(plan.request.source, alternatives, len(plan.parts), plan.problem)
