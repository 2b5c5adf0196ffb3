"""`mtkit import`, and what other commands do with what it made.

That a model is the same here as in transformers is tested in `tests/interop`; here it is one that mtkit wrote in the
form of transformers, without the record that would tell.
"""

import io
import json
import random
import shutil
from fnmatch import fnmatch

import huggingface_hub
import pytest
import sentencepiece
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from mtkit.checkpoint.model_folder import ModelParts, load_model, read_parts, write_model_folder
from mtkit.checkpoint.weights import unique_weights
from mtkit.config.decoding import DecodingSection
from mtkit.config.model import ModelConfig
from mtkit.config.model_folder import ModelFolderConfig
from mtkit.corpus.tokenizer import load_tokenizers
from mtkit.decoding.planning import Planner
from mtkit.decoding.request import Request
from mtkit.interop.marian_export import export_transformers
from mtkit.model.transformer import build_model

ENGLISH = ["the", "dog", "cat", "man", "sees", "runs", "here"]
GERMAN = ["der", "Hund", "Katze", "Mann", "sieht", "läuft", "hier"]
SHAPE = ["model.d_model=16", "model.d_ff=32", "model.num_heads=2", "model.num_encoder_layers=1",
         "model.num_decoder_layers=1", "model.norm=post", "model.position_layout=split", "model.activation=swish",
         "model.output_bias=true"]  # fmt: skip


class ProxyError(Exception):
    """Stands for errors of the library that huggingface_hub asks through, which are no OSErrors."""


def draw(words, count):
    generator = random.Random(1)
    return [" ".join(generator.choices(words, k=generator.randint(2, 6))) + "." for _ in range(count)]


@pytest.fixture(scope="session")
def marian_folder(tmp_path_factory):
    """A model of the Marian family: two SentencePiece models, one table, a tag; random weights that like to end."""
    folder = tmp_path_factory.mktemp("marian")
    table = {"</s>": 0, "<unk>": 1}
    for side, words in (("source", ENGLISH), ("target", GERMAN)):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(draw(words, 100)), model_writer=model, vocab_size=40, model_type="bpe", minloglevel=2
        )
        (folder / f"{side}.spm").write_bytes(model.getvalue())
        processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        for piece in processor.id_to_piece(list(range(3, processor.get_piece_size()))):
            table.setdefault(piece, len(table))
    table |= {">>deu<<": len(table), "<pad>": len(table) + 1}
    (folder / "vocab.json").write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")
    pad_id = table["<pad>"]
    config = ModelConfig(
        src_vocab_size=len(table), tgt_vocab_size=len(table), pad_id=pad_id, unk_id=1, bos_id=pad_id, eos_id=0,
        decoder_start_id=pad_id, d_model=16, d_ff=32, num_heads=2, num_encoder_layers=1, num_decoder_layers=1,
        norm="post", positions="sinusoidal", position_layout="split", max_positions=99, activation="swish", dropout=0.1,
        attention_dropout=0, activation_dropout=0, tied_embeddings="all", output_bias=True,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = build_model(config)
    with torch.no_grad():
        model.output_proj.bias[0] = 2.0
    parts = ModelParts(
        ModelFolderConfig(mtkit_version="0", source_language="en", target_language="de", model=config),
        *load_tokenizers(folder),
    )
    write_model_folder(folder / "model", parts, unique_weights(model), "# A model\n")
    export_transformers(folder / "model", folder / "marian")
    (folder / "marian" / "mtkit.json").unlink()
    return folder / "marian"


@pytest.fixture
def model(run, marian_folder, tmp_path):
    """The imported model."""
    assert run("import", marian_folder, "-o", tmp_path / "model").code == 0
    return tmp_path / "model"


def test_help_has_an_example_and_few_flags(run):
    result = run("import", "--help")
    assert "Example: mtkit import Helsinki-NLP/opus-mt-en-de" in " ".join(result.out.split())
    assert sum(line.count(" --") for line in result.out.splitlines() if line.startswith("│")) <= 9


def test_what_is_told(run, marian_folder, tmp_path):
    result = run("import", marian_folder, "-o", tmp_path / "out")
    assert (result.code, result.out) == (0, "")
    assert f"{marian_folder} imported to {tmp_path / 'out'}: en-de, 1+1 layers, 16 wide" in result.err
    assert "--tag '>>deu<<'" in result.err
    files = {"README.md", "config.json", "model.safetensors", "source.spm", "target.spm", "vocab.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == files
    again = run("import", marian_folder, "-o", tmp_path / "out")
    assert again.code == 0
    assert "up to date" in again.err


def test_pieces_that_the_model_forbids_are_told(run, marian_folder, tmp_path):
    folder = shutil.copytree(marian_folder, tmp_path / "marian")
    config = json.loads((folder / "generation_config.json").read_text())
    assert "decoding.suppressed" not in run("import", folder, "-o", tmp_path / "out").err
    config["bad_words_ids"].append([5])
    (folder / "generation_config.json").write_text(json.dumps(config))
    assert "decoding.suppressed" in run("import", folder, "-o", tmp_path / "out").err


def test_another_model_is_replaced_only_if_a_person_says_so(run, marian_folder, model, tmp_path):
    other = shutil.copytree(marian_folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 64}))
    result = run("import", other, "-o", model)
    assert (result.code, result.fixes) == (2, ["add --overwrite to replace it, or choose another folder with -o"])
    assert run("import", other, "-o", model, "--overwrite").code == 0
    assert read_parts(model).config.model.max_positions == 64


def test_a_pickle_needs_a_word(run, marian_folder, tmp_path):
    from safetensors.torch import load_file

    folder = shutil.copytree(marian_folder, tmp_path / "marian")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    refused = run("import", folder, "-o", tmp_path / "out")
    assert refused.code == 4
    assert "a pickle, which can hold code that runs" in refused.err
    assert "--allow-bin" in refused.fixes[0]
    assert run("import", folder, "-o", tmp_path / "out", "--allow-bin").code == 0
    assert run("import", marian_folder, "-o", tmp_path / "same").code == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("out", "same")]
    assert weights[0] == weights[1]


def test_languages_can_be_named(run, marian_folder, tmp_path):
    arguments = ["--source-language", "en-GB", "--target-language", "de-AT"]
    assert run("import", marian_folder, "-o", tmp_path / "out", *arguments).code == 0
    assert run("info", tmp_path / "out").out.count("en-GB-de-AT") == 1


def test_a_language_that_is_named_later_is_not_forgotten(run, marian_folder, model):
    result = run("import", marian_folder, "-o", model, "--target-language", "de-AT")
    assert (result.code, result.fixes) == (2, ["add --overwrite to replace it, or choose another folder with -o"])
    assert run("import", marian_folder, "-o", model, "--target-language", "de-AT", "--overwrite").code == 0
    assert read_parts(model).config.target_language == "de-AT"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-folder"], "no such folder"),
        (["{folder}/config.json"], "this is a file, not a folder"),
        (["{empty}"], "no config.json here"),
        (["{folder}", "--revision", "main"], "a folder here has no revisions"),
        (["{folder}", "--target-language", "de de"], "'de de' is no language code"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(run, marian_folder, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    given = [argument.format(folder=marian_folder, empty=tmp_path / "empty") for argument in arguments]
    result = run("import", *given, "-o", tmp_path / "out")
    assert result.code in (2, 4)
    assert f"error: {message}" in result.err
    assert len(result.fixes) == 1


class TestHub:
    @pytest.fixture
    def asked(self, monkeypatch, marian_folder, tmp_path):
        """Put a folder in the place of the hub, and note what is asked of it."""
        asked = []
        copy = shutil.copytree(marian_folder, tmp_path / "hub")

        def download(name, revision=None, allow_patterns=()):
            asked.append((name, revision, set(allow_patterns)))
            cache = tmp_path / "cache"
            cache.mkdir(exist_ok=True)
            for file in copy.iterdir():
                if any(fnmatch(file.name, pattern) for pattern in allow_patterns):
                    shutil.copy(file, cache)
            return str(cache)

        def list_files(_, name, revision=None):
            return [file.name for file in copy.iterdir()]

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", list_files)
        return asked

    def test_a_model_is_fetched(self, run, asked, tmp_path):
        name = "Helsinki-NLP/opus-mt-en-de"
        result = run("import", name, "-o", tmp_path / "out", "--revision", "main")
        assert result.code == 0
        assert f"{name} imported to" in result.err
        assert f"Imported from {name} by" in (tmp_path / "out" / "README.md").read_text()
        [(asked_name, revision, files)] = asked
        assert (asked_name, revision) == (name, "main")
        assert "model.safetensors" in files
        assert "pytorch_model.bin" not in files

    def test_a_pickle_is_not_even_fetched_without_a_word(self, run, asked, tmp_path):
        (tmp_path / "hub" / "model.safetensors").rename(tmp_path / "hub" / "pytorch_model.bin")
        result = run("import", "a/b", "-o", tmp_path / "out")
        assert result.code == 4
        assert "--allow-bin" in result.fixes[0]
        assert not (tmp_path / "cache" / "pytorch_model.bin").exists()

    def test_a_pickle_is_fetched_with_one_from_the_same_revision(self, run, asked, marian_folder, tmp_path):
        from safetensors.torch import load_file

        (tmp_path / "hub" / "model.safetensors").unlink()
        torch.save(load_file(marian_folder / "model.safetensors"), tmp_path / "hub" / "pytorch_model.bin")
        assert run("import", "a/b", "-o", tmp_path / "out", "--allow-bin", "--revision", "v1").code == 0
        assert {revision for _, revision, _ in asked} == {"v1"}

    @pytest.mark.parametrize(
        ("there", "message"),
        [
            (None, "no model.safetensors here"),
            ("tf_model.h5", "no model.safetensors here"),
            ("model.safetensors.index.json", "the weights lie in several files"),
        ],
    )
    @pytest.mark.parametrize("flags", [[], ["--allow-bin"]])
    def test_a_pickle_is_spoken_of_only_where_there_is_one(self, run, asked, tmp_path, there, message, flags):
        (tmp_path / "hub" / "model.safetensors").unlink()
        if there:
            (tmp_path / "hub" / there).write_text("{}")
        result = run("import", "a/b", "-o", tmp_path / "out", *flags)
        assert result.code == 4
        assert f"error: {message}" in result.err
        assert "pytorch_model.bin" not in result.err

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (RepositoryNotFoundError, "neither a folder here nor a model of the hub"),
            (RevisionNotFoundError, "no revision 'main'"),
            (LocalEntryNotFoundError, "the hub cannot be reached"),
            (ConnectionError, "the hub cannot be reached"),
            (ValueError, "the hub's answer is not what it should be"),
            (TypeError, "the hub's answer is not what it should be"),
            (PermissionError, "the model cannot be fetched: PermissionError"),
            (ProxyError, "the model cannot be fetched: ProxyError"),
        ],
    )
    def test_what_goes_wrong_is_told_in_a_line(self, run, monkeypatch, tmp_path, error, message):
        def fail(*_, **__):
            raise error.__new__(error)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
        result = run("import", "a/b", "-o", tmp_path / "out", "--revision", "main")
        assert result.code == 4
        assert message in result.err
        assert len(result.fixes) == 1


class TestRefusingHub:
    """What is told of a hub that refuses, or of something else in its place."""

    @pytest.mark.parametrize(
        ("status", "content", "message"),
        [
            (403, b"", "the hub answers with HTTP status 403"),
            (401, b"", "the hub answers with HTTP status 401"),
            (200, b"<html>please log in</html>", "the hub's answer is not what it should be"),
            (200, b'{"id": "a/b", "sha": "0"}', "the hub's answer is not what it should be"),
        ],
    )
    def test_it_is_told_in_a_line(self, run, answer_as_hub, tmp_path, status, content, message):
        answer_as_hub(status, content)
        result = run("import", "a/b", "-o", tmp_path / "out")
        assert result.code == 4
        assert f"error: {message}" in result.err
        assert len(result.fixes) == 1


class TestUse:
    """What an imported model is good for."""

    def test_it_translates(self, run, model, write):
        text = write("in.txt", [*draw(ENGLISH, 5), "", ">>deu<< the dog."])
        result = run("translate", "--model", model, text, "--device", "cpu")
        assert result.code == 0
        assert len(result.out.splitlines()) == 7
        tagged = run(
            "translate", "--model", model, write("one.txt", ["the dog."]), "--tag", ">>deu<<", "--device", "cpu"
        )
        assert tagged.out.splitlines() == result.out.splitlines()[-1:]

    def test_a_tag_in_the_text_goes_before_each_part(self, model):
        loaded = load_model(model, torch.device("cpu"))
        tokenizer = loaded.source_tokenizer
        planner = Planner(tokenizer, loaded.target_tokenizer, DecodingSection(max_source_tokens=12))
        [tagged], [plain] = (planner.plan([Request(tag + "the dog runs. " * 5)]) for tag in (">>deu<< ", ""))
        head = tokenizer.find_symbol(">>deu<<")
        assert len(tagged.segments) > 2
        assert all(segment.token_ids[0] == head and segment.num_tags == 1 for segment in tagged.segments)
        assert not any(head in segment.token_ids for segment in plain.segments)

    def test_a_tag_in_the_text_takes_the_place_of_the_general_one(self, model):
        loaded = load_model(model, torch.device("cpu"))
        tokenizer = loaded.source_tokenizer
        planner = Planner(tokenizer, loaded.target_tokenizer, DecodingSection(tag="▁the"))
        [own], [general] = (planner.plan([Request(tag + "dog.")]) for tag in (">>deu<< ", ""))
        assert own.segments[0].token_ids[0] == tokenizer.find_symbol(">>deu<<")
        assert general.segments[0].token_ids[0] == tokenizer.find_symbol("▁the")
        assert own.segments[0].token_ids[1:] == general.segments[0].token_ids[1:]

    def test_an_unknown_tag_is_refused(self, run, model, write):
        result = run(
            "translate", "--model", model, write("in.txt", ["the dog."]), "--tag", ">>fra<<", "--device", "cpu"
        )
        assert result.code == 4
        assert "the tag '>>fra<<'" in result.err

    def test_it_goes_to_ctranslate2(self, run, model, write, tmp_path):
        ctranslate2 = pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed")
        assert run("export", model, "-o", tmp_path / "ct2", "--to", "ctranslate2").code == 0
        lines = draw(ENGLISH, 10)
        source, target = load_tokenizers(model)
        engine = ctranslate2.Translator(str(tmp_path / "ct2"))
        pieces = [source.pieces(ids) for ids in source.encode(lines)]
        found = engine.translate_batch(pieces, beam_size=1, max_decoding_length=20)
        table = {piece: i for i, piece in enumerate(target.pieces(range(len(target))))}
        there = target.decode_batch([[table[piece] for piece in result.hypotheses[0]] for result in found])
        settings = ["decoding.max_length_ratio=1e-6", "decoding.max_length_extra=20"]
        sets = [part for setting in settings for part in ("--set", setting)]
        here = run(
            "translate", "--model", model, write("in.txt", lines), "--beam-size", "1", "--device", "cpu", *sets
        ).out.splitlines()
        assert [line for line in here if line] == [line for line in there if line]

    def test_it_goes_back_to_transformers(self, run, model, marian_folder, tmp_path):
        result = run("export", model, "-o", tmp_path / "back", "--to", "transformers")
        assert result.code == 0
        assert "transformers" in result.err
        for name in ("model.safetensors", "config.json", "vocab.json", "source.spm", "target.spm"):
            assert (tmp_path / "back" / name).read_bytes() == (marian_folder / name).read_bytes()
        assert "Imported from" in (tmp_path / "back" / "README.md").read_text(encoding="utf-8")
        assert "up to date" in run("export", model, "-o", tmp_path / "back", "--to", "transformers").err

    def test_a_model_that_does_not_fit_is_refused(self, run, model_folder, tmp_path):
        result = run("export", model_folder, "-o", tmp_path / "out", "--to", "transformers")
        assert result.code == 4
        assert "norm is pre" in result.err
        assert len(result.fixes) == 1

    @pytest.mark.parametrize("tied", ["all", "target"])
    def test_it_is_fine_tuned(self, run, model, write, tmp_path, tied):
        source, target = write("t.en", draw(ENGLISH, 60)), write("t.de", draw(GERMAN, 60))
        prepared = run(
            "prepare", "--source", source, "--target", target, f"--set=vocabulary.source_model={model}",
            "-o", tmp_path / "corpus", "--set", "corpus.test_size=0",
        )  # fmt: skip
        assert prepared.code == 0, prepared.err
        sets = [*SHAPE, f"model.tied_embeddings={tied}", f"training.init_from={model}", "training.batch_tokens=128",
                "training.warmup_steps=1", "training.subword_sampling=0.1", "training.precision=fp32"]  # fmt: skip
        command = ["train", "--corpus", tmp_path / "corpus", "--device", "cpu", "-o", tmp_path / "run"]
        trained = run(*command, *(f"--set={setting}" for setting in sets), "--max-steps", "2")
        assert trained.code == 0, trained.err
        size = len(load_tokenizers(model)[0])
        assert f"{size:,} of {size:,} source pieces carried over" in trained.err
        tuned, before = (load_model(path, torch.device("cpu")).model for path in (tmp_path / "run", model))
        difference = (tuned.source_embedding.weight - before.source_embedding.weight).abs().max()
        assert 0 < difference < 0.05
        assert tuned.config.decoder_start_id == tuned.config.pad_id == before.config.pad_id
        text = write("in.txt", draw(ENGLISH, 3))
        assert len(run("translate", "--model", tmp_path / "run", text, "--device", "cpu").out.splitlines()) == 3
        assert run("export", tmp_path / "run", "-o", tmp_path / "hf", "--to", "transformers").code == 0

    def test_another_shape_is_told_with_all_it_takes(self, run, model, write, tmp_path):
        source, target = write("t.en", draw(ENGLISH, 60)), write("t.de", draw(GERMAN, 60))
        vocabulary = [f"--set=vocabulary.{side}_model={model / f'{side}.spm'}" for side in ("source", "target")]
        assert run("prepare", "--source", source, "--target", target, *vocabulary, "-o", tmp_path / "corpus").code == 0
        command = ["train", "--corpus", tmp_path / "corpus", f"--set=training.init_from={model}"]
        refused = run(*command, "--set=model.tied_embeddings=target", "-o", tmp_path / "run", "--device", "cpu")
        assert refused.code == 4
        for setting in ("activation=swish", "position_layout=split", "output_bias=True", "norm=post"):
            assert f"--set model.{setting}" in refused.fixes[0]
