"""XML as it was, with more in it."""

from __future__ import annotations

import re
from typing import Any

_HEAD = re.compile(r"\A(?:\ufeff|\xef\xbb\xbf)?(?:<\?xml\s[^>]*>\s*)?", re.ASCII)
_END = re.compile(r"\s*\Z", re.ASCII)
# How files in encodings begin that do not hold ASCII as it is.
_WIDE = {
    b"\xff\xfe\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"<\0\0\0": "utf-32-le",
    b"\0\0\0<": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}


def write_tree(tree: Any, content: bytes) -> bytes:
    """Return an XML tree as lxml writes it, with the encoding, declaration, line ends and end that the file had.

    Args:
        tree: Of the file, changed or not.
        content: What it was read from.
    """
    from lxml import etree

    codec = next((codec for start, codec in _WIDE.items() if content.startswith(start)), None)
    if codec is not None:
        written: str = etree.tostring(tree, encoding="unicode")
    else:
        codec = "latin-1"  # byte by byte
        written = etree.tostring(tree, encoding=tree.docinfo.encoding or "UTF-8").decode(codec)
    before = content.decode(codec)
    head, end = (pattern.search(before) for pattern in (_HEAD, _END))
    written = _HEAD.sub("", written).replace("\n", "\r\n" if "\r\n" in before else "\n")
    return ((head[0] if head else "") + written + (end[0] if end else "")).encode(codec)


def append_indented(before: Any, element: Any) -> None:
    """Put an element behind another one of the same parent, on a line of its own if that stands on one.

    Args:
        before: The element that is there.
        element: The new one.
    """
    parent = before.getparent()
    tail, lead = before.tail, parent.text if before.getprevious() is None else before.getprevious().tail
    parent.insert(parent.index(before) + 1, element)
    element.tail = tail
    before.tail = lead if lead and not lead.strip() else None
