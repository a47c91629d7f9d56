"""Lightning's Trainer as the settings say, and the engine under it: one process, DDP, or FSDP2."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Trainer

from calm.part import Part
from calm.training.checkpoint_io import AtomicCheckpointIO
from calm.training.compilation import compile_layers
from calm.training.config import OptimConfig, TrainerConfig
from calm.training.run_folder import ConfigStamp
from calm.training.sharded_strategy import ShardedStrategy
from calm.training.sharding import layers_of, recompute_layers, shard

__all__ = ["build_trainer", "device_type", "engine_of", "quiet_lightning"]


def device_type(settings: TrainerConfig) -> str:
    """Type of the devices that are trained on: "cpu" or "cuda"."""
    return "cpu" if settings.accelerator == "cpu" or not torch.cuda.is_available() else "cuda"


def build_trainer(settings: TrainerConfig, optim: OptimConfig, *, root: Part) -> functools.partial[Trainer]:
    """Return Lightning's Trainer with all that the settings say; loggers, callbacks and the engine are still to come."""
    automatic = root.automatic_optimization
    return functools.partial(
        Trainer,
        accelerator=settings.accelerator,
        devices=int(settings.devices) if settings.devices.isdigit() else settings.devices,
        num_nodes=settings.num_nodes,
        precision=settings.precision,
        max_steps=settings.max_steps,
        max_epochs=-1,
        check_val_every_n_epoch=None,
        val_check_interval=max(1, settings.val_every_steps) * settings.grad_accum_steps,
        limit_val_batches=1.0 if settings.val_every_steps else 0,
        num_sanity_val_steps=0,
        accumulate_grad_batches=settings.grad_accum_steps if automatic else 1,
        gradient_clip_val=optim.max_grad_norm if automatic else None,
        log_every_n_steps=settings.log_every_steps,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def engine_of(root: Part, settings: TrainerConfig, stamp: ConfigStamp) -> dict[str, Any]:
    """How the work is shared by processes, and what keeps its checkpoints: arguments of the Trainer."""
    if settings.compile == "layers":
        compile_layers(root)
    if settings.activation_checkpointing == "layers":
        recompute_layers(root)
    if settings.strategy != "fsdp":
        return {"strategy": settings.strategy, "plugins": [AtomicCheckpointIO(check=stamp.check)]}
    layers_of(root, key="trainer.strategy")  # said before processes are started
    root.configure_model = functools.partial(shard, root)
    return {"strategy": ShardedStrategy(check=stamp.check)}


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence start-up chatter and warnings about what is meant: loaders without length, a frozen VAE in eval mode."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (".*does not have many workers.*", ".*module\\(s\\) in eval mode.*", ".*LeafSpec.*"):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
