"""The models that come with the project: small, complete, described, and audible from the first line."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

from calm import audio
from calm.generation import AudioCALM
from calm.model.shipped import SHIPPED, shipped_models
from tests.architecture.sources import ROOT

MODELS = shipped_models()
MEGABYTE = 10**6
MAX_FILE, MAX_TOTAL, MAX_PARAMETERS = 60 * MEGABYTE, 150 * MEGABYTE, 28_000_000

pytestmark = pytest.mark.skipif("mini" not in MODELS, reason="no model is shipped yet: calm/models/mini is absent")


def test_files_are_within_their_limits():
    files = [file for file in SHIPPED.rglob("*") if file.is_file()]
    assert max(file.stat().st_size for file in files) <= MAX_FILE
    assert sum(file.stat().st_size for file in files) < MAX_TOTAL


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_weights_configuration_and_a_card_without_gaps(name):
    assert {"model.safetensors", "config.yaml", "README.md"} <= {file.name for file in MODELS[name].iterdir()}
    card = (MODELS[name] / "README.md").read_text()
    assert card.startswith(f"# {name}\n")
    for heading in ("Intended use", "Limits"):
        assert f"## {heading}" in card
    assert re.search(r"\| training \| [\d,]+ steps", card)


@pytest.mark.parametrize("name", MODELS)
def test_matrices_are_stored_in_16_bits(name):
    with safe_open(MODELS[name] / "model.safetensors", framework="pt") as file:
        tensors = [file.get_tensor(key) for key in file.keys()]  # noqa: SIM118
    wide = sum(t.numel() for t in tensors if t.dtype == torch.float32)
    assert wide < 0.02 * sum(t.numel() for t in tensors)


def test_the_vae_is_shipped_once():
    holders = []
    for name, folder in MODELS.items():
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            holders += [name] * any(key.startswith("vae.") for key in file.keys())  # noqa: SIM118
    assert len(holders) == 1


def test_mini_has_at_most_28_million_parameters():
    model = AudioCALM.from_pretrained("mini", device="cpu").model
    assert sum(parameter.numel() for parameter in model.parameters()) <= MAX_PARAMETERS


def test_the_first_line_after_installation_writes_audio(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-m", "calm", "generate", "Good morning.", "--device", "cpu", "-o", "first.wav"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    clip = audio.read(tmp_path / "first.wav")
    assert 0.3 < clip.seconds < 5 and clip.audio.std() > 1e-3
    assert audio.read_provenance(tmp_path / "first.wav").task == "speech"
