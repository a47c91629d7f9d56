"""The shipped model, and what is asked of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from calm.generation import AudioCALM
from calm.serving import Stream


@pytest.fixture(scope="session")
def mini() -> AudioCALM:
    return AudioCALM.from_pretrained("mini", device="cpu")


def heard(stream: Stream) -> Tensor:
    """All audio of a stream, [A, S]."""
    return torch.cat([piece.audio for piece in stream], dim=-1)
