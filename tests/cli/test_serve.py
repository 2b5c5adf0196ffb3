import json
import shutil
import signal
import socket
import sys
import threading
import urllib.request

import pytest

from mtkit.cli.serve import translate_html

FAST = ["--device", "cpu", "--threads", "1", "--beam-size", "2", "--port", "0"]


@pytest.fixture(scope="session")
def make_model(model_folder, tmp_path_factory):
    """Return a function that makes a model folder of a direction."""

    def make(source, target):
        folder = tmp_path_factory.mktemp("served") / f"{source}-{target}"
        shutil.copytree(model_folder, folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config |= {"source_language": source, "target_language": target}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def serve(start):
    """Return a function that starts `mtkit serve`, and returns the process and its address."""

    def serve(*arguments):
        process = start("serve", *arguments, *FAST)
        line = process.stderr.readline().decode()
        assert " at http://127.0.0.1:" in line, line
        return process, line.split()[-1], line

    return serve


def ask(url, path, **fields):
    request = urllib.request.Request(url + path, json.dumps(fields).encode() if fields else None)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


def test_serve(serve, make_model, run):
    there, back = make_model("en", "de"), make_model("de", "en")
    process, url, line = serve("--model", there, "--model", back, "--max-characters", "500")
    assert line.startswith(f"serving en-de ({there}), de-en ({back}) at ")
    text = "the dog runs over the street.\na man sees a cat."
    (there.parent / "text").write_text(f"{text}\n", encoding="utf-8")
    expected = run("translate", "--model", there, there.parent / "text", *FAST[:-2]).out
    found = ask(url, "/translate", q=text, source="en", target="de")
    assert f"{found['translatedText']}\n" == expected
    html = "<p>the <b>dog</b> runs.</p>"
    found = ask(url, "/translate", q=html, source="auto", target="en", format="html")["translatedText"]
    assert found.startswith("<p>")
    assert found.count("<b>") == found.count("</b>") == 1
    assert ask(url, "/frontend/settings")["charLimit"] == 500
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (143, b"", b"terminated\n")


def test_sigterm_finishes_what_is_in_flight(serve, make_model):
    process, url, _ = serve("--model", make_model("en", "de"))
    lines = [f"the dog sees {n} cats." for n in range(150)]
    found = []
    long = threading.Thread(
        target=lambda: found.append(ask(url, "/translate", q="\n".join(lines), source="en", target="de"))
    )
    long.start()
    ask(url, "/translate", q="the cat runs.", source="en", target="de")  # comes between; the long one is under way
    process.send_signal(signal.SIGTERM)
    long.join(60)
    assert len(found[0]["translatedText"].split("\n")) == len(lines)
    process.communicate(timeout=20)
    assert process.returncode == 143


def test_a_second_signal_ends_it_at_once(serve, make_model):
    process, url, _ = serve("--model", make_model("en", "de"))
    failed = []

    def send():
        try:
            ask(url, "/translate", q=["the dog sees a red house."] * 500, source="en", target="de")
        except OSError as exc:
            failed.append(exc)

    sending = threading.Thread(target=send)
    sending.start()
    ask(url, "/translate", q="the cat runs.", source="en", target="de")
    process.send_signal(signal.SIGINT)
    assert b"requests to finish: 1; again to stop at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    sending.join(20)
    assert failed


def test_html():
    seen, sizes = [], []

    def translate(requests):
        sizes.append(len(requests))
        from mtkit.decoding.translation import Alternative, Translation

        seen.extend(request.source for request in requests)
        return [Translation(r.source, (Alternative(r.source.upper(), alignment=((0, 0),)),), 1) for r in requests]

    text = '<meta charset="latin1"><p title="a tip">ä dog</p><code>x</code>'
    assert translate_html([text, "", "a dog", text], "en", translate) == [
        '<meta charset="latin1"><p title="A TIP">Ä DOG</p><code>x</code>',
        "",
        "A DOG",
        '<meta charset="latin1"><p title="A TIP">Ä DOG</p><code>x</code>',
    ]
    assert sorted(seen) == ["a dog", "a tip", "a tip", "ä dog", "ä dog"]
    assert sizes == [5]  # all together


def test_a_port_in_use(run, make_model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve", "--model", make_model("en", "de"), *FAST, "--port", port)
    assert (result.code, result.out) == (2, "")
    assert (
        result.err
        == f"error: port {port} is in use\n   at: --port\n  fix: give another one; 0 takes one that is free\n"
    )


def test_mistakes_are_told_in_one_line(run, make_model, model_folder, tmp_path):
    there = make_model("en", "de")
    (tmp_path / "keys").write_text("# none yet\n", encoding="utf-8")
    cases = [
        (["--model", tmp_path / "none"], 4, "no such model folder", "give a run or a model folder"),
        (["--model", model_folder], 4, "does not tell its languages", '"source_language"'),
        (["--model", there, "--model", there], 4, "two models translate from en to de", "each direction"),
        (["--model", there, "--api-keys", tmp_path / "none"], 3, "no such file", "a key a line"),
        (["--model", there, "--api-keys", tmp_path / "keys"], 3, "no keys", "leave --api-keys out"),
        (["--model", there, "--host", "1.2.3.4"], 2, "1.2.3.4 is no address of this machine", "127.0.0.1"),
        (["--model", there, "--host", ""], 2, "'' is no address", "127.0.0.1"),
        (["--model", there, "--set", "decoding.mbr=chrf"], 2, "the server cannot do this", "turn it off"),
        (["--model", there, "--port", "99999"], 2, "65535", "--help"),
        ([], 2, "missing option '--model'", "--help"),
    ]
    for arguments, code, message, fix in cases:
        result = run("serve", *FAST, *arguments)
        assert (result.code, result.out) == (code, ""), result.err
        assert message in result.err
        assert len(result.fixes) == 1
        assert fix in result.fixes[0]


def test_without_the_extra_it_is_named(run, make_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run("serve", "--model", make_model("en", "de"), *FAST)
    assert (result.code, result.fixes) == (2, ['install it: pip install "mtkit[serve]"'])
    assert "the server needs the package uvicorn, which is not installed" in result.err
