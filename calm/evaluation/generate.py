"""Let a model make the clips of a manifest, one by one, so that they can be judged like those of any other system.

Several processes share the items.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

from calm import audio
from calm.errors import CalmError, DataError
from calm.evaluation.manifest import Manifest, ManifestItem
from calm.evaluation.processes import place
from calm.evaluation.reconstruction import reconstruct
from calm.evaluation.systems import LOG_NAME, read_log
from calm.generation import AudioCALM, VoiceReference
from calm.safety import stamp
from calm.safety.consent import Consent
from calm.types import Task, Waveform
from calm.vae import VAE

__all__ = ["generate_clips", "reconstruct_clips"]

#: seconds of the reference clip that are used (the protocol of zero-shot TTS: METHOD 6)
REFERENCE_SECONDS = 3.0

_Advance = Callable[[int, int], None]


def generate_clips(
    model: AudioCALM,
    manifest: Manifest,
    folder: Path,
    *,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    advance: _Advance = lambda finished, total: None,
) -> dict[str, str]:
    """Write ``ID.wav`` for every item that has none yet, and a line of ``generation.jsonl`` with times and solver steps.

    Clips are streamed, one at a time, so that the first audio's time is that of a listener. Sounds and music are as long
    as asked for. A voice is cloned from the item's reference clip, which the benchmark publishes for this purpose: the
    consent record that goes along says so and holds for today.

    Args:
        seed: item i has seed + i, whatever was made before.
        options: of `AudioCALM.generate`, for all items.
    Returns the reasons of items that could not be made, by id.
    """
    failed: dict[str, str] = {}
    folder.mkdir(parents=True, exist_ok=True)
    logged, (rank, world) = read_log(folder), place()
    for number, entry in list(enumerate(manifest.items))[rank::world]:
        path = folder / f"{entry.item.id}.wav"
        if not (path.is_file() and entry.item.id in logged):
            try:
                _generate(model, entry, path, seed=seed + number, options=options or {}, benchmark=manifest.name)
            except CalmError as error:
                failed[entry.item.id] = error.what
        advance(number + 1, len(manifest.items))
    return failed


def reconstruct_clips(
    vae: VAE, manifest: Manifest, folder: Path, *, advance: _Advance = lambda finished, total: None
) -> dict[str, str]:
    """Write what the VAE makes of every original, as ``ID.wav``; the ceiling of any model on this VAE."""
    failed: dict[str, str] = {}
    folder.mkdir(parents=True, exist_ok=True)
    rank, world = place()
    for number, entry in list(enumerate(manifest.items))[rank::world]:
        path = folder / f"{entry.item.id}.wav"
        if entry.target is not None and not path.is_file():
            try:
                audio.write(path, reconstruct(vae, audio.read(entry.target)), provenance=None)
            except CalmError as error:
                failed[entry.item.id] = error.what
        advance(number + 1, len(manifest.items))
    return failed


def _generate(
    model: AudioCALM, entry: ManifestItem, path: Path, *, seed: int, options: dict[str, Any], benchmark: str
) -> None:
    item, reference = entry.item, _reference(entry, benchmark)
    asked: dict[str, Any] = {**options, "seed": seed}
    if reference is not None:
        asked["reference"] = reference
    if item.task is not Task.SPEECH and item.seconds is not None:
        asked.setdefault("duration", item.seconds)
    text = item.prompt if item.prompt and item.task is not Task.SPEECH else item.text
    if item.prompt and item.task is Task.SPEECH:
        asked.setdefault("voice", item.prompt)
    started, first, pieces = time.perf_counter(), None, []
    for piece in model.generate_streaming(text, task=str(item.task), **asked):
        first = first or time.perf_counter() - started
        pieces.append(piece.audio)
    if first is None:
        raise DataError("The model ended before the first sound", where=item.id)
    taken = time.perf_counter() - started
    clip = Waveform(audio=torch.cat(pieces, dim=-1), sample_rate=model.sample_rate)
    consent = None if reference is None else reference.consent
    audio.write(
        path, clip, provenance=stamp(model=model.name, task=item.task, seed=seed, prompt=text, consent=consent)
    )
    steps = asked.get("steps") or model.sampler.num_steps
    _log(path.parent, {"id": item.id, "seconds_taken": taken, "first_audio_seconds": first, "nfe": steps, "seed": seed})


def _reference(entry: ManifestItem, benchmark: str) -> VoiceReference | None:
    if entry.reference is None or entry.item.task is not Task.SPEECH:
        return None
    clip = audio.read(entry.reference, max_seconds=REFERENCE_SECONDS)
    today = date.today()
    record = Consent.new(
        clip, who=f"a speaker of the benchmark {benchmark}", purpose="evaluation", granted=today, expires=today
    )
    return VoiceReference(waveform=clip, consent=record)


def _log(folder: Path, entry: dict[str, Any]) -> None:
    line = json.dumps(entry) + "\n"
    with (folder / LOG_NAME).open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
