"""Training a generator from latent shards: statistics, a whole run, and what is refused."""

from __future__ import annotations

import itertools

import pytest
import torch

from calm.config import load_config
from calm.data.datamodule import CalmDataModule
from calm.errors import DataError
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained
from calm.model.trained_vae import load_vae, vae_hash
from calm.training.fit import fit
from calm.training.history import read_history
from calm.training.latents import encode_with
from calm.vae.statistics import measure_statistics
from tests.data.clips import make_shards

STAGE = ["model=vae_stage", "vae=tiny", "adversary=none"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Audio shards, an untrained VAE without statistics, another one, and the latents of the first."""
    folder = tmp_path_factory.mktemp("training")
    make_shards(folder)
    for seed, name in enumerate(("vae", "other")):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            config = load_config(STAGE)
            save_pretrained(folder / name, model=build_model(config), config=config)
    encode_with(folder / "vae", folder / "shards", folder / "latents")
    return folder


def config(folder, name, *overrides, data="latents", vae="vae"):
    return load_config(
        [
            "experiment=tiny",
            f"name={name}",
            f"run_dir={folder / name}",
            f"vae_ckpt_path={folder / vae}",
            f"data.train={folder / data}",
            f"data.validation={folder / data}",
            "trainer.log_every_steps=1",
            "trainer.max_steps=2",
            "trainer.val_every_steps=2",
            "trainer.sample_seconds=0.5",
            "sampler.num_steps=2",
            *overrides,
        ]
    )


def test_a_run_on_latents_is_the_run_on_their_audio(folder):
    """To float16: from the statistics at its start to the losses, and with speech that is cut to whole latents."""
    runs = {data: fit(config(folder, f"on-{data}", data=data), progress=False) for data in ("shards", "latents")}
    history = {
        data: {name: value for step, _, name, value in read_history(run.run_dir / "history.csv") if step == 1}
        for data, run in runs.items()
    }
    assert history["latents"]["train/loss"] == pytest.approx(history["shards"]["train/loss"], rel=0.02)
    vaes = {data: load_vae(run.export) for data, run in runs.items()}
    assert vaes["latents"].has_statistics
    torch.testing.assert_close(vaes["latents"].latent_std, vaes["shards"].latent_std, rtol=0.05, atol=0.01)
    assert vae_hash(vaes["latents"]) == vae_hash(load_vae(folder / "vae"))
    assert {path.name for path in (runs["latents"].run_dir / "samples").iterdir()} == {"step-00000002"}


def test_statistics_of_latents_are_those_of_the_same_frames(folder):
    vae = load_vae(folder / "vae")
    data = CalmDataModule(
        config(folder, "statistics").data,
        sample_rate=vae.sample_rate,
        channels=1,
        hop=vae.hop,
        vae_hash=vae_hash(vae),
    )
    batches = list(itertools.islice(data.train_dataloader(), 3))
    measure_statistics(vae, batches)
    kept = torch.cat(
        [
            row[: -(-int(size) // vae.hop)]
            for batch in batches
            for row, size in zip(batch.latents, batch.num_samples, strict=True)
        ]
    )
    assert int(vae.statistics_frames) == len(kept)
    torch.testing.assert_close(vae.latent_mean, kept.mean(0))
    spread = kept.std(0, correction=0)
    torch.testing.assert_close(vae.latent_std, spread.clamp_min(0.1 * spread.median()))


def test_latents_of_another_vae_are_refused_before_a_run_folder_exists(folder):
    with pytest.raises(DataError, match=r"latents of VAE \w{12}, but the model's VAE is \w{12}") as caught:
        fit(config(folder, "refused", vae="other"), progress=False)
    assert "calm shards encode" in caught.value.hint and not (folder / "refused").exists()


def test_held_out_latents_of_another_vae_are_refused_before_the_first_step(folder):
    encode_with(folder / "other", folder / "shards", folder / "other-latents")
    with pytest.raises(DataError, match="latents of VAE"):
        fit(config(folder, "held-out", f"data.validation={folder / 'other-latents'}"), progress=False)
    history = folder / "held-out" / "history.csv"
    assert not history.exists() or not read_history(history)


def test_a_vae_is_not_trained_on_latents(folder):
    parts = ("backbone=none", "head=none", "expert=none", "adversary=none", "model=vae_stage")
    with pytest.raises(DataError, match="trains on waveforms"):
        fit(config(folder, "stage", *parts), progress=False)
