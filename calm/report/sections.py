"""The sections of the page: tables, cards to listen to, and the files behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from calm.pages.html import Element, h
from calm.pages.sections import section
from calm.pages.sound import MAX_WAV_SECONDS
from calm.report.cards import listening
from calm.report.measured import measured
from calm.report.media import Media
from calm.report.panel import Panel, panels
from calm.report.records import Board
from calm.report.tables import table
from calm.report.words import counted, notes, remarks

__all__ = ["files_section", "listen_section", "results_sections"]

CHOICE = (
    "The prompts were dealt out over tasks and labels, then by a hash of their names: no score had a say in the choice. "
    "Strongest means best in the first column of the table. "
)
LEVELS = (
    "Every clip is as its system made it: nothing was normalised, so levels differ between systems. Pictures are mel "
    "spectrograms; those of one card share one scale of 70 decibels. Click into a picture to play from there."
)


def results_sections(boards: Sequence[Board], *, ours: str | None) -> list[Element]:
    """One section for each benchmark, with a table for each task."""
    groups: dict[tuple[int, ...], list[Panel]] = {}
    for panel in panels(boards, ours=ours):
        groups.setdefault(tuple(id(part.board) for part in panel.parts), []).append(panel)
    return [_results(f"results-{number}", group) for number, group in enumerate(groups.values(), start=1)]


def _results(anchor: str, group: Sequence[Panel]) -> Element:
    content = []
    for panel in group:
        title = h("h3", str(panel.task).capitalize())
        parts = title, table(panel), remarks(panel), measured(panel)
        content.append(h("div", parts, class_=f"panel task-{panel.task}"))
    return section(anchor, group[0].title, notes([part.board for part in group[0].parts]), content)


def listen_section(boards: Sequence[Board], media: Media, *, ours: str | None, cards: int) -> Element | None:
    """Cards of each benchmark, or None where nothing can be listened to."""
    groups = []
    for board in boards:
        found = listening(board, media, ours=ours, count=cards)
        if found:
            groups.append(h("div", h("h3", board.title), h("div", found, class_="stack"), class_="panel"))
    if not groups:
        return None
    converted = counted(media.num_converted, "clip")
    told = f" {converted} became MP3: WAV longer than {MAX_WAV_SECONDS:g} s, or a form that browsers do not play."
    text = CHOICE + LEVELS + (told if media.num_converted else "")
    return section("listen", "Listen", h("p", text, class_="how"), groups)


def files_section(copies: Sequence[tuple[str, Mapping[str, Any]]]) -> Element:
    """The result files to take away."""
    rows = []
    for name, found in copies:
        systems = [h("bdi", str(system)) for system in found["systems"]]
        listed = [[", " if index else "", system] for index, system in enumerate(systems)]
        link = h("a", name, href=name, download="")
        rows.append(h("li", link, ": ", h("bdi", str(found["benchmark"]["name"])), "; ", listed))
    text = "Every figure with its interval, every score of every clip, and what it was measured with. Paths are cut to names."
    return section("files", "Files", h("p", text, class_="how"), h("ul", rows, class_="files"))
