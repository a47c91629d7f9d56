"""`fit`: from a configuration to a trained, exported model. The same for every kind of root."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from calm.config import RunConfig
from calm.generation import AudioCALM
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained
from calm.model.generator import Generator
from calm.model.trained_vae import vae_hash
from calm.part import Part
from calm.training.accumulation import ExactAccumulation
from calm.training.beats import DONE
from calm.training.checkpoints import Checkpoints
from calm.training.config import CurriculumConfig, TrainerConfig
from calm.training.curriculum import CurriculumCallback, longest_at, weights_at
from calm.training.data_wait import DataWait
from calm.training.ema import EMA
from calm.training.frozen import AdapterCheckpoints, SameTeacher
from calm.training.guards import NonFiniteGuard
from calm.training.heartbeat import Heartbeats
from calm.training.history import History, KeepHistory, MissedValidation
from calm.training.interruption import Interrupted, StopWatch
from calm.training.loggers import build_loggers
from calm.training.memory import ReturnFreedMemory
from calm.training.network import prepare_network
from calm.training.optim import build_optimizer
from calm.training.precision import precision_of
from calm.training.progress import ProgressLine
from calm.training.run_folder import ConfigStamp, prepare_run
from calm.training.samples import Render, SampleRenderer
from calm.training.scores import SampleScores
from calm.training.sharding import full_state
from calm.training.status import failures_noted, note_status
from calm.training.steps import SeedBatches, step_of
from calm.training.trainer import build_trainer, device_type, engine_of, quiet_lightning
from calm.training.validation import ValidationByTask
from calm.types import Batch, Task, Waveform
from calm.vae.statistics import measure_statistics

if TYPE_CHECKING:
    from calm.data.datamodule import CalmDataModule

__all__ = ["FitResult", "build_data", "device_of", "fit", "train"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Where a finished run lies: its folder, the steps it took, and the exported model."""

    run_dir: Path
    step: int
    export: Path


def fit(config: RunConfig, *, progress: bool = True, callbacks: Sequence[Callback] = ()) -> FitResult:
    """Build model and data from a configuration, train, and export.

    Raises Interrupted after SIGINT, SIGTERM or SIGUSR1, once everything is saved; ConfigError, CheckpointError
    and DataError for input that is not accepted.
    """
    from calm.data.resume import ResumeCallback

    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        root = build_model(config)
    data = build_data(config, root)
    data.setup("fit")  # what is wrong with the data is said before a run folder exists
    return train(root, data, config=config, progress=progress, callbacks=[ResumeCallback(), *callbacks])


def build_data(config: RunConfig, root: Part) -> CalmDataModule:
    """Return the batches of a run: at its VAE's rate, with its model's tokenizer, in the order of its curriculum."""
    from calm.data.datamodule import CalmDataModule

    return CalmDataModule(
        config.data,
        sample_rate=root.vae.sample_rate,
        channels=root.vae.channels,
        hop=root.vae.hop,
        tokenizer=getattr(root, "tokenizer", None),
        vae_hash=vae_hash(root.vae) if isinstance(root, Generator) else None,
        weights_at=functools.partial(weights_at, config.curriculum),
        longest_at=_limit(config.curriculum),
        seed=config.seed,
        bad_clips_path=config.run_dir / "bad_clips.jsonl",
    )


def train(
    root: Part,
    data: LightningDataModule,
    *,
    config: RunConfig,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
) -> FitResult:
    """Train any root on any data module, as ``config`` says, and export it with its averaged weights.

    Args:
        root: a `Part`; one that brings its own ``configure_optimizers`` keeps it, others get AdamW by
            ``config.optim`` and the curriculum of ``config.curriculum``.
        data: yields batches without end; knows how to resume.
        config: the run's configuration; its part configs are only written down here.
        progress: whether to draw a progress line on the console.
        callbacks: further callbacks; their state is saved and restored with the run's.
    """
    # Written down and compared by what it means here: another machine must not go on in another arithmetic.
    precision = precision_of(config.trainer.precision, device=device_type(config.trainer))
    config = dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, precision=precision))
    checkpoint = prepare_run(config)
    heartbeats = Heartbeats(config.run_dir, every_seconds=config.trainer.heartbeat_seconds)
    heartbeats.beat("preparing")
    with failures_noted(config.run_dir, except_for=Interrupted):
        result = _train(
            root, data, config=config, checkpoint=checkpoint, progress=progress, callbacks=[*callbacks, heartbeats]
        )
        note_status(config.run_dir, "done", step=result.step)
    heartbeats.beat(DONE, step=result.step)
    return result


def _train(
    root: Part,
    data: LightningDataModule,
    *,
    config: RunConfig,
    checkpoint: Path | None,
    progress: bool,
    callbacks: Sequence[Callback],
) -> FitResult:
    if config.trainer.num_threads is not None:
        torch.set_num_threads(config.trainer.num_threads)
    if checkpoint is None and _needs_statistics(root) and not _is_trained(root.vae):
        _measure(root, data, config.trainer)
    if checkpoint is None and hasattr(root, "start_from") and not _has_weights(config):
        root.start_from(_first_batches(data, config.trainer))
    ema, stamp = EMA(config.optim.ema_decay), ConfigStamp(config)
    history = History(config.run_dir / "history.csv")
    own = _build_callbacks(root, config, ema, progress=progress)
    with quiet_lightning(), torch.random.fork_rng():
        trainer = build_trainer(config.trainer, config.optim, root=root)(
            default_root_dir=config.run_dir,
            logger=[history, *build_loggers(config.logger, run_dir=config.run_dir, run_name=config.name)],
            callbacks=[KeepHistory(history), stamp, *callbacks, *own, MissedValidation(history)],
            **engine_of(root, config.trainer, stamp),
        )
        prepare_network(config.trainer.num_nodes)
        trainer.fit(root, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return _finish(root, data, config=config, trainer=trainer, ema=ema)


def _build_callbacks(root: Part, config: RunConfig, ema: EMA, *, progress: bool) -> list[Callback]:
    """Callbacks in the order in which their hooks must run; what is saved comes before what saves."""
    settings, steps = config.trainer, config.trainer.max_steps
    callbacks: list[Callback] = [SeedBatches(config.seed)]
    if _takes_our_optimizer(root):
        root.configure_optimizers = functools.partial(build_optimizer, root, config.optim)
        callbacks.append(CurriculumCallback(config.curriculum, optim=config.optim, total_steps=steps))
    if settings.grad_accum_steps > 1 and hasattr(root, "parameters_by_loss"):
        callbacks.append(ExactAccumulation())
    callbacks += [NonFiniteGuard(), ema, ReturnFreedMemory(), DataWait()]
    if config.lora is not None and config.lora.name != "none":
        callbacks.append(AdapterCheckpoints(root))
    if hasattr(root, "objective") and (taken := root.objective.taken()):
        callbacks.append(SameTeacher(taken))
    if hasattr(root, "errors_by_noise"):
        callbacks.append(ValidationByTask(num_bins=settings.num_noise_bins, seed=config.seed))
    if progress:
        callbacks.append(ProgressLine(max_steps=steps, phases=[phase.name for phase in config.curriculum.phases]))
    checkpoints = Checkpoints(
        config.run_dir,
        every_steps=settings.save_every_steps,
        max_steps=steps,
        num_kept=settings.num_kept_checkpoints,
        watch=StopWatch(settings.max_minutes),
    )
    samples = SampleRenderer(
        config.run_dir / "samples",
        prompts=settings.prompts if hasattr(root, "tokenizer") else {},
        every_steps=settings.save_every_steps,
        make=functools.partial(_renderer, config=config),
        ema=ema,
        model_name=config.name,
        score=SampleScores.of(settings.metrics) if settings.metrics else None,
    )
    return [*callbacks, checkpoints, samples]


def _takes_our_optimizer(root: Part) -> bool:
    return type(root).configure_optimizers is Part.configure_optimizers


def _renderer(root: LightningModule, *, config: RunConfig) -> Render:
    pipeline = AudioCALM.of(root, config)

    def render(text: str, task: Task, seed: int) -> Waveform:
        duration = None if task is Task.SPEECH else config.trainer.sample_seconds
        return pipeline.generate(text, task=str(task), duration=duration, seed=seed)[0].waveform

    return render


def _finish(root: Part, data: LightningDataModule, *, config: RunConfig, trainer: Trainer, ema: EMA) -> FitResult:
    ema.copy_to(root)
    export = config.run_dir / "export"
    state = full_state(root)
    if trainer.is_global_zero:
        if hasattr(root, "vae") and _is_trained(root.vae):
            _measure(root, data, config.trainer)
            state = root.state_dict()
        save_pretrained(export, model=root, config=config, state=state)
    return FitResult(run_dir=config.run_dir, step=step_of(trainer), export=export)


def _is_trained(module: torch.nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _needs_statistics(root: Part) -> bool:
    return hasattr(root, "vae") and not root.vae.has_statistics


def _limit(config: CurriculumConfig) -> Callable[[int], Mapping[str, float]] | None:
    limited = any(phase.max_clip_seconds for phase in config.phases)
    return functools.partial(longest_at, config) if limited else None


def _has_weights(config: RunConfig) -> bool:
    return bool(config.vae_ckpt_path or config.pretrained_ckpt_path)


def _first_batches(data: LightningDataModule, settings: TrainerConfig) -> Iterator[Batch]:
    data.setup("fit")
    return itertools.islice(data.train_dataloader(), settings.num_statistics_batches)


def _measure(root: Part, data: LightningDataModule, settings: TrainerConfig) -> None:
    """Take the latent statistics of ``root.vae`` over training batches."""
    batches = _first_batches(data, settings)
    home = root.vae.latent_mean.device
    root.vae.to(device_of(settings))
    floored = measure_statistics(root.vae, batches)
    root.vae.to(home)
    if floored:
        log.warning("latent channels %s hardly vary; their spread was floored", floored)


def device_of(settings: TrainerConfig) -> torch.device:
    """Where this process computes when no Trainer has placed the model: before training, and after it."""
    if device_type(settings) == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
