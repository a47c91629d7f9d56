"""Choices of a training run: curriculum, optimizer, trainer and logger. Records only; nothing here imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from calm.errors import ConfigError, did_you_mean
from calm.types import TASKS

__all__ = ["CurriculumConfig", "LoggerConfig", "OptimConfig", "Phase", "TrainerConfig"]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of training.

    Args:
        name: shown in logs and on the page.
        until_step: the first optimizer step that no longer belongs to the phase; None for the last phase.
        task_weights: share of each task in the batches; a task that is left out has weight 0.
        expert: ``on`` or ``off``.
        lr_factors: factor on the learning rate per part (1 where a part is not named).
        max_clip_seconds: longest clip of a task that is drawn (any where a task is not named): short sentences first.
    """

    name: str = "joint"
    until_step: int | None = None
    task_weights: dict[str, float] = field(default_factory=lambda: {str(task): 1.0 for task in TASKS})
    expert: str = "on"
    lr_factors: dict[str, float] = field(default_factory=dict)
    max_clip_seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # YAML reads a bare `on` as the boolean true; what the author meant is plain.
        spoken = {"True": "on", "true": "on", "False": "off", "false": "off"}.get(str(self.expert), self.expert)
        object.__setattr__(self, "expert", spoken)


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """Named phases in order; together they cover every step exactly once.

    Raises ConfigError for phases that overlap, leave a gap, or name something unknown.
    """

    name: str = "default"
    phases: list[Phase] = field(default_factory=lambda: [Phase()])

    def __post_init__(self) -> None:
        if not self.phases:
            raise ConfigError("A curriculum needs at least one phase", where="curriculum.phases")
        for index, phase in enumerate(self.phases):
            _check_phase(phase, where=f"curriculum.phases[{index}] ('{phase.name}')")
        _check_order(self.phases)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW and its schedule."""

    name: str = "default"
    #: peak learning rate of parts that are trained from scratch
    learning_rate: float = 2e-4
    #: factor on the learning rate per part, for example {backbone: 0.5} for a pretrained LM
    lr_factors: dict[str, float] = field(default_factory=dict)
    #: decoupled weight decay of matrices; biases, norms and other vectors have none
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.95)
    #: linear warm-up from 0
    warmup_steps: int = 1000
    schedule: Literal["constant", "cosine"] = "constant"
    #: learning rate at the end of the cosine, relative to the peak
    min_lr_ratio: float = 0.1
    #: gradients are clipped to this total L2 norm
    max_grad_norm: float = 1.0
    #: limit of the averaged weights' decay, min(ema_decay, (1 + n) / (10 + n)) after n updates
    ema_decay: float = 0.9999

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        for key, fits, allowed in (
            ("learning_rate", 0 < self.learning_rate < math.inf, "a finite number above 0"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "a finite number, 0 or more"),
            ("betas", len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas), "two, each 0 <= beta < 1"),
            ("warmup_steps", self.warmup_steps >= 0, "0 or more"),
            ("min_lr_ratio", 0 <= self.min_lr_ratio <= 1, "0 to 1"),
            ("max_grad_norm", self.max_grad_norm > 0, "a number above 0"),
            ("ema_decay", 0 <= self.ema_decay < 1, "0 <= decay < 1"),
        ):
            if not fits:
                raise ConfigError(f"{key} is {getattr(self, key)}", where=f"optim.{key}", allowed=allowed)
        _check_factors(self.lr_factors, where="optim.lr_factors")


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How long, on what, and how often something is looked at."""

    name: str = "default"
    #: optimizer steps of the whole run
    max_steps: int = 300_000
    #: wall-clock limit of one start of the run, after which it ends as if max_steps were reached; None for none
    max_minutes: float | None = None
    #: optimizer steps between validations; 0 for none
    val_every_steps: int = 2000
    #: noise levels into which validation errors are sorted
    num_noise_bins: int = 10
    #: optimizer steps between checkpoints; the run's end and an interruption always save one
    save_every_steps: int = 2000
    #: numbered checkpoints that stay on disk beside last.ckpt
    num_kept_checkpoints: int = 2
    #: prompts rendered to audio at every numbered checkpoint, by task
    prompts: dict[str, list[str]] = field(default_factory=dict)
    #: metrics of these clips, by registered name, logged as samples/TASK/KEY: those that need the text at most
    metrics: tuple[str, ...] = ()
    #: length of the rendered sounds and music; speech ends by itself
    sample_seconds: float = 5.0
    #: batches per optimizer step
    grad_accum_steps: int = 1
    #: Lightning's name, for example "32-true" or "bf16-mixed"; "auto" is bf16-mixed where the device multiplies in
    #: bfloat16, else 32-true
    precision: str = "32-true"
    accelerator: str = "auto"
    #: devices per node: a number, or auto
    devices: str = "auto"
    num_nodes: int = 1
    #: "auto" (one process, or ddp), "ddp", "fsdp" (FSDP2: weights and moments sharded over all processes), or
    #: another name that Lightning knows
    strategy: str = "auto"
    #: "layers" computes the backbone's layers again in the backward pass instead of keeping their activations
    activation_checkpointing: Literal["none", "layers"] = "none"
    #: "layers" compiles the backbone's layers with torch.compile; the first steps take a minute or two
    compile: Literal["none", "layers"] = "none"
    log_every_steps: int = 10
    #: least time between two signs of life of a rank, which `calm launch` watches
    heartbeat_seconds: float = 10.0
    #: CPU threads of torch; None leaves torch's choice
    num_threads: int | None = None
    #: training batches over which the latent statistics of a trained VAE are taken
    num_statistics_batches: int = 200

    def __post_init__(self) -> None:
        for least, keys in (
            (1, ("max_steps", "save_every_steps", "grad_accum_steps", "num_nodes", "log_every_steps")),
            (1, ("num_noise_bins", "num_threads", "num_statistics_batches")),
            (0, ("val_every_steps", "num_kept_checkpoints")),
        ):
            for key in keys:
                value = getattr(self, key)
                if value is not None and not value >= least:
                    raise ConfigError(f"{key} is {value}", where=f"trainer.{key}", allowed=f"{least} or more")
        for key in ("max_minutes", "sample_seconds", "heartbeat_seconds"):
            value = getattr(self, key)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{key} is {value}", where=f"trainer.{key}", allowed="a finite number above 0")
        _check_names(self.prompts, [str(task) for task in TASKS], what="task", where="trainer.prompts")
        if self.compile != "none" and self.strategy == "fsdp":
            raise ConfigError(
                "Sharded layers are not compiled", where="trainer.compile", allowed="none with trainer.strategy=fsdp"
            )


@dataclass(frozen=True, kw_only=True)
class LoggerConfig:
    """Where curves go. ``history.csv`` is always written; tensorboard or wandb come on top of it."""

    name: Literal["csv", "tensorboard", "wandb"] = "tensorboard"
    #: wandb project
    project: str = "audiocalm"
    #: wandb mode; auto is online where WANDB_API_KEY is set, and offline otherwise
    mode: Literal["auto", "online", "offline"] = "auto"


def _check_phase(phase: Phase, *, where: str) -> None:
    if phase.expert not in ("on", "off"):
        raise ConfigError(f"expert is '{phase.expert}'", where=f"{where}.expert", allowed=("on", "off"))
    _check_names(phase.task_weights, [str(task) for task in TASKS], what="task", where=f"{where}.task_weights")
    weights = phase.task_weights.values()
    if any(not 0 <= weight < math.inf for weight in weights) or not sum(weights) > 0:
        raise ConfigError(
            f"The task weights are {dict(phase.task_weights)}",
            where=f"{where}.task_weights",
            allowed="finite numbers, 0 or more, at least one above 0",
        )
    _check_factors(phase.lr_factors, where=f"{where}.lr_factors")
    longest = phase.max_clip_seconds
    _check_names(longest, [str(task) for task in TASKS], what="task", where=f"{where}.max_clip_seconds")
    if any(not 0 < seconds < math.inf for seconds in longest.values()):
        raise ConfigError(
            f"The limits are {dict(longest)}", where=f"{where}.max_clip_seconds", allowed="seconds above 0"
        )


def _check_factors(factors: dict[str, float], *, where: str) -> None:
    for part, factor in factors.items():
        if not 0 <= factor < math.inf:
            raise ConfigError(f"The factor is {factor}", where=f"{where}.{part}", allowed="a finite number, 0 or more")


def _check_order(phases: list[Phase]) -> None:
    previous = 0
    for index, phase in enumerate(phases[:-1]):
        if phase.until_step is None or phase.until_step <= previous:
            raise ConfigError(
                f"Phase '{phase.name}' ends at step {phase.until_step}",
                where=f"curriculum.phases[{index}].until_step",
                allowed=f"a step above {previous}: phases end in increasing order, only the last has none",
            )
        previous = phase.until_step
    if phases[-1].until_step is not None:
        raise ConfigError(
            f"The last phase '{phases[-1].name}' ends at step {phases[-1].until_step}",
            where=f"curriculum.phases[{len(phases) - 1}].until_step",
            allowed="null: the last phase lasts to the end of training (trainer.max_steps)",
        )


def _check_names(given: dict[str, object], allowed: list[str], *, what: str, where: str) -> None:
    for name in given:
        if name not in allowed:
            guess = did_you_mean(name, allowed) or ""
            raise ConfigError(f"Unknown {what} '{name}'. {guess}".strip(), where=where, allowed=allowed)
