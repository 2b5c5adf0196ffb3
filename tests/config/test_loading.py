from pathlib import Path

import pytest

from mtkit.config.loading import Override, find_recipe, iter_fields, load_recipe, parse_set, write_recipe
from mtkit.config.recipe import Recipe
from mtkit.errors import OutputError, RecipeError


def load(path=None, *sets):
    return load_recipe(path, [parse_set(text) for text in sets])


def problems(call, *arguments):
    """Return the errors that a call raises together."""
    with pytest.raises(RecipeError) as caught:
        call(*arguments)
    return [caught.value, *caught.value.also]


FULL = """\
description: no
corpus:
  source_language: no
  target_language: zh-Hant
  train:
    - {source: a.no, target: a.zh, name: 1:30}
    - {dataset: some/name, config: "5e-4", split: train, columns: [translation.no, translation.zh]}
    - {path: all.tsv, columns: [1, 2]}
  valid_size: 500
  filters: {max_tokens: null, min_letter_share: .25}
vocabulary: {user_defined_symbols: ["<2de>", "no", "null", "0"]}
training: {learning_rate: 5e-4, adam_epsilon: 1e-12, max_minutes: 1.5}
"""


def test_a_recipe_written_reads_back_equal(write, tmp_path):
    recipe = load_recipe(write("full.yaml", FULL))
    assert recipe.description == recipe.corpus.source_language == "no"
    assert recipe.training.learning_rate == 5e-4
    assert recipe.corpus.train[2].columns == ("1", "2")
    write_recipe(recipe, tmp_path / "elsewhere.yaml")
    assert load_recipe(tmp_path / "elsewhere.yaml") == recipe


def test_defaults_written_read_back_equal(tmp_path):
    write_recipe(Recipe(), tmp_path / "r.yaml")
    assert load_recipe(tmp_path / "r.yaml") == Recipe() == load_recipe(None)


def test_a_recipe_that_cannot_be_written_is_an_output_error(tmp_path):
    with pytest.raises(OutputError):
        write_recipe(Recipe(), tmp_path / "missing" / "r.yaml")


@pytest.mark.parametrize(("name", "field"), list(iter_fields()), ids=[name for name, _ in iter_fields()])
def test_every_field_has_help_and_a_default(name, field):
    assert field.description
    assert field.description[0].isupper() or field.description.startswith(("tiny", "wu", "…"))
    assert not field.is_required()


def test_unknown_keys_name_the_nearest_one_with_its_line(write):
    path = write("r.yaml", ["training:", "  batch_token: 5", "trainig:", "  seed: 1"])
    first, second = sorted(problems(load_recipe, path), key=lambda e: e.at)
    assert (first.message, first.at) == ("unknown recipe key 'training.batch_token'", f"{path}:2")
    assert first.fix == "did you mean 'batch_tokens'?"
    assert (second.message, second.at) == ("unknown recipe key 'trainig'", f"{path}:3")
    assert second.fix == "did you mean 'training'?"


def test_a_key_in_the_wrong_section_is_told_where_it_belongs():
    (error,) = problems(load, None, "training.beam_size=4")
    assert error.fix == "did you mean 'decoding.beam_size'?"
    (error,) = problems(load, None, "training.dropout=0.2")  # though `r_drop` is spelt alike
    assert error.fix == "did you mean 'model.dropout'?"


def test_all_mistakes_come_at_once(write):
    path = write("r.yaml", ["training:", "  max_steps: many", "  seed: -1", "model:", "  preset: huge", "speed: 9"])
    found = problems(load, path, "decoding.beam_size=0", "training.epochs=3")
    assert {error.at for error in found} == {
        f"{path}:2",
        f"{path}:3",
        f"{path}:5",
        f"{path}:6",
        "--set decoding.beam_size=0",
        "--set training.epochs=3",
    }
    assert all(error.fix for error in found)


def test_a_wrong_type_says_what_must_be_there_and_what_is(write):
    (error,) = problems(load_recipe, write("r.yaml", ["training:", "  max_steps: many"]))
    assert "must be a valid integer" in error.message
    assert "not 'many'" in error.message


def test_a_value_in_place_of_a_section_or_a_list_is_told_with_its_shape(write):
    recipe = write("r.yaml", ["model: tiny", "corpus: {train: a.txt}", "evaluation: {metrics: bleu}"])
    model, texts, metrics = sorted(problems(load_recipe, recipe), key=lambda error: error.at)
    assert (model.message, model.fix.startswith("write fields below it: preset, ")) == (
        "'model' is a section of fields, not 'tiny'",
        True,
    )
    assert texts.message == "'corpus.train' is a list, not 'a.txt'"
    assert texts.fix.startswith("write [{")
    assert metrics.fix == "write it in brackets: [one, another]"


def test_an_unknown_key_of_a_list_item_names_the_nearest_one():
    (error,) = problems(load, None, "corpus.train=[{sorce: a, target: b, source: c}]")
    assert error.fix == "did you mean 'source'?"


def test_a_value_of_none_of_several_types_is_told_with_its_line(write):
    path = write("r.yaml", ["training:", "  seed: 1", "  micro_batch_tokens: 5"])
    assert {error.at for error in problems(load_recipe, path)} == {f"{path}:3"}


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("training.max_steps=0", "Updates to make"),
        ("corpus.train=[{dataset: x/y, streaming: maybe}]", "Read the data set while it downloads"),
        ("evaluation.metrics=[bleu, meteor]", "Metrics"),
    ],
)
def test_what_a_field_means_is_told_with_its_wrong_value(text, meaning):
    (error,) = problems(load, None, text)
    assert meaning in error.fix


def test_a_number_where_text_must_be_wants_quotes():
    (error,) = problems(load, None, "corpus.train=[{dataset: some/name, revision: 1234567}]")
    assert error.fix == "put it in quotes"


@pytest.mark.parametrize(
    "text",
    [
        "training.max_steps=0",
        "training.label_smoothing=1",
        "training.learning_rate=0",
        "training.batch_tokens=15",
        "model.dropout=-0.1",
        "decoding.n_best=6",
        "decoding.beam_size=1001",
        "corpus.valid_size=1.5",
        "corpus.source_language=en_US!",
        "vocabulary.character_coverage=1.1",
        "training.learning_rate=.inf",
        "training.micro_batch_tokens=100000",
        "vocabulary.target_model=x.spm",
        "evaluation.metrics=[]",
    ],
)
def test_bounds_are_kept(text):
    (error,) = problems(load, None, text)
    assert error.at.startswith("--set ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{source: a}", "one is missing"),
        ("{source: a, target: b, dataset: c}", "give either"),
        ("{}", "give either"),
        ("{source: a, target: b, columns: [x, y]}", "`columns` goes with"),
        ("{source: a, target: b, split: train}", "`split` goes with `dataset`"),
        ("{path: a.tsv, config: x}", "`config` goes with `dataset`"),
        ("{path: a.tsv, revision: x}", "`revision` goes with `dataset`"),
        ("{path: a.tsv, data_files: x}", "`data_files` goes with `dataset`"),
        ("{path: a.tsv, streaming: true}", "`streaming` goes with `dataset`"),
    ],
)
def test_a_text_source_is_one_thing(text, message):
    (error,) = problems(load, None, f"corpus.train=[{text}]")
    assert message in error.message
    assert error.at == f"--set corpus.train=[{text}]"


def test_set_wins_over_the_file_and_the_last_set_over_the_first(write):
    path = write("r.yaml", ["training:", "  seed: 1", "  max_steps: 10"])
    recipe = load(path, "training.seed=2", "training.seed=3")
    assert recipe.training.seed == 3
    assert recipe.training.max_steps == 10


def test_of_two_wrong_values_the_last_is_told():
    (error,) = problems(load, None, "training.seed=2", "training.seed=-1")
    assert error.at == "--set training.seed=-1"


def test_set_goes_below_a_heading_with_nothing_below_it(write):
    path = write("r.yaml", ["corpus:", "  valid:", "training:", "  corpus_weights:"])
    recipe = load(path, "corpus.valid.path=/v.tsv", "training.corpus_weights.news=2")
    assert recipe.corpus.valid.path == Path("/v.tsv")
    assert recipe.training.corpus_weights == {"news": 2}


def test_set_indexes_lists(write):
    path = write("r.yaml", ["corpus:", "  train:", "    - {source: a.en, target: a.de}"])
    recipe = load(path, "corpus.train.0.source=b.en", "corpus.train.1.source=c.en", "corpus.train.1.target=c.de")
    assert [source.source.name for source in recipe.corpus.train] == ["b.en", "c.en"]
    assert recipe.corpus.train[0].target == path.parent / "a.de"


@pytest.mark.parametrize("text", ["corpus.train.2.source=x", "corpus.train.first.source=x"])
def test_set_refuses_an_index_that_is_none(write, text):
    path = write("r.yaml", ["corpus:", "  train:", "    - {source: a.en, target: a.de}"])
    (error,) = problems(load, path, text)
    assert "is no index of a list of 1" in error.message
    assert error.at == f"--set {text}"


def test_set_below_a_value_is_refused():
    (error,) = problems(load, None, "training.seed=1", "training.seed.deeper=2")
    assert "'seed' holds a value" in error.message


@pytest.mark.parametrize("text", ["training.seed", "=5", ""])
def test_set_without_a_field_or_a_value_is_refused(text):
    assert problems(parse_set, text)[0].fix == "write --set section.key=value"


def test_set_reads_values_as_yaml():
    assert parse_set("a.b=5e-4").value == 5e-4
    assert parse_set("a.b=no").value == "no"
    assert parse_set("a.b=null").value is None
    assert parse_set("a.b=x=y").value == "x=y"
    assert parse_set("a.b = 3") == Override("a.b", 3, "--set a.b = 3")


def test_an_empty_section_is_the_default(write):
    assert load_recipe(write("r.yaml", "training:\nmodel: {}\ncorpus:\n  train:\n  valid:\n")) == Recipe()


def test_paths_in_a_file_are_relative_to_it_and_others_to_the_working_directory(write, tmp_path, monkeypatch):
    write("recipes/r.yaml", ["corpus:", "  train:", "    - {source: ../data/a.en, target: /abs/a.de}"])
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    recipe = load_recipe(
        Path("../recipes/r.yaml"), [Override("corpus.valid", {"source": "v.en", "target": "v.de"}, "--valid")]
    )
    assert recipe.corpus.train[0].source.resolve() == tmp_path / "data" / "a.en"
    assert recipe.corpus.train[0].target == Path("/abs/a.de")
    assert recipe.corpus.valid.source == here / "v.en"
    assert load(None, "vocabulary.source_model=x.spm").vocabulary.source_model == here / "x.spm"


def test_paths_of_a_recipe_that_is_linked_to_are_relative_to_where_it_lies(write, tmp_path):
    write("recipes/r.yaml", ["vocabulary: {source_model: x.spm}"])
    (tmp_path / "link.yaml").symlink_to(tmp_path / "recipes" / "r.yaml")
    assert load_recipe(tmp_path / "link.yaml").vocabulary.source_model == tmp_path.resolve() / "recipes" / "x.spm"


def test_a_home_directory_is_understood(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load(None, "vocabulary.source_model=~/x.spm").vocabulary.source_model == tmp_path / "x.spm"


def test_a_data_set_is_a_path_only_where_one_stands(write, tmp_path):
    path = write("r.yaml", ["corpus:", "  train:", "    - {dataset: some/name}", "    - {dataset: local}"])
    (tmp_path / "local").mkdir()
    first, second = load_recipe(path).corpus.train
    assert first.dataset == "some/name"
    assert second.dataset == str(tmp_path / "local")


def test_each_of_several_data_files_is_a_path_only_where_one_stands(write, tmp_path):
    path = write("r.yaml", ["corpus:", "  train:", "    - {dataset: json, data_files: [a.json, b.json, hf://c.json]}"])
    files = [write(name, "") for name in ("a.json", "b.json")]
    (source,) = load_recipe(path).corpus.train
    assert source.data_files == [*map(str, files), "hf://c.json"]


def test_a_recipe_is_found_by_path_and_by_name(write):
    path = write("mine.yaml", "")
    assert find_recipe(path) == path
    assert find_recipe("quickstart").name == "quickstart.yaml"


def test_a_folder_of_the_name_of_a_recipe_does_not_hide_it(tmp_path, monkeypatch):
    """`mtkit run quickstart -o quickstart` makes one, and is run again."""
    (tmp_path / "quickstart").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_recipe("quickstart").name == "quickstart.yaml"


def test_a_recipe_that_is_not_there_names_the_nearest():
    assert problems(find_recipe, "quickstrat")[0].fix == "did you mean 'quickstart'?"
    assert "quickstart" in problems(find_recipe, "x/y.yaml")[0].fix


def test_what_follows_a_mapping_is_one_name(write):
    path = write("r.yaml", ["training:", "  corpus_weights: {news: 1, talks: 2}"])
    sets = [f"training.corpus_weights.{given}" for given in ("news=5e-1", "train.en.gz=3", "2016=4")]
    expected = {"news": 0.5, "talks": 2, "train.en.gz": 3, "2016": 4}
    assert load(path, *sets).training.corpus_weights == expected
    assert load(None, sets[2]).training.corpus_weights == {"2016": 4}
    assert load(None, "training.corpus_weights={a: 1, b: 2}").training.corpus_weights == {"a": 1, "b": 2}


@pytest.mark.parametrize("text", ["training.corpus_weights.train.en=0", "training.corpus_weights.x=much"])
def test_a_wrong_value_of_a_mapping_is_told_by_its_name(text):
    (error,) = problems(load, None, text)
    assert error.at == f"--set {text}"
    assert error.message.startswith(f"'{text.partition('=')[0]}' must be")


def test_the_name_of_a_data_set_has_its_configuration():
    """Two configurations of one data set are two corpora."""
    texts = ["corpus.train=[{dataset: wmt/wmt19, config: de-en}, {dataset: wmt/wmt19}, {dataset: x, name: y}]"]
    assert [source.label for source in load(None, *texts).corpus.train] == ["wmt/wmt19:de-en", "wmt/wmt19", "y"]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["training.corpus_weights={a: 1}", "training.corpus_temperature=2"], "not both"),
        (["decoding.expand_prefix=true", "decoding.sampling=true"], "exclude each other"),
        (["decoding.expand_prefix=true", "decoding.mbr=chrf"], "exclude each other"),
        (["decoding.mbr=chrf", "decoding.n_best=33"], "cannot be larger than `mbr_candidates`"),
    ],
)
def test_what_contradicts_itself_is_refused(sets, message):
    (error,) = problems(load, None, *sets)
    assert message in error.message


@pytest.mark.parametrize(
    "sets",
    [
        ["training.micro_batch_tokens=4096"],
        ["decoding.n_best=6", "decoding.sampling=true"],
        ["decoding.n_best=6", "decoding.expand_prefix=true"],
        ["decoding.n_best=32", "decoding.mbr=bleu"],
        ["corpus.valid_size=1", "corpus.test_size=2.0"],
    ],
)
def test_what_just_fits_together_is_taken(sets):
    load(None, *sets)
