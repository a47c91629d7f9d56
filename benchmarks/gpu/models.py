"""Models of the paper's shape with random weights, built where they run, and a batch of music for them."""

from __future__ import annotations

import torch

from calm.config import load_config
from calm.generation import AudioCALM
from calm.model.build import NoInitialization, build_model
from calm.model.generator import Generator
from calm.text import build_tokenizer
from calm.types import Batch, Task

__all__ = ["SIZES", "batch_of", "build", "config_of", "pipeline_of"]

#: experiment, and what makes it independent of files
SIZES = {
    "1p7b": ("experiment=audiocalm_1p7b", "backbone.weights=random"),
    "0p6b": ("experiment=audiocalm_0p6b", "backbone.weights=random"),
    "300m": ("experiment=audiocalm_300m",),
    "100m": ("experiment=audiocalm_100m",),
    "tiny": ("experiment=tiny", "model=ar_flow", "head=rectified_flow"),
}


def config_of(size: str, *overrides: str):
    return load_config((*SIZES[size], "vae_ckpt_path=null", *overrides))


def build(config, device: str) -> Generator:
    """The root with random weights, drawn on the device: drawing 2 billion on a CPU takes a minute."""
    with torch.device(device), NoInitialization():
        root = build_model(config)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in root.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.02)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    if "tokenizer" not in vars(root.backbone) and config.backbone.name == "qwen3":
        # The checkpoint's own needs its files; which ids a text has does not change what a pass takes.
        root.backbone.tokenizer = build_tokenizer("bytes")
    return root


def pipeline_of(config, device: str) -> AudioCALM:
    return AudioCALM.of(build(config, device).eval(), config)


def batch_of(root: Generator, *, clips: int, frames: int, text: int, task: Task = Task.MUSIC) -> Batch:
    """Latents of one length with a text before them; no reference, so that all rows are the same for every clip."""
    device, nothing = root.null_text.device, torch.zeros(clips, 1, 0)
    draw = torch.Generator().manual_seed(1)
    return Batch(
        audio=nothing,
        num_samples=torch.full((clips,), frames * root.vae.hop),
        complete=torch.ones(clips, dtype=torch.bool),
        task=torch.full((clips,), task.id),
        text=torch.randint(3, 200, (clips, text), generator=draw),
        num_text=torch.full((clips,), text),
        reference=nothing,
        num_reference=torch.zeros(clips, dtype=torch.int64),
        latents=torch.randn(clips, frames, root.vae.latent_dim, generator=draw),
        reference_latents=torch.zeros(clips, 0, root.vae.latent_dim),
    ).to(device)
