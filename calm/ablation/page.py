"""The ablation's page: one HTML file in the style of `calm.pages`, with everything inside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from calm.ablation.compare import QUESTIONS, Difference
from calm.ablation.forest import forest
from calm.ablation.plan import VARIANTS
from calm.pages.frame import head, header
from calm.pages.html import Content, Element, h, to_html
from calm.pages.records import Fact
from calm.pages.sections import duration, scrolled, section
from calm.text.description import STYLES
from calm.types import TASKS

if TYPE_CHECKING:
    from calm.ablation.report import Report

__all__ = ["render"]

LEAD = (
    "Does training speech, sound and music together hurt sound and music, and does one more FFN for speech alone "
    "(A-MoME) repair it? Every run is judged by its held-out flow error: the squared error of the predicted velocity, "
    "where always guessing zero gives 2. All runs are judged on the same clips with the same noise."
)
BUDGET = (
    "Equal budget: every run takes the same number of optimizer steps with the same schedule, and a task's own run "
    "takes a third of the mixed batch. Both so see the same clips of the task, in the same order, with the same "
    "excerpts, references and descriptions, and equally many supervised frames of it. A mixed run sees the other "
    "tasks' clips beside them, so its total compute is about three times as large; the table states it."
)
READING = (
    "The large dot is the paired difference, averaged over seeds, and its line the 95 % interval by the bootstrap over "
    "clips; small dots are single seeds. A difference is called lower or higher where the interval excludes zero and "
    "all seeds agree in sign, and open otherwise. Few seeds say little about the luck of training."
)
NOISE = (
    "By noise level: on the left the input is pure noise and the model must guess from the text and the past; on the "
    "right it is almost clean. Mean over seeds, description-style text."
)


def render(report: Report, *, columns: Mapping[str, str]) -> str:
    """Return the document. ``columns``: variant -> title."""
    sections = [
        section("answers", "Answers", h("p", READING, class_="how"), _answers(report)),
        section("errors", "Held-out error", _errors(report, columns)),
        section("text", "Description or raw text?", _styles(report, columns)),
        section("noise", "By noise level", h("p", NOISE, class_="how"), _noise(report, columns)),
        section("budget", "What every run cost", h("p", BUDGET, class_="how"), _costs(report)),
    ]
    plan = report.plan
    clips = {task: len(next(r for r in report.results.values() if task in r.errors).errors[task].keys) for task in TASKS}
    facts = [
        Fact(label="experiment", value=plan.experiment),
        Fact(label="further settings", value=" ".join(plan.overrides) or "none"),
        Fact(
            label="runs",
            value=f"{len(report.results)}: {len(VARIANTS)} variants, {len(STYLES)} texts, {plan.num_seeds} seeds",
        ),
        Fact(label="steps", value=f"{plan.steps:,}"),
        Fact(label="held-out clips", value=", ".join(f"{task} {count}" for task, count in clips.items())),
    ]
    top = header("Ablation: mixing and A-MoME", lead=LEAD, facts=facts, sections=sections)
    body = h("body", top, h("main", sections, id="main"))
    return to_html(h("html", head("AudioCALM ablation"), body, lang="en"))


def _answers(report: Report) -> list[Element]:
    parts = []
    for question in QUESTIONS:
        found = [d for d in report.differences if d.question == question.name]
        parts += [h("h3", question.text), h("p", _in_words(found)), forest(found, title="difference of held-out errors")]
    return parts


def _in_words(differences: Iterable[Difference]) -> str:
    words = (f"{d.task} with {d.style} text {d.verdict} ({100 * d.relative:+.1f} %)" for d in differences)
    return "; ".join(words) + "."


def _errors(report: Report, columns: Mapping[str, str]) -> Element:
    rows = []
    for style in STYLES:
        for task in TASKS:
            cells = [report.cells[column, style, str(task)] for column in columns]
            shown = [
                f"{c.figure.value:.4f} [{c.figure.low:.4f}, {c.figure.high:.4f}]; seeds {_join(c.by_seed)}" for c in cells
            ]
            rows.append([f"{task}, {style}", *shown])
    return _table(["task, text", *columns.values()], rows, label="held-out errors")


def _styles(report: Report, columns: Mapping[str, str]) -> list[Element]:
    parts = []
    for column, title in columns.items():
        found = [d for d in report.differences if d.question == "description" and d.style == column]
        rows = [
            [d.task, f"{d.figure.value:+.4f} ({100 * d.relative:+.1f} %)", f"{d.figure.low:+.4f} to {d.figure.high:+.4f}",
             _join(d.by_seed, sign="+"), d.verdict]
            for d in found
        ]  # fmt: skip
        head = ["task", "description - raw", "95 % over clips", "by seed", "verdict"]
        parts += [h("h3", title), _table(head, rows, label=f"description against raw text, {title}")]
    return parts


def _noise(report: Report, columns: Mapping[str, str]) -> list[Element]:
    parts = []
    for task in TASKS:
        cells = {title: report.cells[column, STYLES[0], str(task)].by_noise for column, title in columns.items()}
        count = len(next(iter(cells.values())))
        rows = [[title, *("–" if v is None else f"{v:.3f}" for v in values)] for title, values in cells.items()]
        head = ["t from", *(f"{i / count:.1f}" for i in range(count))]
        parts += [h("h3", str(task)), _table(head, rows, label=f"error of {task} by noise level")]
    return parts


def _costs(report: Report) -> Element:
    titles = {variant.name: variant.title for variant in VARIANTS}
    mixed = next(r for (name, *_), r in report.results.items() if name == "mixed")
    rows = []
    for (name, style, seed), r in report.results.items():
        compute = sum(r.frames.values()) * r.parameters / (sum(mixed.frames.values()) * mixed.parameters)
        frames = (f"{r.frames[task]:,}" for task in TASKS)
        rows.append([titles[name], style, str(seed), f"{r.parameters:,}", *frames, f"{compute:.2f}", duration(r.seconds)])
    head = ["variant", "text", "seed", "parameters", *(f"{task} frames" for task in TASKS), "frames x parameters", "time"]
    return _table(head, rows, label="cost of every run")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], *, label: str) -> Element:
    body = []
    for first, *rest in rows:
        body.append(h("tr", h("th", first, scope="row"), [h("td", value, class_="number") for value in rest]))
    titles: Content = [h("th", name, scope="col") for name in head]
    return scrolled(h("table", h("thead", h("tr", titles)), h("tbody", body)), label=label)


def _join(values: Iterable[float], *, sign: str = "") -> str:
    return " ".join(f"{value:{sign}.4f}" for value in values)
