"""What the systems that run here share: the device, loading with a clear error, seeds, arrays as waveforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from calm._torchaudio import install
from calm.errors import ConfigError
from calm.types import Waveform

__all__ = ["Precision", "cut", "load", "pick_device", "seeded"]

Precision = Literal["float32", "float16", "bfloat16"]
T = TypeVar("T")


def pick_device(name: str) -> torch.device:
    """``auto`` is a CUDA device where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def load(loader: Callable[[], T], *, weights: str, package: str, also: str = "") -> T:
    """Call a loader of the hub. Raises ConfigError that says what is missing, package or weights."""
    # Both packages import torchaudio, whose native library need not load.
    install()
    try:
        # Modules draw initial weights before they are loaded.
        with torch.random.fork_rng(devices=[]):
            return loader()
    except ImportError as error:
        raise ConfigError(
            f"The package {package} is missing or incomplete ({error})",
            where=weights,
            hint=f"pip install {package} {also}".strip(),
        ) from error
    except Exception as error:  # hub clients and loaders raise errors of every kind
        raise ConfigError(
            f"The weights cannot be loaded ({type(error).__name__}: {str(error)[:500]})",
            where=weights,
            allowed="a repository of the hub that you may read, or a folder with its files",
            hint="download it where there is a network (some need an accepted licence), and give the folder as `weights`",
        ) from error


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators inside the block and put their states back: for samplers that take no generator."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def cut(samples: Any, *, sample_rate: int, seconds: float | None) -> Waveform:
    """A pipeline's array or tensor [S] or [A, S] as a waveform of at most ``seconds``."""
    audio: Tensor = torch.as_tensor(np.asarray(samples)) if not isinstance(samples, Tensor) else samples
    audio = torch.atleast_2d(audio.detach().float().cpu())
    length = audio.shape[-1] if seconds is None else round(seconds * sample_rate)
    return Waveform(audio=audio[:, :length], sample_rate=sample_rate)
