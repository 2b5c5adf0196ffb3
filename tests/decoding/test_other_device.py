"""Whatever a translation is held to, it is computed where the model lies."""

import numpy as np
import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.request import Request
from mtkit.decoding.translator import Translator

LINES = ["the dog runs over the street.", "", "a big red house", "the cat"]
WISHES = [
    Request("the dog runs", required=[["house", "street"], "cat"]),
    Request("the cat", prefix="a man"),
    Request("a red cat sees it", forbidden=["the"], at_most={"man": 1}),
]


def count_common(hypotheses, references):
    return np.array([[len(set(a.split()) & set(b.split())) for b in references] for a in hypotheses], dtype=float)


def translate(path, lines, device, **options):
    if not isinstance(path, list):
        path = [path]
    fields = {name: options.pop(name) for name in list(options) if name in DecodingSection.model_fields}
    decoding = DecodingSection(batch_size=3, **{"max_length_ratio": 1, "max_length_extra": 2} | fields)
    translator = Translator.load(path, device=device, decoding=decoding, **options)
    return [(t.text, [(a.text, a.alignment) for a in t.alternatives]) for t in translator.iter_translations(lines)]


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 1, "align": True},
        {"beam_size": 4, "n_best": 3, "length_penalty_type": "length"},
        {"no_repeat_ngram": 2, "min_length": 4, "suppressed": ["e"], "tag": "<2de>", "early_stopping": True},
        {"beam_size": 8, "n_best": 2, "mbr": "chrf", "utility": count_common},
    ],
    ids=",".join,
)
def test_translations_are_those_of_the_cpu(model_folder, on_other_device, options):
    expected = translate(model_folder, LINES, "cpu", **options)
    with on_other_device():
        assert translate(model_folder, LINES, "auto", **options) == expected


def test_requests_are_fulfilled_as_on_the_cpu(model_folder, on_other_device):
    expected = translate(model_folder, WISHES, "cpu")
    with on_other_device():
        assert translate(model_folder, WISHES, "auto") == expected


def test_continuations_of_a_prefix_are_those_of_the_cpu(model_folder, on_other_device):
    expected = translate(model_folder, WISHES[1:2], "cpu", n_best=4, expand_prefix=True)
    with on_other_device():
        assert translate(model_folder, WISHES[1:2], "auto", n_best=4, expand_prefix=True) == expected


@pytest.mark.parametrize("ensemble", ["log_probs", "probs"])
def test_an_ensemble_translates_as_on_the_cpu(model_folder, on_other_device, ensemble):
    expected = translate([model_folder] * 2, LINES, "cpu", ensemble=ensemble)
    with on_other_device():
        assert translate([model_folder] * 2, LINES, "auto", ensemble=ensemble) == expected


@pytest.mark.parametrize("options", [{}, {"top_k": 5}, {"top_p": 0.9}])
def test_samples_are_those_of_the_cpu(model_folder, on_other_device, options):
    expected = translate(model_folder, LINES, "cpu", sampling=True, n_best=3, **options)
    with on_other_device():
        assert translate(model_folder, LINES, "auto", sampling=True, n_best=3, **options) == expected


def test_bf16_is_computed_there_too(model_folder, on_other_device):
    expected = translate(model_folder, LINES, "cpu", precision="bf16")
    with on_other_device():
        got = translate(model_folder, LINES, "auto", precision="bf16")
    assert len(got) == len(expected)
    assert got[0][0].split()[:1] == expected[0][0].split()[:1]


def test_a_tensor_of_the_cpu_is_refused_on_the_device(on_other_device):
    with on_other_device() as device, pytest.raises(RuntimeError, match="two devices"):
        torch.ones(3, device=device) + torch.ones(3)
