"""The speed and memory of `mtkit prepare`: `pytest -m benchmark -s tests/benchmarks/test_prepare_speed.py`.

The text is made by joining pairs of real sentence pairs at random. MTKIT_BENCHMARK_PAIRS sets how many pairs the
memory is measured with, 10,000,000 where it is not given.
"""

import gzip
import os
import random
import subprocess
import sys
import time

import pytest
import sentencepiece

from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.prepare import prepare_corpus
from mtkit.corpus.tokenizer import learn_tokenizer

THREADS = os.cpu_count() or 1
MAX_RATIO = 2.5
MAX_BYTES = 2 << 30
SOURCES = ("tatoeba-de-en/all", "multi30k/train", "libreoffice-help-de-en/all", "wmt-newstest-de-en/newstest2013")

PREPARE = """\
import resource, sys
from pathlib import Path
from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.prepare import prepare_corpus
source, target, model, output = map(Path, sys.argv[1:])
corpus = CorpusSection(train=[TextSource(source=source, target=target)])
prepare_corpus(corpus, VocabularySection(source_model=model), output)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.fixture(scope="module")
def real_pairs(shared_corpora):
    def read(name):
        with gzip.open(shared_corpora / name, "rt", encoding="utf-8", newline="\n") as stream:
            return stream.read().split("\n")[:-1]

    return [pair for name in SOURCES for pair in zip(read(f"{name}.en.gz"), read(f"{name}.de.gz"), strict=True)]


@pytest.fixture(scope="module")
def model(real_pairs, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "shared.spm"
    lines = (line for pair in real_pairs[::4] for line in pair)
    learn_tokenizer(lines, VocabularySection(size=8000)).save(path)
    return path


def recombine(pairs, count, folder):
    draw = random.Random(1)
    source, target = folder / "train.en", folder / "train.de"
    with (
        source.open("w", encoding="utf-8", newline="\n") as left,
        target.open("w", encoding="utf-8", newline="\n") as right,
    ):
        for _ in range(count):
            one, other = draw.choice(pairs), draw.choice(pairs)
            left.write(f"{one[0]} {other[0]}\n")
            right.write(f"{one[1]} {other[1]}\n")
    return source, target


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_speed(real_pairs, model, tmp_path):
    source, target = recombine(real_pairs, 1_000_000, tmp_path)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    alone = 0.0
    for path in (source, target):
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        start = time.perf_counter()
        for first in range(0, len(lines), 10_000):
            processor.encode(lines[first : first + 10_000], out_type=int, num_threads=THREADS)
        alone += time.perf_counter() - start
    corpus = CorpusSection(train=[TextSource(source=source, target=target)])
    start = time.perf_counter()
    prepare_corpus(corpus, VocabularySection(source_model=model), tmp_path / "out", threads=THREADS)
    whole = time.perf_counter() - start
    print(f"\n1,000,000 pairs, {THREADS} threads: prepare {whole:.1f} s, SentencePiece alone {alone:.1f} s")
    print(f"ratio {whole / alone:.2f} (at most {MAX_RATIO})")
    assert whole <= MAX_RATIO * alone


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_memory(real_pairs, model, tmp_path):
    count = int(os.environ.get("MTKIT_BENCHMARK_PAIRS", "10000000"))
    source, target = recombine(real_pairs, count, tmp_path)
    command = [sys.executable, "-c", PREPARE, source, target, model, tmp_path / "out"]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"\n{count:,} pairs: peak memory {peak / 2**20:,.0f} MiB (at most {MAX_BYTES / 2**20:,.0f})")
    assert peak < MAX_BYTES
