"""What `config.json` of a model folder says."""

from __future__ import annotations

from pydantic import Field

from mtkit.config.model import ModelConfig
from mtkit.config.section import Section

MODEL_FORMAT_VERSION = 1


class ModelFolderConfig(Section):
    """The languages, the tags and the shape of a model.

    `tags` are those that stood before the sources of the training corpora, None among them if some had none; empty
    where that is not known.
    """

    format_version: int = Field(MODEL_FORMAT_VERSION, ge=1)
    mtkit_version: str
    source_language: str | None = None
    target_language: str | None = None
    tags: list[str | None] = Field([])
    model: ModelConfig

    @property
    def needed_tags(self) -> list[str]:
        """The tags of a model that never saw a source without one; else none."""
        tags = [tag for tag in self.tags if tag is not None]
        return tags if len(tags) == len(self.tags) else []
