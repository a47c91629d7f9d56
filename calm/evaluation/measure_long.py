"""Part ``long``: three minutes of speech and of music, streamed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from calm.audio import level_dbfs, resample, to_channels
from calm.errors import DataError
from calm.evaluation.classifier import LABELS, Classifier
from calm.evaluation.drift import WINDOW_SECONDS, measure_drift
from calm.evaluation.lists import load_clips, make_speech_list
from calm.evaluation.measure_clips import load_classifier
from calm.evaluation.reconstruction import latents_of
from calm.evaluation.study import Study, consented
from calm.generation.repetition import RepetitionGate
from calm.types import Task, Waveform

__all__ = ["LONG_SECONDS", "long_text", "measure_long"]

LONG_SECONDS = 180.0
#: a long text is spoken sentence by sentence, in pieces of about the length that the model was trained on
PIECE_CHARACTERS = 100
MUSIC, PIANO = "A calm piano piece.", "music:piano"
#: what the classifier is asked about at once: the length of the training's pieces
HEARD_SECONDS = 6.0
#: a window so far below the loudest is silence, of whatever the classifier is reminded by what is left of it
SILENT_DB = 40.0
#: seconds between two questions to the repetition gate, about a block of `mini`; originals that are asked for comparison
GATE_SECONDS, NUM_ORIGINALS = 0.32, 100


def measure_long(study: Study, *, seconds: float = LONG_SECONDS) -> dict[str, Any]:
    """Drift of level, spectrum and latents from the first to the last 20 s; a clip that ended early says so.

    Speech is a long text in one reference voice, piece after piece; music is one clip, whose history slides.
    ``stuck`` is the share of moments at which the repetition gate, as the sampler has it, finds the same stretch
    ``repetition_count`` times in a row; beside it the same of originals, since music repeats itself by right.
    ``still_music`` and ``still_piano`` are the shares of windows that are not silent and in which the classifier hears an
    instrument, and a piano, before everything else that it knows: music may keep its level and be an engine by then.
    """
    reference = consented(make_speech_list(study.corpus, split=study.split, size=1, seed=study.seed)[0].reference_audio)
    texts = long_text(study, seconds=seconds)
    streams = {
        Task.SPEECH: (_stream(study, text, Task.SPEECH, number, reference=reference) for number, text in enumerate(texts)),
        Task.MUSIC: iter([_stream(study, MUSIC, Task.MUSIC, 0, duration=seconds)]),
    }
    about = {
        Task.SPEECH: {"pieces": len(texts), "piece_characters": PIECE_CHARACTERS},
        Task.MUSIC: {"pieces": 1},
    }
    found = {}
    for task, pieces in streams.items():
        clip = _collected(study, task, pieces, seconds)
        found[str(task)] = {**_measure(study, task, clip, seconds), **about[task]}
        if task is Task.MUSIC:
            found[str(task)] |= _still(load_classifier(study), clip)
    return found


def long_text(study: Study, *, seconds: float) -> list[str]:
    """Sentences of the split whose originals together last at least ``seconds``, joined to pieces."""
    pieces, total = [""], 0.0
    for clip in load_clips(study.corpus, split=study.split, task=Task.SPEECH):
        if pieces[-1] and len(pieces[-1]) + len(clip.text) > PIECE_CHARACTERS:
            pieces.append("")
        pieces[-1] = f"{pieces[-1]} {clip.text}".strip()
        total += clip.seconds
        if total >= seconds:
            return pieces
    raise DataError(
        f"The split has {total:.0f} s of speech", where=study.corpus / study.split, allowed=f"at least {seconds:.0f} s"
    )


def _stream(study: Study, text: str, task: Task, number: int, **options: Any) -> Iterator[Waveform]:
    return study.model.generate_streaming(text, task=str(task), seed=1_000_000 * study.seed + number, **options)


def _collected(study: Study, task: Task, streams: Iterable[Iterator[Waveform]], seconds: float) -> Waveform:
    audio, done = [], 0.0
    for piece in itertools.chain.from_iterable(streams):
        audio.append(piece.audio)
        done += piece.seconds
        study.advance(f"stream long {task}", round(min(done, seconds)), round(seconds))
    return Waveform(audio=torch.cat(audio, dim=-1), sample_rate=study.model.sample_rate)


def _measure(study: Study, task: Task, clip: Waveform, seconds: float) -> dict[str, Any]:
    window = min(WINDOW_SECONDS, clip.seconds / 3)
    return {
        "asked_seconds": seconds,
        "seconds": clip.seconds,
        # Half of what the originals take: speech that is merely fast does not count.
        "ended_early": clip.seconds < 0.5 * seconds,
        "window_seconds": window,
        "drift": measure_drift(clip, vae=study.model.model.vae, window_seconds=window),
        "stuck": _stuck(study, [clip]),
        "stuck_originals": _stuck(study, [item.audio() for item in study.clips(task)[:NUM_ORIGINALS]]),
    }


@torch.no_grad()
def _stuck(study: Study, clips: Iterable[Waveform]) -> float | None:
    """Share of moments, over all clips, at which the repetition gate would end a clip; None without clips."""
    vae, sampler = study.model.model.vae, study.model.sampler
    told: list[bool] = []
    for clip in clips:
        gate = RepetitionGate(
            vae.frame_rate, count=max(2, sampler.repetition_count), similarity=sampler.repetition_similarity
        )
        clip = to_channels(resample(clip, vae.sample_rate), vae.channels)
        latents = latents_of(vae, clip.audio)[0].float().cpu()
        told += [gate.push(part.numpy()) for part in latents.split(max(1, round(GATE_SECONDS * vae.frame_rate)))]
    return sum(told) / len(told) if told else None


def _still(classifier: Classifier, clip: Waveform) -> dict[str, float]:
    """Shares of windows that sound and whose likeliest label is an instrument, and the piano."""
    windows = clip.audio.split(round(HEARD_SECONDS * clip.sample_rate), dim=-1)
    levels = [level_dbfs(window) for window in windows]
    sounding = [window for window, level in zip(windows, levels, strict=True) if level > max(levels) - SILENT_DB]
    heard = [classifier.hear(Waveform(audio=window, sample_rate=clip.sample_rate)) for window in sounding]
    names = [LABELS[int(each.presence[0].argmax())] for each in heard]
    return {
        "still_music": sum(name.startswith("music:") for name in names) / len(windows),
        "still_piano": sum(name == PIANO for name in names) / len(windows),
    }
