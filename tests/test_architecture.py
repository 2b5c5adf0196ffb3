"""Imports point one way, and `mtkit --help` does not pay for torch."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "mtkit"
LAYERS = [
    ["errors", "version"],
    ["config", "runtime", "pages"],
    ["corpus", "model"],
    ["checkpoint"],
    ["decoding", "evaluation"],
    ["training", "inspection", "interop", "documents", "serving"],
    ["cli"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
TORCH_FREE = {"errors", "config", "pages", "evaluation", "cli"}


def iter_imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.col_offset == 0
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.col_offset == 0) for alias in node.names)


def test_imports_point_one_way():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if here not in RANK:
            continue
        for module, at_top in iter_imports(path):
            if module.split(".")[0] == "torch" and at_top and here in TORCH_FREE:
                wrong.append(f"{path}: torch")
            if not module.startswith("mtkit."):
                continue
            there = module.split(".")[1]
            same = here == there
            if not same and RANK[there] >= RANK[here]:
                wrong.append(f"{path}: {module}")
    assert not wrong


def test_help_does_not_import_torch():
    code = (
        "import sys, mtkit.cli.main as m; m.build_app()(['--help'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
