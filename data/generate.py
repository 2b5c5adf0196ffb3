"""Write the sample corpus: `python data/generate.py [FOLDER]`. The same files every time, from one seed."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

from fragment_kinds import draw_sentence
from fragment_lexicon import Lexicon, read_lexicon
from fragment_pronouns import Decision, PronounPair, Triple, draw_it_sentence, draw_pair, iter_triples
from fragment_sampler import Sampler
from fragment_words import Sentence

SEED = 20170612
TRAIN, VALID, TEST = 60_000, 1_000, 1_000
PAIRS_TEST, PAIRS_VALID = 300, 204
IT_SHARE = 0.45
"""The share of pronoun sentences in the training, validation and test sets."""
TUTORIAL = (
    (
        "The animal didn't cross the street because it was too tired.",
        "Das Tier überquerte die Straße nicht, weil es zu müde war.",
    ),
    (
        "The animal didn't cross the street because it was too wide.",
        "Das Tier überquerte die Straße nicht, weil sie zu breit war.",
    ),
    (
        "The pizza came out of the oven and it tasted good.",
        "Die Pizza kam aus dem Ofen und sie schmeckte gut.",
    ),
    ("Jane visits Africa in September.", "Jane besucht Afrika im September."),
    ("The cat sat on the mat.", "Die Katze saß auf der Matte."),
    ("The quick brown fox jumps over the lazy dog.", "Der schnelle braune Fuchs springt über den faulen Hund."),
    ("Bark is very cute and he is a dog.", "Bark ist sehr süß und er ist ein Hund."),
)
TUTORIAL_TRIPLES = {("cross", "animal", "street"), ("come", "pizza", "oven"), ("sit", "cat", "mat")}
TUTORIAL_TRIPLES |= {("jump", "fox", "dog")}


@dataclass
class Corpus:
    """All sets, as they are written."""

    pairs_test: list[PronounPair]
    pairs_valid: list[PronounPair]
    test: list[Sentence] = field(default_factory=list)
    valid: list[Sentence] = field(default_factory=list)
    train: list[Sentence] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    @property
    def reserved(self) -> set[Triple]:
        """The triples that no other sentence may contain."""
        return TUTORIAL_TRIPLES | {pair.plan.triple for pair in [*self.pairs_test, *self.pairs_valid]}


def draw_pairs(sampler: Sampler, lexicon: Lexicon, count: int, taken: set[Triple]) -> list[PronounPair]:
    """Draw minimal pairs, the six ordered pairs of genders equally often, each with a triple of its own."""
    genders = list(permutations("mfn", 2))
    pairs: list[PronounPair] = []
    while len(pairs) < count:
        frame = sampler.pick(lexicon.frames)
        wanted = genders[len(pairs) % len(genders)]
        fitting = [(s, o) for s, o in iter_triples(lexicon, frame) if (s.gender, o.gender) == wanted]
        subject, object_ = sampler.pick(fitting)
        pair = draw_pair(sampler, frame, subject, object_)
        if pair.plan.triple not in taken:
            taken.add(pair.plan.triple)
            pairs.append(pair)
    return pairs


def build_corpus() -> Corpus:
    """Draw all sets: first what is held out, then the training set around it."""
    lexicon = read_lexicon()
    sampler = Sampler(lexicon, SEED)
    taken = set(TUTORIAL_TRIPLES)
    corpus = Corpus(
        draw_pairs(sampler, lexicon, PAIRS_TEST, taken),
        draw_pairs(sampler, lexicon, PAIRS_VALID, taken),
    )
    reserved = corpus.reserved
    known = dict(TUTORIAL)
    known |= {one.english: one.german for pair in [*corpus.pairs_test, *corpus.pairs_valid] for one in pair.sentences}
    for target, count in ((corpus.test, TEST), (corpus.valid, VALID), (corpus.train, TRAIN)):
        while len(target) < count:
            decision = None
            if sampler.chance(IT_SHARE):
                sentence, decision = draw_it_sentence(sampler, sampler.pick(lexicon.frames))
            else:
                sentence = draw_sentence(sampler)
            if sentence.english in known:
                if known[sentence.english] != sentence.german:
                    raise ValueError(
                        f"two translations: {sentence.english}: {known[sentence.english]} {sentence.german}"
                    )
                continue
            if reserved.isdisjoint(sentence.triples):
                known[sentence.english] = sentence.german
                target.append(sentence)
                if decision is not None and target is corpus.train:
                    corpus.decisions.append(decision)
    return corpus


def compress(lines: Iterable[str]) -> bytes:
    """Return lines as gzip with no date and no name."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
    return buffer.getvalue()


def pronoun_rows(pairs: Sequence[PronounPair]) -> list[str]:
    """Return the table that the scorer reads: a line for each sentence of the pronoun test."""
    columns = "pair deciding antecedent position pronoun subject subject_gender object object_gender verb"
    rows = ["\t".join(columns.split())]
    for index, pair in enumerate(pairs, 1):
        plan = pair.plan
        nouns = (plan.subject.german, plan.subject.gender, plan.object.german, plan.object.gender, plan.verb.english)
        rows += [
            "\t".join((str(index), made.adjective, made.antecedent.german, made.position, made.pronoun, *nouns))
            for made in pair.decisions
        ]
    return rows


def corpus_files(corpus: Corpus) -> dict[str, list[str]]:
    """Return the lines of every file by its name."""
    files: dict[str, list[str]] = {}
    for name, sentences in (("train", corpus.train), ("valid", corpus.valid), ("test", corpus.test)):
        files[f"{name}.en.gz"] = [sentence.english for sentence in sentences]
        files[f"{name}.de.gz"] = [sentence.german for sentence in sentences]
    files["test.links.gz"] = [sentence.links for sentence in corpus.test]
    for name, pairs in (("valid", corpus.pairs_valid), ("test", corpus.pairs_test)):
        files[f"pronouns.{name}.en.gz"] = [sentence.english for pair in pairs for sentence in pair.sentences]
        files[f"pronouns.{name}.de.gz"] = [sentence.german for pair in pairs for sentence in pair.sentences]
        files[f"pronouns.{name}.tsv.gz"] = pronoun_rows(pairs)
    files["tutorial.en"] = [english for english, _ in TUTORIAL]
    files["tutorial.de"] = [german for _, german in TUTORIAL]
    return files


def write_corpus(folder: Path) -> None:
    """Write all files of the corpus into a folder."""
    for name, lines in corpus_files(build_corpus()).items():
        content = compress(lines) if name.endswith(".gz") else "".join(f"{line}\n" for line in lines).encode()
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    write_corpus(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
