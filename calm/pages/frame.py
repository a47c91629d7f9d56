"""What every page begins with: the document's head, and a header with title, facts and links to its sections."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from calm.pages.html import Element, h
from calm.pages.records import Fact

__all__ = ["POLICY", "asset", "head", "header"]

#: nothing from elsewhere: what the page needs is inside it
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def head(title: str, *, policy: str = POLICY, style: str | None = None) -> Element:
    """The head of a document that loads nothing but what ``policy`` allows; ``style`` replaces the style sheet."""
    return h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="color-scheme", content="light dark"),
        h("meta", http_equiv="Content-Security-Policy", content=policy),
        # Browsers ask a server for an icon unless the page brings one.
        h("link", rel="icon", href="data:,"),
        h("title", title),
        h("style", asset("page.css") if style is None else style),
    )


def header(
    title: str, *, lead: str, facts: Sequence[Fact], sections: Sequence[Element], notes: Sequence[str] = ()
) -> Element:
    """Title, lead and notes, a list of facts, and links to ``sections``, each with an id and an ``h2``."""
    links = [h("a", item.findtext("h2"), href=f"#{item.get('id')}") for item in sections]
    rows = [h("div", h("dt", fact.label), h("dd", fact.value)) for fact in facts]
    return h(
        "header",
        h("p", "AudioCALM", class_="brand"),
        h("h1", title),
        h("p", lead, class_="lead") if lead else None,
        [h("p", note, class_="note", role="note") for note in notes],
        h("dl", rows, class_="facts wide") if rows else None,
        h("nav", links, aria_label="Sections"),
        class_="top-of-page",
    )


def asset(name: str, *, package: str = "calm.pages") -> str:
    """A text file of a package: the style sheet, the script."""
    return (resources.files(package) / name).read_text(encoding="utf-8")
