"""Our own mark: small gains on bands over time, in the signs of a key. Needs no weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from calm.audio import resample
from calm.errors import ConfigError
from calm.registry import register
from calm.types import Waveform
from calm.watermark.base import Detection
from calm.watermark.detector import SAMPLE_RATE, score, threshold
from calm.watermark.embedder import Strength
from calm.watermark.lattice import signs
from calm.watermark.stream import MarkStream

__all__ = ["Spread"]

PIECE_SECONDS = 30


@register("watermark", "spread")
class Spread:
    """Gains of bands over time in the signs of a key; one bit: there, or not."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["spread"] = "spread"
        #: whoever knows it finds the mark, and can take it away
        key: str = "audiocalm"
        #: how far the mark stays under the signal, in every moment
        level_db: float = 21.5
        max_gain_db: float = 10.0
        #: the same for speech: larger ones move the voice, by 0.01 of Resemblyzer's similarity at 10 dB
        max_speech_gain_db: float = 3.0
        #: how often other audio may be called marked, at most, over all that the search tries
        false_positives: float = 1e-3

        def __post_init__(self) -> None:
            if not 0 < self.false_positives < 1:
                raise ConfigError(f"A rate of {self.false_positives}", where="false_positives", allowed="more than 0, less than 1")
            if min(self.level_db, self.max_gain_db, self.max_speech_gain_db) <= 0:
                raise ConfigError("A mark needs positive levels", where="level_db, max_gain_db", allowed="dB over 0")

    def __init__(self, config: Config | None = None) -> None:
        self.config = config = config or self.Config()
        self._strength = Strength(level_db=config.level_db, max_gain_db=config.max_gain_db)

    def for_task(self, task: str) -> Spread:
        """The mark as it is embedded in what was made for ``task``; all are detected alike."""
        most = min(self.config.max_gain_db, self.config.max_speech_gain_db)
        return Spread(replace(self.config, max_gain_db=most)) if task == "speech" else self

    @cached_property
    def _lattice(self) -> Tensor:
        return signs(self.config.key)

    def embed(self, waveform: Waveform) -> Waveform:
        """The same audio, marked; rate, channels and length stay. Silence stays as it is, bit by bit."""
        stream = self.stream(sample_rate=waveform.sample_rate, channels=waveform.audio.shape[0])
        # In pieces, so that the spectra of long clips fit into memory.
        pieces = [stream.push(piece) for piece in waveform.audio.split(PIECE_SECONDS * waveform.sample_rate, dim=1)]
        audio = torch.cat([*pieces, stream.finish()], dim=1)
        return Waveform(audio=audio.to(waveform.audio), sample_rate=waveform.sample_rate)

    def stream(self, *, sample_rate: int, channels: int = 1) -> MarkStream:
        """Marks pieces as they come, as ``embed`` would mark the whole."""
        return MarkStream(self._lattice, sample_rate=sample_rate, channels=channels, strength=self._strength)

    def detect(self, waveform: Waveform) -> Detection:
        """Look for the mark of this key, wherever in its period the clip begins."""
        audio = resample(waveform, SAMPLE_RATE).audio.detach().cpu().float()
        return Detection(score=score(audio, self._lattice), threshold=threshold(self.config.false_positives))
