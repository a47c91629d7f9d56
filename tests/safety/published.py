"""Files as users get them, for the tests that look at them afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from calm.audio import Provenance
from calm.safety import ProvenanceSettings, publish, stamp
from calm.safety.settings import HOME
from calm.types import Waveform

PROMPT = "a secret prompt that nobody may read"
#: without a watermark, whatever marks are registered: it is tested with its own package
UNMARKED = ProvenanceSettings(parts=("sidecar", "c2pa"))


def clip(seconds: float = 0.5, *, seed: int = 0) -> Waveform:
    noise = torch.rand(1, int(16000 * seconds), generator=torch.Generator().manual_seed(seed)) - 0.5
    return Waveform(audio=(noise * 32768).round() / 32768, sample_rate=16000)


def record(**changes: object) -> Provenance:
    options = {"model": "mini", "task": "sound", "seed": 3, "prompt": PROMPT, "model_sha256": "ab" * 32, **changes}
    return stamp(**options)  # type: ignore[arg-type]


def published(path: Path, waveform: Waveform | None = None, **changes: object) -> Path:
    return publish(path, waveform or clip(), provenance=record(**changes), settings=UNMARKED).path


@contextmanager
def home_of(folder: Path) -> Iterator[Path]:
    """Another person's keys and settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME, str(folder))
        yield folder
