"""Spoken clips: a sentence of the grammar, read by one of the eSpeak NG speakers of the split."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from importlib import resources

import numpy as np
import soxr

from calm.corpus.clip import Clip, ClipPlan
from calm.corpus.dsp import set_rms
from calm.corpus.espeak import ESPEAK_RATE, Espeak
from calm.corpus.made_voices import NUM_MADE, made_voice
from calm.corpus.sentences import draw_text, load_grammar
from calm.types import Task

__all__ = ["ACCENTS", "NUM_TIMBRES", "PITCHES", "RATES", "TONES", "Speaker", "load_speakers", "make_speech"]

#: words for the base pitch, with eSpeak's pitch parameter (50 is the voice's own)
PITCHES = {"low": 25, "medium": 50, "high": 75}
#: words for the speaking rate, in words per minute
RATES = {"slow": 125, "normal": 170, "fast": 225}
#: words for the tone, with eSpeak's intonation range
TONES = {"calm": 20, "neutral": 50, "lively": 90}
#: accents by eSpeak's file name
ACCENTS = {
    "en": "British",
    "en-029": "Caribbean",
    "en-GB-scotland": "Scottish",
    "en-GB-x-gbclan": "Lancashire",
    "en-GB-x-gbcwmd": "West Midlands",
    "en-GB-x-rp": "southern British",
    "en-US": "American",
    "en-US-nyc": "New York",
}

#: voices that one training speaker of the table stands for; the first is eSpeak's own
NUM_TIMBRES = 4
#: a small corpus has few voices: so many speakers for so many clips, and then one more for every few
FIRST_SPEAKERS, FIRST_CLIPS, CLIPS_PER_SPEAKER = 46, 500, 8
#: vocal tracts relative to the speaker's own (formants are higher by this factor), and tilts in dB per octave
TRACTS, TILTS = (0.88, 1.14), (-2.5, 2.5)

_RMS = 0.08
_MARGIN_SECONDS = 0.05
_TILT_HERTZ = 1000.0
# eSpeak's pitch parameter for a change of the pitch by half.
_PITCH_PER_HALF = 45


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """One voice: an accent with a variant, and the split that alone may use it.

    ``tract``: factor on the formants, made by playing faster and asking eSpeak for less speed and pitch.
    ``tilt_db``: of the spectrum, in dB per octave. ``pitch`` and ``rate``: where the voice always has the same.
    """

    name: str
    accent: str
    variant: str
    gender: str
    split: str
    pitch_offset: int
    tract: float = 1.0
    tilt_db: float = 0.0
    pitch: str | None = None
    rate: str | None = None


@functools.cache
def load_speakers() -> tuple[Speaker, ...]:
    """Read the table of voices. All speakers of a variant belong to one split.

    Every training speaker stands for ``NUM_TIMBRES`` voices, and made voices come on top: a model that is to copy a
    voice it has never heard must have met many more than eSpeak's variants. They come after eSpeak's own. Held-out
    speakers are eSpeak's own alone.
    """
    table = (resources.files("calm.corpus") / "words" / "voices.txt").read_text("utf-8")
    speakers, others = [], []
    for line in table.splitlines():
        if line and not line.startswith("#"):
            variant, gender, split, *accents = line.split()
            for number, accent in enumerate(accents):
                own = Speaker(
                    name=f"{accent}_{variant}".lower(),
                    accent=accent,
                    variant=variant,
                    gender=gender,
                    split=split,
                    # Two accents of one variant differ in base pitch as well.
                    pitch_offset=(-4, 4)[number % 2],
                )
                speakers.append(own)
                others += _other_timbres(own) if split == "train" else []
    return (*speakers, *others, *(_made_speaker(number) for number in range(NUM_MADE)))


def _other_timbres(own: Speaker) -> list[Speaker]:
    rng = np.random.default_rng(list(own.name.encode()))
    return [
        replace(own, name=f"{own.name}_{number}", tract=float(rng.uniform(*TRACTS)), tilt_db=float(rng.uniform(*TILTS)))
        for number in range(1, NUM_TIMBRES)
    ]


def _made_speaker(number: int) -> Speaker:
    voice = made_voice(number)
    accent, pitch, rate = (str(voice.draw.choice(list(words))) for words in (ACCENTS, PITCHES, RATES))
    return Speaker(
        name=voice.name, accent=accent, variant=voice.name, gender=voice.gender, split="train", pitch_offset=0,
        pitch=pitch, rate=rate,
    )  # fmt: skip


def make_speech(rng: np.random.Generator, *, split: str, index: int, plan: ClipPlan, espeak: Espeak) -> Clip:
    """Return spoken clip ``index`` of ``split``, whose speaker and sentence both belong to it."""
    speakers = [speaker for speaker in load_speakers() if speaker.split == split]
    speakers = speakers[: FIRST_SPEAKERS + max(0, index - FIRST_CLIPS) // CLIPS_PER_SPEAKER]
    speaker = speakers[rng.integers(len(speakers))]
    pitch, rate, tone = (str(rng.choice(list(words))) for words in (PITCHES, RATES, TONES))
    pitch, rate = speaker.pitch or pitch, speaker.rate or rate
    grammar = load_grammar()
    text = draw_text(lambda: grammar.sentence(rng), split=split, words=plan.words)
    audio = espeak.render(
        text,
        accent=speaker.accent,
        variant=speaker.variant,
        words_per_minute=round((RATES[rate] + int(rng.integers(-10, 11))) / speaker.tract),
        pitch=PITCHES[pitch] + speaker.pitch_offset + int(rng.integers(-3, 4)) - _pitch_of(speaker.tract),
        pitch_range=TONES[tone],
    )
    audio = _trim(audio)
    played_at = ESPEAK_RATE * speaker.tract
    if plan.sample_rate != played_at:
        audio = soxr.resample(audio, played_at, plan.sample_rate)
    audio = _tilt(audio, speaker.tilt_db, plan.sample_rate)
    attributes = {
        "speaker": speaker.name,
        "language": "en",
        "gender": speaker.gender,
        "pitch": pitch,
        "rate": rate,
        "tone": tone,
        "accent": ACCENTS[speaker.accent],
    }
    return Clip(task=Task.SPEECH, text=text, audio=set_rms(audio, _RMS), attributes=attributes)


def _pitch_of(tract: float) -> int:
    """By how much eSpeak's pitch parameter makes up for playing ``tract`` times as fast."""
    return round(_PITCH_PER_HALF * 2 * (tract - 1))


def _tilt(audio: np.ndarray, decibels: float, sample_rate: int) -> np.ndarray:
    """Tilt the spectrum around 1 kHz by ``decibels`` per octave, two octaves to each side."""
    if not decibels:
        return audio
    octaves = np.log2(np.fft.rfftfreq(len(audio), 1 / sample_rate).clip(1.0) / _TILT_HERTZ).clip(-2, 2)
    return np.fft.irfft(np.fft.rfft(audio) * 10 ** (decibels * octaves / 20), len(audio)).astype(audio.dtype)


def _trim(audio: np.ndarray) -> np.ndarray:
    """Cut the silence that eSpeak adds around an utterance, but for a short margin."""
    heard = np.flatnonzero(np.abs(audio) > 0.01 * np.abs(audio).max())
    margin = round(_MARGIN_SECONDS * ESPEAK_RATE)
    return audio[max(0, heard[0] - margin) : heard[-1] + margin]
