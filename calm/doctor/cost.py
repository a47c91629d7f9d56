"""How large the model is, how much a step computes, and how long the run will take on stated hardware.

    FLOPs of a step = 6 (P_body rows + P_head noisy frames + P_expert speech rows) + 12 L Q N rows

6 P for every row that passes P weights, forward and backward (Kaplan et al., 2020); the second term is attention over
all N rows of a clip, masked or not (PaLM, appendix B). Rows are those of clips of average length, phase by phase.
Encoding audio by the frozen VAE is not counted: latent shards spare it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level
from calm.doctor.parameters import Parameters, count_parameters
from calm.model.generator import Generator
from calm.types import TASKS, Task

__all__ = ["Rows", "check_cost", "days", "step_flops"]

#: 8 accelerators of 989 TFLOP/s (H100 SXM, dense bfloat16) that reach this share of it
NUM_GPUS, PEAK_FLOPS, MFU = 8, 989e12, 0.3
#: characters of a text and tokens of a description, where no shards tell
TEXT_LENGTH, DESCRIPTION_TOKENS = 100, 60


@dataclass(frozen=True, kw_only=True)
class Rows:
    """An average clip: rows of the sequence, audio rows among them, noisy frames; ``speech``: share of clips that
    pass the expert."""

    sequence: float
    audio: float
    noisy: float
    speech: float


def step_flops(root: Generator, rows: Rows, *, clips: float) -> float:
    """Return the floating-point operations of one optimizer step over ``clips`` clips (formula above)."""
    parts = count_parameters(root).by_part
    expert = parts.get("expert", 0) / max(1, len(root.expert.tasks)) if root.expert is not None else 0
    products = (
        parts.get("backbone", 0) * rows.sequence
        + parts.get("audio", 0) * rows.audio
        + parts.get("head", 0) * rows.noisy
        + expert * rows.speech * rows.audio
    )
    layers = getattr(root.backbone, "layers", ())
    query = layers[0].self_attn.q_proj.out_features if hasattr(next(iter(layers), None), "self_attn") else root.backbone.dim
    attention = 12 * root.backbone.num_layers * query * rows.sequence**2
    return clips * (6 * products + attention)


def days(flops: float) -> float:
    """Days that so many operations take on the hardware stated above."""
    return flops / (NUM_GPUS * PEAK_FLOPS * MFU) / 86_400


def check_cost(case: Case) -> Iterator[Finding]:
    """Parameters by part; operations of a step and days of the run."""
    if case.root is None:
        return
    sizes = count_parameters(case.root)
    yield Finding(level=Level.OK, what="Parameters", where=case.config.model.name, value=_listed(sizes))
    root = case.generator
    if root is None:
        return
    clips = case.clips_per_batch * case.config.trainer.grad_accum_steps
    phases = [(last - first, step_flops(root, _average(case, phase), clips=clips)) for phase, first, last in case.phases]
    total = sum(steps * flops for steps, flops in phases)
    steps = sum(steps for steps, _ in phases)
    value = f"{total / steps:.3g} FLOPs a step, {total:.3g} in {steps:,} steps: {days(total):.3g} days"
    what = f"Work of the run, on {NUM_GPUS} GPUs of {PEAK_FLOPS / 1e12:.0f} TFLOP/s at an MFU of {MFU:g}"
    yield Finding(level=Level.OK, what=what, where="trainer.max_steps", value=value)


def _listed(sizes: Parameters) -> str:
    parts = ", ".join(f"{part} {count / 1e6:.3g} M" for part, count in sizes.by_part.items() if count)
    return f"{sizes.trained / 1e6:.4g} M trained ({parts}), {sizes.frozen / 1e6:.3g} M frozen"


def _average(case: Case, phase) -> Rows:
    """Rows of an average clip of a phase."""
    root, config = case.generator, case.generator.config
    weights = {task: phase.task_weights.get(str(task), 0.0) for task in TASKS}
    total = sum(weights.values())
    seconds = sum(weight * _mean(case, task, "seconds") for task, weight in weights.items()) / total
    text = sum(weight * _mean(case, task, "text_length") for task, weight in weights.items()) / total
    speech = weights[Task.SPEECH] / total
    frames = min(seconds, case.config.data.max_seconds) * root.vae.frame_rate
    reference = speech * case.config.data.reference_probability * 3.0 * root.vae.frame_rate
    copies = config.num_noisy_copies
    audio = frames * (1 if config.name == "head_flow" else 1 + copies) + reference
    served = sum(weights[task] for task in (root.expert.tasks if root.expert is not None else ())) / total
    return Rows(
        sequence=audio + text + DESCRIPTION_TOKENS,
        audio=audio,
        noisy=frames * copies,
        speech=served if phase.expert == "on" else 0.0,
    )


def _mean(case: Case, task: Task, field: str) -> float:
    rows = [] if case.train is None else case.train.by_task[task]
    if not rows:
        return {"seconds": case.config.data.max_seconds / 2, "text_length": TEXT_LENGTH}[field]
    return sum(getattr(case.train.rows[row].clip, field) for row in rows) / len(rows)
