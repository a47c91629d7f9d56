"""`calm shards encode`, as the shell sees it."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from calm.cli import app
from calm.config import load_config
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained
from tests.data.clips import make_shards


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``shards`` and an untrained ``vae``."""
    folder = tmp_path_factory.mktemp("encode")
    make_shards(folder)
    config = load_config(["model=vae_stage", "vae=tiny", "adversary=none"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_pretrained(folder / "vae", model=build_model(config), config=config)
    return folder


def calm(*words):
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="calm")


def test_shards_are_encoded_kept_and_checked(folder, tmp_path):
    words = ["shards", "encode", folder / "shards", tmp_path / "latents", "--vae", folder / "vae", "--batch-seconds", "3"]
    first = calm(*words)
    assert first.exit_code == 0, first.output
    assert "16 clips" in first.stdout and "in 3 shards" in first.stdout and "data.train=" in first.stdout
    again = calm(*words)
    assert again.exit_code == 0 and "0 clips" in again.stdout and "3 kept from before" in again.stdout
    checked = calm("shards", "check", tmp_path / "latents")
    assert checked.exit_code == 0 and "no problems" in checked.stdout and "latents of VAE" in checked.stdout


def test_processes_of_torchrun_share_the_shards(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        result = calm("shards", "encode", folder / "shards", tmp_path / "latents", "--vae", folder / "vae")
        assert result.exit_code == 0 and "in 1 shards" in result.stdout
    assert len(list((tmp_path / "latents").glob("*.tar"))) == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--vae", "nowhere"], "config.yaml"),
        ([], "--vae"),
        (["--vae", "VAE", "--device", "cuda:99"], "cuda:99"),
        (["--vae", "VAE", "--batch-seconds", "0"], "batch_seconds"),
    ],
)
def test_bad_words_are_one_message_and_write_nothing(folder, tmp_path, words, expected):
    words = [folder / "vae" if word == "VAE" else word for word in words]
    result = calm("shards", "encode", folder / "shards", tmp_path / "latents", *words)
    assert result.exit_code == 2 and expected in result.stderr and "Traceback" not in result.output
    assert not (tmp_path / "latents").exists()
