"""A trained classifier of corpora: from the cache, or trained now."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from calm.evaluation.classifier import Classifier, ClassifierConfig
from calm.evaluation.study import stamp_of

__all__ = ["classifier_path", "trained_classifier"]


def trained_classifier(
    *corpora: Path, cache: Path, advance: Callable[[int, int], None] = lambda finished, total: None
) -> Classifier:
    """The classifier that hears these corpora's training splits; ``advance`` is told the finished steps of all."""
    config, path = ClassifierConfig(), classifier_path(*corpora, cache=cache)
    if not path.is_file():
        show = lambda share: advance(round(config.steps * share), config.steps)  # noqa: E731
        Classifier.train(*corpora, config=config, progress=show).save(path)
    return Classifier.load(path)


def classifier_path(*corpora: Path, cache: Path) -> Path:
    """Where it lies: other corpora, or another training, are another file."""
    depends = f"{[stamp_of(corpus / 'train') for corpus in corpora]} {ClassifierConfig()}"
    return cache / f"classifier-{hashlib.sha256(depends.encode()).hexdigest()[:16]}.safetensors"
