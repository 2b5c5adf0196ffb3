import io
import json
import random

import pytest
import sentencepiece

# What SentencePiece learns from, and what models are tried on.
WORDS = {
    "en": ["the", "a", "dog", "cat", "man", "woman", "runs", "sees", "jumps", "over", "street", "house", "red", "it"],
    "de": ["die", "der", "Hund", "Katze", "Mann", "Frau", "läuft", "sieht", "ab", "in", "Weg", "Haus", "rot", "es"],
}


def draw_lines(language, count, seed=1):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS[language], k=draw.randint(2, 9))) + "." for _ in range(count)]


def learn(lines, size, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=size, minloglevel=2, **options
    )
    return model.getvalue()


@pytest.fixture(scope="session")
def opus_files(tmp_path_factory):
    """A folder with two SentencePiece models over one table of ids, as OPUS-MT has them."""
    folder = tmp_path_factory.mktemp("opus")
    table = {"</s>": 0, "<unk>": 1}
    for side, language in (("source", "en"), ("target", "de")):
        serialized = learn(draw_lines(language, 300), 70, model_type="bpe")
        (folder / f"{side}.spm").write_bytes(serialized)
        processor = sentencepiece.SentencePieceProcessor(model_proto=serialized)
        for piece in processor.id_to_piece(list(range(3, processor.get_piece_size()))):
            table.setdefault(piece, len(table))
    for piece in ("犬", ">>deu<<", ">>fra<<", "<pad>"):
        table[piece] = len(table)
    (folder / "vocab.json").write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def transformers():
    """The package, in which nothing warns of what is not asked for here."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'mtkit[hf]'")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


@pytest.fixture(scope="session")
def load_tokenizer(transformers):
    """Return a function that loads the tokenizer of a folder."""
    import warnings

    def load(folder):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")
            return transformers.MarianTokenizer.from_pretrained(folder)

    return load


@pytest.fixture(scope="session")
def make_marian(transformers, opus_files, tmp_path_factory):
    """Return a function that makes a Marian model of random weights and saves it, as transformers does.

    Its logits differ as those of a trained one do. Fields are those of `MarianConfig`.
    """
    import shutil

    import torch

    def make(seed=1, sharpness=1.5, **fields):
        table = json.loads((opus_files / "vocab.json").read_text(encoding="utf-8"))
        pad = table["<pad>"]
        values = {
            "vocab_size": len(table), "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
            "activation_function": "swish", "scale_embedding": True, "max_position_embeddings": 64, "pad_token_id": pad,
            "decoder_start_token_id": pad, "eos_token_id": 0, "forced_eos_token_id": 0,
        }  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = transformers.MarianMTModel(transformers.MarianConfig(**values | fields)).eval()
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if "embed" in name or "shared" in name or "lm_head" in name:
                        if "positions" not in name:
                            parameter.normal_(std=sharpness * model.config.d_model**-0.5)
                    elif parameter.dim() == 2:
                        torch.nn.init.xavier_uniform_(parameter, gain=1.5)
                    else:
                        parameter.add_(torch.randn_like(parameter), alpha=0.2)
                model.final_logits_bias.normal_(std=0.5)
        model.tie_weights()
        model.generation_config.bad_words_ids = [[pad]]
        folder = tmp_path_factory.mktemp("marian") / "model"
        model.save_pretrained(folder)
        for name in ("source.spm", "target.spm", "vocab.json"):
            shutil.copy(opus_files / name, folder)
        tokenizer = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de"}
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
        return model, folder

    return make


@pytest.fixture(scope="session")
def marian(make_marian):
    """A Marian model and its folder."""
    return make_marian()


@pytest.fixture(scope="session")
def draw():
    """Return a function that draws lines of a language."""
    return draw_lines


@pytest.fixture(scope="session")
def trained_marian(make_marian, load_tokenizer):
    """A Marian model that has learned, for a moment, to translate word by word, and its folder."""
    import torch

    shape = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 64, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    model, folder = make_marian(sharpness=1, dropout=0.0, **shape, **heads)
    tokenizer = load_tokenizer(folder)
    words = dict(zip(WORDS["en"], WORDS["de"], strict=True))
    sources = draw_lines("en", 400, seed=2)
    targets = [" ".join(words[word] for word in line[:-1].split()) + "." for line in sources]
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=300, pct_start=0.2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what is learned in so short a time depends on the order of sums
    for step in range(300):
        rows = slice(step * 16 % 400, step * 16 % 400 + 16)
        batch = tokenizer(sources[rows], text_target=targets[rows], return_tensors="pt", padding=True)
        batch["labels"][batch["labels"] == model.config.pad_token_id] = -100
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    torch.set_num_threads(threads)
    assert loss < 0.7
    model.save_pretrained(folder)
    return model, folder
