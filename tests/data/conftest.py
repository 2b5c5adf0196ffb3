"""The modules of `data/` are scripts, not a package: this makes them importable for the tests here."""

import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "data"
if str(DATA) not in sys.path:
    sys.path.append(str(DATA))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    return DATA


@pytest.fixture(scope="session")
def corpus():
    """The corpus, drawn afresh once for all tests (some seconds)."""
    from generate import build_corpus

    return build_corpus()
