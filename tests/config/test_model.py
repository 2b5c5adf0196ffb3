import pytest
from pydantic import ValidationError

from mtkit.config.model import PRESETS, ModelSection, build_model_config

# Vaswani et al. 2017, table 3; published normalisation.
PAPER = {
    "base": {"d_model": 512, "d_ff": 2048, "num_heads": 8, "dropout": 0.1, "norm": "post"},
    "big": {"d_model": 1024, "d_ff": 4096, "num_heads": 16, "dropout": 0.3, "norm": "post"},
}


@pytest.mark.parametrize("preset", PAPER)
def test_base_and_big_are_the_papers(preset):
    config = build_model_config(ModelSection(preset=preset), 37000, 37000)
    assert PAPER[preset].items() <= config.model_dump().items()
    assert config.num_encoder_layers == config.num_decoder_layers == 6
    assert config.positions == "sinusoidal"
    assert config.tied_embeddings == "all"


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_the_small_presets_are_pre_norm(preset):
    config = build_model_config(ModelSection(preset=preset), 100, 100)
    assert config.norm == "pre"
    assert (config.d_model, config.num_encoder_layers) == ({"tiny": 128, "small": 256}[preset], 6)


def test_fields_override_the_preset():
    section = ModelSection(preset="tiny", d_ff=64, dropout=0.0, norm="post", num_decoder_layers=2)
    config = build_model_config(section, 100, 100)
    assert (config.d_ff, config.dropout, config.norm, config.num_decoder_layers) == (64, 0.0, "post", 2)
    assert config.d_model == PRESETS["tiny"]["d_model"]


@pytest.mark.parametrize(
    ("fields", "sizes", "message"),
    [
        ({"num_heads": 3}, (100, 100), "must divide"),
        ({"d_model": 5, "num_heads": 1}, (100, 100), "even"),
        ({}, (100, 200), "needs one vocabulary"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields, sizes, message):
    with pytest.raises(ValidationError, match=message):
        build_model_config(ModelSection(**fields), *sizes)


def test_separate_vocabularies_go_with_tied_target_embeddings():
    config = build_model_config(ModelSection(tied_embeddings="target"), 100, 200)
    assert (config.src_vocab_size, config.tgt_vocab_size) == (100, 200)


def test_learned_positions_do_not_need_an_even_width():
    config = build_model_config(ModelSection(d_model=5, num_heads=1, positions="learned"), 100, 100)
    assert config.d_model == 5


def test_the_decoder_starts_with_the_begin_of_sentence_of_the_vocabulary():
    special_ids = {"pad": 3, "unk": 0, "bos": 1, "eos": 2}
    config = build_model_config(ModelSection(), 100, 100, special_ids)
    assert (config.pad_id, config.unk_id, config.bos_id, config.eos_id, config.decoder_start_id) == (3, 0, 1, 2, 1)
