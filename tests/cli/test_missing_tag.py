"""A model that never saw a source without a tag says so where none is given."""

import json
import shutil

import pytest

WARNING = "and none is given"


@pytest.fixture
def tagged(model_folder, tmp_path):
    """Return a function that gives a model folder whose training corpora had these tags."""

    def build(tags):
        folder = shutil.copytree(model_folder, tmp_path / "model")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"tags": tags}))
        return folder

    return build


@pytest.fixture
def texts(tmp_path):
    for name, content in (
        ("a.en", "the dog\n"),
        ("a.de", "a cat\n"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nthe dog\n"),
    ):
        (tmp_path / name).write_text(content)
    (tmp_path / "a.jsonl").write_text('{"source": "the dog", "target": "a cat", "tag": "<2de>"}\n')
    return tmp_path


COMMANDS = {
    "translate": (["translate", "--model", "MODEL", "a.en"], "--tag '<2de>' (or <2fr>)"),
    "document": (["translate", "--model", "MODEL", "a.srt"], "--tag '<2de>'"),
    "score": (["score", "--model", "MODEL", "a.en", "a.de"], "--tag '<2de>'"),
    "align": (["align", "--model", "MODEL", "a.en", "a.de"], "--tag '<2de>'"),
    "back": (
        ["align", "--model", "MODEL", "--tag=<2de>", "--reverse-model", "MODEL", "a.en", "a.de"],
        "--reverse-tag '<2de>'",
    ),
    "explain": (["explain", "--model", "MODEL", "the dog"], "--tag '<2de>'"),
    "embed": (["embed", "--model", "MODEL", "a.en"], "--tag '<2de>'"),
    "evaluate": (["evaluate", "MODEL", "--source", "a.en", "-r", "a.de"], "--set decoding.tag='<2de>'"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_warns(run, tagged, texts, monkeypatch, name):
    monkeypatch.chdir(texts)
    command, advice = COMMANDS[name]
    model = tagged(["<2de>", "<2fr>"])
    arguments = [model if word == "MODEL" else word for word in command]
    result = run(*arguments)
    assert result.code == 0, result.err
    assert result.err.count(WARNING) == 1
    assert advice in " ".join(result.err.split())
    given = ["--reverse-tag=<2de>"] if name == "back" else ["--set", "decoding.tag=<2de>"]
    assert WARNING not in run(*arguments, *given).err


@pytest.mark.parametrize("tags", [[], [None], [None, "<bt>"]])
def test_a_model_that_saw_sources_without_a_tag_needs_none(run, tagged, texts, tags):
    assert WARNING not in run("translate", "--model", tagged(tags), texts / "a.en").err


@pytest.mark.parametrize("command", [["translate"], ["score"]])
def test_objects_bring_their_own_tags(run, tagged, texts, command):
    result = run(*command, "--model", tagged(["<2de>"]), texts / "a.jsonl")
    assert (result.code, WARNING in result.err) == (0, False)


def test_info_tells_the_tags(run, tagged):
    assert json.loads(run("info", tagged(["<2de>", None]), "--json").out)["tags"] == "<2de>, none"
