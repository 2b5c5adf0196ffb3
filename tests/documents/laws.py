"""What holds for every document of the formats that keep their bytes."""

import random
import re

from mtkit.documents.document import Protected


def translate(document, change):
    """Return the document with the text of each segment changed by a function, its protected stretches kept."""
    translations = [
        tuple(part if isinstance(part, Protected) else change(part) for part in segment.parts)
        for segment in document.segments
    ]
    return document.render(translations).decode(document_encoding(document))


def document_encoding(document):
    return getattr(document, "encoding", None) or getattr(document, "_encoding", "utf-8")


def read_texts(document):
    """Return the segments' text, protected stretches as they stand."""
    return [segment.text for segment in document.segments]


def check(read, content):
    """Check what holds whatever the content is, and return the document."""
    document = read(content)
    segments = document.segments
    assert document.render([None] * len(segments)) == content
    assert document.render([segment.parts for segment in segments]) == content
    for segment in segments:
        assert any(isinstance(part, str) and any(map(str.isalpha, part)) for part in segment.parts), segment
        assert not any("\n" in part or "\r" in part for part in segment.parts if isinstance(part, str)), segment
        assert segment.place.startswith("line ")
        check_pairs(segment)
    return document


def check_pairs(segment):
    """Each pair is opened once and closed once, in this order, and the numbers run from 0."""
    opened, closed = [], []
    for part in segment.protected:
        if part.kind == "open":
            opened.append(part.pair)
        elif part.kind == "close":
            assert part.pair in opened
            closed.append(part.pair)
        else:
            assert part.pair is None
    assert sorted(opened) == sorted(closed) == list(range(len(opened)))


def check_outside(document, text, changed):
    """Check that a rendered text is the source outside its segments."""
    outside = []
    place = 0
    for block in document.blocks:
        if block.start < place:
            continue
        outside.append(text[place : block.start])
        place = block.end
    outside.append(text[place:])
    pattern = "(?s:.*?)".join(map(re.escape, outside))
    assert re.fullmatch(pattern, changed), changed


def build_random(fragments, seed, most=12):
    """Return a random sequence of fragments."""
    choose = random.Random(seed)
    return "".join(choose.choice(fragments) for _ in range(choose.randrange(most + 1)))
