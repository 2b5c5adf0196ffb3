from pathlib import Path

import pytest

from mtkit.config.loading import iter_bundled_recipes, load_recipe
from mtkit.config.model import build_model_config

RECIPES = Path(__file__).parents[1] / "recipes"
FILES = sorted(RECIPES.glob("*.yaml"))


def test_the_recipes_are_those_of_the_project():
    assert {path.stem for path in FILES} >= {
        "quickstart",
        "multi30k-en-de",
        "multi30k-en-de-r-drop",
        "multi30k-en-fr",
        "iwslt14-de-en",
        "wmt14-en-de-base",
        "wmt14-en-de-big",
    }
    assert [path.resolve() for path in iter_bundled_recipes()] == FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_gives_a_model(path):
    recipe = load_recipe(path)
    assert recipe.description
    assert recipe.corpus.source_language and recipe.corpus.target_language
    corpus = recipe.corpus
    assert corpus.train and (corpus.valid or corpus.valid_size) and (corpus.test or corpus.test_size)
    assert recipe.training.max_steps or recipe.training.max_epochs
    assert recipe.training.keep_checkpoints >= recipe.training.average_count
    build_model_config(recipe.model, recipe.vocabulary.size, recipe.vocabulary.size)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recipe_has_its_paragraph(path):
    assert f"**{path.stem}**" in (RECIPES / "README.md").read_text(encoding="utf-8")


def test_the_quickstart_corpus_is_there():
    corpus = load_recipe("quickstart").corpus
    for source in [*corpus.train, corpus.valid, corpus.test]:
        assert source.source.is_file()
        assert source.target.is_file()


@pytest.mark.parametrize(("name", "d_model", "steps", "count"), [("base", 512, 100_000, 5), ("big", 1024, 300_000, 20)])
def test_the_wmt_recipes_are_the_papers(name, d_model, steps, count):
    recipe = load_recipe(f"wmt14-en-de-{name}")
    training, decoding = recipe.training, recipe.decoding
    assert training.learning_rate == pytest.approx(d_model**-0.5 * training.warmup_steps**-0.5, rel=1e-3)
    assert (training.schedule, training.warmup_steps, training.max_steps) == ("inverse_sqrt", 4000, steps)
    assert (training.optimizer, training.adam_beta1, training.adam_beta2) == ("adam", 0.9, 0.98)
    assert (training.adam_epsilon, training.label_smoothing) == (1e-9, 0.1)
    assert (training.average, training.average_count) == ("last", count)
    assert (decoding.beam_size, decoding.length_penalty, decoding.length_penalty_type) == (4, 0.6, "wu")
    config = build_model_config(recipe.model, recipe.vocabulary.size, recipe.vocabulary.size)
    assert (config.d_model, config.norm, recipe.vocabulary.size) == (d_model, "post", 37_000)
