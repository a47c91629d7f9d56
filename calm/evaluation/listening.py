"""Speech scored by the recogniser: originals, reconstructions and generations in the same way."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calm.evaluation.language import write_language_model
from calm.evaluation.lists import SpeechItem, make_speech_list
from calm.evaluation.study import Study
from calm.metrics.intervals import Figure
from calm.metrics.words import WordErrors, excess, word_error_rate, word_errors
from calm.scorers.recogniser import DITHER_SEEDS, Recogniser
from calm.types import Waveform

__all__ = ["Listening"]

#: clips of a speaker by which the warp of the frequency axis is chosen
WARP_CLIPS = 4
#: voices whose originals the recogniser understands at least half are also reported apart
UNDERSTOOD = 0.5


class Listening:
    """The speech list of a study with its recogniser and the errors on its originals."""

    def __init__(self, study: Study) -> None:
        self.study = study
        items = make_speech_list(study.corpus, split=study.split, seed=study.seed)
        self.items: list[SpeechItem] = items[: study.limit]
        # The vocabulary is that of the whole list, whatever the limit: a shorter run is no easier.
        self._folder = tempfile.TemporaryDirectory(prefix="calm-recogniser-")
        self.language = write_language_model([item.target.text for item in items], folder=Path(self._folder.name))
        self.recogniser = Recogniser(language=self.language)
        settings = dataclasses.asdict(self.recogniser.config)
        self.warps = study.remembered("warps", [settings, study.seed], lambda: self._choose_warps(items))
        key = [settings, study.seed, self.warps, DITHER_SEEDS, [item.target.key for item in self.items]]
        found = study.remembered("originals", key, self._recognise_originals)
        self.originals = [WordErrors(**entry) for entry in found]

    def errors(self, item: SpeechItem, clip: Waveform) -> WordErrors:
        """Errors of a clip that says the item's sentence, mean over the dither seeds."""
        warp = self.warps[str(item.target.speaker)]
        found = [self.recogniser.transcribe(clip, dither_seed=seed, warp=warp).text for seed in DITHER_SEEDS]
        return word_errors(item.target.text, found)

    def score(self, ours: Sequence[WordErrors]) -> dict[str, Any]:
        """WER, WER of the originals, and their paired difference; also of the voices that are understood."""
        rows = list(zip(self.items, ours, self.originals, strict=True))
        by_speaker: dict[str, list[tuple[WordErrors, WordErrors]]] = defaultdict(list)
        for item, a, b in rows:
            by_speaker[str(item.target.speaker)].append((a, b))
        understood = {n for n, pairs in by_speaker.items() if word_error_rate([b for _, b in pairs]).value <= UNDERSTOOD}
        found = _figures([(a, b) for _, a, b in rows])
        chosen = [(a, b) for item, a, b in rows if item.target.speaker in understood]
        return {
            **found,
            "understood_voices": {"speakers": sorted(understood), **(_figures(chosen) if chosen else {})},
            "by_speaker": {name: _figures(pairs) for name, pairs in sorted(by_speaker.items())},
        }

    def score_some(self, numbers: Sequence[int], ours: Sequence[WordErrors]) -> dict[str, Figure]:
        """The three figures for the items of these numbers alone."""
        return _figures([(a, self.originals[n]) for n, a in zip(numbers, ours, strict=True)])

    def about(self) -> dict[str, Any]:
        """What was measured with, for the result file."""
        return {
            "scorer": "pocketsphinx WER, trigram over the grammar's classes and the list's words",
            "settings": dataclasses.asdict(self.recogniser.config),
            "dither_seeds": DITHER_SEEDS,
            "warps": self.warps,
            "vocabulary": self.language.num_words,
            "oov_rate": self.language.oov_rate,
        }

    def _choose_warps(self, items: Sequence[SpeechItem]) -> dict[str, float]:
        clips: dict[str, list[Waveform]] = defaultdict(list)
        for item in items:
            if len(clips[str(item.target.speaker)]) < WARP_CLIPS:
                clips[str(item.target.speaker)].append(item.target.audio())
        return self.recogniser.choose_warps(clips)

    def _recognise_originals(self) -> list[dict[str, Any]]:
        each = self.study.each("recognise originals", self.items)
        return [dataclasses.asdict(self.errors(item, item.target.audio())) for item in each]


def _figures(pairs: Sequence[tuple[WordErrors, WordErrors]]) -> dict[str, Figure]:
    ours, originals = [a for a, _ in pairs], [b for _, b in pairs]
    return {
        "wer": word_error_rate(ours),
        "wer_originals": word_error_rate(originals),
        "excess": excess(ours, originals),
    }
