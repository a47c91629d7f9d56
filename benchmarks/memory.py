"""Predicted against measured memory of a training step.

    python benchmarks/memory.py [RESULT.json] [--device cuda] [--cases ar_flow-32 ...]

Each case trains a generator of about 100 M parameters for three steps with Lightning, AdamW and EMA, on latents, in a
process of its own, and compares the growth of its peak with the prediction of `calm doctor`. On a CPU the peak is
ru_maxrss (what the process had before the model is subtracted), the goal a ratio within 25 %; on CUDA it is
torch.cuda.max_memory_allocated, within 15 %.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from calm.audio import write_bytes
from calm.doctor.activations import BatchShape, activation_bytes
from calm.doctor.memory import GIB, Memory, predict
from calm.doctor.precision import Precision
from calm.evaluation.machine import machine_record
from calm.model.generator import Generator
from calm.registry import build, lookup
from calm.training.config import OptimConfig
from calm.training.ema import EMA
from calm.training.memory import ReturnFreedMemory, trim
from calm.training.optim import build_optimizer
from calm.types import Batch

DIM, LAYERS, HEADS, FFN, LATENT_DIM = 768, 11, 12, 2304, 64
CLIPS, FRAMES, TEXT = 4, 112, 96
STEPS, SPARE_FRAMES = 3, 15
CASES = {
    "ar_flow-32": ("ar_flow", "32-true"),
    "head_flow-32": ("head_flow", "32-true"),
    "ar_flow-bf16": ("ar_flow", "bf16-mixed"),
    "head_flow-bf16": ("head_flow", "bf16-mixed"),
}
PARTS = {"ar_flow": {"name": "rectified_flow"}, "head_flow": {"name": "mlp", "width": 768, "num_blocks": 4}}
_TINY_VAE = {
    "name": "stft_vae", "sample_rate": 16000, "channels": 1, "patch": 2, "num_heads": 2, "attention_window_frames": 4,
    "strides": (4, 4), "encoder_widths": (4, 8), "num_encoder_layers": 1, "num_aggregator_layers": 1, "decoder_width": 16,
    "num_decoder_layers": 1, "output_width": 16, "num_output_blocks": 1, "n_fft": 32, "stft_hop": 8,
}  # fmt: skip


def build_root(model: str, *, num_layers: int = LAYERS) -> Generator:
    """A generator of about 100 M weights on a stand-in VAE: the latents are given, so it is never called."""
    root_class = lookup("model", model)
    sizes = {"dim": DIM, "num_layers": num_layers, "num_heads": HEADS, "num_kv_heads": HEADS, "ffn_dim": FFN}
    return root_class(
        root_class.Config(block_sizes=(8,), num_noisy_copies=1),
        vae=build("vae", {**_TINY_VAE, "latent_dim": LATENT_DIM}),
        backbone=build("backbone", {"name": "transformer", **sizes}),
        head=build("head", PARTS[model], dim=DIM, latent_dim=LATENT_DIM),
        expert=build("expert", "speech_ffn", dim=DIM, ffn_dim=FFN, num_layers=num_layers),
    )


def batch_of(root: Generator) -> Batch:
    """Clips of speech, all of one length: the largest batch."""
    nothing = torch.zeros(CLIPS, 1, 0)
    return Batch(
        audio=nothing,
        num_samples=torch.full((CLIPS,), FRAMES * root.vae.hop),
        complete=torch.ones(CLIPS, dtype=torch.bool),
        task=torch.zeros(CLIPS, dtype=torch.int64),
        text=torch.randint(3, 250, (CLIPS, TEXT)),
        num_text=torch.full((CLIPS,), TEXT),
        reference=nothing,
        num_reference=torch.zeros(CLIPS, dtype=torch.int64),
        latents=torch.randn(CLIPS, FRAMES + SPARE_FRAMES, LATENT_DIM)[:, :FRAMES],
        reference_latents=torch.zeros(CLIPS, 0, LATENT_DIM),
    )


def predicted(root: Generator, precision: str, device: str) -> Memory:
    """What `calm doctor` would say."""
    shape = BatchShape(clips=CLIPS, prefix=TEXT, reference=0, frames=FRAMES, speech=CLIPS)
    kept = activation_bytes(root, shape, Precision.of(precision), device=device)
    return predict(root, precision=precision, device=device, kept=kept)


def measure(case: str, *, device: str) -> dict[str, float]:
    """Train for a few steps and return peak, prediction and their ratio; bytes."""
    model, precision = CASES[case]
    # What is loaded at the first step of all (parts of torch and Lightning) is not the model's.
    train(build_root(model, num_layers=1), precision=precision, device=device, steps=1)
    gc.collect()
    trim()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = _resident()
    root = build_root(model)
    memory = predicted(root, precision, device)
    train(root, precision=precision, device=device, steps=STEPS)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _peak() - before
    parameters = sum(p.numel() for p in root.parameters() if p.requires_grad)
    return {"peak": peak, "predicted": memory.total, "ratio": memory.total / peak, "parameters": parameters}


def train(root: Generator, *, precision: str, device: str, steps: int) -> None:
    """Take a few steps as `calm train` does."""
    optim = OptimConfig(warmup_steps=0)
    root.configure_optimizers = lambda: build_optimizer(root, optim)
    trainer = Trainer(
        accelerator="gpu" if device == "cuda" else "cpu", devices=1, precision=precision, max_steps=steps, max_epochs=-1,
        callbacks=[EMA(0.999), ReturnFreedMemory()], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, gradient_clip_val=1.0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(root, DataLoader([batch_of(root) for _ in range(steps)], batch_size=None))


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", nargs="?", type=Path, help="JSON file to write")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--cases", nargs="*", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--one", choices=tuple(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        torch.set_num_threads(1)
        print(json.dumps(measure(options.one, device=options.device)))
        return
    results = {}
    for case in options.cases:
        command = [sys.executable, __file__, "--one", case, "--device", options.device]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        results[case] = found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{case}: {found['parameters'] / 1e6:.0f} M parameters, measured {found['peak'] / GIB:.2f} GiB, "
            f"predicted {found['predicted'] / GIB:.2f} GiB, ratio {found['ratio']:.3f}"
        )
    if options.result is not None:
        sizes = {"dim": DIM, "layers": LAYERS, "clips": CLIPS, "frames": FRAMES, "text": TEXT, "steps": STEPS}
        machine = machine_record() | {"device": options.device, "threads": 1}
        write_bytes(options.result, (json.dumps({"results": results, "sizes": sizes, "machine": machine}, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
