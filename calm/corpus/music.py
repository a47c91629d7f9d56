"""Music clips: a score rendered with the instruments, and a caption that names what is heard."""

from __future__ import annotations

import re

import numpy as np

from calm.corpus.clip import Clip, ClipPlan
from calm.corpus.dsp import add_at, fade, set_rms
from calm.corpus.instruments import DRUMS, INSTRUMENTS
from calm.corpus.score import Score, compose
from calm.corpus.sentences import split_of
from calm.types import Task

__all__ = ["make_music", "render_score", "write_caption"]

_MOOD_WORDS = {
    "happy": ("happy", "cheerful", "upbeat", "joyful"),
    "calm": ("calm", "peaceful", "gentle", "relaxing"),
    "tense": ("tense", "dramatic", "driving", "dark"),
    "sad": ("sad", "melancholic", "sorrowful", "wistful"),
}
#: captions of a piece for one instrument, and for several
_SOLO = (
    "a {mood} {lead} melody",
    "a {mood} {genre} tune for solo {lead}",
    "solo {lead} music, {mood} and {speed}",
    "a {speed} {genre} piece played on {lead} alone",
    "a {mood} {lead} piece in {key}",
)
_BAND = (
    "a {mood} {genre} piece with {all}",
    "a {mood} {lead} melody over {rest}",
    "{mood} {genre} music played by {all}",
    "a {speed}, {mood} {genre} tune led by {lead}, with {rest}",
    "{all} play a {mood} {genre} tune in {key}",
    "{speed} {genre} music with {all}, {mood} in mood",
)
_RMS = 0.1
_TAIL_SECONDS = 0.3
_MAX_DRAWS = 10_000


def make_music(rng: np.random.Generator, *, split: str, plan: ClipPlan) -> Clip:
    """Return one piece whose caption belongs to ``split``."""
    seconds = rng.uniform(*plan.music_seconds)
    for _ in range(_MAX_DRAWS):
        score = compose(rng, seconds=max(seconds - _TAIL_SECONDS, 0.5 * seconds))
        caption = write_caption(rng, score)
        if split_of(caption) == split:
            break
    else:  # pragma: no cover - one draw in twenty belongs to the rarest split
        raise AssertionError("no caption of the split was drawn")
    attributes = {
        "genre": score.genre,
        "mood": score.mood,
        "instruments": list(score.instruments),
        "tempo": score.tempo,
        "key": score.key,
        "tags": [score.genre, score.mood, *score.instruments],
    }
    audio = render_score(rng, score, sample_rate=plan.sample_rate)
    return Clip(task=Task.MUSIC, text=caption, audio=audio, attributes=attributes)


def render_score(rng: np.random.Generator, score: Score, *, sample_rate: int) -> np.ndarray:
    """Return the piece as float64 [S] at RMS 0.1, with a short tail."""
    beat = 60 / score.tempo
    end = max(note.start + note.beats for note in score.notes) * beat + _TAIL_SECONDS
    audio = np.zeros(round(end * sample_rate))
    rendered: dict[tuple[str, int, float], np.ndarray] = {}  # a piece repeats most of its notes
    for note in score.notes:
        key = (note.instrument, note.pitch, note.beats)
        if key not in rendered:
            rendered[key] = _render_note(rng, *key, beat=beat, sample_rate=sample_rate)
        add_at(audio, note.level * rendered[key], round(note.start * beat * sample_rate))
    return set_rms(fade(audio, sample_rate, seconds=0.02), _RMS)


def write_caption(rng: np.random.Generator, score: Score) -> str:
    """Return a sentence that names genre, mood, speed, key or instruments of the piece."""
    lead, *rest = score.instruments
    text = str(rng.choice(_BAND if rest else _SOLO)).format(
        mood=rng.choice(_MOOD_WORDS[score.mood]),
        genre=score.genre,
        speed="slow" if score.tempo < 85 else "moderate" if score.tempo < 115 else "fast",
        key=score.key,
        lead=lead,
        rest=_listed(rest),
        all=_listed(score.instruments),
    )
    text = re.sub(r"\ba(?= [aeiou])", "an", text)
    return text[0].upper() + text[1:] + "."


def _render_note(
    rng: np.random.Generator, instrument: str, pitch: int, beats: float, *, beat: float, sample_rate: int
) -> np.ndarray:
    if instrument in DRUMS:
        return DRUMS[instrument](rng, sample_rate)
    return INSTRUMENTS[instrument](rng, 440 * 2 ** ((pitch - 69) / 12), beats * beat, sample_rate)


def _listed(names) -> str:
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
