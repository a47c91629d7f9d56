"""The registry: every swappable component is one file, one frozen config, one class, one name.

    @register("backbone", "my_backbone")
    class MyBackbone(Backbone):
        '''One line that `calm components` shows.'''

        @dataclass(frozen=True, kw_only=True)
        class Config:
            name: Literal["my_backbone"] = "my_backbone"
            num_layers: int = 4

        def __init__(self, config: Config, **runtime): ...

Choices are in ``Config``; what only a run knows (sizes of neighbouring parts) comes as keyword
arguments. Third parties add components by ``imports: [my_pkg.my_backbone]`` in a config, by an entry
point in the group ``audiocalm.components``, or by running the decorated class in a notebook.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

from calm.errors import ConfigError, UnknownNameError, did_you_mean

__all__ = ["KINDS", "build", "components", "describe", "lookup", "names", "register"]

# Kind -> package whose modules register themselves when they are imported.
KINDS: dict[str, str] = {
    "vae": "calm.vae",
    "adversary": "calm.vae",
    "backbone": "calm.backbone",
    "head": "calm.head",
    "expert": "calm.expert",
    "model": "calm.model",
    "objective": "calm.model",
    "source": "calm.data",
    "metric": "calm.metrics",
    "watermark": "calm.watermark",
    "benchmark": "calm.benchmarks",
    "baseline": "calm.baselines",
}

_registry: dict[str, dict[str, type]] = {kind: {} for kind in KINDS}
_loaded: set[str] = set()
_T = TypeVar("_T", bound=type)


def register(kind: str, name: str) -> Callable[[_T], _T]:
    """Class decorator that makes a component available as ``name``; it needs a nested ``Config``."""
    _check_kind(kind)

    def decorate(cls: _T) -> _T:
        config = cls.__dict__.get("Config")
        if not (dataclasses.is_dataclass(config) and config.__dataclass_params__.frozen):
            raise TypeError(f"{cls.__name__} needs its own nested frozen dataclass `Config`")
        if config().name != name:
            raise TypeError(f"{cls.__name__}.Config.name must default to {name!r}")
        known = _registry[kind].get(name)
        # Running a notebook cell again redefines the class: same module and name may replace itself.
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"{kind} {name!r} is already registered by {known.__module__}")
        _registry[kind][name] = cls
        return cls

    return decorate


def lookup(kind: str, name: str) -> type:
    """Return the class registered as ``name``. Raises UnknownNameError with the closest name."""
    _load(kind)
    try:
        return _registry[kind][name]
    except KeyError:
        raise UnknownNameError(
            f"Unknown {kind} '{name}'. {did_you_mean(name, _registry[kind]) or ''}".strip(),
            where=f"registry kind '{kind}'",
            allowed=sorted(_registry[kind]),
            hint="`calm components` lists all; plug-ins are loaded with `imports: [package.module]`",
        ) from None


def names(kind: str) -> list[str]:
    """Return the sorted names of one kind."""
    _load(kind)
    return sorted(_registry[kind])


def components() -> dict[str, list[str]]:
    """Return every kind with its names."""
    return {kind: names(kind) for kind in KINDS}


def describe(kind: str, name: str) -> str:
    """Return the first line of the component's docstring."""
    return (inspect.getdoc(lookup(kind, name)) or "").split("\n")[0]


def build(kind: str, config: Any, **runtime: Any) -> Any:
    """Build a component from its config record, or from a mapping with ``name``; ``none`` gives None.

    Args:
        kind: one of ``KINDS``.
        config: a ``Config`` instance, a mapping with ``name`` and options, or a bare name.
        **runtime: objects and sizes that only the caller knows, for example ``dim`` of the backbone.
    """
    if isinstance(config, str):
        config = {"name": config}
    if isinstance(config, dict):
        config = _config_from_mapping(kind, config)
    if config is None or config.name == "none":
        return None
    return lookup(kind, config.name)(config, **runtime)


def _config_from_mapping(kind: str, mapping: dict[str, Any]) -> Any:
    options = dict(mapping)
    name = options.get("name")
    if name is None:
        raise ConfigError(f"A {kind} config needs `name`", where=mapping, allowed=names(kind))
    if name == "none":
        return None
    schema = lookup(kind, name).Config
    fields = [f.name for f in dataclasses.fields(schema)]
    for key in options:
        if key not in fields:
            raise ConfigError(
                f"{kind} '{name}' has no option '{key}'. {did_you_mean(key, fields) or ''}".strip(),
                where=f"{kind}.{key}",
                allowed=fields,
            )
    return schema(**options)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UnknownNameError(
            f"Unknown kind '{kind}'. {did_you_mean(kind, KINDS) or ''}".strip(), allowed=KINDS
        )


def _load(kind: str) -> None:
    """Import the kind's package and the installed plug-ins on first look-up, never at import time."""
    _check_kind(kind)
    package_name = KINDS[kind]
    if package_name not in _loaded:
        package = importlib.import_module(package_name)
        for module in pkgutil.iter_modules(package.__path__, prefix=f"{package_name}."):
            importlib.import_module(module.name)
        _loaded.add(package_name)
    if "plug-ins" not in _loaded:
        _loaded.add("plug-ins")
        for entry in importlib.metadata.entry_points(group="audiocalm.components"):
            entry.load()
