import pytest
import torch


@pytest.fixture
def make_model(make_random_model):
    """Return a function that builds a small float64 model in evaluation mode, with the fields given."""

    def make(**fields):
        values = {
            "src_vocab_size": 23, "tgt_vocab_size": 23, "num_heads": 4, "num_decoder_layers": 3, "max_positions": 32,
            "tied_embeddings": "all",
        }  # fmt: skip
        return make_random_model(5, noise=0.05, **values | fields).double()

    return make


@pytest.fixture
def batch():
    """Sources `(3, 7)` and decoder inputs `(3, 5)`, of different lengths, padded with 0."""
    src_ids = torch.tensor([[5, 6, 7, 8, 9, 10, 3], [11, 12, 3, 0, 0, 0, 0], [13, 14, 15, 16, 3, 0, 0]])
    tgt_ids = torch.tensor([[2, 5, 6, 7, 8], [2, 9, 0, 0, 0], [2, 10, 11, 12, 0]])
    return src_ids, tgt_ids
