import pyarrow as pa

from mtkit.corpus.store import build_schema
from mtkit.corpus.writer import SplitWriter


def make_batch(sources, source_ids):
    empty = [[] for _ in sources]
    columns = {"source": sources, "target": sources, "source_ids": source_ids, "target_ids": empty}
    return pa.RecordBatch.from_pydict({**columns, "corpus": ["c"] * len(sources)}, schema=build_schema())


def test_statistics(tmp_path):
    with SplitWriter(tmp_path / "train", source_unk_id=1, target_unk_id=1) as writer:
        writer.write(make_batch(["two words", "", "  three\twords  here ", "éin"], [[5, 1], [], [5] * 10, [1]]))
        writer.write(make_batch(["x"], [[7] * 200]))
        writer.write(make_batch([], []))
    statistics = writer.statistics()
    assert statistics.pairs == 5
    assert statistics.source.words == 2 + 0 + 3 + 1 + 1
    assert statistics.source.tokens == 213
    assert statistics.source.unknown == 2
    assert statistics.source.length_percentiles == {"50": 2, "90": 200, "99": 200, "max": 200}
    assert statistics.target.tokens == 0


def test_slices_are_counted_as_slices(tmp_path):
    batch = make_batch(["a b", "c", "d e f", "g"], [[1, 1], [5], [6] * 3, [1]])
    with SplitWriter(tmp_path / "train", 1, 1) as writer:
        writer.write(batch.slice(1, 2))
    statistics = writer.statistics().source
    assert (statistics.words, statistics.tokens, statistics.unknown) == (4, 4, 0)


def test_each_side_and_each_corpus_is_counted_by_itself(tmp_path):
    columns = {
        "source": ["a b", "c"],
        "target": ["d", "e f g h"],
        "source_ids": [[1, 2], [3]],
        "target_ids": [[2], [1, 2]],
    }
    batch = pa.RecordBatch.from_pydict({**columns, "corpus": ["one", "two"]}, schema=build_schema())
    with SplitWriter(tmp_path / "train", source_unk_id=1, target_unk_id=2) as writer:
        writer.write(batch)
        writer.write(batch.slice(0, 1))
    statistics = writer.statistics()
    assert (statistics.source.words, statistics.target.words) == (5, 6)
    assert (statistics.source.tokens, statistics.target.tokens) == (5, 4)
    assert (statistics.source.unknown, statistics.target.unknown) == (2, 3)
    assert writer.corpora == {"one": 2, "two": 1}


def test_half_of_the_lines_are_no_longer_than_the_median(tmp_path):
    with SplitWriter(tmp_path / "train", 1, 1) as writer:
        writer.write(make_batch(["x"] * 4, [[5] * length for length in (1, 2, 3, 4)]))
    assert writer.statistics().source.length_percentiles["50"] == 2
