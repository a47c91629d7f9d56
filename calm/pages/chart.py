"""Line charts as inline SVG. Colours come from the page's style sheet, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from calm.pages.history import Points
from calm.pages.html import Element, h
from calm.pages.records import Band

__all__ = ["Line", "line_chart"]

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 40, 18, 22, 34
#: share of the steps that does not count for the range of the y axis
START_SHARE = 0.05
#: width of a letter in a band's label, in units of the picture
LETTER = 6.2


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve. ``style`` names its look in the style sheet: ``train``, ``val`` or ``goal``."""

    label: str
    points: Points
    style: str


@dataclass(frozen=True, kw_only=True)
class Axes:
    """From values to units of the picture."""

    x: tuple[float, float]
    y: tuple[float, float]

    def px(self, value: float) -> float:
        low, high = self.x
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def py(self, value: float) -> float:
        low, high = self.y
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def line_chart(lines: Sequence[Line], *, title: str, x_label: str, bands: Sequence[Band] = ()) -> Element | None:
    """Return a figure with the curves over the curriculum's phases, or None where there is no point to draw."""
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    axes = _axes([point for line in lines for point in line.points])
    picture = h(
        "svg",
        _bands(axes, bands),
        _grid(axes, x_label),
        [_curve(axes, line) for line in lines],
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}. {'; '.join(map(_in_words, lines))}",
    )
    legend = h(
        "span", [h("span", line.label, class_=f"key {line.style}") for line in lines], class_="legend", aria_hidden="true"
    )
    return h("figure", h("figcaption", h("strong", title), legend), picture, class_="chart")


def _axes(points: Points) -> Axes:
    end = max(step for step, _ in points)
    # The first few steps of a fresh model tower over everything that follows; they may leave the picture.
    values = [value for step, value in points if step >= START_SHARE * end]
    low, high = min(values), max(values)
    # A curve that falls by half or more is read against zero; a flat one against its own range.
    low = 0.0 if 0 <= low < 0.6 * high else low
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return Axes(x=(0.0, max(end, 1.0)), y=(low if low == 0 else low - margin, high + margin))


def _bands(axes: Axes, bands: Sequence[Band]) -> list[Element]:
    drawn = []
    for index, band in enumerate(bands):
        if band.start >= axes.x[1] > 0:
            continue
        left = axes.px(band.start)
        right = axes.px(axes.x[1] if band.stop is None else band.stop)
        title = h("title", f"phase {band.name}, from step {band.start}, expert {band.expert}")
        height = HEIGHT - TOP - BOTTOM
        box = h("rect", title, x=left, y=TOP, width=round(right - left, 1), height=height, class_=f"band band-{index % 2}")
        fits = len(band.name) * LETTER < right - left
        label = h("text", band.name, x=round((left + right) / 2, 1), y=TOP - 7, text_anchor="middle", class_="band-label")
        drawn += [box, label] if fits else [box]
    return drawn


def _grid(axes: Axes, x_label: str) -> list[Element]:
    parts = []
    for value in _ticks(*axes.y, count=4):
        y = axes.py(value)
        parts.append(h("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(h("text", _short(value), x=LEFT - 6, y=y + 4, text_anchor="end"))
    for value in _ticks(*axes.x, count=4):
        parts.append(h("text", _short(value), x=axes.px(value), y=HEIGHT - BOTTOM + 15, text_anchor="middle"))
    parts.append(h("text", x_label, x=WIDTH - RIGHT, y=HEIGHT - 4, text_anchor="end", class_="axis-label"))
    return parts


def _curve(axes: Axes, line: Line) -> list[Element]:
    places = [(axes.px(x), axes.py(y)) for x, y in line.points]
    path = " ".join(f"{'ML'[index > 0]}{x} {y}" for index, (x, y) in enumerate(places))
    dots = places if line.style.startswith("val") and len(places) <= 40 else places[:1] if len(places) == 1 else []
    return [
        h("path", d=path, class_=f"line {line.style}", fill="none"),
        *(h("circle", cx=x, cy=y, r=2.4, class_=f"dot {line.style}") for x, y in dots),
    ]


def _in_words(line: Line) -> str:
    (first_step, first), (last_step, last) = line.points[0], line.points[-1]
    return f"{line.label}: from {first:.3g} at step {first_step:.0f} to {last:.3g} at step {last_step:.0f}"


def _ticks(low: float, high: float, *, count: int) -> list[float]:
    """About ``count`` round numbers within low..high."""
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"
