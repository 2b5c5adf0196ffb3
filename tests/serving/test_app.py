import json
import socket
import threading
import time

import pytest

from mtkit.decoding.request import Request
from mtkit.errors import DataError
from mtkit.serving.api_keys import ApiKeys
from mtkit.serving.limits import Limits

SENTENCES = ["the dog runs.", "a man sees the big red house and the cat.", "it jumps over the street."]


def test_translations_are_those_of_the_command_line(client, translator):
    expected = translator.translate(SENTENCES)
    assert client.translate(SENTENCES[0]).json == {"translatedText": expected[0]}
    assert client.translate(SENTENCES).json == {"translatedText": expected}
    one_by_one = [client.translate(sentence).json["translatedText"] for sentence in SENTENCES]
    assert one_by_one == expected


def test_all_ways_to_ask_are_answered_alike(client, translator):
    expected = {"translatedText": translator.translate(SENTENCES[:1])[0]}
    query = "q=the+dog+runs.&source=en&target=de"
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert client.send("POST", "/translate", query, form).json == expected
    assert client.send("POST", f"/translate?{query}").json == expected
    fields = {"q": SENTENCES[0], "source": "en", "target": "de"}
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}\r\n' for name in fields]
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.send("POST", "/translate", "".join(parts) + "--x--\r\n", multipart).json == expected


def test_lines_keep_their_places(client, translator):
    first, second = translator.translate(SENTENCES[:2])
    text = f"\n{SENTENCES[0]}\r\n   \n\n{SENTENCES[1]}\n"
    assert client.translate(text).json == {"translatedText": f"\n{first}\r\n\n\n{second}\n"}
    assert client.translate([" ", "\n"]).json == {"translatedText": ["", "\n"]}


def test_alternatives(client, translator):
    plain = client.translate(SENTENCES[:2]).json["translatedText"]
    found = client.translate(SENTENCES[:2], alternatives=3).json
    assert found["translatedText"] == plain
    for best, others in zip(plain, found["alternatives"], strict=True):
        assert 1 <= len(others) <= 3
        assert len({best, *others}) == 1 + len(others)
    single = client.translate(SENTENCES[0], alternatives="3").json
    assert single == {"translatedText": plain[0], "alternatives": found["alternatives"][0]}
    assert client.translate("\n", alternatives=2).json == {"translatedText": "\n", "alternatives": []}
    refused = client.translate("x", alternatives=4)
    assert (refused.status, refused.error) == (400, "Invalid request: alternatives (4) exceed limit (3)")


def test_alignment_counts_words_over_all_lines(client):
    lines = [client.translate(line, alignment=True).json for line in SENTENCES[:2]]
    whole = client.translate("\n\n".join(SENTENCES[:2]), alignment=True, alternatives=1).json
    num_source, num_target = len(SENTENCES[0].split()), len(lines[0]["translatedText"].split(" "))
    shifted = [[num_source + i, num_target + j] for i, j in lines[1]["alignment"]]
    assert whole["alignment"] == lines[0]["alignment"] + shifted
    assert len(whole["alternativeAlignments"]) == len(whole["alternatives"]) == 1
    assert max(i for i, _ in whole["alignment"]) < len(" ".join(SENTENCES[:2]).split())


def test_languages(client):
    assert client.get("/languages").json == [
        {"code": "en", "name": "English", "targets": ["de"]},
        {"code": "de", "name": "German", "targets": ["en"]},
        {"code": "pl", "name": "Polish", "targets": ["en"]},
    ]
    found = client.translate("the dog", source="auto").json
    assert found["detectedLanguage"] == {"confidence": 100.0, "language": "en"}
    found = client.translate(["the dog", "a cat"], source="auto").json
    assert found["detectedLanguage"] == [{"confidence": 100.0, "language": "en"}] * 2
    assert client.post("/detect", q="the dog").json == [
        {"confidence": 33.3, "language": code} for code in ("en", "de", "pl")
    ]
    assert client.get("/frontend/settings").json["language"] == {
        "source": {"code": "en", "name": "English"},
        "target": {"code": "de", "name": "German"},
    }


@pytest.mark.parametrize(("source", "target"), [("EN", "DE"), ("en-US", "de-DE"), ("en_GB", "deu"), ("auto", "de-AT")])
def test_languages_may_say_their_region(client, source, target):
    found = client.translate("the dog", source=source, target=target)
    assert found.json["translatedText"] == client.translate("the dog").json["translatedText"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"source": "fr"}, "fr is not supported"),
        ({"target": "fr"}, "fr is not supported"),
        ({"source": "auto", "target": "auto"}, "auto is not supported"),
        ({"target": "en"}, "English (en) is not available as a target language from English (en)"),
        ({"source": "auto", "target": "en"}, "this server does not guess languages: give source as one of de, pl"),
        ({"q": None}, "Invalid request: missing q parameter"),
        ({"q": ""}, "Invalid request: missing q parameter"),
        ({"q": 1}, "Invalid request: q must be a string or a list of strings"),
        ({"q": ["a", 1]}, "Invalid request: q must be a string or a list of strings"),
        ({"source": ""}, "Invalid request: missing source parameter"),
        ({"target": None}, "Invalid request: missing target parameter"),
        ({"target": ["de"]}, "Invalid request: target must be a string"),
        ({"format": "pdf"}, "pdf format is not supported"),
        ({"format": "html"}, "html format is not supported"),
        ({"alternatives": -1}, "Invalid request: alternatives must be a number from 0"),
        ({"alternatives": True}, "Invalid request: alternatives must be a number from 0"),
        ({"alternatives": "²"}, "Invalid request: alternatives must be a number from 0"),
        ({"alignment": "maybe"}, "Invalid request: alignment must be true or false"),
        ({"source": "\ud800"}, "? is not supported"),
    ],
)
def test_a_wrong_parameter_is_refused(client, fields, error):
    refused = client.translate("a dog", **fields) if "q" not in fields else client.translate(fields["q"])
    assert (refused.status, refused.json) == (400, {"error": error})


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[1]"),
        ("application/json", b"\xff"),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"q": ' + b"9" * 5_000 + b"}"),
        ("application/x-www-form-urlencoded", b"\xff=1"),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 200)),
        ("multipart/form-data", b"--x"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n"),
        ("text/plain", b"q=a"),
        ("", b"q=a"),
    ],
)
def test_a_malformed_body_is_refused(client, kind, body):
    refused = client.send("POST", "/translate", body, {"Content-Type": kind})
    assert refused.status == 400
    assert refused.error


def test_other_paths_and_methods(client):
    assert client.get("/nothing").json == {"error": "Not Found"}
    assert client.get("/assets/../app.py").status == 404
    refused = client.get("/translate")
    assert (refused.status, refused.json, refused.headers["allow"]) == (405, {"error": "Method Not Allowed"}, "POST")
    assert client.get("/health").json == {"status": "ok"}
    for path in ("/", "/docs", "/assets/base.css", "/languages", "/frontend/settings", "/health"):
        head = client.send("HEAD", path)
        assert (head.status, head.body) == (200, b""), path
        assert int(head.headers["content-length"]) == len(client.get(path).body)
    allowed = client.send("OPTIONS", "/translate")
    assert (allowed.status, allowed.headers["access-control-allow-origin"]) == (204, "*")


def test_limits(make_server, run_server, gate, wait_until):
    server = make_server(gate, limits=Limits(max_characters=10, max_batch=3, max_queue=2, time_limit_seconds=0.4))
    client = run_server(server)
    settings = client.get("/frontend/settings").json
    assert (settings["charLimit"], settings["batchLimit"]) == (10, 3)
    refused = client.translate("x" * 11)
    assert (refused.status, refused.error) == (
        413,
        "Invalid request: request (11 characters) exceeds text limit (10)",
    )
    assert client.translate(["a"] * 4).error == "Invalid request: request (4 texts) exceeds text limit (3)"
    assert client.translate("a\nb\nc").status == 413
    huge = client.send("POST", "/translate", b" " * (server.limits.max_body_bytes + 1), {"Content-Type": "text/plain"})
    assert huge.status == 413
    late = client.translate("late")
    assert (late.status, late.error) == (504, "the translation took too long")
    with client.connect("b"), client.connect("c"):
        wait_until(lambda: server.engine.num_waiting == 2)
        busy = client.translate("d")
    assert (busy.status, busy.error) == (429, "Slowdown: too many requests are waiting")
    assert int(busy.headers["retry-after"]) >= 1


def test_a_client_that_hangs_up_costs_no_more(make_server, run_server, gate, wait_until):
    server = make_server(gate)
    client = run_server(server)
    with client.connect("first"):
        wait_until(lambda: gate.windows)
        connections = [client.connect([f"dropped {n}", f"dropped too {n}"]) for n in range(5)]
        wait_until(lambda: server.engine.num_waiting == 10)
        for connection in connections:
            connection.close()
        wait_until(lambda: server.engine.num_waiting == 0)
        gate.opened.set()
        assert client.translate("last").json == {"translatedText": "0:last"}
    assert gate.windows == [["first"], ["last"]]


def test_answers_are_not_mixed_up(make_server, run_server, gate):
    gate.opened.set()
    client = run_server(make_server(gate, window=(7, 1000)))
    wrong = []

    def ask(number):
        for turn in range(20):
            texts = [f"{number} {turn} {part}" for part in range(number % 4 + 1)]
            if client.translate(texts).json != {"translatedText": [f"0:{text}" for text in texts]}:
                wrong.append(texts)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert max(len(window) for window in gate.windows) > 4  # some were translated together


def test_when_it_stops_it_finishes_what_is_in_flight(make_server, run_server, gate, wait_until):
    server = make_server(gate)
    client = run_server(server)
    with client.connect("first") as first:
        wait_until(lambda: gate.windows)
        waiting = client.connect("waiting")
        wait_until(lambda: server.engine.num_waiting == 1)
        server.is_stopping = True
        time.sleep(0.3)  # it goes on listening
        refused = client.translate("new")
        assert (refused.status, refused.error) == (503, "the server is shutting down")
        assert refused.headers["retry-after"] == "5"
        assert (client.get("/health").status, client.get("/health").json) == (503, {"status": "stopping"})
        gate.opened.set()
        answers = []
        for connection in (first, waiting):
            with connection, connection.makefile("rb") as stream:
                answers.append(stream.read().partition(b"\r\n\r\n")[2])
    assert [json.loads(body) for body in answers] == [{"translatedText": "0:first"}, {"translatedText": "0:waiting"}]


def test_keys(make_server, run_server):
    client = run_server(make_server(keys=ApiKeys(["secret"])))
    missing, wrong = client.translate("a dog"), client.translate("a dog", api_key="guess")
    assert (missing.status, missing.error) == (400, "Please contact the server operator to get an API key")
    assert (wrong.status, wrong.error) == (403, "Invalid API key")
    assert client.post("/detect", q="a dog").status == 400
    assert client.translate("a dog", api_key="secret").status == 200
    body = json.dumps({"q": "a dog", "source": "en", "target": "de"})
    headers = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
    assert client.send("POST", "/translate", body, headers).status == 200
    assert client.get("/frontend/settings").json["keyRequired"] is True


def test_clients_take_turns_by_their_keys(make_server, run_server, gate, monkeypatch):
    """All may come from one address: that of a proxy."""
    gate.opened.set()
    server = make_server(gate, keys=ApiKeys(["one", "two"]))
    seen, submit = [], server.engine.submit
    monkeypatch.setattr(server.engine, "submit", lambda client, *rest: seen.append(client) or submit(client, *rest))
    client = run_server(server)
    for key in ("one", "two", "one"):
        assert client.translate("a dog", api_key=key).status == 200
    assert seen[0] == seen[2] != seen[1]


def test_a_client_that_hangs_up_while_it_sends_is_no_failure(make_server, run_server, wait_until, capsys):
    server = make_server()
    client = run_server(server)
    with socket.create_connection(client.address, timeout=20) as connection:
        connection.sendall(b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        wait_until(lambda: server.num_open == 1)
    wait_until(lambda: server.num_open == 0)
    assert client.get("/health").status == 200
    assert capsys.readouterr().err == ""


def test_html(make_server, run_server, translator):
    def translate_html(texts, language, translate):
        if "bad" in texts:
            raise DataError("not HTML", fix="none")
        assert language == "en"
        found = translate([Request(part) for text in texts for part in text.split("<br>")])
        assert all(one.alternatives[0].alignment for one in found)
        assert {len(one.alternatives) for one in found} == {translator.decoding.beam_size}  # as of a document
        parts = [one.text for one in found]
        return ["<br>".join(parts[place : place + 2]) for place in range(0, len(parts), 2)]

    client = run_server(make_server(translate_html=translate_html))
    first, second = translator.translate(SENTENCES[:2])
    text = f"{SENTENCES[0]}<br>{SENTENCES[1]}"
    assert client.translate(text, format="html").json == {"translatedText": f"{first}<br>{second}"}
    assert client.translate([text] * 2, format="html").json == {"translatedText": [f"{first}<br>{second}"] * 2}
    found = client.translate(text, format="html", alternatives=1, alignment=True).json
    assert (found["alternatives"], found["alignment"]) == ([], [])
    refused = client.translate("bad", format="html")
    assert (refused.status, refused.error) == (400, "Cannot translate text: not HTML")


def test_a_failure_is_an_error_of_the_server(make_server, run_server, gate, capsys):
    gate.opened.set()
    client = run_server(make_server(gate))
    failed = client.translate("fail")
    assert (failed.status, failed.error) == (500, "Cannot translate text: ValueError: on purpose")
    assert client.translate("other").status == 200
    assert "on purpose" in capsys.readouterr().err


def test_the_api_is_described(client):
    schema = client.get("/openapi.json").json
    assert schema["openapi"].startswith("3.")
    assert set(schema["paths"]) == {"/translate", "/detect", "/languages", "/frontend/settings", "/health"}
    body = schema["paths"]["/translate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["q", "source", "target"]
    answered = client.translate(SENTENCES, source="auto", alternatives=2, alignment=True).json
    assert set(answered) == set(schema["components"]["schemas"]["TranslateResult"]["properties"])
    settings = schema["components"]["schemas"]["Settings"]["properties"]
    assert set(client.get("/frontend/settings").json) == set(settings)
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert all(f"{path}</code>" in page.body.decode() for path in schema["paths"])


def test_a_client_of_libretranslate_works(client, translator):
    from libretranslatepy import LibreTranslateAPI

    api = LibreTranslateAPI(client.url)
    expected = translator.translate(["the dog & the cat = äöü?"])[0]
    assert api.translate("the dog & the cat = äöü?", "en", "de") == expected
    assert api.translate("the dog", "auto", "de") == translator.translate(["the dog"])[0]
    assert [language["code"] for language in api.languages()] == ["en", "de", "pl"]
    assert {found["language"] for found in api.detect("the dog")} == {"en", "de", "pl"}
