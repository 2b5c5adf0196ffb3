"""What `config.json` of a model folder says."""

from __future__ import annotations

from pydantic import Field

from mtkit.config.model import ModelConfig
from mtkit.config.section import Section

MODEL_FORMAT_VERSION = 1


class ModelFolderConfig(Section):
    """The languages and the shape of a model."""

    format_version: int = Field(MODEL_FORMAT_VERSION, ge=1)
    mtkit_version: str
    source_language: str | None = None
    target_language: str | None = None
    model: ModelConfig
