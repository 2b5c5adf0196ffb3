import itertools

import pytest

from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.config.vocabulary import VocabularySection

ANIMALS = [("dog", "Hund"), ("cat", "Kater"), ("bird", "Vogel"), ("bear", "Bär"), ("fish", "Fisch"), ("wolf", "Wolf")]
VERBS = [("sees", "sieht"), ("hears", "hört"), ("likes", "mag"), ("finds", "findet"), ("paints", "malt")]
THINGS = [
    ("house", "das Haus"),
    ("tree", "den Baum"),
    ("car", "das Auto"),
    ("road", "die Straße"),
    ("moon", "den Mond"),
]


def make_pairs():
    """300 aligned sentences, no side twice."""
    for (animal, tier), (verb, wort), (thing, ding), (mark, zeichen) in itertools.product(
        ANIMALS, VERBS, THINGS, [(".", "."), ("!", "!")]
    ):
        yield f"The {animal} {verb} the {thing}{mark}", f"Der {tier} {wort} {ding}{zeichen}"


@pytest.fixture
def pairs():
    return list(make_pairs())


@pytest.fixture
def files(write, pairs):
    """A source of two text files."""
    return TextSource(
        source=write("train.en", [source for source, _ in pairs]),
        target=write("train.de", [target for _, target in pairs]),
    )


@pytest.fixture
def corpus(files):
    """A corpus section that splits off 30 pairs for validation and 30 for test."""
    return CorpusSection(train=[files], valid_size=30, test_size=30)


@pytest.fixture
def vocabulary():
    return VocabularySection(size=80, type="bpe")
