"""What is exported gives the same logits and the same tokens in transformers, and comes back bit for bit."""

import json
import re
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from mtkit.checkpoint.model_folder import ModelParts, load_model, write_model_folder
from mtkit.checkpoint.weights import unique_weights
from mtkit.config.decoding import DecodingSection
from mtkit.config.model_folder import ModelFolderConfig
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import learn_tokenizer
from mtkit.decoding.translator import Translator
from mtkit.errors import ModelError, OutputError, RecipeError
from mtkit.interop.marian_export import export_transformers
from mtkit.interop.marian_import import import_marian
from mtkit.interop.marian_weights import permute_positions

CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def tokenizers(draw):
    """Vocabularies of both sides, of different sizes; the first has a tag."""
    source = VocabularySection(size=100, user_defined_symbols=["<2de>"])
    target = VocabularySection(size=350, byte_fallback=True)
    lines = draw("de", 300)
    return learn_tokenizer(iter([*draw("en", 300), *lines]), source), learn_tokenizer(iter(lines), target)


@pytest.fixture
def make_folder(make_random_model, tokenizers, tmp_path):
    """Return a function that writes a post-norm model of random weights."""

    def make(separate=False, tags=(), **fields):
        source, target = tokenizers if separate else (tokenizers[0], tokenizers[0])
        values = {
            "src_vocab_size": len(source), "tgt_vocab_size": len(target), "d_model": 24, "num_decoder_layers": 1,
            "norm": "post", "dropout": 0.1, "attention_dropout": 0.05,
            "tied_embeddings": "target" if separate else "all",
        }  # fmt: skip
        with torch.random.fork_rng():
            model = make_random_model(noise=0.2, **values | fields)
        folder_config = ModelFolderConfig(
            mtkit_version="0", source_language="en", target_language="no", tags=list(tags), model=model.config
        )
        parts = ModelParts(folder_config, source, target)
        write_model_folder(tmp_path / "model", parts, unique_weights(model), "# A model\n\nBLEU 12.3\n")
        return tmp_path / "model"

    return make


CASES = {
    "interleaved": {},
    "split": {"position_layout": "split"},
    "swish and bias": {"activation": "swish", "output_bias": True},
    "target tied": {"tied_embeddings": "target"},
    "nothing tied": {"tied_embeddings": "none", "output_bias": True},
    "two vocabularies": {"separate": True},
    "two vocabularies, nothing tied": {"separate": True, "tied_embeddings": "none"},
    "always a tag": {"tags": ["<2de>"]},
    "never a tag, or one": {"tags": [None, "<2de>"]},
}
cases = pytest.mark.parametrize("fields", CASES.values(), ids=CASES)


@cases
def test_logits_are_ours(transformers, make_folder, tmp_path, fields):
    folder = make_folder(**fields)
    assert export_transformers(folder, tmp_path / "out")
    ours = load_model(folder, CPU).model
    theirs, report = transformers.MarianMTModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    config = ours.config
    src_ids = torch.randint(4, config.src_vocab_size, (3, 10), generator=torch.Generator().manual_seed(1))
    src_ids[1, 6:] = config.pad_id
    tgt_ids = torch.randint(4, config.tgt_vocab_size, (3, 8), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        mask = (src_ids != config.pad_id).long()
        there = theirs.eval()(input_ids=src_ids, attention_mask=mask, decoder_input_ids=tgt_ids).logits
        here = ours(src_ids, tgt_ids)
    assert here.std() > 0.5
    torch.testing.assert_close(there, here, rtol=0, atol=1e-4)


@cases
def test_it_comes_back_bit_for_bit(make_folder, tmp_path, fields):
    folder = make_folder(**fields)
    export_transformers(folder, tmp_path / "out")
    assert import_marian(tmp_path / "out", tmp_path / "back", "it").is_new
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "README.md"}
    back = {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir() if path.name != "README.md"}
    files["config.json"] = files["config.json"].replace(b'"mtkit_version": "0"', b'"mtkit_version": "0.1.0"')
    assert files == back


@pytest.mark.parametrize("tags", ["<2de>", ["<2fr>"], [1], None])
def test_tags_that_the_vocabulary_lacks_are_left_out(make_folder, tmp_path, tags):
    export_transformers(make_folder(tags=["<2de>"]), tmp_path / "out")
    record = json.loads((tmp_path / "out" / "mtkit.json").read_text())
    (tmp_path / "out" / "mtkit.json").write_text(json.dumps(record | {"tags": tags}))
    assert import_marian(tmp_path / "out", tmp_path / "back", "it").config.tags == []


def test_a_model_of_other_tags_is_another_one(make_folder, tmp_path):
    for name, tags in (("one", ["<2de>"]), ("other", [])):
        export_transformers(make_folder(tags=tags), tmp_path / name)
    import_marian(tmp_path / "one", tmp_path / "back", "it")
    with pytest.raises(RecipeError):
        import_marian(tmp_path / "other", tmp_path / "back", "it")
    assert not import_marian(tmp_path / "one", tmp_path / "back", "it").is_new


@pytest.mark.parametrize("separate", [False, True])
def test_tokens_are_ours(make_folder, load_tokenizer, draw, tmp_path, separate):
    folder = make_folder(separate)
    export_transformers(folder, tmp_path / "out")
    loaded, theirs = load_model(folder, CPU), load_tokenizer(tmp_path / "out")
    sources = [*draw("en", 30), "an unknown 犬", "  spaces   here "]
    assert theirs(sources, add_special_tokens=False)["input_ids"] == loaded.source_tokenizer.encode(sources)
    targets = [*draw("de", 30), "Straße 犬"]
    ids = loaded.target_tokenizer.encode(targets)
    assert theirs(text_target=targets, add_special_tokens=False)["input_ids"] == ids
    known = [row for row in ids if loaded.target_tokenizer.unk_id not in row]
    assert theirs.batch_decode(known, skip_special_tokens=True) == loaded.target_tokenizer.decode_batch(known)
    assert len(known) > 20
    [tagged] = theirs([">><2de><< the dog"], add_special_tokens=False)["input_ids"]
    source = loaded.source_tokenizer
    assert tagged == [source.find_symbol("<2de>"), *source.encode(["the dog"])[0]]
    assert theirs(["the dog"])["input_ids"][0][-1] == source.eos_id


def test_an_imported_model_goes_back_as_it_came(trained_marian, transformers, tmp_path):
    theirs, folder = trained_marian
    import_marian(folder, tmp_path / "ours", "it")
    export_transformers(tmp_path / "ours", tmp_path / "out")
    back = transformers.MarianMTModel.from_pretrained(tmp_path / "out")
    weights, expected = back.state_dict(), theirs.state_dict()
    assert weights.keys() == expected.keys()
    assert all(weights[name].equal(expected[name]) for name in weights)
    for name in ("source.spm", "target.spm", "vocab.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    import_marian(tmp_path / "out", tmp_path / "again", "it")
    for name in ("config.json", "model.safetensors", "source.spm", "target.spm", "vocab.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "ours" / name).read_bytes()


def test_what_transformers_changed_since_is_kept(transformers, make_folder, load_tokenizer, tmp_path):
    folder = make_folder()
    export_transformers(folder, tmp_path / "out")
    theirs = transformers.MarianMTModel.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        theirs.final_logits_bias[0, 7] = 2.0
    theirs.save_pretrained(tmp_path / "out")
    import_marian(tmp_path / "out", tmp_path / "back", "it")
    model = load_model(tmp_path / "back", CPU).model
    assert model.config.output_bias
    assert model.output_proj.bias[7] == 2.0


def test_generation_is_ours(trained_marian, transformers, load_tokenizer, draw, tmp_path):
    """The way from a trained model to the text, through the files of the export alone, its search included."""
    import_marian(trained_marian[1], tmp_path / "ours", "it")
    export_transformers(tmp_path / "ours", tmp_path / "out")
    theirs = transformers.MarianMTModel.from_pretrained(tmp_path / "out").eval()
    tokenizer = load_tokenizer(tmp_path / "out")
    lines = draw("en", 30, seed=9)
    batch = tokenizer(lines, return_tensors="pt", padding=True)
    texts = tokenizer.batch_decode(theirs.generate(**batch), skip_special_tokens=True)
    decoding = DecodingSection(beam_size=5, length_penalty_type="length", length_penalty=1)
    assert Translator.load(tmp_path / "ours", device="cpu", decoding=decoding).translate(lines) == texts
    assert len(set(texts)) > 20


def test_permuting_twice_changes_nothing(make_folder):
    weights = unique_weights(load_model(make_folder(output_bias=True), CPU).model)
    there = permute_positions(weights, "split")
    back = permute_positions(there, "interleaved")
    assert all(back[name].equal(weights[name]) for name in weights)
    assert sum(not there[name].equal(weights[name]) for name in weights) > 30


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"norm": "pre"}, ["norm is pre"]),
        ({"norm": "pre", "positions": "learned"}, ["norm is pre", "positions is learned"]),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make_folder, tmp_path, fields, named):
    with pytest.raises(ModelError, match="MarianMTModel of transformers cannot compute this model") as caught:
        export_transformers(make_folder(**fields), tmp_path / "out")
    assert all(name in caught.value.message for name in named)
    assert not (tmp_path / "out").exists()


def test_the_card_is_fit_for_the_hub(make_folder, tmp_path):
    export_transformers(make_folder(), tmp_path / "out", "---\nx: y\n---\n# A model\n\nBLEU 12.3\n")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])
    assert front == {
        "language": ["en", "no"],  # Norwegian
        "library_name": "transformers",
        "pipeline_tag": "translation",
        "tags": ["translation", "marian", "mtkit"],
    }
    assert "### A model\n\nBLEU 12.3" in card
    assert "x: y" not in card
    assert "`>><2de><< A sentence.`" in card


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_the_example_of_the_card_runs(make_folder, transformers, tmp_path, capsys):
    export_transformers(make_folder(), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(code.replace("THIS_FOLDER", str(tmp_path / "out")), {})
    assert re.fullmatch(r"\['.*'\]\n", capsys.readouterr().out)


def test_weights_of_another_model_are_refused(make_folder, tmp_path):
    folder = make_folder()
    weights = load_file(folder / "model.safetensors")
    name = "encoder_layers.0.feed_forward.inner.bias"
    save_file(weights | {name: weights[name][:-1]}, folder / "model.safetensors")
    with pytest.raises(ModelError):
        export_transformers(folder, tmp_path / "out")


def test_a_vocabulary_that_was_changed_since_is_kept(make_folder, tmp_path):
    export_transformers(make_folder(), tmp_path / "out")
    path = tmp_path / "out" / "vocab.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    first, second = [piece for piece in table if piece.isalpha()][:2]
    changed = table | {first: table[second], second: table[first]}
    path.write_text(json.dumps(changed), encoding="utf-8")
    import_marian(tmp_path / "out", tmp_path / "back", "it")
    assert load_model(tmp_path / "back", CPU).source_tokenizer.pieces([table[first]]) == [second]


@pytest.mark.parametrize("record", ["", "[]", '{"made_from": 3}', '{"made_from": {"model": {}}}'])
def test_a_damaged_record_is_as_good_as_none(make_folder, tmp_path, record):
    export_transformers(make_folder(), tmp_path / "out")
    (tmp_path / "out" / "mtkit.json").write_text(record)
    with pytest.raises(RecipeError):
        export_transformers(tmp_path / "model", tmp_path / "out")
    import_marian(tmp_path / "out", tmp_path / "back", "it")
    assert load_model(tmp_path / "back", CPU).model.config.position_layout == "split"


def test_nothing_foreign_is_written_over(make_folder, tmp_path):
    folder = make_folder()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for output in (tmp_path / "out", tmp_path / "out" / "mine.txt"):
        with pytest.raises(OutputError):
            export_transformers(folder, output, overwrite=True)
    shutil.rmtree(tmp_path / "out")
    assert export_transformers(folder, tmp_path / "out")
    assert not export_transformers(folder, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "mtkit.json").read_text())
    assert record["made_from"]["format"] == "transformers"
    make_folder(activation="swish")
    with pytest.raises(RecipeError):
        export_transformers(folder, tmp_path / "out")
    assert export_transformers(folder, tmp_path / "out", overwrite=True)
