import pytest

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.sources import SourceReader
from mtkit.errors import ModelError

EOS = 0
TAGS = {"<2de>": 1, "<2fr>": 2, "<2it>": 3}


class Letters:
    """A vocabulary of letters that, as those of OPUS-MT, knows tags at the beginning of a line."""

    eos_id = EOS

    def split_tag(self, line):
        return (line[:5], line[5:]) if line[:5] in TAGS else (None, line)

    def encode(self, lines, threads=None):
        return [[ord(letter) for letter in line] for line in lines]

    def find_symbol(self, tag):
        return TAGS.get(tag)


@pytest.fixture
def encode():
    """Return a function that gives a line's parts, and their tokens as the model is given them."""

    def encode(line, own=None, max_length=None, **decoding):
        reader = SourceReader(Letters(), DecodingSection(**decoding), max_length)
        (read,) = reader.read([line])
        cut = reader.cut(read, reader.find_head(read, own))
        return [part.text for part, _ in cut], [ids for _, ids in cut]

    return encode


def spell(text, *head):
    return [*head, *map(ord, text), EOS]


def test_a_line_is_cleaned(encode):
    assert encode(" a\nb\0 ") == (["a b"], [spell("a b")])
    assert encode(" \t ") == ([], [])


@pytest.mark.parametrize(
    ("line", "own", "default", "head"),
    [
        ("a dog", None, None, []),
        ("a dog", None, "<2de>", [1]),
        ("<2fr> a dog", None, None, [2]),
        ("<2fr> a dog", None, "<2de>", [2]),
        ("<2fr> a dog", "<2it>", "<2de>", [3]),
        ("a dog", "<2it>", "<2de>", [3]),
    ],
)
def test_a_line_has_one_tag_the_nearest(encode, line, own, default, head):
    assert encode(line, own, tag=default) == (["a dog"], [spell("a dog", *head)])


def test_a_tag_alone_is_no_text(encode):
    assert encode("<2de>") == ([], [])


def test_parts_fit_with_tag_and_eos(encode):
    texts, token_ids = encode("<2de> one two three", max_length=9)
    assert max(map(len, token_ids)) <= 9
    assert all(ids[0] == TAGS["<2de>"] and ids[-1] == EOS for ids in token_ids)
    assert " ".join(texts) == "one two three"
    assert len(encode("one two three", max_source_tokens=8)[0]) == 2


def test_unknown_tags(encode):
    with pytest.raises(ModelError, match="'<2es>' is no piece") as caught:
        encode("", tag="<2es>")
    assert caught.value.at == "decoding.tag"
    with pytest.raises(ModelError, match="'<2es>' is no piece"):
        encode("a dog", "<2es>")
