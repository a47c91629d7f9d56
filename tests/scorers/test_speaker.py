"""Speaker embeddings."""

from __future__ import annotations

import pytest
import torch

from calm.errors import ConfigError, InputError
from calm.scorers.speaker import SpeakerEncoder, nearest_to_own
from calm.types import Waveform


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    try:
        return SpeakerEncoder()
    except ConfigError as error:
        pytest.skip(str(error))


def buzz(pitch: float, *, seconds: float = 2.5, formant: float = 500.0) -> Waveform:
    t = torch.arange(int(16000 * seconds)) / 16000
    tones = [torch.sin(2 * torch.pi * pitch * k * t) / (1 + abs(pitch * k - formant) / 200) for k in range(1, 20)]
    return Waveform(audio=0.1 * torch.stack(tones).sum(0, keepdim=True), sample_rate=16000)


def test_embeddings_are_unit_vectors_and_level_does_not_matter_much(encoder):
    loud = buzz(110)
    voice = encoder.embed(loud)
    quiet = encoder.embed(Waveform(audio=0.001 * loud.audio, sample_rate=16000))
    assert voice.shape == (256,) and float(voice.norm()) == pytest.approx(1, abs=1e-5)
    again = encoder.embed(Waveform(audio=0.002 * loud.audio, sample_rate=16000))
    assert float(quiet @ again) == pytest.approx(1, abs=1e-4)


def test_the_same_buzz_is_nearer_than_another(encoder):
    a, b, other = encoder.embed(buzz(110)), encoder.embed(buzz(112)), encoder.embed(buzz(280, formant=1800))
    assert float(a @ b) > float(a @ other)
    assert nearest_to_own(b, own="a", references={"a": a, "other": other})
    assert not nearest_to_own(b, own="other", references={"a": a, "other": other})


def test_a_clip_shorter_than_a_window_has_an_embedding(encoder):
    assert torch.isfinite(encoder.embed(buzz(110, seconds=0.3))).all()


def test_silence_and_trials_without_others_are_refused(encoder):
    with pytest.raises(InputError):
        encoder.embed(Waveform(audio=torch.zeros(1, 16000), sample_rate=16000))
    with pytest.raises(InputError):
        nearest_to_own(torch.ones(256), own="a", references={"a": torch.ones(256)})
