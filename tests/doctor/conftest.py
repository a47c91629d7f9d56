from __future__ import annotations

from pathlib import Path

import pytest

from calm.config import load_config
from calm.doctor.case import Case
from tests.data.clips import make_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """Shards of tones of all tasks at 8 kHz, mono; no test may change them."""
    return make_shards(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="session")
def held_out(tmp_path_factory) -> Path:
    """Other shards like them."""
    return make_shards(tmp_path_factory.mktemp("held_out"))


@pytest.fixture
def words(shards, held_out, tmp_path) -> list[str]:
    """A run that nothing is wrong with: a tiny generator on the shipped VAE."""
    folders = [f"data.train={shards}", f"data.validation={held_out}", f"run_dir={tmp_path / 'run'}"]
    return ["experiment=tiny", "vae=mini", "vae_ckpt_path=mini_vae", "curriculum=from_start", *folders]


@pytest.fixture
def light(words) -> list[str]:
    """The same run on an untrained VAE, which is an error, and quick."""
    return [*words, "vae=tiny", "vae_ckpt_path=null"]


@pytest.fixture
def case(words):
    """Further words -> the case of that run."""
    return lambda *more: Case(load_config([*words, *more]))
