"""Plain values <-> frozen dataclass records, with every value checked against its type.

Keys are checked here, so that a message can name file, key and the closest allowed name; each single
value is converted by OmegaConf's structured configs.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from calm.errors import CalmError, ConfigError, did_you_mean

__all__ = ["Reader", "default_values", "to_plain"]

REQUIRED = "???"


def default_values(schema: type) -> dict[str, Any]:
    """Return the defaults of a dataclass as plain values; ``???`` stands for a required key."""
    values: dict[str, Any] = {}
    for item in dataclasses.fields(schema):
        if item.default is not dataclasses.MISSING:
            values[item.name] = to_plain(item.default)
        elif item.default_factory is not dataclasses.MISSING:
            values[item.name] = to_plain(item.default_factory())
        else:
            values[item.name] = REQUIRED
    return values


def to_plain(value: Any, *, path: str = "", interpolations: Mapping[str, tuple[Any, Any]] | None = None) -> Any:
    """Turn records into mappings, tuples into lists and paths into text.

    ``interpolations`` puts the text ``${oc.env:VAR}`` back in place of the value that it gave.
    """
    text, resolved = (interpolations or {}).get(path, (None, None))
    if text is not None and resolved == value:
        return text
    if dataclasses.is_dataclass(value):
        value = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v, path=f"{path}.{k}", interpolations=interpolations) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v, path=f"{path}[{i}]", interpolations=interpolations) for i, v in enumerate(value)]
    if isinstance(value, enum.Enum):
        return value.name
    return str(value) if isinstance(value, PurePath) else value


class Reader:
    """Builds records from plain values.

    Args:
        origin_of: dotted key -> the file or "command line" that its value comes from, for messages.
        environment: "keep" leaves ``${oc.env:VAR}`` in texts and paths as it is written: what lies in the environment
            does not reach a model's name, say, because a downloaded file asks for it. Numbers and choices are read.

    ``interpolations`` collects what was read from the environment, see `RunConfig`.
    """

    def __init__(self, origin_of: Callable[[str], str], *, environment: Literal["read", "keep"] = "read") -> None:
        self._origin_of, self._environment = origin_of, environment
        self.interpolations: dict[str, tuple[Any, Any]] = {}

    def record(self, schema: type, values: Any, *, path: str) -> Any:
        """Return ``schema(**values)``. Raises ConfigError for unknown, missing and ill-typed keys."""
        hints = _type_hints(schema)
        fields = [item.name for item in dataclasses.fields(schema)]
        self._check_keys(values, fields, path=path)
        values = {**default_values(schema), **values}
        given = {key: self.value(hints[key], values[key], path=f"{path}.{key}") for key in fields}
        try:
            return schema(**given)
        except CalmError as error:
            # The record's own check knows what is wrong; the reader knows where it was written.
            key = path if error.where is None else error.where
            raise type(error)(
                error.what, where=f"{self._origin_of(str(key))}: {key}", allowed=error.allowed, hint=error.hint
            ) from error
        except ValueError as error:
            raise ConfigError(str(error), where=self._where(path)) from error

    def value(self, hint: Any, value: Any, *, path: str) -> Any:
        """Convert one value to the type ``hint``; descends into records, also within lists and mappings."""
        hint, optional = _without_none(hint)
        if value is None and optional:
            return None
        if value == REQUIRED:
            raise ConfigError(
                f"'{path}' is required and has no value",
                where=self._where(path),
                hint=f"Set {path}=..., or give it in a file",
            )
        kind, arguments = typing.get_origin(hint), typing.get_args(hint)
        if dataclasses.is_dataclass(hint):
            return self.record(hint, value, path=path)
        if kind in (list, tuple, Sequence) and arguments and dataclasses.is_dataclass(arguments[0]):
            if not isinstance(value, list):
                raise self._wrong_type(hint, value, path=path)
            items = [self.record(arguments[0], item, path=f"{path}[{i}]") for i, item in enumerate(value)]
            return items if kind is list else tuple(items)
        if kind in (dict, Mapping) and isinstance(value, Mapping):
            return {str(key): self.value(arguments[1], item, path=f"{path}.{key}") for key, item in value.items()}
        return self._leaf(hint, value, path=path)

    def _leaf(self, hint: Any, value: Any, *, path: str) -> Any:
        if _is_of_type(value, hint):
            return typing.get_origin(hint)(value) if isinstance(value, list) else value
        if self._environment == "keep" and "${" in str(value) and _takes_any_text(hint):
            return Path(value) if hint is Path else value
        try:
            node = OmegaConf.structured(_holder(hint)(value))
            result = OmegaConf.to_container(node, resolve=True)["value"]
        except InterpolationResolutionError as error:
            if "Environment variable" not in str(error):
                # It is set, and of another type. OmegaConf's words would show what may be a secret.
                raise self._wrong_type(hint, value, path=path) from None
            raise ConfigError(
                f"'{path}' cannot be read from the environment: {_first_line(error)}",
                where=self._where(path),
                hint="Set the variable, or write ${oc.env:VAR,default}",
            ) from None
        except OmegaConfBaseException as error:
            raise self._wrong_type(hint, value, path=path) from error
        if "${" in str(value):
            self.interpolations[path] = (value, result)
        return result

    def _check_keys(self, values: Any, fields: list[str], *, path: str) -> None:
        if not isinstance(values, Mapping):
            raise ConfigError(f"'{path}' is {values!r}, not a mapping of keys", where=self._where(path), allowed=fields)
        for key in values:
            if key not in fields:
                raise ConfigError(
                    f"Unknown key '{path}.{key}'. {did_you_mean(key, fields) or ''}".strip(),
                    where=self._where(f"{path}.{key}"),
                    allowed=fields,
                )

    def _wrong_type(self, hint: Any, value: Any, *, path: str) -> ConfigError:
        options = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
        guess = did_you_mean(str(value), map(str, options)) or ""
        return ConfigError(
            f"'{path}' cannot be {value!r}. {guess}".strip(),
            where=self._where(path),
            allowed=options or _type_name(hint),
        )

    def _where(self, path: str) -> str:
        return f"{self._origin_of(path)}: {path}"


def _is_of_type(value: Any, hint: Any) -> bool:
    """Whether ``value`` is of type ``hint`` but for list or tuple. Most values are, and OmegaConf takes long to see it."""
    if isinstance(value, str) and "${" in value:
        return False
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind is Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if isinstance(value, list) and (kind is list or (kind is tuple and arguments[1:] == (...,))):
        return all(_is_of_type(item, arguments[0]) and not isinstance(item, list) for item in value)
    return hint in (bool, int, float, str) and type(value) is hint


def _takes_any_text(hint: Any) -> bool:
    return hint in (str, Path, Any) or str in typing.get_args(hint)


_type_hints = functools.cache(typing.get_type_hints)


@functools.cache
def _holder(hint: Any) -> type:
    """A dataclass of one field, by which OmegaConf converts a value to ``hint``."""
    return dataclasses.make_dataclass("Leaf", [("value", hint)])


def _without_none(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, hint is Any
    rest = [option for option in typing.get_args(hint) if option is not type(None)]
    optional = len(rest) < len(typing.get_args(hint))
    return (rest[0] if len(rest) == 1 else typing.Union[tuple(rest)]), optional  # noqa: UP007 (built from a list)


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0].split(": ", 1)[-1].strip("\"'")
