import itertools
import json
import random
import shutil

import pytest
import torch

import mtkit
from mtkit.config.decoding import DecodingSection
from mtkit.decoding import segments as segments_module
from mtkit.decoding.hypothesis import Hypothesis
from mtkit.decoding.request import Request
from mtkit.decoding.translator import Translator
from mtkit.errors import DeviceError, ModelError

WORDS = ["the", "a", "dog", "cat", "man", "woman", "runs", "sees", "jumps", "over", "under", "street"]
ODD = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.fixture(scope="module")
def load(model_folder):
    """Return a function that loads the model with other settings of decoding."""

    def load(**decoding):
        settings = {"beam_size": 2, "max_length_extra": 5, **decoding}
        return Translator.load(model_folder, device="cpu", decoding=DecodingSection(**settings))

    return load


@pytest.fixture
def searched(monkeypatch):
    """Replace the search by one that answers with the source; return the shapes of the batches that it got."""
    shapes = []

    def echo(model, src_ids, decoding, guidance, suppressed_ids):
        shapes.append(tuple(src_ids.shape))
        lengths = (src_ids != model.config.pad_id).sum(1).tolist()
        rows = [tuple(ids[: length - 1]) for ids, length in zip(src_ids.tolist(), lengths, strict=True)]
        return [[Hypothesis(row, -1.0 - rank, -0.5 - rank, False) for rank in range(decoding.n_best)] for row in rows]

    monkeypatch.setattr(segments_module, "search", echo)
    return shapes


def make_lines(count, longest=15, seed=1):
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(1, longest))) for _ in range(count)]


@pytest.mark.parametrize(
    "wish", [{"required": "dog"}, {"forbidden": "dog"}, {"prefix": 5}, {"tag": 5}], ids=lambda wish: next(iter(wish))
)
def test_a_wish_of_another_type_is_refused(wish):
    """A phrase in place of a list of phrases would be read letter by letter."""
    with pytest.raises(TypeError, match=next(iter(wish))):
        Request("the dog runs", **wish)


@pytest.mark.parametrize(("side", "field"), [("source", "src_vocab_size"), ("target", "tgt_vocab_size")])
def test_a_vocabulary_of_another_size_than_the_models_is_refused(model_folder, tmp_path, side, field):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["model"] |= {field: 123, "tied_embeddings": "none"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match=f"the {side} vocabulary has 300 pieces, and the model 123"):
        Translator.load(folder, device="cpu")


def test_a_device_that_is_none_is_told(model_folder):
    with pytest.raises(DeviceError, match="no device 'gpu'"):
        Translator.load(model_folder, device="gpu")


def test_the_public_name():
    assert mtkit.Translator is Translator


def test_lines_come_back_in_order(load, searched):
    lines = make_lines(300)
    lines[5] = lines[77] = ""
    assert load(batch_size=7).translate(lines) == lines
    assert all(rows <= 7 for rows, _ in searched)


def test_empty_lines_do_not_reach_the_model(load, searched):
    empty = ["", " ", "\t\u3000\u2028", "\r"]
    translations = list(load(n_best=2).iter_translations(empty))
    assert not searched
    for line, translation in zip(empty, translations, strict=True):
        assert translation.source == line
        assert [a.text for a in translation.alternatives] == ["", ""]
        assert (translation.score, translation.num_tokens, translation.num_parts) == (0, 0, 0)
        assert not translation.is_cut


def test_batches_keep_to_both_limits(load, searched):
    lines = make_lines(200, longest=30)
    load(batch_size=16, batch_tokens=120).translate(lines)
    assert all(rows <= 16 and (rows == 1 or rows * length <= 120) for rows, length in searched)
    assert sum(rows for rows, _ in searched) == len(lines)


def test_a_window_is_sorted_by_length(load, searched):
    load(batch_size=10).translate(make_lines(160))
    lengths = [length for _, length in searched]
    assert lengths == sorted(lengths, reverse=True)


def test_endless_input_is_read_by_windows(load, searched):
    read = itertools.count()
    translations = load(batch_size=4).iter_translations("the dog" for _ in iter(lambda: next(read), -1))
    for _ in range(200):
        next(translations)
    assert next(read) <= 200 + 16 * 4 + 1


def test_no_line_depends_on_its_company(load):
    lines = make_lines(60)
    alone = list(load(batch_size=1, n_best=2).iter_translations(lines))
    for batch_size in (7, 64):
        together = list(load(batch_size=batch_size, n_best=2).iter_translations(lines))
        for one, other in zip(alone, together, strict=True):
            assert [a.text for a in one.alternatives] == [a.text for a in other.alternatives]
            assert one.score == pytest.approx(other.score, abs=1e-4 * one.num_tokens)
    assert len({translation.text for translation in alone}) > 5


def test_alternatives_are_the_n_best(load):
    translation = next(load(n_best=2).iter_translations(["the dog runs"]))
    assert translation.text == translation.alternatives[0].text
    assert translation.score == translation.alternatives[0].score >= translation.alternatives[1].score
    assert translation.log_prob <= 0
    assert translation.num_tokens >= 1
    assert translation.num_parts == 1


@pytest.mark.parametrize("character", ODD + "\n\0\ufeff\u200b\ud800")
def test_odd_characters_give_one_line(load, character):
    translator = load()
    lines = [f"the dog{character}runs", character, f"{character}a cat"]
    texts = translator.translate(lines)
    assert len(texts) == len(lines)
    assert all(len(text.splitlines()) <= 1 for text in texts)


def test_bytes_that_spell_line_breaks_give_one_line(load, monkeypatch):
    translator = load()
    ids = [translator.target_tokenizer.encode([character])[0] for character in ["a\n\u2028b\x0b", "\r\n"]]
    monkeypatch.setattr(segments_module, "search", lambda model, *_: [[Hypothesis(tuple(ids.pop()), -1, -1, False)]])
    for text in translator.translate(["the"]) + translator.translate(["the"]):
        assert len(text.splitlines()) == 1


def test_long_lines_are_translated_in_parts(load, searched):
    translator = load(max_source_tokens=8, n_best=2, batch_size=4)
    long = " ".join(make_lines(1, 60, seed=3) * 10)
    short = "a cat"
    translations = list(translator.iter_translations([short, long, "", short]))
    assert [translation.text for translation in translations] == [short, long, "", short]
    assert all(length <= 9 for _, length in searched)
    number = translations[1].num_parts
    assert number > 10
    assert translations[1].score == pytest.approx(-0.5 * number)
    assert [a.log_prob for a in translations[1].alternatives] == pytest.approx([-1.0 * number, -2.0 * number])
    assert [translation.num_parts for translation in translations] == [1, number, 0, 1]


def test_long_words_are_translated_in_parts(load, searched):
    assert load(max_source_tokens=8).translate(["x" * 100]) == ["x" * 100]


def test_learned_positions_bound_the_source(load, searched, monkeypatch):
    model = load().model
    monkeypatch.setattr(type(model), "max_length", 10)
    load().translate([" ".join(WORDS * 5)])
    assert max(length for _, length in searched) <= 10


@pytest.fixture
def segments(monkeypatch):
    """Let the search answer with the source; return the source tokens of every segment, as pieces."""
    seen = []

    def echo(model, src_ids, decoding, guidance, suppressed_ids):
        rows = [[i for i in ids if i != model.config.pad_id][:-1] for ids in src_ids.tolist()]
        seen.extend(rows)
        return [[Hypothesis(tuple(row), -1.0, -0.5, False)] for row in rows]

    monkeypatch.setattr(segments_module, "search", echo)
    return seen


def test_a_tag_stands_before_every_part(load, segments):
    translator = load(tag="<2de>", max_source_tokens=8)
    tag_id = translator.source_tokenizer.find_symbol("<2de>")
    texts = translator.translate(["the dog", " ".join(WORDS)])
    assert [text.replace("<2de>", "").split() for text in texts] == [["the", "dog"], WORDS]
    assert len(segments) > 2
    assert all(ids.index(tag_id) == 0 and len(ids) <= 8 for ids in segments)
    assert [tag_id, *translator.source_tokenizer.encode(["the dog"])[0]] in segments
    assert translator.translate([""]) == [""]


def test_each_line_may_have_a_tag_of_its_own(load, segments):
    translator = load(batch_size=2)
    lines = make_lines(100)
    lines[7] = ""
    tags = ["<2de>" if row % 3 == 0 else None for row in range(100)]
    head = [translator.source_tokenizer.find_symbol("<2de>")]
    encoded = translator.source_tokenizer.encode(lines)
    expected = [head + ids if tag else ids for tag, ids in zip(tags, encoded, strict=True)]
    translator.translate(map(Request, lines, tags))
    assert sorted(segments) == sorted(ids for line, ids in zip(lines, expected, strict=True) if line)
    segments.clear()
    load(tag="<2de>").translate([Request("a dog", tag="<2de>"), "a cat"])
    assert [ids[:1] for ids in segments] == [head, head]


@pytest.mark.parametrize("tag", ["<2fr>", "the dog", "", "</s>", "<pad>", "<unk>", "<0x41>"])
def test_a_tag_must_be_a_piece(load, tag):
    with pytest.raises(ModelError, match="no piece") as caught:
        load(tag=tag)
    assert caught.value.at == "decoding.tag"
    with pytest.raises(ModelError, match="no piece"):
        load().translate(["the dog", Request("a cat", tag=tag)])


@pytest.fixture
def small_memory(searched, monkeypatch):
    """Let the search run out of memory with more than so many tokens."""
    echo = segments_module.search

    def fix(max_tokens, error):
        def search(model, src_ids, decoding, guidance, suppressed_ids):
            if src_ids.numel() > max_tokens:
                raise error
            return echo(model, src_ids, decoding, guidance, suppressed_ids)

        monkeypatch.setattr(segments_module, "search", search)

    return fix


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_batches_are_halved_when_memory_is_short(load, searched, small_memory, error):
    small_memory(100, error)
    lines = make_lines(100)
    assert load().translate(lines) == lines
    assert all(rows * length <= 100 for rows, length in searched)


def test_memory_too_small_for_one_sentence(load, small_memory):
    small_memory(5, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(DeviceError, match="single sentence"):
        load().translate(["the dog runs over the street"])


def test_other_errors_are_passed_on(load, small_memory):
    small_memory(5, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        load().translate(["the dog runs over the street"])


def test_progress_counts_every_line(load, searched):
    counts = []
    lines = ["", *make_lines(30), " ".join(WORDS * 3)]
    list(load(batch_size=4, max_source_tokens=20).iter_translations(lines, counts.append))
    assert sum(counts) == len(lines)
    assert max(counts) <= 4


def test_a_model_in_training_is_left_in_training(load):
    translator = load()
    expected = translator.translate(["the dog runs"])
    translator.model.train()
    assert translator.translate(["the dog runs"]) == expected
    assert translator.model.training
    assert all(not parameter.is_inference() for parameter in translator.model.parameters())


def test_bf16_is_computed_in_bf16(load, monkeypatch):
    seen = []

    def search(model, src_ids, decoding, guidance, suppressed_ids):
        memory, _ = model.encode(src_ids)
        seen.append((model.project(memory).dtype, torch.is_inference_mode_enabled()))
        return [[Hypothesis((), -1.0, -1.0, False)] for _ in src_ids]

    monkeypatch.setattr(segments_module, "search", search)
    load(precision="bf16").translate(["the"])
    load(precision="fp32").translate(["the"])
    assert seen == [(torch.bfloat16, True), (torch.float32, True)]


def test_bf16_translates(load):
    assert len(load(precision="bf16").translate(make_lines(20))) == 20


def test_cut_translations_are_marked(load):
    translations = list(load(max_length_ratio=0.1, max_length_extra=1).iter_translations(make_lines(20)))
    assert any(translation.is_cut for translation in translations)
    assert all(translation.num_tokens <= 6 for translation in translations)


def test_no_model(tmp_path):
    with pytest.raises(ModelError):
        Translator.load(tmp_path / "missing")


@pytest.mark.parametrize(
    ("lines", "problem"), [("the dog", "a single str"), ([None], "not NoneType"), ([b"dog"], "bytes")]
)
def test_what_is_no_list_of_lines_is_refused(model_folder, lines, problem):
    with pytest.raises(TypeError, match=problem):
        Translator.load(model_folder, device="cpu").translate(lines)


def test_the_public_names_are_listed():
    assert {"Translator", "Scorer", "Request", "PreparedCorpus", "evaluate"} <= set(dir(mtkit))
