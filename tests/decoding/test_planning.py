import struct
import weakref
from dataclasses import replace

import pytest
from xxhash import xxh3_64_intdigest

from mtkit.config.decoding import DecodingSection
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import learn_tokenizer
from mtkit.decoding.glossary import Glossary
from mtkit.decoding.planning import Planner
from mtkit.decoding.request import Request
from mtkit.decoding.spellings import Speller
from mtkit.errors import DataError, ModelError

WORDS = ["the", "dog", "cat", "man", "house", "runs", "sees", "jumps", "street", "red"]


@pytest.fixture(scope="module")
def tokenizer():
    """A vocabulary without byte fallback: it cannot spell other letters."""
    lines = [" ".join(WORDS[i:] + WORDS[:i]) + "." for i in range(10)] * 3
    return learn_tokenizer(iter(lines), VocabularySection(size=60, type="bpe", user_defined_symbols=["<2de>"]))


@pytest.fixture
def plan(tokenizer):
    """Return a function that plans one request."""

    def plan(request, glossary=None, max_length=None, **decoding):
        planner = Planner(tokenizer, tokenizer, DecodingSection(**decoding), max_length, glossary)
        return planner.plan([request])[0]

    return plan


def encode(tokenizer, text):
    return tuple(tokenizer.encode([text])[0])


def test_wishes_become_target_tokens(plan, tokenizer):
    wishes = {"required": ["cat", ["man", "dog"]], "forbidden": ["red", "street"], "at_most": {"dog": 1}}
    request = Request("the dog", prefix=" the\n", **wishes)
    (segment,) = plan(request).segments
    guidance = segment.guidance
    assert guidance.prefix == encode(tokenizer, "the")
    assert guidance.required == ((encode(tokenizer, "cat"),), (encode(tokenizer, "man"), encode(tokenizer, "dog")))
    assert guidance.forbidden == tuple(map(Speller(tokenizer).find, ("red", "street")))
    assert guidance.limited == ((Speller(tokenizer).find("dog"), 1),)
    assert (segment.num_constraints, segment.num_tags, segment.terms) == (2, 0, ())


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (Request("the dog", tag="<2fr>"), ModelError, "'<2fr>' is no piece"),
        (Request("the dog", prefix="Ж"), DataError, "cannot spell the prefix 'Ж'"),
        (Request("the dog", required=["dog", ["ж", "Ж"]]), DataError, "cannot spell the phrase 'ж' or 'Ж'"),
        (Request("the dog", forbidden=["Ж"]), DataError, "cannot spell the phrase 'Ж'"),
        (Request("the dog", at_most={"Ж": 1}), DataError, "cannot spell the phrase 'Ж'"),
        (Request("the dog", required=[["dog", " "]]), DataError, "empty phrase"),
        (Request("the dog", prefix="the dog " * 30), DataError, "the prefix has .* the translation may have 23"),
    ],
)
def test_problems(plan, request_, error, message):
    planned = plan(request_)
    assert isinstance(planned.problem, error)
    with pytest.raises(error, match=message):
        raise planned.problem
    assert not planned.parts
    assert not planned.segments


def test_a_refused_line_does_not_hold_those_beside_it(tokenizer, without_collector):
    planner = Planner(tokenizer, tokenizer, DecodingSection())
    plans = planner.plan([Request("the dog", forbidden=["Ж"]), Request("the dog")])
    beside = weakref.ref(plans[1])
    assert plans[0].problem is not None
    del plans
    assert beside() is None


def test_samples_cannot_be_constrained(plan):
    assert "required" in plan(Request("the dog", required=["dog"]), sampling=True).problem.message
    assert plan(Request("the dog", prefix="the", forbidden=["dog"]), sampling=True).problem is None


def test_a_seed_is_the_sources_own(plan, tokenizer):
    lines = ["the dog", "the cat", "the dog runs"]
    seeds = [plan(Request(line), sampling=True).segments[0].guidance.seed for line in lines]
    assert len(set(seeds)) == 3
    assert seeds[0] == plan(Request(" the dog "), sampling=True).segments[0].guidance.seed
    ids = [*encode(tokenizer, "the dog"), tokenizer.eos_id]
    assert seeds[0] == xxh3_64_intdigest(struct.pack(f"<{len(ids)}i", *ids))  # whatever the process and machine
    assert plan(Request("the dog")).segments[0].guidance.seed == 0


def test_parts_get_the_wishes_that_are_theirs(plan, tokenizer):
    source = "the red cat runs. the dog sees. the man jumps. the house sees."
    request = Request(source, prefix="the", required=["man", "street", "red street"], forbidden=["runs"], tag="<2de>")
    request = replace(request, at_most={"cat": 2})
    glossary = Glossary({"cat": ("dog", "man"), "the": ("red",)})
    planned = plan(request, glossary, max_source_tokens=8)
    segments = planned.segments
    assert [part.text for part in planned.parts] == [s.text for s in segments]
    assert len(segments) == 4
    assert [segment.guidance.prefix for segment in segments] == [encode(tokenizer, "the"), (), (), ()]
    assert all(segment.guidance.forbidden == (Speller(tokenizer).find("runs"),) for segment in segments)
    assert all(segment.guidance.limited == ((Speller(tokenizer).find("cat"), 2),) for segment in segments)
    # `man` stands in the source; the two others are spread: the second of three and the third, over four parts.
    assert [segment.num_constraints for segment in segments] == [0, 1, 2, 0]
    own = [segment.guidance.required[: segment.num_constraints] for segment in segments]
    assert own[1] == ((encode(tokenizer, "street"),),)
    assert own[2] == ((encode(tokenizer, "man"),), (encode(tokenizer, "red street"),))
    assert [segment.terms for segment in segments] == [(("red",), ("dog", "man")), *[(("red",),)] * 3]
    red = ((encode(tokenizer, "red"),),)
    assert all(segment.guidance.required[segment.num_constraints :][:1] == red for segment in segments)
    assert all(segment.num_tags == 1 for segment in segments)


def test_one_phrase_that_can_be_spelled_is_enough(plan, tokenizer):
    planned = plan(Request("the dog", required=[["Ж", "cat"]]))
    assert planned.problem is None
    assert planned.segments[0].guidance.required == ((encode(tokenizer, "cat"),),)


def test_what_cannot_be_spelled_of_a_glossary_is_left_out(plan, tokenizer, capsys):
    planned = plan(Request("the dog sees the cat"), Glossary({"dog": ("Ж",), "cat": ("ж", "man", "red")}))
    assert planned.problem is None
    (segment,) = planned.segments
    assert segment.terms == (("Ж",), ("ж", "man", "red"))
    assert segment.guidance.required == ((encode(tokenizer, "man"), encode(tokenizer, "red")),)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2
    assert all(f"cannot spell the phrase '{c}'; it is not applied" in w for c, w in zip("Жж", warnings, strict=True))


def test_terms_are_required_once_and_beside_what_is_required_already(plan, tokenizer):
    glossary = Glossary({"dog": ("cat", "man"), "house": ("man", "cat"), "street": ("red",)})
    cat, man, red = (encode(tokenizer, word) for word in ("cat", "man", "red"))
    (segment,) = plan(Request("the dog sees the house. dog"), glossary).segments
    assert [set(group) for group in segment.guidance.required] == [{cat, man}]
    assert len(segment.terms) == 2
    (segment,) = plan(Request("the dog, the street", required=[["man", "cat"], "red", "red"]), glossary).segments
    assert segment.guidance.required == ((man, cat), (red,), (red,))
    assert segment.num_constraints == 3


def test_empty_lines_stay_empty_whatever_they_wish(plan):
    planned = plan(Request(" ", prefix="the", required=["dog"]))
    assert (planned.parts, planned.segments, planned.problem) == ([], [], None)
