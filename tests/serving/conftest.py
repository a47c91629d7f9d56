"""The shipped model, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from calm.generation import AudioCALM
from calm.serving import Stream
from tests.serving.http_lab import Lab, serving


@pytest.fixture(scope="session")
def mini() -> AudioCALM:
    return AudioCALM.from_pretrained("mini", device="cpu")


def heard(stream: Stream) -> Tensor:
    """All audio of a stream, [A, S]."""
    return torch.cat([piece.audio for piece in stream], dim=-1)


@pytest.fixture(scope="session")
def lab(mini: AudioCALM, _a_home_of_its_own: Path) -> Iterator[Lab]:
    """A server for all tests that need nothing special of it."""
    with serving(mini) as running:
        yield running
