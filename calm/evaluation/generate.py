"""Let a model make the clips of a manifest, one by one, so that they can be judged like those of any other system.

Several processes share the items. A clip is kept where the log says that it was made of the same item, reference, seed
and options; else it is made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch

from calm import audio
from calm.errors import CalmError, DataError, InputError, did_you_mean
from calm.evaluation.log import append_log, item_seed, read_log
from calm.evaluation.manifest import Manifest, ManifestItem, item_record
from calm.evaluation.processes import place
from calm.evaluation.reconstruction import reconstruct
from calm.evaluation.store import digest
from calm.generation import AudioCALM, VoiceReference
from calm.generation.plan import Call
from calm.generation.solver import ORDERS
from calm.safety import stamp
from calm.safety.consent import Consent
from calm.scorers.hub import hash_of
from calm.types import Task, Waveform
from calm.vae import VAE

__all__ = ["check_options", "generate_clips", "reconstruct_clips"]

#: seconds of the reference clip that are used (the protocol of zero-shot TTS: METHOD 6)
REFERENCE_SECONDS = 3.0
#: options of generation that the item decides
OF_THE_ITEM = ("text", "task", "duration", "voice", "reference", "seed")

_Advance = Callable[[int, int], None]


def check_options(options: Mapping[str, Any]) -> None:
    """Raise InputError for an option that `AudioCALM.generate` lacks, or that the list decides."""
    allowed = [name for name in Call.__dataclass_fields__ if name not in OF_THE_ITEM]
    for name in options:
        if name not in allowed:
            why = "is decided by the list and --seed" if name in OF_THE_ITEM else "is no option of generation"
            raise InputError(
                f"'{name}' {why}. {did_you_mean(name, allowed) or ''}".strip(), where=f"generate.{name}", allowed=allowed
            )


def generate_clips(
    model: AudioCALM,
    manifest: Manifest,
    folder: Path,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    advance: _Advance = lambda finished, total: None,
) -> dict[str, str]:
    """Write ``ID.wav`` and a line of ``generation.jsonl`` (times, solver steps) for every item that has none yet.

    Clips are streamed, one at a time, so that the first audio's time is that of a listener. Sounds and music are as long
    as asked for. A voice is cloned from the item's reference clip, which the benchmark publishes for this purpose: the
    consent record that goes along says so and holds for today.

    Args:
        seed: of the run; each item has its own, which depends on this and on its id alone.
        options: of `AudioCALM.generate`, for all items.
    Returns the reasons of items that could not be made, by id. Raises InputError for options that it does not have.
    """
    options = dict(options or {})
    check_options(options)
    failed: dict[str, str] = {}
    for entry, path, of in _missing(manifest, folder, {"seed": seed, "options": options}, advance, needs="reference"):
        try:
            said = _generate(model, entry, path, seed=item_seed(seed, entry.item.id), options=options, benchmark=manifest.name)
            append_log(folder, {"id": entry.item.id, "of": of, **said})
        except CalmError as error:
            failed[entry.item.id] = error.what
    return failed


def reconstruct_clips(
    vae: VAE, manifest: Manifest, folder: Path, *, advance: _Advance = lambda finished, total: None
) -> dict[str, str]:
    """Write what the VAE makes of every original, as ``ID.wav``; the ceiling of any model on this VAE."""
    failed: dict[str, str] = {}
    for entry, path, of in _missing(manifest, folder, {}, advance, needs="target"):
        try:
            if entry.target is not None:
                audio.write(path, reconstruct(vae, audio.read(entry.target)), provenance=None)
                append_log(folder, {"id": entry.item.id, "of": of})
        except CalmError as error:
            failed[entry.item.id] = error.what
    return failed


def _missing(
    manifest: Manifest, folder: Path, settings: Mapping[str, Any], advance: _Advance, *, needs: str
) -> Iterator[tuple[ManifestItem, Path, str]]:
    """This process's items without a clip that was made of the same: item, path, and a hash of what it is made of."""
    folder.mkdir(parents=True, exist_ok=True)
    logged, (rank, world) = read_log(folder), place()
    share = manifest.items[rank::world]
    for done, entry in enumerate(share, start=1):
        file, path = getattr(entry, needs), folder / f"{entry.item.id}.wav"
        made_of = hash_of(file) if file is not None and file.is_file() else None
        of = digest(item_record(entry.item), made_of, settings)
        if not (path.is_file() and logged.get(entry.item.id, {}).get("of") == of):
            path.unlink(missing_ok=True)  # nobody shall judge a clip of something else
            yield entry, path, of
        advance(done, len(share))


def _generate(
    model: AudioCALM, entry: ManifestItem, path: Path, *, seed: int, options: dict[str, Any], benchmark: str
) -> dict[str, Any]:
    """Write one clip and return what is to be logged."""
    item, reference = entry.item, _reference(entry, benchmark)
    asked: dict[str, Any] = {**options, "seed": seed}
    if reference is not None:
        asked["reference"] = reference
    if item.task is not Task.SPEECH and item.seconds is not None:
        asked["duration"] = item.seconds
    text = item.prompt if item.prompt and item.task is not Task.SPEECH else item.text
    if item.prompt and item.task is Task.SPEECH:
        asked["voice"] = item.prompt
    started, first, pieces = time.perf_counter(), None, []
    for piece in model.generate_streaming(text, task=str(item.task), **asked):
        first = first or time.perf_counter() - started
        pieces.append(piece.audio)
    if first is None:
        raise DataError("The model ended before the first sound", where=item.id)
    taken = time.perf_counter() - started
    clip = Waveform(audio=torch.cat(pieces, dim=-1), sample_rate=model.sample_rate)
    consent = None if reference is None else reference.consent
    origin = stamp(model=model.name, task=item.task, seed=seed, prompt=text, consent=consent)
    audio.write(path, clip, provenance=origin)
    nfe = _evaluations(model, item.task, options)
    return {"seconds_taken": taken, "first_audio_seconds": first, "nfe": nfe, "seed": seed}


def _evaluations(model: AudioCALM, task: Task, options: Mapping[str, Any]) -> int:
    """Evaluations of the flow's network for one block: steps x order of the solver x 2 with guidance."""
    scale = options.get("cfg_scale") or getattr(model.sampler, f"cfg_scale_{task}")
    steps, solver = options.get("steps") or model.sampler.num_steps, options.get("solver") or model.sampler.solver
    return steps * ORDERS[solver] * (1 if scale == 1 else 2)


def _reference(entry: ManifestItem, benchmark: str) -> VoiceReference | None:
    if entry.reference is None or entry.item.task is not Task.SPEECH:
        return None
    clip = audio.read(entry.reference, max_seconds=REFERENCE_SECONDS)
    today = date.today()
    record = Consent.new(
        clip, who=f"a speaker of the benchmark {benchmark}", purpose="evaluation", granted=today, expires=today
    )
    return VoiceReference(waveform=clip, consent=record)
