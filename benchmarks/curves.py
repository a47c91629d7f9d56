"""Learning curves of finished runs as one picture, for the documentation.

    python benchmarks/curves.py VAE=runs/mini_vae "head_flow=runs/mini" "ar_flow=runs/mini_ar_flow" -o docs/mini/curves.png

Runs stand side by side, each with its held-out readings by task over steps, and a generator with those of training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from calm.training.history import HistoryRow, read_history
from calm.types import TASKS

COLOURS = {"speech": "#b4431f", "sound": "#1f6f8b", "music": "#5b7f2b"}
#: readings of a VAE and of a generator: held out, in training, and what the axis says
READINGS = (("val/mel/{task}", None, "log-mel distance, held out"), ("val/flow/{task}", "train/flow_{task}", "flow error"))


def points(rows: list[HistoryRow], name: str) -> tuple[list[int], list[float]]:
    found = [(step, value) for step, _, reading, value in rows if reading == name]
    return [step for step, _ in found], [value for _, value in found]


def smooth(values: list[float], *, window: int = 9) -> list[float]:
    """Mean over a centred window: batches of one length hold one task, so single steps jump."""
    half = window // 2
    return [sum(part) / len(part) for i in range(len(values)) if (part := values[max(0, i - half) : i + half + 1])]


def draw(axes: plt.Axes, title: str, rows: list[HistoryRow]) -> None:
    held_out, training, label = next(r for r in READINGS if points(rows, r[0].format(task="speech"))[0])
    for task in map(str, TASKS):
        steps, values = points(rows, held_out.format(task=task))
        axes.plot(steps, values, "o-", color=COLOURS[task], markersize=3, label=f"{task}, held out")
        if training is not None:
            steps, values = points(rows, training.format(task=task))
            axes.plot(steps, smooth(values), color=COLOURS[task], alpha=0.35, linewidth=1, label=f"{task}, training")
    seconds = max(row[1] for row in rows)
    axes.set(title=f"{title}, {seconds / 60:.0f} min", xlabel="step", ylabel=label, ylim=(0, min(1.2, axes.get_ylim()[1])))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, frameon=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="TITLE=RUN", help="a run's folder, with its history.csv")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    runs = [run.rpartition("=") for run in options.runs]
    figure, grid = plt.subplots(1, len(runs), figsize=(4.6 * len(runs), 3.6), squeeze=False, layout="constrained")
    for axes, (title, _, folder) in zip(grid[0], runs, strict=True):
        draw(axes, title, read_history(Path(folder) / "history.csv"))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
