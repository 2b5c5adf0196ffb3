"""The recipe: one run from text to score."""

from __future__ import annotations

from pydantic import Field

from mtkit.config.corpus import CorpusSection
from mtkit.config.decoding import DecodingSection
from mtkit.config.evaluation import EvaluationSection
from mtkit.config.model import ModelSection
from mtkit.config.section import Section
from mtkit.config.training import TrainingSection
from mtkit.config.vocabulary import VocabularySection


class Recipe(Section):
    """Everything that decides a run. Each command reads its sections."""

    description: str = Field("", description="What this recipe is for.")
    corpus: CorpusSection = CorpusSection()
    vocabulary: VocabularySection = VocabularySection()
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    decoding: DecodingSection = DecodingSection()
    evaluation: EvaluationSection = EvaluationSection()
