import io
import json

import numpy as np
import pytest

from mtkit.errors import DataError, OutputError, RecipeError
from mtkit.inspection import vector_files
from mtkit.inspection.vector_files import SUFFIXES, NpyWriter, is_vector_file, iter_vectors, open_vectors

LINES = ["a dog", "", 'ü "quoted"\t\\', "d", "e"]


@pytest.fixture
def matrix():
    values = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    values[1] = 0
    values[2] = [1e-30, -3e20, 1 / 3]
    return values


def save(path, matrix, lines=LINES):
    with open_vectors(path, matrix.shape[1]) as vectors:
        vectors.write(lines[:2], matrix[:2])
        vectors.write([], matrix[:0])
        vectors.write(lines[2:], matrix[2:])


def read(path):
    pieces = list(iter_vectors(path))
    texts = None if pieces[0][0] is None else [text for texts, _ in pieces for text in texts]
    return texts, np.concatenate([vectors for _, vectors in pieces])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read(tmp_path, matrix, suffix):
    path = tmp_path / f"x{suffix}"
    save(path, matrix)
    texts, vectors = read(path)
    assert texts == (None if suffix == ".npy" else LINES)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, matrix)
    assert list(tmp_path.iterdir()) == [path]


def test_numpy_reads_npy(tmp_path, matrix):
    save(tmp_path / "x.npy", matrix)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy", mmap_mode="r"), matrix)


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 12345])
def test_the_header_has_room_for_any_number_of_rows(rows):
    stream = io.BytesIO()
    writer = NpyWriter(stream, 2)
    values = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    for start in range(0, rows, 1000):
        writer.write([], values[start : start + 1000])
    writer.finish()
    stream.seek(0)
    np.testing.assert_array_equal(np.load(stream), values)
    writer._num_rows = 10**12
    assert len(writer._header()) == 128


def test_parquet_is_written_in_row_groups(tmp_path, matrix, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr(vector_files, "_GROUP_ROWS", 2)
    save(tmp_path / "x.parquet", matrix)
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column_names == ["text", "vector"]
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == 2


def test_jsonl_is_an_object_a_line(tmp_path, matrix):
    save(tmp_path / "x.jsonl", matrix)
    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == LINES
    assert rows[1] == {"text": "", "vector": [0, 0, 0]}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_fails_leaves_nothing(tmp_path, matrix, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), open_vectors(path, 3) as vectors:
        vectors.write(LINES, matrix)
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written(tmp_path, matrix):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save(tmp_path / "file" / "x.npy", matrix)


@pytest.mark.parametrize("name", ["x", "x.txt", "x.npz", "x.npy.gz"])
def test_a_suffix_that_says_nothing(tmp_path, matrix, name):
    with pytest.raises(RecipeError, match="does not tell the format") as caught:
        save(tmp_path / name, matrix)
    assert caught.value.fix == "end the name in .npy, .parquet or .jsonl"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [None, b"", b"nonsense", b'{"text": "a"}\n', b'{"vector": ["a"]}\n'])
def test_what_is_no_file_of_vectors(tmp_path, suffix, content):
    path = tmp_path / f"x{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(path) in caught.value.at


def test_vectors_that_cannot_be_compared(tmp_path, write):
    np.save(tmp_path / "one.npy", np.zeros(3, np.float32))
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    np.save(tmp_path / "object.npy", np.array([[None]]), allow_pickle=True)
    np.save(tmp_path / "nan.npy", np.array([[1.0], [np.nan]]))
    write("mixed.jsonl", ['{"vector": [1, 2]}', '{"vector": [1]}'])
    messages = {"one": "no matrix", "text": "no matrix", "object": "cannot read", "nan": "not finite"}
    for name, message in messages.items():
        with pytest.raises(DataError, match=message) as caught:
            read(tmp_path / f"{name}.npy")
    assert caught.value.at.endswith("nan.npy: row 2")
    with pytest.raises(DataError, match="unequal lengths"):
        read(tmp_path / "mixed.jsonl")


def test_lengths_that_change_between_pieces(tmp_path, monkeypatch, write):
    monkeypatch.setattr(vector_files, "_CHUNK_LINES", 1)
    with pytest.raises(DataError, match="2 and of 1 dimensions") as caught:
        read(write("mixed.jsonl", ['{"vector": [1, 2]}', '{"vector": [1]}']))
    assert caught.value.at.endswith("row 2")


@pytest.mark.parametrize("line", ["{", '{"text": "a"}'])
def test_a_malformed_line_is_named(monkeypatch, write, line):
    monkeypatch.setattr(vector_files, "_CHUNK_LINES", 2)
    with pytest.raises(DataError) as caught:
        read(write("x.jsonl", ['{"vector": [1, 2]}'] * 3 + [line]))
    assert caught.value.at.endswith("x.jsonl:4")


def test_a_text_that_is_not_there_is_empty(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", None], "vector": [[1.0], [2.0]]}), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet")[0] == ["a", ""]


def test_a_suffix_in_capitals_tells_the_format_too(tmp_path, matrix):
    save(tmp_path / "x.NPY", matrix)
    assert is_vector_file(tmp_path / "x.NPY")
    np.testing.assert_array_equal(read(tmp_path / "x.NPY")[1], matrix)


def test_other_precisions_are_read(tmp_path, matrix):
    for kind in (np.float16, np.float64):
        np.save(tmp_path / "x.npy", np.clip(matrix, -1, 1).astype(kind))
        assert read(tmp_path / "x.npy")[1].dtype == np.float32
