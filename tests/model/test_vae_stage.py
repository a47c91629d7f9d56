"""The VAE stage: who is trained at which step, by which gradient."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from lightning import Callback, Trainer
from torch.utils.data import DataLoader, Dataset

from calm.errors import ConfigError
from calm.model.vae_stage import VAEStage
from calm.registry import build
from calm.types import Batch
from tests.factory import UNEVEN_VAE

VAE = UNEVEN_VAE | {"latent_dim": 4}
ADVERSARY = {"name": "stft_disc", "n_ffts": (256, 128), "width": 4, "num_layers": 2}
STAGE = {"name": "vae_stage", "learning_rate": 1e-3, "warmup_steps": 1, "loss_n_ffts": (256, 64)}
HOP = 80


def stage(*, adversary: dict | None = ADVERSARY, **options) -> VAEStage:
    torch.manual_seed(0)
    vae = build("vae", VAE)
    judge = build("adversary", adversary, channels=1) if adversary else None
    return build("model", STAGE | options, vae=vae, adversary=judge)


def batch(*, seed: int = 0, samples: int = 20 * HOP, tasks: tuple[int, ...] = (0, 2)) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    size = len(tasks)
    return Batch(
        audio=0.3 * torch.randn(size, 1, samples, generator=generator),
        num_samples=torch.full((size,), samples),
        complete=torch.ones(size, dtype=torch.bool),
        task=torch.tensor(tasks),
        text=torch.zeros(size, 0, dtype=torch.long),
        num_text=torch.zeros(size, dtype=torch.long),
        reference=torch.zeros(size, 1, 0),
        num_reference=torch.zeros(size, dtype=torch.long),
    )


class Batches(Dataset):
    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> Batch:
        return batch(seed=index)


class Watch(Callback):
    """Keeps, for every step, which parts moved, and the metrics."""

    def __init__(self) -> None:
        self.moved: list[set[str]] = []
        self.metrics: list[dict[str, float]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        torch.manual_seed(batch_idx + 1)
        self.before = {name: p.detach().clone() for name, p in pl_module.named_parameters()}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        moved = {name for name, p in pl_module.named_parameters() if not torch.equal(p, self.before[name])}
        self.moved.append({".".join(name.split(".")[:2]) if "vae" in name else "adversary" for name in moved})
        self.metrics.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def trainer(steps: int, *callbacks: Callback, **options) -> Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,
    )


def fit(root: VAEStage, steps: int, **options) -> tuple[Trainer, Watch]:
    watch = Watch()
    run = trainer(steps, watch)
    run.fit(root, DataLoader(Batches(), batch_size=None), **options)
    return run, watch


def test_the_generators_terms_leave_no_gradient_in_the_adversary():
    root = stage(adversarial_weight=1.0, feature_weight=1.0)
    audio = batch().audio
    fake = (0.1 * audio).requires_grad_()
    losses = root._contest(fake, audio, torch.zeros(()))
    (losses["adversarial"] + losses["features"]).backward()
    assert all(p.grad is None for p in root.adversary.parameters())
    assert fake.grad.abs().sum() > 0


def test_the_adversarys_loss_leaves_no_gradient_in_the_reconstruction():
    root = stage()
    audio = batch().audio
    fake = (0.1 * audio).requires_grad_()
    root._contest(fake, audio, torch.zeros(()))["discriminator"].backward()
    assert fake.grad is None
    assert all(p.grad is not None for p in root.adversary.parameters())


def test_each_phase_trains_its_own_parts():
    root = stage(adversary_start_step=2, freeze_encoder_step=4)
    run, watch = fit(root, 6)
    assert run.global_step == 6  # the adversary does not count as a second step
    generator = {"vae.encoder", "vae.decoder"}
    assert watch.moved == [generator, generator, *[generator | {"adversary"}] * 2, *[{"vae.decoder", "adversary"}] * 2]
    assert "train/discriminator" not in watch.metrics[1]
    assert {"train/loss", "train/mel", "train/discriminator", "train/features"} <= watch.metrics[2].keys()


def test_training_lowers_the_spectral_distance():
    root = stage(adversary=None, learning_rate=5e-3)
    data = batch()
    torch.manual_seed(0)
    before = root.eval().losses(data)["mel"].item()
    trainer(60).fit(root.train(), DataLoader([data], batch_size=None, sampler=[0] * 60))
    assert root.eval().losses(data)["mel"].item() < 0.7 * before


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    class Save(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 3:
                trainer.save_checkpoint(tmp_path / "last.ckpt")

    class Seeded(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            torch.manual_seed(trainer.global_step)

    def run(root: VAEStage, *callbacks: Callback, start: int = 0, **options) -> VAEStage:
        data = DataLoader(Batches(), batch_size=None, sampler=range(start, 100))
        trainer(6, Seeded(), *callbacks).fit(root, data, **options)
        return root

    whole = run(stage(adversary_start_step=2), Save())
    again = run(stage(adversary_start_step=2), start=3, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6, msg=name)


def test_validation_reports_the_distances_of_every_task_that_was_seen():
    root = stage(adversary=None)
    results = trainer(1).validate(root, DataLoader(Batches(), batch_size=None, sampler=[0, 1]), verbose=False)[0]
    assert {"val/loss", "val/mel/speech", "val/mel/music", "val/stft/speech"} <= results.keys()
    assert "val/mel/sound" not in results
    assert all(math.isfinite(value) for value in results.values())


@pytest.mark.parametrize("seconds", [None, 0.03, 10.0])
def test_crops_have_a_length_the_vae_accepts(seconds):
    root = stage(crop_seconds=seconds)
    audio = root.crop(batch(samples=20 * HOP - 7))
    root.vae.check(audio)
    expected = {None: 20, 0.03: 6, 10.0: 2000}[seconds]
    assert audio.shape[-1] == expected * HOP


def test_crops_are_random_in_training_and_fixed_in_validation():
    root = stage(crop_seconds=0.01)
    data = batch()
    torch.manual_seed(0)
    assert not torch.equal(root.train().crop(data), root.crop(data))
    assert torch.equal(root.eval().crop(data), root.crop(data))


def test_the_learning_rate_warms_up_then_decays_to_its_final_share():
    root = stage(warmup_steps=10, final_rate=0.1, adversary_start_step=20)
    rates = [root.factor("vae.decoder", step, num_steps=100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) == pytest.approx(rates[9], rel=0.05)
    assert rates[100] == pytest.approx(0.1)
    assert root.factor("adversary", 19, num_steps=100) == 0
    assert root.factor("adversary", 20, num_steps=100) > 0


def test_a_frozen_vae_cannot_be_trained():
    vae = build("vae", {"name": "encodec", "weights": "random"})
    with pytest.raises(ConfigError, match="nothing to train"):
        build("model", STAGE, vae=vae, adversary=None)


def test_a_stage_on_whole_clips_starts_from_batches_of_any_length():
    root = stage(adversary=None, crop_seconds=None)
    root.start_from([batch(samples=20 * HOP), batch(seed=1, samples=33 * HOP - 5)])
    assert all(parameter.isfinite().all() for parameter in root.parameters())
