"""Text to token ids and back, through one SentencePiece model."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import sentencepiece

from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.segmentation import RandomSegmenter
from mtkit.corpus.spm_file import ModelKind, SpmFile
from mtkit.errors import ModelError, RecipeError, writing

PAD_ID, UNK_ID, BOS_ID, EOS_ID = range(4)

SHARED_FILE = "shared.spm"
SOURCE_FILE = "source.spm"
TARGET_FILE = "target.spm"

# SentencePiece adds up its statistics by thread, so that another number of threads learns another model. This is its
# default; with fewer cores it takes no longer than their number would.
_TRAINING_THREADS = 16

# Fewer lines are segmented in less time than it takes to start threads for them.
_LINES_FOR_THREADS = 256

# SentencePiece leaves longer sentences out of its training in silence, by default from 4192 bytes on. What is too long
# has been filtered and counted before.
_MAX_SENTENCE_BYTES = 1 << 30


class VocabularySizeError(RecipeError):
    """A text cannot give a vocabulary of the size asked for.

    Args:
        size: What was asked for.
        largest: The most, as SentencePiece says.
    """

    def __init__(self, size: int, largest: int) -> None:
        super().__init__(
            f"this text cannot give a vocabulary of {size:,} pieces: {largest:,} is the most",
            at="vocabulary.size",
            fix="give a smaller size",
        )
        self.largest = largest


class Tokenizer:
    """One SentencePiece model.

    With the `identity` normalisation, decoding gives back the encoded line, save that runs of ASCII spaces become one
    and leading and trailing ones vanish (U+2581, SentencePiece's own space, is replaced where text is read). Characters
    that the vocabulary does not have become `unk_id` and decode as ` ⁇ `.
    """

    def __init__(self, serialized: bytes, origin: str | Path) -> None:
        """Build a tokenizer of the bytes of a `.spm` file.

        Args:
            serialized: The model.
            origin: What to name as its place in an error message.

        Raises:
            ModelError: The bytes are no SentencePiece model, or the model lacks one of the four special symbols.
        """
        self.serialized = serialized
        try:
            self._processor: Any = sentencepiece.SentencePieceProcessor(model_proto=serialized) if serialized else None
        except RuntimeError:
            self._processor = None
        if self._processor is None:
            raise ModelError("not a SentencePiece model", at=origin, fix="give the .model or .spm file of one")
        self._segmenter: RandomSegmenter | None = None
        self.pad_id, self.unk_id, self.bos_id, self.eos_id = self._find_special_ids(origin)

    def _find_special_ids(self, origin: str | Path) -> tuple[int, int, int, int]:
        """Return the ids of padding, unknown, begin and end of sentence.

        Raises:
            ModelError: There is none for one of them.
        """
        processor = self._processor
        found = (processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id())
        lacking = [name for name, value in zip(("pad", "unk", "bos", "eos"), found, strict=True) if value < 0]
        if lacking:
            raise ModelError(
                f"the SentencePiece model has no symbol for {' and '.join(lacking)}",
                at=origin,
                fix="train it with --pad_id=0 --unk_id=1 --bos_id=2 --eos_id=3, or let mtkit learn a vocabulary",
            )
        return found

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a `.spm` file; where a `vocab.json` stands beside it, its pieces have the ids of that table.

        Raises:
            ModelError: There is no such file, or it is not a SentencePiece model that mtkit can use.
        """
        from mtkit.corpus.vocab_tokenizer import VocabTokenizer, find_table  # it builds on this class

        path = Path(path)
        serialized = read_model_file(path, "the SentencePiece model")
        if (table := find_table(path)) is not None:
            return VocabTokenizer(serialized, read_model_file(table, "the table of ids"), table)
        return cls(serialized, path)

    def save(self, path: Path) -> None:
        """Write the model, byte for byte as it was read or learned, and its table of ids beside it, if it has one.

        Raises:
            OutputError: The file cannot be written.
        """
        with writing(path):
            path.write_bytes(self.serialized)

    @property
    def special_ids(self) -> dict[str, int]:
        """The ids of padding, unknown, begin and end of sentence."""
        return {"pad": self.pad_id, "unk": self.unk_id, "bos": self.bos_id, "eos": self.eos_id}

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the model: equal for equal models only."""
        return hashlib.sha256(self.serialized).hexdigest()

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    def fits(self, num_embeddings: int) -> bool:
        """Return whether it may be the vocabulary of a model with so many embeddings."""
        return len(self) == num_embeddings

    def shares_ids(self, other: Tokenizer) -> bool:
        """Return whether both give every piece the same id, so that one matrix of embeddings can serve both."""
        return self.fingerprint == other.fingerprint

    def split_tag(self, line: str) -> tuple[str | None, str]:
        """Return the tag that is written at the beginning of a line, and the text behind it.

        Only the vocabularies of OPUS-MT know such tags: elsewhere there is none.
        """
        return None, line

    def encode(self, lines: Sequence[str], threads: int | None = None) -> list[list[int]]:
        """Return the token ids of each line, without begin and end of sentence.

        Args:
            lines: Lines of text.
            threads: CPU threads; None for all cores.
        """
        return self._segment(lines, int, threads)

    def _segment(self, lines: Sequence[str], out_type: type, threads: int | None) -> list[list[Any]]:
        """Return the pieces of each line, as ids (`int`) or as text (`str`)."""
        if threads == 1 or len(lines) < _LINES_FOR_THREADS:
            return [self._processor.encode(line, out_type=out_type) for line in lines]
        return self._processor.encode(list(lines), out_type=out_type, num_threads=threads or -1)  # type: ignore[no-any-return]

    def sample(self, lines: Sequence[str], strength: float, seeds: Sequence[int]) -> list[list[int]]:
        """Return the token ids of each line in a segmentation drawn at random (Kudo 2018; Provilkov et al. 2020).

        A line's ids are a function of the line, the strength and its seed alone: neither of the lines beside it, nor of
        what was drawn before, nor of the process or the machine.

        Args:
            lines: Lines of text.
            strength: With bpe, the chance that a merge is left out, arXiv:1910.13267; with unigram, the exponent of the
                probability of a segmentation, arXiv:1804.10959: smaller is more random.
            seeds: Of each line.
        """
        if self._has_one_segmentation:
            return self.encode(lines, threads=1)
        segmenter = self._segmenter
        if segmenter is None or segmenter.strength != strength:
            segmenter = self._segmenter = RandomSegmenter(self._model, strength, self._processor.normalize)
        return [segmenter.segment(line, seed) for line, seed in zip(lines, seeds, strict=True)]

    @property
    def _has_one_segmentation(self) -> bool:
        return self._model.kind in {ModelKind.WORD, ModelKind.CHAR}

    @cached_property
    def _model(self) -> SpmFile:
        return SpmFile.parse(self.serialized)

    def find_symbol(self, symbol: str) -> int | None:
        """Return the id of a piece that may stand in a text, None where there is none of that spelling.

        Begin, end and padding, the unknown symbol and pieces that stand for bytes are not such pieces.
        """
        token_id = int(self._processor.piece_to_id(symbol))
        kinds = ("is_unknown", "is_control", "is_unused", "is_byte")
        return None if any(getattr(self._processor, kind)(token_id) for kind in kinds) else token_id

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of token ids; begin, end and padding vanish. The text is always a single line."""
        return self.decode_batch([token_ids])[0]

    def decode_batch(self, batch: Sequence[Sequence[int]]) -> list[str]:
        """Return the text of each sequence of token ids."""
        texts = [self._processor.decode(list(map(int, ids))) for ids in batch]
        # Pieces that stand for bytes can spell line breaks, and a translation is one line.
        return [text.replace("\n", " ").replace("\r", " ") for text in texts]

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """Return the pieces that token ids stand for."""
        return [self._processor.id_to_piece(int(token_id)) for token_id in token_ids]

    def surfaces(self, line: str) -> list[str]:
        """Return the text that each token of a line stands for, what is unknown too, with the space before it."""
        # In characters. The pieces themselves, `return_type="proto"`, need the package protobuf.
        offsets = self._processor.encode(line, return_type="offset_mapping")["offsets"]
        return [line[start:end] for start, end in offsets]


def learn_tokenizer(lines: Iterator[str], section: VocabularySection) -> Tokenizer:
    """Learn a SentencePiece model from lines of text; the same lines give the same model on every machine.

    Args:
        lines: The text. All of it is used: sampling is the caller's business.
        section: Size and kind of the vocabulary.

    Raises:
        VocabularySizeError: The text cannot give so many pieces.
        RecipeError: There is no room for its characters, or the settings contradict each other.
    """
    model = io.BytesIO()
    try:
        _train(
            sentence_iterator=lines,
            model_writer=model,
            model_type=section.type,
            vocab_size=section.size,
            character_coverage=section.character_coverage,
            byte_fallback=section.byte_fallback,
            user_defined_symbols=section.user_defined_symbols,
            normalization_rule_name=section.normalization,
            pad_id=PAD_ID,
            unk_id=UNK_ID,
            bos_id=BOS_ID,
            eos_id=EOS_ID,
            max_sentence_length=_MAX_SENTENCE_BYTES,
            num_threads=_TRAINING_THREADS,
            minloglevel=2,
        )
    except RuntimeError as exc:
        raise _explain(str(exc), section) from exc
    return Tokenizer(model.getvalue(), SHARED_FILE)


def _train(**options: Any) -> None:
    """Let SentencePiece learn, in a thread of its own: it does not look at signals, and a person may interrupt."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            sentencepiece.SentencePieceTrainer.train(**options)
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(timeout=0.2)
    if failures:
        raise failures[0]


def _explain(message: str, section: VocabularySection) -> RecipeError:
    """Turn SentencePiece's refusal to train into an error of ours."""
    if found := re.search(r"value <= (\d+)", message):
        return VocabularySizeError(section.size, int(found[1]))
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        smallest = found[1]
        return RecipeError(
            f"a vocabulary of {section.size:,} pieces has no room for the {int(smallest):,} characters and symbols",
            at="vocabulary.size",
            fix=f"give a size well above {smallest}; or leave rare characters to bytes, with "
            "--set vocabulary.byte_fallback=true --set vocabulary.character_coverage=0.9995",
        )
    return RecipeError(
        f"SentencePiece cannot learn this vocabulary: {message.rpartition('] ')[2].strip() or message}",
        at="vocabulary",
        fix="change the settings of the vocabulary",
    )


def needs_two_files(source: Tokenizer, target: Tokenizer) -> bool:
    """Return whether the vocabularies of both sides are not one and the same, or not of a kind that a file holds."""
    return type(source) is not Tokenizer or source.fingerprint != target.fingerprint


def save_tokenizers(source: Tokenizer, target: Tokenizer, folder: Path) -> None:
    """Write the vocabularies of both sides: one file where they are the same, else two.

    Raises:
        OutputError: A file cannot be written.
    """
    if needs_two_files(source, target):
        source.save(folder / SOURCE_FILE)
        target.save(folder / TARGET_FILE)
    else:
        source.save(folder / SHARED_FILE)


def load_tokenizers(folder: Path) -> tuple[Tokenizer, Tokenizer]:
    """Read the vocabularies of source and target from a folder: one and the same object where they are shared.

    Raises:
        ModelError: A file is missing or damaged.
    """
    if (folder / SHARED_FILE).exists() or not (folder / SOURCE_FILE).exists():
        shared = Tokenizer.load(folder / SHARED_FILE)
        return shared, shared
    return Tokenizer.load(folder / SOURCE_FILE), Tokenizer.load(folder / TARGET_FILE)


def load_given_tokenizers(source_model: Path, target_model: Path | None = None) -> tuple[Tokenizer, Tokenizer]:
    """Read the vocabularies that a recipe names: SentencePiece models, or a model folder that holds them.

    Args:
        source_model: The file, or the folder, which gives both sides.
        target_model: The file of the target; None where one serves both.

    Raises:
        ModelError: A file is missing or cannot be used, or the target's is not named where it is another one.
    """
    if source_model.is_dir() and target_model is None:
        return load_tokenizers(source_model)
    source = Tokenizer.load(source_model)
    if target_model is not None:
        return source, Tokenizer.load(target_model)
    if type(source) is not Tokenizer:
        raise ModelError(
            "this SentencePiece model is the source's alone: the target has another one",
            at=source_model,
            fix=f"give the folder: --set vocabulary.source_model={source_model.parent}",
        )
    return source, source


def read_model_file(path: Path, what: str) -> bytes:
    """Return the bytes of a file that belongs to a model.

    Raises:
        ModelError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ModelError(f"cannot read {what}: {exc.strerror}", at=path, fix="check the path") from exc
