"""Scores: a key, a tempo, a chord progression, and the notes of melody, chords, bass and drums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["GENRES", "MOODS", "TONICS", "Genre", "Note", "Score", "compose", "mood_of"]

TONICS = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
#: chord roots as degrees of the scale, one a bar
PROGRESSIONS = {
    "major": ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3), (0, 3, 0, 4)),
    "minor": ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6), (0, 5, 3, 4)),
}
#: lengths of the melody's notes in beats, one bar each
RHYTHMS = ((1, 1, 1, 1), (2, 1, 1), (1, 1, 2), (1.5, 0.5, 1, 1), (0.5, 0.5, 1, 0.5, 0.5, 1), (1, 0.5, 0.5, 2), (2, 2))
#: mood by mode and speed; the tempo that divides slow from fast is 105 BPM
MOODS = {
    ("major", "fast"): "happy",
    ("major", "slow"): "calm",
    ("minor", "fast"): "tense",
    ("minor", "slow"): "sad",
}
_FAST = 105
_BEATS_PER_BAR = 4


@dataclass(frozen=True, kw_only=True)
class Genre:
    """What a genre allows: tempo range in BPM, leads, and the parts that accompany them ("" is none)."""

    tempo: tuple[int, int]
    leads: tuple[str, ...]
    chords: tuple[str, ...] = ("",)
    bass: tuple[str, ...] = ("",)
    drums: tuple[str, ...] = ("",)
    chord_style: str = "block"
    modes: tuple[str, ...] = ("major", "minor")


#: drum patterns: sound -> the beats of a bar on which it falls
DRUM_PATTERNS = {
    "rock": {"kick": (0, 2), "snare": (1, 3), "hat": (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5)},
    "house": {"kick": (0, 1, 2, 3), "snare": (1, 3), "hat": (0.5, 1.5, 2.5, 3.5)},
    "swing": {"kick": (0, 2), "snare": (3,), "hat": (0, 1, 1.67, 2, 3, 3.67)},
    "latin": {"kick": (0, 1.5, 2), "snare": (1, 2.5, 3.5), "hat": (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5)},
}

GENRES: dict[str, Genre] = {
    "classical": Genre(tempo=(70, 130), leads=("piano", "flute", "strings"), chords=("piano", "strings")),
    "folk": Genre(tempo=(80, 130), leads=("guitar", "flute"), chords=("guitar",), chord_style="broken"),
    "jazz": Genre(
        tempo=(90, 160), leads=("trumpet", "piano"), chords=("piano",), bass=("bass",), drums=("swing",),
        chord_style="seventh",
    ),
    "rock": Genre(tempo=(100, 150), leads=("guitar", "synth"), chords=("guitar",), bass=("bass",), drums=("rock",)),
    "electronic": Genre(tempo=(110, 140), leads=("synth", "bells"), chords=("organ", "strings"), bass=("bass",),
                        drums=("house",)),
    "ambient": Genre(tempo=(60, 80), leads=("bells", "flute"), chords=("strings",), chord_style="held"),
    "lullaby": Genre(tempo=(60, 90), leads=("bells", "marimba", "piano"), chords=("", "guitar"),
                     chord_style="broken", modes=("major",)),
    "latin": Genre(tempo=(100, 140), leads=("marimba", "trumpet"), chords=("guitar",), bass=("bass",),
                   drums=("latin",)),
    "church": Genre(tempo=(60, 100), leads=("organ", "trumpet"), chords=("organ",), chord_style="held"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Note:
    """One note: instrument (or sound of the drum kit), start and length in beats, MIDI pitch, level 0..1."""

    instrument: str
    start: float
    beats: float
    pitch: int
    level: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """A piece: its labels and its notes. ``instruments`` names the lead first."""

    genre: str
    mood: str
    tempo: int
    key: str
    instruments: tuple[str, ...]
    notes: tuple[Note, ...]


def mood_of(mode: str, tempo: int) -> str:
    """Return the mood that a mode and a tempo give."""
    return MOODS[mode, "fast" if tempo >= _FAST else "slow"]


def compose(rng: np.random.Generator, *, seconds: float) -> Score:
    """Return a piece of whole beats that lasts at most ``seconds``, and at least one bar's first beat."""
    genre = str(rng.choice(list(GENRES)))
    style = GENRES[genre]
    tempo = int(rng.integers(style.tempo[0], style.tempo[1] + 1))
    mode, tonic = str(rng.choice(style.modes)), int(rng.integers(12))
    beats = max(1, int(seconds * tempo / 60))
    roots = PROGRESSIONS[mode][rng.integers(len(PROGRESSIONS[mode]))]
    scale = [tonic + step for step in SCALES[mode]]
    lead, chords, bass, drums = (str(rng.choice(p)) for p in (style.leads, style.chords, style.bass, style.drums))
    if rng.random() < 0.35:  # many pieces are for one instrument alone, the easiest to recognise
        chords = bass = drums = ""
    notes = _melody(rng, lead, scale, roots, beats)
    if chords:
        notes += _chords(chords, style.chord_style, scale, roots, beats)
    if bass:
        notes += _bass(bass, scale, roots, beats)
    if drums:
        notes += _drums(drums, beats)
    names = dict.fromkeys([lead, chords, bass, "drums" if drums else ""])
    return Score(
        genre=genre,
        mood=mood_of(mode, tempo),
        tempo=tempo,
        key=f"{TONICS[tonic]} {mode}",
        instruments=tuple(name for name in names if name),
        notes=tuple(note for note in notes if note.start < beats),
    )


def _melody(rng: np.random.Generator, lead: str, scale: list[int], roots: tuple[int, ...], beats: int) -> list[Note]:
    """A walk over the scale that returns to a tone of the chord on every first beat."""
    notes, degree, rhythm = [], 7, RHYTHMS[rng.integers(len(RHYTHMS))]
    for bar in range(-(-beats // _BEATS_PER_BAR)):
        if rng.random() < 0.4:
            rhythm = RHYTHMS[rng.integers(len(RHYTHMS))]
        position = float(bar * _BEATS_PER_BAR)
        for number, length in enumerate(rhythm):
            if number == 0:
                tones = [roots[bar % 4] + third + octave for octave in (0, 7) for third in (0, 2, 4)]
                degree = min(tones, key=lambda tone: abs(tone - degree))
            else:
                degree = int(np.clip(degree + rng.choice([-2, -1, -1, 1, 1, 2]), 2, 13))
            length = min(length, beats - position)
            if length > 0:
                pitch = 60 + _pitch(scale, degree)
                notes.append(Note(instrument=lead, start=position, beats=0.95 * length, pitch=pitch, level=0.9))
            position += length
    return notes


def _chords(instrument: str, style: str, scale: list[int], roots: tuple[int, ...], beats: int) -> list[Note]:
    notes = []
    for bar, start in enumerate(range(0, beats, _BEATS_PER_BAR)):
        degrees = [roots[bar % 4] + third for third in ((0, 2, 4, 6) if style == "seventh" else (0, 2, 4))]
        room = min(_BEATS_PER_BAR, beats - start)
        if style == "broken":
            order = [degrees[i % 3] for i in (0, 1, 2, 1, 0, 1, 2, 1)]
            strokes = [(0.5 * i, 0.5, [degree]) for i, degree in enumerate(order)]
        else:
            strokes = [(0, 4, degrees)] if style == "held" else [(0, 2, degrees), (2, 2, degrees)]
        for offset, length, tones in strokes:
            for degree in tones:
                length = min(length, room - offset)
                if length > 0:
                    pitch = 48 + _pitch(scale, degree)
                    level = 0.5 if len(tones) == 1 else 0.3
                    notes.append(
                        Note(instrument=instrument, start=start + offset, beats=length, pitch=pitch, level=level)
                    )
    return notes


def _bass(instrument: str, scale: list[int], roots: tuple[int, ...], beats: int) -> list[Note]:
    """Root and fifth in turn, on every beat."""
    return [
        Note(
            instrument=instrument,
            start=float(beat),
            beats=0.9,
            pitch=36 + _pitch(scale, roots[beat // _BEATS_PER_BAR % 4] + (4 if beat % 4 == 2 else 0)) % 12,
            level=0.7,
        )
        for beat in range(beats)
    ]


def _drums(pattern: str, beats: int) -> list[Note]:
    return [
        Note(instrument=sound, start=float(bar + offset), beats=0.25, pitch=0, level=0.7 if sound != "hat" else 0.4)
        for bar in range(0, beats, _BEATS_PER_BAR)
        for sound, offsets in DRUM_PATTERNS[pattern].items()
        for offset in offsets
    ]


def _pitch(scale: list[int], degree: int) -> int:
    """Return semitones above the register's C of a degree; degrees past 6 continue in the next octave."""
    return scale[degree % 7] % 12 + 12 * (degree // 7) + (12 if scale[degree % 7] >= 12 else 0)
