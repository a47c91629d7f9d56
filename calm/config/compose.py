"""Compose a run's configuration: schema defaults < group files < experiment file < command line.

    load_config(["experiment=demo", "backbone=qwen3", "backbone.num_layers=20"])

Choosing an option of a group starts that group afresh: what lower layers had set in it belonged to
their own option and is dropped. Mappings merge key by key, an empty mapping empties; lists are replaced.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from calm import registry
from calm.config.layers import (
    COMMAND_LINE,
    Layer,
    check_key,
    config_folders,
    find_file,
    options,
    parse_overrides,
    read_layer,
    read_yaml,
    shown,
    unknown_name,
)
from calm.config.records import Reader, default_values
from calm.config.schema import GROUPS, PARTS, SETTINGS, RunConfig, check_module_name, schema_of
from calm.config.sources import check_train_is_read
from calm.errors import CalmError, ConfigError, UnknownNameError

__all__ = ["load_config", "load_config_file"]

#: keys of the run itself
RUN_KEYS = [f.name for f in dataclasses.fields(RunConfig) if f.name not in (*GROUPS, "origins", "interpolations")]


def load_config(
    overrides: Sequence[str] = (), *, conf_dir: str | Path | None = None, experiment: str | None = None
) -> RunConfig:
    """Compose and check a configuration; a pure function of its arguments and the files.

    Args:
        overrides: words of the command line: ``experiment=demo``, ``backbone=qwen3`` (an option of a
            group), ``backbone.num_layers=20`` (a key), ``config=runs/x/config.yaml`` (a written config).
        conf_dir: folder with the user's own groups, searched first; ``./conf`` by default.
        experiment: the same as the word ``experiment=...``.

    Raises ConfigError or UnknownNameError with the file (or "command line"), the key, the closest
    name and the allowed ones.
    """
    folders = config_folders(conf_dir)
    command_line, files = parse_overrides(overrides, groups=GROUPS)
    if experiment is not None:
        files["experiment"] = experiment
    return _compose([_base_layer(files, folders), command_line], folders)


def load_config_file(path: str | Path, *, imports: Literal["run", "refuse"] = "run") -> RunConfig:
    """Read a ``config.yaml`` as a run writes it, or any file in the form of an experiment.

    Args:
        imports: "refuse" is for files of strangers. It raises ConfigError where the file lists modules that are
            not imported yet: a downloaded checkpoint must not choose what code runs here. Nor does it read the
            environment into texts: ``${oc.env:VAR}`` stays as it is written.
    """
    folders = config_folders()
    loaders = {"run": _import_all, "refuse": _refuse_imports}
    environment: Literal["read", "keep"] = "read" if imports == "run" else "keep"
    layers = [_base_layer({"config": str(path)}, folders)]
    return _compose(layers, folders, take_imports=loaders[imports], environment=environment)


def _compose(
    layers: Sequence[Layer],
    folders: Sequence[Path],
    *,
    take_imports: Callable[..., None] | None = None,
    environment: Literal["read", "keep"] = "read",
) -> RunConfig:
    """Put layers on each other, lowest first."""
    for layer in layers:
        for key in layer.values:
            check_key(key, [*RUN_KEYS, *GROUPS], what="key", where=f"{layer.origin}: {key}", hint=_key_hint(key))
    tree = _Tree(folders)
    for layer in layers:
        tree.apply(Layer(origin=layer.origin, values={k: v for k, v in layer.values.items() if k == "imports"}))
    (take_imports or _import_all)(tree.values["imports"], where=tree.origin_of("imports"))
    for layer in layers:
        tree.apply(layer)
    return tree.to_config(environment)


class _Tree:
    """Plain values by group, with the origin of each leaf."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        for key, value in default_values(RunConfig).items():
            if key in RUN_KEYS:
                self.assign(key, value, origin="default")
        for group in PARTS:
            self.assign(group, {"name": "none"}, origin="default")
        for group in SETTINGS:
            self.assign(group, default_values(schema_of(group)), origin="default")

    def apply(self, layer: Layer) -> None:
        for group, option in layer.choices.items():
            self.choose(group, option, origin=layer.origin)
        for key, value in layer.values.items():
            if key in GROUPS:
                self.override(key, value, origin=layer.origin)
            else:
                self.assign(key, value, origin=layer.origin)

    def choose(self, group: str, option: str, *, origin: str) -> None:
        """Start ``group`` afresh from its option's file, or from the schema of the component of that name."""
        file = find_file(group, option, self._folders)
        if file is not None:
            values, source = read_yaml(file), shown(file)
            if group in PARTS and "name" not in values:
                raise ConfigError(
                    f"A file of the group '{group}' needs `name`", where=source, allowed=registry.names(group)
                )
        elif group in PARTS and option in (*registry.names(group), "none"):
            values, source = {"name": option}, origin
        else:
            allowed = set(options(group, self._folders))
            allowed |= {*registry.names(group), "none"} if group in PARTS else set()
            hint = f"Add conf/{group}/{option}.yaml, or `imports: [package.module]` with a new component"
            raise unknown_name(
                option, sorted(allowed), what=f"option of '{group}':", where=f"{origin}: {group}", hint=hint
            )
        self._reset(group, values.get("name", "none"), origin=source)
        self.override(group, values, origin=source)

    def override(self, group: str, values: Any, *, origin: str) -> None:
        """Merge keys into ``group``; another ``name`` of a part starts it afresh."""
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"'{group}' is {values!r}", where=f"{origin}: {group}", allowed="an option's name or a mapping of keys"
            )
        if group in PARTS:
            name = values.get("name", self.values[group]["name"])
            if name != self.values[group]["name"]:
                self._reset(group, name, origin=origin)
            if name == "none" and set(values) - {"name"}:
                raise ConfigError(
                    f"No {group} is chosen, so '{group}.{next(iter(set(values) - {'name'}))}' sets nothing",
                    where=origin,
                    allowed=options(group, self._folders),
                    hint=f"Choose one with {group}=...",
                )
        self.values[group] = self._merge(self.values[group], values, path=group, origin=origin)

    def assign(self, path: str, value: Any, *, origin: str) -> None:
        """Set a top-level key, forgetting what lay below it."""
        self.origins = {key: o for key, o in self.origins.items() if key != path and not key.startswith(f"{path}.")}
        self.values[path] = self._merge({}, {path: value}, path="", origin=origin)[path]

    def origin_of(self, path: str) -> str:
        """Origin of a key, of the list that holds it, or of the first key below or beside it."""
        exact = path.partition("[")[0]
        below = [origin for key, origin in self.origins.items() if key.startswith(f"{exact}.")]
        told = [origin for origin in below if origin != "default"]
        return self.origins.get(exact) or next(iter(reversed(told or below)), "default")

    def to_config(self, environment: Literal["read", "keep"]) -> RunConfig:
        reader = Reader(self.origin_of, environment=environment)
        hints = typing.get_type_hints(RunConfig)
        if self.values["model"]["name"] == "none":
            raise ConfigError(
                "No model is chosen",
                where="model",
                allowed=sorted({*options("model", self._folders), *registry.names("model")}),
                hint=f"Start from an experiment: experiment=... ({', '.join(options('experiment', self._folders))})",
            )
        given = {key: reader.value(hints[key], self.values[key], path=key) for key in RUN_KEYS}
        for group in GROUPS:
            values = self.values[group]
            absent = group in PARTS and values["name"] == "none"
            schema = None if absent else schema_of(group, values.get("name"))
            given[group] = None if absent else reader.record(schema, values, path=group)
        check_train_is_read(given["data"], origin_of=self.origin_of)
        try:
            return RunConfig(**given, origins=self.origins, interpolations=reader.interpolations)
        except ConfigError as error:
            raise ConfigError(
                error.what, where=f"{self.origin_of(str(error.where))}: {error.where}", allowed=error.allowed
            ) from None

    def _reset(self, group: str, name: Any, *, origin: str) -> None:
        if group in PARTS and name != "none":
            hint = "`calm components` lists all; plug-ins are loaded with `imports: [package.module]`"
            check_key(name, registry.names(group), what=group, where=f"{origin}: {group}.name", hint=hint)
        absent = group in PARTS and name == "none"
        self.assign(group, {"name": "none"} if absent else default_values(schema_of(group, name)), origin="default")

    def _merge(self, base: Mapping[str, Any], values: Mapping[str, Any], *, path: str, origin: str) -> dict[str, Any]:
        merged = dict(base)
        for key, value in values.items():
            full = f"{path}.{key}" if path else str(key)
            if isinstance(value, Mapping) and value:
                self.origins.pop(full, None)
                kept = _kept(merged.get(key), value)
                if not kept:
                    self._forget_below(merged.get(key), path=full)
                merged[key] = self._merge(kept, value, path=full, origin=origin)
            else:
                self._forget_below(merged.get(key), path=full)
                merged[key] = value
                self.origins[full] = origin
        return merged

    def _forget_below(self, value: Any, *, path: str) -> None:
        if isinstance(value, Mapping):
            self.origins = {key: o for key, o in self.origins.items() if not key.startswith(f"{path}.")}


def _kept(below: Any, above: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stays of the lower mapping: nothing where the upper one names another component (`data.source`)."""
    if not isinstance(below, Mapping) or above.get("name", below.get("name")) != below.get("name"):
        return {}
    return below


def _base_layer(files: Mapping[str, str], folders: Sequence[Path]) -> Layer:
    """The layer of the experiment or of the written config, whichever is named."""
    if len(files) == 2:
        raise ConfigError("`experiment` and `config` exclude each other", where=COMMAND_LINE)
    if "config" in files:
        path = Path(files["config"])
        if not path.is_file():
            raise ConfigError("There is no such config file", where=path, hint="A run writes runs/<name>/config.yaml")
        return read_layer(path, groups=GROUPS)
    if "experiment" not in files:
        return Layer(origin="default")
    name = files["experiment"]
    path = find_file("experiment", name, folders)
    check_key(name, options("experiment", folders), what="experiment", where=f"{COMMAND_LINE}: experiment")
    layer = read_layer(path, groups=GROUPS)
    return dataclasses.replace(layer, values={"name": name, **layer.values})


def _refuse_imports(modules: Any, *, where: str) -> None:
    _check_modules(modules, where=where)
    foreign = [module for module in modules if module not in sys.modules]
    if foreign:
        raise ConfigError(
            f"The checkpoint asks to import {', '.join(map(str, foreign))}",
            where=f"{where}: imports",
            hint="If you trust it, import the module yourself before loading (`import ...` registers its parts)",
        )


def _check_modules(modules: Any, *, where: str) -> None:
    if not isinstance(modules, list) or not all(isinstance(module, str) for module in modules):
        raise ConfigError(f"'imports' is {modules!r}", where=where, allowed="a list of module names")
    for module in modules:
        check_module_name(module, where=f"{where}: imports")


def _import_all(modules: Any, *, where: str) -> None:
    _check_modules(modules, where=where)
    for module in modules:
        try:
            importlib.import_module(module)
        except CalmError:
            raise
        except ImportError as error:
            raise UnknownNameError(
                f"'{module}' cannot be imported: {error}",
                where=f"{where}: imports",
                hint="Install it, or correct its name",
            ) from error


def _key_hint(key: object) -> str | None:
    if key in ("experiment", "config", "defaults"):
        return "Files do not include other files; choose groups with `groups: {backbone: demo}`"
    return None
