"""The overfit stage: one clip of each task, learned by heart and sampled back."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from calm.audio import write_bytes
from calm.config import RunConfig
from calm.data.cut import ClipCut
from calm.data.datamodule import CalmDataModule
from calm.data.examples import ExampleReader
from calm.data.plan import Draw
from calm.data.shards import ShardSet
from calm.demo.listen import choose_row, write_generated
from calm.demo.overfit import OverfitCheck, OverfitSample, overfit
from calm.demo.plan import DemoPlan
from calm.model.build import build_model
from calm.model.generator import Generator
from calm.pages.records import Overfit, OverfitPair, OverfitReading
from calm.types import TASKS, Batch, Task, Waveform

__all__ = ["GOAL", "learn_by_heart"]

#: normalised MSE of every sampled clip
GOAL = 0.1
#: learning goes on below the goal while there is time
STOP_AT = 0.02
#: enough for a short sentence, little enough to be learned in a minute
CLIP_SECONDS = 2.0
MAX_CLIP_SECONDS = 2.5
LEARNING_RATE = 3e-3
NUM_STEPS = 3000


def learn_by_heart(plan: DemoPlan, *, on_check: Callable[[OverfitCheck], None] | None = None) -> Overfit:
    """Overfit a fresh small model and write targets and samples under ``overfit/`` of the demo's folder."""
    config = plan.overfit_config()
    root = _fresh_model(config)
    batch, texts = _one_clip_of_each_task(root, config)
    result = overfit(
        root,
        batch,
        num_steps=NUM_STEPS,
        max_seconds=plan.overfit_seconds,
        goal=STOP_AT,
        learning_rate=LEARNING_RATE,
        check_steps=50,
        seed=config.seed,
        on_check=on_check,
    )
    folder = plan.out / "overfit"
    pairs = [_write_pair(root, sample, text, folder) for sample, text in zip(result.samples, texts, strict=True)]
    return Overfit(
        pairs=tuple(pairs),
        readings=tuple(OverfitReading(step=check.step, nmse=check.nmse) for check in result.checks),
        step=result.step,
        seconds=result.seconds,
        goal=GOAL,
    )


def _fresh_model(config: RunConfig) -> Generator:
    # Initial weights come from torch's global generator, so it is lent a state of its own for a moment.
    with torch.random.fork_rng():
        torch.set_rng_state(torch.Generator().manual_seed(config.seed).get_state())
        return build_model(config)


def _one_clip_of_each_task(root: Generator, config: RunConfig) -> tuple[Batch, list[str]]:
    """The batch, described and padded as in training, and the clips' own texts."""
    vae = root.vae
    data = CalmDataModule(
        config.data, sample_rate=vae.sample_rate, channels=vae.channels, hop=vae.hop, tokenizer=root.tokenizer
    )
    shards = ShardSet.open(config.data.train_urls)
    reader = ExampleReader(shards, cut=ClipCut(MAX_CLIP_SECONDS), reference_probability=0.0, seed=config.seed)
    draws = [Draw(task, choose_row(shards, task, seconds=CLIP_SECONDS), 0) for task in TASKS if shards.by_task[task]]
    examples = [reader.read(draw) for draw in draws]
    return data.collate(examples, 0), [example.sample.text for example in examples]


def _write_pair(root: Generator, sample: OverfitSample, text: str, folder: Path) -> OverfitPair:
    task, names = str(sample.task), {}
    for kind, latents in (("target", sample.target), ("sampled", sample.sampled)):
        wave = root.vae.to_audio(latents[None])[0].clamp(-1, 1)
        path = folder / f"{task}-{kind}.wav"
        waveform = Waveform(audio=wave, sample_rate=root.vae.sample_rate)
        write_generated(path, waveform, model="overfit", task=Task(task), seed=0, prompt=text)
        names[f"{kind}_audio"] = f"{folder.name}/{path.name}"
        names[f"{kind}_latents"] = f"{folder.name}/{_write_array(path.with_suffix('.npy'), latents).name}"
    return OverfitPair(task=task, text=text, nmse=sample.nmse, **names)


def _write_array(path: Path, latents: Tensor) -> Path:
    buffer = io.BytesIO()
    np.save(buffer, latents.cpu().numpy(), allow_pickle=False)
    return write_bytes(path, buffer.getvalue())
