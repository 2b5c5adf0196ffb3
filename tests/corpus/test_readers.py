import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtkit.config.corpus import TextSource
from mtkit.corpus.readers import iter_pairs
from mtkit.corpus.reading import Reading
from mtkit.errors import DataError, RecipeError

PAIRS = [("one", "eins"), ("two", "zwei"), ("", "leer"), ("four ½", "vier „x“"), ("five", "fünf")]
EN_DE = ("en", "de")


def read(role="train", languages=EN_DE, chunk_pairs=2, **source):
    reading = Reading()
    pairs = [
        pair
        for sources, targets in iter_pairs(TextSource(**source), role, languages, reading, chunk_pairs)
        for pair in zip(sources, targets, strict=True)
    ]
    return pairs, reading


def write_json_lines(write, rows):
    return write("x.jsonl", [json.dumps(row) for row in rows])


# Two text files.


def test_text(write):
    source = write("x.en", [source for source, _ in PAIRS])
    target = write("x.de", [target for _, target in PAIRS])
    assert read(source=source, target=target)[0] == PAIRS


def test_text_repairs_and_counts(write):
    pairs, reading = read(source=write("x.en", "a\r\nb\u2028c\r\n"), target=write("x.de", "d\ne\n"))
    assert pairs == [("a", "d"), ("b c", "e")]
    assert reading.repaired == {"CRLF line end": 2, "line separator (U+2028)": 1}


@pytest.mark.parametrize(("left", "right"), [(5, 4), (4, 5), (1, 400), (400, 1), (3, 2)])
def test_unequal_line_counts(write, left, right):
    with pytest.raises(DataError, match=f"not aligned: {left} lines and {right} lines"):
        read(source=write("x.en", ["a"] * left), target=write("x.de", ["b"] * right))


def test_misalignment_hints_at_an_odd_separator(write):
    source = write("x.en", ["a", "b\x85c", "d"])
    with pytest.raises(DataError) as caught:
        read(source=source, target=write("x.de", ["a"] * 4))
    assert f"{source}:2, which holds a next line (U+0085)" in caught.value.fix


def test_misalignment_hints_at_a_lost_line(write):
    target = write("x.de", ["a", "", "c", "d"])
    with pytest.raises(DataError) as caught:
        read(source=write("x.en", ["a", "b", "c"]), target=target)
    assert f"{target}:2, which is empty on this side only" in caught.value.fix


def test_misalignment_hints_at_a_line_of_spaces_and_at_no_windows_line_end(write):
    source = write("x.en", "a\r\n \t\r\nc\r\n")
    with pytest.raises(DataError) as caught:
        read(source=source, target=write("x.de", "a\r\nb\r\nc\r\nd\r\n"))
    assert f"{source}:2, which is empty on this side only" in caught.value.fix


# TSV.


def test_tsv_finds_columns_by_language(write):
    path = write("x.tsv", ["id\tde\ten", *(f"1\t{target}\t{source}" for source, target in PAIRS)])
    assert read(path=path)[0] == PAIRS


def test_tsv_by_name_and_by_number(write):
    header = write("x.tsv", ["a\tb", *("\t".join(pair) for pair in PAIRS)])
    assert read(path=header, columns=("a", "b"))[0] == PAIRS
    assert read(path=header, columns=(1, 2))[0] == [("a", "b"), *PAIRS]
    assert read(path=header, columns=("2", "1"))[0][1] == ("eins", "one")


def test_tsv_columns_are_numbers_only_if_both_are(write):
    assert read(path=write("x.tsv", ["2016\tde", "a\tb"]), columns=("2016", "de"))[0] == [("a", "b")]


def test_tsv_columns_of_the_languages_go_before_source_and_target(write):
    path = write("x.tsv", ["source\ttarget\ten\tde", "web\ttrain\ta\tb"])
    assert read(path=path)[0] == [("a", "b")]
    assert read(path=path, languages=(None, "de"))[0] == [("web", "train")]


def test_tsv_with_windows_line_ends(write):
    pairs, reading = read(path=write("x.tsv", "source\ttarget\r\na\tb\r\n"))
    assert pairs == [("a", "b")]
    assert reading.repaired == {"CRLF line end": 2}


def test_tsv_quotes_mean_nothing(write):
    assert read(path=write("x.tsv", ["source\ttarget", '"a\t"b"c']))[0] == [('"a', '"b"c')]


@pytest.mark.parametrize(("columns", "line"), [(None, 4), ((1, 2), 4)])
def test_tsv_names_the_line_that_lacks_a_column(write, columns, line):
    path = write("x.tsv", ["source\ttarget", "a\tb", "a\tb", "lonely", "a\tb"])
    with pytest.raises(DataError, match="1 columns, and column 2 is needed") as caught:
        read(path=path, columns=columns)
    assert caught.value.at == f"{path}:{line}"


@pytest.mark.parametrize("columns", [None, (1, 2)])
def test_tsv_names_the_line_with_a_tab_in_a_text(write, columns):
    """What stands in the first two columns there are the halves of one text."""
    path = write("x.tsv", ["source\ttarget", "a\tb", "a\tb", "torn\tin two\tentzwei"])
    with pytest.raises(DataError, match="3 columns where the first row has 2") as caught:
        read(path=path, columns=columns)
    assert caught.value.at == f"{path}:4"
    assert read(path=write("x.tsv", ["source\ttarget", "a\tb\t\t", "\t"]), columns=columns)[0][-2:] == [
        ("a", "b"),
        ("", ""),
    ]


def test_tsv_without_telling_columns(write):
    with pytest.raises(DataError, match="cannot tell which columns") as caught:
        read(path=write("x.tsv", ["uno\tdue", "a\tb"]))
    assert "uno, due" in caught.value.fix
    with pytest.raises(DataError, match="no column 'tre'"):
        read(path=write("x.tsv", ["uno\tdue", "a\tb"]), columns=("uno", "tre"))


def test_tsv_column_zero_and_no_rows(write):
    for columns in ((0, 1), (1, 0)):
        with pytest.raises(RecipeError, match="no column 0"):
            read(path=write("x.tsv", ["a\tb"]), columns=columns)
    with pytest.raises(DataError, match="no pairs"):
        read(path=write("x.tsv", ["source\ttarget"]))


def test_tsv_compressed(tmp_path):
    path = tmp_path / "x.tsv.gz"
    path.write_bytes(gzip.compress(b"source\ttarget\na\tb\n"))
    assert read(path=path)[0] == [("a", "b")]


# JSON lines.


def test_jsonl_flat_and_nested(write):
    flat = [{"en": source, "de": target, "other": 1} for source, target in PAIRS]
    nested = [{"translation": {"en": source, "de": target}} for source, target in PAIRS]
    assert read(path=write_json_lines(write, flat))[0] == PAIRS
    assert read(path=write_json_lines(write, nested))[0] == PAIRS
    assert read(path=write_json_lines(write, nested), columns=("translation.de", "translation.en"))[0][0] == (
        "eins",
        "one",
    )


def test_jsonl_null_blank_lines_and_line_breaks(write):
    path = write("x.jsonl", '{"source": null, "target": "a\\nb"}\n\n \r\n{"source": "c", "target": "d\\u0000e"}\n')
    pairs, reading = read(path=path)
    assert pairs == [("", "a b"), ("c", "d e")]
    assert reading.repaired == {"line break inside a field": 1, "NUL": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ('{"source": "a"}', "no 'target'"),
        ('{"source": "a", "target": 3}', "holds no text but 3"),
        ('{"source": "a", "target": "\\ud800"}', "surrogate"),
        ('{"source": "a", "target": {"x": "b"}}', "holds no text but"),
    ],
)
def test_jsonl_names_the_malformed_line(write, line, message):
    good = '{"source": "a", "target": "b"}'
    path = write("x.jsonl", [good, "", good, good, line])
    with pytest.raises(DataError, match=message) as caught:
        read(path=path)
    assert caught.value.at == f"{path}:5"


def test_jsonl_a_name_with_a_dot_may_be_that_of_a_column(write):
    rows = [{"text.en": "a", "text.de": "b"}]
    assert read(path=write_json_lines(write, rows), columns=("text.en", "text.de"))[0] == [("a", "b")]


@pytest.mark.parametrize("value", [None, "text"])
def test_jsonl_names_the_line_that_lacks_the_inner_object(write, value):
    path = write_json_lines(write, [{"translation": {"en": "a", "de": "b"}}, {"translation": value}])
    with pytest.raises(DataError, match=r"no 'translation\.en' in this line") as caught:
        read(path=path)
    assert caught.value.at == f"{path}:2"


# Parquet.


def write_parquet(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_parquet_flat_nested_and_null(tmp_path):
    sources, targets = map(list, zip(*PAIRS, strict=True))
    flat = write_parquet(tmp_path / "flat.parquet", {"id": [0] * 5, "en": sources, "de": targets}, row_group_size=2)
    nested = [{"en": source, "de": target} for source, target in PAIRS]
    assert read(path=flat)[0] == PAIRS
    assert read(path=write_parquet(tmp_path / "nested.parquet", {"translation": nested}))[0] == PAIRS
    nulls = write_parquet(tmp_path / "nulls.parquet", {"source": ["a", None], "target": ["b", "c"]})
    assert read(path=nulls)[0] == [("a", "b"), ("", "c")]
    category = pa.array(sources).dictionary_encode()
    assert read(path=write_parquet(tmp_path / "d.parquet", {"en": category, "de": targets}))[0] == PAIRS
    large = {"en": pa.array(sources, pa.large_string()), "de": pa.array(targets, pa.large_string())}  # as Polars has it
    assert read(path=write_parquet(tmp_path / "large.parquet", large))[0] == PAIRS
    dotted = write_parquet(tmp_path / "dotted.parquet", {"text.en": sources, "text.de": targets})
    assert read(path=dotted, columns=("text.en", "text.de"))[0] == PAIRS


def test_parquet_faults(tmp_path, write):
    with pytest.raises(DataError, match="cannot read it as Parquet"):
        read(path=write("x.parquet", "no parquet"))
    with pytest.raises(DataError, match="no such file"):
        read(path=tmp_path / "none.parquet")
    with pytest.raises(DataError, match="holds no text but int64"):
        read(path=write_parquet(tmp_path / "n.parquet", {"source": [1], "target": ["b"]}))
    with pytest.raises(DataError, match="no pairs"):
        read(
            path=write_parquet(
                tmp_path / "e.parquet", {"source": pa.array([], "string"), "target": pa.array([], "string")}
            )
        )
    with pytest.raises(DataError, match="no column 'x'"):
        read(path=write_parquet(tmp_path / "c.parquet", {"source": ["a"], "target": ["b"]}), columns=("x", "target"))


def test_suffixes_in_capitals_and_of_ndjson(write, tmp_path):
    assert read(path=write("x.TSV", ["source\ttarget", "a\tb"]))[0] == [("a", "b")]
    (tmp_path / "y.TSV.GZ").write_bytes(gzip.compress(b"source\ttarget\na\tb\n"))
    assert read(path=tmp_path / "y.TSV.GZ")[0] == [("a", "b")]
    assert read(path=write("x.ndjson", ['{"en": "a", "de": "b"}']))[0] == [("a", "b")]


def test_the_share_that_is_read_is_told(write, tmp_path):
    """Of it the progress bar makes the number of all pairs."""
    columns = {"source": ["a"] * 3, "target": ["b"] * 3}
    sources = [
        {"source": write("x.en", ["a"] * 3), "target": write("x.de", ["b"] * 3)},
        {"path": write("x.tsv", ["source\ttarget", *["a\tb"] * 3])},
        {"path": write_json_lines(write, [{"en": "a", "de": "b"}] * 3)},
        {"path": write_parquet(tmp_path / "x.parquet", columns)},
    ]
    assert [read(**source)[1].share for source in sources] == [1] * 4


def test_unknown_suffix(write):
    with pytest.raises(RecipeError, match=r"no reader for '\.csv' files"):
        read(path=write("x.csv", "a,b\n"))


# Hugging Face data sets.


@pytest.fixture(scope="module")
def multi30k_like(tmp_path_factory):
    """Columns en and de, splits train, validation and test, as bentrevett/multi30k has them."""
    folder = tmp_path_factory.mktemp("hub") / "multi30k"
    sources, targets = map(list, zip(*PAIRS, strict=True))
    split = datasets.Dataset.from_dict({"en": sources, "de": targets})
    splits = {"train": split, "validation": split.select([1]), "test": split.select([3])}
    datasets.DatasetDict(splits).save_to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def wmt14_like(tmp_path_factory):
    """Parquet files with a nested translation, as wmt/wmt14 has them."""
    folder = tmp_path_factory.mktemp("hub") / "wmt14"
    folder.mkdir()
    rows = [{"translation": {"de": target, "en": source}} for source, target in PAIRS]
    features = datasets.Features({"translation": datasets.Translation(languages=["de", "en"])})
    for name, chosen in (("train", rows), ("validation", rows[:1]), ("test", rows[3:4])):
        datasets.Dataset.from_list(chosen, features=features).to_parquet(folder / f"{name}-00000-of-00001.parquet")
    return folder


def test_dataset_saved_to_disk(multi30k_like):
    pairs, reading = read(dataset=str(multi30k_like))
    assert pairs == PAIRS
    assert reading.share == 1
    assert read("valid", dataset=str(multi30k_like))[0] == [PAIRS[1]]
    assert read("test", dataset=str(multi30k_like))[0] == [PAIRS[3]]
    assert read("train", dataset=str(multi30k_like), split="validation")[0] == [PAIRS[1]]
    assert read(dataset=str(multi30k_like / "test"))[0] == [PAIRS[3]]
    assert read(dataset=str(multi30k_like), columns=("de", "en"))[0][0] == ("eins", "one")


def test_saved_dataset_is_never_another_than_asked_for(multi30k_like):
    single = str(multi30k_like / "test")
    for split in ("train[:1]", "banana", "validation"):
        with pytest.raises(DataError, match="one saved data set, without splits") as caught:
            read(dataset=single, split=split)
        assert "`split`" in caught.value.fix
    with pytest.raises(DataError, match=r"no split 'train\[:1\]'"):
        read(dataset=str(multi30k_like), split="train[:1]")
    for name, value in (("config", "de"), ("revision", "main"), ("data_files", "a.json"), ("streaming", True)):
        for folder in (single, str(multi30k_like)):
            with pytest.raises(DataError, match=f"save_to_disk, which knows no `{name}`"):
                read(dataset=folder, **{name: value})


def test_saved_dataset_may_be_asked_for_by_its_own_split(tmp_path):
    rows = {"en": ["one"], "de": ["eins"]}
    datasets.Dataset.from_dict(rows, split="validation").save_to_disk(tmp_path)
    assert read("train", dataset=str(tmp_path), split="validation")[0] == [("one", "eins")]


@pytest.mark.parametrize("streaming", [False, True])
def test_dataset_of_files(wmt14_like, tmp_path, monkeypatch, streaming):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    assert read(dataset=str(wmt14_like), streaming=streaming)[0] == PAIRS
    assert read("valid", dataset=str(wmt14_like), streaming=streaming)[0] == PAIRS[:1]
    assert read("test", dataset=str(wmt14_like), streaming=streaming, split="train")[0] == PAIRS
    files = str(wmt14_like / "test-00000-of-00001.parquet")
    assert read(dataset="parquet", data_files=files, streaming=streaming)[0] == [PAIRS[3]]


def test_dataset_faults(multi30k_like, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no split 'dev'") as caught:
        read(dataset=str(multi30k_like), split="dev")
    assert "train, validation, test" in caught.value.fix
    with pytest.raises(DataError, match="cannot tell which columns"):
        read(dataset=str(multi30k_like), languages=(None, None))
    with pytest.raises(DataError, match="cannot load the data set"):
        read(dataset=str(tmp_path))


def test_dataset_that_the_hub_was_asked_for_in_vain(monkeypatch):
    def fail(*_, **__):
        raise FileNotFoundError("Couldn't find any data file at a/b. … either: LocalEntryNotFoundError: An error …")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match="cannot reach the data set 'a/b'"):
        read(dataset="a/b")


@pytest.mark.parametrize("name", ["./nope", "../nope", "/nope/nope", "~/nope", "nope/", "no/such/folder"])
def test_a_folder_that_is_not_there_is_told_as_such(name):
    with pytest.raises(DataError, match="no such folder") as caught:
        read(dataset=name)
    assert caught.value.at == name


@pytest.mark.parametrize("status", [401, 403])
def test_dataset_that_the_hub_refuses(answer_as_hub, status):
    answer_as_hub(status, b"")
    with pytest.raises(DataError, match=f"the hub answers with HTTP status {status}") as caught:
        read(dataset="bentrevett/multi30k")
    assert "hf auth login" in caught.value.fix


def test_dataset_that_the_hub_lacks(answer_as_hub):
    answer_as_hub(404, b"", {"X-Error-Code": "RepoNotFound"})
    with pytest.raises(DataError, match="doesn't exist on the Hub") as caught:
        read(dataset="bentrevett/multi30k")
    assert "check the name" in caught.value.fix


def test_dataset_when_the_hub_is_out_of_reach(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="cannot reach the data set 'bentrevett/multi30k'") as caught:
        read(dataset="bentrevett/multi30k")
    assert "check the network" in caught.value.fix
