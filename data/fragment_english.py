"""English morphology: verbs, articles, numbers."""

from __future__ import annotations

from fragment_lexicon import Verb

UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS = [
    "-",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
]
BE = {"present": ("am", "are", "is", "are", "are"), "past": ("was", "were", "was", "were", "were")}


def third_person(base: str) -> str:
    """Return the present form for he, she and it; the particle of a phrasal verb stays as it is."""
    word, _, particle = base.partition(" ")
    if word == "have":
        form = "has"
    elif word.endswith(("s", "sh", "ch", "x", "z", "o")):
        form = word + "es"
    elif word.endswith("y") and word[-2] not in "aeiou":
        form = word[:-1] + "ies"
    else:
        form = word + "s"
    return f"{form} {particle}".strip()


def finite(verb: Verb, tense: str, third_singular: bool) -> str:
    """Conjugate a full verb in the simple present or the simple past."""
    if tense == "past":
        return verb.english_past
    return third_person(verb.english) if third_singular else verb.english


def article(next_word: str) -> str:
    """Return "a" or "an" before a word."""
    return "an" if next_word[0] in "aeiou" else "a"


def number(value: int) -> str:
    """Write a cardinal from 2 to 999."""
    if value >= 100:
        hundreds, rest = divmod(value, 100)
        return f"{UNITS[hundreds]} hundred" + (f" {number(rest)}" if rest else "")
    if value < 20:
        return UNITS[value]
    tens, unit = divmod(value, 10)
    return TENS[tens] + (f"-{UNITS[unit]}" if unit else "")
