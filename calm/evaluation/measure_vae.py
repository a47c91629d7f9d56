"""Part ``vae``: what the VAE leaves of held-out originals."""

from __future__ import annotations

from typing import Any

from calm.evaluation.listening import Listening
from calm.evaluation.reconstruction import Fidelity, MelDistance, compare, reconstruct
from calm.evaluation.study import Study
from calm.metrics.intervals import mean
from calm.scorers.speaker import SpeakerEncoder
from calm.types import TASKS

__all__ = ["measure_vae"]


def measure_vae(study: Study) -> dict[str, Any]:
    """STOI, WER over originals and SIM of reconstructed speech; mel distance of every task."""
    vae = study.model.model.vae
    distance, encoder, listening = MelDistance(vae.sample_rate), SpeakerEncoder(), Listening(study)
    errors, similarities, speech = [], [], []
    for item in study.each("reconstruct speech", listening.items):
        original = item.target.audio()
        ours = reconstruct(vae, original)
        speech.append(compare(ours, original, distance=distance))
        errors.append(listening.errors(item, ours))
        similarities.append(float(encoder.embed(ours) @ encoder.embed(original)))
    found: dict[str, Any] = {"speech": {**_fidelity(speech), "sim": mean(similarities), **listening.score(errors)}}
    for task in TASKS[1:]:
        originals = (clip.audio() for clip in study.each(f"reconstruct {task}", study.clips(task)))
        distances = [compare(reconstruct(vae, original), original, distance=distance).mel for original in originals]
        found[str(task)] = {"mel": mean(distances)}
    return {**found, "scorers": listening.about()}


def _fidelity(rows: list[Fidelity]) -> dict[str, Any]:
    scored = [row.stoi for row in rows if row.stoi is not None]
    return {
        "mel": mean([row.mel for row in rows]),
        **({"stoi": mean(scored)} if scored else {}),
        "too_short_for_stoi": len(rows) - len(scored),
    }
