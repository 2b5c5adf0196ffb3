import ast
import json
from pathlib import Path

import pytest

import mtkit.cli
from mtkit.cli.options import gather, recipe_option, replace_texts
from mtkit.config.loading import iter_fields
from mtkit.errors import RecipeError


def test_the_table_lists_every_field(run):
    result = run("options")
    assert result.code == 0
    listed = [line.split(" ")[0] for line in result.out.splitlines()[::2]]
    assert listed == [name for name, _ in iter_fields()]


def test_the_table_tells_type_bounds_default_and_meaning(run):
    lines = run("options", "training").out.splitlines()
    (place,) = [place for place, line in enumerate(lines) if "label_smoothing" in line]
    assert lines[place : place + 2] == [
        "training.label_smoothing  number >= 0, < 1  [default: 0.1]",
        "    Label smoothing.",
    ]


def test_a_meaning_is_folded_to_the_terminal(run, monkeypatch):
    whole = run("options", "decoding.early_stopping").out
    assert len(whole.splitlines()) == 2
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    folded = run("options", "decoding.early_stopping").out
    assert len(folded.splitlines()) > 3
    assert all(line.startswith("    ") and len(line) <= 50 for line in folded.splitlines()[1:])
    assert folded.split() == whole.split()


@pytest.mark.parametrize(
    ("field", "type_", "default"),
    [
        ("training.seed", "integer >= 0", 1),
        ("training.optimizer", "adam | adamw", "adam"),
        ("model.d_model", "integer >= 2", None),
        ("corpus.filters.duplicates", "true | false", True),
        ("corpus.train.N.source", "path", None),
        ("training.micro_batch_tokens", "integer >= 16 or auto", "auto"),
        ("training.corpus_weights", "mapping of text to number > 0", None),
        ("corpus.train.N.columns", "list of 2: text, text", None),
        ("corpus.train.N.data_files", "text or list of text", None),
        ("evaluation.metrics", "list of bleu | chrf | ter", ["bleu", "chrf", "ter"]),
        ("vocabulary.user_defined_symbols", "list of text", []),
    ],
)
def test_json_describes_a_field(run, field, type_, default):
    (row,) = json.loads(run("options", field, "--json").out)
    assert (row["field"], row["type"], row["default"]) == (field, type_, default)


def test_a_part_of_a_recipe_is_shown_alone(run):
    shown = run("options", "corpus.filters").out.splitlines()[::2]
    assert shown
    assert all(line.startswith("corpus.filters.") for line in shown)


def test_an_unknown_section_names_the_nearest(run):
    result = run("options", "trainin")
    assert result.code == 2
    assert result.fixes == ["did you mean 'training'?"]


def test_flags_win_over_set_and_set_over_the_file(write):
    path = write("r.yaml", ["training:", "  seed: 1", "  max_steps: 1", "  batch_tokens: 100"])
    recipe = gather(
        path,
        ["training.max_steps=2", "training.batch_tokens=200"],
        {"training.batch_tokens": ("--batch", 300), "training.patience": ("--patience", None)},
    )
    assert (recipe.training.seed, recipe.training.max_steps, recipe.training.batch_tokens) == (1, 2, 300)
    assert recipe.training.patience is None


def test_a_wrong_flag_is_named_as_it_was_typed():
    with pytest.raises(RecipeError) as caught:
        gather(None, None, {"training.max_steps": ("--max-steps", 0), "evaluation.metrics": ("--metric", ["a", "b"])})
    assert {error.at for error in (caught.value, *caught.value.also)} == {"--max-steps 0", "--metric a --metric b"}


def test_files_take_the_place_of_a_data_set(write, tmp_path):
    train = {"source": [tmp_path / "a.en", tmp_path / "b.en"], "target": [tmp_path / "a.de", tmp_path / "b.de"]}
    texts = replace_texts(**train, valid=(tmp_path / "v.en", tmp_path / "v.de"))
    corpus = gather("multi30k-en-de", ["corpus.train.1.name=b"], texts=texts).corpus
    assert [(source.source.name, source.target.name, source.dataset) for source in corpus.train] == [
        ("a.en", "a.de", None),
        ("b.en", "b.de", None),
    ]
    assert corpus.train[1].name == "b"
    assert corpus.valid.source == tmp_path / "v.en"
    assert corpus.test.dataset == "bentrevett/multi30k"


def test_files_of_the_command_line_are_relative_to_the_working_directory(tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.chdir(tmp_path)
    corpus = gather("quickstart", None, texts=replace_texts([Path("a.en")], [Path("a.de")])).corpus
    assert corpus.train[0].source == tmp_path / "a.en"


@pytest.mark.parametrize(
    ("texts", "at"),
    [
        ({"source": ["a"], "target": []}, "--source a"),
        ({"source": ["a", "b"], "target": ["c"]}, "--source a --source b --target c"),
        ({"source": None, "target": None, "test": ("a", None)}, "--test-source a"),
    ],
)
def test_a_side_that_is_missing_is_told_by_its_flags(texts, at):
    with pytest.raises(RecipeError, match="one is missing") as caught:
        gather(None, None, texts=replace_texts(**texts))
    assert caught.value.at == at


def test_an_option_takes_its_help_and_default_from_the_field():
    assert recipe_option("training.seed", "--seed").help.endswith("[default: 1]")
    assert "default" not in recipe_option("training.seed", "--seed", show_default=False).help
    assert "default" not in recipe_option("evaluation.lowercase", "--lowercase").help


def test_a_default_of_nothing_or_no_is_told(run):
    lines = run("options", "training").out.splitlines()
    assert "training.weight_decay  number >= 0  [default: 0.0]" in lines
    assert "training.activation_checkpointing  true | false  [default: false]" in lines
    assert "training.max_steps  integer >= 1" in lines


COMMANDS = [path for path in Path(mtkit.cli.__path__[0]).glob("*.py") if " gather(" in path.read_text(encoding="utf-8")]


def find_option(node, shared):
    """The field and the flag of a parameter's `recipe_option`, by its annotation; None if it has none."""
    if isinstance(node, ast.Name):
        return shared.get(node.id)
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)]
    options = [call.args for call in calls if call.func.id == "recipe_option"]
    return tuple(argument.value for argument in options[0]) if options else None


@pytest.mark.parametrize("path", [path for path in COMMANDS if path.name != "options.py"], ids=lambda path: path.stem)
def test_every_flag_of_a_field_is_collected_for_that_field(path):
    """Each stands twice: where the command takes it, and where the recipe is made of it."""
    module, options = (ast.parse(each.read_text(encoding="utf-8")) for each in (path, path.with_name("options.py")))
    assigned = [node for node in options.body if isinstance(node, ast.Assign)]
    shared = {node.targets[0].id: find_option(node.value, {}) for node in assigned}
    taken = {}
    for node in ast.walk(module):
        if isinstance(node, ast.arg) and node.annotation is not None and find_option(node.annotation, shared):
            taken[node.arg] = find_option(node.annotation, shared)
    collected = {}
    for node in ast.walk(module):
        for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
            if isinstance(value, ast.Tuple) and isinstance(value.elts[-1], ast.Name):
                collected[value.elts[1].id] = key.value, value.elts[0].value
    assert taken
    assert {name: collected.get(name) for name in taken} == taken
