"""The section on training: losses per task over the curriculum's phases, and errors by noise level."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from calm.pages.chart import Line, line_chart
from calm.pages.history import History, smooth
from calm.pages.html import Element, h
from calm.pages.records import Band, Curves
from calm.pages.sections import scrolled, section
from calm.types import TASKS

__all__ = ["training_section"]

GENERATOR_NOTE = (
    "Error of the predicted velocity, which is data minus noise, both of variance 1: always guessing zero gives 2, and "
    "what cannot be known from the text and the past keeps the error above 0. The thin line is training, the dots are "
    "held-out clips with averaged weights. Bands are the phases of the curriculum."
)
VAE_NOTE = (
    "Distance between original and reconstruction, on random crops in training (thin) and on held-out clips (dots). "
    "The adversary begins late and is not judged by these numbers."
)
NOISE_NOTE = (
    "Held-out error by noise level, at the last validation. On the left the input is pure noise and the model must "
    "guess from the text and the past; on the right it is almost clean and only fine noise is left to be told apart."
)


def training_section(runs: Sequence[Curves], load: Callable[[str], History]) -> Element | None:
    """Return charts of every run that has logged something."""
    parts = [part for run in runs for part in _run(run, load(run.history))]
    return section("training", "How it learned", parts) if parts else None


def _run(run: Curves, history: History) -> list[Element]:
    charts, note = (_vae_charts(history), VAE_NOTE) if run.kind == "vae" else (_flow_charts(run, history), GENERATOR_NOTE)
    charts = [chart for chart in charts if chart is not None]
    if not charts:
        return []
    parts = [h("h3", run.name), h("p", note, class_="how"), h("div", charts, class_="charts")]
    if run.kind != "vae":
        parts += [part for part in (_phases(run.bands, history), _noise_table(history)) if part is not None]
    return parts


def _flow_charts(run: Curves, history: History) -> list[Element | None]:
    charts = []
    for task in TASKS:
        lines = [
            Line(label="training", points=smooth(history.points(f"train/flow_{task}")), style="train"),
            Line(label="held out", points=history.points(f"val/flow/{task}"), style="val"),
        ]
        chart = line_chart(lines, title=task.capitalize(), x_label="step", bands=run.bands)
        charts.append(None if chart is None else h("div", chart, class_=f"task-{task}"))
    if any(charts):
        return charts
    lines = [
        Line(label="training", points=smooth(history.points("train/loss")), style="train"),
        Line(label="held out", points=history.points("val/loss"), style="val"),
    ]
    return [line_chart(lines, title="Loss", x_label="step", bands=run.bands)]


def _vae_charts(history: History) -> list[Element | None]:
    charts = []
    for name, title in (("mel", "Mel distance"), ("stft", "STFT distance")):
        lines = [Line(label="training", points=smooth(history.points(f"train/{name}")), style="train")]
        lines += [
            Line(label=str(task), points=history.points(f"val/{name}/{task}"), style=f"val {task}") for task in TASKS
        ]
        charts.append(line_chart(lines, title=title, x_label="step"))
    return charts


def _phases(bands: Sequence[Band], history: History) -> Element | None:
    if not bands:
        return None
    end = max(history.last_step, 1)
    reached = [band for band in bands if band.start < end]
    strip = [
        h(
            "span",
            band.name,
            class_=f"phase expert-{band.expert}",
            style=f"flex-grow:{min(band.stop or end, end) - band.start}",
            title=f"steps {band.start} to {min(band.stop or end, end)}",
        )
        for band in reached
    ]
    rows = [
        h(
            "tr",
            h("th", band.name, scope="row"),
            h("td", f"{band.start:,} to {min(band.stop or end, end):,}", class_="number"),
            h("td", band.expert),
            h("td", band.tasks),
        )
        for band in reached
    ]
    head = h("tr", [h("th", name, scope="col") for name in ("phase", "steps", "speech expert", "tasks")])
    table = scrolled(h("table", h("thead", head), h("tbody", rows)), label="phases of the curriculum")
    return h("div", h("h4", "Curriculum"), h("div", strip, class_="timeline", aria_hidden="true"), table)


def _noise_table(history: History) -> Element | None:
    errors = history.by_noise()
    if not errors:
        return None
    num_bins = len(next(iter(errors.values())))
    top = max(value for values in errors.values() for value in values if value is not None)
    head = h("tr", h("th", "t from", scope="col"), [h("th", f"{i / num_bins:.1f}", scope="col") for i in range(num_bins)])
    rows = [
        h("tr", h("th", task, scope="row"), [_cell(value, top) for value in values], class_=f"task-{task}")
        for task, values in errors.items()
    ]
    table = h("table", h("thead", head), h("tbody", rows), class_="noise")
    return h(
        "div",
        h("h4", "Error by noise level"),
        h("p", NOISE_NOTE, class_="how"),
        scrolled(table, label="held-out error by task and noise level"),
    )


def _cell(value: float | None, top: float) -> Element:
    if value is None:
        return h("td", "–", class_="number")
    return h("td", f"{value:.2f}", class_="number", style=f"--share:{100 * value / top:.0f}%")
