"""Parts ``sound`` and ``music``: is what was asked for heard, as often, as fast, and how far is the whole set?"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calm.evaluation.classifier import Classifier, ClassifierConfig, Verdict, judge, labels_of
from calm.evaluation.lists import ClipItem
from calm.evaluation.reconstruction import reconstruct
from calm.evaluation.study import Study, stamp_of
from calm.evaluation.tempo import TempoError, estimate_tempo, tempo_error
from calm.metrics.frechet import Gaussian, frechet_distance
from calm.metrics.intervals import Figure, mean, rate, rate_ratio
from calm.types import Task, Waveform

__all__ = ["classifier_path", "load_classifier", "measure_music", "measure_sound", "prompt_of"]

EMBEDDING = "64 values before the labels of the classifier that was trained on original clips (calm.evaluation.network)"


def measure_sound(study: Study) -> dict[str, Any]:
    """Kinds, counts, exact lengths and Frechet distance of generated sounds."""
    return _measure(study, Task.SOUND)


def measure_music(study: Study) -> dict[str, Any]:
    """Instruments, tempo, exact lengths and Frechet distance of generated music."""
    return _measure(study, Task.MUSIC)


def prompt_of(item: ClipItem) -> str:
    """The caption, and for music the tempo: captions of the corpus say no more of it than "slow" or "fast"."""
    return f"{item.text} Tempo: {item.attributes['tempo']} BPM." if item.task is Task.MUSIC else item.text


def load_classifier(study: Study) -> Classifier:
    """The classifier of the study's corpora, from the cache, or trained now (`ClassifierConfig`)."""
    config, path = ClassifierConfig(), classifier_path(study)
    if not path.is_file():
        show = lambda share: study.advance("train the classifier", round(config.steps * share), config.steps)  # noqa: E731
        Classifier.train(study.corpus, *study.listen_to, config=config, progress=show).save(path)
    return Classifier.load(path)


def classifier_path(study: Study) -> Path:
    """Where the study's classifier lies: other corpora, or another training, are another file."""
    depends = f"{[stamp_of(corpus / 'train') for corpus in (study.corpus, *study.listen_to)]} {ClassifierConfig()}"
    return study.cache / f"classifier-{hashlib.sha256(depends.encode()).hexdigest()[:16]}.safetensors"


def _measure(study: Study, task: Task) -> dict[str, Any]:
    classifier, items = load_classifier(study), study.clips(task)
    originals = [item.audio() for item in items]
    clips, exact, reasons = [], [], Counter()
    for number, item in enumerate(study.each(f"make {task}", items)):
        clip = study.generate(prompt_of(item), task, number=number, duration=item.seconds)
        clips.append(clip.waveform)
        exact.append(clip.audio.shape[-1] == round(item.seconds * clip.sample_rate))
        reasons[clip.finish_reason] += 1
    through_vae = [reconstruct(study.model.model.vae, clip) for clip in originals]
    heard = _Heard(*(_verdicts(classifier, sounds, items) for sounds in (clips, originals, through_vae)))
    found: dict[str, Any] = {
        "all_named": heard.share(lambda verdict: verdict.all_named),
        "first_named": heard.share(lambda verdict: verdict.first_named),
        "exact_duration": rate(exact),
        "finish_reasons": dict(reasons),
        "frechet": _distances(study, task, classifier, {"originals": originals, "generated": clips, "reconstructions": through_vae}),
    }
    found |= _counts(heard, items)
    if task is Task.MUSIC:
        found["tempo"] = _tempo(clips, originals, items)
    corpora = "the training split of " + " and ".join(corpus.name for corpus in (study.corpus, *study.listen_to))
    return {**found, "scorers": {"classifier": f"trained on {corpora}", "embedding": EMBEDDING}}


def _verdicts(classifier: Classifier, clips: Sequence[Waveform], items: Sequence[ClipItem]) -> list[Verdict]:
    return [judge(classifier.hear(clip), labels_of(item)) for clip, item in zip(clips, items, strict=True)]


@dataclass(frozen=True)
class _Heard:
    """What the classifier makes of the generated clips, of the originals, and of these after the VAE, clip by clip."""

    generated: Sequence[Verdict]
    originals: Sequence[Verdict]
    reconstructions: Sequence[Verdict]

    def of(self, rows: Sequence[int]) -> _Heard:
        return _Heard(*([verdicts[row] for row in rows] for verdicts in vars(self).values()))

    def share(self, holds: Callable[[Verdict], bool]) -> dict[str, Figure]:
        """A rate beside the originals', and beside that of reconstructions: more than these no generator can have."""
        through_vae = rate([holds(one) for one in self.reconstructions])
        return {**_beside(self.generated, self.originals, holds), "reconstructions": through_vae}


def _beside(ours: Sequence[Any], originals: Sequence[Any], holds: Callable[[Any], bool]) -> dict[str, Figure]:
    """A rate, the same rate of the originals, and their ratio where the originals' is above 0."""
    first, second = [holds(one) for one in ours], [holds(one) for one in originals]
    relative = {"relative": rate_ratio(first, second)} if any(second) else {}
    return {"rate": rate(first), "originals": rate(second), **relative}


def _counts(heard: _Heard, items: Sequence[ClipItem]) -> dict[str, Any]:
    """Counts of all clips, and of those whose sounds follow each other, which are easier to count."""
    rows = [row for row, verdict in enumerate(heard.originals) if verdict.counts_right is not None]
    apart = [row for row in rows if items[row].attributes.get("order") != "overlap"]
    return {
        name: heard.of(chosen).share(lambda verdict: bool(verdict.counts_right))
        for name, chosen in (("counts_right", rows), ("counts_right_without_overlap", apart))
        if chosen
    }


def _tempo(clips: Sequence[Waveform], originals: Sequence[Waveform], items: Sequence[ClipItem]) -> dict[str, Any]:
    ours, theirs = (
        [tempo_error(estimate_tempo(c), item.attributes["tempo"]) for c, item in zip(sounds, items, strict=True)]
        for sounds in (clips, originals)
    )

    def octave(error: TempoError) -> bool:
        return error.octave

    return {
        "within_8_percent": _beside(ours, theirs, lambda error: error.right),
        "octave_errors": {"rate": rate(list(map(octave, ours))), "originals": rate(list(map(octave, theirs)))},
        "right_or_octave": _beside(ours, theirs, lambda error: error.right or error.octave),
        "relative_error": mean([error.relative for error in ours]),
    }


def _distances(
    study: Study, task: Task, classifier: Classifier, clips: Mapping[str, Sequence[Waveform]]
) -> dict[str, Any]:
    """Distance of the generated set to the originals, beside reconstructions, the other kind of audio, and noise."""
    originals = clips["originals"]
    other = Task.MUSIC if task is Task.SOUND else Task.SOUND
    sets = {
        "generated": clips["generated"],
        "reconstructions": clips["reconstructions"],
        f"originals_of_{other}": [item.audio() for item in study.clips(other)],
        "noise": [_noise(clip, seed=number) for number, clip in enumerate(originals)],
    }
    reference = Gaussian.of(classifier.embed(originals))
    gaussians = {name: Gaussian.of(classifier.embed(sounds)) for name, sounds in sets.items()}
    distances = {name: frechet_distance(gaussian, reference) for name, gaussian in gaussians.items()}
    return {**distances, "originals_apart": _halves(classifier, originals), "count": len(originals)}


def _halves(classifier: Classifier, originals: Sequence[Waveform]) -> float | None:
    """Distance of two halves of the originals: what chance alone gives (for half the count, so an upper bound)."""
    if len(originals) < 4:
        return None
    rows = classifier.embed(originals)[np.random.default_rng(0).permutation(len(originals))]
    return frechet_distance(Gaussian.of(rows[::2]), Gaussian.of(rows[1::2]))


def _noise(clip: Waveform, *, seed: int) -> Waveform:
    """White noise as long and as loud as a clip."""
    noise = torch.randn(clip.audio.shape, generator=torch.Generator().manual_seed(seed))
    return Waveform(audio=noise * clip.audio.square().mean().sqrt(), sample_rate=clip.sample_rate)
