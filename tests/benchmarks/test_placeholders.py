"""How placeholders and markup come back, on software strings that a model trained on the rest has not seen:

    MTKIT_TEST_CORPORA=FOLDER pytest -m benchmark -s tests/benchmarks/test_placeholders.py

English-German strings out of gettext catalogs (po-tm). Held back are 2,000 messages drawn with a fixed seed from those
that carry placeholders, markup or access keys; what equals one of them but for case is in no training text. The rest
trains a tiny model; it sees placeholders as text.

Told are the shares of segments whose protected stretches are kept at once, on the second try, or that are left
untranslated, and BLEU of all held-back segments, without protection (text in, text out) and with it; and of how many
segments the translation without protection lost or made up something.

Environment variables:
    MTKIT_BENCHMARK_MODEL        a model in place of the one that is trained, which must not know these strings
    MTKIT_BENCHMARK_FOLDER       keeps everything here, and goes on with what is there
    MTKIT_BENCHMARK_STEPS        updates, default 3000: about fifteen minutes on one core
    MTKIT_BENCHMARK_SEGMENTS     messages held back, default 2000
    MTKIT_BENCHMARK_THREADS      threads, default 1
"""

import gzip
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mtkit.corpus.gettext_files import split_alike
from mtkit.documents.accelerators import put_accelerator, take_accelerator
from mtkit.documents.document import Protected, Segment
from mtkit.documents.pipeline import translate_document
from mtkit.documents.placeholders import find_placeholders

STEPS = int(os.environ.get("MTKIT_BENCHMARK_STEPS") or 3000)
SEGMENTS = int(os.environ.get("MTKIT_BENCHMARK_SEGMENTS") or 2000)
THREADS = int(os.environ.get("MTKIT_BENCHMARK_THREADS") or 1)
ESCAPES = {"\\n": "\n", "\\t": "\t", '\\"': '"', "\\\\": "\\"}
# What these projects put before an access key.
MARKS = {"debian:libreoffice-l10n": "~_", "debian:gnucash-common": "_", "pypi:gramps": "_"}

RECIPE = """\
corpus: {source_language: en, target_language: de, valid_size: 500, test_size: 0, filters: {max_targets_per_source: 3}}
vocabulary: {size: 4000, byte_fallback: true}
model: {preset: tiny, dropout: 0.1}
training: {batch_tokens: 2048, learning_rate: 2e-3, schedule: linear, warmup_steps: 300, average: last,
           average_count: 3, validation_sentences: 100}
decoding: {beam_size: 4}
"""


def call(*command):
    done = subprocess.run([sys.executable, "-m", "mtkit", *map(str, command)], check=False)
    assert done.returncode == 0


class Strings:
    """Segments as a document that is rendered as its texts."""

    def __init__(self, texts):
        self.segments = [Segment(find_placeholders(text), str(i)) for i, text in enumerate(texts)]
        self.results = []

    def render(self, translations):
        self.results = translations
        return b""


def unescape(text):
    out, i = "", 0
    while i < len(text):
        step = ESCAPES.get(text[i : i + 2])
        out, i = out + (step or text[i]), i + (2 if step else 1)
    return out


def read_rows(path):
    """Return source, target and the access key of each distinct row; access keys are taken out."""
    rows = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
        for line in stream:
            project, source, target = line.rstrip("\n").split("\t")
            source, target = unescape(source), unescape(target)
            key = None
            for mark in next((marks for name, marks in MARKS.items() if project.startswith(name)), ""):
                taken = take_accelerator(source, mark), take_accelerator(target, mark)
                if taken[0][1] and taken[1][1]:
                    source, target, key = taken[0][0], taken[1][0], (mark, taken[0][1])
            for pair in split_alike(source, target):
                if all(pair):
                    rows.setdefault((source, target), key)
    return [(source, target, key) for (source, target), key in rows.items()]


def count_protected(text):
    return Counter(part.text for part in find_placeholders(text) if isinstance(part, Protected) and part.text.strip())


def flat(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def strings(shared_corpora, tmp_path_factory):
    """The held-back rows, and a folder with a model of the rest."""
    rows = read_rows(shared_corpora / "po-tm" / "en-de.tsv.gz")
    carrying = sorted({source for source, _, key in rows if key or count_protected(source)})
    print(f"\n{len(rows):,} rows, {len(carrying):,} messages with placeholders, markup or access keys")
    names = set(random.Random(1).sample(carrying, min(SEGMENTS, len(carrying))))
    folded = {flat(name).casefold() for name in names}
    first = {}
    for row in rows:
        if row[0] in names:
            first.setdefault(row[0], row)
    given = os.environ.get("MTKIT_BENCHMARK_MODEL")
    if given:
        return list(first.values()), Path(given)
    folder = Path(os.environ.get("MTKIT_BENCHMARK_FOLDER") or tmp_path_factory.mktemp("placeholders"))
    folder.mkdir(parents=True, exist_ok=True)
    train = folder / "train.tsv"
    pairs = [
        pair
        for source, target, _ in rows
        if flat(source).casefold() not in folded
        for pair in split_alike(source, target)
        if pair[0].casefold() not in folded
    ]
    train.write_text("source\ttarget\n" + "".join(f"{s}\t{t}\n" for s, t in pairs), encoding="utf-8", newline="\n")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    threads = ["--threads", THREADS]
    call("prepare", folder / "recipe.yaml", f"--set=corpus.train.0.path={train}", "-o", folder / "corpus")
    sets = [f"--set=training.{n}={v}" for n, v in (("max_steps", STEPS), ("validate_every_steps", max(1, STEPS // 4)))]
    save = f"--set=training.save_every_steps={max(1, STEPS // 20)}"
    call("train", folder / "recipe.yaml", "--corpus", folder / "corpus", *sets, save, *threads, "-o", folder / "run")
    return list(first.values()), folder / "run" / "model"


@pytest.mark.benchmark
@pytest.mark.timeout(0)
def test_placeholders_come_back(strings):
    from sacrebleu.metrics import BLEU

    from mtkit.config.decoding import DecodingSection
    from mtkit.decoding.translator import Translator

    rows, model = strings
    sources, references = [row[0] for row in rows], [flat(row[1]) for row in rows]
    decoding = DecodingSection(beam_size=4, n_best=4)
    translator = Translator.load(model, device="cpu", decoding=decoding, threads=THREADS, align=True)
    plain = translator.translate([flat(source) for source in sources])
    lost = sum(count_protected(a) != count_protected(flat(b)) for a, b in zip(plain, sources, strict=True))
    document = Strings(sources)
    summary = translate_document(document, translator).summary
    done = ["".join(p if isinstance(p, str) else p.text for p in r) if r else None for r in document.results]
    keyed = 0
    for i, (row, text) in enumerate(zip(rows, done, strict=True)):
        if text is None:
            continue
        assert count_protected(text) == count_protected(row[0])
        if row[2]:
            mark, key = row[2]
            keyed += take_accelerator(put_accelerator(text, mark, key), mark)[1] is not None
        done[i] = flat(text)
    bleu = BLEU()
    texts = [text if text is not None else flat(source) for text, source in zip(done, sources, strict=True)]
    kept = [i for i, text in enumerate(done) if text is not None]
    share = 100 / max(1, summary.num_protected)
    print(summary)
    print(
        f"of {summary.num_protected:,}: kept at once {summary.kept_at_once * share:.1f} %, on the second try "
        f"{summary.kept_on_second_try * share:.1f} %, left untranslated {summary.left * share:.1f} %"
    )
    print(f"access keys put back: {keyed:,} of {sum(row[2] is not None for row in rows):,}")
    print(f"without protection {lost:,} of {len(rows):,} translations lost or made up something")
    for name, texts_of in (("without protection", plain), ("with protection", texts)):
        print(
            f"BLEU {name}: {bleu.corpus_score(texts_of, [references]).score:.2f}, of those translated: "
            f"{bleu.corpus_score([texts_of[i] for i in kept], [[references[i] for i in kept]]).score:.2f}"
        )
    print(bleu.get_signature())
    if os.environ.get("MTKIT_BENCHMARK_FOLDER"):
        with Path(os.environ["MTKIT_BENCHMARK_FOLDER"], "left.txt").open("w", encoding="utf-8") as stream:
            stream.writelines(f"{s!r}\n  {p!r}\n" for s, p, d in zip(sources, plain, done, strict=True) if d is None)
    assert summary.left * share <= 3
