"""What can be heard: prompts turned into clips, and recordings sent through the VAE."""

from __future__ import annotations

import time
from pathlib import Path

from torch import Tensor

from calm import audio
from calm.audio import fit, resample, to_channels
from calm.data.shards import ShardSet
from calm.demo.plan import DemoPrompt
from calm.generation import AudioCALM
from calm.pages.records import Clip, Reconstruction
from calm.safety import stamp
from calm.types import TASKS, Task, Waveform
from calm.vae import VAE

__all__ = ["choose_row", "render_prompt", "render_reconstruction", "warm_up", "write_generated"]

#: length of a recording that says something about the VAE, seconds
WANTED_SECONDS = 4.0


def warm_up(pipeline: AudioCALM) -> None:
    """Run everything once: first calls allocate memory and would be timed for that."""
    pipeline.generate("rain", task="sound", duration=0.5, steps=1)


def render_prompt(pipeline: AudioCALM, prompt: DemoPrompt, path: Path, *, seed: int) -> Clip:
    """Generate one prompt twice, whole for the file and streamed for the clock; ``path`` lies in the run's folder."""
    options = {"task": str(prompt.task), "seed": seed}
    options |= {"duration": prompt.duration} if prompt.duration is not None else {}
    options |= {"voice": prompt.voice} if prompt.voice is not None else {}
    clip = pipeline.generate(prompt.text, **options)[0]
    started, first, count = time.perf_counter(), 0.0, 0
    for piece in pipeline.generate_streaming(prompt.text, **options):
        first = first or time.perf_counter() - started
        count += piece.audio.shape[-1]
    streamed = time.perf_counter() - started
    write_generated(path, clip.waveform, model=pipeline.name, task=prompt.task, seed=seed, prompt=prompt.text)
    guidance = getattr(pipeline.sampler, f"cfg_scale_{prompt.task}")
    return Clip(
        task=str(prompt.task),
        prompt=prompt.text,
        audio=f"{path.parent.name}/{path.name}",
        voice=prompt.voice,
        settings=f"{pipeline.sampler.num_steps} steps, guidance {guidance:g}",
        finish_reason=clip.finish_reason,
        seed=seed,
        rtf=streamed / max(count / clip.sample_rate, 1e-9),
        first_audio_seconds=first,
    )


def render_reconstruction(vae: VAE, shards: ShardSet, task: Task, folder: Path, *, model: str) -> Reconstruction:
    """Write a recording of ``task`` and its way through the VAE as WAV files."""
    sample = shards.read(choose_row(shards, task, seconds=WANTED_SECONDS), max_seconds=2 * WANTED_SECONDS)
    waveform = to_channels(resample(sample.waveform, vae.sample_rate), vae.channels)
    num_samples = waveform.audio.shape[-1]
    padded = fit(waveform.audio, -(-num_samples // vae.hop) * vae.hop)
    copy = Waveform(audio=_through(vae, padded)[:, :num_samples], sample_rate=vae.sample_rate)
    original, reconstruction = folder / f"{task}-original.wav", folder / f"{task}-reconstruction.wav"
    audio.write(original, waveform, provenance=None)
    write_generated(reconstruction, copy, model=model, task=task, seed=0, prompt=None)
    return Reconstruction(
        task=str(task),
        text=sample.text,
        original=f"{folder.name}/{original.name}",
        reconstruction=f"{folder.name}/{reconstruction.name}",
    )


def choose_row(shards: ShardSet, task: Task, *, seconds: float) -> int:
    """Return the clip of ``task`` whose length is nearest to ``seconds``."""
    return min(shards.by_task[task], key=lambda row: abs(shards.rows[row].clip.seconds - seconds))


def write_generated(path: Path, waveform: Waveform, *, model: str, task: Task, seed: int, prompt: str | None) -> Path:
    """Write audio that a model made, with its record of origin."""
    return audio.write(path, waveform, provenance=stamp(model=model, task=TASKS[task.id], seed=seed, prompt=prompt))


def _through(vae: VAE, clip: Tensor) -> Tensor:
    """Encoder and decoder: [A, S] -> [A, S]."""
    return vae.to_audio(vae.to_latents(clip[None]))[0].clamp(-1, 1)
