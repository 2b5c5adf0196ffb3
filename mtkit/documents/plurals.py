"""Plural forms of gettext catalogs."""

from __future__ import annotations

import gettext
import re
from dataclasses import dataclass

from mtkit.corpus.language_tags import primary_language

_RULE = re.compile(r"nplurals\s*=\s*(\d+)\s*;\s*plural\s*=\s*([^;]+)")
_NUMBERS = range(201)

# As in the manual of GNU gettext, "Plural forms".
_ONE = "nplurals=1; plural=0;"
_NOT_ONE = "nplurals=2; plural=(n != 1);"
_ABOVE_ONE = "nplurals=2; plural=(n > 1);"
_SLAVIC = "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);"
_RULES = {
    _ONE: "id ja ka ko lo ms my th vi zh",
    _NOT_ONE: "af bg bn ca da de el en eo es et eu fi fo gl gu hi hu it mr nb nl nn no pa pt sq sv sw ta te ur",
    _ABOVE_ONE: "fr pt-BR fa hy oc tr uz",
    _SLAVIC: "be bs hr ru sr uk",
    "nplurals=3; plural=(n==1) ? 0 : (n>=2 && n<=4) ? 1 : 2;": "cs sk",
    "nplurals=3; plural=(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);": "pl",
    "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && (n%100<10 || n%100>=20) ? 1 : 2);": "lt",
    "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n != 0 ? 1 : 2);": "lv",
    "nplurals=3; plural=(n==1 ? 0 : (n==0 || (n%100 > 0 && n%100 < 20)) ? 1 : 2);": "ro",
    "nplurals=4; plural=(n%100==1 ? 0 : n%100==2 ? 1 : n%100==3 || n%100==4 ? 2 : 3);": "sl",
    "nplurals=6; plural=(n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5);": "ar",
}
_BY_LANGUAGE = {language: rule for rule, languages in _RULES.items() for language in languages.split()}


@dataclass(frozen=True)
class PluralForms:
    """The plural forms of a language.

    Attributes:
        count: How many there are.
        of_one: The form for the number 1.
        is_only_for_one: Whether it serves no other number, up to 200.
    """

    count: int
    of_one: int
    is_only_for_one: bool


def parse_plural_forms(rule: str) -> PluralForms | None:
    """Return what the field `Plural-Forms` of a header says; None if it cannot be read."""
    match = _RULE.search(rule)
    if not match:
        return None
    try:
        choose = gettext.c2py(match[2].strip())
        forms = [choose(n) for n in _NUMBERS]
    except (ValueError, RecursionError, ZeroDivisionError):
        return None
    count = int(match[1])
    return PluralForms(count, forms[1], forms.count(forms[1]) == 1) if 0 < count <= 10 and forms[1] < count else None


def find_rule(language: str | None) -> str | None:
    """Return the plural rule of a language, as a header has it; None if it is not known."""
    if language is None:
        return None
    return _BY_LANGUAGE.get(language.replace("_", "-")) or _BY_LANGUAGE.get(primary_language(language))
