"""Tiny real models for the tests: the same components as in a run, a few thousand weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calm.model.generator import Generator
from calm.model.prompt import Prompt
from calm.registry import build, lookup
from calm.types import Batch

#: 16 kHz mono, hop 32 samples, 4 latent channels
TINY_VAE = {
    "name": "stft_vae",
    "sample_rate": 16000,
    "channels": 1,
    "latent_dim": 4,
    "patch": 2,
    "num_heads": 2,
    "attention_window_frames": 4,
    "strides": (4, 4),
    "encoder_widths": (4, 8),
    "num_encoder_layers": 1,
    "num_aggregator_layers": 1,
    "decoder_width": 16,
    "num_decoder_layers": 1,
    "output_width": 16,
    "num_output_blocks": 1,
    "n_fft": 32,
    "stft_hop": 8,
    "num_mels": 4,
}
#: 80 samples per latent, strides that are no powers of two, an encoder without dilation
UNEVEN_VAE = {
    **TINY_VAE,
    "latent_dim": 6,
    "attention_window_frames": 3,
    "strides": (8, 5),
    "encoder_widths": (8, 16),
    "encoder_kernel_size": 3,
    "encoder_dilations": (1,),
    "n_fft": 80,
    "stft_hop": 20,
    "num_mels": 8,
}
HEADS = {"ar_flow": "rectified_flow", "head_flow": "mlp"}


def tiny_vae(seed: int = 0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build("vae", TINY_VAE)


def tiny_generator(model: str = "ar_flow", *, expert: str = "speech_ffn", seed: int = 0, **options) -> Generator:
    """A generator of a few thousand weights whose every layer matters (nothing is left at zero)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = build("vae", TINY_VAE)
        sizes = {"dim": 16, "num_layers": 3, "num_heads": 4, "num_kv_heads": 2, "ffn_dim": 24}
        backbone = build("backbone", {"name": "transformer", **sizes})
        root_class = lookup("model", model)
        root = root_class(
            root_class.Config(**{"block_sizes": (4,), **options}),
            vae=vae,
            backbone=backbone,
            head=build("head", HEADS[model], dim=16, latent_dim=vae.latent_dim),
            expert=build("expert", expert, dim=16, ffn_dim=24, num_layers=3),
        )
        randomize(root)
        # Latents of random weights are far out: an untamed envelope, an exponential, would blow up rounding errors.
        vae.decoder.envelope.project.weight.data.mul_(0.05)
    return root.eval()


def tiny_few_steps(branches: str = "conditional") -> Generator:
    """A tiny `head_flow` whose head knows averages of its flow, and reads one or both branches."""
    root = tiny_generator("head_flow")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        head = {"name": "mlp", "output": "average_velocity", "branches": branches, "width": 16, "num_blocks": 1}
        root.head = build("head", head, dim=16, latent_dim=4)
        randomize(root.head)
    return root.eval()


def randomize(root: nn.Module) -> None:
    """Give every weight a value of its own: zero-initialised layers would hide mistakes behind them."""
    for name, parameter in root.named_parameters():
        if not name.startswith("vae."):
            parameter.data = torch.randn_like(parameter) * (0.3 if parameter.ndim > 1 else 0.1) + (
                1.0 if "norm" in name and name.endswith("weight") else 0.0
            )


def tiny_prompt(
    root: Generator, tasks: list[int], *, num_text: list[int], num_reference: list[int], seed: int = 0
) -> Prompt:
    generator = torch.Generator().manual_seed(seed)
    dtype = root.null_text.dtype
    return Prompt(
        task=torch.tensor(tasks),
        text=torch.randint(3, 250, (len(tasks), max(num_text)), generator=generator),
        num_text=torch.tensor(num_text),
        reference=torch.randn(len(tasks), max(num_reference), root.vae.latent_dim, generator=generator, dtype=dtype),
        num_reference=torch.tensor(num_reference),
    )


def tiny_batch(tasks: list[int], *, frames: int = 16, hop: int = 32, reference_frames: int = 0, seed: int = 0) -> Batch:
    """A batch of noise clips with random text."""
    generator = torch.Generator().manual_seed(seed)
    count = len(tasks)

    def noise(length: int) -> Tensor:
        return 0.1 * torch.randn(count, 1, length * hop, generator=generator)

    has_reference = torch.tensor(tasks) == 0
    return Batch(
        audio=noise(frames),
        num_samples=torch.randint(frames * hop // 2, frames * hop + 1, (count,), generator=generator),
        complete=torch.ones(count, dtype=torch.bool),
        task=torch.tensor(tasks),
        text=torch.randint(3, 250, (count, 6), generator=generator),
        num_text=torch.randint(2, 7, (count,), generator=generator),
        reference=noise(reference_frames),
        num_reference=has_reference * reference_frames * hop,
        keys=tuple(f"clip-{i}" for i in range(count)),
    )
