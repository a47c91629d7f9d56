from __future__ import annotations

import numpy as np
import pytest
import torch

from calm.text import analyse, analyse_speech, canonical, describe
from calm.text.attributes import loudness_bin, noise_bin, pitch_bin, rate_bin, reverberation_bin
from calm.types import Task, Waveform


def voice(hertz: float, *, sample_rate: int = 16000, noise: float = 1e-4, seconds: float = 3.0) -> Waveform:
    """A buzz of 20 harmonics in bursts of 0.3 s with pauses of 0.2 s."""
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    harmonics = [k for k in range(1, 21) if k * hertz < sample_rate / 2]
    buzz = sum(np.sin(2 * np.pi * hertz * k * time + k) / k for k in harmonics)
    audio = 0.2 * buzz * (time % 0.5 < 0.3) + noise * np.random.default_rng(0).standard_normal(len(time))
    return Waveform(audio=torch.from_numpy(audio[None].astype(np.float32)), sample_rate=sample_rate)


@pytest.mark.parametrize("hertz", [85.0, 110.0, 150.0, 220.0, 300.0])
@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100])
def test_pitch_is_within_three_percent(hertz: float, sample_rate: int) -> None:
    found = analyse_speech(voice(hertz, sample_rate=sample_rate), "some words")
    assert found["pitch_hz"] == pytest.approx(hertz, rel=0.03)


def test_pitch_bins_are_relative_to_a_known_gender() -> None:
    found = [analyse_speech(voice(150), "some words", gender=g)["pitch"] for g in ("male", "female", None)]
    assert found == ["high", "low", "medium"]


@pytest.mark.parametrize(("words", "rate"), [(4, "slow"), (8, "normal"), (14, "fast")])
def test_rate_counts_the_words_of_the_transcript(words: int, rate: str) -> None:
    assert analyse_speech(voice(120), " ".join(["word"] * words))["rate"] == rate


@pytest.mark.parametrize(("noise", "recording"), [(1e-4, "clean"), (0.01, "slightly noisy"), (0.05, "noisy")])
def test_noise_in_the_pauses_is_heard(noise: float, recording: str) -> None:
    assert analyse_speech(voice(120, noise=noise), "some words")["recording"] == recording


def test_white_noise_has_no_pitch() -> None:
    audio = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0)) * 0.1
    assert "pitch" not in analyse_speech(Waveform(audio=audio, sample_rate=16000), "some words")


@pytest.mark.parametrize("audio", [torch.zeros(1, 16000), torch.zeros(1, 0), torch.ones(2, 100)])
def test_silence_and_scraps_give_nothing(audio: torch.Tensor) -> None:
    assert analyse_speech(Waveform(audio=audio, sample_rate=16000), "some words") == {}


def test_a_constant_offset_gives_finite_values() -> None:
    found = analyse_speech(Waveform(audio=torch.full((2, 16000), 0.3), sample_rate=16000), "one two three")
    assert all(np.isfinite(v) for v in found.values() if not isinstance(v, str))


def test_bins_meet_at_their_bounds() -> None:
    assert [pitch_bin(x) for x in (129, 130, 199, 200)] == ["low", "medium", "medium", "high"]
    assert [rate_bin(x) for x in (2.1, 2.2, 3.4, 3.5)] == ["slow", "normal", "normal", "fast"]
    assert [noise_bin(x) for x in (14, 15, 27, 28)] == ["noisy", "slightly noisy", "slightly noisy", "clean"]


def test_manifest_values_get_one_spelling() -> None:
    assert canonical({"gender": "F", "pitch": 240.0, "rate": 1.5, "snr_db": 40, "emotion": " calm "}) == {
        "gender": "female",
        "pitch": "high",
        "rate": "slow",
        "recording": "clean",
        "tone": "calm",
    }
    assert canonical({"instrument": "piano, flute", "genre": "jazz", "bpm": 90}) == {
        "instruments": ["piano", "flute"],
        "genre": ["jazz"],
        "tempo": 90,
    }


def test_numbers_of_a_csv_manifest_and_codes_of_accents_become_words() -> None:
    assert canonical({"pitch": "90", "tempo": "120.0", "accent": "en-GB-scotland", "musical_key": "C minor"}) == {
        "pitch": "low",
        "tempo": 120.0,
        "accent": "Scottish",
        "key": "C minor",
    }
    assert canonical({"pitch": "low", "tempo": "nan", "accent": "Texan"}) == {"pitch": "low", "accent": "Texan"}


def test_values_that_say_nothing_are_left_out() -> None:
    nothing = {"gender": "unknown", "tone": "", "mood": [], "tempo": float("nan"), "kinds": None, "age": None}
    assert canonical(nothing) == {} == canonical(None)


def test_measured_numbers_and_words_agree_and_only_speech_has_a_voice() -> None:
    found = analyse(Task.SPEECH, voice(110, noise=0.01), "one two three four")
    assert found["pitch"] == "low" and found["recording"] == noise_bin(found["snr_db"])
    assert found["loudness"] == loudness_bin(found["loudness_lufs"])
    assert set(analyse(Task.SOUND, voice(110), "a buzz")) == {"loudness_lufs", "loudness"}


@pytest.mark.parametrize(
    ("known", "missing"),
    [
        ({"pitch": 250.0}, {"pitch", "pitch_hz"}),
        ({"snr_db": 3}, {"recording", "snr_db"}),
        ({"recording": "clean", "rate": "fast"}, {"recording", "snr_db", "rate", "words_per_second"}),
        ({"pitch": "unknown", "rate": None}, set()),
    ],
)
def test_what_is_known_is_never_measured_anew(known: dict, missing: set) -> None:
    waveform, words = voice(110, noise=0.01), "one two three four"
    everything = analyse(Task.SPEECH, waveform, words)
    assert set(everything) - set(analyse(Task.SPEECH, waveform, words, known=known)) == missing


def test_measured_values_become_words_of_a_description() -> None:
    assert canonical({"t60_seconds": 0.5, "loudness_lufs": -40.0}) == {
        "reverberation": "slightly reverberant",
        "loudness": "quiet",
    }
    assert [reverberation_bin(x) for x in (0.29, 0.3, 0.69, 0.7)] == ["dry", *["slightly reverberant"] * 2, "reverberant"]
    assert "The sound is reverberant." in describe(Task.SPEECH, "Hello.", attributes={"t60_seconds": 1.1})
    assert "Loudness: loud." in describe(Task.SOUND, "a bell", attributes={"loudness_lufs": -12})
