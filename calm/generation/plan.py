"""From a call to numbers: descriptions, token ids, reference latents, lengths, guidance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from calm.audio.transforms import resample, to_channels
from calm.errors import InputError
from calm.generation.config import SamplerConfig
from calm.generation.guidance import GUIDANCE
from calm.generation.request import Request, VoiceReference
from calm.generation.sampler import Settings
from calm.generation.solver import GRIDS, SOLVERS
from calm.model.generator import Generator
from calm.model.prompt import Prompt
from calm.text import describe, normalize, tidy
from calm.types import Task

__all__ = ["Call", "Plan", "make_plan"]

#: seconds of a reference clip that are used (the paper evaluates with 3)
REFERENCE_SECONDS = 5.0
#: speech is at most so slow: the cap on its length when the stop head never fires
MAX_SECONDS_PER_CHARACTER, EXTRA_SECONDS = 0.2, 2.0
MAX_DURATION_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Call:
    """The arguments of ``AudioCALM.generate``; None means the sampler's default."""

    text: str | Sequence[str]
    task: Task
    duration: float | None = None
    voice: str | None = None
    reference: VoiceReference | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    negative_prompt: str | None = None
    temperature: float | None = None
    seed: int = 0
    block_size: int | None = None
    #: sliding history, seconds; for clips longer than the model was trained on
    window_seconds: float | None = None
    solver: str | None = None
    grid: str | None = None
    guidance: str | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything the sampler needs. ``history``: latents [B, F, C] to be continued, or None."""

    requests: tuple[Request, ...]
    prompt: Prompt
    negative: Prompt | None
    history: Tensor | None
    settings: Settings
    stop_threshold: float


def make_plan(model: Generator, sampler: SamplerConfig, call: Call, *, text_style: str = "description") -> Plan:
    """Check a call and resolve it. Raises InputError that names the argument."""
    _check(call)
    texts = [call.text] if isinstance(call.text, str) else list(call.text)
    if not texts:
        raise InputError("No prompt was given", where="text")
    block_size = call.block_size or sampler.block_size or model.config.block_sizes[0]
    requests = tuple(
        _request(model, sampler, call, text, seed=call.seed + i, text_style=text_style) for i, text in enumerate(texts)
    )
    reference, history = _reference_latents(model, call, block_size=block_size)
    window = round((call.window_seconds or 0) * model.vae.frame_rate / block_size) or sampler.window_blocks
    count = len(requests)
    return Plan(
        requests=requests,
        prompt=_prompt(model, [r.description for r in requests], call.task, reference),
        negative=None
        if call.negative_prompt is None
        else _prompt(model, [requests[0].negative_description] * count, call.task, reference[:0]),
        history=None if history is None else history.expand(count, -1, -1),
        settings=Settings(
            num_steps=call.steps or sampler.num_steps,
            solver=call.solver or sampler.solver,
            grid=call.grid or sampler.grid,
            guidance=call.guidance or sampler.guidance,
            guidance_interval=tuple(sampler.guidance_interval),
            block_size=block_size,
            window_blocks=window or None,
            cfg_scale=tuple(r.cfg_scale for r in requests),
            temperature=tuple(r.temperature for r in requests),
            seeds=tuple(r.seed for r in requests),
        ),
        stop_threshold=sampler.stop_threshold,
    )


def _request(
    model: Generator, sampler: SamplerConfig, call: Call, text: str, *, seed: int, text_style: str
) -> Request:
    frame_rate, task = model.vae.frame_rate, call.task
    content = normalize(text) if task is Task.SPEECH else tidy(text)
    cap = call.max_seconds or sampler.max_seconds
    if task is Task.SPEECH:
        cap = min(cap, EXTRA_SECONDS + MAX_SECONDS_PER_CHARACTER * len(content))
        if call.reference is not None and call.reference.text:
            content = f"{normalize(call.reference.text)} {content}"
    imitated = call.reference is not None and not call.reference.text
    return Request(
        task=task,
        text=text,
        description=describe(
            task,
            content,
            duration_seconds=call.duration,
            voice=call.voice,
            has_reference=imitated,
            style=text_style,
        ),
        negative_description=None if call.negative_prompt is None else tidy(call.negative_prompt),
        num_frames=None if call.duration is None else math.ceil(call.duration * frame_rate),
        max_frames=max(1, math.ceil(cap * frame_rate)),
        duration_seconds=call.duration,
        seed=seed,
        cfg_scale=getattr(sampler, f"cfg_scale_{task}") if call.cfg_scale is None else call.cfg_scale,
        temperature=getattr(sampler, f"temperature_{task}") if call.temperature is None else call.temperature,
    )


def _prompt(model: Generator, descriptions: list[str], task: Task, reference: Tensor) -> Prompt:
    device = model.null_text.device
    ids = [model.tokenizer.encode(description) for description in descriptions]
    length = max(map(len, ids))
    text = torch.zeros(len(ids), length, dtype=torch.int64)
    for row, tokens in zip(text, ids, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    count = len(ids)
    return Prompt(
        task=torch.full((count,), task.id, device=device),
        text=text.to(device),
        num_text=torch.tensor([len(tokens) for tokens in ids], device=device),
        reference=reference.expand(count, -1, -1),
        num_reference=torch.full((count,), reference.shape[0], device=device),
    )


def _reference_latents(model: Generator, call: Call, *, block_size: int) -> tuple[Tensor, Tensor | None]:
    """Reference rows [R, C] for a voice to imitate, and history [F, C] for a clip to continue."""
    vae, weight = model.vae, model.null_text
    empty = weight.new_zeros(0, vae.latent_dim)
    if call.reference is None:
        return empty, None
    waveform = to_channels(resample(call.reference.waveform, vae.sample_rate), vae.channels)
    continued = bool(call.reference.text)
    # A transcript covers the whole clip, so a clip to be continued must not be cut.
    samples = waveform.audio.shape[-1] if continued else min(waveform.audio.shape[-1], int(REFERENCE_SECONDS * vae.sample_rate))
    unit = vae.hop * (block_size if continued else 1)
    if samples < unit:
        raise InputError(
            f"The reference clip has {waveform.seconds:.2f} s", where="reference", allowed=f"at least {unit / vae.sample_rate:.2f} s"
        )
    audio = waveform.audio[None, :, : samples - samples % unit].to(weight)
    latents = vae.to_latents(audio)[0]
    return (empty, latents) if continued else (latents, None)


def _check(call: Call) -> None:
    checks = {
        "duration": (call.duration, lambda x: 0 < x <= MAX_DURATION_SECONDS, f"seconds, above 0, at most {MAX_DURATION_SECONDS:.0f}"),
        "steps": (call.steps, lambda x: 1 <= x <= 1000, "1 to 1000"),
        "cfg_scale": (call.cfg_scale, lambda x: 0 <= x <= 100, "0 to 100; 1 is without guidance"),
        "temperature": (call.temperature, lambda x: 0 <= x <= 4, "0 to 4"),
        "seed": (call.seed, lambda x: 0 <= x < 2**63, "0 to 2^63 - 1"),
        "block_size": (call.block_size, lambda x: 1 <= x <= 16, "1 to 16 latents"),
        "max_seconds": (call.max_seconds, lambda x: 0 < x <= MAX_DURATION_SECONDS, "seconds, above 0"),
        "window_seconds": (call.window_seconds, lambda x: x > 0, "seconds, above 0"),
        "solver": (call.solver, SOLVERS.__contains__, ", ".join(SOLVERS)),
        "grid": (call.grid, GRIDS.__contains__, ", ".join(GRIDS)),
        "guidance": (call.guidance, GUIDANCE.__contains__, ", ".join(GUIDANCE)),
    }
    for name, (value, accepted, allowed) in checks.items():
        if value is not None and not accepted(value):
            raise InputError(f"{name} = {value} is not accepted", where=name, allowed=allowed)
    if call.task is not Task.SPEECH and (call.voice or call.reference):
        raise InputError(f"A voice was given for {call.task}", where="voice", allowed="task speech only")
