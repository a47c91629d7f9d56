"""Where curves go, by name: history.csv always, tensorboard or wandb on top."""

from __future__ import annotations

import os
from pathlib import Path

from lightning.pytorch.loggers import Logger

from calm.errors import ConfigError
from calm.training.config import LoggerConfig

__all__ = ["build_loggers"]


def build_loggers(config: LoggerConfig, *, run_dir: Path, run_name: str) -> list[Logger]:
    """Return the chosen logger in a list, empty for ``csv``. Files go below ``run_dir``."""
    return list(_LOGGERS[config.name](config, run_dir, run_name))


def _csv(config: LoggerConfig, run_dir: Path, run_name: str) -> list[Logger]:
    return []


def _tensorboard(config: LoggerConfig, run_dir: Path, run_name: str) -> list[Logger]:
    from lightning.pytorch.loggers import TensorBoardLogger

    return [TensorBoardLogger(save_dir=run_dir, name="tensorboard", version="")]


def _wandb(config: LoggerConfig, run_dir: Path, run_name: str) -> list[Logger]:
    try:
        from lightning.pytorch.loggers import WandbLogger
    except ImportError as error:
        raise ConfigError("wandb is not installed", where="logger.name", hint="pip install wandb") from error
    has_key = bool(os.environ.get("WANDB_API_KEY"))
    offline = not has_key if config.mode == "auto" else config.mode == "offline"
    # A fixed id, so that a resumed run continues its own curves.
    return [WandbLogger(name=run_name, id=run_name, project=config.project, save_dir=run_dir, offline=offline)]


_LOGGERS = {"csv": _csv, "tensorboard": _tensorboard, "wandb": _wandb}
