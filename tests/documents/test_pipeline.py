import re
from dataclasses import replace

import pytest

from mtkit.decoding.translation import Translation
from mtkit.documents.document import Segment
from mtkit.documents.html import read_html
from mtkit.documents.markdown import read_markdown
from mtkit.documents.pipeline import translate_document
from mtkit.documents.placeholders import find_placeholders
from mtkit.errors import DataError


class Texts:
    """A document of texts, which are rendered a line each."""

    def __init__(self, *texts):
        self.segments = [Segment(find_placeholders(text), f"line {i}") for i, text in enumerate(texts, 1)]
        self.marked = None

    def mark_untranslated(self, places):
        self.marked = list(places)

    def render(self, translations):
        texts = ["-" if t is None else "".join(p if isinstance(p, str) else p.text for p in t) for t in translations]
        return "\n".join(texts).encode()


def read(translated):
    return translated.content.decode().split("\n")


def test_what_the_maximum_length_ended_is_counted(stand_in):
    class Cutting(stand_in):
        def translate_window(self, window, advance=None):
            for found in super().translate_window(window, advance):
                yield replace(found, alternatives=tuple(replace(a, is_cut=True) for a in found.alternatives))

    assert translate_document(Texts("One", "Two <b>words</b>"), Cutting()).summary.num_cut == 2
    assert translate_document(Texts("One"), stand_in()).summary.num_cut == 0


def test_a_copy_fills_everything(stand_in):
    texts = [f"Text <b>{i}</b> of {{name}}" for i in range(20)]
    translated = translate_document(Texts(*texts), stand_in())
    summary = translated.summary
    assert read(translated) == texts
    assert (summary.num_segments, summary.num_filled, summary.num_protected, summary.kept_at_once) == (20, 20, 20, 20)
    assert (summary.kept_on_second_try, summary.left, summary.num_failed) == (0, 0, 0)


def test_what_is_lost_is_required_in_the_second_try(stand_in):
    def change(request):
        return request.source if request.required else request.source.replace("%s", "etwas")

    translator = stand_in(change)
    translated = translate_document(Texts("Open %s", "Close"), translator)
    assert read(translated) == ["Open %s", "Close"]
    assert [tuple(request.required) for request in translator.requests] == [(), (), ("%s",)]
    assert (translated.summary.kept_at_once, translated.summary.kept_on_second_try) == (0, 1)


def test_what_is_spelled_wrong_gets_a_stand_in(stand_in):
    def change(request):
        return request.source.replace("%(long_name)s", "%(long_long)s").replace("Open", "Auf:")

    translator = stand_in(change)
    translated = translate_document(Texts("Open %(long_name)s in {0}", "<b>%(long_name)s</b> of x"), translator)
    assert read(translated) == ["Auf: %(long_name)s in {0}", "<b>%(long_name)s</b> of x"]
    assert translated.summary.kept_on_second_try == 2
    last = [(request.source, request.required, dict(request.at_most)) for request in translator.requests[-2:]]
    assert last == [
        ("Open {1} in {2}", ("{1}", "{2}"), {"{1}": 1, "{2}": 1}),
        ("{0} of x", ("{0}",), {"{0}": 1}),
    ]


@pytest.mark.parametrize(
    ("read_text", "text", "expected"),
    [
        (read_html, "<p>A <kbd>x</kbd> and a dog.", "<p>A <kbd>x</kbd> AND A DOG."),
        (read_markdown, "A <kbd>x</kbd> and `code` dog.\n", "A <kbd>x</kbd> AND `code` DOG.\n"),
    ],
)
def test_what_a_stand_in_stands_for_is_that_of_the_document(stand_in, read_text, text, expected):
    translated = translate_document(read_text(text.encode()), stand_in(lambda request: request.source.upper()))
    assert translated.content.decode() == expected
    assert translated.summary.kept_on_second_try == 1


def test_the_second_try_wants_each_so_often_as_it_stands_there(stand_in):
    translator = stand_in(lambda request: request.source if request.at_most else f"{request.source} {{name}}")
    translated = translate_document(Texts("{name} to {name}", "{name} and {0}"), translator)
    assert read(translated) == ["{name} to {name}", "{name} and {0}"]
    assert [request.at_most for request in translator.requests[2:]] == [{"{name}": 2}, {"{name}": 1, "{0}": 1}]


def test_a_copy_keeps_every_blank(stand_in):
    text = "A  dog\xa0<b>runs </b><i> and</i>\tsits ."
    assert read(translate_document(Texts(text), stand_in())) == [text]


def test_what_stays_lost_is_left_marked_and_counted(stand_in):
    document = Texts("Open %s", "Close", "<b>%d</b> of %s")
    translated = translate_document(document, stand_in(lambda request: re.sub(r"%s|[{]\d}", "etwas", request.source)))
    summary = translated.summary
    assert read(translated) == ["-", "Close", "-"]
    assert document.marked == [0, 2]
    assert translated.left == ("line 1", "line 3")
    assert (summary.num_filled, summary.num_protected, summary.left, summary.num_failed) == (1, 2, 2, 0)
    assert "2 with placeholders or markup: 0 kept at once, 0 on the second try, 2 left untranslated" in str(summary)


def test_the_first_alternative_that_keeps_all_is_taken(stand_in):
    translated = translate_document(Texts("Open %s"), stand_in(lambda request: ["Auf", "%s auf", "Mach %s auf"]))
    assert read(translated) == ["%s auf"]
    assert translated.summary.kept_at_once == 1


def test_tags_alone_need_no_second_try(stand_in):
    translator = stand_in()
    assert read(translate_document(Texts("<b>a</b> b", "c<br/>d"), translator)) == ["<b>a</b> b", "c<br/>d"]
    assert len(translator.requests) == 2


@pytest.mark.parametrize("text", ["%s: %d", "  ", "{0}", "<b>5</b>", "https://example.org", "\n", "..."])
def test_what_has_no_words_is_not_asked_for(stand_in, text):
    translator = stand_in(lambda request: "wrong")
    assert "".join(translate_document(Texts(text), translator).content.decode()) == text
    assert not translator.requests


def test_an_empty_translation_is_none(stand_in):
    translated = translate_document(Texts("Open", "<b>Close</b>"), stand_in(lambda request: ""))
    assert read(translated) == ["-", "-"]
    assert (translated.summary.left, translated.summary.num_failed) == (1, 1)


def test_a_request_that_cannot_be_met_leaves_the_others(stand_in):
    class Refusing(stand_in):
        def translate_window(self, window, advance=None):
            for translation in super().translate_window(window, advance):
                problem = DataError("no such piece", fix="none") if "Open" in translation.source else None
                yield Translation(translation.source, translation.alternatives, 1, problem)

    assert read(translate_document(Texts("Open %s", "Close"), Refusing())) == ["-", "Close"]


def test_what_is_done_is_told(stand_in):
    done = []
    translate_document(Texts(*["a"] * 10, "5"), stand_in(), done.append)
    assert sum(done) == 11


def test_a_real_model_keeps_what_it_is_forced_to(model_folder):
    """A model of random weights: what it says means nothing, but what is protected is there."""
    from mtkit.config.decoding import DecodingSection
    from mtkit.decoding.translator import Translator

    decoding = DecodingSection(beam_size=4, n_best=4)
    translator = Translator.load(model_folder, device="cpu", decoding=decoding, align=True)
    texts = ["the %s dog <b>runs</b> and %s", "a {name} sees", "the cat.\na dog of {size}"]
    document = Texts(*texts)
    translated = translate_document(document, translator)
    found = [None if line == "-" else line for line in translated.content.decode().replace(".\na", ". a").split("\n")]
    assert translated.summary.kept_on_second_try + translated.summary.kept_at_once == 3
    text = translated.content.decode()
    assert [text.count(mark) for mark in ("%s", "<b>", "</b>", "{name}", "{size}")] == [2, 1, 1, 1, 1]
    assert found


@pytest.mark.parametrize("text", ["Files", "Open %s"])
def test_what_is_made_up_is_forbidden_in_the_second_try(stand_in, text):
    def change(request):
        return request.source if "{0}" in request.forbidden else [f"{request.source} {{0}}", f"{{0}} {request.source}"]

    translator = stand_in(change)
    translated = translate_document(Texts(text, "<b>%d</b> of x"), translator)
    assert read(translated) == [text, "<b>%d</b> of x"]
    assert [tuple(request.forbidden) for request in translator.requests] == [(), (), ("{0}",), ("{0}",)]


def test_what_stands_in_the_source_is_never_forbidden(stand_in):
    translator = stand_in(lambda request: request.source + " %s {1}")
    translated = translate_document(Texts("Open %s", "All of {1} x"), translator)
    assert read(translated) == ["-", "-"]
    assert [tuple(request.forbidden) for request in translator.requests[2:4]] == [("{1}",), ("%s",)]
    assert not any(text in request.source for request in translator.requests for text in request.forbidden)


def test_what_is_made_up_in_the_second_try_is_forbidden_too(stand_in):
    def change(request):
        wrong = next((text for text in ("{0}", "{1}", "{2}") if text not in request.forbidden), "")
        return f"{request.source} {wrong}"

    translator = stand_in(change)
    assert read(translate_document(Texts("Open %s"), translator)) == ["-"]
    assert [tuple(request.forbidden) for request in translator.requests[:3]] == [(), ("{0}",), ("{0}", "{1}")]
