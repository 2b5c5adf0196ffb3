"""Word links of translations as text, beside the answers in whatever format these are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mtkit.decoding.formats import Format, Record
from mtkit.decoding.output import Output
from mtkit.decoding.translation import Translation


@dataclass
class WithLinks:
    """Reads and answers as another format does, and writes links in Pharaoh format to a place of their own.

    A line `0-0 1-2` for each translation, n-best ones included: source word, target word, from 0, words parted by white
    space. An empty line for an empty translation.

    Args:
        inner: The other format.
        links: Takes the lines.
    """

    inner: Format
    links: Output

    @property
    def has_header(self) -> bool:
        """Whether the other format has one."""
        return self.inner.has_header

    def take_header(self, line: str, name: str) -> str | None:
        """Take the header of the other format.

        Raises:
            DataError: It lacks what the format needs.
        """
        return self.inner.take_header(line, name)

    def read(self, line: str) -> Record:
        """Return what a line holds."""
        return self.inner.read(line)

    def write(self, record: Record, translation: Translation, index: int) -> str:
        """Return the other format's answer, when the links are written."""
        for alternative in translation.alternatives:
            links = alternative.alignment or ()
            self.links.write_line(" ".join(f"{source}-{target}" for source, target in links))
        return self.inner.write(record, translation, index)

    def name_fields(self, record: Record) -> dict[str, Any]:
        """Return what the line held, by name."""
        return self.inner.name_fields(record)
