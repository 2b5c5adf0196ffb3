"""XML as it was, with more in it."""

from __future__ import annotations

import re
from typing import Any

_HEAD = re.compile(rb"\A(?:\xef\xbb\xbf)?(?:<\?xml\s[^>]*>\s*)?")
_END = re.compile(rb"\s*\Z")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")


def write_tree(tree: Any, content: bytes) -> bytes:
    """Return an XML tree as lxml writes it, with the declaration, the line ends and the end that the file had.

    Args:
        tree: Of the file, changed or not.
        content: What it was read from.
    """
    from lxml import etree

    info = tree.docinfo
    encoding = info.encoding or "UTF-8"
    written: bytes = etree.tostring(tree, xml_declaration=True, encoding=encoding, standalone=info.standalone or None)
    if written.startswith(_UTF_16):
        return written
    head, end = (pattern.search(content) for pattern in (_HEAD, _END))
    written = _HEAD.sub(b"", written).replace(b"\n", b"\r\n" if b"\r\n" in content else b"\n")
    return (head[0] if head else b"") + written + (end[0] if end else b"")


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
