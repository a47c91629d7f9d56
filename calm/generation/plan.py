"""From a call to numbers: descriptions, token ids, reference latents, lengths, guidance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from calm.errors import InputError
from calm.generation.checks import LIMITS, MAX_DURATION_SECONDS, check, check_texts
from calm.generation.conditions import make_prompt, negative_prompt, reference_latents
from calm.generation.config import SamplerConfig
from calm.generation.course import Settings
from calm.generation.repetition import spoken_repeats
from calm.generation.request import Request, VoiceReference
from calm.generation.solver import SOLVERS
from calm.model.generator import Generator
from calm.model.prompt import Prompt
from calm.text import describe, ended, normalize, tidy
from calm.types import Task

__all__ = ["Call", "Plan", "make_plan"]

#: speech is at most so slow: the cap on its length when the stop head never fires
MAX_SECONDS_PER_CHARACTER, EXTRA_SECONDS = 0.2, 2.0
#: sliding history of a clip longer than those of the training, as a share of these: its end stays out of sight
HISTORY_SHARE = 0.5


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
    history_time: float | None = None
    seed: int = 0
    block_size: int | None = None
    #: sliding history, seconds; clips longer than those of the training have one by default
    window_seconds: float | None = None
    solver: str | None = None
    grid: str | None = None
    guidance: str | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything the sampler needs.

    ``history``: latents [B, F, C] to be continued, or None. ``self_check``: thresholds of silence, tail and
    repetition; None where the clips are not checked.
    """

    requests: tuple[Request, ...]
    prompt: Prompt
    negative: Prompt | None
    history: Tensor | None
    settings: Settings
    stop_threshold: float
    self_check: SamplerConfig | None

    @property
    def sampling(self) -> dict[str, Any]:
        """The arguments of ``open_course`` and ``sample_blocks``."""
        return {"prompt": self.prompt, "settings": self.settings, "negative": self.negative, "history": self.history}


def make_plan(
    model: Generator,
    sampler: SamplerConfig,
    call: Call,
    *,
    text_style: str = "description",
    trained_seconds: float | None = None,
) -> Plan:
    """Check a call and resolve it. Raises InputError that names the argument.

    Args:
        trained_seconds: the longest clips of the training. A longer one that is asked for slides, and is told to
            be so long, or nothing: a model at the end of all that it knows ends the piece. None for no such limit.
    """
    texts, call = check_texts(call.text), _checked(call, text_style=text_style)
    _check_duration(model, call)
    block_size = call.block_size or sampler.block_size or model.config.block_sizes[0]
    call, told = _slide(sampler, call, trained_seconds, told_by_rows=model.timing is not None)
    requests = tuple(
        _request(model, sampler, call, text, seed=call.seed + i, text_style=text_style, told_seconds=told)
        for i, text in enumerate(texts)
    )
    reference, history = reference_latents(model, call.reference, block_size=block_size)
    count = len(requests)
    solver = call.solver or sampler.solver
    _check_few_steps(model, solver, requests)
    return Plan(
        requests=requests,
        prompt=make_prompt(model, requests, reference),
        negative=negative_prompt(model, requests, reference),
        history=None if history is None else history.expand(count, -1, -1),
        settings=Settings(
            num_steps=call.steps or sampler.num_steps,
            solver=solver,
            grid=call.grid or sampler.grid,
            guidance=call.guidance or sampler.guidance,
            guidance_interval=tuple(sampler.guidance_interval),
            block_size=block_size,
            history_time=getattr(sampler, f"history_time_{call.task}") if call.history_time is None else call.history_time,
            window_blocks=_window_blocks(model, sampler, call, block_size=block_size),
            cfg_scale=tuple(r.cfg_scale for r in requests),
            temperature=tuple(r.temperature for r in requests),
            seeds=tuple(r.seed for r in requests),
            max_blocks=_max_blocks(requests, history, block_size=block_size),
            reads_both=model.head.reads_both,
        ),
        stop_threshold=sampler.stop_threshold,
        self_check=sampler if call.duration is None and call.task in sampler.self_check else None,
    )


def _slide(
    sampler: SamplerConfig, call: Call, trained_seconds: float | None, *, told_by_rows: bool
) -> tuple[Call, float | None]:
    """The call, with a sliding history where it needs one, and the duration that the prompt tells.

    Speech keeps its history: it must know which words are spoken, and its prompt tells no duration. Nor does that of
    long music where rows are told their moment: in training it is cut anywhere, and an excerpt's text has no duration.
    """
    speaks, known = call.task is Task.SPEECH, trained_seconds is not None and call.duration is not None
    if speaks or not known or call.duration <= trained_seconds:
        return call, call.duration
    if call.window_seconds is None and not sampler.window_blocks:
        call = replace(call, window_seconds=HISTORY_SHARE * trained_seconds)
    return call, None if told_by_rows and call.task is Task.MUSIC else trained_seconds


def _request(
    model: Generator,
    sampler: SamplerConfig,
    call: Call,
    text: str,
    *,
    seed: int,
    text_style: str,
    told_seconds: float | None,
) -> Request:
    frame_rate, task = model.vae.frame_rate, call.task
    content = ended(normalize(text)) if task is Task.SPEECH else tidy(text)
    cap, floor, spoken = call.max_seconds or sampler.max_seconds, 0.0, 1
    if task is Task.SPEECH:
        floor, spoken = sampler.min_seconds_per_character * len(content), spoken_repeats(content)
        cap = min(cap, EXTRA_SECONDS + MAX_SECONDS_PER_CHARACTER * len(content))
        if call.reference is not None and call.reference.text:
            content = f"{ended(normalize(call.reference.text))} {content}"
    imitated = call.reference is not None and not call.reference.text
    return Request(
        task=task,
        text=text,
        description=describe(
            task,
            content,
            duration_seconds=told_seconds,
            voice=call.voice,
            has_reference=imitated,
            style=text_style,
        ),
        negative_description=None if call.negative_prompt is None else tidy(call.negative_prompt),
        num_frames=None if call.duration is None else math.ceil(call.duration * frame_rate),
        min_frames=math.floor(floor * frame_rate),
        max_frames=max(1, math.ceil(cap * frame_rate)),
        # What the text itself repeats is no fault.
        repetition_count=sampler.repetition_count and max(sampler.repetition_count, spoken + 1),
        duration_seconds=call.duration,
        seed=seed,
        cfg_scale=getattr(sampler, f"cfg_scale_{task}") if call.cfg_scale is None else call.cfg_scale,
        temperature=getattr(sampler, f"temperature_{task}") if call.temperature is None else call.temperature,
    )


def _checked(call: Call, *, text_style: str) -> Call:
    """The call with plain numbers. Raises InputError for an argument that is not accepted."""
    # Only the seed has no default in the sampler, so None is not among its values.
    given = {name: getattr(call, name) for name in LIMITS if name in Call.__dataclass_fields__}
    given = {name: value for name, value in given.items() if value is not None or name == "seed"}
    call = replace(call, **check(given, error=InputError))
    if call.reference is not None and not isinstance(call.reference, VoiceReference):
        raise InputError(f"{call.reference!r} is no reference", where="reference", allowed="a VoiceReference")
    if call.task is not Task.SPEECH and (call.voice or call.reference):
        raise InputError(f"A voice was given for {call.task}", where="voice", allowed="task speech only")
    if call.voice and text_style == "raw":
        raise InputError(
            "The model was trained on raw text and knows no voice descriptions",
            where="voice",
            hint="leave it out, or give a reference clip",
        )
    return call


def _check_duration(model: Generator, call: Call) -> None:
    vae = model.vae
    if call.duration is not None and round(call.duration * vae.sample_rate) < vae.hop:
        raise InputError(
            f"duration = {call.duration} is shorter than one latent frame",
            where="duration",
            allowed=f"at least {math.ceil(1e4 * vae.hop / vae.sample_rate) / 1e4:g} s",
        )


def _check_few_steps(model: Generator, solver: str, requests: tuple[Request, ...]) -> None:
    """A model that knows averages of its guided flow is asked for averages, and guided no more; others never."""
    if model.head.averages != (solver == "average"):
        knows = "averages" if model.head.averages else "no averages"
        raise InputError(
            f"The solver is '{solver}', and the model knows {knows} of its flow",
            where="solver",
            allowed="average" if model.head.averages else [name for name in SOLVERS if name != "average"],
        )
    if model.head.averages and any(request.cfg_scale != 1 for request in requests):
        raise InputError(
            "Guidance is part of this model's weights and cannot be set",
            where="cfg_scale",
            allowed="1",
            hint="leave it out, or take the model that this one was distilled from",
        )


def _window_blocks(model: Generator, sampler: SamplerConfig, call: Call, *, block_size: int) -> int | None:
    """Blocks of sliding history, at least one; None for all."""
    if call.window_seconds is None:
        return sampler.window_blocks or None
    # No clip is longer than the maximum, and the cache is allocated for the window.
    seconds = min(call.window_seconds, MAX_DURATION_SECONDS)
    return max(1, round(seconds * model.vae.frame_rate / block_size))


def _max_blocks(requests: Sequence[Request], history: Tensor | None, *, block_size: int) -> int:
    """Blocks of the longest clip that these requests may become, with what is continued."""
    frames = max(r.max_frames if r.num_frames is None else r.num_frames for r in requests)
    return -(-frames // block_size) + (0 if history is None else len(history) // block_size)
