"""Where settings come from: group files, experiment files, a run's `config.yaml`, the command line."""

from __future__ import annotations

import copy
import functools
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import calm
from calm.errors import ConfigError, UnknownNameError, did_you_mean

__all__ = [
    "COMMAND_LINE",
    "Layer",
    "check_key",
    "config_folders",
    "find_file",
    "options",
    "parse_overrides",
    "read_layer",
    "read_yaml",
    "shown",
    "unknown_name",
]

COMMAND_LINE = "command line"

_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z0-9_-]+)*")
_ENVIRONMENT = re.compile(r"\$\{oc\.env:[A-Za-z_]\w*(,[^${}]*)?\}")
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one source says: ``choices`` group -> option, and ``values``, nested by key."""

    origin: str
    choices: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


def config_folders(conf_dir: str | Path | None = None) -> list[Path]:
    """Folders with groups, first hit wins: ``conf_dir`` or ./conf, then those of this package."""
    package = Path(calm.__file__).parent
    packaged = package / "conf" if (package / "conf").is_dir() else package.parent / "conf"
    if conf_dir is not None and not Path(conf_dir).is_dir():
        raise ConfigError("There is no such folder of configuration groups", where=conf_dir, hint="Check conf_dir")
    first = Path("conf") if conf_dir is None else Path(conf_dir)
    return [first, packaged] if first.resolve() != packaged.resolve() else [packaged]


def options(group: str, folders: Sequence[Path]) -> list[str]:
    """Names of all files of one group."""
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})


def find_file(group: str, option: str, folders: Sequence[Path]) -> Path | None:
    """The group file of ``option``, or None. ``option`` is compared with the names that exist."""
    if option not in options(group, folders):
        return None
    return next(file for folder in folders if (file := folder / group / f"{option}.yaml").is_file())


def shown(path: Path) -> str:
    """The path as messages and origins show it: relative to the current folder where it lies below it."""
    here = Path.cwd()
    return str(path.resolve().relative_to(here)) if path.resolve().is_relative_to(here) else str(path)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping. Raises ConfigError with file and line."""
    try:
        values = copy.deepcopy(_read_text(path.read_text(encoding="utf-8")))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"The YAML cannot be read: {error.problem}", where=f"{shown(path)}, line {line}") from None
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).split("\n")[0], where=shown(path), allowed="${oc.env:VAR}") from None
    except Exception as error:  # the constructors of YAML's own types raise errors of every kind
        raise ConfigError(f"The file cannot be read: {error}", where=shown(path)) from None
    if not isinstance(values, dict):
        raise ConfigError("The file must hold a mapping of keys", where=shown(path))
    _check_plain(values, where=shown(path))
    return values


@functools.lru_cache(maxsize=256)
def _read_text(text: str) -> Any:
    """The plain values of a YAML text. A process that composes again and again reads the same few files."""
    return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)


def read_layer(path: Path, *, groups: Sequence[str]) -> Layer:
    """Read an experiment file or a run's ``config.yaml``.

    ``groups: {backbone: demo}`` chooses options, as ``backbone: demo`` does; mappings override keys.
    """
    values = read_yaml(path)
    chosen = values.pop("groups", None) or {}
    if not isinstance(chosen, Mapping):
        raise ConfigError("`groups` must be a mapping", where=shown(path), allowed="group: option")
    for group in chosen:
        check_key(group, groups, what="group", where=f"{shown(path)}: groups.{group}")
    bare = [key for key in groups if key in values and not isinstance(values[key], Mapping)]
    choices = {**chosen, **{key: values.pop(key) for key in bare}}
    return Layer(origin=shown(path), choices={key: _option(value) for key, value in choices.items()}, values=values)


def parse_overrides(overrides: Sequence[str], *, groups: Sequence[str]) -> tuple[Layer, dict[str, str]]:
    """Read ``key=value`` words. Returns their layer, and ``experiment`` and ``config`` apart."""
    layer, files = Layer(origin=COMMAND_LINE), {}
    for word in overrides:
        key, value = _parse(word)
        if key in ("experiment", "config"):
            if key in files:
                raise ConfigError(f"'{key}' is given twice", where=COMMAND_LINE)
            files[key] = word.partition("=")[2]  # a name or a path is itself, not YAML
        elif key in groups and not isinstance(value, Mapping):
            layer.choices[key] = _option(value)
        else:
            _put(layer.values, key.split("."), value)
    return layer, files


def check_key(key: object, allowed: Sequence[str], *, what: str, where: object, hint: str | None = None) -> None:
    """Raise UnknownNameError with the closest name unless ``key`` is allowed."""
    if key not in allowed:
        raise unknown_name(key, allowed, what=what, where=where, hint=hint)


def unknown_name(
    key: object, allowed: Sequence[str], *, what: str, where: object, hint: str | None = None
) -> UnknownNameError:
    """The error for a name that is not among ``allowed``."""
    guess = did_you_mean(str(key), allowed) or ""
    return UnknownNameError(f"Unknown {what} '{key}'. {guess}".strip(), where=where, allowed=allowed, hint=hint)


def _put(values: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set the nested key; a mapping is merged key by key, an empty one empties."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            _put(values, [*keys, key], item)
        return
    *parents, last = keys
    for parent in parents:
        if not isinstance(values.get(parent), dict):
            values[parent] = {}
        values = values[parent]
    values[last] = value


def _option(value: Any) -> str:
    return "none" if value is None else str(value)


def _parse(word: str) -> tuple[str, Any]:
    key, equals, text = word.partition("=")
    if not equals or not _KEY.fullmatch(key):
        raise ConfigError(
            f"'{word}' is no override",
            where=COMMAND_LINE,
            allowed="key=value, for example backbone=qwen3 or trainer.max_steps=100",
            hint="Quote values with spaces: 'trainer.prompts.speech=[one, two]'. Keys of groups are never added with + or removed with ~",
        )
    try:
        value = copy.deepcopy(_read_word(text))
    except Exception as error:  # as in read_yaml
        problem = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise ConfigError(
            f"The value of '{key}' cannot be read: {problem}", where=f"{COMMAND_LINE}: {word}", hint="Values are YAML"
        ) from None
    _check_plain(value, where=f"{COMMAND_LINE}: {key}")
    return key, value


@functools.lru_cache(maxsize=1024)
def _read_word(text: str) -> Any:
    return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)["value"]


def _check_plain(value: Any, *, where: str) -> None:
    """Refuse everything but mappings, lists and scalars, and every interpolation but the environment's."""
    if isinstance(value, Mapping | list):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            _check_plain(item, where=f"{where}, {key}" if isinstance(value, Mapping) else where)
    elif not isinstance(value, _PLAIN):
        raise ConfigError(f"A {type(value).__name__} is no configuration value", where=where, allowed="text, numbers")
    elif isinstance(value, str) and "${" in _ENVIRONMENT.sub("", value):
        raise ConfigError(f"'{value}' cannot be interpolated", where=where, allowed="${oc.env:VAR}")
