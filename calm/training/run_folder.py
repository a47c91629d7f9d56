"""A run's folder belongs to one configuration. Which checkpoint a run starts from, and whether it may.

    runs/NAME/config.yaml  status.json  history.csv  checkpoints/last.ckpt  checkpoints/step-*.ckpt
              heartbeat/rank-*.json  samples/  export/
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from calm.config import SETTINGS, RunConfig, save_config
from calm.config.layers import read_yaml
from calm.config.records import default_values
from calm.config.schema import schema_of
from calm.errors import CheckpointError, ConfigError
from calm.model.format import FORMAT_KEY, FORMAT_VERSION, check_format
from calm.training.checkpoints import CHECKPOINTS, LAST, numbered_checkpoints

__all__ = ["ConfigStamp", "differences", "prepare_run"]

#: what may change between the parts of one run: where things lie, how long it runs, what is looked at
FREE_KEYS: tuple[str, ...] = (
    "name",
    "run_dir",
    "imports",
    "ckpt_path",
    "pretrained_ckpt_path",
    "vae_ckpt_path",
    "logger",
    "sampler",
    "trainer",
    # what is computed together: the same losses and gradients
    "model.pack_rows",
    # Shards may move: the data module itself compares their fingerprint, weights, seed and batch size.
    "data.name",
    "data.train",
    "data.sources",
    "data.validation",
    "data.num_workers",
    "data.num_validation_batches",
    "data.max_bad_share",
)
#: exceptions: these change the arithmetic
BOUND_KEYS: tuple[str, ...] = ("trainer.grad_accum_steps", "trainer.precision")


def prepare_run(config: RunConfig) -> Path | None:
    """Check the run's folder, write ``config.yaml`` into it, and return the checkpoint to continue from.

    ``ckpt_path: last`` continues where there is something to continue, and starts afresh otherwise.
    Raises ConfigError where the folder holds a run of another configuration, or a run that would be
    overwritten; CheckpointError where the named checkpoint does not exist.
    """
    written = config.run_dir / "config.yaml"
    if written.is_file():
        found = differences(read_yaml(written), config.to_dict())
        if found:
            raise ConfigError(
                f"The run folder belongs to another configuration: {_summary(found)}",
                where=written,
                hint="choose another `name` or `run_dir`, or restore these keys",
            )
    folder = config.run_dir / CHECKPOINTS
    checkpoint = _find_checkpoint(config.ckpt_path, folder)
    if checkpoint is None and config.ckpt_path is None and (folder / LAST).exists():
        raise ConfigError(
            "The run folder already holds a trained run",
            where=folder / LAST,
            hint="continue it with ckpt_path=last, or choose another `name` or `run_dir`",
        )
    rank_zero_only(save_config)(config, written)
    return checkpoint


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the dotted keys that must not change within a run and did, with both values."""
    flat_old, flat_new = _flatten(_with_all_settings(old)), _flatten(_with_all_settings(new))
    keys = [key for key in sorted({*flat_old, *flat_new}) if _is_bound(key)]
    return {key: (flat_old.get(key), flat_new.get(key)) for key in keys if flat_old.get(key) != flat_new.get(key)}


def _with_all_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration, perhaps of an older release, with the defaults of settings that it does not have."""
    groups = {group: {**default_values(schema_of(group)), **(config.get(group) or {})} for group in SETTINGS}
    return {**config, **groups}


class ConfigStamp(Callback):
    """Writes the configuration into every checkpoint, and checks those that are read against it."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config.to_dict()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.config
        checkpoint[FORMAT_KEY] = FORMAT_VERSION

    def check(self, checkpoint: Mapping[str, Any], path: Path) -> None:
        """Raise CheckpointError, naming the keys, where ``checkpoint`` belongs to another configuration."""
        check_format(checkpoint.get(FORMAT_KEY), where=path)
        if "config" not in checkpoint:
            raise CheckpointError("The checkpoint says nothing about its configuration", where=path)
        found = differences(checkpoint["config"], self.config)
        if found:
            raise CheckpointError(
                f"The checkpoint belongs to another configuration: {_summary(found)}",
                where=path,
                hint="restore these keys, or start a new run from its weights with pretrained_ckpt_path=RUN/export",
            )


def _find_checkpoint(ckpt_path: str | None, folder: Path) -> Path | None:
    if ckpt_path is None:
        return None
    if ckpt_path == "last":
        candidates = [path for path in (*numbered_checkpoints(folder), folder / LAST) if path.exists()]
        return candidates[-1] if candidates else None
    path = Path(ckpt_path).expanduser()
    if not path.exists():
        kept = [candidate.name for candidate in folder.glob("*.ckpt")]
        raise CheckpointError("No such checkpoint", where=path, allowed=["last", *sorted(kept)])
    return path


def _is_bound(key: str) -> bool:
    return key in BOUND_KEYS or not any(key == free or key.startswith(f"{free}.") for free in FREE_KEYS)


def _flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(values, Mapping):
        items = [(str(key), value) for key, value in values.items()]
    elif isinstance(values, list) and any(isinstance(value, Mapping) for value in values):
        items = [(str(index), value) for index, value in enumerate(values)]
    else:
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat |= _flatten(value, f"{prefix}.{key}" if prefix else key)
    return flat


def _summary(found: Mapping[str, tuple[Any, Any]]) -> str:
    shown = [f"{key} was {old!r}, is {new!r}" for key, (old, new) in list(found.items())[:5]]
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return "; ".join(shown) + more
