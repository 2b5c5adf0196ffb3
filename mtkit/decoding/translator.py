"""Text in, translations out: the Python interface to a trained model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from mtkit.config.decoding import DecodingSection
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.decoding.hypothesis import Hypothesis
from mtkit.decoding.lines import clean_source, iter_windows, make_one_line
from mtkit.decoding.search import search
from mtkit.decoding.splitting import Part, split_line
from mtkit.decoding.translation import Alternative, Translation, combine_parts
from mtkit.errors import DeviceError, ModelError
from mtkit.model.transformer import Transformer
from mtkit.runtime.device import DeviceName, resolve_device, resolve_precision, set_threads

# So many batches of lines are read ahead, sorted by length and translated together.
WINDOW_BATCHES = 16


@dataclass(frozen=True)
class _Segment:
    """What the model translates at once: a line, or a part of a long one.

    Attributes:
        line: Index of the line in its window.
        part: Index of the part in its line.
        token_ids: Source tokens, the tag and EOS included.
    """

    line: int
    part: int
    token_ids: list[int]


class Translator:
    """Translates lines of text.

    ```python
    translator = mtkit.Translator.load("run")
    translator.translate(["A dog runs."])  # one translation for each line, in order
    ```

    Args:
        model: On `device`.
        source_tokenizer: Of the source side.
        target_tokenizer: Of the target side; often the same.
        decoding: Search, batching and precision.
        device: Where the model lies; the CPU by default.

    Raises:
        ModelError: `decoding.tag` is no piece of the source vocabulary.
    """

    def __init__(
        self,
        model: Transformer,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        decoding: DecodingSection | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.model = model
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.decoding = decoding or DecodingSection()
        self.device = device or torch.device("cpu")
        self._find_head(None)  # a tag that is wrong shows at once
        self._precision = resolve_precision(self.decoding.precision, self.device)
        self._batch_tokens = self.decoding.batch_tokens
        self._max_source_tokens = self.decoding.max_source_tokens
        if model.max_length is not None:
            self._max_source_tokens = min(self._max_source_tokens, model.max_length - 1)  # one for EOS

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: DeviceName = "auto",
        decoding: DecodingSection | None = None,
        threads: int | None = None,
    ) -> Translator:
        """Load a model folder, or the best model so far of a run folder.

        Args:
            path: The folder.
            device: Where to compute; `auto` takes a GPU if there is one.
            decoding: Search, batching and precision.
            threads: CPU threads; None for all cores.

        Raises:
            ModelError: There is no model, it is damaged, or `decoding.tag` is no piece of its source vocabulary.
            DeviceError: The device is absent.
        """
        from mtkit.checkpoint.model_folder import load_model

        set_threads(threads)
        place = resolve_device(device)
        loaded = load_model(Path(path), place)
        return cls(loaded.model, loaded.source_tokenizer, loaded.target_tokenizer, decoding, place)

    @property
    def window_lines(self) -> int:
        """Number of lines that are best read ahead and translated together."""
        return WINDOW_BATCHES * self.decoding.batch_size

    def translate(self, lines: Iterable[str], tags: Iterable[str | None] | None = None) -> list[str]:
        """Return the translation of each line, in order.

        An empty line gives an empty translation. A translation is a single line, whatever the model does.

        Args:
            lines: Lines of text.
            tags: The tag of each line, None where `decoding.tag` is to stand; None for that before all of them.

        Raises:
            DeviceError: The device's memory does not suffice for a single sentence.
            ModelError: A tag is no piece of the source vocabulary.
        """
        return [translation.text for translation in self.iter_translations(lines, tags=tags)]

    def iter_translations(
        self,
        lines: Iterable[str],
        advance: Callable[[int], None] | None = None,
        tags: Iterable[str | None] | None = None,
    ) -> Iterator[Translation]:
        """Yield the translation of each line, in order, with its score and alternatives.

        Reads ahead by a bounded window, so that an endless input takes no more memory than a long one.

        Args:
            lines: Lines of text.
            advance: Called with the number of lines done, after each batch.
            tags: The tag of each line, as in `translate`; at least as many.

        Raises:
            DeviceError: The device's memory does not suffice for a single sentence.
            ModelError: A tag is no piece of the source vocabulary.
        """
        tags = itertools.repeat(None) if tags is None else iter(tags)
        for window in iter_windows(lines, self.window_lines):
            yield from self.translate_window(window, advance, list(itertools.islice(tags, len(window))))

    def translate_window(
        self,
        window: Sequence[str],
        advance: Callable[[int], None] | None = None,
        tags: Sequence[str | None] | None = None,
    ) -> Iterator[Translation]:
        """Yield the translation of each line of a window, in order, each as soon as those before it are known.

        Args:
            window: Lines to translate together: sorted by length, in batches.
            advance: Called with the number of lines done, after each batch.
            tags: The tag of each line, as in `translate`.

        Raises:
            DeviceError: The device's memory does not suffice for a single sentence.
            ModelError: A tag is no piece of the source vocabulary.
        """
        heads = [self._find_head(tag) for tag in tags or [None] * len(window)]
        parts, segments = self._plan([clean_source(line) for line in window], heads)
        found: list[list[tuple[Alternative, ...]]] = [[()] * len(of_line) for of_line in parts]
        missing = [len(of_line) for of_line in parts]
        next_line = 0
        if advance is not None:
            advance(missing.count(0))
        # The empty batch lets the lines out that wait for no segment.
        for batch in itertools.chain([[]], self._iter_translated(segments)):
            num_done = 0
            for segment, alternatives in batch:
                found[segment.line][segment.part] = alternatives
                missing[segment.line] -= 1
                num_done += not missing[segment.line]
            if advance is not None:
                advance(num_done)
            while next_line < len(window) and not missing[next_line]:
                yield self._assemble(window[next_line], parts[next_line], found[next_line])
                next_line += 1

    def _find_head(self, tag: str | None) -> list[int]:
        """Return what stands before a source: the id of its tag, else of `decoding.tag`, else nothing.

        Raises:
            ModelError: The tag is no piece of the source vocabulary.
        """
        tag = self.decoding.tag if tag is None else tag
        if tag is None:
            return []
        token_id = self.source_tokenizer.find_symbol(tag)
        if token_id is None:
            raise ModelError(
                f"the tag '{tag}' is no piece of the model's source vocabulary",
                at="decoding.tag",
                fix="give a tag of the corpora that the model was trained on, or none",
            )
        return [token_id]

    def _plan(self, texts: Sequence[str], heads: Sequence[list[int]]) -> tuple[list[list[Part]], list[_Segment]]:
        """Return the parts of each text, none for an empty one, and what the model is to translate for them."""
        parts, segments = [], []
        for line, (text, head, whole) in enumerate(zip(texts, heads, self._encode(texts), strict=True)):
            of_line, encoded = [Part(text)], [whole]
            room = self._max_source_tokens - len(head)
            if not text or not whole:
                of_line, encoded = [], []
            elif len(whole) > room:
                of_line = split_line(text, lambda part: len(self._encode([part])[0]), room)
                encoded = self._encode([part.text for part in of_line])
            parts.append(of_line)
            eos_id = self.source_tokenizer.eos_id
            segments += [_Segment(line, i, [*head, *ids, eos_id]) for i, ids in enumerate(encoded)]
        return parts, segments

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the source tokens of texts, without tag and EOS."""
        return self.source_tokenizer.encode(texts, threads=torch.get_num_threads())

    def _iter_translated(
        self, segments: Sequence[_Segment]
    ) -> Iterator[list[tuple[_Segment, tuple[Alternative, ...]]]]:
        """Translate segments in batches, longest first, so that what does not fit in memory shows at once."""
        pending = sorted(segments, key=lambda segment: len(segment.token_ids))
        while pending:
            longest = len(pending[-1].token_ids)
            rows = max(1, min(self.decoding.batch_size, self._batch_tokens // longest, len(pending)))
            batch = pending[-rows:]
            hypotheses = self._try_search([segment.token_ids for segment in batch])
            if hypotheses is None:
                self._batch_tokens = rows * longest // 2
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            del pending[-rows:]
            yield list(zip(batch, self._decode(hypotheses), strict=True))

    def _try_search(self, sources: Sequence[list[int]]) -> list[list[Hypothesis]] | None:
        """Return the hypotheses of a batch, or None if the batch is too large for the device's memory.

        Raises:
            DeviceError: The batch is a single sentence.
        """
        try:
            return self._search(sources)
        except RuntimeError as exc:
            if not _is_out_of_memory(exc):
                raise
            if len(sources) == 1:
                raise DeviceError(
                    f"out of memory with a single sentence of {len(sources[0])} tokens",
                    at=self.device.type,
                    fix="lower decoding.beam_size or decoding.max_source_tokens, or use --device cpu",
                ) from exc
            return None

    def _search(self, sources: Sequence[list[int]]) -> list[list[Hypothesis]]:
        rows = [torch.tensor(token_ids, dtype=torch.int64) for token_ids in sources]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.source_tokenizer.pad_id)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self._precision == "bf16")
        with torch.inference_mode(), autocast, _evaluating(self.model):
            return search(self.model, padded.to(self.device), self.decoding)  # padded: (batch, src_len)

    def _decode(self, hypotheses: Sequence[Sequence[Hypothesis]]) -> list[tuple[Alternative, ...]]:
        """Return the alternatives of each segment of a batch."""
        texts = iter(self.target_tokenizer.decode_batch([h.token_ids for n_best in hypotheses for h in n_best]))
        return [
            tuple(Alternative(make_one_line(next(texts)), h.score, h.log_prob, h.num_tokens, h.is_cut) for h in n_best)
            for n_best in hypotheses
        ]

    def _assemble(self, source: str, parts: Sequence[Part], found: Sequence[tuple[Alternative, ...]]) -> Translation:
        """Return the translation of a line from those of its parts."""
        match len(parts):
            case 0:
                alternatives = (Alternative(),) * self.decoding.n_best
            case 1:
                alternatives = found[0]
            case _:
                alternatives = combine_parts(parts, found)
        return Translation(source, alternatives, len(parts))


@contextmanager
def _evaluating(model: Transformer) -> Iterator[None]:
    """Put a model that is being trained into evaluation mode for a while."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()


def _is_out_of_memory(exc: RuntimeError) -> bool:
    message = str(exc)
    return isinstance(exc, torch.OutOfMemoryError) or "out of memory" in message or "can't allocate memory" in message
