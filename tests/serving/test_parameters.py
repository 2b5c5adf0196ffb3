import json

import pytest

from mtkit.serving.limits import Limits
from mtkit.serving.parameters import parse_body, read_key, read_texts, read_translate
from mtkit.serving.refusal import RefusedError

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"])
def test_json_has_many_names(kind):
    assert parse_body(b'{"q": "a"}', kind, "") == {"q": "a"}


def test_of_a_name_given_twice_the_first_counts_and_the_body_more_than_the_query():
    assert parse_body(b"", "", "q=a&q=b&x=%C3%A4+1") == {"q": "a", "x": "ä 1"}
    assert parse_body(b"q=c&q=d", FORM, "q=a&x=1") == {"q": "c", "x": "1"}
    parts = "".join(f'--b\r\nContent-Disposition: form-data; name="q"\r\n\r\n{q}\r\n' for q in ("e", "f"))
    assert parse_body(f"{parts}--b--\r\n".encode(), "multipart/form-data; boundary=b", "q=a") == {"q": "e"}


def test_line_ends_of_forms_are_plain_and_those_of_json_as_they_are():
    assert parse_body(b"q=a%0D%0Ab", FORM, "") == {"q": "a\nb"}
    part = b'--b\r\nContent-Disposition: form-data; name="q"\r\n\r\na\r\nb\r\n--b--\r\n'
    assert parse_body(part, "multipart/form-data; boundary=b", "") == {"q": "a\nb"}
    assert parse_body(b'{"q": "a\\r\\nb"}', "application/json", "") == {"q": "a\r\nb"}


@pytest.mark.parametrize(
    ("parameters", "header", "key"),
    [
        ({"api_key": "k"}, "Bearer other", "k"),
        ({"api_key": ""}, "Bearer k", "k"),
        ({"api_key": 1}, "bearer  k ", "k"),
        ({}, "BEARER k", "k"),
        ({}, "Basic k", None),
        ({}, "Bearer ", None),
        ({}, "", None),
    ],
)
def test_where_a_key_may_stand(parameters, header, key):
    assert read_key(parameters, header) == key


@pytest.mark.parametrize("character", ["a", "\0", "犬", "😀"])
def test_a_body_of_as_many_characters_as_allowed_is_read_however_they_are_spelled(character):
    limits = Limits(max_characters=50_000)
    body = json.dumps({"q": character * 50_000, "source": "en", "target": "de"}).encode()
    assert len(body) <= limits.max_body_bytes


def test_as_much_as_the_limits_say_is_taken():
    limits = Limits(max_characters=4, max_batch=2)
    assert read_texts({"q": "abcd"}, limits) == (("abcd",), False)
    assert read_texts({"q": ["ab", "cd"]}, limits) == (("ab", "cd"), True)
    for q in ("abcde", ["abc", "de"], ["a", "b", "c"]):
        with pytest.raises(RefusedError) as caught:
            read_texts({"q": q}, limits)
        assert caught.value.status == 413


@pytest.mark.parametrize(
    ("value", "expected"), [("TRUE", True), ("on", True), (True, True), ("Off", False), ("", False), (None, False)]
)
def test_switches(value, expected):
    wanted = read_translate({"q": "a", "source": "en", "target": "de", "alignment": value}, Limits())
    assert wanted.align is expected


@pytest.mark.parametrize(("value", "expected"), [(None, 0), ("", 0), ("2", 2), (3, 3), ("9" * 10, None), (1.5, None)])
def test_numbers(value, expected):
    parameters = {"q": "a", "source": "en", "target": "de", "alternatives": value}
    if expected is None:
        with pytest.raises(RefusedError, match="must be a number from 0"):
            read_translate(parameters, Limits())
    else:
        assert read_translate(parameters, Limits()).num_alternatives == expected
