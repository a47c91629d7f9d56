"""Which figures of a column are best and second."""

from __future__ import annotations

from collections.abc import Mapping

from calm.report.records import Cell, Measure

__all__ = ["marks", "strength"]


def strength(measure: Measure, cell: Cell) -> float:
    """A number that is higher for better figures. Digits that nobody sees decide nothing."""
    value = round(cell.value, measure.digits)
    return value if measure.better == "higher" else -value


def marks(measure: Measure, cells: Mapping[str, Cell]) -> dict[str, str]:
    """Return ``best`` and ``second`` by the keys of ``cells``.

    Figures that look alike share a place, and the place after a shared one stays empty as in sports: with two best
    there is no second. A column of one figure has no best.
    """
    if len(cells) < 2:
        return {}
    strengths = {key: strength(measure, cell) for key, cell in cells.items()}
    places = {key: sum(other > own for other in strengths.values()) for key, own in strengths.items()}
    if len(set(strengths.values())) == 1:
        return {}
    return {key: ("best", "second")[place] for key, place in places.items() if place < 2}
