"""A model card from what a run wrote down. What is not known is left out; figures of quality are added by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from calm.config import RunConfig
from calm.data.shards import ShardSet
from calm.errors import DataError
from calm.model.export import Export
from calm.model.generator import Generator
from calm.training.history import read_history
from calm.types import TASKS

__all__ = ["model_card"]

GENERATES = """\
```python
from calm import AudioCALM

model = AudioCALM.from_pretrained("{name}")
clip = model.generate("The train leaves in an hour.", task="{task}")[0]
```
"""
SERVES = """\
A generator is trained on it with `calm train ... vae_ckpt_path={name}`.
"""
USE = """\
## Intended use

To try the method, to build on it, and to compare with it. Speaking with the voice of a reference clip needs the
speaker's consent, which `calm generate` and `AudioCALM.generate` check; every file that `calm` writes carries a
record of how it was made. It is not meant to pass for a person.

## Limits

The model knows what is in its training data and little else: other languages, voices, sounds and styles are not
to be expected of it. What it says can be wrong in words and in voice; listen before you use it.
"""


def model_card(export: Export, *, run_dir: Path) -> str:
    """Markdown on an exported model: sizes, training data, effort, last validation, use and limits.

    Args:
        run_dir: the run that it comes from; its ``history.csv`` and its shards are read where they are there.
    """
    config, generates = export.config, isinstance(export.model, Generator)
    what = "A generator of speech, sounds and music from text" if generates else "An audio VAE: waveform to latents and back"
    usage = GENERATES.format(name=config.name, task=_tasks(config)[0]) if generates else SERVES.format(name=config.name)
    rows = [*_facts(export), *_training(config, run_dir)]
    lines = [f"# {config.name}", "", f"{what} (`{config.model.name}`).", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in rows]
    validation = _last_validation(run_dir)
    if validation:
        lines += ["", "## Validation at the end of training", "", "| reading | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4g} |" for name, value in validation.items()]
    return "\n".join([*lines, "", usage, USE.rstrip(), ""])


def _facts(export: Export) -> Iterator[tuple[str, str]]:
    model, vae = export.model, export.model.vae
    total, own = _size(model), _size(vae)
    if isinstance(model, Generator):
        parts = {name: _size(getattr(model, name)) for name in ("backbone", "head", "expert")}
        listed = ", ".join(f"{name} {size / 1e6:.1f} M" for name, size in parts.items() if size)
        yield "parameters", f"{total / 1e6:.1f} M: {listed}, VAE {own / 1e6:.1f} M"
    else:
        yield "parameters", f"{own / 1e6:.1f} M"
    if export.shared_vae:
        yield "VAE", f"`{export.shared_vae}`, shared with other models and not in this folder"
    if export.base:
        yield "base", f"`{export.base}`, whose weights stand for those that are not in this folder"
    layout = {1: "mono", 2: "stereo"}[vae.channels]
    yield "audio", f"{vae.sample_rate:,} Hz, {layout}; {vae.frame_rate:g} latents of {vae.latent_dim} channels a second"
    yield "weights", f"{export.num_bytes / 1e6:.1f} MB; matrices {export.dtype}, vectors and statistics float32"
    for each in export.deviations:
        rounding = f"at most {each.largest:.2g} from the run's own on random input ({each.output} RMS {each.scale:.2g})"
        yield f"rounding, {each.output}", rounding


def _training(config: RunConfig, run_dir: Path) -> Iterator[tuple[str, str]]:
    yield "tasks", ", ".join(_tasks(config))
    hours = _hours_of_data(config)
    if hours:
        yield "training data", ", ".join(f"{task} {value:.1f} h" for task, value in hours.items())
    history = read_history(run_dir / "history.csv")
    if history:
        step, seconds = history[-1][0], max(row[1] for row in history)
        yield "training", f"{step:,} steps of {config.data.batch_size} clips, {seconds / 3600:.1f} hours, seed {config.seed}"
    settings = config.trainer
    if settings.accelerator != "auto":
        counts = [(settings.devices, "device"), (settings.num_nodes, "node"), (settings.num_threads, "thread")]
        listed = [f"{count} {word}{'' if str(count) == '1' else 's'}" for count, word in counts if count]
        yield "hardware", ", ".join([settings.accelerator, *listed, settings.precision])


def _tasks(config: RunConfig) -> list[str]:
    trained = {task for phase in config.curriculum.phases for task, weight in phase.task_weights.items() if weight > 0}
    return [str(task) for task in TASKS if str(task) in trained]


def _hours_of_data(config: RunConfig) -> dict[str, float]:
    try:
        shards = ShardSet.open(config.data.train_urls)
    except DataError:  # moved or deleted since: then the card says nothing about it
        return {}
    seconds = {str(task): sum(shards.rows[row].clip.seconds for row in rows) for task, rows in shards.by_task.items()}
    return {task: value / 3600 for task, value in seconds.items() if value}


def _last_validation(run_dir: Path) -> dict[str, float]:
    rows = [row for row in read_history(run_dir / "history.csv") if row[2].startswith("val/")]
    return {name.removeprefix("val/"): value for step, _, name, value in rows if step == rows[-1][0]}


def _size(module) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())
