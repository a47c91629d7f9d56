"""What the words and the reference of a call become: prompts of ids, numbers and latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from calm.audio.transforms import resample, to_channels
from calm.errors import InputError
from calm.generation.request import Request, VoiceReference
from calm.model.generator import Generator
from calm.model.prompt import Prompt
from calm.text import named_tempo
from calm.types import Task

__all__ = ["make_prompt", "negative_prompt", "reference_latents"]

#: seconds of a reference clip that are used (the paper evaluates with 3)
REFERENCE_SECONDS = 5.0


def make_prompt(model: Generator, requests: Sequence[Request], reference: Tensor) -> Prompt:
    """The conditions of B requests of one task, who share the reference rows [R, C]."""
    return _prompt(model, [r.description for r in requests], requests[0].task, reference, _timing(requests))


def negative_prompt(model: Generator, requests: Sequence[Request], reference: Tensor) -> Prompt | None:
    """What guidance leads away from; None where no words were given. Raises InputError where there is no guidance."""
    if requests[0].negative_description is None:
        return None
    if all(request.cfg_scale == 1 for request in requests):
        raise InputError(
            "A negative prompt has no effect without guidance", where="negative_prompt", hint="set cfg_scale above 1"
        )
    return _prompt(model, [str(r.negative_description) for r in requests], requests[0].task, reference[:0])


def reference_latents(
    model: Generator, given: VoiceReference | None, *, block_size: int
) -> tuple[Tensor, Tensor | None]:
    """Reference rows [R, C] for a voice to imitate, and history [F, C] for a clip to continue."""
    vae, weight = model.vae, model.null_text
    empty = weight.new_zeros(0, vae.latent_dim)
    if given is None:
        return empty, None
    waveform = to_channels(resample(given.waveform, vae.sample_rate), vae.channels)
    continued = bool(given.text)
    samples, whole = waveform.audio.shape[-1], waveform.audio[None]
    if samples < vae.hop:
        raise InputError(
            f"The reference clip has {waveform.seconds:.2f} s", where="reference", allowed=f"at least {vae.hop / vae.sample_rate:.2f} s"
        )
    if continued:
        # A transcript covers the whole clip, and speech goes on from its end: only its start may be stretched.
        audio = F.pad(whole, (-samples % (vae.hop * block_size), 0))
    else:
        samples = min(samples, int(REFERENCE_SECONDS * vae.sample_rate))
        audio = whole[..., : samples - samples % vae.hop]
    latents = vae.to_latents(audio.to(weight))[0]
    return (empty, latents) if continued else (latents, None)


def _timing(requests: Sequence[Request]) -> Tensor:
    """What `Prompt.timing` says: the tempo that the words name, and the length that is asked for; nothing of speech."""
    rows = [
        (0.0, 0.0, 0.0) if r.task is Task.SPEECH else (named_tempo(r.description), r.duration_seconds or 0.0, 0.0)
        for r in requests
    ]
    return torch.tensor(rows)


def _prompt(
    model: Generator, descriptions: list[str], task: Task, reference: Tensor, timing: Tensor | None = None
) -> Prompt:
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
        timing=None if timing is None else timing.to(device),
    )
