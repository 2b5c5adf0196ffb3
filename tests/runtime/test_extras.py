"""Packages of extras: what is said when they are missing."""

import sys

import pytest

from mtkit.errors import RecipeError
from mtkit.runtime.extras import import_extra


def test_a_submodule_is_returned_itself():
    assert import_extra("json.decoder", "formats", "reading").__name__ == "json.decoder"


@pytest.mark.parametrize("name", ["absent_package", "absent_package.part"])
def test_a_missing_package_names_its_extra(name):
    with pytest.raises(RecipeError) as caught:
        import_extra(name, "zstd", "reading .zst", "a.zst")
    assert caught.value.message == "reading .zst needs the package absent_package, which is not installed"
    assert (caught.value.at, caught.value.fix) == ("a.zst", 'install it: pip install "mtkit[zstd]"')


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("import absent_dependency.part", "lacks absent_dependency"),
        ("raise ImportError('libgomp.so.1: no such file')", "cannot be loaded (libgomp.so.1: no such file)"),
        ("raise OSError('libgomp.so.1: no such file')", "cannot be loaded (libgomp.so.1: no such file)"),
    ],
)
def test_a_package_that_does_not_load_is_not_called_missing(tmp_path, monkeypatch, content, problem):
    (tmp_path / "half_there.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "half_there", raising=False)
    with pytest.raises(RecipeError, match="needs the package half_there") as caught:
        import_extra("half_there", "serve", "the server")
    assert caught.value.message.endswith(f"which {problem}")
    assert "pip install --force-reinstall half_there" in caught.value.fix  # it is there: to install it does nothing
