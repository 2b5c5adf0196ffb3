import json
from functools import partial

import datasets
import numpy as np
import pyarrow as pa
import pytest

from mtkit.corpus import pipeline, store
from mtkit.corpus import writer as writer_module
from mtkit.corpus.manifest import FORMAT_VERSION, is_prepared_corpus
from mtkit.corpus.prepare import prepare_corpus
from mtkit.corpus.readers import iter_pairs
from mtkit.corpus.store import CorpusSplit, PreparedCorpus, build_schema
from mtkit.errors import DataError, ModelError

COLUMNS = ["source", "target", "source_ids", "target_ids", "corpus"]


@pytest.fixture
def folder(tmp_path, corpus, vocabulary, monkeypatch):
    """A prepared corpus in several shards of several batches."""
    monkeypatch.setattr(writer_module, "_SHARD_BYTES", 6000)
    monkeypatch.setattr(pipeline, "iter_pairs", partial(iter_pairs, chunk_pairs=16))
    prepare_corpus(corpus, vocabulary, tmp_path / "corpus")
    return tmp_path / "corpus"


@pytest.fixture
def prepared(folder):
    return PreparedCorpus.load(folder)


def test_shards(folder):
    assert len(list((folder / "train").glob("*.arrow"))) > 2


def test_pairs(prepared, pairs):
    assert len(prepared.train) == 240
    assert len(prepared.valid) == len(prepared.test) == 30
    everything = [
        (pair.source, pair.target) for split in (prepared.train, prepared.valid, prepared.test) for pair in split
    ]
    assert sorted(everything) == sorted(pairs)
    first, last = prepared.train[0], prepared.train[-1]
    assert first.source_ids == prepared.source_tokenizer.encode([first.source])[0]
    assert last.target_ids == prepared.target_tokenizer.encode([last.target])[0]
    assert last == prepared.train[239]
    assert first.corpus == "train.en"
    with pytest.raises(IndexError):
        prepared.train[240]


def test_token_ids_of_rows_in_any_order(prepared):
    rows = np.array([239, 0, 100, 100, 17])
    sources, targets = prepared.train.token_ids(rows)
    assert [ids.tolist() for ids in sources] == [prepared.train[row].source_ids for row in rows]
    assert [ids.tolist() for ids in targets] == [prepared.train[row].target_ids for row in rows]
    assert all(ids.dtype == np.int32 for ids in sources + targets)
    assert prepared.train.token_ids(np.zeros(0, np.int64)) == ([], [])


def test_texts_of_rows_in_any_order(prepared):
    rows = np.array([239, 0, 100, 100, 17])
    sources, targets = prepared.train.texts(rows)
    assert sources == [prepared.train[row].source for row in rows]
    assert targets == [prepared.train[row].target for row in rows]
    assert prepared.train.texts(np.arange(240)) == (prepared.train.source_lines(), prepared.train.target_lines())
    assert prepared.train.texts(np.zeros(0, np.int64)) == ([], [])


def test_texts_of_a_slice_and_of_empty_lines():
    lines = ["ä€😀", "", "b", "", "犬"]
    ids = pa.array([[1]] * 5, pa.list_(pa.int32()))
    table = pa.table([lines, [""] * 5, ids, ids, ["one", "one", "two", "one", "two"]], schema=build_schema())
    table = pa.concat_tables([table.slice(1, 3), table.slice(4), table.slice(0, 2)])
    split = CorpusSplit(table)
    assert split.texts(np.arange(6)) == (["", "b", "", "犬", "ä€😀", ""], [""] * 6)
    assert [split.corpus_names[code] for code in split.corpus_codes] == ["one", "two", "one", "two", "one", "one"]


def test_codes_of_many_corpora_are_wider():
    ids = pa.array([[1]] * 257, pa.list_(pa.int32()))
    names = [f"corpus {row}" for row in range(257)]
    split = CorpusSplit(pa.table([names, names, ids, ids, names], schema=build_schema()))
    assert split.corpus_names == names
    assert split.corpus_codes.tolist() == list(range(257))
    assert split.corpus_codes.dtype == np.uint16


def test_lengths(prepared):
    assert prepared.train.source_lengths.tolist() == [len(pair.source_ids) for pair in prepared.train]
    assert prepared.train.target_lengths.tolist() == [len(pair.target_ids) for pair in prepared.train]
    assert prepared.train.source_lengths.dtype == np.int32


def test_plain_text(prepared):
    for name, split in (("valid", prepared.valid), ("test", prepared.test)):
        for side, lines in (("source", split.source_lines()), ("target", split.target_lines())):
            assert prepared.text_path(name, side).read_bytes().decode() == "".join(f"{line}\n" for line in lines)


def test_datasets_opens_it(prepared, folder):
    opened = datasets.load_from_disk(str(folder / "train"))
    assert opened.column_names == COLUMNS
    assert len(opened) == 240
    assert opened[239]["target_ids"] == prepared.train[239].target_ids
    single = datasets.Dataset.from_file(str(folder / "valid" / "data-00000.arrow"))
    assert single["source"][:] == prepared.valid.source_lines()[: len(single)]


def test_what_it_tells(prepared):
    assert prepared.source_language == "en"
    assert prepared.target_language == "de"
    assert prepared.fingerprint == prepared.manifest.fingerprint
    assert prepared.source_tokenizer is prepared.target_tokenizer
    assert prepared.manifest.vocabulary_sizes == {"source": 80, "target": 80}


def test_not_a_prepared_corpus(tmp_path):
    with pytest.raises(DataError, match="no such prepared corpus"):
        PreparedCorpus.load(tmp_path / "none")
    with pytest.raises(DataError, match=r"it has no manifest\.json"):
        PreparedCorpus.load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "another"}')
    with pytest.raises(DataError, match="another program's"):
        PreparedCorpus.load(tmp_path)
    assert not is_prepared_corpus(tmp_path)


def edit(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def test_a_newer_version_is_refused(folder):
    edit(folder, format_version=FORMAT_VERSION + 1, splits="of another shape")
    with pytest.raises(DataError, match=f"format version {FORMAT_VERSION + 1}") as caught:
        PreparedCorpus.load(folder)
    assert "update mtkit" in caught.value.fix


def test_a_damaged_manifest(folder):
    edit(folder, splits=3)
    with pytest.raises(DataError, match="damaged at 'splits'"):
        PreparedCorpus.load(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="cannot read the manifest"):
        PreparedCorpus.load(folder)


def test_damaged_files(folder):
    shard = folder / "train" / "data-00001.arrow"
    content = shard.read_bytes()
    shard.write_bytes(content[:-100])
    with pytest.raises(DataError, match="damaged") as caught:
        PreparedCorpus.load(folder)
    assert caught.value.at == str(shard)
    shard.write_bytes(content + b"\0")
    with pytest.raises(DataError, match="damaged"):
        PreparedCorpus.load(folder)
    shard.write_bytes(bytes(len(content)))
    with pytest.raises(DataError, match="a shard of the prepared corpus is damaged"):
        _ = PreparedCorpus.load(folder).train
    shard.unlink()
    with pytest.raises(DataError, match="missing"):
        PreparedCorpus.load(folder)


def test_of_a_large_corpus_the_small_files_are_verified(prepared, monkeypatch):
    sizes = sorted(prepared.manifest.file_bytes.values())
    monkeypatch.setattr(store, "_VERIFIED_BYTES", sum(sizes[:-1]))
    largest = max(prepared.manifest.file_bytes, key=prepared.manifest.file_bytes.get)
    for name in prepared.manifest.file_bytes:
        path = prepared.path / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        if name == largest:
            prepared.verify()
        else:
            with pytest.raises(DataError, match="has changed"):
                prepared.verify()
        path.write_bytes(content)
    prepared.verify()


def test_damaged_vocabulary(folder):
    model = folder / "shared.spm"
    model.write_bytes(bytes(model.stat().st_size))
    with pytest.raises(ModelError):
        PreparedCorpus.load(folder)
