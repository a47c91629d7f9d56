"""The report: ``results.json``, ``results.txt`` and ``index.html`` in the ablation's folder."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from calm.ablation.compare import QUESTIONS, Cell, Difference, Errors
from calm.ablation.page import render
from calm.ablation.plan import SINGLE, VARIANTS, AblationPlan
from calm.ablation.results import RunResult, write_json
from calm.audio import write_bytes
from calm.text.description import STYLES
from calm.types import TASKS

__all__ = ["COLUMNS", "Report", "write_report"]

#: variants as columns: the single-task runs are one
COLUMNS: dict[str, str] = {SINGLE: "task alone"} | {v.name: v.title for v in VARIANTS if v.tasks == TASKS}

Key = tuple[str, str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the page, the table and the JSON file show.

    cells: (variant, style, task) -> error. differences: those of the questions, then description - raw.
    """

    plan: AblationPlan
    results: Mapping[Key, RunResult]
    cells: dict[tuple[str, str, str], Cell]
    differences: list[Difference]

    @classmethod
    def of(cls, plan: AblationPlan, results: Mapping[Key, RunResult]) -> Report:
        errors = Errors(results)
        cells = {(c, s, str(t)): errors.cell((c, s), t) for c in COLUMNS for s in STYLES for t in TASKS}
        differences = [
            errors.difference(question, style=style, task=task)
            for question in QUESTIONS
            for style in STYLES
            for task in TASKS
        ]
        differences += [errors.style_difference(column, task=task) for column in COLUMNS for task in TASKS]
        return cls(plan=plan, results=results, cells=cells, differences=differences)


def write_report(plan: AblationPlan, results: Mapping[Key, RunResult], *, console: Console) -> Path:
    """Write the report, show its tables on ``console``, and return the path of the page."""
    report = Report.of(plan, results)
    tables = [_error_table(report), _difference_table(report)]
    plain = Console(file=io.StringIO(), width=140, force_terminal=False)
    for table in tables:
        console.print(table)
        plain.print(table)
    write_bytes(plan.out / "results.txt", plain.file.getvalue().encode("utf-8"))
    write_json(plan.out / "results.json", _as_json(report))
    return write_bytes(plan.out / "index.html", render(report, columns=COLUMNS).encode("utf-8"))


def _error_table(report: Report) -> Table:
    table = Table("text", "task", *COLUMNS.values(), title="Held-out flow error, 95 % over clips", title_justify="left")
    for style in STYLES:
        for task in TASKS:
            cells = (report.cells[column, style, str(task)].figure for column in COLUMNS)
            table.add_row(style, str(task), *(f"{f.value:.4f} [{f.low:.4f}, {f.high:.4f}]" for f in cells))
    return table


def _difference_table(report: Report) -> Table:
    title = "Paired differences; below 0 the first is better"
    table = Table("difference", "of", "task", "value", "95 % over clips", "seeds", "verdict", title=title, title_justify="left")
    for d in report.differences:
        seeds = " ".join(f"{value:+.4f}" for value in d.by_seed)
        interval = f"{d.figure.low:+.4f} .. {d.figure.high:+.4f}"
        value = f"{d.figure.value:+.4f} ({100 * d.relative:+.1f} %)"
        table.add_row(d.question, d.style, d.task, value, interval, seeds, d.verdict)
    return table


def _as_json(report: Report) -> dict[str, object]:
    plan = report.plan
    return {
        "settings": {**plan.settings(), "steps": plan.steps, "seeds": plan.num_seeds},
        "errors": [
            {"variant": column, "text": style, "task": task, **dataclasses.asdict(cell)}
            for (column, style, task), cell in report.cells.items()
        ],
        "differences": [{**dataclasses.asdict(d), "verdict": d.verdict} for d in report.differences],
        "questions": {question.name: question.text for question in QUESTIONS},
        "runs": [
            {
                "variant": variant,
                "text": style,
                "seed": seed,
                **{f.name: getattr(result, f.name) for f in dataclasses.fields(result) if f.name != "errors"},
            }
            for (variant, style, seed), result in report.results.items()
        ],
    }
