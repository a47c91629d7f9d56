from __future__ import annotations

from pathlib import Path

import pytest

from calm.data.encode import encode_shards
from calm.training.latents import latent_encoder
from tests.data.clips import make_shards
from tests.factory import tiny_vae


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """Shards that no test may change."""
    return make_shards(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def vae():
    """An untrained VAE: 16 kHz mono, 32 samples a latent."""
    return tiny_vae()


@pytest.fixture(scope="session")
def latent_shards(shards, vae, tmp_path_factory) -> Path:
    """The latents of ``shards``; no test may change them."""
    out = tmp_path_factory.mktemp("latents") / "shards"
    encode_shards(shards, out, encoder=latent_encoder(vae), batch_seconds=4.0)
    return out
