"""Words of texts, and links as text and numbers."""

import pytest

from mtkit.errors import DataError
from mtkit.inspection.links import GoldLinks, read_gold_links, score_agreement, score_links
from mtkit.inspection.words import find_words_of, split_words


def test_words():
    text = "The animal didn't cross, twenty-five (ok)."
    assert split_words(text) == text.split()
    signs = ["The", "animal", "didn't", "cross", ",", "twenty-five", "(", "ok", ")", "."]
    assert split_words(text, "signs") == signs


@pytest.mark.parametrize(
    ("text", "surfaces", "spaces", "signs"),
    [
        ("A cat, sat.", ["A", " c", "at", ",", " ", "sat", "."], [0, 1, 1, 1, 2, 2, 2], [0, 1, 1, 2, 3, 3, 4]),
        ("didn't.", ["did", "n'", "t", "."], [0, 0, 0, 0], [0, 0, 0, 1]),
        ("so, it", ["so,", " it"], [0, 1], [0, 2]),
        ("a  b", ["a", " b"], [0, 1], [0, 1]),
        ("a a a", ["a", " a", " a"], [0, 1, 2], [0, 1, 2]),
        ("x", [], [], []),
    ],
)
def test_words_of_tokens(text, surfaces, spaces, signs):
    assert find_words_of(text, surfaces) == [range(word, word + 1) for word in spaces]
    assert find_words_of(text, surfaces, "signs") == [range(word, word + 1) for word in signs]


def test_characters_of_scripts_without_spaces_are_signs():
    text = "東京タワーは333mです。 กำลัง Tokyo's"
    assert split_words(text) == text.split()
    signs = [*"東京タワーは", "333m", *"です。", "ก", "ำ", "ลั", "ง", "Tokyo's"]
    assert split_words(text, "signs") == signs
    surfaces = ["東京", "タワー", "は3", "33m", "です。", " ก", "ำลั", "ง", " Tok", "yo's"]
    found = [(words.start, words.stop) for words in find_words_of(text, surfaces, "signs")]
    assert found == [(0, 2), (2, 5), (5, 6), (6, 7), (7, 10), (10, 11), (11, 13), (13, 14), (14, 15), (14, 15)]
    assert [words.start for words in find_words_of(text, surfaces)] == [0] * 5 + [1] * 3 + [2] * 2
    assert split_words("ab\u3000日", "signs") == ["ab", "日"]


def gold(sure, possible=()):
    return GoldLinks(frozenset(sure), frozenset({*sure, *possible}))


def test_scores_of_links():
    # Och and Ney: |A| = 3, |S| = 2, |A & S| = 1, |A & P| = 2.
    found = score_links([[(0, 0), (1, 2), (2, 2)]], [gold([(0, 0), (1, 1)], [(2, 2)])])
    assert (found.precision, found.recall) == (pytest.approx(2 / 3), 0.5)
    assert found.f1 == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))
    assert found.aer == pytest.approx(1 - 3 / 5)
    sure = score_links([[(0, 0)], [(1, 1), (0, 1)]], [gold([(0, 0), (1, 0)]), gold([(1, 1)])])
    assert sure.aer == pytest.approx(1 - sure.f1)
    assert vars(score_links([[]], [gold([])])) == {"precision": 0, "recall": 0, "f1": 0, "aer": 0}


def test_agreement_turns_the_links_of_the_other_direction():
    links = [[(0, 1), (1, 0)], [(2, 2)]]
    assert score_agreement(links, [[(1, 0), (0, 1)], [(2, 2)]]) == 1
    assert score_agreement(links, links) == pytest.approx(1)  # 0-1 and 1-0 are each other's turn
    assert score_agreement([[(0, 1)]], [[(0, 1)]]) == 0


def test_pharaoh_format(write):
    first, second = read_gold_links(write("gold", ["0-0 1p2 3?4", ""]))
    assert first == gold([(0, 0)], [(1, 2), (3, 4)])
    assert second == gold([])
    with pytest.raises(DataError, match="'0:0' is no word link") as caught:
        read_gold_links(write("wrong", ["0-0", "0:0"]))
    assert caught.value.at.endswith("wrong:2")
