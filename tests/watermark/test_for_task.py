"""Speech is marked with smaller gains than sounds and music; the detector does not care."""

from __future__ import annotations

import torch

from calm import registry
from calm.safety.marks import find_mark
from calm.types import Waveform

NOISE = Waveform(audio=torch.randn(1, 64_000, generator=torch.Generator().manual_seed(0)) * 0.05, sample_rate=16_000)


def test_speech_gets_smaller_gains_and_is_found_like_the_rest():
    mark = registry.build("watermark", "spread")
    assert mark.for_task("speech").config.max_gain_db == mark.config.max_speech_gain_db < mark.config.max_gain_db
    assert mark.for_task("music") is mark
    assert mark.detect(mark.for_task("speech").embed(NOISE)).found


def test_publishing_asks_for_the_mark_of_the_task():
    assert find_mark("spread", "speech").config.max_gain_db == 3.0
    assert find_mark("spread", "sound").config.max_gain_db == find_mark("spread").config.max_gain_db == 10.0
