"""How much memory one rank will need: a prediction, part by part, before anything is allocated.

At its largest a step of Lightning's holds, at the end of the forward pass, the weights, the last step's gradients
(they are dropped only then), both moments of AdamW, the averaged weights, what autograd keeps, and the 16-bit copies of
matrices; under DDP the gradients once more, in buckets; under FSDP what is gathered while it is computed with, and its
gradients before they are scattered: two layers, and all that is no layer. Beside these, and never at the same time, stand the
temporaries of AdamW and those of encoding audio. On a CPU the holes of the heap come on top, up to 15 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from calm.data.batching import ByFrames
from calm.data.examples import REFERENCE_SECONDS
from calm.doctor.activations import BatchShape, activation_bytes
from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level
from calm.doctor.parameters import Parameters, count_parameters
from calm.doctor.precision import Precision
from calm.part import Part
from calm.training.precision import precision_of
from calm.types import Task
from calm.vae import VAE

__all__ = ["Memory", "check_memory", "largest_batch", "memory_of", "predict"]

GIB = 2**30
#: tokens of a description beside the transcript or caption
DESCRIPTION_TOKENS = 120
#: characters of a text where no shards tell
TEXT_LENGTH = 200
#: share of the memory above which a prediction is too close to be sure
CLOSE = 0.85


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one rank. ``weights`` include the frozen VAE; ``passing`` is the larger of what comes and goes."""

    weights: int
    gradients: int
    optimizer: int
    averaged: int
    buckets: int
    gathered: int
    copies: int
    activations: int
    passing: int

    @property
    def total(self) -> int:
        """The peak."""
        lasting = self.weights + self.gradients + self.optimizer + self.averaged + self.buckets + self.gathered
        return lasting + max(self.copies + self.activations, self.passing)

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "gradients": self.gradients + self.buckets,
            "AdamW": self.optimizer,
            "EMA": self.averaged,
            "gathered": self.gathered,
            "activations": max(self.copies + self.activations, self.passing),
        }
        shown = ", ".join(f"{name} {size / GIB:.2f}" for name, size in parts.items() if size)
        return f"{self.total / GIB:.2f} GiB a rank: {shown}"


def predict(
    root: Part,
    *,
    precision: str,
    device: str,
    kept: int = 0,
    world_size: int = 1,
    is_sharded: bool = False,
    encoding: int = 0,
) -> Memory:
    """Predict the peak of a training step.

    Args:
        precision: Lightning's name. device: "cpu" or "cuda".
        kept: bytes that autograd keeps of the largest batch.
        world_size: ranks. is_sharded: whether weights, gradients and moments are shared among them (FSDP).
        encoding: bytes of encoding the batch's audio, 0 for latents.
    """
    sizes, kind = count_parameters(root), Precision.of(precision)
    share = world_size if is_sharded else 1
    trained = -(-sizes.trained // share)
    # On CUDA AdamW works on all tensors at once and keeps a square root of each; on a CPU on one after the other.
    temporaries = 4 * (trained if device == "cuda" else 2 * sizes.largest)
    return Memory(
        weights=kind.weights * (trained + sizes.frozen),
        gradients=kind.weights * trained,
        optimizer=2 * kind.weights * trained,
        averaged=4 * -(-sizes.averaged // share),
        buckets=kind.weights * trained if world_size > 1 and not is_sharded else 0,
        gathered=2 * kind.weights * _gathered(root, sizes) if is_sharded and world_size > 1 else 0,
        copies=kind.products * (sizes.matrices - sizes.by_part.get("text", 0)) if kind.is_mixed else 0,
        activations=kept,
        passing=max(temporaries, encoding),
    )


def _gathered(root: Part, sizes: Parameters) -> int:
    """Parameters that a rank of FSDP holds whole at once: the root's own unit, a layer, and the one gathered ahead."""
    layers = [sum(p.numel() for p in layer.parameters() if p.requires_grad) for layer in getattr(root.backbone, "layers", ())]
    return sizes.trained - sum(layers) + sum(sorted(layers)[-2:])


def largest_batch(case: Case, *, world_size: int | None = None) -> BatchShape:
    """The largest batch of one of ``world_size`` ranks, by default the run's: its clips, all as long as the longest that may be drawn.

    The plan sorts clips by length, so the longest do come together. With a budget of frames a batch of shorter clips
    has more of them, and more rows before them: of all lengths the one whose activations are largest. Without shards
    the limits of the configuration stand in for the clips.
    """
    config, root, budget, ranks = case.config.data, case.generator, case.budget, world_size or case.world_size
    lengths = {config.max_seconds: TEXT_LENGTH}
    if case.train is not None:
        clips = [case.train.rows[row].clip for task in case.trained_tasks for row in case.train.by_task[task]]
        lengths = _longest_texts([(min(clip.seconds, config.max_seconds), clip.text_length) for clip in clips], budget) or lengths
    if budget is None:
        return _shape(case, clips=config.batch_size, ranks=ranks, seconds=max(lengths), text=max(lengths.values()))
    shapes = [
        _shape(case, clips=budget.max_frames // budget.size(seconds), ranks=ranks, seconds=seconds, text=text)
        for seconds, text in lengths.items()
    ]
    kind = Precision.of(precision_of(case.config.trainer.precision, device=case.device))
    return max(
        shapes, key=lambda shape: (activation_bytes(root, shape, kind, device=case.device) or 0, shape.clips * shape.frames)
    )


def _longest_texts(clips: list[tuple[float, int]], budget: ByFrames | None) -> dict[float, int]:
    """Seconds of the longest clip of each padded size -> the longest text of clips up to it."""
    found: dict[int, tuple[float, int]] = {}
    text = 0
    for seconds, length in sorted(clips):
        text = max(text, length)
        found[0 if budget is None else budget.size(seconds)] = (seconds, text)
    return dict(found.values())


def _shape(case: Case, *, clips: int, ranks: int, seconds: float, text: int) -> BatchShape:
    """One rank's part of a global batch of so many clips of one length."""
    config, root = case.config.data, case.generator
    unit = math.lcm(config.frame_multiple, *root.config.block_sizes)
    rate = root.vae.frame_rate
    speaks = Task.SPEECH in case.trained_tasks
    reference = math.ceil(REFERENCE_SECONDS[1] * rate) if config.reference_probability and speaks else 0
    share = -(-clips // ranks)
    has_expert = root.expert is not None and any(phase.expert == "on" for phase, _, _ in case.phases)
    return BatchShape(
        clips=share,
        prefix=reference + text + DESCRIPTION_TOKENS,
        reference=reference,
        frames=-(-math.ceil(seconds * rate) // unit) * unit,
        speech=share if has_expert and speaks else 0,
    )


def memory_of(
    case: Case, *, device: str, world_size: int | None = None, strategy: str | None = None, recompute: str | None = None
) -> Memory:
    """Predict the peak of one rank of a run, or of the same run with other ranks, engine or recomputation.

    Args:
        device: "cpu" or "cuda".
        world_size, strategy, recompute: instead of the run's own ranks, ``trainer.strategy`` and
            ``trainer.activation_checkpointing``.

    ``activations`` is 0 for a generator whose activations are not known here.
    """
    trainer, ranks = case.config.trainer, world_size or case.world_size
    strategy, recompute = strategy or trainer.strategy, recompute or trainer.activation_checkpointing
    precision, encoding = precision_of(trainer.precision, device=device), 0
    if case.generator is None:
        clips = -(-case.config.data.batch_size // ranks)
        kept = clips * max(count.kept_bytes for _, count in case.stage_work)
    else:
        shape = largest_batch(case, world_size=ranks)
        kept = activation_bytes(case.generator, shape, Precision.of(precision), device=device, recompute=recompute) or 0
        if case.train is None or case.train.latents is None:
            encoding = encoding_bytes(case.root.vae, clips=shape.clips, frames=shape.frames)
    return predict(
        case.root,
        precision=precision,
        device=device,
        kept=kept,
        world_size=ranks,
        is_sharded=any(word in strategy for word in ("fsdp", "model_parallel")),
        encoding=encoding,
    )


def check_memory(case: Case) -> Iterator[Finding]:
    """The predicted peak of a rank, against the memory of the devices that are here."""
    if case.root is None:
        return
    config, device = case.config, case.device
    memory = memory_of(case, device=device)
    yield _against(memory, _available(case), where=f"{device}, {precision_of(config.trainer.precision, device=device)}")
    if not memory.activations:
        what = "Activations are not predicted for this model: leave room"
        yield Finding(level=Level.WARNING, what=what, where=f"model.name: {config.model.name}")
    elif case.generator is not None:
        shape = largest_batch(case)
        value = f"{shape.clips} clips of {shape.frames} frames behind {shape.prefix} rows"
        yield Finding(level=Level.OK, what="The largest batch of a rank", where="data", value=value)


def encoding_bytes(vae: VAE, *, clips: int, frames: int) -> int:
    """Bytes of encoding audio without gradients: three signals at the first stage's rate, and a complex spectrum."""
    config = getattr(vae, "config", None)
    samples = clips * frames * vae.hop
    if not hasattr(config, "encoder_widths"):
        return 4 * samples * vae.channels
    first = 3 * 4 * config.encoder_widths[0] // config.strides[0]
    return samples * (first + 4 * vae.channels * (1 + 2 * config.n_fft // config.stft_hop))


def _against(memory: Memory, available: int | None, *, where: str) -> Finding:
    if available is None:
        hint = "run it where it will train, to compare with that memory"
        what = "Predicted; there is no such device here to compare with"
        return Finding(level=Level.OK, what=what, where=where, value=str(memory), hint=hint)
    share = memory.total / available
    level = Level.ERROR if share > 1 else Level.WARNING if share > CLOSE else Level.OK
    hint = "lower data.batch_size (or data.max_frames_per_batch) and raise trainer.grad_accum_steps, lower data.max_seconds, or use more ranks"
    return Finding(
        level=level,
        what="Predicted memory fits" if level is Level.OK else "Predicted memory is too near the limit, or above it",
        where=where,
        value=f"{memory}; {available / GIB:.1f} GiB there",
        hint="" if level is Level.OK else hint,
    )


def _available(case: Case) -> int | None:
    """Bytes for one rank: of a device, or of this machine's free memory, shared by the node's ranks."""
    if not case.on_cpu:
        return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None
    table = Path("/proc/meminfo")
    if not table.is_file():
        return None
    lines = dict(line.split(":", 1) for line in table.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 // case.ranks_per_node
