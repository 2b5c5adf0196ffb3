"""What the README promises of an install without extras works where only the packages of the core can be imported."""

import subprocess
import sys

import pytest

# Allows the packages that `pip install mtkit` brings, and the standard library.
PROGRAM = """
import re, sys
from importlib import metadata

def close(name, known):
    if name not in known:
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            return
        known.add(name)
        for requirement in requirements:
            if "extra ==" not in requirement:
                close(re.sub("[-_.]+", "-", re.match("[A-Za-z0-9._-]+", requirement)[0]).lower(), known)

core = set()
close("mtkit", core)
foreign = {
    module
    for module, names in metadata.packages_distributions().items()
    if core.isdisjoint(re.sub("[-_.]+", "-", name).lower() for name in names)
}

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in foreign:
            raise ModuleNotFoundError(f"not of the core: {name}", name=name)

sys.meta_path.insert(0, Finder())
if "google" in foreign:
    sys.modules["google.protobuf"] = None
from mtkit.cli.main import main
main(sys.argv[1:])
"""


def run(program, *arguments, cwd):
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "arguments",
    [
        ["translate", "text", "--json", "--alignment"],
        ["align", "text", "text"],
        ["explain", "the dog runs"],
        ["explain", "the dog runs", "-o", "page.html"],
        ["score", "text", "text", "--json"],
        ["embed", "text", "-o", "text.npy"],
        ["export", "--to", "safetensors", "-o", "copy"],
    ],
    ids=" ".join,
)
def test_a_command_needs_only_the_core(write, model_folder, tmp_path, arguments):
    write("text", ["the dog runs", "a cat"])
    model = [model_folder] if arguments[0] == "export" else ["--model", model_folder]
    command = [arguments[0], *model, *arguments[1:]]
    done = run(PROGRAM, *map(str, command), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_others_are_kept_out(tmp_path):
    done = run(PROGRAM.replace("main(sys.argv[1:])", "import matplotlib"), cwd=tmp_path)
    assert "not of the core: matplotlib" in done.stderr
