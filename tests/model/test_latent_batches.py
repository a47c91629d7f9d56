"""A generator trains on latents as it trains on their audio."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch.nn import functional as F

from calm.data.config import DataConfig
from calm.data.datamodule import CalmDataModule
from calm.data.encode import encode_shards
from calm.model.flow import target_latents
from calm.model.trained_vae import vae_hash
from calm.training.latents import latent_encoder
from tests.data.clips import make_shards
from tests.factory import tiny_generator


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Audio shards and their latents."""
    folder = tmp_path_factory.mktemp("latents")
    shards = make_shards(folder)
    encode_shards(shards, folder / "latents", encoder=latent_encoder(tiny_generator().vae))
    return shards, folder / "latents"


def batches(root, shards, count, *, speech=False, **config):
    data = CalmDataModule(
        DataConfig(train=str(shards), batch_size=3, num_workers=0, **config),
        sample_rate=root.vae.sample_rate,
        channels=1,
        hop=root.vae.hop,
        tokenizer=root.tokenizer,
        vae_hash=vae_hash(root.vae),
        weights_at=lambda step: {"speech": int(speech), "sound": 1, "music": 1},
    )
    return list(itertools.islice(data.train_dataloader(), count))


def measured(root):
    """The root with latent statistics that are not the trivial ones."""
    root.vae.latent_mean.copy_(torch.tensor([0.3, -0.2, 0.1, 0.5]))
    root.vae.latent_std.copy_(torch.tensor([0.7, 1.4, 0.4, 2.0]))
    return root.train()


@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
def test_latents_give_the_loss_and_gradients_of_their_audio_up_to_float16(folders, model):
    root = measured(tiny_generator(model, block_sizes=(4, 7, 16)))
    whole = {"max_seconds": 0.7, "reference_probability": 0.0}
    for audio, latents in zip(*(batches(root, folder, 4, **whole) for folder in folders), strict=True):
        # Silence beyond the encoder's reach, as latents have it: see the next test for a batch as it is.
        audio = dataclasses.replace(audio, audio=F.pad(audio.audio, (0, 32 * root.vae.hop)))
        results = []
        for batch in (audio, latents):
            losses = root.losses(batch, generator=torch.Generator().manual_seed(batch.step))
            root.zero_grad()
            losses["loss"].backward()
            grads = torch.cat([p.grad.flatten() for p in root.parameters() if p.grad is not None])
            results.append((losses["loss"].detach(), grads))
        (loss, grads), (other_loss, other_grads) = results
        torch.testing.assert_close(loss, other_loss, rtol=1e-3, atol=0)
        assert (grads - other_grads).norm() < 5e-3 * grads.norm()


def test_batches_as_they_are_differ_only_where_the_padding_of_the_audio_ends(folders):
    root = measured(tiny_generator(block_sizes=(4,)))
    whole = {"max_seconds": 0.7, "reference_probability": 0.0}
    for audio, latents in zip(*(batches(root, folder, 4, **whole) for folder in folders), strict=True):
        first, second = (target_latents(root.vae, batch, block_size=4) for batch in (audio, latents))
        for row, frames in enumerate(-(-audio.num_samples // root.vae.hop)):
            end = min(int(frames) + 3, audio.audio.shape[-1] // root.vae.hop - 8)
            torch.testing.assert_close(first[row, :end], second[row, :end], rtol=2e-3, atol=2e-3)


def test_references_are_latents_of_the_prompt(folders):
    root = measured(tiny_generator())
    drawn = batches(root, folders[1], 8, speech=True, reference_probability=1.0)
    given = [batch for batch in drawn if batch.reference_latents.shape[1]]
    assert given
    for batch in given:
        prompt = root.prompt_of(batch)
        assert torch.equal(prompt.num_reference, batch.num_reference // root.vae.hop)
        torch.testing.assert_close(root.vae.denormalize(prompt.reference), batch.reference_latents)


@pytest.mark.parametrize("block_size", range(1, 17))
def test_every_block_size_finds_the_frames_of_its_last_block(folders, block_size):
    root = tiny_generator(block_sizes=(block_size,))
    (batch,) = batches(root, folders[1], 1, max_seconds=0.3)
    terms = root.flow_terms(batch, torch.Generator().manual_seed(0))
    frames = -(-batch.num_samples // root.vae.hop)
    assert torch.equal(terms.valid.sum(-1), -(-frames // block_size) * block_size)


def test_validation_errors_are_those_of_the_audio(folders):
    root = measured(tiny_generator(block_sizes=(4,))).eval()
    whole = {"max_seconds": 0.7, "reference_probability": 0.0}
    audio, latents = (batches(root, folder, 1, **whole)[0] for folder in folders)
    audio = dataclasses.replace(audio, audio=F.pad(audio.audio, (0, 32 * root.vae.hop)))
    (sums, counts), (other_sums, other_counts) = (
        root.errors_by_noise(batch, num_bins=4, generator=torch.Generator().manual_seed(0)) for batch in (audio, latents)
    )
    assert torch.equal(counts, other_counts)
    torch.testing.assert_close(sums, other_sums, rtol=2e-3, atol=1e-3)
