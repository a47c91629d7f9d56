"""`RunConfig`: everything that a run needs to know, as one frozen record."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calm import registry
from calm.config.records import to_plain
from calm.errors import ConfigError

__all__ = ["GROUPS", "PARTS", "SETTINGS", "RunConfig", "check_module_name", "schema_of"]

#: groups whose options are registered components
PARTS: tuple[str, ...] = ("model", "vae", "adversary", "backbone", "head", "expert", "objective")

#: groups with one schema each -> where it lies. Named by string: this package is a floor below them.
SETTINGS: dict[str, str] = {
    "data": "calm.data.config:DataConfig",
    "curriculum": "calm.training.config:CurriculumConfig",
    "optim": "calm.training.config:OptimConfig",
    "trainer": "calm.training.config:TrainerConfig",
    "lora": "calm.model.lora_config:LoRAConfig",
    "logger": "calm.training.config:LoggerConfig",
    "sampler": "calm.generation.config:SamplerConfig",
}

GROUPS: tuple[str, ...] = (*PARTS, *SETTINGS)

_RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_MODULE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The resolved configuration of one run.

    Args:
        name: the run's name; where it is not given, the experiment's.
        seed: of data order, initialisation and noise.
        run_dir: folder of everything the run writes; ``runs/<name>`` where it is not given.
        imports: modules that register further components.
        ckpt_path: continue this run: ``last`` or a checkpoint's path.
        pretrained_ckpt_path: start from these weights (not the same as ``ckpt_path``).
        vae_ckpt_path: folder with the trained VAE that a generator is trained on.
        model ... objective: the chosen component's ``Config``, or None for ``none``.
        data ... sampler: the settings' records.
        origins: dotted key -> the file, "command line" or "default" that gave its value.
        interpolations: dotted key -> (text with ``${oc.env:VAR}``, value). ``to_dict`` writes the text,
            so that what lies in the environment is never written down.
    """

    name: str = "run"
    seed: int = 0
    run_dir: Path | None = None
    imports: tuple[str, ...] = ()
    ckpt_path: str | None = None
    pretrained_ckpt_path: Path | None = None
    vae_ckpt_path: Path | None = None

    model: Any = None
    vae: Any = None
    adversary: Any = None
    backbone: Any = None
    head: Any = None
    expert: Any = None
    objective: Any = None

    data: Any = None
    curriculum: Any = None
    optim: Any = None
    trainer: Any = None
    lora: Any = None
    logger: Any = None
    sampler: Any = None

    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    interpolations: Mapping[str, tuple[Any, Any]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _RUN_NAME.fullmatch(self.name):
            raise ConfigError(
                f"The run name '{self.name}' cannot be a folder's name", where="name", allowed="letters, digits, . _ -"
            )
        for module in self.imports:
            check_module_name(module, where="imports")
        if self.run_dir is None:
            object.__setattr__(self, "run_dir", Path("runs") / self.name)

    def to_dict(self) -> dict[str, Any]:
        """Return plain mappings, lists and scalars that `load_config_file` reads back to an equal record."""
        plain: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            if item.name in ("origins", "interpolations"):
                continue
            value = getattr(self, item.name)
            # A part that is not there is written as it is chosen; an unwritten run_dir follows the name.
            if item.name in PARTS and value is None:
                plain[item.name] = {"name": "none"}
            elif item.name != "run_dir" or value != Path("runs") / self.name:
                plain[item.name] = to_plain(value, path=item.name, interpolations=self.interpolations)
        return plain


def check_module_name(module: str, *, where: str) -> None:
    """Raise ConfigError unless ``module`` could be the name of a module; a path, say, is none."""
    if not _MODULE_NAME.fullmatch(module):
        raise ConfigError(f"'{module}' is no module name", where=where, allowed="package.module")


def schema_of(group: str, name: str | None = None) -> type:
    """Return the dataclass of a settings group, or of the part registered as ``name``."""
    if group in SETTINGS:
        module, _, record = SETTINGS[group].partition(":")
        return getattr(importlib.import_module(module), record)
    return registry.lookup(group, str(name)).Config
