import random

import pytest

from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.config.loading import load_recipe, parse_set
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.prepare import prepare_corpus

WORDS = {
    "the": "der", "a": "ein", "dog": "Hund", "cat": "Kater", "man": "Mann", "sees": "sieht", "hears": "hört",
    "big": "große", "old": "alte", "red": "rote", "and": "und", "tree": "Baum", "chair": "Stuhl", "today": "heute",
}  # fmt: skip

SETTINGS = [
    "model.preset=tiny", "model.d_model=16", "model.d_ff=32", "model.num_heads=2", "model.num_encoder_layers=1",
    "model.num_decoder_layers=1", "training.batch_tokens=200", "training.precision=fp32",
    "training.validate_every_steps=10", "training.save_every_steps=5", "training.log_every_steps=5",
    "training.validation_sentences=8", "training.max_steps=20", "training.warmup_steps=2",
    "decoding.max_length_ratio=1", "decoding.max_length_extra=2",
]  # fmt: skip


@pytest.fixture(scope="session")
def corpus_path(tmp_path_factory):
    """A prepared corpus of some 200 pairs, word for word, with validation text."""
    folder = tmp_path_factory.mktemp("text")
    generator = random.Random(4)
    for split, count in (("train", 200), ("valid", 12)):
        lines = [generator.choices(list(WORDS), k=generator.randint(2, 9)) for _ in range(count)]
        (folder / f"{split}.en").write_text("".join(" ".join(words) + "\n" for words in lines), encoding="utf-8")
        translated = [[WORDS[word] for word in words] for words in lines]
        (folder / f"{split}.de").write_text("".join(" ".join(words) + "\n" for words in translated), encoding="utf-8")
    section = CorpusSection(
        source_language="en",
        target_language="de",
        train=[TextSource(source=folder / "train.en", target=folder / "train.de")],
        valid=TextSource(source=folder / "valid.en", target=folder / "valid.de"),
        test_size=0,
    )
    prepare_corpus(section, VocabularySection(size=60), folder / "corpus")
    return folder / "corpus"


@pytest.fixture
def make_recipe():
    """Return a function that gives the recipe of a run that takes a second, with the fields given."""

    def make(*settings):
        return load_recipe(None, [parse_set(text) for text in [*SETTINGS, *settings]])

    return make
