"""What looks into a model computes where the model lies, as translation and training do."""

import re

import pytest

NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


@pytest.mark.parametrize(
    "command",
    [
        ["score", "--json", "a.en", "a.de"],
        ["score", "--precision", "bf16", "a.en", "a.de"],
        ["align", "a.en", "a.de"],
        ["explain", "the dog sees a cat.", "-o", "out.json"],
        ["embed", "a.en"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_command_says_the_same_on_another_device(
    run, model_folder, write, tmp_path, monkeypatch, on_other_device, command
):
    write("a.en", ["the big dog runs.", "", "a cat sees the man"])
    write("a.de", ["the dog, it runs.", "a man", "the cat sees"])
    monkeypatch.chdir(tmp_path)
    name, *arguments = command

    def call():
        result = run(name, "--model", model_folder, "--threads", "1", *arguments)
        assert result.code == 0, result.err
        written = [path.read_text(encoding="utf-8") for path in tmp_path.glob("out.*")]
        return "\n".join([result.out, *written])

    expected = call()
    with on_other_device():
        got = call()
    digits = 2e-2 if "bf16" in command else 1e-4
    assert NUMBER.sub("#", got) == NUMBER.sub("#", expected)
    assert list(map(float, NUMBER.findall(got))) == pytest.approx(
        list(map(float, NUMBER.findall(expected))), rel=digits, abs=digits
    )
