"""Gradient accumulation: every frame counts the same, however unevenly batches and ranks hold them."""

from __future__ import annotations

import dataclasses

import torch
from lightning.pytorch.callbacks import Callback

from calm.training.config import OptimConfig
from calm.training.fit import train
from calm.training.steps import seed_of
from tests.factory import tiny_batch, tiny_generator
from tests.training.toy import FollowData, ToyData, toy_config

#: batches of one window: short and long, one of crops that do not teach stopping
FRAMES, COMPLETE = (4, 16, 8), (True, True, False)


def batch_of(step):
    place = step % 3
    batch = tiny_batch([0, 1], frames=FRAMES[place], seed=step)
    return dataclasses.replace(batch, complete=torch.full((2,), COMPLETE[place]), step=step)


class Gradients(Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        # Not copies: callbacks after this one correct the gradients in place.
        self.seen = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}


def root():
    generator = tiny_generator(expert="none").train()
    channels = generator.vae.latent_dim
    generator.vae.set_statistics(torch.zeros(channels).double(), torch.full((channels,), 100.0).double(), 100)
    return generator


def expected(model, seed):
    """Gradient of sum over all batches / count over all batches, of both losses."""
    sums = dict.fromkeys(("error", "valid", "stop", "stop_valid"), 0)
    with torch.random.fork_rng():
        for index in range(3):
            torch.manual_seed(seed_of(seed, index, 0))
            terms = model.flow_terms(batch_of(index), None)
            sums["error"] += (terms.error * terms.valid[:, None]).sum()
            sums["valid"] += terms.valid.sum()
            sums["stop"] += (terms.stop * terms.stop_valid).sum()
            sums["stop_valid"] += terms.stop_valid.sum()
    (sums["error"] / sums["valid"] + model.config.stop_weight * sums["stop"] / sums["stop_valid"]).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_the_gradient_of_a_window_is_that_of_the_mean_over_all_its_frames(tmp_path):
    gradients = Gradients()
    config = toy_config(tmp_path, max_steps=1, grad_accum_steps=3)
    config = dataclasses.replace(config, optim=OptimConfig(max_grad_norm=1e9))
    train(root(), ToyData(batch_of), config=config, progress=False, callbacks=[FollowData(), gradients])
    wanted = expected(root(), config.seed)
    assert gradients.seen.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients.seen[name], gradient, rtol=1e-4, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}")
