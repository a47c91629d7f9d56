"""Attributes of a clip: the manifest's values in one spelling, and what signal analysis adds where none is given.

The bins (pitch, rate, noise) follow the idea of Lyth and King, "Natural language guidance of
high-fidelity text-to-speech with synthetic annotations" (arXiv 2402.01912); the thresholds are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from calm.types import Waveform

__all__ = ["analyse_speech", "canonical", "noise_bin", "pitch_bin", "rate_bin"]

ALIASES = {
    "bpm": "tempo",
    "emotion": "tone",
    "genres": "genre",
    "instrument": "instruments",
    "kind": "kinds",
    "musical_key": "key",
}
GENDERS = {"m": "male", "man": "male", "f": "female", "woman": "female"}
#: accents given as a language code, as eSpeak NG names its English voices
ACCENTS = {
    "en": "British",
    "en-029": "Caribbean",
    "en-gb": "British",
    "en-gb-scotland": "Scottish",
    "en-gb-x-gbclan": "Lancashire",
    "en-gb-x-gbcwmd": "West Midlands",
    "en-gb-x-rp": "British",
    "en-us": "American",
    "en-us-nyc": "New York",
}
NUMBERS = ("pitch", "rate", "tempo", "snr_db")
LISTS = ("genre", "mood", "instruments", "kinds")
#: median pitch in Hz below which a voice is low, and from which it is high
PITCH_BOUNDS = {"male": (105.0, 145.0), "female": (175.0, 225.0), None: (130.0, 200.0)}
RATE_BOUNDS = (2.2, 3.5)  # words per second
NOISE_BOUNDS = (15.0, 28.0)  # dB between loud and quiet frames
ANALYSED_SECONDS = 10.0
FRAME_SECONDS, HOP_SECONDS = 0.04, 0.02
MIN_HERTZ, MAX_HERTZ = 60.0, 400.0


def canonical(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the attributes in one spelling: words in lower case, lists as lists, numbers as bins.

    ``pitch`` in Hz, ``rate`` in words per second and ``snr_db`` become words; values that say nothing
    (None, empty, "unknown", NaN) are left out; unknown keys are kept as they are.
    """
    result: dict[str, Any] = {}
    for key, value in (attributes or {}).items():
        key = ALIASES.get(key, key)
        if key in LISTS:
            items = (
                value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
            )
            value = [str(item).strip() for item in items if _says_something(item)]
        if key in NUMBERS and isinstance(value, str):
            value = _number_or_word(value)
        if _says_something(value):
            result[key] = value.strip() if isinstance(value, str) else value
    if "gender" in result:
        gender = str(result["gender"]).lower()
        result["gender"] = GENDERS.get(gender, gender)
    if "accent" in result:
        accent = str(result["accent"])
        result["accent"] = ACCENTS.get(accent.lower().replace("_", "-"), accent)
    pitch, rate, snr = result.get("pitch"), result.get("rate"), result.pop("snr_db", None)
    if _is_number(pitch):
        result["pitch"] = pitch_bin(pitch, gender=result.get("gender"))
    if _is_number(rate):
        result["rate"] = rate_bin(rate)
    if _is_number(snr):
        result.setdefault("recording", noise_bin(snr))
    return result


def pitch_bin(hertz: float, *, gender: str | None = None) -> str:
    """Return low, medium or high for a median pitch; relative to the gender where it is known."""
    low, high = PITCH_BOUNDS.get(gender, PITCH_BOUNDS[None])
    return "low" if hertz < low else "high" if hertz >= high else "medium"


def rate_bin(words_per_second: float) -> str:
    """Return slow, normal or fast."""
    slow, fast = RATE_BOUNDS
    return "slow" if words_per_second < slow else "fast" if words_per_second >= fast else "normal"


def noise_bin(snr_db: float) -> str:
    """Return noisy, slightly noisy or clean."""
    noisy, clean = NOISE_BOUNDS
    return "noisy" if snr_db < noisy else "clean" if snr_db >= clean else "slightly noisy"


def analyse_speech(waveform: Waveform, text: str, *, gender: str | None = None) -> dict[str, Any]:
    """Measure the first ten seconds of a speech clip whose transcript is ``text``.

    Returns ``pitch_hz`` and ``pitch`` (where enough of it is voiced), ``words_per_second`` and ``rate``
    (where the whole clip was measured), ``snr_db`` and ``recording`` (where there is a pause to measure).
    Silence and clips under a quarter of a second give an empty dict.
    """
    rate = waveform.sample_rate
    mono = waveform.audio.detach().cpu().numpy().mean(axis=0, dtype=np.float64)[: int(ANALYSED_SECONDS * rate)]
    frame, hop = int(FRAME_SECONDS * rate), max(1, int(HOP_SECONDS * rate))
    if len(mono) < 0.25 * rate or not np.any(mono):
        return {}
    frames = np.lib.stride_tricks.sliding_window_view(mono, frame)[::hop]  # [frames, samples of one frame]
    level = 10 * np.log10(np.mean(np.square(frames), axis=1) + 1e-9)
    lowest, quiet, low, loud = np.percentile(level, [3, 10, 20, 95])
    active = level > loud - 25
    found: dict[str, Any] = {}
    pitch = _median_pitch(frames[active], rate)
    if pitch is not None:
        found |= {"pitch_hz": round(pitch, 1), "pitch": pitch_bin(pitch, gender=gender)}
    spoken = (np.flatnonzero(active)[-1] - np.flatnonzero(active)[0]) * HOP_SECONDS + FRAME_SECONDS
    words = len(text.split())
    if words >= 3 and waveform.seconds <= ANALYSED_SECONDS:
        per_second = words / spoken
        found |= {"words_per_second": round(float(per_second), 2), "rate": rate_bin(per_second)}
    # Without a pause the quietest frames are soft speech and say nothing about noise; a pause is far
    # below the speech, or, in loud noise, steady.
    if np.mean(~active) > 0.05 or low - lowest < 3.0:
        found |= {"snr_db": round(float(loud - quiet), 1), "recording": noise_bin(loud - quiet)}
    return found


def _median_pitch(frames: np.ndarray, sample_rate: int) -> float | None:
    """Median over voiced frames of the normalised autocorrelation's first strong peak (Boersma 1993)."""
    if len(frames) == 0:
        return None
    size = 2 ** math.ceil(math.log2(2 * frames.shape[1]))
    window = np.hanning(frames.shape[1])
    spectrum = np.abs(np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, size)) ** 2
    spectrum[:, np.fft.rfftfreq(size, 1 / sample_rate) > 1000.0] = 0.0
    correlation = np.fft.irfft(spectrum)
    shape = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)
    shortest, longest = int(sample_rate / MAX_HERTZ), int(sample_rate / MIN_HERTZ)
    longest = min(longest, frames.shape[1] - 1)
    lags = slice(shortest, longest + 1)
    energy = np.maximum(correlation[:, :1], 1e-12)
    strength = correlation[:, lags] / energy / (shape[lags] / shape[0])
    best = strength.max(axis=1)
    inner = (strength[:, 1:-1] >= strength[:, :-2]) & (strength[:, 1:-1] >= strength[:, 2:])
    strong = inner & (strength[:, 1:-1] > 0.9 * best[:, None])
    voiced = (best > 0.6) & strong.any(axis=1)
    if voiced.sum() < 5:
        return None
    # The first strong peak, not the highest, or every second voice is heard an octave too low.
    lag = shortest + 1 + strong.argmax(axis=1)[voiced]
    return float(np.median(sample_rate / lag))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_or_word(text: str) -> float | str:
    """CSV manifests hold numbers as text."""
    try:
        return float(text)
    except ValueError:
        return text


def _says_something(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in ("", "unknown", "none", "n/a", "nan")
    return value is not None and value != [] and not (isinstance(value, float) and not math.isfinite(value))
