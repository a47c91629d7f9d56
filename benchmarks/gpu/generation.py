"""Generation on one device: a pass over the reading of its weights, real-time factor, first audio, memory."""

from __future__ import annotations

import time
import traceback
from typing import Any

import torch

from benchmarks.gpu.models import config_of, pipeline_of
from benchmarks.gpu.timing import medians, wait
from calm.doctor.memory import GIB
from calm.generation import AudioCALM
from calm.model.compiled import compile_passes
from calm.model.precision import set_precision

__all__ = ["generation"]

TEXT = "A dog barks twice while it rains, and a door is closed."
BATCHES = (1, 16)


def generation(
    size: str, *, device: str, rounds: int, seconds: float, compiled: bool, batches: tuple[int, ...] = BATCHES
) -> dict[str, Any]:
    """Sound in blocks of the model's size, 10 steps with guidance, in bfloat16."""
    config = config_of(size)
    pipeline = pipeline_of(config, device)
    model = pipeline.model
    matrices = sum(p.numel() for part in (model.backbone.layers, model.head) for p in part.parameters() if p.ndim == 2)
    set_precision(model, "bf16" if device == "cuda" else "fp32")
    found: dict[str, Any] = {"compiled": compiled, "weight_bytes": matrices * (2 if device == "cuda" else 4)}
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    if compiled:
        compile_passes(model)
    for batch in batches:
        try:
            found[f"batch {batch}"] = _of_batch(pipeline, batch, device=device, rounds=rounds, seconds=seconds)
        except Exception:  # what one form lacks must not cost the figures of the others
            found[f"batch {batch}"] = {"error": traceback.format_exc()[-2000:]}
    if device == "cuda":
        found["peak_gib"] = torch.cuda.max_memory_allocated() / GIB
        found["bandwidth"] = _bandwidth(device)
    return found


def _of_batch(pipeline: AudioCALM, batch: int, *, device: str, rounds: int, seconds: float) -> dict[str, Any]:
    asked = {"task": "sound", "duration": seconds}
    begun = time.perf_counter()
    pipeline.generate([TEXT] * batch, **asked | {"duration": min(2.0, seconds)})
    wait(device)
    found: dict[str, Any] = {"first_call_seconds": time.perf_counter() - begun}
    whole = medians({"x": lambda: pipeline.generate([TEXT] * batch, **asked)}, device=device, rounds=rounds, warm_up=1)["x"]
    found["rtf"] = {key: value / seconds / batch for key, value in whole.items()}
    if batch == 1:
        def first() -> None:
            next(pipeline.generate_streaming(TEXT, **asked))

        found["first_audio"] = medians({"x": first}, device=device, rounds=max(5, rounds), warm_up=1)["x"]
    found["pass"] = _pass(pipeline, batch, device=device, rounds=rounds)
    return found


@torch.no_grad()
def _pass(pipeline: AudioCALM, batch: int, *, device: str, rounds: int, repeats: int = 20) -> dict[str, Any]:
    """Seconds of one evaluation of the velocity, both branches, with 10 blocks of history."""
    model = pipeline.model
    prompt = pipeline.plan([TEXT] * batch, task="sound", duration=8.0).sampling["prompt"]
    prompt = type(prompt).stack(prompt, prompt)
    size = model.config.block_sizes[0]
    branch = model.open(prompt, block_size=size, max_blocks=12)
    like = {"device": device, "dtype": model.null_text.dtype}
    rows = torch.randn(2 * batch, size, model.vae.latent_dim, **like)
    at = torch.full((2 * batch,), 0.5, **like)
    for _ in range(10):
        branch.append(rows)

    def many() -> None:
        for _ in range(repeats):
            branch.velocity(rows, at)

    taken = medians({"x": many}, device=device, rounds=rounds)["x"]
    return {key: value / repeats for key, value in taken.items()} | {"rows": 2 * batch * size}


def _bandwidth(device: str) -> float:
    """Bytes a second of a maximum over 4 GiB, which reads them once."""
    x = torch.zeros(2**31, device=device, dtype=torch.bfloat16)
    taken = medians({"x": lambda: x.view(torch.int32).amax()}, device=device, rounds=5)["x"]["seconds"]
    return x.numel() * 2 / taken
