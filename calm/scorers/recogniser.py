"""A speech recogniser that nobody here trained: pocketsphinx with the acoustic model of its wheel.

Figures made with it are "pocketsphinx WER": they order systems, and mean something only beside the WER of the
original recordings under the same recogniser.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from calm.audio import resample, to_channels
from calm.errors import InputError
from calm.scorers.optional import need
from calm.types import Waveform

__all__ = ["DITHER_SEEDS", "Language", "Recogniser", "RecogniserConfig", "Transcript"]

SAMPLE_RATE = 16_000
DITHER_SEEDS: tuple[int, ...] = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class RecogniserConfig:
    """How clips are prepared and decoded. Values were chosen on the validation split's originals."""

    #: weight of the language model, and penalty of a word
    language_weight: float = 10.0
    word_penalty: float = 0.1
    #: peak before dither, silence added at both ends in seconds, and standard deviation of the dither
    peak: float = 0.6
    pad_seconds: float = 0.2
    dither: float = 3e-3
    #: factors of the frequency axis among which the one of a voice is chosen (vocal tract length; Lee & Rose, 1998)
    warps: tuple[float, ...] = (0.85, 1.0, 1.15)


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What was recognised, and the log score of its path relative to the best states of every frame.

    A model that fits the clip explains it by words about as well as by any states, so that the score is near 0.
    """

    text: str
    score: float


class Language(Protocol):
    """A language model in files that pocketsphinx reads: the decoder's options, and a hypothesis as plain words."""

    @property
    def options(self) -> Mapping[str, Any]: ...

    @property
    def sha256(self) -> str: ...

    def spoken(self, hypothesis: str) -> str: ...


class Recogniser:
    """Recognises one clip at a time; the result depends on the clip, its warp and the dither seed alone.

    Args:
        language: a language model for the evaluated list; None for the general one of the wheel.
    Raises ConfigError where pocketsphinx is missing.
    """

    def __init__(self, config: RecogniserConfig | None = None, *, language: Language | None = None) -> None:
        self.config = config or RecogniserConfig()
        self._sphinx = need("pocketsphinx")
        self.language = language
        self._decoders: dict[float, Any] = {}

    def transcribe(self, clip: Waveform, *, dither_seed: int = 0, warp: float = 1.0) -> Transcript:
        """Recognise one clip of any rate and channels."""
        decoder, samples = self._decoder(warp), self._prepared(clip, seed=dither_seed)
        # The front end keeps estimates of noise and mean; a clip must not depend on the one before.
        decoder.reinit_feat()
        decoder.start_utt()
        decoder.process_raw(samples, full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        if found is None:
            return Transcript(text="", score=float("-inf"))
        text = found.hypstr if self.language is None else self.language.spoken(found.hypstr)
        score = math.log(found.score) if found.score > 0 else float("-inf")
        return Transcript(text=text, score=score)

    def choose_warps(self, originals: Mapping[str, Sequence[Waveform]]) -> dict[str, float]:
        """The warp of every voice: that under which its original clips score highest. No transcript is used."""
        warps = {}
        for voice, clips in originals.items():
            totals = {w: sum(self.transcribe(clip, warp=w).score for clip in clips) for w in self.config.warps}
            warps[voice] = max(totals, key=totals.__getitem__)
        return warps

    def _prepared(self, clip: Waveform, *, seed: int) -> bytes:
        audio = to_channels(resample(clip, SAMPLE_RATE), 1).audio[0].double().numpy()
        if not np.isfinite(audio).all():
            raise InputError("The clip holds a value that is not finite", where="Recogniser.transcribe")
        largest = np.abs(audio).max(initial=0.0)
        audio = audio * (self.config.peak / largest) if largest > 0 else audio
        audio = np.pad(audio, round(self.config.pad_seconds * SAMPLE_RATE))
        # The synthesiser's digital silence is nothing that the acoustic model has ever heard.
        audio = audio + self.config.dither * np.random.default_rng(seed).standard_normal(len(audio))
        return np.round(np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()

    def _decoder(self, warp: float) -> Any:
        if warp not in self._decoders:
            options: dict[str, Any] = {"cmn": "batch", "loglevel": "FATAL", "lw": self.config.language_weight}
            if self.language is not None:
                options |= {**self.language.options, "wip": self.config.word_penalty}
            if warp != 1.0:
                options |= {"warp_type": "inverse_linear", "warp_params": f"{warp:g}"}
            self._decoders[warp] = self._sphinx.Decoder(**options)
        return self._decoders[warp]
