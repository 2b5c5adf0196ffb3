"""An exported model translates as mtkit does: the same tokens, the same scores."""

import gzip
import itertools
import re
from typing import get_args

import pytest
import sentencepiece
import torch

from mtkit.checkpoint.model_folder import ModelParts, write_model_folder
from mtkit.checkpoint.weights import unique_weights
from mtkit.cli.export import Quantization
from mtkit.config.decoding import DecodingSection
from mtkit.config.model import ModelConfig, ModelSection, build_model_config
from mtkit.config.model_folder import ModelFolderConfig
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import learn_tokenizer
from mtkit.decoding.search import search
from mtkit.decoding.translator import Translator
from mtkit.interop.ctranslate2 import export_model, write_ctranslate2
from mtkit.model.transformer import build_model

ctranslate2 = pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: pip install 'mtkit[ct2]'")

PAD, UNK, BOS, EOS = range(4)
SENTENCES = [
    "the red dog sees a small cat",
    "a woman jumps over the big street",
    "that quick man runs under a house and sees the dog",
    "it was a big red cat",
]


pytestmark = pytest.mark.usefixtures("one_thread")


def learn(lines, size, **options):
    return learn_tokenizer(iter(lines), VocabularySection(size=size, **options))


@pytest.fixture(scope="session")
def tokenizers():
    """Two small vocabularies of different sizes; the first has a tag."""
    return learn(SENTENCES, 50, user_defined_symbols=["<2de>"]), learn([s[::-1] for s in SENTENCES], 45)


def make_model(src_vocab, tgt_vocab=None, seed=1, **changes):
    """Return a random model in which no two weights are alike, sure of itself, and inclined to end its sentences.

    As in a trained model, padding and begin of sentence are next to impossible, so that the probabilities of the others
    are the same with and without them: the sum of the last norm's output is large and nearly constant, so a shift of a
    whole row of the output weights shifts its logit. The signs of that norm keep tokens from predicting themselves.
    """
    torch.manual_seed(seed)
    values = {
        "src_vocab_size": src_vocab,
        "tgt_vocab_size": tgt_vocab or src_vocab,
        "d_model": 16,
        "d_ff": 32,
        "num_heads": 2,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "norm": "pre",
        "positions": "sinusoidal",
        "max_positions": 80,
        "dropout": 0.3,
        "attention_dropout": 0,
        "activation_dropout": 0,
        "tied_embeddings": "all",
    }
    model = build_model(ModelConfig(**values | changes)).eval()
    config = model.config
    last = model.decoder_norm if config.norm == "pre" else model.decoder_layers[-1].feed_forward_residual.norm
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
            elif "cross_attention" in name:  # else the source counts for little
                parameter.mul_(4)
            elif "layers" in name:
                parameter.mul_(1.5)
        weight = model.output_proj.weight
        weight.sub_(weight.mean(1, keepdim=True))
        last.weight[::2].neg_()
        last.bias.add_((40 - last.bias.sum()) / config.d_model)
        weight[EOS] += 0.08  # some 40 times as much is added to its logit
        weight[[PAD, BOS]] -= 2
    return model


def make_sources(vocab, count=25, seed=2):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 12, (count,), generator=generator).tolist()
    return [torch.randint(4, vocab, (n,), generator=generator).tolist() for n in lengths]


def pad(rows):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD)


def train(model, pairs, steps, learning_rate, batch=32):
    """Train for a moment, so that padding and begin of sentence become next to impossible besides."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for step in range(steps):
        chosen = [pairs[(step * batch + i) % len(pairs)] for i in range(batch)]
        logits = model(pad([[*source, EOS] for source, _ in chosen]), pad([[BOS, *target] for _, target in chosen]))
        labels = pad([[*target, EOS] for _, target in chosen])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=PAD)
        loss = loss + logits[..., [PAD, BOS]].clamp(min=-20).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


MAX_LENGTH = 30
# Scores of one translation in both engines: sums of some twenty log-probabilities in fp32.
SCORE_TOLERANCE = 2e-4
TIE = 1e-5


def search_here(model, sources, beam_size, max_length=MAX_LENGTH):
    """Return the best hypothesis of each source, which is without EOS."""
    decoding = DecodingSection(
        beam_size=beam_size, length_penalty=0, max_length_ratio=1e-6, max_length_extra=max_length - 1
    )
    with torch.inference_mode():
        return [hypotheses[0] for hypotheses in search(model, pad([[*source, EOS] for source in sources]), decoding)]


def search_there(translator, sources, beam_size, max_length=MAX_LENGTH, **options):
    return translator.translate_batch(
        sources,
        beam_size=beam_size,
        length_penalty=0,
        max_decoding_length=max_length,
        min_decoding_length=0,
        return_scores=True,
        **options,
    )


def load(folder, **options):
    return ctranslate2.Translator(str(folder), device="cpu", inter_threads=1, intra_threads=1, **options)


def compare(model, tokenizers, folder, sources, beam_size):
    """Compare what both engines find, and return the translations that came to their end."""
    source_tokenizer, target_tokenizer = tokenizers
    ours = search_here(model, sources, beam_size)
    theirs = search_there(load(folder), [source_tokenizer.pieces(source) for source in sources], beam_size)
    scores = score_without_specials(model, sources, [here.token_ids for here in ours])
    found = []
    for here, there, log_probs in zip(ours, theirs, scores, strict=True):
        pieces = target_tokenizer.pieces(here.token_ids)
        if not here.is_cut:
            assert there.hypotheses[0] == pieces
            assert there.scores[0] == pytest.approx(sum(log_probs), abs=SCORE_TOLERANCE)
            assert there.scores[0] == pytest.approx(here.log_prob, abs=1e-2)
            found.append(here.token_ids)
        elif beam_size == 1:  # CTranslate2 has another token where mtkit makes room for EOS
            assert there.hypotheses[0][:-1] == pieces
    return found


def compare_log_probs(model, tokenizers, folder):
    """Compare the log-probability of each token of translations that no search would find."""
    source_tokenizer, target_tokenizer = tokenizers
    sources = make_sources(len(source_tokenizer), seed=3)
    targets = make_sources(len(target_tokenizer), seed=4)
    scored = load(folder).score_batch(
        [source_tokenizer.pieces(ids) for ids in sources], [target_tokenizer.pieces(ids) for ids in targets]
    )
    for wanted, result in zip(score_without_specials(model, sources, targets), scored, strict=True):
        assert result.log_probs == pytest.approx(wanted, abs=SCORE_TOLERANCE)


@torch.inference_mode()
def score_without_specials(model, sources, targets):
    """Return the log-probability of each target token and EOS, were there no padding and no begin of sentence."""
    logits = model(pad([[*ids, EOS] for ids in sources]), pad([[BOS, *ids] for ids in targets]))
    logits[..., [PAD, BOS]] = -torch.inf
    log_probs = logits.log_softmax(-1)
    return [[float(log_probs[row, i, t]) for i, t in enumerate([*ids, EOS])] for row, ids in enumerate(targets)]


def make_diverse_model(src_vocab, tgt_vocab, sources, **changes):
    """Return a random model whose translations of some sources are not all alike."""

    def is_diverse(hypotheses):
        return len({found.token_ids for found in hypotheses}) >= 3 and not all(found.is_cut for found in hypotheses)

    for seed in range(1, 121):
        model = make_model(src_vocab, tgt_vocab, seed, **changes)
        if all(is_diverse(search_here(model, sources, beam_size)) for beam_size in (1, 4)):
            return model
    pytest.fail("no random model has translations that differ from sentence to sentence")


POSITIONS = {
    "interleaved": {"positions": "sinusoidal", "position_layout": "interleaved"},
    "split": {"positions": "sinusoidal", "position_layout": "split"},
    "learned": {"positions": "learned"},
}


@pytest.mark.parametrize(("activation", "output_bias"), [("relu", False), ("swish", True)])
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("tied", ["all", "target", "none"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_translations_and_scores_are_those_of_mtkit(
    tokenizers, tmp_path, norm, tied, positions, activation, output_bias
):
    source, target = tokenizers
    target = source if tied == "all" else target
    changes = {"norm": norm, "tied_embeddings": tied, "activation": activation, "output_bias": output_bias}
    sources = make_sources(len(source))
    model = make_diverse_model(len(source), len(target), sources, **POSITIONS[positions], **changes)
    write_ctranslate2(model, source, target, tmp_path)
    compare_log_probs(model, (source, target), tmp_path)
    for beam_size in (1, 4):
        assert compare(model, (source, target), tmp_path, sources, beam_size)


@pytest.mark.parametrize("preset", ["tiny", "small", "base", "big"])
def test_every_preset(tokenizers, tmp_path, preset):
    source, _ = tokenizers
    section = ModelSection(preset=preset, num_encoder_layers=1, num_decoder_layers=2)
    shape = build_model_config(section, len(source), len(source)).model_dump()
    model = make_model(len(source), **{name: shape[name] for name in ("d_model", "d_ff", "num_heads", "norm")})
    write_ctranslate2(model, source, source, tmp_path)
    compare_log_probs(model, (source, source), tmp_path)
    compare(model, (source, source), tmp_path, make_sources(len(source), 8), beam_size=1)


def test_the_model_is_left_as_it_is(tokenizers, tmp_path):
    source, _ = tokenizers
    model = make_model(len(source), output_bias=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    write_ctranslate2(model, source, source, tmp_path, "int8")
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("kind", get_args(Quantization))
def test_every_quantization_loads_and_says_much_the_same(tokenizers, tmp_path, kind):
    source, _ = tokenizers
    model = make_model(len(source), d_model=64, d_ff=128)
    (tmp_path / "plain").mkdir()
    (tmp_path / "small").mkdir()
    write_ctranslate2(model, source, source, tmp_path / "plain")
    write_ctranslate2(model, source, source, tmp_path / "small", kind)
    sizes = [(tmp_path / name / "model.bin").stat().st_size for name in ("plain", "small")]
    assert sizes[1] == sizes[0] if kind == "float32" else sizes[1] < 0.75 * sizes[0]
    pieces = [source.pieces(ids) for ids in make_sources(len(source))]
    plain, small = (search_there(load(tmp_path / name), pieces, 4) for name in ("plain", "small"))
    alike = [a.hypotheses[0] == b.hypotheses[0] for a, b in zip(plain, small, strict=True)]
    assert sum(alike) >= 0.5 * len(alike)
    scores = [(a.scores[0], b.scores[0]) for a, b, is_alike in zip(plain, small, alike, strict=True) if is_alike]
    # Processors without VNNI add products of 8 bits in 16, which saturate: more than 1 was seen there.
    assert all(a == pytest.approx(b, abs=2) for a, b in scores)


def test_the_quantizations_are_ctranslate2s():
    assert set(get_args(Quantization)) == set(ctranslate2.specs.model_spec.ACCEPTED_MODEL_TYPES)


@pytest.mark.parametrize("kind", [None, "int8", "float16"])
@pytest.mark.parametrize("output_bias", [True, False])
def test_padding_and_begin_of_sentence_are_never_produced(tokenizers, tmp_path, output_bias, kind):
    source, _ = tokenizers
    model = make_model(len(source), output_bias=output_bias)
    with torch.no_grad():
        model.output_proj.weight[[PAD, BOS]] += 2.2  # now they are the most likely tokens by far
    write_ctranslate2(model, source, source, tmp_path, kind)
    pieces = [source.pieces(ids) for ids in make_sources(len(source))]
    options = {"sampling_topk": 0, "sampling_temperature": 3}
    for beam_size, more in ((1, {}), (4, {}), (1, options)):
        results = search_there(load(tmp_path), pieces, beam_size, **more)
        produced = {token for result in results for token in result.hypotheses[0]}
        assert not produced & {"<pad>", "<s>"}
    assert len(produced) > 5


def write_model(folder, tokenizers, **changes):
    source, target = tokenizers
    tagged = [[source.find_symbol("<2de>"), *ids] for ids in source.encode(SENTENCES)]
    model = make_diverse_model(len(source), len(target), [*source.encode(SENTENCES), *tagged], **changes)
    parts = ModelParts(
        ModelFolderConfig(mtkit_version="0", source_language="en", target_language="de", model=model.config),
        source,
        target,
    )
    write_model_folder(folder, parts, unique_weights(model), "# A model\n")
    return folder


@pytest.mark.parametrize("tied", ["all", "none"])
def test_the_example_of_the_card_runs(tokenizers, tmp_path, capsys, tied):
    source, target = tokenizers
    used = (source, source if tied == "all" else target)
    plain = write_model(tmp_path / "plain", used, tied_embeddings=tied)
    assert export_model(plain, tmp_path / "export")
    card = (tmp_path / "export" / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = code.replace("THIS_FOLDER", str(tmp_path / "export")).replace('["A sentence."]', repr(SENTENCES))
    options = f"length_penalty=0, min_decoding_length=0, max_decoding_length={MAX_LENGTH}"
    code = code.replace("beam_size=5", f"beam_size=1, {options}")
    exec(code, {})
    decoding = DecodingSection(beam_size=1, max_length_ratio=1e-6, max_length_extra=MAX_LENGTH)
    translation = Translator.load(plain, device="cpu", decoding=decoding).translate(SENTENCES)
    assert capsys.readouterr().out == f"{translation}\n"


def test_a_tag_is_a_token_before_the_source(tokenizers, tmp_path):
    source, _ = tokenizers
    plain = write_model(tmp_path / "plain", (source, source))
    export_model(plain, tmp_path / "export")
    processor = sentencepiece.SentencePieceProcessor(str(tmp_path / "export" / "shared.spm"))
    results = search_there(
        load(tmp_path / "export"),
        [[*head, *processor.encode(line, out_type=str)] for head in ([], ["<2de>"]) for line in SENTENCES],
        1,
    )
    theirs = [processor.decode(result.hypotheses[0]) for result in results]
    ours = []
    for tag in (None, "<2de>"):
        decoding = DecodingSection(beam_size=1, max_length_ratio=1e-6, max_length_extra=MAX_LENGTH, tag=tag)
        ours += Translator.load(plain, device="cpu", decoding=decoding).translate(SENTENCES)
    assert theirs == ours
    assert ours[: len(SENTENCES)] != ours[len(SENTENCES) :]


def test_unknown_words_are_replaced_by_the_attention_of_the_middle_layer(tokenizers, tmp_path):
    source, _ = tokenizers
    model = make_model(len(source), num_decoder_layers=3)
    write_ctranslate2(model, source, source, tmp_path)
    ids = make_sources(len(source), 1)[0]
    (result,) = load(tmp_path).translate_batch(
        [source.pieces(ids)], beam_size=1, min_decoding_length=2, max_decoding_length=8, return_attention=True
    )
    tokens = [BOS, *map(source.pieces(range(len(source))).index, result.hypotheses[0])]
    with torch.inference_mode():
        memory, mask = model.encode(torch.tensor([[*ids, EOS]]))
        weights = model.attend_source(torch.tensor([tokens]), memory, mask, layer=1)[0].mean(0)
    attention = torch.tensor(result.attention[0])
    assert len(attention) >= 2
    torch.testing.assert_close(attention, weights[: len(attention), : len(ids)], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def rescore(model, source, token_ids):
    """The log-probability of a target and its EOS, through the full forward pass without a cache."""
    log_probs = model(torch.tensor([[*source, EOS]]), torch.tensor([[BOS, *token_ids]])).double().log_softmax(-1)[0]
    return sum(float(log_probs[i, token]) for i, token in enumerate([*token_ids, EOS]))


def test_a_thousand_real_sentences(shared_corpora, tmp_path):
    """The same tokens on every line, save for at most two ties."""
    folder = shared_corpora / "multi30k"

    def read(name, count):
        with gzip.open(folder / name, "rt", encoding="utf-8") as stream:
            return [line.strip() for line in itertools.islice(stream, count)]

    texts = read("train.en.gz", 4000), read("train.de.gz", 4000)
    tokenizer = learn([line for text in texts for line in text], 1000)
    pairs = list(zip(*(tokenizer.encode(text) for text in texts), strict=True))
    shape = {"d_model": 64, "d_ff": 128, "num_encoder_layers": 1, "num_decoder_layers": 2}
    section = ModelSection(preset="tiny", dropout=0.0, **shape)
    torch.manual_seed(1)
    model = build_model(build_model_config(section, len(tokenizer), len(tokenizer))).eval()
    train(model, [pair for pair in pairs if len(pair[1]) <= 22], steps=200, learning_rate=4e-3)
    write_ctranslate2(model, tokenizer, tokenizer, tmp_path)
    sources = tokenizer.encode(read("test_2016_flickr.en.gz", 1000))
    assert len(sources) == 1000
    translator = load(tmp_path)
    piece_ids = {piece: i for i, piece in enumerate(tokenizer.pieces(range(len(tokenizer))))}
    for beam_size in (1, 4):
        ours = [
            found
            for start in range(0, len(sources), 100)
            for found in search_here(model, sources[start : start + 100], beam_size, 60)
        ]
        pieces = [tokenizer.pieces(ids) for ids in sources]
        theirs = search_there(translator, pieces, beam_size, 60, max_batch_size=100)
        ends = [i for i, here in enumerate(ours) if not here.is_cut]
        assert len(ends) >= 800
        assert len({ours[i].token_ids for i in ends}) >= 200
        ties = []
        for i in ends:
            there = tuple(piece_ids[piece] for piece in theirs[i].hypotheses[0])
            if there != ours[i].token_ids:
                ties.append(rescore(model, sources[i], there) - rescore(model, sources[i], ours[i].token_ids))
            assert theirs[i].scores[0] == pytest.approx(ours[i].log_prob, abs=1e-3)
        assert all(abs(difference) <= TIE for difference in ties), ties
        assert len(ties) <= 2
