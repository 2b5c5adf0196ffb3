import pytest

from mtkit.corpus.language_tags import (
    choose_language,
    is_same_direction,
    is_same_language,
    primary_language,
    show_direction,
)


@pytest.mark.parametrize(
    ("tag", "language"),
    [("de", "de"), ("DE-at", "de"), ("zh_CN", "zh"), ("deu", "de"), ("ger", "de"), ("jpn-Jpan", "ja"), ("fil", "fil")],
)
def test_the_language_of_a_tag_has_two_letters_where_it_can(tag, language):
    assert primary_language(tag) == language


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("de", "de-AT", True),
        ("de-AT", "de-DE", False),
        ("de", "deu", True),
        ("zh_CN", "zho-cn", True),
        ("ar", "arb", True),
        ("de", "en", False),
        ("en", None, True),
    ],
)
def test_two_tags_may_name_one_language(one, other, is_same):
    assert is_same_language(one, other) == is_same_language(other, one) == is_same


def test_a_direction_is_one_if_both_sides_may_be():
    assert is_same_direction(("en", "de"), ("eng", "de-AT"))
    assert is_same_direction(("en", None), ("en", "de"))
    assert not is_same_direction(("en", None), ("de", "en"))
    assert show_direction(("en", None)) == "en to ?"


@pytest.mark.parametrize(
    ("tag", "known", "expected"),
    [
        ("de", ["en", "de"], "de"),
        ("DE", ["en", "de"], "de"),
        ("de-AT", ["en", "de"], "de"),
        ("deu", ["en", "de"], "de"),
        ("pt", ["pt-BR", "pt-BR"], "pt-BR"),
        ("pt_br", ["pt-BR", "pt-PT"], "pt-BR"),
        ("pt-BR", ["pt-BR", "pt"], "pt-BR"),
        ("pt", ["pt-BR", "pt-PT"], None),
        ("pt-PT", ["pt-BR"], None),
        ("fr", ["en", "de"], None),
        ("auto", ["en"], None),
    ],
)
def test_the_nearest_of_the_known_tags_is_chosen(tag, known, expected):
    assert choose_language(tag, known) == expected
