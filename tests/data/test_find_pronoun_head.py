"""The search for the head that knows what "it" means."""

import json

import pytest
from find_pronoun_head import Item, build_units, find_head, main, rate, rate_baselines, read_items
from fragment_words import split_words


@pytest.mark.parametrize(("name", "count"), [("valid", 408), ("test", 600)])
def test_nouns_are_found_in_every_sentence(name, count):
    items = read_items(name)
    assert len(items) == count
    for one, two in zip(items[::2], items[1::2], strict=True):
        # The two sentences of a pair have their nouns in the same places, and mean the one and the other.
        assert one.pair == two.pair
        assert (one.antecedent, one.other) == (two.other, two.antecedent)
        assert one.is_nearest != two.is_nearest
    for item in items:
        words = split_words(item.english)
        assert words[item.pronoun] == "it"
        assert max(item.antecedent, item.other)[1] < item.pronoun < item.adjective[0]
        assert item.adjective[1] == len(words) - 2
        assert split_words(item.german)[item.german_pronoun] in ("er", "sie", "es")


def test_nouns_are_those_of_the_generator(corpus):
    pairs = {
        (str(number), made.position): made
        for number, pair in enumerate(corpus.pairs_valid, 1)
        for made in pair.decisions
    }
    for item in read_items("valid"):
        words = [word.lower() for word in split_words(item.english)]
        found = {position: made for (number, position), made in pairs.items() if number == item.pair}
        spelled = [" ".join(words[first : last + 1]) for first, last in (item.antecedent, item.other)]
        nouns = {" ".join(split_words(made.antecedent.english.lower())) for made in found.values()}
        assert set(spelled) == nouns
        adjective = " ".join(words[item.adjective[0] : item.adjective[1] + 1])
        decided = next(made for made in found.values() if made.adjective == adjective)
        assert spelled[0] == " ".join(split_words(decided.antecedent.english.lower()))


# "The taxi cab hit the rat because it was weak ." and "... rusty .": units 0 to 9, then EOS.
ITEMS = [
    Item("1", "The taxi cab hit the rat because it was weak.", "", 7, 0, (5, 5), (1, 2), (9, 9), True),
    Item("1", "The taxi cab hit the rat because it was rusty.", "", 7, 0, (1, 2), (5, 5), (9, 9), False),
]


def rows(*places):
    return [[0.9 if unit == place else 0.01 * unit for unit in range(11)] for place in places]


def test_rates():
    assert build_units(ITEMS[0]) == [0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    right = rate(ITEMS, rows(4, 1))
    assert (right.sentences, right.pairs, right.between_nouns) == (1, 1, 1)
    nearest = rate(ITEMS, rows(4, 4))
    assert (nearest.sentences, nearest.pairs, nearest.between_nouns) == (0.5, 0, 0.5)
    adjective = rate(ITEMS, rows(8, 8))
    assert (adjective.sentences, adjective.pairs, adjective.between_nouns) == (0, 0, 0.5)
    assert rate(ITEMS, rows(8, 8), "adjective").pairs == 1
    baselines = rate_baselines(ITEMS)
    assert (baselines["nearest noun"].sentences, baselines["nearest noun"].pairs) == (0.5, 0)
    assert baselines["chance"].sentences == pytest.approx(1 / 11)
    assert baselines["chance"].pairs == pytest.approx(1 / 121)


def test_the_head_that_is_right_most_often():
    by_head = [[rows(8, 8), rows(4, 4)], [rows(4, 1), rows(0, 1)]]  # [layer][head][item]
    weights = [[[head[item] for head in layer] for layer in by_head] for item in range(2)]
    assert find_head(ITEMS, weights) == (1, 0)
    assert find_head(ITEMS, weights, "adjective") == (0, 0)


@pytest.mark.parametrize("attention", ["encoder", "cross"])
def test_the_command(model_folder, capsys, attention):
    assert main([str(model_folder), "--attention", attention, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["attention"], found["layer"]) == (attention, 1)
    assert found["test"]["nearest noun"] == {"sentences": 0.5, "pairs": 0, "between_nouns": 0.5}
    # A model of random weights knows nothing.
    assert 0.4 < found["test"]["head"]["between_nouns"] < 0.6
    assert found["test"]["head"]["pairs"] < 0.1


def test_a_folder_that_is_no_model(tmp_path, capsys):
    assert main([str(tmp_path)]) == 4
    assert "fix: " in capsys.readouterr().err
