import itertools

import pytest
import torch

from mtkit.model import packed
from mtkit.model.linear import Linear, has_onednn, packs_fp32
from mtkit.model.packed import CastLinear, Int8Linear, PackedLinear, prepare_for_inference
from mtkit.runtime.device import has_int8

CPU = torch.device("cpu")
needs_onednn = pytest.mark.skipif(not has_onednn(), reason="this processor's products are not oneDNN's")
needs_packing = pytest.mark.skipif(not packs_fp32(), reason="oneDNN does not pack weights for this processor")
needs_int8 = pytest.mark.skipif(not has_int8(CPU), reason="this processor has no AVX512-VNNI")

# Each kind of layer, and how far it may be from the product in float64, relative to the largest output.
LAYERS = {
    "packed-fp32": (lambda linear: PackedLinear(linear, torch.float32), 1e-6),
    "packed-bf16": (lambda linear: PackedLinear(linear, torch.bfloat16), 1e-2),
    "int8": (Int8Linear, 2e-2),
    "cast-fp32": (lambda linear: CastLinear(linear, torch.float32), 1e-6),
    "cast-bf16": (lambda linear: CastLinear(linear, torch.bfloat16), 1e-2),
}
MARKS = {"packed-fp32": needs_packing, "packed-bf16": needs_onednn, "int8": needs_int8}
each_layer = pytest.mark.parametrize("kind", [pytest.param(kind, marks=MARKS.get(kind, ())) for kind in LAYERS])

# How far logits may be from those of the plain model in float64, relative to the deviation of the logits.
TOLERANCES = {"fp32": 1e-5, "bf16": 0.05, "int8": 0.1}
each_precision = pytest.mark.parametrize("precision", ["fp32", "bf16", pytest.param("int8", marks=needs_int8)])

SRC_IDS = torch.tensor([[5, 6, 7, 8, 9, 10, 3], [11, 12, 3, 0, 0, 0, 0], [13, 14, 15, 16, 3, 0, 0]])
TGT_IDS = torch.tensor([[2, 5, 6, 7, 8, 3], [2, 9, 4, 4, 5, 20], [2, 10, 11, 12, 22, 30]])


def make_linear(bias=True, in_features=48, out_features=80):
    torch.manual_seed(3)
    linear = Linear(in_features, out_features, bias=bias).requires_grad_(False)
    for parameter in linear.parameters():
        torch.nn.init.normal_(parameter, std=in_features**-0.5)
    return linear


def make_inputs(*shape):
    """Return rows of very different sizes."""
    torch.manual_seed(4)
    return torch.randn(*shape, 48) * torch.logspace(-2, 1, shape[-1]).unsqueeze(-1)


def reference(linear, x):
    weight = linear.weight.double()
    return torch.nn.functional.linear(x.double(), weight, None if linear.bias is None else linear.bias.double())


@pytest.fixture
def make_model(make_random_model):
    """Return a function that builds a model in which no weight is trivially one or zero."""

    def make(dtype=torch.float32, **changes):
        values = {
            "src_vocab_size": 83, "tgt_vocab_size": 83, "d_model": 64, "d_ff": 96, "num_heads": 4, "max_positions": 32,
            "dropout": 0.1, "tied_embeddings": "all",
        }  # fmt: skip
        return make_random_model(5, noise=0.05, **values | changes).to(dtype)

    return make


def step_through(model, beam=1):
    """Return the logits of each step, `(3, beam, 6, vocab)`, where all hypotheses of a sentence are its target."""
    state = model.start_decoding(SRC_IDS, beam)
    steps = [model.decode_step(newest.repeat_interleave(beam), state).float() for newest in TGT_IDS.T]
    return torch.stack(steps, 1).view(len(SRC_IDS), beam, TGT_IDS.size(1), -1)


@each_layer
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1,), (9,), (3, 5)])
def test_a_layer_multiplies_as_a_plain_one(kind, bias, shape):
    build, tolerance = LAYERS[kind]
    linear, x = make_linear(bias), make_inputs(*shape)
    expected = reference(linear, x)
    y = build(linear)(x)
    assert y.dtype == (torch.bfloat16 if "bf16" in kind else torch.float32)
    largest = expected.abs().amax(-1, keepdim=True)  # each row by its own measure: small ones are not lost
    assert ((y.double() - expected).abs() <= tolerance * largest).all()


@each_layer
@pytest.mark.parametrize("bias", [True, False])
def test_relu_and_add_are_what_they_fuse(kind, bias):
    build, tolerance = LAYERS[kind]
    linear, x = make_linear(bias), make_inputs(7)
    layer = build(linear)
    plain = layer(x)
    assert (plain < 0).any()
    assert torch.equal(layer.relu(x), plain.relu())
    residual = torch.randn(7, 80).to(plain.dtype)
    before = residual.clone()
    added = layer.add(x, residual)
    assert torch.equal(residual, before)
    assert added.dtype == plain.dtype
    expected = reference(linear, x) + residual.double()
    largest = expected.abs().amax(-1, keepdim=True)
    assert ((added.double() - expected).abs() <= tolerance * largest).all()


@needs_int8
@pytest.mark.parametrize("count", [2, 5, 16, 33, 64, 128])
def test_an_int8_row_is_the_same_in_any_company(count):
    layer, x = Int8Linear(make_linear()), make_inputs(count)
    together = layer(x)
    others = x.clone()
    others[1:] *= 100
    assert torch.equal(layer(others)[0], together[0])
    for row in range(count):
        assert torch.equal(layer(x[row : row + 1])[0], together[row])


@needs_int8
def test_int8_takes_a_row_of_zeros_and_an_output_without_weights():
    linear = make_linear()
    linear.weight[3] = 0
    y = Int8Linear(linear)(torch.zeros(2, 48))
    assert torch.equal(y, linear.bias.expand(2, -1))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("length", [1, 8, 15, 16, 17, 40])
def test_a_prepared_encoder_encodes_as_the_layers_do(make_model, norm, length):
    model = make_model(norm=norm, max_positions=64)
    prepare_for_inference(model, "fp32")
    src_ids = torch.randint(4, 83, (4, length))
    src_ids[1, length // 2 + 1 :] = src_ids[2, 1:] = 0
    with torch.inference_mode():
        for sources in (src_ids, src_ids[:1]):  # with padding and without
            memory, mask = model.encode(sources)
            expected, _ = model.encode(sources, record=lambda *_: None)
            is_real = mask[:, 0, 0]
            assert torch.allclose(memory[is_real], expected[is_real], atol=1e-5)


@needs_onednn
def test_a_packed_row_hardly_depends_on_its_company():
    layer, x = PackedLinear(make_linear(), torch.float32), make_inputs(64)
    together = layer(x)
    for row in range(64):
        alone = layer(x[row : row + 1])[0]
        assert (alone - together[row]).abs().max() <= 1e-6 * together[row].abs().max()


SHAPES = [
    {"norm": norm, "tied_embeddings": tied, "output_bias": bias}
    for norm, tied, bias in itertools.product(["pre", "post"], ["all", "none"], [False, True])
] + [{"activation": "swish"}, {"positions": "learned", "tied_embeddings": "target"}]


@each_precision
@pytest.mark.parametrize("onednn", [pytest.param(True, marks=needs_onednn), False], ids=["onednn", "plain"])
@pytest.mark.parametrize("changes", SHAPES, ids=lambda changes: "-".join(map(str, changes.values())))
def test_a_prepared_model_has_the_logits_of_the_plain_one(make_model, monkeypatch, changes, onednn, precision):
    for name in ("has_onednn", "packs_fp32"):
        monkeypatch.setattr(packed, name, lambda: onednn)
    model = make_model(**changes)
    with torch.inference_mode():
        expected = make_model(torch.float64, **changes)(SRC_IDS, TGT_IDS)
        plain_steps = step_through(model)
        prepare_for_inference(model, precision)
        logits, steps = model(SRC_IDS, TGT_IDS), step_through(model)
    assert model.is_prepared
    scale = expected.std()
    assert scale > 0.1
    for found in (logits, steps[:, 0]):
        assert (found.double() - expected).abs().max() <= TOLERANCES[precision] * scale
    assert (plain_steps[:, 0].double() - expected).abs().max() <= TOLERANCES["fp32"] * scale
    if precision != "fp32":  # it is another arithmetic indeed
        assert (logits.double() - expected).abs().max() > TOLERANCES["fp32"] * scale


@each_precision
@pytest.mark.parametrize("beam", [1, 4, 9])
def test_cached_logits_are_the_uncached_ones(make_model, precision, beam):
    """Attention of the cached steps is in fp32 in every precision, that of a whole target in the model's."""
    model = make_model()
    with torch.inference_mode():
        prepare_for_inference(model, precision)
        expected, steps = model(SRC_IDS, TGT_IDS).float().unsqueeze(1), step_through(model, beam)
    assert (steps - expected).abs().max() <= TOLERANCES[precision] * expected.std()


@pytest.fixture
def rules():
    """Forget what the rules say of the processor, before and behind a test that changes it."""
    rules = has_onednn, packs_fp32
    for rule in rules:
        rule.cache_clear()
    yield
    for rule in rules:
        rule.cache_clear()


@pytest.mark.parametrize(
    ("capability", "fp32", "bf16"),
    [
        pytest.param("AVX512", PackedLinear, PackedLinear, marks=needs_onednn),
        pytest.param("AVX2", PackedLinear, CastLinear, marks=needs_packing),
        ("DEFAULT", Linear, CastLinear),
    ],
)
def test_the_layout_follows_the_processor_and_the_precision(make_model, monkeypatch, rules, capability, fp32, bf16):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    kinds = {}
    for precision in ("fp32", "bf16", *(["int8"] if has_int8(CPU) else [])):
        model = make_model()
        prepare_for_inference(model, precision)
        (kinds[precision],) = {
            type(module) for name, module in model.named_modules() if name.endswith(("_proj", "inner", "outer"))
        }
    assert (kinds["fp32"], kinds["bf16"]) == (fp32, bf16)
    assert kinds.get("int8", Int8Linear) is Int8Linear


@each_precision
def test_embeddings_that_are_tied_stay_as_they_are(make_model, precision):
    model = make_model(tied_embeddings="all")
    before = model.target_embedding.weight.clone()
    prepare_for_inference(model, precision)
    assert model.source_embedding is model.target_embedding
    assert torch.equal(model.target_embedding.weight, before)


@needs_int8
def test_each_channel_of_int8_weights_has_a_scale_of_its_own():
    linear = make_linear(bias=False)
    linear.weight.mul_(torch.logspace(-3, 0, 80).unsqueeze(1))
    x = make_inputs(64)
    wanted = reference(linear, x)
    errors = (Int8Linear(linear)(x).double() - wanted).norm(dim=0)
    assert (errors <= 0.05 * wanted.norm(dim=0)).all()
