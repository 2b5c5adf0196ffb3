import pytest

from mtkit.errors import DataError
from mtkit.serving.api_keys import read_api_keys
from mtkit.serving.language_names import name_language


def test_a_key_a_line_without_comments_and_what_editors_add(write):
    keys = read_api_keys(write("keys", "\ufefffirst\r\n\n  second \n# third\n#fourth\n"))
    assert [key in keys for key in ("first", "second")] == [True, True]
    wrong = ("", " second ", "# third", "third", "#fourth", "\ufefffirst", "First", "fir")
    assert not any(key in keys for key in wrong)


@pytest.mark.parametrize("content", ["", "\n \n", "# one\n", b"\xff\xfe"])
def test_a_file_without_keys_is_refused(tmp_path, content):
    path = tmp_path / "keys"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        read_api_keys(path)
    assert caught.value.at == str(path)


@pytest.mark.parametrize(
    ("code", "name"),
    [("de", "German"), ("deu", "German"), ("pt-BR", "Portuguese (BR)"), ("zh_TW", "Chinese (TW)"), ("xx", "xx")],
)
def test_languages_are_called_by_their_names(code, name):
    assert name_language(code) == name
