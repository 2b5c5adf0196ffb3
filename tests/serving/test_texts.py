from mtkit.decoding.translation import Alternative, Translation
from mtkit.serving.texts import Text


def translate(text, *ranks):
    """Translate the lines of a text: of each line, alternatives as (text, links)."""
    translations = [
        Translation(request.source, tuple(Alternative(words, alignment=links) for words, links in alternatives), 1)
        for request, alternatives in zip(text.requests, ranks, strict=True)
    ]
    return [(answer.text, answer.alignment) for answer in text.join(translations)]


def test_a_text_without_lines_to_translate_stays():
    for text in ("", "\n", " \r\n\n"):
        assert Text(text).requests == []
        assert translate(Text(text)) == [(text.replace(" ", ""), ())]


def test_the_ranks_of_the_lines_are_put_together_and_each_text_stands_once():
    text = Text("one\n\ntwo\r\n")
    answers = translate(text, [("A", ((0, 0),)), ("B", ())], [("C", ()), ("C", ((0, 0),)), ("D", ())])
    assert [found for found, _ in answers] == ["A\n\nC\r\n", "B\n\nC\r\n", "B\n\nD\r\n"]
    same = translate(Text("one"), [("A", ((0, 0),)), ("A", ())])
    assert same == [("A", ((0, 0),))]


def test_links_count_the_words_of_the_lines_before():
    """A no-break space parts no words, as in French before an exclamation mark."""
    text = Text("  one  two \nthree")
    answers = translate(text, [("un deux\u00a0!", ((0, 0), (1, 1)))], [("trois", ((0, 0),))])
    assert answers == [("un deux\u00a0!\ntrois", ((0, 0), (1, 1), (2, 2)))]
