"""Root of the first stage: trains a VAE, first on reconstruction, then also against an adversary (METHOD 4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import functional_call

from calm.errors import ConfigError
from calm.part import Part
from calm.registry import register
from calm.types import TASKS, Batch
from calm.vae.adversary import Adversary
from calm.vae.base import VAE
from calm.vae.losses import SpectralLoss, adversarial_loss, discriminator_loss, feature_matching_loss

__all__ = ["VAEStage"]


@register("model", "vae_stage")
class VAEStage(Part):
    """VAE training: spectral and mel losses, KL, an adversary after a warm-up, a decoder-only last phase.

    Generator and adversary are updated together from one backward pass: the reconstruction is judged once
    by the adversary with its parameters detached (a gradient for the VAE only) and once as a detached
    signal (a gradient for the adversary only). So there is one optimizer, ``global_step`` counts steps and
    nothing else, and resume, accumulation, mixed precision and DDP are Lightning's own.

    What is trained at which step is a pure function of the step (``factor``), applied to the learning
    rates; a network that is at rest has the rate 0.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Rates, weights and phases.

        decay_steps: steps to the end of the cosine decay; None takes the trainer's ``max_steps``.
        final_rate: learning rate at the end, as a share of the first.
        encoder_rate: learning rate of the encoder, as a share of ``learning_rate``. A slow encoder gives the
            decoder a target that holds still: much better after minutes of training.
        crop_seconds: length of the random crop that each clip is trained on; None takes clips whole.
        adversary_start_step: from here on the adversary is trained and listened to.
        freeze_encoder_step: from here on only the decoder is trained, on posterior means with noise of
            ``latent_noise`` times their spread; None never.
        """

        name: Literal["vae_stage"] = "vae_stage"
        learning_rate: float = 1.5e-4
        adversary_learning_rate: float = 3e-4
        beta_first: float = 0.8
        beta_second: float = 0.99
        weight_decay: float = 0.01
        gradient_clip: float = 1.0
        warmup_steps: int = 200
        decay_steps: int | None = None
        final_rate: float = 0.05
        encoder_rate: float = 1.0
        crop_seconds: float | None = None
        loss_n_ffts: tuple[int, ...] = (2048, 1024, 512, 256, 128)
        stft_weight: float = 1.0
        mel_weight: float = 1.0
        kl_weight: float = 1e-4
        adversarial_weight: float = 0.1
        feature_weight: float = 5.0
        adversary_start_step: int = 0
        freeze_encoder_step: int | None = None
        latent_noise: float = 0.05

        def __post_init__(self) -> None:
            object.__setattr__(self, "loss_n_ffts", tuple(self.loss_n_ffts))

    def __init__(self, config: Config, *, vae: VAE, adversary: Adversary | None = None) -> None:
        super().__init__()
        if not any(p.requires_grad for p in vae.parameters()):
            raise ConfigError(
                f"{type(vae).__name__} is frozen: there is nothing to train",
                where="vae.name",
                hint="give the generator this VAE directly, or choose vae=mini",
            )
        self.config = config
        self.vae, self.adversary = vae, adversary
        self.spectral = SpectralLoss(sample_rate=vae.sample_rate, n_ffts=config.loss_n_ffts)
        self.register_buffer("_task_sums", torch.zeros(len(TASKS), 3), persistent=False)

    def start_from(self, batches: Iterable[Batch]) -> None:
        """Let the VAE fit what it starts from to crops of ``batches``, where it has such a start."""
        if hasattr(self.vae, "start_from"):
            crops = [self.crop(batch) for batch in batches]
            # Whole clips differ in length. They are cut, not padded: silence would be taken for what the data are like.
            shortest = min(crop.shape[-1] for crop in crops)
            self.vae.start_from(torch.cat([crop[..., :shortest] for crop in crops]))

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return ``loss`` and its parts: stft, mel, kl and, while they are active, those of the adversary."""
        audio = self.crop(batch)
        reconstruction, kl = self._reconstruct(audio)
        distance = self.spectral(reconstruction, audio)
        config = self.config
        losses = {"stft": distance.stft.mean(), "mel": distance.mel.mean(), "kl": kl}
        losses["loss"] = config.stft_weight * losses["stft"] + config.mel_weight * losses["mel"] + config.kl_weight * kl
        if self.training and self.adversary is not None:
            if self._step >= config.adversary_start_step:
                losses |= self._contest(reconstruction, audio, losses["loss"])
            else:
                losses["loss"] = losses["loss"] + _nothing(self.adversary)
        return losses

    def _reconstruct(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        if not self._encoder_is_frozen:
            posterior = self.vae.encode(audio)
            latents = posterior.sample() if self.training else posterior.mean
            return self.vae.decode(latents), posterior.kl()
        with torch.no_grad():
            posterior = self.vae.encode(audio)
            latents = posterior.mean
            if self.training:
                spread = latents.std(dim=(0, 1))
                latents = latents + self.config.latent_noise * spread * torch.randn_like(latents)
            kl = posterior.kl()
        return self.vae.decode(latents), kl + _nothing(self.vae)

    @property
    def _step(self) -> int:
        """Optimizer steps so far; 0 without a trainer, and without lightning."""
        return getattr(self, "global_step", 0)

    @property
    def _encoder_is_frozen(self) -> bool:
        start = self.config.freeze_encoder_step
        return start is not None and self._step >= start

    def _contest(self, reconstruction: Tensor, audio: Tensor, loss: Tensor) -> dict[str, Tensor]:
        """Return the losses of generator and adversary, and their sum with ``loss`` as ``loss``."""
        real = self.adversary(audio)
        discriminator = discriminator_loss(real, self.adversary(reconstruction.detach()))
        weights = {name: p.detach() for name, p in self.adversary.named_parameters()}
        judged = functional_call(self.adversary, weights, (reconstruction,))
        adversarial, features = adversarial_loss(judged), feature_matching_loss(real, judged)
        config = self.config
        total = loss + config.adversarial_weight * adversarial + config.feature_weight * features + discriminator
        return {"adversarial": adversarial, "features": features, "discriminator": discriminator, "loss": total}

    def crop(self, batch: Batch) -> Tensor:
        """Return audio [B, A, S], S a multiple of the VAE's hop: crops of ``crop_seconds``, or the whole clips.

        Crops are drawn at random in training and are the middle of the clip in validation.
        """
        audio, hop = batch.audio, self.vae.hop
        if self.config.crop_seconds is None:
            return torch.nn.functional.pad(audio, (0, -audio.shape[-1] % hop))
        size = max(1, round(self.config.crop_seconds * self.vae.sample_rate / hop)) * hop
        room = (batch.num_samples - size).clamp_min(0)
        share = torch.rand(room.shape, device=room.device) if self.training else torch.full_like(room, 0.5, dtype=torch.float)
        starts = (share * (room + 1)).long().clamp_max(room)
        audio = torch.nn.functional.pad(audio, (0, max(0, size - audio.shape[-1])))
        return torch.stack([clip[:, start : start + size] for clip, start in zip(audio, starts.tolist(), strict=True)])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log ``val/loss`` and collect mel and STFT distance of every task."""
        audio = self.crop(batch)
        reconstruction, kl = self._reconstruct(audio)
        distance = self.spectral(reconstruction, audio)
        config = self.config
        loss = config.stft_weight * distance.stft.mean() + config.mel_weight * distance.mel.mean()
        values = {"val/loss": loss + config.kl_weight * kl, "val/kl": kl}
        self.log_dict(values, batch_size=len(batch), sync_dist=True)
        rows = torch.stack([distance.mel, distance.stft, torch.ones_like(distance.mel)], dim=-1)
        self._task_sums.index_add_(0, batch.task, rows.to(self._task_sums))

    def on_validation_epoch_start(self) -> None:
        self._task_sums.zero_()

    def on_validation_epoch_end(self) -> None:
        """Log ``val/mel/TASK`` and ``val/stft/TASK``; summed over ranks first, as a rank may lack a task."""
        sums = self.trainer.strategy.reduce(self._task_sums.clone(), reduce_op="sum")
        for task, (mel, stft, count) in zip(TASKS, sums.tolist(), strict=True):
            if count:
                self.log_dict({f"val/mel/{task}": mel / count, f"val/stft/{task}": stft / count})

    def param_groups(self) -> Iterable[dict[str, Any]]:
        groups = [dict(group) for group in self.vae.param_groups()]
        if self.adversary is not None:
            groups += [dict(group, part="adversary") for group in self.adversary.param_groups()]
        return groups

    def factor(self, part: str, step: int, *, num_steps: int) -> float:
        """Learning rate of ``part`` at ``step`` as a share of its base rate: warm-up, cosine decay, 0 at rest."""
        config = self.config
        start = config.adversary_start_step if part == "adversary" else 0
        frozen = config.freeze_encoder_step is not None and step >= config.freeze_encoder_step
        if step < start or (frozen and part == "vae.encoder"):
            return 0.0
        warmup = min(1.0, (step - start + 1) / max(1, config.warmup_steps))
        progress = min(1.0, step / num_steps) if num_steps > 0 else 0.0
        return warmup * (config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * progress)))

    def configure_optimizers(self) -> dict[str, Any]:
        config = self.config
        num_steps = self.trainer.max_steps if config.decay_steps is None else config.decay_steps
        groups = list(self.param_groups())
        rates = {"adversary": config.adversary_learning_rate, "vae.encoder": config.encoder_rate * config.learning_rate}
        for group in groups:
            group["lr"] = rates.get(group["part"], config.learning_rate)
        optimizer = torch.optim.AdamW(
            groups, betas=(config.beta_first, config.beta_second), weight_decay=config.weight_decay
        )
        factors = [
            lambda step, part=group["part"]: self.factor(part, step, num_steps=num_steps) for group in groups
        ]
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factors)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any) -> None:
        """Clip the VAE and the adversary apart, so that a loud gradient of one does not silence the other."""
        for network in (self.vae, self.adversary):
            if network is not None:
                torch.nn.utils.clip_grad_norm_(network.parameters(), self.config.gradient_clip)


def _nothing(module: torch.nn.Module) -> Tensor:
    """Zero that depends on every parameter: a resting network still takes part in the backward pass, as DDP needs."""
    return sum(0.0 * p.sum() for p in module.parameters())
