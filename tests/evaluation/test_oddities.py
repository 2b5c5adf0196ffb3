import pytest

from mtkit.evaluation.oddities import find_oddities

SOURCE = "The big dog runs over the street to Mr. John Smith."
REFERENCE = "Der große Hund läuft über die Straße zu Mr. John Smith."


@pytest.mark.parametrize(
    ("hypothesis", "flags"),
    [
        (REFERENCE, []),
        ("Der Hund läuft zu Mr. John Smith über die Straße.", []),
        ("", ["empty"]),
        (" \t", ["empty"]),
        (SOURCE, ["untranslated"]),
        (f"  {SOURCE.upper()}  ", ["untranslated"]),
        ("Der Hund runs over the street heute.", ["untranslated"]),
        ("Der Hund runs over the heute.", []),
        ("Mr. John Smith sieht den Hund.", []),
        ("Der Hund sieht sieht sieht.", ["repeated"]),
        ("Der Hund, den den er sieht.", []),
        ("Der Hund läuft der Hund läuft über die Straße.", ["repeated"]),
        ("Der Hund der hund läuft.", ["repeated"]),
        ("Der Hund läuft ! ! ! ! !", []),
        ("Der Hundndndndndnd läuft.", ["repeated"]),
        ("Der Hund x1x1x1x1x1 läuft.", ["repeated"]),
        ("Der Hund hat 100000000 Euro.", []),
        ("Der Hund läuft läuft läuft over the street to Mr.", ["untranslated", "repeated"]),
    ],
)
def test_flags(hypothesis, flags):
    assert find_oddities(hypothesis, [REFERENCE], SOURCE) == flags


def test_what_a_reference_does_is_not_odd():
    assert find_oddities("OK", ["OK"], "OK") == []
    assert find_oddities("OK", ["Gut", "ok"], "OK") == []
    assert find_oddities("OK", ["Gut"], "OK") == ["untranslated"]
    assert find_oddities("", ["", "Text"], "Text") == []
    assert find_oddities("", ["Text"], "") == []
    assert find_oddities("nein, nein, nein", ["nein, nein, nein"], "no") == []
    assert find_oddities("nein, nein, nein, nein", ["nein, nein, nein"], "no") == ["repeated"]
    assert find_oddities("Haaaaaaa", ["haaaaaaaa"], "no") == []
    assert find_oddities("nein, nein, nein", ["nein", "nein, nein, nein"], "no") == []
    assert find_oddities("Haaaaaaa", ["ha", "haaaaaaaa"], "no") == []
    assert find_oddities("ja so ja so ja so", ["ja so ja so ja so da da da da"], "no") == []
    assert find_oddities("ha Universal Library of the World", ["Die Universal Library of the World"], SOURCE) == []


def test_without_a_source_nothing_is_untranslated():
    assert find_oddities(SOURCE, [REFERENCE]) == []
    assert find_oddities("", [REFERENCE]) == ["empty"]


def test_numbers_and_codes_may_be_copied():
    assert find_oddities("12 : 30", ["halb eins"], "12 : 30") == []
    assert find_oddities("am 1 2 3 4 5", ["x"], "on 1 2 3 4 5") == []


def test_three_words_may_be_copied_at_the_end_too():
    assert find_oddities("Hund over the street", ["Hund über die Straße"], "dog over the street") == []


@pytest.mark.parametrize("text", ["मामा ने मेरे लिए किताब लाई।", "दादा-दादी काका के घर गए।", "ดีดีมาก", "từ từ đi"])
def test_vowel_signs_and_accents_are_parts_of_words(text):
    assert find_oddities(text, ["यह एक अलग वाक्य है।"], "x") == []


def test_one_copied_word_of_many_marks_is_no_copied_phrase():
    assert find_oddities("हा विद्यार्थी हुशार आहे.", ["तो शिकणारा मुलगा चतुर"], "यह विद्यार्थी चतुर है।") == []


def test_scripts_without_spaces_loop_too():
    assert find_oddities("我喜欢我喜欢我喜欢我喜欢我喜欢", ["我喜欢苹果"], "I like apples") == ["repeated"]
    assert find_oddities("我喜欢苹果", ["我很喜欢苹果"], "I like apples") == []


def test_long_lines_take_no_time():
    line = " ".join(str(number) for number in range(2000))
    assert find_oddities(line + "a" * 2000, [line], line) == ["repeated"]
