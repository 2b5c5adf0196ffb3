import pytest

from mtkit.decoding.lines import clean_source
from mtkit.decoding.splitting import Part
from mtkit.decoding.translation import Alternative, Kept, combine_parts, format_links


def part(text, links, kept):
    return (Alternative(text, -1.0, -2.0, 2, False, ("x", "</s>"), (-1.0, -1.0), links, Kept(kept, 2), Kept(0, kept)),)


@pytest.mark.parametrize(
    ("had_space", "links"),
    [
        (True, ((0, 1), (1, 0), (2, 3), (3, 4))),
        (False, ((0, 1), (1, 0), (1, 2), (2, 3))),  # the cut went through a word: "bc" is one on both sides
    ],
)
def test_parts_are_put_together(had_space, links):
    parts = [Part("a b"), Part("c d", had_space)]
    found = [part("x y z" if had_space else "x y c", ((0, 1), (1, 0)), 1), part("d e", ((0, 0), (1, 1)), 2)]
    (line,) = combine_parts(parts, found)
    assert line.text == ("x y z d e" if had_space else "x y cd e")
    assert line.alignment == links
    assert (line.constraints, line.terms) == (Kept(3, 4), Kept(0, 3))
    assert line.tokens == ("x", "</s>") * 2
    assert (line.log_prob, line.num_tokens) == (-4.0, 4)
    assert combine_parts(parts, [found[0], part("d e", None, 0)])[0].alignment is None


@pytest.mark.parametrize("cut", [(), (0,), (1,), (0, 1)])
def test_a_line_is_cut_where_any_of_its_parts_is(cut):
    parts = [Part("a"), Part("b", True)]
    (line,) = combine_parts(parts, [[Alternative("x", is_cut=place in cut)] for place in range(2)])
    assert line.is_cut is bool(cut)


@pytest.mark.parametrize(("first", "second"), [("a b", " ⁇ c"), ("a b\u00a0", "⁇ c"), ("a b", "\u00a0 ⁇ c")])
def test_a_translation_that_has_a_space_at_the_seam_begins_a_word(first, second):
    links = ((0, 0), (0, 1))
    (line,) = combine_parts([Part("c"), Part("d", False)], [part(first, links, 0), part(second, links, 0)])
    assert line.alignment == tuple((0, target) for target in range(len(line.text.split())))


@pytest.mark.parametrize("character", ["\0", "\u2581"])
def test_a_source_has_a_space_where_the_training_text_has_one(character):
    assert clean_source(f"{character}the{character}dog{character}") == "the dog"


def test_links_in_pharaoh_format_are_sorted():
    assert format_links([(1, 0), (0, 10), (0, 2)]) == "0-2 0-10 1-0"
