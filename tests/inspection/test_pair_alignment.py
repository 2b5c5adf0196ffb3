"""Alignment of given pairs, and the choice of a layer."""

import weakref

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.errors import ModelError
from mtkit.inspection.explanation import explain
from mtkit.inspection.links import GoldLinks
from mtkit.inspection.pair_alignment import (
    Setting,
    _link_words,
    align_pairs,
    find_agreement,
    list_settings,
    score_settings,
)

PAIRS = [
    ("the dog runs under the house.", "a cat sees the man"),
    ("", "a cat"),
    ("the big red house and that", "the woman jumps over the street, and it was quick."),
    ("a man", ""),
    ("it", "it"),
]


def test_links_are_those_of_a_forced_explanation_in_order(loaded):
    settings = list_settings(1)
    assert settings == [Setting(1, "output"), Setting(None, "output"), Setting(1, "input"), Setting(None, "input")]
    links = align_pairs(loaded, PAIRS, settings)
    for setting, found in links.items():
        decoding = DecodingSection(alignment_layer=setting.layer, alignment_step=setting.step)
        for (source, target), of_pair in zip(PAIRS, found, strict=True):
            expected = explain(loaded, source, decoding, target).links if source and target else []
            assert of_pair == expected
            assert {j for _, j in of_pair} == (set(range(len(target.split()))) if source else set())
    assert links[Setting(1)] != links[Setting(1, "input")]


def test_batches_do_not_matter(loaded):
    settings = [Setting()]
    together = align_pairs(loaded, PAIRS * 3, settings)[Setting()]
    alone = align_pairs(loaded, PAIRS * 3, settings, DecodingSection(batch_size=1))[Setting()]
    assert together == alone


def test_weights_of_single_heads_are_not_kept(loaded, monkeypatch):
    decode, seen, kept = loaded.model.decode, [], []

    def watch(tgt_ids, memory, memory_mask, record):
        def record_too(kind, layer, weights):
            record(kind, layer, weights)
            seen.append(weakref.ref(weights))

        states = decode(tgt_ids, memory, memory_mask, record_too)
        kept.extend(one() for one in seen if one() is not None)
        return states

    monkeypatch.setattr(loaded.model, "decode", watch)
    align_pairs(loaded, PAIRS, list_settings(1))
    assert seen
    assert not kept


def test_signs_are_words_if_asked(loaded):
    pair = [("the dog runs.", "the cat, it sees.")]
    assert {j for _, j in align_pairs(loaded, pair, [Setting()])[Setting()][0]} == {0, 1, 2, 3}
    assert {j for _, j in align_pairs(loaded, pair, [Setting()], words="signs")[Setting()][0]} == set(range(6))


def test_a_tag_counts_as_no_word(loaded):
    (tagged,) = align_pairs(loaded, PAIRS[:1], [Setting()], DecodingSection(tag="<2de>"))[Setting()]
    assert tagged == explain(loaded, PAIRS[0][0], DecodingSection(tag="<2de>"), PAIRS[0][1]).links
    with pytest.raises(ModelError, match="<2fr>"):
        align_pairs(loaded, PAIRS, [Setting()], DecodingSection(tag="<2fr>"))


def test_a_tag_that_a_line_begins_with_is_its_own_and_no_word(loaded, monkeypatch):
    tokenizer = loaded.source_tokenizer
    monkeypatch.setattr(
        type(tokenizer),
        "split_tag",
        lambda self, line: ("<2de>", line[6:]) if line.startswith("<2de> ") else (None, line),
    )
    source, target = PAIRS[0]
    (own,) = align_pairs(loaded, [(f"<2de> {source}", target)], [Setting()])[Setting()]
    assert own == align_pairs(loaded, PAIRS[:1], [Setting()], DecodingSection(tag="<2de>"))[Setting()][0]
    with pytest.raises(ModelError, match="<2xx>"):
        monkeypatch.setattr(type(loaded.source_tokenizer), "split_tag", lambda self, line: ("<2xx>", line))
        align_pairs(loaded, PAIRS[:1], [Setting()])


def test_the_best_setting_is_the_one_that_agrees():
    links = {Setting(1): [[(0, 0), (1, 1)]], Setting(2): [[(0, 1), (1, 0)]]}
    gold = [GoldLinks(frozenset({(0, 1), (1, 0)}), frozenset({(0, 1), (1, 0)}))]
    assert {setting: score.f1 for setting, score in score_settings(links, gold).items()} == {
        Setting(1): 0,
        Setting(2): 1,
    }
    reverse = {Setting(1): [[(0, 2)]], Setting(2): [[(1, 1), (0, 2)]]}
    found = find_agreement(links, reverse)
    assert found[Setting(1)] == (Setting(2), 0.5)
    assert found[Setting(2)][1] == 0


def test_links_of_a_token_of_several_words_are_links_of_all():
    weights = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    pairs = _link_words(weights, [range(2), range(2, 3)], [range(1), range(1, 4)])
    assert pairs == [(0, 0), (1, 0), (2, 1), (2, 2), (2, 3)]
