"""Text to token ids as models of the Marian family have them: SentencePiece makes the pieces, a table gives the ids.

OPUS-MT models come with two SentencePiece models, one a side, over one table `vocab.json` of pieces and ids. A piece
that the table lacks is unknown; a character that the SentencePiece model does not know may stand in the table.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from mtkit.corpus.tokenizer import SOURCE_FILE, TARGET_FILE, Tokenizer
from mtkit.errors import ModelError, writing

TABLE_FILE = "vocab.json"
TARGET_TABLE_FILE = "target_vocab.json"
PAD, UNK, BOS, EOS = "<pad>", "<unk>", "<s>", "</s>"

_SPACE = "\u2581"
_TAG = re.compile(r">>.+?<<")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class VocabTokenizer(Tokenizer):
    """A SentencePiece model with the ids of a table.

    It gives the ids of transformers' `MarianTokenizer`, save that special symbols in a text are text, and that a tag is
    one only if the table has it. A line that begins with a tag `>>deu<<` of the table has it as one symbol. Where the
    table has no begin of sentence, padding starts the decoder, and `bos_id` is `pad_id`.

    Args:
        serialized: The SentencePiece model.
        table: The JSON of the table.
        origin: What to name as its place in an error message.

    Raises:
        ModelError: The bytes are no SentencePiece model, or no table that holds padding, unknown and end of sentence.
    """

    def __init__(self, serialized: bytes, table: bytes, origin: str | Path) -> None:
        self.table = table
        self._ids = _read_table(table, origin)
        self._pieces = [f"<unused {i}>" for i in range(max(self._ids.values()) + 1)]
        for piece, token_id in self._ids.items():
            self._pieces[token_id] = piece
        super().__init__(serialized, origin)
        processor = self._processor
        self._own_unk_id: int = processor.unk_id()
        self._unknown_piece: str = processor.id_to_piece(self._own_unk_id)
        own = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
        self._ids_of_own = [self._ids.get(piece, self.unk_id) for piece in own]

    def _find_special_ids(self, origin: str | Path) -> tuple[int, int, int, int]:
        lacking = [piece for piece in (PAD, UNK, EOS) if piece not in self._ids]
        if lacking:
            raise ModelError(
                f"the table of ids has no {' and no '.join(lacking)}", at=origin, fix="copy the model again, whole"
            )
        pad_id = self._ids[PAD]
        return pad_id, self._ids[UNK], self._ids.get(BOS, pad_id), self._ids[EOS]

    def save(self, path: Path) -> None:
        """Write the model and, beside it, the table: both byte for byte as they were read.

        The table of a target that differs from the one beside it gets a file of its own.

        Raises:
            OutputError: A file cannot be written.
        """
        super().save(path)
        table = path.with_name(TABLE_FILE)
        with writing(table):
            if path.name == TARGET_FILE and table.is_file() and table.read_bytes() != self.table:
                table = path.with_name(TARGET_TABLE_FILE)
            table.write_bytes(self.table)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of model and table: equal for equal ones only."""
        return hashlib.sha256(self.serialized + self.table).hexdigest()

    def __len__(self) -> int:
        return len(self._pieces)

    def fits(self, num_embeddings: int) -> bool:
        """Return whether it may be a model's: some of such models have rows that no piece uses."""
        return len(self) <= num_embeddings

    def shares_ids(self, other: Tokenizer) -> bool:
        """Return whether both have the same table."""
        return isinstance(other, VocabTokenizer) and other._ids == self._ids

    def list_tags(self) -> list[str]:
        """Return the tags of the table, by their ids."""
        return [piece for piece in self._pieces if is_tag(piece)]

    def split_tag(self, line: str) -> tuple[str | None, str]:
        """Return the tag of the table that a line begins with, and the text behind it."""
        found = _TAG.match(line)
        if found is None or self.find_symbol(found[0]) is None:
            return None, line
        return found[0], line[found.end() :]

    def encode(self, lines: Sequence[str], threads: int | None = None) -> list[list[int]]:
        """Return the token ids of each line, a tag at its beginning included, without end of sentence.

        Args:
            lines: Lines of text.
            threads: CPU threads; None for all cores.
        """
        split = [self.split_tag(line) for line in lines]
        segmented = self._segment([text for _, text in split], str, threads)
        ids, unk_id = self._ids, self.unk_id
        return [
            ([] if tag is None else [ids[tag]]) + [ids.get(piece, unk_id) for piece in pieces]
            for (tag, _), pieces in zip(split, segmented, strict=True)
        ]

    def sample(self, lines: Sequence[str], strength: float, seeds: Sequence[int]) -> list[list[int]]:
        """Return the token ids of each line in a segmentation drawn at random; see `Tokenizer.sample`."""
        if self._has_one_segmentation:
            return self.encode(lines, threads=1)
        split = [self.split_tag(line) for line in lines]
        drawn = super().sample([text for _, text in split], strength, seeds)
        return [
            ([] if tag is None else [self._ids[tag]]) + self._to_table(own_ids, text)
            for (tag, text), own_ids in zip(split, drawn, strict=True)
        ]

    def _to_table(self, own_ids: list[int], text: str) -> list[int]:
        """Return the ids of the table for those of the SentencePiece model, in some segmentation of a text.

        The runs of characters that the model does not know are the same in each segmentation.
        """
        ids = [self._ids_of_own[own_id] for own_id in own_ids]
        places = [place for place, own_id in enumerate(own_ids) if own_id == self._own_unk_id]
        if places:
            pieces = self._processor.encode(text, out_type=str)
            runs = [piece for piece in pieces if self._processor.piece_to_id(piece) == self._own_unk_id]
            for place, run in zip(places, runs, strict=False):
                ids[place] = self._ids.get(run, self.unk_id)
        return ids

    def find_symbol(self, symbol: str) -> int | None:
        """Return the id of a piece that may stand in a text, None where there is none of that spelling.

        Padding, unknown, begin and end of sentence and pieces that stand for bytes are not such pieces.
        """
        if symbol in {PAD, UNK, BOS, EOS} or _BYTE.fullmatch(symbol):
            return None
        return self._ids.get(symbol)

    def decode_batch(self, batch: Sequence[Sequence[int]]) -> list[str]:
        """Return the text of each sequence of token ids; padding and end of sentence vanish."""
        texts = [self._processor.decode_pieces(self._spell(token_ids)) for token_ids in batch]
        # The table has pieces of the other side's model too: this one leaves them as they are.
        texts = [text.removeprefix(_SPACE).replace(_SPACE, " ") for text in texts]
        return [text.replace("\n", " ").replace("\r", " ") for text in texts]

    def _spell(self, token_ids: Sequence[int]) -> list[str]:
        """Return the pieces of token ids as SentencePiece decodes them."""
        silent = {self.pad_id, self.eos_id}
        return [
            self._unknown_piece if token_id == self.unk_id else self._pieces[token_id]
            for token_id in map(int, token_ids)
            if token_id not in silent
        ]

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """Return the pieces that token ids stand for."""
        return [self._pieces[int(token_id)] for token_id in token_ids]

    def surfaces(self, line: str) -> list[str]:
        """Return the text that each token of a line stands for, what is unknown too, with the space before it."""
        tag, text = self.split_tag(line)
        return ([] if tag is None else [tag]) + super().surfaces(text)


def is_tag(piece: str) -> bool:
    """Return whether a piece is a tag of OPUS-MT's kind, such as `>>deu<<`."""
    return _TAG.fullmatch(piece) is not None


def find_table(path: Path) -> Path | None:
    """Return the table of ids that stands beside a SentencePiece model, None where there is none.

    Only files of the names `source.spm` and `target.spm` have one; the latter has a table of its own, where there is
    one.
    """
    names = {SOURCE_FILE: (TABLE_FILE,), TARGET_FILE: (TARGET_TABLE_FILE, TABLE_FILE)}.get(path.name, ())
    return next((table for name in names if (table := path.with_name(name)).is_file()), None)


def _read_table(table: bytes, origin: str | Path) -> dict[str, int]:
    """Return the ids of pieces."""
    try:
        ids = json.loads(table)
    except ValueError:
        ids = None
    is_table = isinstance(ids, dict) and all(type(value) is int and value >= 0 for value in ids.values())
    if not ids or not is_table:
        raise ModelError("not a table of pieces and ids", at=origin, fix="copy the model again, whole")
    return dict(ids)
