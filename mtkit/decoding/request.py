"""What is asked of a translator: a line, and what its translation is held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# Of each group of phrases one must appear in the translation.
PhraseGroups = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Request:
    """A line to translate.

    ```python
    Request("The dog sees the cat.", prefix="Der", required=["Hund", ["Katze", "Kater"]], forbidden=["Tier"])
    ```

    Attributes:
        source: The line.
        tag: Put before the source in place of `decoding.tag`; None for that one.
        prefix: What the translation begins with.
        required: What must appear in it: a phrase, or one of several, given as a list.
        forbidden: Phrases that must not appear in it.
        at_most: Phrases that may appear in it only so often; of a line that is split, in each part.
    """

    source: str
    tag: str | None = None
    prefix: str | None = None
    required: Sequence[str | Sequence[str]] = ()
    forbidden: Sequence[str] = ()
    at_most: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a phrase in place of a list of phrases, which would be read letter by letter."""
        for name in ("required", "forbidden"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is a list of phrases, not a str")
        for name in ("tag", "prefix"):
            if not isinstance(getattr(self, name), str | None):
                raise TypeError(f"{name} is a str or None, not {type(getattr(self, name)).__name__}")

    @property
    def groups(self) -> PhraseGroups:
        """The required phrases, as groups of which one phrase each must appear."""
        return tuple((item,) if isinstance(item, str) else tuple(item) for item in self.required)


def to_request(line: str | Request) -> Request:
    """Return a line as a request that wishes nothing, and a request as it is.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(line, Request):
        return line
    if not isinstance(line, str):
        raise TypeError(f"a line is a str or a mtkit.Request, not {type(line).__name__}")
    return Request(line)
