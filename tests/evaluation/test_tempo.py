"""Tempo."""

from __future__ import annotations

import pytest
import torch

from calm.evaluation.tempo import estimate_tempo, tempo_error
from calm.types import Waveform


def test_octave_errors_are_shown_apart():
    assert tempo_error(124, 120).right and not tempo_error(124, 120).octave
    assert tempo_error(61, 120).octave and not tempo_error(61, 120).right
    assert not tempo_error(100, 120).octave and not tempo_error(100, 120).right


@pytest.mark.parametrize("tempo", [90, 120])
def test_clicks_have_the_tempo_at_which_they_come(tempo):
    pytest.importorskip("librosa", reason='needs `pip install "audiocalm[eval]"`')
    audio = torch.zeros(1, 16000 * 8)
    burst = torch.randn(400, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 0, 400)
    for beat in range(int(8 * tempo / 60)):
        start = round(beat * 60 / tempo * 16000)
        audio[0, start : start + 400] += 0.5 * burst[: audio.shape[1] - start]
    assert tempo_error(estimate_tempo(Waveform(audio=audio, sample_rate=16000)), tempo).right
