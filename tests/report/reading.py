"""A page as a tree, as a browser would read it."""

from __future__ import annotations

import html.parser
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

INLINE = {"a", "bdi", "sup", "strong", "u"}
VOID = {"meta", "link", "img", "br"}


class _Builder(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack = [Element("document")]

    def handle_starttag(self, tag, attrs):
        element = SubElement(self.stack[-1], tag, {key: value or "" for key, value in attrs})
        if tag not in VOID:
            self.stack.append(element)

    def handle_endtag(self, tag):
        assert self.stack.pop().tag == tag

    def handle_data(self, data):
        parent = self.stack[-1]
        if len(parent):
            parent[-1].tail = (parent[-1].tail or "") + data
        else:
            parent.text = (parent.text or "") + data


def read_page(path: Path) -> Element:
    """Parse a page; every element that is opened is closed."""
    builder = _Builder()
    builder.feed(path.read_text(encoding="utf-8"))
    assert len(builder.stack) == 1
    return builder.stack[0]


def text_of(element: Element) -> str:
    """All text inside an element, scripts and styles left out, with single spaces."""
    inner = "" if element.tag in ("script", "style") else element.text or ""
    parts = [inner] + [_spaced(child) + (child.tail or "") for child in element]
    return " ".join("".join(parts).split())


def _spaced(element: Element) -> str:
    text = text_of(element)
    return text if element.tag in INLINE else f" {text} "


def with_class(root: Element, name: str) -> list[Element]:
    """Elements that have a class."""
    return [element for element in root.iter() if name in element.get("class", "").split()]


def rows_of(table: Element) -> dict[str, list[Element]]:
    """Cells of each row of a table by the system's name."""
    return {text_of(row.find("th").find("bdi")): row.findall("td") for body in table.findall("tbody") for row in body}
