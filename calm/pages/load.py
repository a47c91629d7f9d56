"""A run's folder -> the `Page` that describes it: its page.json, or what an ordinary training run left behind."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calm.config import RunConfig, load_config_file
from calm.config.records import Reader
from calm.errors import DataError, InputError
from calm.pages.records import Band, Clip, Curves, Fact, Page
from calm.types import TASKS, Task

__all__ = ["PAGE_FILE", "curriculum_bands", "load_page", "resolve"]

PAGE_FILE = "page.json"
#: checkpoints whose samples are shown: the first, and the latest
FIRST_CHECKPOINTS, LAST_CHECKPOINTS = 1, 2


def load_page(run_dir: Path) -> Page:
    """Return what is to be shown of a run. Raises InputError where the folder holds no run, DataError for a bad page.json."""
    if not run_dir.is_dir():
        raise InputError("There is no such run folder", where=run_dir, hint="`calm train` and `calm demo` write runs/")
    path = run_dir / PAGE_FILE
    page = _read_page(path) if path.is_file() else _training_page(run_dir)
    if not (page.clips or page.curves or page.reconstructions or page.overfit):
        raise InputError(
            "The folder holds nothing to show",
            where=run_dir,
            allowed=f"{PAGE_FILE}, history.csv, or samples/step-N/*.wav",
            hint="give the folder of a run, for example runs/demo",
        )
    return page


def resolve(run_dir: Path, name: str) -> Path:
    """Return the file ``name`` of a run. Raises DataError where it leaves the folder or does not exist."""
    path = (run_dir / name).resolve()
    if not path.is_relative_to(run_dir.resolve()):
        raise DataError("A page may only show files of its own run", where=f"{run_dir / PAGE_FILE}: {name}")
    if not path.is_file():
        raise DataError("The page names a file that is not there", where=path, hint="run the demo again")
    return path


def curriculum_bands(config: RunConfig) -> tuple[Band, ...]:
    """Return the phases of a run's curriculum as bands of its charts."""
    bands, start = [], 0
    for phase in config.curriculum.phases:
        weights = {task: phase.task_weights.get(str(task), 0.0) for task in TASKS}
        bands.append(
            Band(name=phase.name, start=start, stop=phase.until_step, expert=phase.expert, tasks=_shares(weights))
        )
        start = phase.until_step or start
    return tuple(bands)


def _shares(weights: Mapping[Task, float]) -> str:
    if len(set(weights.values())) == 1:
        return "all equally"
    total = sum(weights.values())
    return ", ".join(f"{task} {weight / total:.0%}" for task, weight in weights.items() if weight)


def _read_page(path: Path) -> Page:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"The page's data cannot be read ({error})", where=path, hint="run the demo again") from error
    page = Reader(lambda _: str(path)).record(Page, values, path="page")
    _check_overfit(page, path)
    return page


def _check_overfit(page: Page, path: Path) -> None:
    readings = () if page.overfit is None else page.overfit.readings
    for reading in readings:
        if len(reading.nmse) != len(page.overfit.pairs):
            raise DataError(
                f"Step {reading.step} has {len(reading.nmse)} errors for {len(page.overfit.pairs)} clips",
                where=f"{path}: page.overfit.readings",
            )


def _training_page(run_dir: Path) -> Page:
    """What `calm train` leaves behind: config.yaml, history.csv and samples."""
    written = run_dir / "config.yaml"
    config = load_config_file(written) if written.is_file() else None
    name = run_dir.resolve().name if config is None else config.name
    is_vae = config is not None and config.model.name == "vae_stage"
    has_history = (run_dir / "history.csv").is_file()
    bands = () if config is None or is_vae else curriculum_bands(config)
    curves = Curves(name=name, kind="vae" if is_vae else "generator", history="history.csv", bands=bands)
    return Page(
        title=f"Training run {name}",
        facts=() if config is None else _facts(config),
        clips=tuple(_training_clips(run_dir, {} if config is None else config.trainer.prompts)),
        curves=(curves,) if has_history else (),
    )


def _facts(config: RunConfig) -> tuple[Fact, ...]:
    parts = {"model": config.model, "VAE": config.vae, "backbone": config.backbone, "head": config.head}
    parts |= {"expert": config.expert, "curriculum": config.curriculum, "steps": config.trainer}
    shown = {label: getattr(part, "name", "none") for label, part in parts.items()}
    return tuple(Fact(label=label, value=value) for label, value in (shown | {"steps": str(config.trainer.max_steps)}).items())


def _training_clips(run_dir: Path, prompts: Mapping[str, Sequence[str]]) -> list[Clip]:
    folders = {
        int(match[1]): folder
        for folder in run_dir.glob("samples/step-*")
        if (match := re.fullmatch(r"step-(\d+)", folder.name))
    }
    steps = sorted(folders)
    chosen = steps[:FIRST_CHECKPOINTS] + steps[FIRST_CHECKPOINTS:][-LAST_CHECKPOINTS:]
    return [
        Clip(prompt=_prompt_of(path, prompts), audio=path.relative_to(run_dir).as_posix(), step=step, **_named(path))
        for step in reversed(chosen)
        for path in sorted(folders[step].glob("*.wav"))
        if path.stem.rpartition("-")[0] in [str(task) for task in TASKS]
    ]


def _named(path: Path) -> dict[str, Any]:
    """Task and seed of ``TASK-I.wav``, as `calm.training.samples` names files."""
    task, _, number = path.stem.rpartition("-")
    return {"task": task, "seed": int(number) if number.isdigit() else None}


def _prompt_of(path: Path, prompts: Mapping[str, Sequence[str]]) -> str:
    task, _, number = path.stem.rpartition("-")
    texts = prompts.get(task, ())
    return texts[int(number)] if number.isdigit() and int(number) < len(texts) else path.name
