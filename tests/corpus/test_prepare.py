import json
import os
import shutil
import unicodedata

import pytest

from mtkit.config.corpus import CorpusSection, FilterSection, TextSource
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus import pipeline
from mtkit.corpus.prepare import is_up_to_date, prepare_corpus
from mtkit.corpus.report import build_flow_rows, build_split_rows
from mtkit.corpus.store import PreparedCorpus
from mtkit.errors import DataError, ModelError, OutputError, RecipeError

ALONE = {"valid_size": 0, "test_size": 0}


def text(write, name, pairs):
    source = write(f"{name}.en", [source for source, _ in pairs])
    return TextSource(source=source, target=write(f"{name}.de", [target for _, target in pairs]))


def listing(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_lost_in_silence(write, pairs, vocabulary, tmp_path):
    dirty = [*pairs, pairs[0], ("", "x"), ("a", "x" * 200), ("y" * 2000, "y" * 2000), (pairs[1][0].upper(), "Neu")]
    train = [text(write, "one", dirty), text(write, "two", [*pairs[:10], ("The dog " * 40, "Der Hund " * 40)])]
    filters = FilterSection(max_tokens=60)
    corpus = CorpusSection(train=train, test=text(write, "test", pairs[:2]), valid_size=20, filters=filters)
    manifest = prepare_corpus(corpus, vocabulary, tmp_path / "out").manifest
    assert manifest.pairs_read == len(dirty) + 11
    assert {reason: count for reason, count in manifest.dropped.items() if count} == {
        "empty": 1,
        "too long (characters)": 1,
        "length ratio": 1,
        "duplicate": 11,
        "source in the test set": 3,
        "too long (tokens)": 1,
    }
    left = manifest.splits["train"].pairs + manifest.splits["valid"].pairs
    assert left + sum(manifest.dropped.values()) == manifest.pairs_read
    shown = dict(row[:2] for row in build_flow_rows(manifest))
    assert shown["read"] == shown["kept for training"] + shown["split off: valid"] + sum(
        count for what, count in shown.items() if what.startswith("dropped")
    )
    assert len(build_split_rows(manifest)) == 6


def test_what_was_replaced_is_no_share_of_the_pairs(write, pairs, vocabulary, tmp_path):
    windows = text(write, "one", [(f"{source}\r", f"{target}\r") for source, target in pairs])
    manifest = prepare_corpus(CorpusSection(train=[windows]), vocabulary, tmp_path / "out").manifest
    assert build_flow_rows(manifest)[-1] == ("replaced: CRLF line end", 2 * len(pairs), "")


@pytest.mark.parametrize(
    ("languages", "is_told"),
    [
        (("de", "en"), True),
        (("deu", "en-GB"), True),
        (("en", "de"), False),
        (("de", "fr"), False),
        ((None, "en"), False),
    ],
)
def test_files_that_are_named_the_other_way_round_are_told(
    write, pairs, vocabulary, tmp_path, capfd, languages, is_told
):
    sides = dict(zip(("source_language", "target_language"), languages, strict=True))
    train = [text(write, "one", pairs)]
    prepare_corpus(CorpusSection(train=train, **sides, **ALONE), vocabulary, tmp_path / "out")
    said = " ".join(capfd.readouterr().err.split())
    assert ("one.en and one.de seem to be swapped: the corpus is " in said) == is_told


def test_pairs_of_exactly_the_most_tokens_stay(corpus, vocabulary, tmp_path):
    whole = prepare_corpus(corpus, vocabulary, tmp_path / "whole").train
    longest = max(int(whole.source_lengths.max()), int(whole.target_lengths.max()))
    for most, is_whole in ((longest, True), (longest - 1, False)):
        cut = corpus.model_copy(update={"filters": FilterSection(max_tokens=most)})
        assert (len(prepare_corpus(cut, vocabulary, tmp_path / str(most)).train) == len(whole)) is is_whole


def test_nothing_else_stands_in_the_folder(corpus, vocabulary, tmp_path):
    prepared = prepare_corpus(corpus, vocabulary, tmp_path / "out")
    assert set(listing(prepared.path)) == {"manifest.json", *prepared.manifest.file_bytes}
    assert {name.partition("/")[0] for name in prepared.manifest.file_bytes} == {
        *("train", "valid", "test", "shared.spm"),
        *(f"{name}.{side}.txt" for name in ("valid", "test") for side in ("source", "target")),
    }


def test_the_name_of_the_corpus_stays_with_each_pair(write, pairs, vocabulary, tmp_path):
    one, two = text(write, "one", pairs[:150]), text(write, "two", pairs[150:]).model_copy(update={"name": "second"})
    prepared = prepare_corpus(CorpusSection(train=[one, two]), vocabulary, tmp_path / "out")
    where = {pair.source: pair.corpus for split in (prepared.train, prepared.valid, prepared.test) for pair in split}
    assert where == {source: "one.en" if row < 150 else "second" for row, (source, _) in enumerate(pairs)}


def test_the_same_text_gives_the_same_corpus(corpus, vocabulary, tmp_path):
    one = prepare_corpus(corpus, vocabulary, tmp_path / "one", threads=1)
    two = prepare_corpus(corpus, vocabulary, tmp_path / "two", threads=2)
    assert listing(one.path) == listing(two.path)
    assert one.fingerprint == two.fingerprint


def test_the_fingerprint_follows_the_content(corpus, vocabulary, tmp_path):
    seen = {prepare_corpus(corpus, vocabulary, tmp_path / "a").fingerprint}
    seen.add(prepare_corpus(corpus, VocabularySection(size=60), tmp_path / "b").fingerprint)
    seen.add(prepare_corpus(corpus.model_copy(update={"test_size": 29}), vocabulary, tmp_path / "c").fingerprint)
    assert len(seen) == 3


def test_given_sets_are_never_filtered(write, files, vocabulary, tmp_path):
    odd = [("", ""), ("a", "b" * 3000), ("same", "same"), ("same", "same"), ("x\u2028y", "犬")]
    corpus = CorpusSection(train=[files], valid=text(write, "valid", odd), test=text(write, "test", odd[2:4]))
    prepared = prepare_corpus(corpus, vocabulary, tmp_path / "out")
    assert [(pair.source, pair.target) for pair in prepared.valid] == [*odd[:4], ("x y", "犬")]
    assert prepared.valid[0].source_ids == []
    assert prepared.manifest.repaired == {"line separator (U+2028)": 1}
    assert prepared.manifest.warnings == [
        "valid set: 1 x line separator (U+2028), replaced by a space",
        "valid set: 1 empty source lines, the first is line 1",
        "valid set: 1 empty target lines, the first is line 1",
        "2 sources of the test set also stand in the validation set",
    ]


def test_unknown_languages_are_said(write, pairs, vocabulary, tmp_path):
    source, target = (write(name, [pair[i] for pair in pairs]) for i, name in enumerate(("a.txt", "b.txt")))
    corpus = CorpusSection(train=[TextSource(source=source, target=target)])
    prepared = prepare_corpus(corpus, vocabulary, tmp_path / "out")
    assert prepared.source_language is None
    assert "languages are not known" in prepared.manifest.warnings[0]


def test_the_vocabulary_is_learned_from_training_text_only(write, pairs, tmp_path):
    held_out = text(write, "test", [("ΩΩΩ", "ΨΨΨ")] * 50)
    leaking = text(write, "train", [*pairs, *(("ΩΩΩ", "ΨΨΨ" * i) for i in range(1, 5))])
    corpus = CorpusSection(train=[leaking], test=held_out, valid_size=0)
    prepared = prepare_corpus(corpus, VocabularySection(size=60), tmp_path / "out")
    tokenizer = prepared.source_tokenizer
    assert not {"Ω", "Ψ"} & set("".join(tokenizer.pieces(range(len(tokenizer)))))
    assert prepared.manifest.splits["test"].source.unknown == 50


def test_separate_vocabularies(corpus, tmp_path):
    prepared = prepare_corpus(corpus, VocabularySection(size=40, separate=True), tmp_path / "out")
    assert "ß" in "".join(prepared.target_tokenizer.pieces(range(40)))
    assert "ß" not in "".join(prepared.source_tokenizer.pieces(range(40)))
    assert PreparedCorpus.load(prepared.path).source_tokenizer is not prepared.target_tokenizer


def test_existing_models_are_taken_byte_for_byte(corpus, vocabulary, tmp_path):
    learned = prepare_corpus(corpus, vocabulary, tmp_path / "one")
    model = tmp_path / "mine.spm"
    shutil.copy(learned.path / "shared.spm", model)
    taken = prepare_corpus(corpus, VocabularySection(source_model=model), tmp_path / "two")
    assert (taken.path / "shared.spm").read_bytes() == model.read_bytes()
    assert list(taken.train) == list(learned.train)
    other = prepare_corpus(corpus, VocabularySection(size=60), tmp_path / "three").path / "shared.spm"
    both = prepare_corpus(corpus, VocabularySection(source_model=model, target_model=other), tmp_path / "four")
    assert [len(both.source_tokenizer), len(both.target_tokenizer)] == [80, 60]


def test_models_must_agree_on_special_symbols(corpus, vocabulary, tmp_path, pairs):
    import sentencepiece

    source = prepare_corpus(corpus, vocabulary, tmp_path / "one").path / "shared.spm"
    lines = [target for _, target in pairs]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(tmp_path / "t"), vocab_size=45, pad_id=3, minloglevel=2
    )
    with pytest.raises(ModelError, match="differ in their special symbols"):
        prepare_corpus(
            corpus, VocabularySection(source_model=source, target_model=tmp_path / "t.model"), tmp_path / "two"
        )


def test_sampling_learns_from_some_sentences_of_all_the_text(corpus, tmp_path, monkeypatch):
    given = []
    learn = pipeline.learn_tokenizer
    monkeypatch.setattr(
        pipeline, "learn_tokenizer", lambda lines, section: learn(iter(given.extend(lines) or given), section)
    )
    prepare_corpus(corpus, VocabularySection(size=50, sample_sentences=100), tmp_path / "out")
    assert len(given) == 100
    assert len({line.split()[1] for line in given if line.startswith("The")}) == 6


# What stands at the output already.


def test_up_to_date(corpus, vocabulary, tmp_path, monkeypatch):
    output = tmp_path / "out"
    assert not is_up_to_date(corpus, vocabulary, output)
    prepare_corpus(corpus, vocabulary, output)
    before = listing(output)
    assert is_up_to_date(corpus, vocabulary, output)
    monkeypatch.setattr("mtkit.corpus.prepare.fill_folder", None)
    assert len(prepare_corpus(corpus, vocabulary, output).train) == 240
    assert listing(output) == before


def test_moved_inputs_are_the_same_inputs(corpus, vocabulary, tmp_path, files):
    prepare_corpus(corpus, vocabulary, tmp_path / "out")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    source, target = (shutil.copy(path, moved / path.name) for path in (files.source, files.target))
    again = corpus.model_copy(update={"train": [TextSource(source=source, target=target)]})
    assert is_up_to_date(again, vocabulary, tmp_path / "out")


def test_what_differs_is_named(corpus, vocabulary, tmp_path, files, pairs):
    output = tmp_path / "out"
    prepare_corpus(corpus, vocabulary, output)
    with pytest.raises(RecipeError, match=r"vocabulary\.size \(80 there, 60 now\)") as caught:
        prepare_corpus(corpus, vocabulary.model_copy(update={"size": 60}), output)
    assert "--overwrite" in caught.value.fix
    other = corpus.model_copy(update={"filters": FilterSection(max_tokens=9), "test": files, "leakage": "off"})
    with pytest.raises(RecipeError, match=r"corpus\.filters\.max_tokens .* and \d+ more"):
        prepare_corpus(other, vocabulary, output)
    files.target.write_text("\n".join(reversed([target for _, target in pairs])), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"corpus\.train\.0\.target \(its content\)"):
        is_up_to_date(corpus, vocabulary, output)
    prepare_corpus(corpus, vocabulary, output, overwrite=True)
    assert is_up_to_date(corpus, vocabulary, output)


def test_a_damaged_corpus_is_made_anew_by_overwrite(corpus, vocabulary, tmp_path):
    output = tmp_path / "out"
    before = listing(prepare_corpus(corpus, vocabulary, output).path)
    (output / "train" / "data-00000.arrow").unlink()
    with pytest.raises(RecipeError, match="cannot be used"):
        prepare_corpus(corpus, vocabulary, output)
    prepare_corpus(corpus, vocabulary, output, overwrite=True)
    assert listing(output) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_things_are_left_alone(corpus, vocabulary, tmp_path, overwrite):
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.txt").write_text("x")
    for output in (folder, folder / "thesis.txt"):
        with pytest.raises(OutputError, match="left alone"):
            prepare_corpus(corpus, vocabulary, output, overwrite=overwrite)
    (folder / "manifest.json").write_text(json.dumps({"name": "a web page"}))
    with pytest.raises(OutputError, match="left alone"):
        prepare_corpus(corpus, vocabulary, folder, overwrite=overwrite)
    assert (folder / "thesis.txt").read_text() == "x"


def test_a_corpus_with_other_things_in_it_is_not_replaced(corpus, vocabulary, tmp_path):
    output = tmp_path / "out"
    before = listing(prepare_corpus(corpus, vocabulary, output).path)
    (output / "run").mkdir()
    (output / ".train.partial").mkdir()  # what a kill left is nobody's
    other = VocabularySection(size=60)
    with pytest.raises(OutputError, match=r"not of a prepared corpus .* would be lost: run\n"):
        prepare_corpus(corpus, other, output, overwrite=True)
    (output / "run").rmdir()
    prepare_corpus(corpus, other, output, overwrite=True)
    assert listing(output).keys() == before.keys()


@pytest.mark.parametrize("was_corpus", [False, True])
def test_what_came_while_a_corpus_was_made_is_not_replaced(corpus, vocabulary, tmp_path, monkeypatch, was_corpus):
    output = tmp_path / "out"
    if was_corpus:
        prepare_corpus(corpus, vocabulary, output)
    honest = pipeline.learn_tokenizer

    def learn(*arguments, **options):
        output.mkdir(exist_ok=True)
        (output / "thesis.txt").write_text("x")
        return honest(*arguments, **options)

    monkeypatch.setattr(pipeline, "learn_tokenizer", learn)
    with pytest.raises(OutputError, match=r"thesis\.txt" if was_corpus else "left alone"):
        prepare_corpus(corpus, VocabularySection(size=60), output, overwrite=True)
    assert (output / "thesis.txt").read_text() == "x"


def test_an_empty_folder_is_filled(corpus, vocabulary, tmp_path):
    (tmp_path / "out").mkdir()
    assert len(prepare_corpus(corpus, vocabulary, tmp_path / "out").train) == 240


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit(143), OSError(28, "No space left on device")])
def test_interrupted_it_leaves_nothing(corpus, vocabulary, tmp_path, monkeypatch, interruption):
    output = tmp_path / "out"

    def interrupt(*_, **__):
        raise interruption

    monkeypatch.setattr(pipeline, "learn_tokenizer", interrupt)
    before = set(tmp_path.iterdir())
    with pytest.raises((KeyboardInterrupt, SystemExit, OutputError)):
        prepare_corpus(corpus, vocabulary, output)
    assert set(tmp_path.iterdir()) == before
    monkeypatch.undo()
    old = listing(prepare_corpus(corpus, vocabulary, output).path)
    monkeypatch.setattr(pipeline, "learn_tokenizer", interrupt)
    with pytest.raises((KeyboardInterrupt, SystemExit, OutputError)):
        prepare_corpus(corpus, VocabularySection(size=60), output, overwrite=True)
    assert listing(output) == old


# What cannot be prepared.


def test_separate_vocabularies_that_are_too_large_name_a_size_for_both(corpus, tmp_path):
    section = VocabularySection(size=5000, separate=True)
    with pytest.raises(RecipeError, match=r"the most of the source, .* of the target") as caught:
        prepare_corpus(corpus, section, tmp_path / "out")
    size = int(caught.value.fix.split()[1])
    prepared = prepare_corpus(corpus, section.model_copy(update={"size": size}), tmp_path / "out")
    assert len(prepared.source_tokenizer) == len(prepared.target_tokenizer) == size


def test_a_corpus_of_three_lines(write, pairs, vocabulary, tmp_path):
    with pytest.raises(DataError, match="too few clean training pairs, 3"):
        prepare_corpus(CorpusSection(train=[text(write, "t", pairs[:3])]), vocabulary, tmp_path / "out")
    with pytest.raises(RecipeError, match="is the most"):
        prepare_corpus(
            CorpusSection(train=[text(write, "t", pairs[:3])], **ALONE), VocabularySection(), tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="there are no named pipes")
def test_a_pipe_is_no_input(files, vocabulary, tmp_path):
    """Its text would be gone with the hash: `--source <(zcat train.en.gz)`."""
    os.mkfifo(tmp_path / "pipe.en")
    with pytest.raises(DataError, match="a pipe"):
        prepare_corpus(
            CorpusSection(train=[files.model_copy(update={"source": tmp_path / "pipe.en"})]),
            vocabulary,
            tmp_path / "out",
        )


def test_nothing_left(files, vocabulary, tmp_path):
    none = CorpusSection(train=[files], filters=FilterSection(max_characters=3))
    with pytest.raises(DataError, match=r"no training pair is left of 300: 300 too long \(characters\)"):
        prepare_corpus(none, vocabulary, tmp_path / "out")
    short = CorpusSection(train=[files], filters=FilterSection(max_tokens=1))
    with pytest.raises(DataError, match=r"no training pair is left of 300: .*too long \(tokens\)"):
        prepare_corpus(short, vocabulary, tmp_path / "out")
    same = CorpusSection(train=[files], test=files, valid_size=0)
    with pytest.raises(DataError, match="300 source in the test set"):
        prepare_corpus(same, vocabulary, tmp_path / "out")


def test_lines_that_end_in_something_else_are_seen_as_the_cause(vocabulary, tmp_path):
    for language in ("en", "de"):
        (tmp_path / f"mac.{language}").write_bytes(b"one of many sentences\r" * 300)
    files = TextSource(source=tmp_path / "mac.en", target=tmp_path / "mac.de")
    with pytest.raises(DataError, match="left of 1, which hold 598 times a carriage return") as caught:
        prepare_corpus(CorpusSection(train=[files]), vocabulary, tmp_path / "out")
    assert "put line feeds in its place" in caught.value.fix


def test_no_training_text(vocabulary, tmp_path):
    with pytest.raises(RecipeError, match="no training text"):
        prepare_corpus(CorpusSection(), vocabulary, tmp_path / "out")


def test_missing_inputs(files, vocabulary, tmp_path):
    missing = files.model_copy(update={"target": tmp_path / "none.de"})
    with pytest.raises(DataError, match="no such file"):
        prepare_corpus(CorpusSection(train=[missing]), vocabulary, tmp_path / "out")
    model = VocabularySection(source_model=tmp_path / "none.spm")
    with pytest.raises(DataError, match="no such file"):
        prepare_corpus(CorpusSection(train=[files]), model, tmp_path / "out")


# Real text.


def normalize(line):
    return " ".join(unicodedata.normalize("NFKC", line).casefold().split())


def test_tatoeba_has_no_sentence_on_two_sides(shared_corpora, tmp_path):
    folder = shared_corpora / "tatoeba-de-en"
    corpus = CorpusSection(train=[TextSource(source=folder / "all.de.gz", target=folder / "all.en.gz")])
    prepared = prepare_corpus(
        corpus, VocabularySection(size=1000, type="bpe", sample_sentences=20_000), tmp_path / "out"
    )
    sides = [
        {(side, normalize(line)) for side in ("source", "target") for line in getattr(split, f"{side}_lines")()}
        for split in (prepared.train, prepared.valid, prepared.test)
    ]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    manifest = prepared.manifest
    assert manifest.pairs_read == 169_197
    kept = sum(split.pairs for split in manifest.splits.values())
    assert kept + sum(manifest.dropped.values()) == 169_197


def test_real_text_decodes_to_itself(shared_corpora, tmp_path):
    path = shared_corpora / "po-tm" / "en-de.tsv.gz"
    corpus = CorpusSection(train=[TextSource(path=path, columns=(2, 3))], **ALONE)
    prepared = prepare_corpus(corpus, VocabularySection(size=2000, type="bpe"), tmp_path / "out")
    tokenizer, lines = prepared.target_tokenizer, prepared.train.target_lines()
    assert tokenizer.decode_batch(tokenizer.encode(lines)) == [
        " ".join(filter(None, line.split(" "))) for line in lines
    ]
