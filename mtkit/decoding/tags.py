"""The symbol that stands before a source, such as `<2de>`."""

from __future__ import annotations

from mtkit.corpus.tokenizer import Tokenizer
from mtkit.errors import ModelError


def find_head(tokenizer: Tokenizer, own: str | None, default: str | None) -> list[int]:
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
