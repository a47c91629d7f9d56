"""A `RunConfig` as text: for the eye with origins, for the disk as a config that loads again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from calm.config.schema import RunConfig

__all__ = ["save_config", "show", "to_yaml"]


def to_yaml(config: RunConfig) -> str:
    """The whole configuration as YAML. Values from the environment stay ``${oc.env:VAR}``."""
    return yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True, width=110)


def show(config: RunConfig) -> str:
    """The same YAML, one key a line, with each key's origin as a comment."""
    lines = list(_lines(config.to_dict(), config.origins, path="", indent=""))
    width = min(max(len(text) for text, _ in lines), 64)
    return "".join(f"{text:<{width}}  # {origin}\n" if origin else f"{text}\n" for text, origin in lines)


def save_config(config: RunConfig, path: str | Path) -> Path:
    """Write ``config`` to ``path``, whole or not at all."""
    from calm.audio import write_bytes  # imports torch, which reading a configuration does without

    text = f"# Written by calm. Run it again with: calm train config=THIS_FILE\n{to_yaml(config)}"
    return write_bytes(path, text.encode())


def _lines(values: Mapping[str, Any], origins: Mapping[str, str], *, path: str, indent: str) -> Any:
    for key, value in values.items():
        full = f"{path}.{key}" if path else key
        if isinstance(value, Mapping) and value:
            yield f"{indent}{key}:", ""
            yield from _lines(value, origins, path=full, indent=f"{indent}  ")
        else:
            text = yaml.safe_dump(
                {key: value}, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
            )
            yield f"{indent}{text.strip()[1:-1]}", origins.get(full, "default")
