"""Metrics, benchmarks and baselines by name, with ``name.option=value`` words as `calm train` takes them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calm import registry
from calm.config import read_component, read_words
from calm.errors import ConfigError
from calm.evaluation.language import write_language_model
from calm.evaluation.manifest import Manifest
from calm.evaluation.processes import place
from calm.metrics import ClipMetric
from calm.types import Task

__all__ = ["GRAMMAR", "choose_metrics", "component", "split_words"]

#: a benchmark whose protocol says ``"language_model": GRAMMAR`` is recognised with the model of its own list
GRAMMAR = "corpus grammar"


def split_words(words: Sequence[str], *, allowed: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``name.option=value`` words into options by name. Raises ConfigError for other names."""
    values = read_words(words)
    for name, options in values.items():
        if name not in allowed or not isinstance(options, Mapping):
            raise ConfigError(
                f"'{name}' takes no options here", where="command line", allowed=[f"{each}.OPTION=VALUE" for each in allowed]
            )
    return {name: dict(options) for name, options in values.items()}


def component(kind: str, name: str, options: Mapping[str, Any] | None = None, **runtime: Any) -> Any:
    """Build a registered component; of ``runtime`` it gets what its constructor knows."""
    config = read_component(kind, name, options or {})
    known = inspect.signature(registry.lookup(kind, name).__init__).parameters
    return registry.lookup(kind, name)(config, **{key: value for key, value in runtime.items() if key in known})


def choose_metrics(
    chosen: Sequence[str], options: Mapping[str, Mapping[str, Any]], manifest: Manifest, *, device: str, folder: Path
) -> dict[str, ClipMetric]:
    """Build the metrics. ``folder``: where the language model of a benchmark's own list is written."""
    language = None
    if manifest.protocol.get("language_model") == GRAMMAR and "wer" in chosen:
        texts = [entry.item.text for entry in manifest.items if entry.item.task is Task.SPEECH]
        own = folder / f"process-{place()[0]}"
        own.mkdir(parents=True, exist_ok=True)
        language = write_language_model(texts, folder=own) if texts else None
    return {
        name: component("metric", name, options.get(name), device=device, language=language) for name in dict.fromkeys(chosen)
    }
