import json

import pytest
import torch

from mtkit.checkpoint.initial import initialize_from
from mtkit.checkpoint.model_folder import ModelParts, write_model_folder, write_parts
from mtkit.checkpoint.weights import unique_weights, write_tensors
from mtkit.config.model import ModelConfig
from mtkit.config.model_folder import ModelFolderConfig
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import learn_tokenizer
from mtkit.errors import ModelError
from mtkit.model.transformer import build_model

ANIMALS = ["the dog sees the cat", "a cat hears the old dog", "the old man sees a dog and a cat"] * 5
HOUSES = ["the house is red", "a tree and a chair", "the old house and the red tree today"] * 5
SYMBOL = "<2de>"


def learn(lines, size=45, symbols=(SYMBOL,)):
    section = VocabularySection(size=size, type="bpe", user_defined_symbols=list(symbols))
    return learn_tokenizer(iter(lines), section)


@pytest.fixture(scope="module")
def animals():
    return learn(ANIMALS)


@pytest.fixture(scope="module")
def houses():
    return learn(HOUSES, 50, ("<x>", SYMBOL))


def make_config(source, target, **fields):
    values = {
        "src_vocab_size": len(source), "tgt_vocab_size": len(target), "d_model": 8, "d_ff": 16, "num_heads": 2,
        "num_encoder_layers": 2, "num_decoder_layers": 1, "norm": "pre", "positions": "sinusoidal",
        "max_positions": 32, "dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0,
        "tied_embeddings": "all",
    }  # fmt: skip
    return ModelConfig(**{**values, **fields})


def make_model(config, seed):
    """A model whose every weight is random, biases and norms too."""
    torch.manual_seed(seed)
    model = build_model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


@pytest.fixture
def write_model(tmp_path):
    """Return a function that writes a model folder of random weights, and returns its model and path."""

    def write(source, target, **fields):
        config = make_config(source, target, **fields)
        model = make_model(config, 1)
        parts = ModelParts(ModelFolderConfig(mtkit_version="0", model=config), source, target)
        write_model_folder(tmp_path / "old", parts, unique_weights(model), "")
        return model, tmp_path / "old"

    return write


def initialize(path, source, target, **fields):
    """A new model with initial weights from `path`, the same one without, and what was said of it."""
    config = make_config(source, target, **fields)
    model, fresh = make_model(config, 2), make_model(config, 2)
    state = torch.get_rng_state()
    initial = initialize_from(model, config, source, target, path)
    assert torch.equal(torch.get_rng_state(), state)
    return model, fresh, initial


def ids_by_text(tokenizer):
    return {piece: i for i, piece in enumerate(tokenizer.pieces(range(len(tokenizer))))}


def check_rows(old_matrix, old_tokenizer, new_matrix, fresh_matrix, new_tokenizer):
    """Common pieces have the old rows, the others their fresh ones; returns how many were common."""
    old_ids, common = ids_by_text(old_tokenizer), 0
    for piece, i in ids_by_text(new_tokenizer).items():
        expected = old_matrix[old_ids[piece]] if piece in old_ids else fresh_matrix[i]
        assert torch.equal(new_matrix[i], expected), piece
        common += piece in old_ids
    return common


@pytest.mark.parametrize("tied", ["all", "target", "none"])
def test_with_the_same_vocabulary_all_weights_are_copied(animals, write_model, tied):
    old, path = write_model(animals, animals, tied_embeddings=tied, output_bias=True)
    new, _, initial = initialize(path, animals, learn(ANIMALS), tied_embeddings=tied, output_bias=True, dropout=0.3)
    assert all(torch.equal(weight, unique_weights(old)[name]) for name, weight in unique_weights(new).items())
    assert str(initial.source) == "45 of 45 source pieces carried over"
    assert initial.path == path / "model.safetensors"


def test_with_another_vocabulary_common_pieces_are_carried_over(animals, houses, write_model):
    old, path = write_model(animals, animals)
    new, fresh, initial = initialize(path, houses, houses)
    old_weights = unique_weights(old)
    for name, weight in unique_weights(new).items():
        if name != "source_embedding.weight":
            assert torch.equal(weight, old_weights[name]), name
    common = check_rows(
        old.source_embedding.weight, animals, new.source_embedding.weight, fresh.source_embedding.weight, houses
    )
    assert 10 < common < len(houses) - 5
    assert (initial.source.count, initial.target.count) == (common, common)
    assert str(initial.target) == f"{common} of 50 target pieces carried over"
    assert ids_by_text(animals)[SYMBOL] != ids_by_text(houses)[SYMBOL]  # so it was found by its text


def test_each_side_goes_by_its_own_vocabulary(animals, houses, write_model):
    fields = {"tied_embeddings": "none", "output_bias": True}
    old, path = write_model(animals, houses, **fields)
    target = learn(ANIMALS, 40)
    new, fresh, initial = initialize(path, animals, target, **fields)
    assert torch.equal(new.source_embedding.weight, old.source_embedding.weight)
    assert (initial.source.count, initial.source.size) == (45, 45)
    for name in ("target_embedding.weight", "output_proj.weight", "output_proj.bias"):
        matrices = [model.get_parameter(name) for model in (old, new, fresh)]
        assert initial.target.count == check_rows(matrices[0], houses, *matrices[1:], target) < 40


@pytest.mark.parametrize(("there", "here"), [("all", "target"), ("all", "none"), ("target", "none")])
def test_shared_embeddings_may_become_separate(animals, houses, write_model, there, here):
    old, path = write_model(animals, animals, tied_embeddings=there)
    new, fresh, _ = initialize(path, animals, houses, tied_embeddings=here)
    assert torch.equal(new.source_embedding.weight, old.source_embedding.weight)
    for name in ("target_embedding", "output_proj"):
        matrices = [getattr(model, name).weight for model in (old, new, fresh)]
        check_rows(matrices[0], animals, *matrices[1:], houses)


def test_special_symbols_go_by_their_role(animals, write_model):
    import io

    import sentencepiece

    from mtkit.corpus.tokenizer import Tokenizer

    trained = io.BytesIO()
    ids = {"pad_id": 3, "unk_id": 2, "bos_id": 1, "eos_id": 0}
    names = {"pad_piece": "<s>", "unk_piece": "[UNK]", "bos_piece": "<pad>", "eos_piece": "[EOS]"}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(ANIMALS), model_writer=trained, model_type="bpe", vocab_size=45, minloglevel=2,
        **ids, **names,
    )  # fmt: skip
    other = Tokenizer(trained.getvalue(), "other")
    old, path = write_model(animals, animals)
    new, _, _ = initialize(path, other, other, **ids, decoder_start_id=1)
    assert torch.equal(new.source_embedding.weight[[3, 2, 1, 0]], old.source_embedding.weight[[0, 1, 2, 3]])


def test_the_start_of_the_decoder_is_carried_over_from_whatever_it_was(animals, write_model):
    old, path = write_model(animals, animals, decoder_start_id=0)
    new, _, _ = initialize(path, animals, animals)
    assert torch.equal(new.target_embedding.weight[2], old.target_embedding.weight[0])
    assert torch.equal(new.target_embedding.weight[0], old.target_embedding.weight[0])
    assert torch.equal(new.target_embedding.weight[3:], old.target_embedding.weight[3:])


def test_a_model_of_another_shape_is_refused(animals, write_model):
    _, path = write_model(animals, animals)
    with pytest.raises(ModelError) as refused:
        initialize(path, animals, animals, d_model=12, norm="post", dropout=0.0)
    assert "d_model (8 there, 12 here), norm (pre there, post here)" in refused.value.message
    assert refused.value.fix == "--set model.d_model=8 --set model.norm=pre"
    assert refused.value.at == str(path)
    for fields in (
        {"d_ff": 8}, {"num_heads": 4}, {"num_encoder_layers": 1}, {"num_decoder_layers": 2}, {"activation": "swish"},
        {"position_layout": "split"}, {"positions": "learned"}, {"output_bias": True},
    ):  # fmt: skip
        with pytest.raises(ModelError, match=f"{next(iter(fields))} "):
            initialize(path, animals, animals, **fields)


@pytest.mark.parametrize(("there", "here"), [("none", "target"), ("none", "all"), ("target", "all")])
def test_separate_embeddings_cannot_become_one(animals, write_model, there, here):
    _, path = write_model(animals, animals, tied_embeddings=there)
    with pytest.raises(ModelError, match=rf"tied_embeddings \({there} there, {here} here\)"):
        initialize(path, animals, animals, tied_embeddings=here)


def test_the_table_of_positions_counts_only_where_it_is_learned(animals, write_model):
    _, path = write_model(animals, animals)
    initialize(path, animals, animals, max_positions=64)
    old, path = write_model(animals, animals, positions="learned")
    new, _, _ = initialize(path, animals, animals, positions="learned")
    assert torch.equal(new.target_positions.table, old.target_positions.table)
    with pytest.raises(ModelError, match="max_positions"):
        initialize(path, animals, animals, positions="learned", max_positions=64)


def test_a_checkpoint_will_do(animals, tmp_path):
    config = make_config(animals, animals)
    old = make_model(config, 1)
    run = tmp_path / "run"
    checkpoint = run / "checkpoints" / "step-00000005"
    checkpoint.mkdir(parents=True)
    write_parts(run, ModelParts(ModelFolderConfig(mtkit_version="0", model=config), animals, animals))
    (run / "run.json").write_text("{}")
    (checkpoint / "state.json").write_text(json.dumps({"step": 5, "epoch": 0, "batch_index": 5}))
    write_tensors(unique_weights(old), checkpoint / "model.safetensors")
    new, _, initial = initialize(checkpoint, animals, animals)
    assert torch.equal(new.source_embedding.weight, old.source_embedding.weight)
    assert initial.path == checkpoint / "model.safetensors"


def test_what_is_no_model_is_told(animals, tmp_path):
    with pytest.raises(ModelError, match="no such model folder"):
        initialize(tmp_path / "none", animals, animals)
