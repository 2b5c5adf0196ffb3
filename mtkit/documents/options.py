"""What a person wishes of a document's translation, in any format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fill = Literal["empty", "fuzzy", "all"]


@dataclass(frozen=True)
class DocumentOptions:
    """Wishes; each format heeds those that it knows.

    Attributes:
        fill: Which messages or units are translated: those without a translation, also those whose translation is
            fuzzy or needs review, or all.
        marks: Whether what was filled is marked as fuzzy, or as in need of review.
        accelerator: The character before an access key, as in `_File`; None for what a catalog's header
            says, else none.
        source_language: Of the model.
        target_language: Of the model.
        max_width: Of the lines of subtitles, in characters; None for what the format's reader takes.
    """

    fill: Fill = "empty"
    marks: bool = True
    accelerator: str | None = None
    source_language: str | None = None
    target_language: str | None = None
    max_width: int | None = None
