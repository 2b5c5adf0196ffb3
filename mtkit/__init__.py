"""mtkit: train, run and score sequence-to-sequence translation models.

The public Python interface is small: `Translator`, `Request`, `Scorer`, `PreparedCorpus` and `evaluate`. They are
imported when first used, so that `import mtkit` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mtkit.version import __version__

if TYPE_CHECKING:
    from mtkit.corpus.store import PreparedCorpus
    from mtkit.decoding.request import Request
    from mtkit.decoding.scoring import Scorer
    from mtkit.decoding.translator import Translator
    from mtkit.evaluation.metrics import evaluate

__all__ = ["PreparedCorpus", "Request", "Scorer", "Translator", "__version__", "evaluate"]

_HOMES = {
    "PreparedCorpus": "mtkit.corpus.store",
    "Request": "mtkit.decoding.request",
    "Scorer": "mtkit.decoding.scoring",
    "Translator": "mtkit.decoding.translator",
    "evaluate": "mtkit.evaluation.metrics",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mtkit' has no attribute {name!r}")
