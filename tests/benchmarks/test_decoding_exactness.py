"""Whether a translation depends on its company, on real sentences:

    MTKIT_TEST_CORPORA=FOLDER pytest -m benchmark -s tests/benchmarks/test_decoding_exactness.py

A Multi30k en-de model translates 3,000 English sentences (test_2016_flickr, val, the first of train) with the default
search: in batches of 1, 7 and 64, sorted by length as `Translator` does, sorted from the reversed file, and as the
lines come (each batch given alone), on one thread and on two. All is compared with one sentence at a time on one
thread. In fp32, lines with another text must be ties: the scores of both hypotheses, from one uncached pass in float64,
differ by at most 1e-5; at most 2 such lines; and no score may differ by more than 1e-4 a token. For bf16 and int8 it is
told how often lines differ and by how much.

Environment variables, with their defaults:
    MTKIT_BENCHMARK_MODEL        folder of a Multi30k en-de model (one is trained by the recipe)
    MTKIT_BENCHMARK_TRAIN_STEPS  updates of that training (1000)
    MTKIT_BENCHMARK_SENTENCES    3000
"""

import os
import statistics
import time
from dataclasses import dataclass

import pytest
import torch

from mtkit.checkpoint.model_folder import load_model
from mtkit.config.decoding import DecodingSection
from mtkit.decoding.lengths import length_penalty
from mtkit.decoding.lines import clean_source
from mtkit.decoding.translator import Translator
from mtkit.model.packed import prepare_for_inference
from mtkit.runtime.device import has_int8, set_threads

CPU = torch.device("cpu")
BATCH_SIZES = (1, 7, 64)
ORDERS = ("sorted", "reversed", "as they come")
THREADS = (1, 2)
TIE = 1e-5
MAX_TIES = 2
SCORE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Setting:
    """One way to translate the lines."""

    precision: str
    batch_size: int
    order: str = "sorted"
    threads: int = 1

    def __str__(self):
        return f"{self.precision}, batch {self.batch_size:>2}, {self.order:<12}, threads {self.threads}"


# Single sentences are alike in every order.
SETTINGS = [
    Setting("fp32", batch_size, order, threads)
    for batch_size in BATCH_SIZES
    for order in (ORDERS if batch_size > 1 else ORDERS[:1])
    for threads in THREADS
]


class Engine:
    """The model in one precision, and the same weights in float64 to score what it finds."""

    def __init__(self, folder, precision):
        loaded = load_model(folder, CPU)
        self.model, self.tokenizers = loaded.model, (loaded.source_tokenizer, loaded.target_tokenizer)
        prepare_for_inference(self.model, precision)
        self.exact = load_model(folder, CPU).model.double()
        target = loaded.target_tokenizer
        self.ids = {piece: token_id for token_id, piece in enumerate(target.pieces(range(len(target))))}

    def translate(self, lines, setting):
        """Return the best alternative of each line."""
        set_threads(setting.threads)
        decoding = DecodingSection(precision=setting.precision, batch_size=setting.batch_size, batch_tokens=1 << 20)
        translator = Translator(self.model, *self.tokenizers, decoding)
        match setting.order:
            case "sorted":
                found = list(translator.iter_translations(lines))
            case "reversed":
                found = list(translator.iter_translations(lines[::-1]))[::-1]
            case _:
                size = setting.batch_size
                chunks = [lines[start : start + size] for start in range(0, len(lines), size)]
                found = [one for chunk in chunks for one in translator.iter_translations(chunk)]
        assert all(one.num_parts <= 1 for one in found)
        return [one.alternatives[0] for one in found]

    @torch.inference_mode()
    def rescore(self, line, alternative):
        """Return the score of a translation, from all its positions at once in float64."""
        source, config = self.tokenizers[0], self.exact.config
        src_ids = torch.tensor([[*source.encode([clean_source(line)])[0], config.eos_id]])
        token_ids = [self.ids[piece] for piece in alternative.tokens]
        log_probs = self.exact(src_ids, torch.tensor([[config.decoder_start_id, *token_ids[:-1]]])).log_softmax(-1)[0]
        total = sum(float(log_probs[place, token_id]) for place, token_id in enumerate(token_ids))
        return total / length_penalty(len(token_ids), DecodingSection())


@dataclass(frozen=True)
class Comparison:
    """What differs between two translations of all lines.

    Attributes:
        different: Numbers of the lines, from 0, with another text.
        score_errors: Of the lines with the same text, differences of the log-probability a token.
        score_changes: Of all lines, differences of the score.
    """

    different: list[int]
    score_errors: list[float]
    score_changes: list[float]


def compare(found, expected):
    pairs = list(zip(found, expected, strict=True))
    return Comparison(
        different=[number for number, (one, other) in enumerate(pairs) if one.text != other.text],
        score_errors=[
            abs(one.log_prob - other.log_prob) / max(1, one.num_tokens)
            for one, other in pairs
            if one.tokens == other.tokens
        ],
        score_changes=[abs(one.score - other.score) for one, other in pairs],
    )


def run(engine, lines, setting):
    started = time.monotonic()
    found = engine.translate(lines, setting)
    return found, time.monotonic() - started


def find_ties(engine, lines, setting, pairs):
    """Print what differs, and return the largest difference of each line's scores in float64."""
    gaps = {}
    for number, one, other in pairs:
        scores = engine.rescore(lines[number], one), engine.rescore(lines[number], other)
        gaps[number] = abs(scores[0] - scores[1])
        print(f"  line {number + 1} ({setting}): scores in float64 {scores[0]:.8f} and {scores[1]:.8f}")
        print(f"    {lines[number]}\n    {one.text}\n    {other.text}", flush=True)
    return gaps


@pytest.fixture(autouse=True)
def same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def lines(read_multi30k):
    count = int(os.environ.get("MTKIT_BENCHMARK_SENTENCES") or 3000)
    return [line for name in ("test_2016_flickr", "val", "train") for line in read_multi30k(f"{name}.en", count)][
        :count
    ]


@pytest.mark.benchmark
@pytest.mark.timeout(4 * 3600)
def test_fp32_does_not_depend_on_company(multi30k_model, lines):
    engine = Engine(multi30k_model, "fp32")
    first, *others = SETTINGS
    expected, seconds = run(engine, lines, first)
    print(f"\n{len(lines):,} lines; {first}: {seconds:.0f} s, the measure of all others")
    gaps, largest_error = {}, 0.0
    for setting in others:
        found, seconds = run(engine, lines, setting)
        comparison = compare(found, expected)
        largest_error = max(largest_error, *comparison.score_errors)
        print(
            f"{setting}: {len(comparison.different)} lines differ, scores by at most "
            f"{max(comparison.score_errors):.1e} a token, {seconds:.0f} s",
            flush=True,
        )
        pairs = [(number, found[number], expected[number]) for number in comparison.different]
        for number, gap in find_ties(engine, lines, setting, pairs).items():
            gaps[number] = max(gap, gaps.get(number, 0.0))
    others_than_ties = [number + 1 for number, gap in gaps.items() if gap > TIE]
    print(
        f"fp32: {len(gaps)} lines differ in any setting (at most {MAX_TIES}), {len(others_than_ties)} of them no ties "
        f"(0); scores by at most {largest_error:.1e} a token ({SCORE_TOLERANCE:.0e})"
    )
    assert not others_than_ties
    assert len(gaps) <= MAX_TIES
    assert largest_error <= SCORE_TOLERANCE


@pytest.mark.benchmark
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_how_much_other_precisions_depend_on_it(multi30k_model, lines, precision):
    if precision == "int8" and not has_int8(CPU):
        pytest.skip("this processor has no AVX512-VNNI")
    engine = Engine(multi30k_model, precision)
    first, *others = [Setting(precision, batch_size) for batch_size in BATCH_SIZES] + [
        Setting(precision, 64, ORDERS[2])
    ]
    expected, seconds = run(engine, lines, first)
    print(f"\n{len(lines):,} lines; {first}: {seconds:.0f} s, the measure of all others")
    for setting in others:
        found, seconds = run(engine, lines, setting)
        comparison = compare(found, expected)
        share = len(comparison.different) / len(lines)
        print(
            f"{setting}: {share:.2%} of lines differ; scores on average by "
            f"{statistics.mean(comparison.score_changes):.1e}, where the text is the same by at most "
            f"{max(comparison.score_errors):.1e} a token, {seconds:.0f} s",
            flush=True,
        )
        assert len(found) == len(lines)
