"""Attributes of a clip: the manifest's values in one spelling, and what signal analysis adds where none is given.

The bins (pitch, rate, noise) follow the idea of Lyth and King, "Natural language guidance of
high-fidelity text-to-speech with synthetic annotations" (arXiv 2402.01912); the thresholds are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from calm.audio.analysis import (
    HOP_SECONDS,
    active_frames,
    loudness_lufs,
    median_pitch,
    reverberation_seconds,
    signal_to_noise,
)
from calm.types import Task, Waveform

__all__ = [
    "analyse",
    "analyse_speech",
    "canonical",
    "loudness_bin",
    "noise_bin",
    "pitch_bin",
    "rate_bin",
    "reverberation_bin",
]

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
NUMBERS = ("pitch", "rate", "tempo", "snr_db", "t60_seconds", "loudness_lufs")
LISTS = ("genre", "mood", "instruments", "kinds")
#: median pitch in Hz below which a voice is low, and from which it is high
PITCH_BOUNDS = {"male": (105.0, 145.0), "female": (175.0, 225.0), None: (130.0, 200.0)}
RATE_BOUNDS = (2.2, 3.5)  # words per second
NOISE_BOUNDS = (15.0, 28.0)  # dB of signal to noise
REVERBERATION_BOUNDS = (0.3, 0.7)  # seconds for a decay of 60 dB
LOUDNESS_BOUNDS = (-33.0, -18.0)  # LUFS
#: longer clips are measured in their beginning: what is said of them costs no more
ANALYSED_SECONDS, LOUDNESS_SECONDS = 30.0, 120.0
SHORTEST_SECONDS = 0.25
#: keys that say one thing: where a clip has one of them, nothing of the group is added
SAME = (
    ("pitch", "pitch_hz"),
    ("rate", "words_per_second"),
    ("recording", "snr_db"),
    ("reverberation", "t60_seconds"),
    ("loudness", "loudness_lufs"),
)


def canonical(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the attributes in one spelling: words in lower case, lists as lists, numbers as bins.

    ``pitch`` in Hz, ``rate`` in words per second, ``snr_db``, ``t60_seconds`` and ``loudness_lufs`` become words; values that say nothing
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
    pitch, rate = result.get("pitch"), result.get("rate")
    if _is_number(pitch):
        result["pitch"] = pitch_bin(pitch, gender=result.get("gender"))
    if _is_number(rate):
        result["rate"] = rate_bin(rate)
    for number, word, to_bin in _MEASURED:
        value = result.pop(number, None)
        if _is_number(value):
            result.setdefault(word, to_bin(value))
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


def reverberation_bin(t60_seconds: float) -> str:
    """Return dry, slightly reverberant or reverberant."""
    dry, wet = REVERBERATION_BOUNDS
    return "dry" if t60_seconds < dry else "reverberant" if t60_seconds >= wet else "slightly reverberant"


def loudness_bin(lufs: float) -> str:
    """Return quiet, normal or loud."""
    quiet, loud = LOUDNESS_BOUNDS
    return "quiet" if lufs < quiet else "loud" if lufs >= loud else "normal"


_MEASURED = (
    ("snr_db", "recording", noise_bin),
    ("t60_seconds", "reverberation", reverberation_bin),
    ("loudness_lufs", "loudness", loudness_bin),
)


def analyse(
    task: Task, waveform: Waveform, text: str, *, known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Measure a clip and return what ``known`` does not say yet: nothing that is known is ever said anew.

    Speech: see `analyse_speech`, with pitch in bins that do not depend on the gender. Every task: ``loudness_lufs``
    and ``loudness`` of the first two minutes.
    """
    found = analyse_speech(waveform, text) if task is Task.SPEECH else {}
    audio = waveform.audio.detach().cpu().numpy()[:, : int(LOUDNESS_SECONDS * waveform.sample_rate)]
    lufs = loudness_lufs(audio, waveform.sample_rate)
    if lufs is not None:
        found |= {"loudness_lufs": round(lufs, 1), "loudness": loudness_bin(lufs)}
    names = {ALIASES.get(key, key) for key, value in (known or {}).items() if _says_something(value)}
    taken = {key for group in SAME if names & set(group) for key in group}
    return {key: value for key, value in found.items() if key not in taken}


def analyse_speech(waveform: Waveform, text: str, *, gender: str | None = None) -> dict[str, Any]:
    """Measure the first half minute of a speech clip whose transcript is ``text``.

    Returns ``pitch_hz`` and ``pitch`` (where enough of it is voiced), ``words_per_second`` and ``rate`` (where the
    whole clip was measured, from its first to its last sound), ``snr_db`` and ``recording`` (where there is a pause
    to measure), ``t60_seconds`` and ``reverberation`` (where sounds die away).
    Silence and clips under a quarter of a second give an empty dict. Methods: `calm.audio.analysis`.
    """
    rate = waveform.sample_rate
    mono = waveform.audio.detach().cpu().numpy().mean(axis=0, dtype=np.float64)[: int(ANALYSED_SECONDS * rate)]
    if len(mono) < SHORTEST_SECONDS * rate or not np.any(mono):
        return {}
    found: dict[str, Any] = {}
    if (pitch := median_pitch(mono, rate)) is not None:
        found |= {"pitch_hz": round(pitch, 1), "pitch": pitch_bin(pitch, gender=gender)}
    words = len(text.split())
    if words >= 3 and waveform.seconds <= ANALYSED_SECONDS:
        spoken = np.flatnonzero(active_frames(mono, rate)[0])
        per_second = words / ((spoken[-1] - spoken[0] + 2) * HOP_SECONDS)
        found |= {"words_per_second": round(float(per_second), 2), "rate": rate_bin(per_second)}
    if (snr := signal_to_noise(mono, rate)) is not None:
        found |= {"snr_db": round(snr, 1), "recording": noise_bin(snr)}
    if (t60 := reverberation_seconds(mono, rate)) is not None:
        found |= {"t60_seconds": round(t60, 2), "reverberation": reverberation_bin(t60)}
    return found


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
