import pytest

from mtkit.corpus.language_tags import primary_language
from mtkit.evaluation import tokenizers
from mtkit.evaluation.tokenizers import choose_tokenizer, guess_language

CHINESE = ["我喜欢吃苹果。他昨天去了北京。"]
JAPANESE = ["私はりんごが好きです。"]
THAI = ["ฉันชอบกินแอปเปิ้ล"]
GERMAN = ["Ich esse gern Äpfel."]


@pytest.fixture
def mecab(monkeypatch):
    """Return a function that decides whether MeCab seems to be installed."""
    return lambda there: monkeypatch.setattr(tokenizers, "find_spec", lambda _: object() if there else None)


@pytest.mark.parametrize("language", ["de", "en-GB", "ru", "ar", "hi", "vi"])
def test_most_languages_get_13a(language):
    assert choose_tokenizer(None, language, []) == ("13a", ())


@pytest.mark.parametrize("language", ["zh", "zh-Hant", "ZH-cn", "zh_CN", "zho", "chi", "cmn", "yue", "lzh"])
def test_chinese_gets_its_own(language):
    assert choose_tokenizer(None, language, []) == ("zh", ())


@pytest.mark.parametrize("language", ["ja", "ko", "ja-JP", "jpn", "kor"])
def test_japanese_and_korean_get_mecab_where_it_is_installed(mecab, language):
    mecab(True)
    short = primary_language(language)
    assert choose_tokenizer(None, language, []) == (f"{short}-mecab", ())
    mecab(False)
    name, (note,) = choose_tokenizer(None, language, [])
    assert name == "char"
    assert f"sacrebleu[{short}]" in note


@pytest.mark.parametrize("language", ["th", "tha", "lo", "km", "my", "bur", "bo"])
def test_other_languages_without_spaces_get_characters_and_a_note(language):
    name, (note,) = choose_tokenizer(None, language, [])
    assert name == "char"
    assert "flores200" in note


def test_a_tokenizer_asked_for_is_taken():
    assert choose_tokenizer("intl", "de", []) == ("intl", ())
    assert choose_tokenizer("flores200", "th", []) == ("flores200", ())
    assert choose_tokenizer("spm", None, []) == ("flores101", ())


@pytest.mark.parametrize(("language", "lines"), [("zh", []), (None, THAI)])
def test_13a_for_text_without_spaces_is_taken_with_a_note(language, lines):
    name, (note,) = choose_tokenizer("13a", language, lines)
    assert name == "13a"
    assert "finds no words" in note


def test_an_unknown_language_is_guessed_only_to_warn():
    name, (note,) = choose_tokenizer(None, None, CHINESE)
    assert name == "13a"
    assert "--target-language zh" in note
    assert choose_tokenizer(None, None, GERMAN) == ("13a", ())


def test_references_of_another_script_than_the_language_are_warned_of():
    name, (note,) = choose_tokenizer(None, "en", JAPANESE)
    assert name == "13a"
    assert "look like ja" in note
    assert choose_tokenizer(None, "en", GERMAN) == ("13a", ())


@pytest.mark.parametrize(
    ("lines", "language"),
    [
        (CHINESE, "zh"),
        (JAPANESE, "ja"),
        (THAI, "th"),
        (["한국어 문장입니다."], "ko"),
        (GERMAN, None),
        (["Привет, мир"], None),
        (["... 123 !"], None),
        ([], None),
        (["Das Zeichen 山 heißt Berg."], None),
    ],
)
def test_the_script_of_most_letters_decides(lines, language):
    assert guess_language(lines) == language


def test_a_tenth_of_kana_is_japanese():
    assert guess_language(["東京都知事選挙の結果を"]) == "ja"
    assert guess_language(["東京都知事選挙結果発表日本国民" * 2 + "の"]) == "zh"
