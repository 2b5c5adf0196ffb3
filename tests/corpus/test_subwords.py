import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.batching import SpecialIds, collate, read_pairs
from mtkit.corpus.prepare import prepare_corpus
from mtkit.corpus.subwords import SubwordSampler
from mtkit.corpus.tokenizer import learn_tokenizer

SPECIAL = SpecialIds(pad_id=0, eos_id=3, decoder_start_id=2)


@pytest.fixture
def lines(pairs):
    return [line for pair in pairs for line in pair]


@pytest.fixture(params=["bpe", "unigram"])
def tokenizer(request, lines):
    return learn_tokenizer(iter(lines), VocabularySection(size=60, type=request.param))


def test_a_sample_is_a_function_of_line_strength_and_seed(tokenizer, lines):
    seeds = list(range(len(lines)))
    drawn = tokenizer.sample(lines, 0.2, seeds)
    assert tokenizer.sample(lines, 0.2, seeds) == drawn
    assert tokenizer.sample(lines[::-1], 0.2, seeds[::-1]) == drawn[::-1]
    assert [tokenizer.sample([line], 0.2, [seed])[0] for line, seed in zip(lines, seeds, strict=True)] == drawn
    assert tokenizer.sample(lines, 0.2, [seed + 1 for seed in seeds]) != drawn
    assert tokenizer.sample(lines, 0.5, seeds) != drawn
    assert tokenizer.sample([], 0.2, []) == []


def test_seeds_give_many_segmentations(tokenizer, lines):
    drawn = tokenizer.sample(lines[:1] * 200, 0.2, range(200))
    assert len({tuple(ids) for ids in drawn}) > 20


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 2, 2**32 - 1, 2**63 - 1])
def test_every_seed_is_repeatable(tokenizer, lines, seed):
    assert len({tuple(ids) for ids in tokenizer.sample(lines[:1] * 30, 0.2, [seed] * 30)}) == 1


def test_a_sample_decodes_to_its_text(tokenizer, lines):
    assert tokenizer.decode_batch(tokenizer.sample(lines, 0.3, range(len(lines)))) == lines


def test_threads_do_not_disturb_each_other(tokenizer, lines):
    expected = [tokenizer.sample(lines, 0.2, range(start, start + len(lines))) for start in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert expected == list(
                pool.map(lambda start: tokenizer.sample(lines, 0.2, range(start, start + len(lines))), range(8))
            )


def test_another_process_draws_the_same(tokenizer, lines, tmp_path):
    tokenizer.save(tmp_path / "x.spm")
    code = (
        "import sys; from mtkit.corpus.tokenizer import Tokenizer; t = Tokenizer.load(sys.argv[1]);"
        "t.sample(['something else'], 0.5, [99]); lines = sys.argv[2:];"
        "print(t.sample(lines, 0.2, range(len(lines))))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.spm"), *lines[:20]]
    answer = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert answer.strip() == str(tokenizer.sample(lines[:20], 0.2, range(20)))


def test_symbols_stay_whole(lines):
    section = VocabularySection(size=85, user_defined_symbols=["<2de>"])
    tokenizer = learn_tokenizer(iter(lines), section)
    drawn = tokenizer.sample(["<2de> " + lines[0]] * 50, 0.5, range(50))
    assert all(tokenizer.find_symbol("<2de>") in ids for ids in drawn)


@pytest.fixture
def prepared(write, pairs, tmp_path):
    """A prepared corpus of two corpora, one of them tagged."""
    train = []
    for name, part, tag in (("human", pairs[::2], None), ("back", pairs[1::2], "<bt>")):
        sides = {
            side: write(f"{name}.{side}", [pair[i] for pair in part]) for i, side in enumerate(("source", "target"))
        }
        train.append(TextSource(**sides, name=name, tag=tag))
    section = CorpusSection(train=train, source_language="en", target_language="de")
    return prepare_corpus(section, VocabularySection(size=80), tmp_path / "out")


def as_lists(sides):
    return [[ids.tolist() for ids in side] for side in sides]


def test_a_pair_is_segmented_anew_with_its_tag_in_front(prepared):
    rows = np.array([5, 200, 17, 120, 240])
    sources, targets = SubwordSampler.of(prepared, 0.3).sample(prepared.train, rows, seed=1)
    tag_id = prepared.source_tokenizer.find_symbol("<bt>")
    for row, source, target in zip(rows, sources, targets, strict=True):
        pair = prepared.train[row]
        is_tagged = pair.corpus == "back"
        assert bool(source[0] == tag_id) is is_tagged
        assert prepared.source_tokenizer.decode(source[int(is_tagged) :]) == pair.source
        assert prepared.target_tokenizer.decode(target) == pair.target
        assert source.dtype == target.dtype == np.int32
    stored = as_lists(prepared.train.token_ids(rows))
    assert as_lists((sources, targets)) != stored


def test_what_is_drawn_does_not_depend_on_the_company(prepared):
    sampler = SubwordSampler.of(prepared, 0.3)
    rows = np.arange(60)
    whole = as_lists(sampler.sample(prepared.train, rows, seed=1))
    halves = [as_lists(sampler.sample(prepared.train, part, seed=1)) for part in (rows[:13], rows[13:])]
    assert whole == [halves[0][side] + halves[1][side] for side in (0, 1)]
    assert whole == [side[::-1] for side in as_lists(sampler.sample(prepared.train, rows[::-1], seed=1))]
    assert whole != as_lists(sampler.sample(prepared.train, rows, seed=2))


def test_each_side_of_each_row_is_drawn_by_itself(tokenizer, lines):
    split = SimpleNamespace(texts=lambda rows: ([lines[0]] * len(rows), [lines[0]] * len(rows)))
    sides = SubwordSampler(tokenizer, tokenizer, 0.3).sample(split, np.arange(50), seed=1)
    sources, targets = ([tuple(ids) for ids in side] for side in as_lists(sides))
    assert len(set(sources)) > 10
    assert len(set(targets)) > 10
    assert sources != targets


def test_what_would_be_too_long_is_taken_as_stored(prepared):
    rows = np.arange(100)
    stored = as_lists(prepared.train.token_ids(rows))
    free = as_lists(SubwordSampler.of(prepared, 0.3).sample(prepared.train, rows, 1))
    limit = 20
    bound = as_lists(SubwordSampler.of(prepared, 0.3, max_tokens=limit).sample(prepared.train, rows, 1))
    num_kept = 0
    for side in (0, 1):
        for ids, drawn, taken in zip(stored[side], free[side], bound[side], strict=True):
            assert taken == (drawn if len(drawn) <= limit else ids)
            num_kept += len(drawn) > limit
    assert 0 < num_kept < 200


def test_a_batch_is_made_of_what_was_drawn(prepared):
    sampler = SubwordSampler.of(prepared, 0.3)
    rows = np.array([3, 150, 3])
    sources, targets = as_lists(sampler.sample(prepared.train, rows, seed=7))
    batch = collate(read_pairs(prepared.train, rows, sampler, seed=7), SPECIAL)
    for row in range(3):
        assert batch.src_ids[row].tolist()[: len(sources[row]) + 1] == [*sources[row], 3]
        assert batch.tgt_out_ids[row].tolist()[: len(targets[row]) + 1] == [*targets[row], 3]
        assert batch.tgt_in_ids[row].tolist()[: len(targets[row]) + 1] == [2, *targets[row]]
    assert batch.num_tokens == sum(map(len, targets)) + 3 == int((batch.tgt_out_ids != 0).sum())
    plain = collate(read_pairs(prepared.train, rows), SPECIAL)
    assert plain.num_tokens == sum(len(prepared.train[row].target_ids) + 1 for row in rows)
