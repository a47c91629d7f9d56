"""One clip from its place in the corpus: the same plan, task, split and index give the same bytes."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile

from calm.corpus.clip import Clip, ClipPlan
from calm.corpus.espeak import Espeak
from calm.corpus.music import make_music
from calm.corpus.scenes import make_sound
from calm.corpus.sentences import SPLITS
from calm.corpus.speech import make_speech
from calm.types import Task

__all__ = ["Job", "RenderedClip", "make_clip", "render_job"]

#: standard deviation of the noise added to every clip (-80 dBFS): eSpeak and scenes have digital silence
_DITHER = 1e-4


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run of consecutive clips of one task and split, the unit of work of a process."""

    plan: ClipPlan
    task: Task
    split: str
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class RenderedClip:
    """A clip as it is stored: the bytes of the FLAC file and its line of the metadata."""

    flac: bytes
    metadata: dict[str, Any]


def render_job(job: Job) -> list[RenderedClip]:
    """Render the clips of a job, in order."""
    return [_render(job, index) for index in range(job.first, job.first + job.count)]


def make_clip(plan: ClipPlan, *, task: Task, split: str, index: int) -> Clip:
    """Return clip ``index`` of a task and split, with dither, before it is encoded."""
    rng = np.random.default_rng([plan.seed, task.id, SPLITS.index(split), index])
    if task is Task.SPEECH:
        clip = make_speech(rng, split=split, index=index, plan=plan, espeak=_espeak())
    else:
        clip = {Task.SOUND: make_sound, Task.MUSIC: make_music}[task](rng, split=split, plan=plan)
    audio = clip.audio + _DITHER * rng.standard_normal(len(clip.audio))
    return Clip(task=task, text=clip.text, audio=audio.astype(np.float32), attributes=clip.attributes)


def _render(job: Job, index: int) -> RenderedClip:
    clip = make_clip(job.plan, task=job.task, split=job.split, index=index)
    attributes = dict(clip.attributes)
    metadata = {
        "file_name": f"{job.task}/{job.task}_{index:06d}.flac",
        "task": str(job.task),
        "text" if job.task is Task.SPEECH else "caption": clip.text,
        "duration": round(len(clip.audio) / job.plan.sample_rate, 4),
        "sample_rate": job.plan.sample_rate,
        **{name: attributes.pop(name) for name in ("speaker", "language") if name in attributes},
        "attributes": attributes,
    }
    samples = np.round(np.clip(clip.audio, -1, 1) * 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, job.plan.sample_rate, format="FLAC", subtype="PCM_16")
    return RenderedClip(flac=file.getvalue(), metadata=metadata)


@functools.cache
def _espeak() -> Espeak:
    return Espeak()
