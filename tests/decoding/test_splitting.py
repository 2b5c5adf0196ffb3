import random
import re
import time

import pytest

from mtkit.decoding.splitting import Part, join_translations, split_line


def count_words(text):
    """A token is a word, or ten characters of a long one."""
    return sum(-(-len(word) // 10) for word in text.split())


def split_texts(text, max_tokens, count=count_words):
    return [part.text for part in split_line(text, count, max_tokens)]


def rejoin(parts):
    return "".join(" " * part.had_space + part.text for part in parts)


def squeeze(text):
    return re.sub(r"\s+", " ", text).strip()


ALPHABETS = {
    "words": "abc  .,;?!",
    "no spaces": "abcdefgh",
    "spaces": "ab \t\u00a0\u3000\u2009",
    "marks": ".,;:!?…—)\"' ",
    "chinese": "我们今天去。，！？、 1",
    "combining": "ae\u0301\u0308\u0327o ",
    "emoji": "👩\u200d👧👍🏽🇩🇪🇫🇷 x",
    "korean": "안녕\u1112\u1161\u11ab ",
    "right to left": "שלום مرحبا، ؟ ",
    "anything": "".join(map(chr, [*range(1, 300), 0x2028, 0x200B, 0xFEFF, 0x1F600, 0x10FFFF])),
}


@pytest.mark.parametrize("name", ALPHABETS)
def test_parts_fit_and_nothing_is_dropped(name):
    generator = random.Random(name)
    for length in [0, 1, 2, 3, 7, 20, 60, 200, 500] * 4:
        text = "".join(generator.choices(ALPHABETS[name], k=length))
        for count, max_tokens in [(count_words, 5), (len, 8), (lambda t: len(t.encode()), 8)]:
            parts = split_line(text, count, max_tokens)
            assert squeeze(rejoin(parts)) == squeeze(text)
            assert all(count(part.text) <= max_tokens for part in parts)
            assert all(part.text == part.text.strip() != "" for part in parts)
            assert not parts or not parts[0].had_space


def test_a_line_that_fits_is_one_part():
    assert split_line("  one two  three ", count_words, 3) == [Part("one two  three")]


def test_white_space_has_no_parts():
    assert split_line(" \t\u3000", count_words, 3) == []


def test_cuts_at_sentence_marks_first():
    text = "One, two three four. Five six, seven eight! Nine ten eleven?"
    assert split_texts(text, 5) == ["One, two three four.", "Five six, seven eight!", "Nine ten eleven?"]


def test_cuts_at_clause_marks_where_there_are_no_sentence_marks():
    assert split_texts("one two three, four five six; seven", 4) == ["one two three,", "four five six; seven"]


def test_cuts_at_words_near_the_middle():
    assert split_texts("one two three four five six", 3) == ["one two three", "four five six"]


def test_cuts_long_words_into_characters_without_a_space():
    parts = split_line("a" * 35, count_words, 2)
    assert [len(part.text) for part in parts] == [17, 18]
    assert not any(part.had_space for part in parts)


@pytest.mark.parametrize(
    "text",
    [
        "it costs 3.14 1,000.50 at 12:30 on a.b.c www.example.com",
        "Es gibt z. b. heute abend nichts davon mehr als gestern",
    ],
)
def test_marks_inside_a_sentence_are_no_place_to_cut(text):
    first, *_ = split_line(text, count_words, 6)
    assert not first.text.endswith((".", ",", ":"))


def test_text_in_lower_case_is_cut_at_its_full_stops():
    assert split_texts("we go there. you stay here now.", 4) == ["we go there.", "you stay here now."]


def test_closing_quotes_stay_with_their_sentence():
    text = 'He said: "I will not go there today." Then he went away from us.'
    assert split_texts(text, 8) == ['He said: "I will not go there today."', "Then he went away from us."]


def test_chinese_is_cut_at_its_marks():
    assert split_texts("我们今天去北京。你们明天去上海！好", 9, len) == ["我们今天去北京。", "你们明天去上海！好"]


@pytest.mark.parametrize("character", ["e\u0301", "👍🏽", "👩\u200d👧", "\u1112\u1161\u11ab", "नि"])
def test_combined_characters_stay_whole(character):
    parts = split_texts(character * 40, 9, len)
    assert all(len(part) % len(character) == 0 for part in parts)


def test_paragraph_of_5000_words_without_a_full_stop():
    generator = random.Random(5)
    text = " ".join("".join(generator.choices("abcdefghij", k=generator.randint(1, 12))) for _ in range(5000))
    parts = split_line(text, count_words, 250)
    assert rejoin(parts) == text
    assert all(100 <= count_words(part.text) <= 250 for part in parts)


@pytest.mark.parametrize(
    "text", ["." * 200_000, '."' * 100_000, "a" * 200_000, ". " * 100_000, "e" + "\u0301" * 50_000]
)
def test_time_grows_with_the_length_only(text):
    started = time.monotonic()
    parts = split_line(text, lambda part: len(part) // 4, 250)
    assert time.monotonic() - started < 10
    assert squeeze(rejoin(parts)) == squeeze(text)


@pytest.mark.parametrize(
    ("source", "max_tokens", "translations", "joined"),
    [
        ("One two. Three four.", 2, ["Eins zwei.", "Drei vier."], "Eins zwei. Drei vier."),
        ("a" * 20, 1, ["bbb", "ccc"], "bbbccc"),
        ("One two. Three four.", 2, ["一二。", "三四。"], "一二。三四。"),
        ("One two. Three four.", 2, ["Eins zwei.", ""], "Eins zwei."),
        ("One two. Three four.", 2, ["", "Drei vier."], "Drei vier."),
    ],
)
def test_translations_are_joined(source, max_tokens, translations, joined):
    parts = split_line(source, count_words, max_tokens)
    assert join_translations(translations, parts) == joined


def test_translations_from_a_script_without_spaces_are_joined_with_one():
    parts = split_line("我们去北京。你们去上海。", len, 6)
    assert join_translations(["We go.", "You go."], parts) == "We go. You go."


def test_an_empty_part_between_keeps_the_others_apart():
    parts = split_line("One two. Three four. Five six.", count_words, 2)
    assert join_translations(["Eins.", "", "Fünf."], parts) == "Eins. Fünf."
