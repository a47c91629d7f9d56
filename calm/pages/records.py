"""What a page shows, as records. ``page.json`` in a run's folder holds one `Page`; paths are relative to that folder."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Band", "Clip", "Curves", "Fact", "Overfit", "OverfitPair", "OverfitReading", "Page", "Reconstruction", "Stage"]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A label and its value: ``Generator``, ``8.1 M parameters``."""

    label: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A generated clip.

    Args:
        task: speech, sound or music.
        prompt: the text that was given.
        audio: the file.
        voice: description of the voice (speech).
        settings: how it was sampled, in words: ``10 steps, guidance 2``.
        finish_reason: ``stop``, ``duration`` or ``max_length``.
        seed: of the noise.
        rtf: seconds of work per second of audio.
        first_audio_seconds: time until the first samples, when streamed.
        step: training steps of the model, where it was rendered in training.
    """

    task: str
    prompt: str
    audio: str
    voice: str | None = None
    settings: str | None = None
    finish_reason: str | None = None
    seed: int | None = None
    rtf: float | None = None
    first_audio_seconds: float | None = None
    step: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """A recording, and what is left of it after the VAE's encoder and decoder."""

    task: str
    text: str
    original: str
    reconstruction: str


@dataclass(frozen=True, kw_only=True)
class OverfitPair:
    """A target and what the overfitted model sampled: latents (``.npy``, [F, C]) and audio of both."""

    task: str
    text: str
    nmse: float
    target_latents: str
    sampled_latents: str
    target_audio: str
    sampled_audio: str


@dataclass(frozen=True, kw_only=True)
class OverfitReading:
    """The NMSE of each pair after ``step`` steps."""

    step: int
    nmse: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Overfit:
    """A small model trained on one clip of each task. ``readings`` follow the order of ``pairs``."""

    pairs: tuple[OverfitPair, ...]
    readings: tuple[OverfitReading, ...] = ()
    step: int = 0
    seconds: float = 0.0
    goal: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Band:
    """A phase of the curriculum: steps from ``start`` up to ``stop``, which is None for the last one."""

    name: str
    start: int
    stop: int | None = None
    expert: str = "on"
    tasks: str = ""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The losses of one training run: ``history`` is its history.csv, ``kind`` is ``vae`` or ``generator``."""

    name: str
    kind: str
    history: str
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of the work and how long it took."""

    name: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything on one page. Sections without content are left out."""

    title: str
    lead: str = ""
    notes: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    clips: tuple[Clip, ...] = ()
    reconstructions: tuple[Reconstruction, ...] = ()
    overfit: Overfit | None = None
    curves: tuple[Curves, ...] = ()
    stages: tuple[Stage, ...] = ()
