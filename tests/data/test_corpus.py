"""The committed corpus is what the generator makes, and nothing of the test sets is in its training set."""

import gzip
from collections import Counter, defaultdict

from fragment_words import split_words
from generate import TUTORIAL, corpus_files


def read_lines(path) -> list[str]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return content.decode().splitlines()


def test_regenerates_what_is_committed(corpus, data_folder):
    # the text, not the bytes: another zlib may pack the same text otherwise
    for name, lines in corpus_files(corpus).items():
        assert read_lines(data_folder / name) == lines, name


def test_gzip_header_has_no_date_and_no_name(data_folder):
    for path in data_folder.glob("*.gz"):
        header = path.read_bytes()[:10]
        assert header[3] == 0
        assert header[4:8] == b"\0\0\0\0"


def test_everything_stays_under_two_megabytes(data_folder):
    files = [path for path in data_folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 2_000_000


def test_training_pairs_are_distinct_and_hold_no_other_set(corpus):
    train = {sentence.english for sentence in corpus.train}
    assert len(train) == len(corpus.train)
    pairs = corpus.pairs_test + corpus.pairs_valid
    held_out = [sentence.english for sentence in corpus.test + corpus.valid]
    held_out += [sentence.english for pair in pairs for sentence in pair.sentences]
    held_out += [english for english, _ in TUTORIAL]
    assert len(set(held_out)) == len(held_out)
    assert train.isdisjoint(held_out)
    german = {sentence.german for sentence in corpus.train}
    assert german.isdisjoint(sentence.german for pair in pairs for sentence in pair.sentences)
    assert german.isdisjoint(german for _, german in TUTORIAL)


def test_no_triple_of_the_pronoun_tests_occurs_elsewhere(corpus):
    test = {pair.plan.triple for pair in corpus.pairs_test}
    valid = {pair.plan.triple for pair in corpus.pairs_valid}
    assert test.isdisjoint(valid)
    others = {triple for sentence in corpus.train + corpus.test + corpus.valid for triple in sentence.triples}
    assert others.isdisjoint(test | valid)
    assert others  # the triples are recorded at all


def test_deciding_adjectives_are_seen_with_all_genders_and_positions(corpus):
    genders, positions = defaultdict(set), defaultdict(set)
    for decision in corpus.decisions:
        genders[decision.adjective].add(decision.antecedent.gender)
        positions[decision.adjective].add(decision.position)
    pairs = corpus.pairs_test + corpus.pairs_valid
    deciding = {decision.adjective for pair in pairs for decision in pair.decisions}
    for adjective in deciding | {"tired", "wide"}:
        assert genders[adjective] == {"m", "f", "n"}, adjective
        assert positions[adjective] == {"subject", "object"}, adjective


def test_pairs_are_one_word_apart_and_balanced(corpus):
    for pairs, least in ((corpus.pairs_test, 200), (corpus.pairs_valid, 200)):
        assert len(pairs) >= least
        first = Counter(pair.decisions[0].position for pair in pairs)
        assert abs(first["subject"] - first["object"]) < len(pairs) / 5
        genders = Counter((pair.plan.subject.gender, pair.plan.object.gender) for pair in pairs)
        assert len(genders) == 6
        assert len(set(genders.values())) == 1
        for pair in pairs:
            one, two = (sentence.english.split() for sentence in pair.sentences)
            assert sum(a != b for a, b in zip(one, two, strict=True)) == 1
            assert {decision.position for decision in pair.decisions} == {"subject", "object"}
            assert pair.decisions[0].pronoun != pair.decisions[1].pronoun


def test_words_of_the_tutorial_are_known_from_training(corpus):
    for side in (0, 1):
        known = {word.lower() for sentence in corpus.train for word in split_words(sentence[side])}
        for pair in TUTORIAL:
            assert known.issuperset(word.lower() for word in split_words(pair[side])), pair[side]


def test_links_are_in_range_and_cover_the_content_words(corpus):
    covered = total = 0
    for sentence in corpus.test:
        english, german = split_words(sentence.english), split_words(sentence.german)
        links = [tuple(map(int, link.split("-"))) for link in sentence.links.split()]
        assert all(i < len(english) and j < len(german) for i, j in links)
        assert (len(english) - 1, len(german) - 1) in links  # full stop with full stop
        linked = {j for _, j in links}
        # German nouns and names are capitalised, so a content word is easy to see
        nouns = [j for j, word in enumerate(german) if word[0].isupper()]
        covered += sum(j in linked for j in nouns)
        total += len(nouns)
    assert covered == total


def test_sentences_are_well_formed(corpus):
    for sentence in corpus.train:
        for line in (sentence.english, sentence.german):
            assert line[0].isupper()
            assert line[-1] in ".?"
            assert "  " not in line
            assert ",," not in line
            assert " ," not in line
        assert "_" not in sentence.english + sentence.german
