"""Explanations: the contract of the data, and the steps as the search took them."""

import json
import math

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.alignment import find_words
from mtkit.decoding.translator import Translator
from mtkit.errors import DataError, ModelError, RecipeError
from mtkit.inspection.explanation import _find_spans, explain

SENTENCE = "the big dog sees a cat under the house."


@pytest.fixture(scope="module")
def explanation(loaded):
    return explain(loaded, SENTENCE, DecodingSection(beam_size=3, tag="<2de>"))


def check_rows(weights, queries, keys):
    for heads in weights:
        for rows in heads:
            assert [len(rows), *map(len, rows)] == [queries, *[keys] * queries]
            assert [sum(row) for row in rows] == pytest.approx([1] * queries, abs=1e-3)


def test_the_data_fits_together(explanation):
    data = json.loads(json.dumps(explanation.to_json(), allow_nan=False))
    assert data["log_prob"] == pytest.approx(explanation.log_prob, abs=1e-6)
    assert data["source_tokens"][0] == "<2de>"
    assert (data["source_tokens"][-1], data["target_tokens"][0], data["next_tokens"][-1]) == ("</s>", "<s>", "</s>")
    assert data["target_tokens"][1:] == data["next_tokens"][:-1]
    src_len, tgt_len = len(data["source_tokens"]), len(data["target_tokens"])
    assert (len(data["encoder"]), len(data["encoder"][0])) == (data["num_encoder_layers"], data["num_heads"])
    assert (len(data["cross"]), len(data["cross"][0])) == (data["num_decoder_layers"], data["num_heads"])
    check_rows(data["encoder"], src_len, src_len)
    check_rows(data["decoder"], tgt_len, tgt_len)
    check_rows(data["cross"], tgt_len, src_len)
    for words, length in ((data["source_words"], src_len), (data["target_words"], tgt_len)):
        assert [token for first, last in words for token in range(first, last + 1)] == list(range(length))
    matrix = data["alignment"]["matrix"]
    assert (len(matrix), {len(row) for row in matrix}) == (tgt_len - 1, {src_len - 2})
    assert len(data["source_words"]) == len(SENTENCE.split()) + 2
    assert {target for _, target in data["alignment"]["links"]} == set(range(len(data["translation"].split())))
    assert data["alignment"]["links"] == sorted(data["alignment"]["links"])


def test_the_translation_and_its_links_are_those_of_translate(loaded, explanation):
    decoding = DecodingSection(beam_size=3, tag="<2de>")
    translator = Translator(loaded.model, loaded.source_tokenizer, loaded.target_tokenizer, decoding, align=True)
    (translation,) = translator.iter_translations([SENTENCE])
    best = translation.alternatives[0]
    assert explanation.translation == best.text
    assert explanation.log_prob == pytest.approx(best.log_prob, abs=1e-4)
    assert tuple(explanation.links) == best.alignment
    assert tuple(explanation.next_tokens) == best.tokens


def test_the_steps_are_the_beam_search(explanation):
    """From the candidates alone the search can be run again: what is kept is what lives before the next step."""
    beam, steps = explanation.beam_size, explanation.steps
    assert steps[0]["hypotheses"] == [{"tokens": [], "log_prob": 0}]
    ends = []
    for number, step in enumerate(steps):
        before, candidates = step["hypotheses"], step["candidates"]
        assert 5 <= len(candidates) <= 2 * beam
        totals = [candidate["total"] for candidate in candidates]
        assert totals == sorted(totals, reverse=True)
        for c in candidates:
            assert c["total"] == pytest.approx(before[c["parent"]]["log_prob"] + c["log_prob"], abs=1e-4)
            assert not (c["kept"] and c["finished"])
            assert c["token"] not in ("<pad>", "<s>")
            if c["finished"]:
                ends.append((c["total"], [*before[c["parent"]]["tokens"], c["token"]]))
        if number + 1 < len(steps):
            live = [([*before[c["parent"]]["tokens"], c["token"]], c["total"]) for c in candidates if c["kept"]]
            assert [(h["tokens"], h["log_prob"]) for h in steps[number + 1]["hypotheses"]] == live
            assert len(live) == beam
            assert all(c["kept"] or c["token"] == "</s>" for c in candidates[:beam])
    assert explanation.next_tokens in [tokens for _, tokens in ends]


def test_a_greedy_search_shows_what_it_did_not_take(loaded):
    found = explain(loaded, SENTENCE, DecodingSection(beam_size=1))
    for step, token in zip(found.steps, found.next_tokens, strict=True):
        assert len(step["candidates"]) == 5
        taken = [c["token"] for c in step["candidates"] if c["kept"] or c["finished"]]
        assert taken == [token]


def test_a_given_target(loaded, explanation):
    found = explain(loaded, SENTENCE, DecodingSection(tag="<2de>"), explanation.translation)
    assert (found.is_forced, found.beam_size) == (True, 1)
    if found.next_tokens == explanation.next_tokens:  # the vocabulary has one spelling for the text
        torch.testing.assert_close(found.attention.cross, explanation.attention.cross)
        assert found.log_prob == pytest.approx(explanation.log_prob, abs=1e-4)
    other = explain(loaded, SENTENCE, None, "the red cat jumps")
    assert [next(c["token"] for c in step["candidates"] if c["kept"]) for step in other.steps] == other.next_tokens
    log_probs = [next(c["log_prob"] for c in step["candidates"] if c["kept"]) for step in other.steps]
    assert sum(log_probs) == pytest.approx(other.log_prob, abs=1e-4)
    source = [*loaded.source_tokenizer.encode([SENTENCE])[0], 3]
    target = loaded.target_tokenizer.encode(["the red cat jumps"])[0]
    with torch.inference_mode():
        expected = loaded.model(torch.tensor([source]), torch.tensor([[2, *target]]))[0].log_softmax(-1)
    assert log_probs == pytest.approx([float(expected[i, t]) for i, t in enumerate([*target, 3])], abs=1e-4)
    assert all(5 <= len(step["candidates"]) <= 6 for step in other.steps)
    assert all(math.isclose(c["log_prob"], c["total"], abs_tol=1e-5) for c in other.steps[0]["candidates"])


def test_views(explanation):
    tokens, queries, keys = explanation.view("encoder", 1, 2, by_word=False)
    assert queries == keys == explanation.source_tokens
    assert torch.equal(tokens, explanation.attention.encoder[0, 1])
    joined, queries, keys = explanation.view("encoder", 1, 2)
    assert queries == keys == ["<2de>", *SENTENCE.split(), "</s>"]
    first, last = explanation.source_words[-2]
    expected = tokens[first : last + 1, first : last + 1].sum(1).mean()
    torch.testing.assert_close(joined[-2, -2], expected)
    for kind in ("encoder", "decoder", "cross"):
        weights, queries, keys = explanation.view(kind)
        assert weights.shape == (len(queries), len(keys))
        torch.testing.assert_close(weights.sum(1), torch.ones(len(queries)))
    # Attention to the source is called by what is produced, masked self-attention by what is given.
    words = explanation.translation.split()
    assert explanation.view("cross")[1] == [*words, "</s>"]
    assert explanation.view("decoder")[1] == ["<s>", *words]
    with pytest.raises(RecipeError, match="no head 3: the model has 2"):
        explanation.view("cross", 1, 3)


def test_what_cannot_be_explained(loaded):
    for sentence, target in (("  ", None), ("a dog", " ")):
        with pytest.raises(DataError, match="empty"):
            explain(loaded, sentence, None, target)
    with pytest.raises(DataError, match="too long"):
        explain(loaded, SENTENCE, DecodingSection(max_source_tokens=8))
    with pytest.raises(RecipeError, match="beam search"):
        explain(loaded, SENTENCE, DecodingSection(sampling=True))
    with pytest.raises(RecipeError, match="no decoder layer 2"):
        explain(loaded, SENTENCE, DecodingSection(alignment_layer=2))
    with pytest.raises(ModelError, match="<2fr>"):
        explain(loaded, SENTENCE, DecodingSection(tag="<2fr>"))


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["▁", "東京", "", "", "タワー", "。"], ["東京", "タワー", "。"]),
        (["▁the", "▁東京", "T", "ow", "er", ".", "は"], ["the", "東京", "Tower.", "は"]),
        (["ก", "ำ", "ลั", "ง"], ["ก", "ำ", "ลั", "ง"]),
        (["ล", "ั", "ง"], ["ลั", "ง"]),
        (["▁so", "me", "▁", "words"], ["some", "words"]),
    ],
)
def test_tokens_of_scripts_without_spaces_stay_apart(texts, words):
    spans = _find_spans(find_words(texts), texts, 0)
    assert ["".join(texts[first : last + 1]).strip("▁") for first, last in spans] == words


def test_a_sentence_without_spaces_has_a_row_for_each_character(loaded):
    found = explain(loaded, "the 犬 が走る。", DecodingSection(tag="<2de>"), target="犬が走ります。")
    assert found.view("cross")[1] == [*"犬が走ります。", "</s>"]
    assert found.view("encoder")[1] == ["<2de>", "the", *"犬が走る。", "</s>"]
    assert {target for _, target in found.links} == {0}  # which count what stands between spaces, as everywhere
