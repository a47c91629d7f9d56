"""A forest plot: differences with their intervals, one under the other, around a line at zero."""

from __future__ import annotations

from collections.abc import Sequence

from calm.ablation.compare import Difference
from calm.pages.html import Element, h

__all__ = ["forest"]

WIDTH, LABEL, ROW, TOP, BOTTOM = 720, 150, 26, 8, 26


def forest(differences: Sequence[Difference], *, title: str) -> Element:
    """Return a figure: a dot and a line for value and interval over clips, a small dot for every seed."""
    reach = 1.1 * max(abs(v) for d in differences for v in (d.figure.low, d.figure.high, *d.by_seed)) or 1.0
    height = TOP + ROW * len(differences) + BOTTOM

    def px(value: float) -> float:
        return round(LABEL + (value + reach) / (2 * reach) * (WIDTH - LABEL - 20), 1)

    zero = h("line", x1=px(0), x2=px(0), y1=TOP, y2=height - BOTTOM, class_="line goal")
    ticks = [
        h("text", f"{value:+.3g}" if value else "0", x=px(value), y=height - 8, text_anchor="middle")
        for value in (-reach / 1.1, 0.0, reach / 1.1)
    ]
    rows = [_row(d, y=TOP + ROW * (i + 0.5), px=px) for i, d in enumerate(differences)]
    said = "; ".join(f"{d.style} {d.task}: {d.figure.value:+.4f}, {d.verdict}" for d in differences)
    picture = h("svg", zero, ticks, rows, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=f"{title}. {said}")
    return h("figure", h("figcaption", h("strong", title)), picture, class_="chart")


def _row(difference: Difference, *, y: float, px) -> list[Element]:
    figure, style = difference.figure, f"val {difference.task}"
    return [
        h("text", f"{difference.task}, {difference.style}", x=4, y=y + 4),
        h("line", x1=px(figure.low), x2=px(figure.high), y1=y, y2=y, class_=f"line {style}"),
        *(h("circle", cx=px(value), cy=y, r=2, class_="dot train") for value in difference.by_seed),
        h("circle", cx=px(figure.value), cy=y, r=4.5, class_=f"dot {style}"),
    ]
