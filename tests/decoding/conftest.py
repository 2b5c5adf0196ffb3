import gc
import itertools

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.lengths import length_penalty
from mtkit.decoding.search import search

PAD, _, BOS, EOS = range(4)


@pytest.fixture(autouse=True)
def one_thread():
    """Compute on one thread: models of a test are so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def without_collector():
    """Let nothing be freed but what nobody holds: what holds itself stays."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def make_model(make_random_model):
    """Return a function that builds a small random model in evaluation mode, for sources of 20 words.

    A sharpness of 2 makes it surer of itself than a fresh model, whose sharpness is 1, and never tied.
    """

    def make(vocab=12, seed=1, sharpness=2, **fields):
        values = {"tgt_vocab_size": vocab, "num_encoder_layers": 1, "max_positions": 40, "dropout": 0.3}
        model = make_random_model(seed, **values | fields)
        with torch.no_grad():
            model.output_proj.weight *= sharpness
        return model

    return make


@pytest.fixture
def make_sources():
    """Return a function that draws sources of 1 to 11 words and EOS."""

    def make(count=9, seed=1):
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(1, 12, (count,), generator=generator).tolist()
        return [[*torch.randint(4, 20, (n,), generator=generator).tolist(), EOS] for n in lengths]

    return make


@pytest.fixture
def pad():
    """Return a function that puts sources into one tensor, as wide as the longest and `extra`."""

    def pad(sources, extra=0):
        width = max(map(len, sources)) + extra
        return torch.tensor([[*source, *[PAD] * (width - len(source))] for source in sources])

    return pad


@pytest.fixture
def run(pad):
    """Return a function that searches with the settings given."""

    def run(model, sources, guidance=None, extra_padding=0, **settings):
        with torch.inference_mode():
            return search(model, pad(sources, extra_padding), DecodingSection(**settings), guidance)

    return run


@pytest.fixture
def rescore():
    """Return a function that gives the log-probabilities of a target's tokens and its EOS.

    They come from the full forward pass, without a cache.
    """

    @torch.inference_mode()
    def rescore(model, source, token_ids):
        target = torch.tensor([[BOS, *token_ids]])
        log_probs = model(torch.tensor([source]), target).double().log_softmax(-1)[0]
        return [float(log_probs[i, token]) for i, token in enumerate([*token_ids, EOS])]

    return rescore


@pytest.fixture
def score_all(rescore):
    """Return a function that gives the scores of all translations made of these words, best first.

    They have up to `max_length_extra` words: `max_length_ratio` is to leave room for EOS alone.
    """

    def score_all(model, source, words, decoding, is_allowed=lambda token_ids: True):
        every = {
            token_ids: sum(rescore(model, source, token_ids)) / length_penalty(length + 1, decoding)
            for length in range(decoding.max_length_extra + 1)
            for token_ids in itertools.product(words, repeat=length)
            if is_allowed(token_ids)
        }
        return dict(sorted(every.items(), key=lambda item: item[1], reverse=True))

    return score_all
