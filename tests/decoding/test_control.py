"""What a translator is asked for beside the best translation, on a model of random weights."""

import math
import shutil

import numpy as np
import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding import segments as segments_module
from mtkit.decoding.glossary import Glossary
from mtkit.decoding.hypothesis import Hypothesis
from mtkit.decoding.request import Request
from mtkit.decoding.translation import Kept
from mtkit.decoding.translator import Translator
from mtkit.errors import ModelError, RecipeError

LINES = ["the dog runs", "a cat sees the big man", "the red house and that", "a man", "it was the street"]


@pytest.fixture(scope="module")
def load(model_folder):
    def load(path=model_folder, *, glossary=None, utility=None, align=False, **decoding):
        section = DecodingSection(**{"beam_size": 4, "max_length_extra": 8, **decoding})
        return Translator.load(path, device="cpu", decoding=section, glossary=glossary, utility=utility, align=align)

    return load


def texts(translator, lines=LINES):
    return [[a.text for a in translation.alternatives] for translation in translator.iter_translations(lines)]


def test_a_translation_begins_with_its_prefix(load):
    translator = load(n_best=4)
    for prefix in ("the woman", "street"):
        for translation in translator.iter_translations([Request(line, prefix=prefix) for line in LINES]):
            assert all(a.text.startswith(prefix) for a in translation.alternatives)
    assert not any(text.startswith("the woman") for (text, *_) in texts(translator))


def test_alternatives_differ_behind_the_prefix(load):
    for prefix in (None, "the woman"):
        requests = [Request(line, prefix=prefix) for line in LINES]
        translator = load(beam_size=2, n_best=5, expand_prefix=True)
        for translation in translator.iter_translations(requests):
            length = len(translator.target_tokenizer.encode([prefix])[0]) if prefix else 0
            assert len({a.tokens[length] for a in translation.alternatives}) == 5
            scores = [a.score for a in translation.alternatives]
            assert scores == sorted(scores, reverse=True)
    ((best,),) = ([a.text for a in t.alternatives] for t in load().iter_translations(LINES[:1]))
    assert best in texts(load(n_best=5, expand_prefix=True), LINES[:1])[0]


def test_alternatives_that_meet_what_is_required_come_first(load):
    # There is room for the phrase alone: what begins with another token cannot meet it.
    size = len(load().target_tokenizer.encode(["red street"])[0])
    translator = load(expand_prefix=True, n_best=200, beam_size=2, max_length_ratio=0.01, max_length_extra=size)
    (translation,) = translator.iter_translations([Request("the dog runs", required=["red street"])])
    kept = [alternative.constraints.kept for alternative in translation.alternatives]
    assert kept == sorted(kept, reverse=True)
    assert 0 < sum(kept) < len(kept)
    assert translation.score < translation.alternatives[sum(kept)].score
    assert translation.text == "red street"


def test_only_the_first_part_of_a_long_line_has_alternatives(load):
    (translation,) = load(n_best=3, expand_prefix=True, max_source_tokens=8).iter_translations([" ".join(LINES)])
    assert translation.num_parts > 2
    assert len({a.tokens[0] for a in translation.alternatives}) == 3
    assert len({a.tokens[-3:] for a in translation.alternatives}) == 1


def test_a_prefix_that_fills_the_translation_has_no_alternatives(load):
    request = Request(LINES[0], prefix="the woman")
    length = len(load().target_tokenizer.encode(["the woman"])[0])
    for room, count in ((1, 1), (2, 3)):  # EOS, and a token more
        limits = {"max_length_ratio": 1e-6, "max_length_extra": length + room - 1}  # the ratio gives one more
        (translation,) = load(n_best=3, expand_prefix=True, **limits).iter_translations([request])
        assert len({a.text for a in translation.alternatives}) == len(translation.alternatives) == count


@pytest.mark.parametrize("other", [{"sampling": True}, {"mbr": "chrf"}])
def test_alternatives_of_a_prefix_are_searched(other):
    with pytest.raises(ValueError, match="exclude each other"):
        DecodingSection(expand_prefix=True, **other)


def test_required_and_forbidden_phrases(load):
    requests = [Request(line, required=["house", ["woman", "under the"]], forbidden=["over"]) for line in LINES]
    for translation in load(beam_size=8).iter_translations(requests):
        assert "house" in translation.text
        assert "woman" in translation.text or "under the" in translation.text
        assert (translation.alternatives[0].constraints.kept, translation.alternatives[0].constraints.wanted) == (2, 2)
    first = next(load().iter_translations(LINES)).text.split()[0]
    assert first not in load().translate([Request(LINES[0], forbidden=[first])])[0].split()


@pytest.mark.parametrize("settings", [{}, {"beam_size": 1}, {"n_best": 2}, {"expand_prefix": True}])
def test_what_no_way_leads_to_is_left_out(load, settings):
    translator = load(max_length_extra=20, **settings)
    wishes = [Request(line, required=["house", "man"], forbidden=["man"]) for line in LINES]
    without = [Request(line, required=["house"], forbidden=["man"]) for line in LINES]
    met = [Kept(1, 1), Kept(1, 2)]
    found, expected = (list(translator.iter_translations(lines)) for lines in (wishes, without))
    for translation, other in zip(found, expected, strict=True):
        assert translation.text == other.text
        assert [other.alternatives[0].constraints, translation.alternatives[0].constraints] == met
    assert not all(translation.is_cut for translation in found)


def test_glossary_terms_where_their_source_stands(load):
    glossary = Glossary({"dog": ("woman",), "man": ("house",)})
    translations = list(load(glossary=glossary, beam_size=8).iter_translations(LINES))
    assert [t.alternatives[0].terms.wanted for t in translations] == [1, 1, 0, 1, 0]
    assert [t.alternatives[0].terms.kept for t in translations] == [1, 1, 0, 1, 0]
    assert "woman" in translations[0].text
    assert "house" in translations[1].text
    with pytest.raises(RecipeError, match="glossary"):
        load(glossary=glossary, sampling=True)


def test_samples_do_not_depend_on_their_company(load):
    settings = {"sampling": True, "n_best": 3, "temperature": 2.0}
    expected = texts(load(batch_size=1, **settings))
    assert texts(load(batch_size=64, **settings)) == expected
    assert texts(load(batch_size=2, **settings), LINES[::-1]) == expected[::-1]
    assert texts(load(**settings), LINES[1:2]) == expected[1:2]
    assert texts(load(**settings, seed=2)) != expected


def longest_best(hypotheses, references):
    """A utility by which a longer text is a better translation of anything."""
    return np.array([[float(len(text))] * len(references) for text in hypotheses])


@pytest.mark.parametrize("sampling", [False, True])
def test_minimum_bayes_risk_orders_by_the_utility(load, sampling):
    settings = {"sampling": sampling, "mbr_candidates": 8}
    chosen = texts(load(mbr="chrf", n_best=2, utility=longest_best, **settings))
    candidates = texts(load(sampling=sampling, beam_size=8, n_best=8))
    for (first, second), of_line in zip(chosen, candidates, strict=True):
        lengths = sorted(map(len, set(of_line)), reverse=True)
        assert [len(first), len(second)] == lengths[:2]
    with pytest.raises(RecipeError, match="utility"):
        load(mbr="chrf")


@pytest.fixture
def found(monkeypatch, load):
    """Let the search answer every line with "the cat", the likeliest, and "the dog", whose score is the best."""
    cat, dog = map(tuple, load().target_tokenizer.encode(["the cat", "the dog"]))
    answer = [Hypothesis(cat, -1.0, -0.9, False), Hypothesis(dog, -2.0, -0.1, False)]
    monkeypatch.setattr(segments_module, "search", lambda model, src_ids, *_: [answer[:] for _ in src_ids])


def test_minimum_bayes_risk_weighs_candidates_by_probability_not_score(load, found):
    def is_same(hypotheses, references):
        return np.array([[float(one == other) for other in references] for one in hypotheses])

    assert texts(load(mbr="chrf", n_best=2, utility=is_same), ["x"]) == [["the cat", "the dog"]]


def dog_best(hypotheses, references):
    """A utility by which a dog is a better translation of anything."""
    return np.array([[float("dog" in text)] * len(references) for text in hypotheses])


def test_minimum_bayes_risk_comes_after_what_is_required(load, found):
    translator = load(mbr="chrf", n_best=2, utility=dog_best)
    assert texts(translator, ["x"]) == [["the dog", "the cat"]]
    assert texts(translator, [Request("x", required=["cat"])]) == [["the cat", "the dog"]]


def test_minimum_bayes_risk_aligns_what_it_chose(load, found, monkeypatch):
    aligned = []
    weigh = segments_module.alignment.weigh

    def note(model, src_ids, targets, *others):
        aligned.extend(targets)
        return weigh(model, src_ids, targets, *others)

    monkeypatch.setattr(segments_module.alignment, "weigh", note)
    translator = load(mbr="chrf", n_best=1, align=True, utility=dog_best)
    (text,) = translator.translate(["a man"])
    assert [translator.target_tokenizer.decode(list(ids)) for ids in aligned] == [text] == ["the dog"]


def test_minimum_bayes_risk_keeps_constraints_first(load):
    requests = [Request(line, required=["house"]) for line in LINES]
    translator = load(mbr="chrf", mbr_candidates=8, utility=lambda *both: -longest_best(*both), max_length_extra=3)
    assert all("house" in text for text in translator.translate(requests))


def test_a_tag_is_no_word(load, monkeypatch):
    seen = []

    weigh_really = segments_module.alignment.weigh

    def weigh(model, src_ids, targets, layer, num_tags, step):
        seen.extend(num_tags)
        return weigh_really(model, src_ids, targets, layer, num_tags, step)

    monkeypatch.setattr(segments_module.alignment, "weigh", weigh)
    load(align=True).translate(["a man"])
    load(align=True, tag="<2de>").translate(["a man"])
    assert seen == [0, 1]


def test_suppressed_pieces(load):
    translator = load()
    pieces = {piece for t in translator.iter_translations(LINES) for piece in t.alternatives[0].tokens} - {"</s>"}
    suppressed = tuple(sorted(pieces))[:3]
    found = {p for t in load(suppressed=suppressed).iter_translations(LINES) for p in t.alternatives[0].tokens}
    assert suppressed
    assert not found & set(suppressed)
    for piece, message in (("no such piece", "no such piece"), ("</s>", "end")):
        with pytest.raises(RecipeError, match=message) as caught:
            load(suppressed=(piece,))
        assert caught.value.at == "decoding.suppressed"


def test_tokens_and_their_log_probs(load):
    for translation in load(n_best=2, max_source_tokens=8).iter_translations([*LINES, " ".join(LINES)]):
        for a in translation.alternatives:
            assert len(a.tokens) == len(a.token_log_probs) == a.num_tokens
            assert sum(a.token_log_probs) == pytest.approx(a.log_prob, abs=1e-4)
            assert a.tokens.count("</s>") == translation.num_parts
            spelled = "".join(a.tokens).replace("</s>", "")
            assert "<" in spelled or spelled.replace("▁", " ").strip() == a.text  # <unk> and bytes have other texts


def test_alignment_links_words(load):
    translator = load(align=True, tag="<2de>", max_source_tokens=10)
    lines = [*LINES, " ".join(LINES), ""]
    for line, translation in zip(lines, translator.iter_translations(lines), strict=True):
        best = translation.alternatives[0]
        if not line:
            assert best.alignment is None
            continue
        # Every target word has a link, and all links lie inside.
        assert {target for _, target in best.alignment} == set(range(len(best.text.split())))
        assert all(0 <= source < len(line.split()) for source, _ in best.alignment)
    # Words are what stands between white space of any kind.
    spaced = ["a\u00a0dog\u3000runs", "the\u00a0dog\u00a0sees a cat. " * 4]
    found = [{i for i, _ in t.alternatives[0].alignment} for t in load(align=True).iter_translations(spaced)]
    assert all(0 < max(sources) < len(line.split()) for sources, line in zip(found, spaced, strict=True))
    assert next(load().iter_translations(LINES)).alternatives[0].alignment is None
    with pytest.raises(RecipeError, match="decoder layer 2"):
        load(alignment_layer=2)


def test_unknown_words_are_replaced(load, monkeypatch, capsys):
    with_bytes = load(replace_unknown=True)
    assert "has no effect" in capsys.readouterr().err
    assert texts(with_bytes) == texts(load())
    monkeypatch.setattr(segments_module, "_has_byte_fallback", lambda tokenizer: False)
    translator = load(replace_unknown=True)
    unk_id = translator.target_tokenizer.unk_id
    monkeypatch.setattr(
        segments_module, "search", lambda model, src, *_: [[Hypothesis((unk_id,), -1.0, -1.0, False)] for _ in src]
    )
    for line, text in zip(LINES, translator.translate(LINES), strict=True):
        assert text in line.split()


def test_an_ensemble(load, model_folder, tmp_path):
    assert texts(load([model_folder, model_folder])) == texts(load())
    other = shutil.copytree(model_folder, tmp_path / "other")
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    generator = torch.Generator().manual_seed(3)
    save_file(
        {name: w + 0.3 * torch.randn(w.shape, generator=generator) for name, w in weights.items()},
        other / "model.safetensors",
    )
    both = load([model_folder, other])
    assert texts(both) not in (texts(load()), texts(load(other)))
    assert not both.model.training
    assert not both.model.models[0].training
    with pytest.raises(ModelError):
        load([model_folder, tmp_path / "missing"])


def test_problems_are_raised_or_told(load):
    bad = Request("the dog", tag="<2fr>")
    with pytest.raises(ModelError, match="<2fr>"):
        load().translate(["the dog", bad])
    told = list(load(n_best=2).translate_window(["the dog", bad, "a cat"]))
    assert [t.problem is None for t in told] == [True, False, True]
    assert [a.text for a in told[1].alternatives] == ["", ""]
    assert told[0].text
    assert told[2].text
    assert math.isfinite(told[1].score)
