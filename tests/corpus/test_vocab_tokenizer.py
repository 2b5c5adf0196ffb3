"""Pieces from SentencePiece, ids from a table: as `MarianTokenizer` of transformers has them."""

import gzip
import io
import itertools
import json
import warnings

import pytest
import sentencepiece

from mtkit.corpus.tokenizer import Tokenizer, load_given_tokenizers, load_tokenizers, save_tokenizers
from mtkit.corpus.vocab_tokenizer import VocabTokenizer
from mtkit.errors import ModelError

ENGLISH = ["The dog sees the cat.", "The cat runs over the street.", "A dog sees a house.", "The man was here."] * 5
GERMAN = ["Der Hund sieht die Katze.", "Die Katze läuft über die Straße.", "Ein Hund sieht ein Haus."] * 5
TRICKY = [
    "", "a 犬 b 犬猫 x", "  two  spaces ", "tab\there", "“quotes” … — it’s", ">>deu<< A dog.", ">>deu<<A dog.",
    ">>fra<<", "> > no tag", "a >>deu<< in the middle", "5\u00a0% \u200b½",
]  # fmt: skip


def learn(lines, size, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=size,
        hard_vocab_limit=options.get("model_type") != "unigram",
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def write(folder, source, target, left_out=0):
    """Write two SentencePiece models and a table over both, in which the last pieces of the target are missing."""
    table = {"</s>": 0, "<unk>": 1}
    for name, serialized in (("source", source), ("target", target)):
        (folder / f"{name}.spm").write_bytes(serialized)
        processor = sentencepiece.SentencePieceProcessor(model_proto=serialized)
        for piece in processor.id_to_piece(list(range(3, processor.get_piece_size()))):
            table.setdefault(piece, len(table))
    for piece in list(table)[len(table) - left_out :]:
        del table[piece]
    for piece in ("犬", ">>deu<<", ">>fra<<", "<pad>"):
        table[piece] = len(table)
    (folder / "vocab.json").write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")
    return folder


@pytest.fixture(params=["bpe", "unigram"])
def folder(request, tmp_path):
    size = 60
    models = (learn(lines, size, model_type=request.param) for lines in (ENGLISH, GERMAN))
    return write(tmp_path, *models)


@pytest.fixture
def source(folder):
    return load_tokenizers(folder)[0]


@pytest.fixture
def load_marian():
    """Return a function that loads transformers' own tokenizer."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'mtkit[hf]'")

    def load(folder):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")
            paths = [str(folder / name) for name in ("source.spm", "target.spm", "vocab.json")]
            return transformers.MarianTokenizer(*paths, source_lang="en", target_lang="de")

    return load


def compare(folder, theirs, sources, targets):
    source, target = load_tokenizers(folder)
    assert source.encode(sources) == theirs(sources, add_special_tokens=False)["input_ids"]
    ids = target.encode(targets)
    assert ids == theirs(text_target=targets, add_special_tokens=False)["input_ids"]
    known = [row for row in ids if target.unk_id not in row]
    assert target.decode_batch(known) == theirs.batch_decode(known, skip_special_tokens=True)
    assert len(known) >= len(ids) / 2


def test_tokens_are_those_of_transformers(folder, load_marian):
    compare(folder, load_marian(folder), ENGLISH + TRICKY, GERMAN * 2 + TRICKY)


def test_tokens_of_real_text_are_those_of_transformers(tmp_path, load_marian, shared_corpora):
    def read(name, count):
        with gzip.open(shared_corpora / "multi30k" / f"{name}.gz", "rt", encoding="utf-8") as stream:
            return [line.rstrip("\n") for line in itertools.islice(stream, count)]

    options = {"model_type": "unigram", "character_coverage": 0.9995}
    models = (learn(read(f"train.{side}", 2000), 1500, **options) for side in ("en", "de"))
    folder = write(tmp_path, *models, left_out=40)
    lines = [read(f"test_2016_flickr.{side}", 1000) for side in ("en", "de")]
    compare(folder, load_marian(folder), lines[0] + lines[1][:200], lines[1])


def test_transformers_does_not_normalise_punctuation(folder, load_marian):
    """It makes a normaliser where sacremoses is installed, and never applies it: so neither does mtkit."""
    theirs = load_marian(folder)
    before = theirs(TRICKY)["input_ids"]
    theirs.punc_normalizer = lambda text: pytest.fail("it is applied")
    assert theirs(TRICKY)["input_ids"] == before


def test_special_ids(source):
    size = len(source)
    assert source.special_ids == {"pad": size - 1, "unk": 1, "bos": size - 1, "eos": 0}
    assert source.pieces([0, 1, size - 1]) == ["</s>", "<unk>", "<pad>"]


def test_begin_of_sentence_is_that_of_the_table(folder):
    table = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    (folder / "vocab.json").write_text(json.dumps(table | {"<s>": len(table)}))
    source, _ = load_tokenizers(folder)
    assert source.bos_id == len(table)
    assert source.find_symbol("<s>") is None


def test_a_character_of_the_table_alone_has_its_id(source):
    [ids] = source.encode(["a 犬 猫"])
    assert source.find_symbol("犬") in ids
    assert ids.count(source.unk_id) == 1


def test_special_symbols_in_text_are_text(source):
    [ids] = source.encode(["</s><pad>"])
    assert not {source.eos_id, source.pad_id} & set(ids)


def test_a_tag_of_the_table_is_a_symbol(source):
    tag = source.find_symbol(">>deu<<")
    [plain], [tagged], [glued] = (source.encode([text]) for text in ("A dog", ">>deu<< A dog", ">>deu<<A dog"))
    assert tagged == glued == [tag, *plain]
    assert source.split_tag(">>deu<< A dog") == (">>deu<<", " A dog")
    assert source.surfaces(">>deu<< A dog")[0] == ">>deu<<"
    assert source.list_tags() == [">>deu<<", ">>fra<<"]


def test_a_tag_that_the_table_lacks_is_text(source):
    """Transformers makes one unknown symbol of it, so that text is lost."""
    assert source.split_tag(">>xyz<< A dog") == (None, ">>xyz<< A dog")
    [ids] = source.encode([">>xyz<< A dog"])
    assert len(ids) > len(source.encode(["A dog"])[0]) + 1


@pytest.mark.parametrize("symbol", ["<pad>", "<unk>", "</s>", "<0x41>", "no piece"])
def test_what_stands_in_no_text_is_no_symbol(source, symbol):
    assert source.find_symbol(symbol) is None


def test_surfaces_make_the_line(source):
    line = "The dog 犬猫 sees."
    assert "".join(source.surfaces(line)).strip() == line
    assert len(source.surfaces(line)) == len(source.encode([line])[0])


def test_decoding_shows_what_is_unknown_and_drops_padding(source):
    [ids] = source.encode(["The dog"])
    assert source.decode([source.pad_id, *ids, source.eos_id, source.pad_id]) == "The dog"
    assert source.decode([*ids, source.unk_id, *ids]) == "The dog ⁇  The dog"  # as a plain tokenizer has it


def test_a_piece_of_the_other_side_is_text(folder):
    source, target = load_tokenizers(folder)
    [ids] = source.encode(["The house"])
    assert target.decode(ids) == "The house"


class TestSampling:
    LINES = (*ENGLISH[:4], "犬 The 猫 dog 犬猫", ">>deu<< The dog", "")

    def draw(self, tokenizer, strength, seed):
        return tokenizer.sample(self.LINES, strength, range(seed, seed + len(self.LINES)))

    def test_it_is_that_of_the_model(self, folder, source):
        """The pieces are those that the SentencePiece model draws by itself: only their ids are the table's."""
        plain = sentencepiece.SentencePieceProcessor(str(folder / "source.spm"))
        for seed in range(20):
            drawn = self.draw(source, 0.3, seed)
            for line, ids in zip(self.LINES, drawn, strict=True):
                tag, _ = source.split_tag(line)
                pieces = source.pieces(ids)[tag is not None :]
                known = [piece for piece in pieces if piece not in ("<unk>", "犬")]
                assert all(plain.piece_to_id(piece) != plain.unk_id() for piece in known)
                assert source.decode(ids) == source.decode(source.encode([line])[0])

    def test_it_varies_with_the_seed_alone(self, source):
        assert self.draw(source, 0.3, 1) == self.draw(source, 0.3, 1)
        assert len({str(self.draw(source, 0.3, seed)) for seed in range(0, 70, 7)}) > 5

    def test_unknown_characters_keep_their_ids(self, source):
        [whole] = source.encode([self.LINES[4]])
        special = {source.unk_id, source.find_symbol("犬")}
        for seed in range(20):
            drawn = self.draw(source, 0.3, seed)[4]
            assert [i for i in drawn if i in special] == [i for i in whole if i in special]

    def test_nothing_is_drawn_where_there_is_no_choice(self, tmp_path):
        model = learn(ENGLISH, 30, model_type="char")
        source, _ = load_tokenizers(write(tmp_path, model, model))
        assert source.sample(ENGLISH[:3], 0.5, [1, 2, 3]) == source.encode(ENGLISH[:3])


def test_saving_keeps_every_byte(folder, tmp_path):
    (tmp_path / "copy").mkdir()
    before = load_tokenizers(folder)
    save_tokenizers(*before, tmp_path / "copy")
    names = ("source.spm", "target.spm", "vocab.json")
    assert {path.name for path in (tmp_path / "copy").iterdir()} == set(names)
    assert all((tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes() for name in names)
    after = load_tokenizers(tmp_path / "copy")
    assert [one.fingerprint for one in before] == [one.fingerprint for one in after]


def test_a_target_may_have_a_table_of_its_own(folder, tmp_path):
    table = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    (folder / "target_vocab.json").write_text(json.dumps(table | {"more": len(table)}))
    source, target = load_tokenizers(folder)
    assert len(target) == len(source) + 1
    assert not source.shares_ids(target)
    (tmp_path / "copy").mkdir()
    save_tokenizers(source, target, tmp_path / "copy")
    copies = load_tokenizers(tmp_path / "copy")
    assert [copy.fingerprint for copy in copies] == [source.fingerprint, target.fingerprint]


def test_two_models_over_one_table_share_their_ids(folder):
    source, target = load_tokenizers(folder)
    assert source.shares_ids(target)
    assert source.fingerprint != target.fingerprint


def test_the_fingerprint_knows_the_table(folder):
    before = load_tokenizers(folder)[0].fingerprint
    table = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    (folder / "vocab.json").write_text(json.dumps(table | {"more": len(table)}))
    assert load_tokenizers(folder)[0].fingerprint != before


@pytest.mark.parametrize(
    "table", ["", "[]", "{}", '{"a": "b"}', '{"a": -1}', '{"<pad>": 0, "<unk>": 1}', '{"a": true}']
)
def test_a_table_that_is_none_is_refused(folder, table):
    (folder / "vocab.json").write_text(table)
    with pytest.raises(ModelError) as caught:
        Tokenizer.load(folder / "source.spm")
    assert caught.value.at == str(folder / "vocab.json")


def test_a_table_beside_a_file_of_another_name_is_not_its(folder):
    (folder / "source.spm").rename(folder / "my.model")
    with pytest.raises(ModelError, match="no symbol for pad"):
        Tokenizer.load(folder / "my.model")


class TestGiven:
    def test_a_folder_gives_both_sides(self, folder):
        source, target = load_given_tokenizers(folder)
        assert isinstance(source, VocabTokenizer)
        assert target.serialized == (folder / "target.spm").read_bytes()

    def test_two_files_give_both_sides(self, folder):
        given = load_given_tokenizers(folder / "source.spm", folder / "target.spm")
        assert [one.fingerprint for one in given] == [one.fingerprint for one in load_tokenizers(folder)]

    def test_a_source_alone_is_refused(self, folder):
        with pytest.raises(ModelError, match="the source's alone") as caught:
            load_given_tokenizers(folder / "source.spm")
        assert f"vocabulary.source_model={folder}" in caught.value.fix

    def test_one_model_may_serve_both_sides(self, tmp_path):
        path = tmp_path / "a.model"
        path.write_bytes(learn(ENGLISH, 50, pad_id=3, model_type="bpe"))
        source, target = load_given_tokenizers(path)
        assert source is target
