"""Part ``speech``: held-out sentences in held-out voices by a reference clip, and in described voices."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import Tensor

from calm.evaluation.listening import Listening
from calm.evaluation.lists import SpeechItem, join_clips, voice_reference, voices_of
from calm.evaluation.study import Study, consented
from calm.metrics.intervals import mean, median, rate, rate_ratio
from calm.scorers.speaker import SpeakerEncoder, nearest_to_own
from calm.types import Task, Waveform

__all__ = ["measure_speech"]

#: of so many items one is also spoken by a described voice
DESCRIBED_EVERY = 5


def measure_speech(study: Study) -> dict[str, Any]:
    """WER over originals, voice trials and length errors."""
    listening = Listening(study)
    trials = _Trials(study)
    errors, ours, originals, similarities, others, lengths, reasons = [], [], [], [], [], [], Counter()
    for number, item in enumerate(study.each("speak in reference voices", listening.items)):
        reference = item.reference_audio
        clip = study.generate(item.target.text, Task.SPEECH, number=number, reference=consented(reference))
        original = item.target.audio()
        errors.append(listening.errors(item, clip.waveform))
        own = trials.encoder.embed(reference)
        voice = trials.embed(clip.waveform)
        ours.append(trials.won(voice, item, own=own))
        originals.append(trials.won(trials.embed(original), item, own=own))
        similarities.append(0.0 if voice is None else float(voice @ own))
        others.append(0.0 if voice is None else trials.similarity_to_others(voice, item))
        lengths.append(abs(clip.seconds / original.seconds - 1))
        reasons[clip.finish_reason] += 1
    return {
        **listening.score(errors),
        "nearest_to_own": rate(ours),
        "nearest_to_own_originals": rate(originals),
        **({"nearest_to_own_relative": rate_ratio(ours, originals)} if any(originals) else {}),
        "sim_to_reference": mean(similarities),
        "sim_to_others": mean(others),
        "length_error_median": median(lengths),
        "finish_reasons": dict(reasons),
        "described_voices": _described(study, listening),
        "scorers": {**listening.about(), "speaker": "GE2E of resemblyzer 0.1.4, trials against 9 other speakers"},
    }


class _Trials:
    """Is a clip nearer to its own reference than to each of nine others?"""

    def __init__(self, study: Study) -> None:
        self.encoder = SpeakerEncoder()
        self._voices = voices_of(study.corpus, study.split, "train")
        self._seed = study.seed
        self._known: dict[str, Tensor] = {}

    def embed(self, clip: Waveform) -> Tensor | None:
        """Embedding, or None for a silent clip, which loses every trial."""
        return self.encoder.embed(clip) if bool(clip.audio.any()) else None

    def won(self, voice: Tensor | None, item: SpeechItem, *, own: Tensor) -> bool:
        others = {name: self._reference(name) for name in item.others}
        return voice is not None and nearest_to_own(voice, own="own", references={"own": own, **others})

    def similarity_to_others(self, voice: Tensor, item: SpeechItem) -> float:
        """Mean cosine with the references of the nine others."""
        return sum(float(voice @ self._reference(name)) for name in item.others) / len(item.others)

    def _reference(self, name: str) -> Tensor:
        if name not in self._known:
            clips = voice_reference(name, self._voices[name], seed=self._seed)
            self._known[name] = self.encoder.embed(join_clips(clips))
        return self._known[name]


def _described(study: Study, listening: Listening) -> dict[str, Any]:
    """The same sentences by voices in words: gender, pitch and accent of the original, normal rate not said."""
    chosen = range(0, len(listening.items), DESCRIBED_EVERY)
    items = [listening.items[number] for number in chosen]
    errors = []
    for number, item in zip(chosen, study.each("speak in described voices", items), strict=True):
        voice = describe_voice(item)
        clip = study.generate(item.target.text, Task.SPEECH, number=number, voice=voice)
        errors.append(listening.errors(item, clip.waveform))
    return listening.score_some(chosen, errors)


def describe_voice(item: SpeechItem) -> str:
    """For example "a low-pitched female voice with a Scottish accent"."""
    known = item.target.attributes
    return f"a {known['pitch']}-pitched {known['gender']} voice with a {known['accent']} accent"
