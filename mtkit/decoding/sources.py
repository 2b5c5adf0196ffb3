"""From a line to source tokens, in the one way in which it is translated, scored and embedded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mtkit.config.decoding import DecodingSection
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.decoding.lines import clean_source
from mtkit.decoding.splitting import Part, split_line
from mtkit.errors import ModelError


@dataclass(frozen=True)
class SourceLine:
    """A line as the model reads it.

    Attributes:
        text: Without its tag.
        token_ids: Of the text, without tag and EOS.
        tag: That is written at its beginning, if there is one.
    """

    text: str
    token_ids: list[int]
    tag: str | None = None


class SourceReader:
    """Encodes source lines, and cuts those that are too long.

    Args:
        tokenizer: Of the source side.
        decoding: The tag and the longest part.
        max_length: Longest source in tokens, EOS included, that the model takes; None for no limit.

    Raises:
        ModelError: `decoding.tag` is no piece of the source vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, decoding: DecodingSection, max_length: int | None) -> None:
        self.tokenizer = tokenizer
        self._tag = decoding.tag
        longest = decoding.max_source_tokens
        self.max_tokens = longest if max_length is None else min(longest, max_length - 1)  # one for EOS
        _find_head(tokenizer, None, decoding.tag)  # a tag that is wrong shows at once

    def read(self, lines: Sequence[str]) -> list[SourceLine]:
        """Return the lines, cleaned and encoded."""
        split = [self.tokenizer.split_tag(clean_source(line)) for line in lines]
        texts = [text.strip() for _, text in split]
        encoded = self._encode(texts)
        return [SourceLine(text, ids, tag) for (tag, _), text, ids in zip(split, texts, encoded, strict=True)]

    def find_head(self, line: SourceLine, tag: str | None = None) -> list[int]:
        """Return what stands before the line: the id of `tag`, else of its own, else of `decoding.tag`, or nothing.

        Raises:
            ModelError: The tag is no piece of the source vocabulary.
        """
        return _find_head(self.tokenizer, line.tag if tag is None else tag, self._tag)

    def cut(self, line: SourceLine, head: Sequence[int]) -> list[tuple[Part, list[int]]]:
        """Return the parts of a line, as few as fit the model, with their source tokens: head and EOS included.

        A line without a token has none.
        """
        room = self.max_tokens - len(head)
        if not line.token_ids:
            return []
        parts, sources = [Part(line.text)], [line.token_ids]
        if len(line.token_ids) > room:
            parts = split_line(line.text, lambda part: len(self._encode([part])[0]), room)
            sources = self._encode([part.text for part in parts])
        return [(part, self.close(head, ids)) for part, ids in zip(parts, sources, strict=True)]

    def close(self, head: Sequence[int], token_ids: Sequence[int]) -> list[int]:
        """Return a source as the model is given it: head, tokens and EOS."""
        return [*head, *token_ids, self.tokenizer.eos_id]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer.encode(texts, threads=torch.get_num_threads())


def _find_head(tokenizer: Tokenizer, own: str | None, default: str | None) -> list[int]:
    """Return what stands before a source: the id of its own tag, else of `decoding.tag`, else nothing.

    Args:
        tokenizer: Of the source side.
        own: The tag of this source; None for the default.
        default: `decoding.tag`.

    Raises:
        ModelError: The tag is no piece of the source vocabulary.
    """
    tag = default if own is None else own
    if tag is None:
        return []
    token_id = tokenizer.find_symbol(tag)
    if token_id is None:
        raise ModelError(
            f"the tag '{tag}' is no piece of the model's source vocabulary",
            at="decoding.tag" if own is None else None,
            fix="give a tag of the corpora that the model was trained on, or none",
        )
    return [token_id]
