"""An ensemble against full forward passes of its models, without a cache."""

from functools import partial
from pathlib import Path

import pytest
import torch

from mtkit.checkpoint.model_folder import LoadedModel
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import learn_tokenizer
from mtkit.decoding.ensemble import Ensemble, build_ensemble
from mtkit.errors import ModelError

PAD, UNK, BOS, EOS = range(4)
MODES = ["log_probs", "probs"]


@pytest.fixture
def models(make_model):
    """Three models of different shapes."""
    return [
        make_model(seed=1),
        make_model(seed=2, d_model=24, num_heads=3, num_decoder_layers=1, norm="post", positions="learned"),
        make_model(seed=3, d_ff=48, num_encoder_layers=2, positions="learned", max_positions=60),
    ]


@pytest.fixture
def run(run):
    """The shared function, for short translations."""
    return partial(run, max_length_extra=5)


@torch.inference_mode()
def combine(models, mode, source, token_ids):
    """The log-probabilities of a target's tokens and its EOS, each averaged over uncached forward passes."""
    target = torch.tensor([[BOS, *token_ids]])
    each = torch.stack([model(torch.tensor([source]), target).double().softmax(-1)[0] for model in models])
    if mode == "probs":
        mean = each.mean(0)
    else:
        mean = each.log().mean(0).exp()
        mean /= mean.sum(-1, keepdim=True)
    return mean.log()[range(len(token_ids) + 1), [*token_ids, EOS]].tolist()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_model_with_itself_is_the_model(make_sources, run, models, mode, beam_size):
    sources = make_sources()
    alone = run(models[1], sources, beam_size=beam_size, n_best=beam_size)
    twice = run(Ensemble([models[1]] * 2, mode), sources, beam_size=beam_size, n_best=beam_size)
    for ours, theirs in zip(twice, alone, strict=True):
        assert [h.token_ids for h in ours] == [h.token_ids for h in theirs]
        assert [h.log_prob for h in ours] == pytest.approx([h.log_prob for h in theirs], abs=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_scores_are_the_means_of_the_models(make_sources, run, models, mode):
    sources = make_sources()
    for source, hypotheses in zip(sources, run(Ensemble(models, mode), sources, n_best=5), strict=True):
        for hypothesis in hypotheses:
            expected = combine(models, mode, source, hypothesis.token_ids)
            assert hypothesis.token_log_probs == pytest.approx(expected, abs=1e-4)
            assert hypothesis.log_prob == pytest.approx(sum(expected), abs=1e-4)


def test_the_modes_differ(make_sources, run, models):
    sources = make_sources()
    one, other = (run(Ensemble(models, mode), sources) for mode in MODES)
    assert [best.token_ids for (best,) in one] != [best.token_ids for (best,) in other]


@pytest.mark.parametrize("mode", MODES)
def test_a_sentence_alone_is_the_sentence_in_a_batch(make_sources, run, models, mode, monkeypatch):
    left = []
    ensemble, sources = Ensemble(models, mode), make_sources(12)
    start = ensemble.start_decoding

    def watch(src_ids, beam):
        state = start(src_ids, beam)
        keep = state.keep_sentences
        state.keep_sentences = lambda sentences: (left.append(len(sentences)), keep(sentences))
        return state

    monkeypatch.setattr(ensemble, "start_decoding", watch)
    together = run(ensemble, sources, n_best=2)
    assert left  # sentences did leave the batch while others went on
    backwards = run(ensemble, sources[::-1], extra_padding=5, n_best=2)[::-1]
    alone = [run(ensemble, [source], n_best=2)[0] for source in sources]
    for other in (backwards, alone):
        for ours, theirs in zip(together, other, strict=True):
            assert [h.token_ids for h in ours] == [h.token_ids for h in theirs]
            assert [h.score for h in ours] == pytest.approx([h.score for h in theirs], abs=1e-4)


def test_the_shortest_limit_holds(models):
    assert Ensemble(models[:1]).max_length is None
    assert Ensemble(models).max_length == 40


def test_the_first_model_aligns(models):
    ensemble, src_ids, tgt_ids = Ensemble(models), torch.tensor([[5, 6, EOS]]), torch.tensor([[BOS, 7]])
    assert ensemble.config is models[0].config
    weights = ensemble.attend_source(tgt_ids, *ensemble.encode(src_ids), layer=1)
    assert torch.equal(weights, models[0].attend_source(tgt_ids, *models[0].encode(src_ids), layer=1))


def test_models_of_different_precision(make_model, make_sources, run):
    models = [make_model(seed=1), make_model(seed=2).double()]
    (best,) = run(Ensemble(models), make_sources(1))[0]
    models[1].float()
    expected = combine(models, "log_probs", make_sources(1)[0], best.token_ids)
    assert best.log_prob == pytest.approx(sum(expected), abs=1e-4)


@pytest.fixture(scope="module")
def tokenizers():
    texts = ["the dog runs over the street", "a cat sees the big red house"], ["der Hund schläft", "die Katze läuft"]
    return [learn_tokenizer(iter(lines * 5), VocabularySection(size=40, type="bpe")) for lines in texts]


@pytest.fixture
def load(make_model):
    """Return a function that gives a model, as if it were loaded."""

    def load(name, tokenizers, **fields):
        source, target = tokenizers
        model = make_model(vocab=40, src_vocab_size=40, **fields)
        return LoadedModel(model, source, target, None, None, Path(name))

    return load


def test_models_are_put_together(load, tokenizers):
    ensemble = build_ensemble([load("one", tokenizers), load("two", tokenizers, d_model=32)], "probs")
    assert len(ensemble.models) == 2
    assert ensemble.mode == "probs"


def test_models_that_do_not_fit_are_refused(load, tokenizers):
    source, target = tokenizers
    good = load("good", tokenizers)
    with pytest.raises(ModelError, match="differ in the target vocabulary\n") as caught:
        build_ensemble([good, load("bad", [source, source])])
    assert caught.value.at == "good and bad"
    with pytest.raises(ModelError, match="differ in the source vocabulary\n"):
        build_ensemble([good, load("bad", [target, target])])
    with pytest.raises(ModelError, match="differ in the special ids\n"):
        build_ensemble([good, load("bad", tokenizers, decoder_start_id=EOS)])
    with pytest.raises(ModelError, match="differ in the source vocabulary and the target vocabulary\n") as caught:
        build_ensemble([good, load("bad", [target, source]), good, load("worse", [source, source])])
    assert "good and worse" in str(caught.value)
