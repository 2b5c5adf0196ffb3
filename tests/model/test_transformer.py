import math

import pytest
import torch
from torch import nn

from mtkit.model.dropout import Dropout
from mtkit.model.positions import sinusoidal_positions
from mtkit.model.transformer import build_model


def copy_attention(ours, theirs, is_cross):
    with torch.no_grad():
        if is_cross:
            theirs.in_proj_weight.copy_(torch.cat([ours.q_proj.weight, ours.kv_proj.weight]))
            theirs.in_proj_bias.copy_(torch.cat([ours.q_proj.bias, ours.kv_proj.bias]))
        else:
            theirs.in_proj_weight.copy_(ours.qkv_proj.weight)
            theirs.in_proj_bias.copy_(ours.qkv_proj.bias)
    theirs.out_proj.load_state_dict(ours.out_proj.state_dict())


def copy_layer(ours, theirs, is_decoder):
    copy_attention(ours.self_attention, theirs.self_attn, is_cross=False)
    residuals = [ours.self_attention_residual]
    if is_decoder:
        copy_attention(ours.cross_attention, theirs.multihead_attn, is_cross=True)
        residuals.append(ours.cross_attention_residual)
    residuals.append(ours.feed_forward_residual)
    for index, residual in enumerate(residuals, 1):
        getattr(theirs, f"norm{index}").load_state_dict(residual.norm.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.inner.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.outer.state_dict())


def torch_states(model, src_ids, tgt_ids):
    """The decoder states of torch's own layers with the same weights."""
    config = model.config
    options = {"dropout": 0.0, "batch_first": True, "norm_first": config.norm == "pre", "dtype": torch.float64}
    shape = (config.d_model, config.num_heads, config.d_ff)
    if config.norm == "pre":
        theirs = nn.Transformer(
            config.d_model,
            config.num_heads,
            config.num_encoder_layers,
            config.num_decoder_layers,
            config.d_ff,
            **options,
        )
        encoder, decoder = theirs.encoder, theirs.decoder
        encoder.norm.load_state_dict(model.encoder_norm.state_dict())
        decoder.norm.load_state_dict(model.decoder_norm.state_dict())
    else:
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(*shape, **options), config.num_encoder_layers)
        decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(*shape, **options), config.num_decoder_layers)
    encoder.enable_nested_tensor = False
    for ours, layer in zip(model.encoder_layers, encoder.layers, strict=True):
        copy_layer(ours, layer, is_decoder=False)
    for ours, layer in zip(model.decoder_layers, decoder.layers, strict=True):
        copy_layer(ours, layer, is_decoder=True)
    encoder.eval()
    decoder.eval()

    def embed(ids, table):
        positions = sinusoidal_positions(ids.size(1), config.d_model).double()
        return table.weight[ids] * math.sqrt(config.d_model) + positions

    padding = src_ids == config.pad_id
    causal = torch.ones(tgt_ids.size(1), tgt_ids.size(1), dtype=torch.bool).triu(1)
    memory = encoder(embed(src_ids, model.source_embedding), src_key_padding_mask=padding)
    target = embed(tgt_ids, model.target_embedding)
    return decoder(target, memory, tgt_mask=causal, memory_key_padding_mask=padding)


@pytest.mark.filterwarnings("ignore:(enable_nested_tensor is True|The PyTorch API of nested tensors)")
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_equals_torchs_own_transformer(make_model, batch, norm):
    model = make_model(norm=norm)
    src_ids, tgt_ids = batch
    with torch.no_grad():
        ours = model.decode(tgt_ids, *model.encode(src_ids))
        theirs = torch_states(model, src_ids, tgt_ids)
    real = tgt_ids != 0
    assert (ours - theirs)[real].abs().max() < 1e-10


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_cached_logits_equal_uncached(make_model, batch, norm, positions):
    model = make_model(norm=norm, positions=positions, tied_embeddings="none", output_bias=True)
    src_ids, tgt_ids = batch
    with torch.no_grad():
        full = model(src_ids, tgt_ids)
        state = model.start_decoding(src_ids)
        for position in range(tgt_ids.size(1)):
            step = model.decode_step(tgt_ids[:, position], state)
            assert (step - full[:, position]).abs().max() < 1e-10


@pytest.mark.parametrize("beam", [4, 9])  # hypotheses share their caches, or each has its own
def test_cached_logits_equal_uncached_with_a_beam_and_reordering(make_model, batch, beam):
    model = make_model()
    src_ids, _ = batch
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        state = model.start_decoding(src_ids, beam)
        history = torch.empty(len(src_ids) * beam, 0, dtype=torch.int64)
        sentences = torch.arange(len(src_ids))
        for step in range(40):  # beyond the first capacity of the cache
            tokens = torch.randint(4, 23, (len(history),), generator=generator)
            if step == 0:
                tokens.fill_(2)  # the start id
            history = torch.cat([history, tokens.unsqueeze(1)], dim=1)
            cached = model.decode_step(tokens, state)
            sources = src_ids[sentences].repeat_interleave(beam, dim=0)
            assert (cached - model(sources, history)[:, -1]).abs().max() < 1e-10
            parents = torch.randint(0, beam, (len(sentences), beam), generator=generator)
            rows = (torch.arange(len(sentences)).unsqueeze(1) * beam + parents).flatten()
            state.reorder(rows)
            history = history[rows]
            if step == 20:  # the middle sentence leaves the batch
                kept = torch.tensor([0, 2])
                state.keep_sentences(kept)
                sentences = sentences[kept]
                history = history.unflatten(0, (3, beam))[kept].flatten(0, 1)
        if state.is_shared:  # hypotheses have common ancestors, so that most slots were dropped
            assert state.cache.num_slots < 0.75 * 40 * beam


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_sentence_alone_equals_itself_in_a_padded_batch(make_model, batch, norm):
    model = make_model(norm=norm)
    src_ids, tgt_ids = batch
    with torch.no_grad():
        together = model(src_ids, tgt_ids)
        for row in range(len(src_ids)):
            src_len, tgt_len = int((src_ids[row] != 0).sum()), int((tgt_ids[row] != 0).sum())
            alone = model(src_ids[row : row + 1, :src_len], tgt_ids[row : row + 1, :tgt_len])
            assert (together[row, :tgt_len] - alone[0]).abs().max() < 1e-10


def test_the_decoder_does_not_see_what_is_to_come(make_model, batch):
    model = make_model()
    src_ids, tgt_ids = batch
    changed = tgt_ids.clone()
    changed[:, 3:] = 7
    with torch.no_grad():
        before, after = model(src_ids, tgt_ids), model(src_ids, changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


@pytest.mark.parametrize(("tied", "matrices"), [("all", 1), ("target", 2), ("none", 3)])
def test_tied_embeddings_are_one_matrix(make_model, tied, matrices):
    model = make_model(tied_embeddings=tied)
    ours = {model.source_embedding.weight.data_ptr(), model.target_embedding.weight.data_ptr()}
    assert len(ours | {model.output_proj.weight.data_ptr()}) == matrices
    names = [name for name, _ in model.named_parameters() if "embedding" in name or "output_proj" in name]
    assert len(names) == matrices


def test_encoder_and_decoder_may_have_any_depth(make_model, batch):
    model = make_model(num_encoder_layers=4, num_decoder_layers=1)
    assert (len(model.encoder_layers), len(model.decoder_layers)) == (4, 1)
    assert model(*batch).shape == (3, 5, 23)


def test_weights_are_drawn_by_xaviers_rule(make_model):
    model = make_model(d_model=64, d_ff=256)
    model.initialize()
    layer = model.encoder_layers[0]
    bound = math.sqrt(6 / (64 + 64))
    for part in layer.self_attention.qkv_proj.weight.split(64):
        assert 0.9 * bound < part.abs().max() <= bound
    assert 0.9 * math.sqrt(6 / (64 + 256)) < layer.feed_forward.inner.weight.abs().max() <= math.sqrt(6 / (64 + 256))
    assert layer.feed_forward.inner.bias.abs().max() == 0
    assert model.source_embedding.weight.std().item() == pytest.approx(64**-0.5, rel=0.1)


def test_a_model_that_is_to_be_overwritten_draws_nothing(make_model):
    config = make_model().config
    before = torch.get_rng_state()
    build_model(config, is_drawn=False)
    assert torch.equal(torch.get_rng_state(), before)
    build_model(config)
    assert not torch.equal(torch.get_rng_state(), before)


def test_swish_and_split_positions_change_the_result(make_model, batch):
    plain, swish, split = make_model(), make_model(activation="swish"), make_model(position_layout="split")
    with torch.no_grad():
        assert not torch.allclose(plain(*batch), swish(*batch))
        assert not torch.allclose(plain(*batch), split(*batch))


REGULARIZED = {"dropout": 0.2, "attention_dropout": 0.1, "activation_dropout": 0.1}


def loss_and_gradients(model, batch, *, recompute, dtype=None):
    model.recompute_layers = recompute
    model.zero_grad()
    torch.manual_seed(7)
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        loss = model(*batch).float().logsumexp(-1).sum()
    after = torch.get_rng_state()
    loss.backward()
    return loss, {name: p.grad.clone() for name, p in model.named_parameters()}, after


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_recomputing_layers_changes_no_bit_of_the_gradient(make_model, batch, norm, dtype):
    model = make_model(norm=norm, **REGULARIZED).float().train()
    kept, kept_gradients, kept_state = loss_and_gradients(model, batch, recompute=False, dtype=dtype)
    loss, gradients, state = loss_and_gradients(model, batch, recompute=True, dtype=dtype)
    assert torch.equal(loss, kept)
    assert torch.equal(state, kept_state)
    for name, gradient in gradients.items():
        assert torch.equal(gradient, kept_gradients[name]), name


def kept_bytes(model, batch):
    """Bytes that autograd holds of one forward pass, weights left out and shared memory counted once."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage  # held, so that no other takes its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(*batch)
    return sum(storage.nbytes() for address, storage in storages.items() if address not in weights)


def test_recomputing_layers_keeps_less(make_model):
    model = make_model(num_encoder_layers=6, num_decoder_layers=6, **REGULARIZED).float().train()
    batch = torch.randint(4, 23, (8, 20)), torch.randint(4, 23, (8, 20))
    all_kept = kept_bytes(model, batch)
    model.recompute_layers = True
    assert kept_bytes(model, batch) < all_kept / 3


def test_layers_are_recomputed_in_training_alone(make_model, batch):
    model = make_model().train()
    model.recompute_layers = True
    calls = []
    model.encoder_layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    model(*batch).sum().backward()
    assert len(calls) == 2
    with torch.no_grad():
        model(*batch)
    model.eval()(*batch).sum().backward()
    assert len(calls) == 4


def test_each_dropout_has_its_own_field(make_model):
    model = make_model(dropout=0.1, attention_dropout=0.2, activation_dropout=0.3)
    wanted = {"attention.dropout": 0.2, "feed_forward.dropout": 0.3}  # all others are of residuals and embeddings
    found = {name: module.p for name, module in model.named_modules() if isinstance(module, Dropout)}
    assert len(found) == 1 + 2 * 4 + 3 * 6  # of the embeddings, and of the layers of encoder and decoder
    for name, p in found.items():
        assert p == next((own for end, own in wanted.items() if name.endswith(end)), 0.1), name


def test_embeddings_are_dropped_too(make_model, batch):
    model = make_model(dropout=0.5).train()
    given = []
    for layers in (model.encoder_layers, model.decoder_layers):
        layers[0].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    model(*batch)
    assert [(x == 0).double().mean().item() for x in given] == pytest.approx([0.5, 0.5], abs=0.1)
