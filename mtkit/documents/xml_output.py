"""XML as it was, with more in it."""

from __future__ import annotations

from typing import Any


def write_tree(tree: Any) -> bytes:
    """Return an XML tree as lxml writes it, with the declaration that it had: encoding and `standalone`."""
    from lxml import etree

    info = tree.docinfo
    encoding = info.encoding or "UTF-8"
    content: bytes = etree.tostring(tree, xml_declaration=True, encoding=encoding, standalone=info.standalone or None)
    return content


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
