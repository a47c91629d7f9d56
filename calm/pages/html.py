"""HTML and SVG as element trees: every text and attribute is escaped by construction."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from xml.etree.ElementTree import Element

__all__ = ["Content", "Element", "h", "to_html"]

#: what may stand inside an element: text, elements, nested lists of them; None is left out
Content = str | Element | Iterable["Content"] | None


def h(name: str, /, *content: Content, **attributes: object) -> Element:
    """Return an element: ``h("p", "a < b", class_="note", aria_label="...")``.

    In attribute names a trailing ``_`` is dropped and other ``_`` become ``-``; None leaves an attribute out.
    """
    given = {key.rstrip("_").replace("_", "-"): str(value) for key, value in attributes.items() if value is not None}
    element = ET.Element(name, given)
    for item in content:
        _append(element, item)
    return element


def to_html(root: Element) -> str:
    """Return a whole document; ``root`` is its ``html`` element."""
    return "<!doctype html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _append(element: Element, content: Content) -> None:
    if content is None:
        return
    if isinstance(content, Element):
        element.append(content)
    elif isinstance(content, str):
        if len(element):
            element[-1].tail = (element[-1].tail or "") + content
        else:
            element.text = (element.text or "") + content
    else:
        for item in content:
            _append(element, item)
