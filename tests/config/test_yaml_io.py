import pytest

from mtkit.config.yaml_io import dump_yaml, parse_scalar, read_yaml
from mtkit.errors import RecipeError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 5e-4),
        ("1e9", 1e9),
        (".5", 0.5),
        ("-1.5E+3", -1500.0),
        ("2_000_000", 2_000_000),
        ("012", 12),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("1:30", "1:30"),
        ("2016-01-01", "2016-01-01"),
        ("null", None),
        ("", None),
        ("1.2.3", "1.2.3"),
        ("[a, 2]", ["a", 2]),
        ("{a: b", "{a: b"),
        ("a\x07b", "a\x07b"),
    ],
)
def test_scalars_mean_what_they_look_like(text, value):
    parsed = parse_scalar(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_every_key_and_item_knows_its_line(write):
    path = write("r.yaml", ["# comment", "a:", "  b: 1", "  c:", "    - x", "    - d: 2"])
    value, lines = read_yaml(path)
    assert value == {"a": {"b": 1, "c": ["x", {"d": 2}]}}
    assert lines == {("a",): 2, ("a", "b"): 3, ("a", "c"): 4, ("a", "c", 0): 5, ("a", "c", 1): 6, ("a", "c", 1, "d"): 6}


def test_an_empty_file_is_an_empty_mapping(write):
    assert read_yaml(write("r.yaml", "")) == ({}, {})
    assert read_yaml(write("r.yaml", "# nothing\n")) == ({}, {})


def test_a_byte_order_mark_is_no_part_of_the_text(write):
    assert read_yaml(write("r.yaml", "\ufeffa: 1\n"))[0] == {"a": 1}


def test_a_key_that_stands_twice_is_refused_with_both_lines(write):
    path = write("r.yaml", ["training:", "  seed: 1", "  max_steps: 5", "  seed: 2"])
    with pytest.raises(RecipeError, match=r"'training\.seed' stands twice") as caught:
        read_yaml(path)
    assert caught.value.at == f"{path}:4"
    assert "line 2" in caught.value.fix


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        ("a: 1\nb: [1, 2\n", "not valid YAML", 3),
        ("a: 1\n\tb: 2\n", "not valid YAML", 2),
        ("- a\n- b\n", "a recipe is a mapping", None),
        ("just text\n", "a recipe is a mapping", None),
        ("a: *nowhere\n", "not valid YAML", 1),
        ("a: !!python/object:os.system {}\n", "not valid YAML", 1),
        ("? [a, b]\n: 1\n", "not valid YAML|mapping", None),
        ("a: b\x07\n", "not valid YAML", None),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_line(write, content, message, line):
    path = write("r.yaml", content)
    with pytest.raises(RecipeError, match=message) as caught:
        read_yaml(path)
    assert caught.value.at.startswith(str(path))
    if line is not None:
        assert caught.value.at == f"{path}:{line}"


def test_a_missing_recipe_and_a_binary_one_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="No such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(RecipeError, match="not UTF-8"):
        read_yaml(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    "value", ["no", "5e-4", "null", "true", "1:30", "", " a", "a: b", "# x", "1_0", "Grüße ½ 你好", "~"]
)
def test_text_that_looks_like_something_else_survives(write, value):
    assert read_yaml(write("r.yaml", dump_yaml({"a": [value]})))[0] == {"a": [value]}


@pytest.mark.parametrize("value", [5e-4, 1e-09, 1e22, 0.1, 7, True, None, float(10**16)])
def test_numbers_survive(write, value):
    read = read_yaml(write("r.yaml", dump_yaml({"a": value})))[0]["a"]
    assert read == value
    assert type(read) is type(value)
