"""How large the model is, how much a step computes, and how long the run will take on stated hardware.

    FLOPs of a generator's step = 6 (P_body rows + P_audio audio rows + P_head noisy frames + P_time noisy blocks
                                     + P_stop clean rows + P_expert expert rows) + 12 L Q N rows

6 P for every row that passes P weights of matrices, forward and backward (Kaplan et al., 2020); the last term is
attention over all N rows of a clip, masked or not (PaLM, appendix B). A model that draws its own history passes body and
attention once more, forward only, and its head a few times. Rows are those of clips of average length, phase
by phase. Left out: norms and other work without products, layers that are computed again to save memory, and encoding
audio by the frozen VAE, which latent shards spare. A VAE's own steps are counted by `calm.doctor.stage`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level
from calm.doctor.hardware import time_of
from calm.doctor.parameters import Parameters, count_parameters
from calm.model.generator import Generator
from calm.model.head_flow import NUM_OWN_STEPS
from calm.types import TASKS, Task

__all__ = ["Rows", "check_cost", "step_flops", "work_of"]

#: characters of a text and tokens of a description, where no shards tell
TEXT_LENGTH, DESCRIPTION_TOKENS = 100, 60


@dataclass(frozen=True, kw_only=True)
class Rows:
    """An average clip: rows of the sequence, audio rows among them, clean and noisy frames; ``blocks`` of noisy
    frames, each of one time; ``expert``: rows that pass an expert, over all tasks."""

    sequence: float
    audio: float
    clean: float
    noisy: float
    blocks: float
    expert: float


def step_flops(root: Generator, rows: Rows, *, clips: float) -> float:
    """Return the floating-point operations of one optimizer step over ``clips`` clips (formula above)."""
    timed = sum(_matrices(getattr(root.head, name)) for name in root.head.timed)
    body = (
        _matrices(root.backbone.layers if hasattr(root.backbone, "layers") else root.backbone) * rows.sequence
        + _matrices(root.audio_in) * rows.audio
        + _matrices(root.stop) * rows.clean
    )
    heads = (_matrices(root.head) - timed) * rows.noisy + (_matrices(root.time) + timed) * rows.blocks
    if root.expert is not None:
        body += _matrices(root.expert) / max(1, len(root.expert.tasks)) * rows.expert
    layers = getattr(root.backbone, "layers", ())
    query = layers[0].self_attn.q_proj.out_features if hasattr(next(iter(layers), None), "self_attn") else root.backbone.dim
    attention = 12 * root.backbone.num_layers * query * rows.sequence**2
    if getattr(root.config, "own_history_probability", 0):
        drawn = timed * rows.blocks / max(rows.noisy, 1) + _matrices(root.head) - timed
        return clips * (8 * body + 6 * heads + 2 * NUM_OWN_STEPS * drawn * rows.clean + 4 / 3 * attention)
    return clips * (6 * (body + heads) + attention)


def _matrices(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 2)


def work_of(case: Case) -> list[tuple[int, float]]:
    """Return the stretches of a run: (optimizer steps, FLOPs of one); empty for a model that cannot be built."""
    clips = case.clips_per_batch * case.config.trainer.grad_accum_steps
    if (root := case.generator) is not None:
        return [(last - first, step_flops(root, _average(case, phase), clips=clips)) for phase, first, last in case.phases]
    return [(steps, clips * count.flops) for steps, count in case.stage_work]


def check_cost(case: Case) -> Iterator[Finding]:
    """Parameters by part; operations of a step and days of the run."""
    if case.root is None:
        return
    sizes = count_parameters(case.root)
    yield Finding(level=Level.OK, what="Parameters", where=case.config.model.name, value=_listed(sizes))
    work = work_of(case)
    total, steps = sum(steps * flops for steps, flops in work), sum(steps for steps, _ in work)
    value = f"{total / steps:.3g} FLOPs a step, {total:.3g} in {steps:,} steps: {time_of(case.hardware.days(total))}"
    if minutes := case.config.trainer.max_minutes:
        value += f"; on any machine it ends after {minutes:g} minutes (trainer.max_minutes)"
    yield Finding(level=Level.OK, what=f"Work of the run, on {case.hardware}", where="trainer.max_steps", value=value)


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
    start = max(config.block_sizes) if config.name == "head_flow" else 0
    served = sum(weights[task] for task in (root.expert.tasks if root.expert is not None else ())) / total
    return Rows(
        sequence=audio + start + text + DESCRIPTION_TOKENS,
        audio=audio,
        clean=frames,
        noisy=frames * copies,
        blocks=frames * copies * len(config.block_sizes) / sum(config.block_sizes),
        expert=served * audio if phase.expert == "on" else 0.0,
    )


def _mean(case: Case, task: Task, field: str) -> float:
    rows = [] if case.train is None else case.train.by_task[task]
    if not rows:
        return {"seconds": case.config.data.max_seconds / 2, "text_length": TEXT_LENGTH}[field]
    return sum(getattr(case.train.rows[row].clip, field) for row in rows) / len(rows)
