"""A training step of `ar_flow` beside one of a plain causal model of the same body: seconds, MFU, memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.models import batch_of, build, config_of
from benchmarks.gpu.timing import medians
from benchmarks.ratios.training import PlainModel
from calm.doctor.activations import BatchShape, activation_bytes
from calm.doctor.cost import Rows, step_flops
from calm.doctor.hardware import Hardware
from calm.doctor.memory import GIB, predict
from calm.doctor.precision import Precision
from calm.model.generator import Generator
from calm.training.compilation import compile_layers
from calm.types import Task

__all__ = ["training"]

PEAK = Hardware().peak_tflops * 1e12
TEXT = 64


def training(size: str, *, device: str, rounds: int, clips: int, frames: int, compiled: bool, expert: bool, attention: str) -> dict[str, Any]:
    """Forward, backward and AdamW in bfloat16 autocast; the causal model has as many latents, one row for each."""
    config = config_of(size, f"model.attention={attention}", *(() if expert else ("expert=none",)))
    root = build(config, device).train()
    if compiled:
        compile_layers(root)
    batch = batch_of(root, clips=clips, frames=frames, text=TEXT, task=Task.SPEECH if expert else Task.MUSIC)
    draw = torch.Generator().manual_seed(0)
    ours = _step(root, lambda: root.losses(batch, generator=draw)["loss"], device)
    _reset(device)
    found: dict[str, Any] = {"ours": medians({"ours": ours}, device=device, rounds=rounds)["ours"]}
    memory = _memory(root, device, clips=clips, frames=frames, speech=clips if expert else 0)
    flops = step_flops(root, _rows(root, frames, expert=expert), clips=clips)
    found["ours"] |= memory | {"mfu": flops / found["ours"]["seconds"] / PEAK, "flops": flops}
    del ours
    root.zero_grad(set_to_none=True)
    if not expert:
        found["causal"] = _causal(root, batch.latents, device=device, rounds=rounds)
        found["step_over_causal"] = found["ours"]["seconds"] / found["causal"]["seconds"]
        found["mfu_over_causal"] = found["ours"]["mfu"] / found["causal"]["mfu"]
    return found | {"clips": clips, "frames": frames, "text": TEXT, "compiled": compiled, "expert": expert, "attention": attention}


def _causal(root: Generator, latents: Tensor, *, device: str, rounds: int) -> dict[str, Any]:
    plain = PlainModel(root.backbone, latent_dim=latents.shape[2]).to(device)
    seconds = medians({"x": _step(plain, lambda: plain.loss(latents), device)}, device=device, rounds=rounds)["x"]
    clips, frames = latents.shape[:2]
    none = Rows(sequence=frames, audio=0, clean=0, noisy=0, blocks=0, expert=0)
    flops = step_flops(root, none, clips=clips)
    return seconds | {"mfu": flops / seconds["seconds"] / PEAK, "flops": flops}


def _step(model: nn.Module, loss_of: Callable[[], Tensor], device: str) -> Callable[[], None]:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=device == "cuda")

    def step() -> None:
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = loss_of()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def _rows(root: Generator, frames: int, *, expert: bool) -> Rows:
    return Rows(
        sequence=TEXT + 2 * frames, audio=2 * frames, clean=frames, noisy=frames,
        blocks=frames / root.config.block_sizes[0], expert=2 * frames if expert else 0,
    )  # fmt: skip


def _reset(device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _memory(root: Generator, device: str, *, clips: int, frames: int, speech: int) -> dict[str, float]:
    """Measured peak, and what `calm doctor` predicts of a step without averaged weights; GiB."""
    if device != "cuda":
        return {}
    precision = "bf16-mixed"
    shape = BatchShape(clips=clips, prefix=TEXT, reference=0, frames=frames, speech=speech)
    kept = activation_bytes(root, shape, Precision.of(precision), device=device)
    predicted = predict(root, precision=precision, device=device, kept=kept)
    peak = torch.cuda.max_memory_allocated()
    total = predicted.total - predicted.averaged
    return {"peak_gib": peak / GIB, "predicted_gib": total / GIB, "predicted_over_peak": total / peak}
