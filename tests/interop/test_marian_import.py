"""What transformers saved gives the same logits and the same translations here."""

import json
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import mtkit
from mtkit.checkpoint.model_folder import load_model, read_parts
from mtkit.config.decoding import DecodingSection
from mtkit.decoding.translator import Translator
from mtkit.errors import ModelError, OutputError, RecipeError
from mtkit.interop.marian_import import import_marian
from mtkit.model.positions import sinusoidal_positions

CPU = torch.device("cpu")
PAD_SOURCE = 2


pytestmark = pytest.mark.usefixtures("one_thread")


def load(folder, output, **options):
    import_marian(folder, output, "a model", **options)
    return load_model(output, CPU)


def compare_logits(theirs, ours, lengths=(9, 5, 1), seed=3):
    """Return the largest difference of any logit, for a padded batch of random tokens."""
    config = ours.config
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths)
    src_ids = torch.full((len(lengths), width), config.pad_id)
    for row, length in enumerate(lengths):
        src_ids[row, : length - 1] = torch.randint(2, config.src_vocab_size - 1, (length - 1,), generator=generator)
        src_ids[row, length - 1] = config.eos_id
    tgt_ids = torch.randint(2, config.tgt_vocab_size - 1, (len(lengths), 12), generator=generator)
    tgt_ids[:, 0] = config.decoder_start_id
    with torch.inference_mode():
        mask = (src_ids != config.pad_id).long()
        there = theirs(input_ids=src_ids, attention_mask=mask, decoder_input_ids=tgt_ids).logits
        here = ours(src_ids, tgt_ids)
    assert there.std() > 0.5
    return float((there - here).abs().max())


def restore_positions(theirs):
    """Compute the tables of positions anew, in full precision: as transformers does where they are not in the file."""
    with torch.no_grad():
        for side in (theirs.model.encoder, theirs.model.decoder):
            side.embed_positions.weight.copy_(side.embed_positions.create_weight())
    return theirs


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"activation_function": "relu", "d_model": 24, "encoder_attention_heads": 3, "decoder_attention_heads": 3},
        {"d_model": 64, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "encoder_layers": 3, "decoder_layers": 1},
        {"share_encoder_decoder_embeddings": False},
        {"tie_word_embeddings": False},
        {"share_encoder_decoder_embeddings": False, "tie_word_embeddings": False},
    ],
    ids=lambda fields: "-".join(f"{name}={value}" for name, value in fields.items()) or "as OPUS-MT",
)
def test_logits_are_those_of_transformers(make_marian, tmp_path, fields):
    theirs, folder = make_marian(**fields)
    loaded = load(folder, tmp_path / "out")
    assert compare_logits(theirs, loaded.model) < 1e-4
    assert (loaded.source_language, loaded.target_language) == ("en", "de")
    expected = {"share_encoder_decoder_embeddings": "target", "tie_word_embeddings": "none"}
    tied = [expected[name] for name, value in fields.items() if value is False]
    assert loaded.model.config.tied_embeddings == (tied[-1] if tied else "all")


def test_a_target_with_a_table_of_its_own(make_marian, load_tokenizer, opus_files, draw, tmp_path):
    table = json.loads((opus_files / "vocab.json").read_text(encoding="utf-8"))
    pad = table["<pad>"]
    inner = [piece for piece in table if piece not in ("</s>", "<unk>", "<pad>")]
    own = (
        {"</s>": 0, "<unk>": 1}
        | {piece: 2 + i for i, piece in enumerate(inner[::-1])}
        | {"<pad>": pad, "extra": pad + 1}
    )
    theirs, folder = make_marian(share_encoder_decoder_embeddings=False, decoder_vocab_size=len(own))
    (folder / "target_vocab.json").write_text(json.dumps(own, ensure_ascii=False))
    config = json.loads((folder / "tokenizer_config.json").read_text()) | {"separate_vocabs": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = load(folder, tmp_path / "out")
    assert loaded.model.config.tgt_vocab_size == loaded.model.config.src_vocab_size + 1
    assert compare_logits(theirs, loaded.model) < 1e-4
    lines = draw("de", 20)
    ids = loaded.target_tokenizer.encode(lines)
    assert ids == load_tokenizer(folder)(text_target=lines, add_special_tokens=False)["input_ids"]
    assert loaded.target_tokenizer.decode_batch(ids) == lines


@pytest.mark.parametrize("beam_size", [1, 4])
def test_generation_is_that_of_transformers(trained_marian, load_tokenizer, draw, tmp_path, beam_size):
    theirs, folder = trained_marian
    import_marian(folder, tmp_path / "out", "a model")
    lines = [*draw("en", 40, seed=5), ">>fra<< the dog."]
    decoding = DecodingSection(
        beam_size=beam_size, length_penalty=1, length_penalty_type="length", max_length_ratio=1e-6, max_length_extra=59
    )
    ours = list(Translator.load(tmp_path / "out", device="cpu", decoding=decoding).iter_translations(lines))
    tokenizer = load_tokenizer(folder)
    found = theirs.generate(
        **tokenizer(lines, return_tensors="pt", padding=True), max_new_tokens=60, num_beams=beam_size,
        early_stopping="never" if beam_size > 1 else False, length_penalty=1.0, return_dict_in_generate=True,
        output_scores=True, do_sample=False,
    )  # fmt: skip
    texts = tokenizer.batch_decode(found.sequences, skip_special_tokens=True)
    # At the maximum length, EOS costs nothing there, and its probability here; and unknown pieces are dropped there.
    lengths = ((found.sequences != theirs.config.pad_token_id).sum(1)).tolist()
    rows = [
        row
        for row, translation in enumerate(ours)
        if max(lengths[row], translation.alternatives[0].num_tokens) < 60 and 1 not in found.sequences[row]
    ]
    assert len(rows) > 30
    assert [ours[row].text for row in rows] == [texts[row] for row in rows]
    assert len(set(texts)) > 20
    if beam_size > 1:
        scores = torch.tensor([ours[row].score for row in rows])
        assert torch.allclose(scores, found.sequences_scores[rows], atol=1e-4)


def test_padding_is_never_produced(make_marian, tmp_path):
    theirs, folder = make_marian()
    weights = load_file(folder / "model.safetensors")
    weights["final_logits_bias"][0, theirs.config.pad_token_id] = 100.0
    save_file(weights, folder / "model.safetensors")
    import_marian(folder, tmp_path / "out", "a model")
    decoding = DecodingSection(beam_size=3, max_length_extra=3)
    [found] = Translator.load(tmp_path / "out", device="cpu", decoding=decoding).iter_translations(["the dog runs."])
    assert "<pad>" not in found.alternatives[0].tokens


def test_a_model_of_half_precision_keeps_its_numbers(make_marian, tmp_path):
    theirs, folder = make_marian()
    theirs.half().save_pretrained(folder)
    loaded = load(folder, tmp_path / "out")
    assert compare_logits(restore_positions(theirs.float()), loaded.model) < 1e-4


def test_a_folder_as_it_was_published(make_marian, tmp_path):
    """OPUS-MT of 2020: one configuration with fields that are gone, EOS for begin of sentence, and a pickle."""
    theirs, folder = make_marian()
    pad_id = theirs.config.pad_token_id
    gone = {"add_bias_logits": False, "add_final_layer_norm": False, "classif_dropout": 0.0, "_num_labels": 3,
            "normalize_before": False, "normalize_embedding": False, "static_position_embeddings": True,
            "num_hidden_layers": 2, "id2label": {"0": "LABEL_0"}, "task_specific_params": None}  # fmt: skip
    change(folder, "config.json", bos_token_id=0, bad_words_ids=[[pad_id]], max_length=512, num_beams=4, **gone)
    (folder / "generation_config.json").unlink()
    (folder / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), folder / "pytorch_model.bin")
    model = load(folder, tmp_path / "out", allow_pickle=True).model
    assert compare_logits(theirs, model) < 1e-4
    config = model.config
    assert (config.bos_id, config.decoder_start_id, config.eos_id) == (pad_id, pad_id, 0)


def test_positions_are_those_of_transformers(marian):
    theirs, _ = marian
    table = theirs.model.encoder.embed_positions.weight
    torch.testing.assert_close(sinusoidal_positions(*table.shape, "split"), table, rtol=0, atol=1e-6)


class TestPickle:
    def save(self, theirs, folder, extra=None):
        """Write the weights as older versions of transformers did, tables of positions included."""
        (folder / "model.safetensors").unlink()
        torch.save({**theirs.state_dict(), **(extra or {})}, folder / "pytorch_model.bin")

    def test_it_is_refused_with_the_reason(self, make_marian, tmp_path):
        theirs, folder = make_marian()
        self.save(theirs, folder)
        with pytest.raises(ModelError, match="a pickle, which can hold code") as caught:
            import_marian(folder, tmp_path / "out", "a model")
        assert "--allow-bin" in caught.value.fix
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("half", [False, True])
    def test_it_is_converted(self, make_marian, tmp_path, half):
        theirs, folder = make_marian()
        self.save(theirs.half() if half else theirs, folder)
        loaded = load(folder, tmp_path / "out", allow_pickle=True)
        assert compare_logits(restore_positions(theirs.float()), loaded.model) < 1e-4
        assert {path.suffix for path in (tmp_path / "out").iterdir()} <= {".json", ".safetensors", ".spm", ".md"}

    def test_safetensors_come_first(self, make_marian, tmp_path):
        theirs, folder = make_marian()
        (folder / "pytorch_model.bin").write_bytes(b"not read")
        assert compare_logits(theirs, load(folder, tmp_path / "out", allow_pickle=True).model) < 1e-4

    def test_code_in_it_does_not_run(self, make_marian, tmp_path):
        _, folder = make_marian()
        mark = tmp_path / "ran"

        class Code:
            def __reduce__(self):
                return Path.touch, (mark,)

        (folder / "model.safetensors").unlink()
        for write in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))):
            write({"model.shared.weight": Code()}, folder / "pytorch_model.bin")
            with pytest.raises(ModelError) as caught:
                import_marian(folder, tmp_path / "out", "a model", allow_pickle=True)
            assert "more than tensors" in caught.value.message
        assert not mark.exists()

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text"])
    def test_damage_is_told(self, make_marian, tmp_path, content):
        _, folder = make_marian()
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(ModelError):
            import_marian(folder, tmp_path / "out", "a model", allow_pickle=True)

    def test_other_contents_are_told(self, make_marian, tmp_path):
        _, folder = make_marian()
        (folder / "model.safetensors").unlink()
        torch.save({"a": 1}, folder / "pytorch_model.bin")
        with pytest.raises(ModelError, match="something else than tensors"):
            import_marian(folder, tmp_path / "out", "a model", allow_pickle=True)

    @pytest.mark.parametrize("shape", [(64, 16), (64, 12), (64,)])
    def test_positions_that_were_learned_are_refused(self, make_marian, tmp_path, shape):
        theirs, folder = make_marian()
        name = "model.encoder.embed_positions.weight"
        self.save(theirs, folder, {name: torch.randn(shape)})
        with pytest.raises(ModelError, match=f"'{name}' is not the sinusoidal table"):
            import_marian(folder, tmp_path / "out", "a model", allow_pickle=True)

    def test_no_other_file_of_mtkit_reads_pickles(self):
        package = Path(mtkit.__file__).parent
        reads = re.compile(r"torch\.load\(|weights_only=|allow_pickle=True")
        found = {path.name for path in package.rglob("*.py") if reads.search(path.read_text(encoding="utf-8"))}
        assert found == {"restricted_weights.py"}


def change(folder, name, **fields):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields), encoding="utf-8")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("activation_function", "gelu"),
        ("scale_embedding", False),
        ("decoder_ffn_dim", 48),
        ("decoder_attention_heads", 4),
        ("normalize_before", True),
        ("normalize_embedding", True),
        ("add_final_layer_norm", True),
        ("static_position_embeddings", False),
        ("forced_eos_token_id", 5),
    ],
)
def test_what_mtkit_lacks_is_refused_by_name(marian, tmp_path, field, value):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    change(folder, "config.json", **{field: value})
    if field == "forced_eos_token_id":
        change(folder, "generation_config.json", **{field: value})
    with pytest.raises(ModelError, match=rf"{field} is {json.dumps(value)}, and mtkit has"):
        import_marian(folder, tmp_path / "out", "a model")


def test_all_that_is_lacking_is_named_at_once(marian, tmp_path):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    change(folder, "config.json", activation_function="gelu", normalize_before=True)
    with pytest.raises(ModelError, match=r"activation_function.*normalize_before"):
        import_marian(folder, tmp_path / "out", "a model")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "source.spm", "target.spm", "vocab.json"])
def test_a_file_that_is_missing_is_named(marian, tmp_path, name):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"no {name} here"):
        import_marian(folder, tmp_path / "out", "a model")


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "model.safetensors", "source.spm", "vocab.json"]
)
@pytest.mark.parametrize("content", [b"", b"[]", b"\x00\xff{"])
def test_a_file_that_is_damaged_is_refused(marian, tmp_path, name, content):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError):
        import_marian(folder, tmp_path / "out", "a model")
    assert not (tmp_path / "out").exists()


def test_another_kind_of_model_is_refused(marian, tmp_path):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    change(folder, "config.json", model_type="bart")
    with pytest.raises(ModelError, match="model_type 'bart'"):
        import_marian(folder, tmp_path / "out", "a model")


def test_weights_of_another_model_are_refused(marian, make_marian, tmp_path):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    weights = load_file(folder / "model.safetensors")
    first = "model.encoder.layers.0.fc1.weight"
    changes = {
        f"lacks '{first}'": {name: tensor for name, tensor in weights.items() if name != first},
        "has 'model.more'": weights | {"model.more": torch.zeros(1)},
        "do not fit": weights | {first: torch.zeros(3, 3)},
        "differ in shape": weights | {"model.encoder.layers.0.self_attn.q_proj.weight": torch.zeros(3, 3)},
        "those of the file differ": weights | {"lm_head.weight": weights["model.shared.weight"] + 1},
    }
    for message, changed in changes.items():
        save_file(changed, folder / "model.safetensors")
        with pytest.raises(ModelError, match=message):
            import_marian(folder, tmp_path / "out", "a model")


def test_a_model_may_have_more_rows_than_the_table_has_ids(marian, tmp_path):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    size = len(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if size in tensor.shape:  # embeddings, and the bias of the logits, `(1, size)`
            side = tensor.shape.index(size)
            tensors[name] = torch.cat([tensor, tensor.narrow(side, size - 1, 1)], side)
    save_file(tensors, folder / "model.safetensors")
    change(folder, "config.json", vocab_size=size + 1, decoder_vocab_size=size + 1)
    import_marian(folder, tmp_path / "out", "a model")
    loaded = load_model(tmp_path / "out", CPU)
    assert (len(loaded.target_tokenizer), loaded.model.config.tgt_vocab_size) == (size, size + 1)


def test_a_table_of_another_model_is_refused(marian, tmp_path):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    change(folder, "vocab.json", more=10_000)
    with pytest.raises(ModelError, match=r"the table of ids of the source goes up to 10,000"):
        import_marian(folder, tmp_path / "out", "a model")
    shutil.copy(marian[1] / "vocab.json", folder)
    change(folder, "vocab.json", **{"</s>": 7, "▁": 0})
    with pytest.raises(ModelError, match="eos of the source have other ids"):
        import_marian(folder, tmp_path / "out", "a model")
    table = json.loads((marian[1] / "vocab.json").read_text(encoding="utf-8"))
    change(folder, "vocab.json", **table | {"<pad>": table["犬"], "犬": table["<pad>"]})
    with pytest.raises(ModelError, match="pad of the source have other ids"):
        import_marian(folder, tmp_path / "out", "a model")


def test_a_table_of_another_target_is_refused(marian, tmp_path):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    (folder / "vocab.json").rename(folder / "target_vocab.json")
    change(folder, "target_vocab.json", **{"</s>": 7, "▁": 0})
    shutil.copy(marian[1] / "vocab.json", folder)
    with pytest.raises(ModelError, match="two tables of ids"):
        import_marian(folder, tmp_path / "out", "a model")
    change(folder, "config.json", share_encoder_decoder_embeddings=False)
    with pytest.raises(ModelError, match="eos of the target have other ids"):
        import_marian(folder, tmp_path / "out", "a model")


def test_the_original_is_never_written_over(marian, tmp_path):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    for output in (folder, shutil.copytree(folder, tmp_path / "other")):
        with pytest.raises(OutputError, match="mtkit did not make"):
            import_marian(folder, output, "a model", overwrite=True)


def test_a_model_of_mtkit_is_told_to_be_one(model_folder, tmp_path):
    for output in (tmp_path / "out", model_folder):
        with pytest.raises(ModelError, match="a model folder of mtkit already"):
            import_marian(model_folder, output, "a model")


def test_a_model_that_lacks_a_tensor_or_is_damaged_is_not_the_same(marian, tmp_path):
    assert import_marian(marian[1], tmp_path / "out", "a model").is_new
    path = tmp_path / "out" / "model.safetensors"
    fewer = dict(list(load_file(path).items())[1:])
    for spoil in (lambda: save_file(fewer, path), lambda: path.write_bytes(b"")):
        spoil()
        with pytest.raises(RecipeError):
            import_marian(marian[1], tmp_path / "out", "a model")
    assert import_marian(marian[1], tmp_path / "out", "a model", overwrite=True).is_new


def test_another_vocabulary_of_the_target_makes_another_model(marian, tmp_path):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    import_marian(folder, tmp_path / "out", "a model")
    shutil.copy(folder / "source.spm", folder / "target.spm")
    with pytest.raises(RecipeError):
        import_marian(folder, tmp_path / "out", "a model")


def test_weights_in_several_files_are_told(marian, tmp_path):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelError, match="several files"):
        import_marian(folder, tmp_path / "out", "a model")


def test_the_card_names_origin_and_licence(marian, tmp_path):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    (folder / "README.md").write_text("---\nlanguage: [en, de]\nlicense: cc-by-4.0\n---\n# Opus\n")
    import_marian(folder, tmp_path / "out", "Helsinki-NLP/opus-mt-en-de")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Imported from Helsinki-NLP/opus-mt-en-de" in card
    assert "Licence: cc-by-4.0." in card


@pytest.mark.parametrize("front", ["license: [a, b", "license: [a, b]", "- license"])
def test_a_card_that_names_no_licence_is_none(marian, tmp_path, front):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    (folder / "README.md").write_text(f"---\n{front}\n---\n# Opus\n")
    change(folder, "tokenizer_config.json", source_lang=["en"])
    assert import_marian(folder, tmp_path / "out", "a model").config.source_language is None
    assert "Licence: see the original." in (tmp_path / "out" / "README.md").read_text()


def test_of_tied_matrices_one_is_enough_and_two_are_equal(make_marian, tmp_path):
    theirs, folder = make_marian(share_encoder_decoder_embeddings=False)
    theirs.final_logits_bias.zero_()
    weights = load_file(folder / "model.safetensors")
    del weights["final_logits_bias"]
    target = weights.pop("model.decoder.embed_tokens.weight", None)
    target = weights.pop("lm_head.weight", None) if target is None else target
    save_file(weights | {"lm_head.weight": target}, folder / "model.safetensors")
    assert compare_logits(theirs, load(folder, tmp_path / "out").model) < 1e-4
    more = {"model.decoder.embed_tokens.weight": target, "lm_head.weight": target + 1}
    save_file(weights | more, folder / "model.safetensors")
    with pytest.raises(ModelError, match="those of the file differ"):
        import_marian(folder, tmp_path / "other", "a model")


def test_what_is_told_of_a_model(marian, tmp_path):
    folder = shutil.copytree(marian[1], tmp_path / "marian")
    change(folder, "generation_config.json", bad_words_ids=[[marian[0].config.pad_token_id], [5], [10**6]])
    imported = import_marian(folder, tmp_path / "out", "a model", source_language="en-GB")
    assert imported.is_new
    assert imported.tags == [">>deu<<", ">>fra<<"]
    assert imported.never == read_parts(tmp_path / "out").target_tokenizer.pieces([5])
    assert imported.config.source_language == "en-GB"
    assert not import_marian(folder, tmp_path / "out", "a model", source_language="en-GB").is_new
