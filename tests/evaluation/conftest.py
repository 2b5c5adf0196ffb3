import random

import pytest

WORDS = [
    "der",
    "die",
    "ein",
    "Hund",
    "Katze",
    "läuft",
    "schläft,",
    "sieht:",
    "den",
    "im",
    "Park",
    "(heute)",
    "nicht",
    "schnell.",
]


@pytest.fixture(scope="session")
def spoiled():
    """Return a function that gives a text of `size` lines and systems that lose more and more of its words."""

    def spoil(lines, rate, seed):
        draw = random.Random(seed)
        return [" ".join(word for word in line.split() if draw.random() > rate) for line in lines]

    def build(*rates, size=80):
        draw = random.Random(1)
        reference = [" ".join(draw.choices(WORDS, k=draw.randint(1, 12))) for _ in range(size)]
        return reference, [spoil(reference, rate, seed) for seed, rate in enumerate(rates)]

    return build
