"""One model and one server for all tests that need nothing special of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from calm.generation import AudioCALM
from tests.serving.http_lab import Lab, serving


@pytest.fixture(scope="session")
def mini() -> AudioCALM:
    return AudioCALM.from_pretrained("mini", device="cpu")


@pytest.fixture(scope="session")
def lab(mini: AudioCALM, _a_home_of_its_own: Path) -> Iterator[Lab]:
    with serving(mini) as running:
        yield running
